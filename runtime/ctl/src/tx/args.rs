//! The command line, as what is wanted.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser};
use statemachine::ids::RevisionId;

use crate::failure::Failure;
use crate::tx::Result;

/// What applies to all commands.
#[derive(PartialEq, Eq, Debug, Default)]
pub(super) struct Options {
    pub(super) socket: Option<PathBuf>,
    pub(super) dir: Option<PathBuf>,
    pub(super) verbose: bool,
}

/// What a transaction begins with.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Base {
    /// What the device runs.
    Current,
    Empty,
    Path(PathBuf),
}

/// Where a package comes from.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Source {
    File(PathBuf),
    Input,
}

/// What is wanted.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Command {
    /// All of it, or of the command with this name.
    Help(Option<String>),
    /// With a directory of objects it is local.
    Begin(Base, Option<PathBuf>),
    Add(Source),
    Remove(String),
    Show,
    Commit {
        name: Option<RevisionId>,
        message: Option<String>,
        json: bool,
    },
    Deploy(PathBuf),
    Abort,
    /// The queue, and its objects.
    QueueNew(PathBuf, PathBuf),
    QueueUnpack(Source),
    QueueRemove(String),
    /// Another queue than the one that was made last.
    QueueProcess(Base, Option<(PathBuf, PathBuf)>),
}

/// Reads the arguments after the name of the program.
///
/// # Errors
/// [`Failure::Usage`]
pub(super) fn parse(args: impl Iterator<Item = OsString>) -> Result<(Options, Command)> {
    let mut parser = Parser::from_args(args);
    let mut options = Options::default();
    let (mut words, mut help, mut message, mut json) = (Vec::<String>::new(), false, None, false);
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => help = true,
            Arg::Short('v') | Arg::Long("verbose") => options.verbose = true,
            Arg::Short('s') | Arg::Long("socket") => options.socket = Some(parser.value().map_err(usage)?.into()),
            Arg::Short('d') | Arg::Long("dir") => options.dir = Some(parser.value().map_err(usage)?.into()),
            Arg::Short('m') | Arg::Long("message") => message = Some(text(parser.value().map_err(usage)?)?),
            Arg::Long("json") => json = true,
            Arg::Value(word) => words.push(text(word)?),
            other => return Err(usage(other.unexpected())),
        }
    }
    if help {
        return Ok((options, Command::Help(words.into_iter().next())));
    }
    let mut command = command(&words)?;
    if let Command::Commit { message: told, json: wanted, .. } = &mut command {
        (*told, *wanted) = (message, json);
    } else if message.is_some() || json {
        return Err(Failure::usage("-m and --json belong to commit".into()));
    }
    Ok((options, command))
}

fn command(words: &[String]) -> Result<Command> {
    let texts: Vec<&str> = words.iter().map(String::as_str).collect();
    let path = |at: usize| words.get(at).map(PathBuf::from).unwrap_or_default();
    let base = |at: usize| match texts.get(at) {
        None | Some(&"current") => Base::Current,
        Some(&"empty") => Base::Empty,
        Some(_) => Base::Path(path(at)),
    };
    let source = |at: usize| if texts.get(at) == Some(&"-") { Source::Input } else { Source::File(path(at)) };
    Ok(match texts.as_slice() {
        [] => return Err(Failure::usage("what is wanted?".into())),
        ["help"] => Command::Help(None),
        ["help", topic] => Command::Help(Some((*topic).into())),
        ["begin", _] => Command::Begin(base(1), None),
        ["begin", _, _] => Command::Begin(base(1), Some(path(2))),
        ["add", _] => Command::Add(source(1)),
        ["remove", part] => Command::Remove((*part).into()),
        ["show"] => Command::Show,
        ["commit"] => Command::Commit { name: None, message: None, json: false },
        ["commit", name] => Command::Commit { name: Some(local(name)?), message: None, json: false },
        ["deploy", _] => Command::Deploy(path(1)),
        ["abort"] => Command::Abort,
        ["queue", "new", _, _] => Command::QueueNew(path(2), path(3)),
        ["queue", "unpack", _] => Command::QueueUnpack(source(2)),
        ["queue", "remove", part] => Command::QueueRemove((*part).into()),
        ["queue", "process"] | ["queue", "process", _] => Command::QueueProcess(base(2), None),
        ["queue", "process", _, _, _] => Command::QueueProcess(base(2), Some((path(3), path(4)))),
        other => return Err(Failure::usage(format!("there is no such command: {}", other.join(" ")))),
    })
}

fn local(name: &str) -> Result<RevisionId> {
    let id = RevisionId::parse(name).map_err(|error| Failure::usage(format!("{name:?}: {error}")))?;
    if !name.starts_with("locals/") {
        return Err(Failure::usage(format!("{name:?}: what is made here is called locals/NAME")));
    }
    Ok(id)
}

fn text(word: OsString) -> Result<String> {
    word.into_string().map_err(|word| Failure::usage(format!("{} is not UTF-8", word.display())))
}

#[expect(clippy::needless_pass_by_value, reason = "stands in map_err")]
fn usage(error: lexopt::Error) -> Box<Failure> {
    Failure::usage(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::help::TOOL;
    use super::*;

    fn read(line: &str) -> Result<(Options, Command)> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn every_command_that_is_promised_is_understood_and_its_options_with_it() {
        for (words, _) in TOOL.commands {
            for choice in ["current", "empty", "a/path"] {
                let line = words
                    .replace("current|empty|PATH", choice)
                    .replace("FILE|-", "-")
                    .replace("locals/NAME", "locals/x")
                    .replace(['[', ']'], "");
                let read = read(&line);
                assert!(read.is_ok(), "{line}: {}", read.err().map_or_else(String::new, |error| error.to_string()));
            }
            // Without what can be left out.
            let short = words.split(" [").next().unwrap_or_default();
            assert!(read(&short.replace("current|empty|PATH", "x")).is_ok(), "{short}");
        }
        let (options, command) = read("-d /d commit -v --message why --json -s /s").unwrap();
        assert_eq!((options.dir, options.socket, options.verbose), (Some("/d".into()), Some("/s".into()), true));
        assert_eq!(command, Command::Commit { name: None, message: Some("why".into()), json: true });
    }

    #[test]
    fn what_makes_no_sense_is_a_wrong_call() {
        for line in [
            "",
            "beginn current",
            "begin",
            "begin a b c",
            "add",
            "remove",
            "commit 7",
            "commit locals/",
            "commit x",
            "commit locals/a/b",
            "queue",
            "queue new a",
            "queue process current a",
            "show --json",
            "add -m x y",
            "--what",
            "show more",
            "queue list",
        ] {
            assert_eq!(read(line).map(drop).unwrap_err().exit_code(), 1, "{line}");
        }
    }

    #[test]
    fn a_name_may_look_like_a_word_if_it_is_written_as_a_path() {
        assert_eq!(read("begin ./current").unwrap().1, Command::Begin(Base::Path("./current".into()), None));
        assert_eq!(read("begin current o").unwrap().1, Command::Begin(Base::Current, Some("o".into())));
        assert_eq!(read("queue process").unwrap().1, Command::QueueProcess(Base::Current, None));
    }
}
