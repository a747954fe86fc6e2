//! The command line, as what is wanted.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use formats::log_times::Since;
use formats::metadata::{Key, Metadata};
use formats::object::ObjectId;
use formats::pairing::is_name;
use formats::path::ContainerName;
use lexopt::{Arg, Parser};
use statemachine::ids::RevisionId;

use crate::exec::Wanted;
use crate::failure::Failure;
use crate::logs;

/// How lists are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// A table on a terminal, JSON elsewhere: scripts read what comes out of a pipe.
    Fitting,
    Table,
    Json,
}

/// What applies to all commands.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Options {
    pub(crate) socket: Option<PathBuf>,
    pub(crate) output: Option<PathBuf>,
    pub(crate) message: Option<String>,
    pub(crate) form: Form,
    pub(crate) verbose: bool,
}

/// Where the bytes of an upload come from.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Source {
    File(PathBuf),
    /// The standard input; its length if it is known.
    Input(Option<u64>),
}

/// What is wanted.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Command {
    /// All of it, or of the command with this name.
    Help(Option<String>),
    Device,
    Containers,
    /// What containers use.
    Top,
    /// `containers` or `daemons`, the name, the action.
    Act(&'static str, ContainerName, &'static str),
    Groups,
    Daemons,
    Signal(&'static str),
    Drivers,
    /// The name, if it is one, and the action.
    ActOnDrivers(Option<String>, &'static str),
    Run {
        op: &'static str,
        revision: RevisionId,
        retry: bool,
    },
    /// A command with no more than a message.
    Order(&'static str, String),
    BuildInfo,
    Objects,
    GetObject(ObjectId),
    PutObject(Source, ObjectId),
    Steps,
    GetStep(String),
    PutStep(Source, RevisionId),
    Progress(String),
    Graph,
    Metadata(Metadata),
    /// The value, or the standard input.
    SetMetadata(Metadata, Key, Option<String>),
    RemoveMetadata(Metadata, Key),
    Collect,
    /// Make a code.
    Pair,
    Pairings,
    Unpair(String),
    /// A program in a container.
    Exec(Wanted),
    /// The console of a container.
    Console(ContainerName),
    /// What a container has written.
    Logs(logs::Wanted),
    /// One container, whole.
    Inspect(ContainerName),
}

/// Reads the arguments after the name of the program.
///
/// # Errors
/// [`Failure::Usage`]
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<(Options, Command), Box<Failure>> {
    let mut parser = Parser::from_args(args);
    let mut options = Options { socket: None, output: None, message: None, form: Form::Fitting, verbose: false };
    let (mut words, mut help, mut retry) = (Vec::<OsString>::new(), false, false);
    let (mut terminal, mut detached, mut env) = (false, false, Vec::new());
    let (mut follow, mut lines, mut since, mut timestamps) = (false, None, None, false);
    loop {
        if let [exec, name] = words.as_slice()
            && exec == "exec"
        {
            // The rest is the program's, options among it.
            let container = container(&text(name.clone())?)?;
            let mut argv = parser.raw_args().map_err(usage)?.map(text).collect::<Result<Vec<_>, _>>()?;
            if argv.first().is_some_and(|first| first == "--") {
                argv.remove(0);
            }
            if terminal && detached {
                return Err(Failure::usage("-t and -d exclude each other: nobody is at such a terminal".into()));
            }
            if argv.is_empty() && !help {
                return Err(Failure::usage("which program? exec NAME -- PROGRAM [ARGUMENT…]".into()));
            }
            let command = if help {
                Command::Help(Some("exec".into()))
            } else {
                Command::Exec(Wanted { container, argv, env, terminal, detached })
            };
            return Ok((options, command));
        }
        if is_size(&words)
            && let Some(size) = parser.try_raw_args().and_then(|mut raw| raw.next_if(|arg| size(arg).is_some()))
        {
            words.push(size);
            continue;
        }
        match parser.next().map_err(usage)? {
            None => break,
            Some(Arg::Short('h') | Arg::Long("help")) => help = true,
            Some(Arg::Short('v') | Arg::Long("verbose")) => options.verbose = true,
            Some(Arg::Short('s') | Arg::Long("socket")) => options.socket = Some(parser.value().map_err(usage)?.into()),
            Some(Arg::Short('f') | Arg::Long("follow")) if words.first().is_some_and(|first| first == "logs") => {
                follow = true
            }
            Some(Arg::Long("timestamps")) => timestamps = true,
            Some(Arg::Long("since")) => {
                let when = text(parser.value().map_err(usage)?)?;
                let forms = "90s, 10m, 2h, 3d, boot, 2026-11-22 or 2026-11-22T10:00:00Z";
                let wrong = || Failure::usage(format!("--since {when:?} is no time; write {forms}"));
                since = Some(Since::of_person(&when).ok_or_else(wrong)?);
            }
            Some(Arg::Short('n') | Arg::Long("lines" | "tail"))
                if words.first().is_some_and(|first| first == "logs") =>
            {
                let number = text(parser.value().map_err(usage)?)?;
                lines =
                    Some(number.parse().map_err(|_| Failure::usage(format!("-n {number:?} is no number of lines")))?);
            }
            Some(Arg::Short('f') | Arg::Long("output")) => options.output = Some(parser.value().map_err(usage)?.into()),
            Some(Arg::Short('m') | Arg::Long("message")) => {
                options.message = Some(text(parser.value().map_err(usage)?)?)
            }
            Some(Arg::Long("json")) => options.form = Form::Json,
            Some(Arg::Long("table")) => options.form = Form::Table,
            Some(Arg::Long("retry")) => retry = true,
            Some(Arg::Short('t') | Arg::Long("terminal")) => terminal = true,
            Some(Arg::Short('d') | Arg::Long("detach")) => detached = true,
            Some(Arg::Short('e') | Arg::Long("env")) => {
                let variable = text(parser.value().map_err(usage)?)?;
                if variable.find('=').is_none_or(|at| at == 0) {
                    return Err(Failure::usage(format!("-e {variable:?} is not NAME=VALUE")));
                }
                env.push(variable);
            }
            Some(Arg::Value(word)) => words.push(word),
            Some(other) => return Err(usage(other.unexpected())),
        }
    }
    if help {
        let topic = words.into_iter().next().map(text).transpose()?;
        return Ok((options, Command::Help(topic)));
    }
    let mut command = command(&words, retry)?;
    if let Command::Logs(wanted) = &mut command {
        (wanted.follow, wanted.lines, wanted.since, wanted.timestamps) = (follow, lines, since, timestamps);
    } else if since.is_some() || timestamps {
        return Err(Failure::usage("--since and --timestamps belong to logs".into()));
    }
    if retry && !matches!(command, Command::Run { .. }) {
        return Err(Failure::usage("--retry belongs to cmd run".into()));
    }
    if terminal || detached || !env.is_empty() {
        return Err(Failure::usage("-t, -d and -e belong to exec, and stand before the name of the container".into()));
    }
    if options.message.is_some() && !matches!(command, Command::PutStep(..)) {
        return Err(Failure::usage("-m belongs to steps put".into()));
    }
    Ok((options, command))
}

fn command(words: &[OsString], retry: bool) -> Result<Command, Box<Failure>> {
    let texts: Vec<&str> = words.iter().map(|word| word.to_str().unwrap_or("\u{fffd}")).collect();
    // A path may be anything; `words` has it as it was given.
    let path = || words.get(2).map(PathBuf::from).unwrap_or_default();
    Ok(match texts.as_slice() {
        [] => return Err(Failure::usage("what is wanted?".into())),
        ["help"] => Command::Help(None),
        ["help", topic] => Command::Help(Some((*topic).into())),
        ["ls" | "list"] | ["containers", "ls" | "list"] => Command::Containers,
        ["device"] => Command::Device,
        ["top"] => Command::Top,
        ["logs", name] => Command::Logs(logs::Wanted::all(container(name)?)),
        ["console", name] => Command::Console(container(name)?),
        ["inspect", name] => Command::Inspect(container(name)?),
        [action @ ("start" | "stop" | "restart"), name] => {
            Command::Act("containers", container(name)?, known_action(action)?)
        }
        ["containers", action, name] => Command::Act("containers", container(name)?, known_action(action)?),
        ["groups", "ls" | "list"] => Command::Groups,
        ["daemons", "ls" | "list"] => Command::Daemons,
        ["daemons", action, name] => Command::Act("daemons", container(name)?, known_action(action)?),
        ["drivers", "ls" | "list"] => Command::Drivers,
        ["drivers", action] => Command::ActOnDrivers(None, load_or_unload(action)?),
        ["drivers", action, name] => Command::ActOnDrivers(Some(driver(name)?), load_or_unload(action)?),
        ["signal", "ready"] => Command::Signal("ready"),
        ["signal", "alive"] => Command::Signal("alive"),
        ["cmd" | "command" | "commands", order @ ..] => self::order(order, retry)?,
        ["rollback"] => Command::Order("ROLLBACK", String::new()),
        ["buildinfo"] => Command::BuildInfo,
        ["objects", "ls" | "list"] => Command::Objects,
        ["objects", "get", id] => Command::GetObject(object(id)?),
        ["objects", "put", from, id] => {
            let source = match size(OsStr::new(from)) {
                Some(size) => Source::Input(Some(size)),
                None => Source::File(path()),
            };
            Command::PutObject(source, object(id)?)
        }
        ["steps", "ls" | "list"] => Command::Steps,
        ["steps", "get", name] => Command::GetStep(step(name)?),
        ["steps", "put", "-", name] => Command::PutStep(Source::Input(None), revision(name)?),
        ["steps", "put", _, name] => Command::PutStep(Source::File(path()), revision(name)?),
        ["steps", "show-progress", name] => Command::Progress(step(name)?),
        ["graph", "ls" | "list"] => Command::Graph,
        [word @ ("usrmeta" | "devmeta"), verb @ ..] => metadata(word, verb)?,
        ["storage", "gc"] => Command::Collect,
        ["pair"] => Command::Pair,
        ["pair", "ls" | "list"] => Command::Pairings,
        ["pair", "rm", who] if is_name(who) => Command::Unpair((*who).into()),
        ["pair", "rm", who] => return Err(Failure::usage(format!("{who:?} is neither a name nor a fingerprint"))),
        other => return Err(Failure::usage(format!("there is no such command: {}", other.join(" ")))),
    })
}

fn metadata(word: &str, verb: &[&str]) -> Result<Command, Box<Failure>> {
    let of = if word == "usrmeta" { Metadata::User } else { Metadata::Device };
    let key = |text: &str| Key::parse(text).map_err(|error| Failure::usage(format!("{text:?}: {error}")));
    Ok(match verb {
        ["ls" | "list"] => Command::Metadata(of),
        ["save", name, "-"] => Command::SetMetadata(of, key(name)?, None),
        ["save", name, value] => Command::SetMetadata(of, key(name)?, Some((*value).into())),
        ["delete", name] => Command::RemoveMetadata(of, key(name)?),
        other => return Err(Failure::usage(format!("there is no such command: {word} {}", other.join(" ")))),
    })
}

fn order(words: &[&str], retry: bool) -> Result<Command, Box<Failure>> {
    Ok(match words {
        ["run", name] => Command::Run { op: "LOCAL_RUN", revision: revision(name)?, retry },
        ["run-commit", name] => Command::Run { op: "LOCAL_RUN_COMMIT", revision: revision(name)?, retry },
        ["reboot"] => Command::Order("REBOOT_DEVICE", String::new()),
        ["reboot", message] => Command::Order("REBOOT_DEVICE", (*message).into()),
        ["poweroff"] => Command::Order("POWEROFF_DEVICE", String::new()),
        ["poweroff", message] => Command::Order("POWEROFF_DEVICE", (*message).into()),
        ["run-gc"] => Command::Order("RUN_GC", String::new()),
        other => return Err(Failure::usage(format!("there is no such command: cmd {}", other.join(" ")))),
    })
}

/// Whether the next word may be `-SIZE`, which looks like an option.
fn is_size(words: &[OsString]) -> bool {
    words == ["objects", "put"]
}

fn size(word: &OsStr) -> Option<u64> {
    let digits = word.to_str()?.strip_prefix('-')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn known_action(word: &str) -> Result<&'static str, Box<Failure>> {
    ["start", "stop", "restart"]
        .into_iter()
        .find(|action| *action == word)
        .ok_or_else(|| Failure::usage(format!("there is no {word:?}; there are ls, start, stop and restart")))
}

fn load_or_unload(word: &str) -> Result<&'static str, Box<Failure>> {
    let known = ["load", "unload"].into_iter().find(|action| *action == word);
    known.ok_or_else(|| Failure::usage(format!("there is no {word:?}; there are ls, load and unload")))
}

fn driver(name: &str) -> Result<String, Box<Failure>> {
    let checked = formats::path::component(name).map_err(|error| Failure::usage(format!("{name:?}: {error}")));
    checked.map(|()| name.into())
}

fn container(name: &str) -> Result<ContainerName, Box<Failure>> {
    ContainerName::parse(name).map_err(|error| Failure::usage(format!("{name:?}: {error}")))
}

fn object(id: &str) -> Result<ObjectId, Box<Failure>> {
    let wrong = || Failure::usage(format!("{id:?}: an object is named by its SHA-256 in 64 lower-case digits"));
    ObjectId::parse(id).ok_or_else(wrong)
}

fn revision(name: &str) -> Result<RevisionId, Box<Failure>> {
    RevisionId::parse(name).map_err(|error| Failure::usage(format!("{name:?}: {error}")))
}

/// A revision, or the one that runs.
fn step(name: &str) -> Result<String, Box<Failure>> {
    if name == "current" { Ok(name.into()) } else { revision(name).map(|name| name.to_string()) }
}

fn text(word: OsString) -> Result<String, Box<Failure>> {
    word.into_string().map_err(|word| Failure::usage(format!("{} is not UTF-8", word.display())))
}

#[expect(clippy::needless_pass_by_value, reason = "stands in map_err")]
fn usage(error: lexopt::Error) -> Box<Failure> {
    Failure::usage(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Options, Command), Box<Failure>> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn wanted(line: &str) -> Command {
        read(line).unwrap_or_else(|error| panic!("{line}: {error}")).1
    }

    #[test]
    fn options_may_stand_anywhere() {
        for line in ["-s /x -m why steps put a locals/b -v", "steps put -v -s /x a locals/b --message why"] {
            let (options, command) = read(line).unwrap();
            assert_eq!(
                (options.socket, options.message, options.verbose),
                (Some("/x".into()), Some("why".into()), true)
            );
            assert_eq!(command, Command::PutStep(Source::File("a".into()), RevisionId::parse("locals/b").unwrap()));
        }
    }

    #[test]
    fn the_standard_input_is_a_dash_with_its_size() {
        let id = ObjectId::of(b"x");
        assert_eq!(wanted(&format!("objects put -12 {id}")), Command::PutObject(Source::Input(Some(12)), id));
        assert_eq!(wanted(&format!("objects put ./-12 {id}")), Command::PutObject(Source::File("./-12".into()), id));
        assert!(matches!(wanted("steps put - locals/x"), Command::PutStep(Source::Input(None), _)));
        assert!(read(&format!("objects get -12 {id}")).is_err());
    }

    #[test]
    fn what_cannot_be_is_said_before_anybody_is_asked() {
        for line in [
            "",
            "lsx",
            "containers",
            "containers explode web",
            "containers stop ../web",
            "objects get abc",
            "steps get ../x",
            "steps put a current",
            "cmd run",
            "drivers",
            "drivers explode",
            "drivers load ../x",
            "drivers ls x",
            "pair rm",
            "pair rm ../x",
            "pair me",
            "cmd format",
            "cmd reboot a b",
            "usrmeta",
            "usrmeta save",
            "usrmeta save a",
            "devmeta save ../x y",
            "devmeta delete",
            "devmeta delete a b",
            "ls --retry",
            "ls -m x",
            "ls -x",
        ] {
            assert!(matches!(read(line).map_err(|failure| *failure), Err(Failure::Usage(_))), "{line}");
        }
    }

    #[test]
    fn what_follows_the_name_is_the_program_s() {
        let wanted = |line: &str| match wanted(line) {
            Command::Exec(Wanted { container, argv, env, terminal, detached }) => {
                assert_eq!(detached, line.starts_with("exec -d "));
                (container.as_str().to_owned(), argv, env, terminal)
            }
            other => panic!("{line}: {other:?}"),
        };
        let is = |argv: &[&str], env: &[&str], terminal| {
            let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            ("web".to_owned(), words(argv), words(env), terminal)
        };
        assert_eq!(wanted("exec web -- ls -l --json"), is(&["ls", "-l", "--json"], &[], false));
        assert_eq!(wanted("exec web ls -t -- -s"), is(&["ls", "-t", "--", "-s"], &[], false));
        assert_eq!(wanted("exec -t -e A=b=c web -- -- sh"), is(&["--", "sh"], &["A=b=c"], true));
        assert_eq!(wanted("exec -d web sh -c x"), is(&["sh", "-c", "x"], &[], false));
        assert_eq!(wanted("exec web sh -d"), is(&["sh", "-d"], &[], false));
        for line in [
            "exec -d -t web ls",
            "ls -d",
            "exec",
            "exec web",
            "exec web --",
            "exec ../x -- ls",
            "exec -e A web -- ls",
            "ls -t",
            "ls -e A=b",
        ] {
            assert!(matches!(read(line).map_err(|failure| *failure), Err(Failure::Usage(_))), "{line}");
        }
    }

    #[test]
    fn a_log_is_followed_and_written_to_no_file_by_the_same_letter() {
        let all = || logs::Wanted::all(ContainerName::parse("web").unwrap());
        let read = |follow, lines| Command::Logs(logs::Wanted { follow, lines, ..all() });
        assert_eq!(wanted("logs web"), read(false, None));
        assert_eq!(wanted("logs -f web -n 7"), read(true, Some(7)));
        assert_eq!(wanted("logs web --tail 7"), read(false, Some(7)));
        let since = logs::Wanted { since: Some(Since::Ago(600)), timestamps: true, ..all() };
        assert_eq!(wanted("logs --since 10m --timestamps web"), Command::Logs(since));
        for bad in ["logs web --since yesterday", "logs web --since", "ls --since boot", "top --timestamps"] {
            assert!(matches!(self::read(bad).map_err(|failure| *failure), Err(Failure::Usage(_))), "{bad}");
        }
        let (options, command) = self::read("-f out logs web").unwrap();
        assert_eq!((options.output, command), (Some("out".into()), read(false, None)));
        assert!(self::read("logs -n x web").is_err() && self::read("ls -n 3").is_err());
    }

    #[test]
    fn metadata_is_of_the_user_or_of_the_device() {
        let key = || Key::parse("web.a").unwrap();
        assert_eq!(wanted("usrmeta ls"), Command::Metadata(Metadata::User));
        assert_eq!(wanted("usrmeta save web.a b"), Command::SetMetadata(Metadata::User, key(), Some("b".into())));
        assert_eq!(wanted("devmeta save web.a -"), Command::SetMetadata(Metadata::Device, key(), None));
        assert_eq!(wanted("devmeta delete web.a"), Command::RemoveMetadata(Metadata::Device, key()));
    }

    #[test]
    fn old_spellings_mean_the_same() {
        assert_eq!(wanted("list"), wanted("containers ls"));
        assert_eq!(wanted("stop web"), wanted("containers stop web"));
        assert_eq!(wanted("command reboot why"), Command::Order("REBOOT_DEVICE", "why".into()));
        assert_eq!(wanted("steps get current"), Command::GetStep("current".into()));
        let revision = RevisionId::parse("7").unwrap();
        assert_eq!(wanted("cmd run 7 --retry"), Command::Run { op: "LOCAL_RUN", revision, retry: true });
    }
}
