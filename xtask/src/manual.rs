//! Manual pages of `pvcontrol`, and what shells complete it with, from the table that its help comes from.
//!
//! ```text
//!   logs [-f] [-n LINES] CONTAINER      a word in small letters is a command, or one of several (`start|stop`);
//!                                       one in capitals is an argument; what is in brackets can be left out
//! ```
//!
//! Promises: a command or an option of that table is in each of the files. The parser on the device is written by hand and
//! small; that it reads what the table says, and nothing else, is tested beside it. `pvr` makes its own from its arguments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, Command, ValueHint};
use clap_complete::Shell;
use ctl::help::{COMMANDS, EXITS, FLAGS, OPTIONS};

const NAME: &str = "pvcontrol";

const ABOUT: &str = "shows and steers a running device";

const LONG: &str = "pvcontrol shows and steers a running device, on the device itself or inside one of its containers, over its \
                    control socket. On a terminal lists are tables; into a pipe or a file goes the JSON of the device, as it came.";

/// Writes pages into one directory and completions into another, and says which files these are.
pub(crate) fn write(man: Option<&Path>, completions: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    if let Some(dir) = man {
        make(dir)?;
        let cannot = || format!("cannot write manual pages to {}", dir.display());
        clap_mangen::generate_to(command(), dir).with_context(cannot)?;
        for page in std::fs::read_dir(dir).with_context(cannot)? {
            let path = page.with_context(cannot)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            written.extend((name.starts_with(NAME) && name.ends_with(".1")).then(|| path.clone()));
        }
        written.sort();
    }
    if let Some(dir) = completions {
        make(dir)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let path = clap_complete::generate_to(shell, &mut command(), NAME, dir);
            written.push(path.with_context(|| format!("cannot write the completion of {shell} to {}", dir.display()))?);
        }
    }
    Ok(written)
}

fn make(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))
}

/// A command, or the first words of several.
#[derive(Default)]
struct Node {
    /// What it does, and its words behind its name; `None`: it needs another word.
    says: Option<(&'static str, Vec<&'static str>)>,
    below: BTreeMap<&'static str, Node>,
}

impl Node {
    fn add(&mut self, words: &[&'static str], help: &'static str) {
        match words {
            [verbs, rest @ ..] if is_verb(verbs) => {
                verbs.split('|').for_each(|verb| self.below.entry(verb).or_default().add(rest, help))
            }
            rest => self.says = Some((help, rest.to_vec())),
        }
    }

    /// `path` is the words before its name, and that.
    fn command(&self, name: &'static str, path: &str) -> Command {
        let mut command = Command::new(name).disable_help_subcommand(true);
        if let Some((help, words)) = &self.says {
            command = command.about(*help).args(arguments(words));
        } else {
            let verbs: Vec<&str> = self.below.keys().copied().collect();
            command = command.about(format!("{name}: {}", verbs.join(", "))).subcommand_required(true);
        }
        let own: Vec<Arg> =
            FLAGS.iter().filter(|(of, ..)| *of == path).map(|(_, words, help)| option(words, help)).collect();
        let is_taken =
            |general: &Arg| own.iter().any(|own| own.get_short().is_some() && own.get_short() == general.get_short());
        // What a letter means behind a command is that command's to say.
        let general = general().map(|arg| if is_taken(&arg) { arg.short(None) } else { arg });
        command = command.args(general.collect::<Vec<_>>()).args(own);
        command.subcommands(
            self.below.iter().map(|(name, node)| node.command(name, format!("{path} {name}").trim_start())),
        )
    }
}

/// Everything, as a program that reads its arguments with clap would have it.
fn command() -> Command {
    let mut root = Node::default();
    for (words, help) in COMMANDS {
        root.add(&words.split(' ').collect::<Vec<_>>(), help);
    }
    root.command(NAME, "").about(ABOUT).long_about(LONG).after_long_help(EXITS).arg_required_else_help(true)
}

fn is_verb(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_lowercase() || b"|-".contains(&byte))
}

fn general() -> impl Iterator<Item = Arg> {
    // clap has this one itself.
    OPTIONS.iter().filter(|(words, _)| !words.ends_with("--help")).map(|(words, help)| option(words, help))
}

/// `-n, --lines, --tail LINES`
fn option(words: &'static str, help: &'static str) -> Arg {
    let (mut short, mut long, mut value) = (None, Vec::new(), None);
    for word in words.split([',', ' ']).filter(|word| !word.is_empty()) {
        match (word.strip_prefix("--"), word.strip_prefix('-')) {
            (Some(name), _) => long.push(name),
            (None, Some(letter)) => short = letter.chars().next(),
            (None, None) => value = Some(word),
        }
    }
    let mut long = long.into_iter();
    let name = long.next().unwrap_or_default();
    // A page has no place of its own for a second name.
    let also: String = long.clone().map(|other| format!("; also --{other}")).collect();
    let mut arg = Arg::new(name).long(name).visible_aliases(long).help(format!("{help}{also}"));
    if let Some(letter) = short {
        arg = arg.short(letter);
    }
    match value {
        Some(value) => arg.action(ArgAction::Set).value_hint(hint(value)).value_name(value),
        None => arg.action(ArgAction::SetTrue),
    }
}

/// The arguments of a command, without its options: they are in a table of their own.
fn arguments(words: &[&'static str]) -> Vec<Arg> {
    let mut within = false;
    let mut arguments = Vec::new();
    for word in words {
        let begins = word.starts_with("[-");
        if begins || within {
            within = !word.contains(']');
            continue;
        }
        let name = word.trim_matches(['[', ']', '…']);
        let mut arg = Arg::new(name).value_name(name).value_hint(hint(name));
        arg = arg.required(!word.starts_with('['));
        arguments.push(if word.contains('…') { arg.num_args(0..).trailing_var_arg(true) } else { arg });
    }
    arguments
}

fn hint(value: &str) -> ValueHint {
    match value {
        "FILE" | "PATH" => ValueHint::FilePath,
        _ => ValueHint::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use super::*;

    struct Made(tempfile::TempDir);

    impl Made {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let written = write(Some(&dir.path().join("man")), Some(&dir.path().join("completions"))).unwrap();
            assert!(written.len() > 40 && written.iter().all(|path| path.exists()), "{written:?}");
            Self(dir)
        }

        fn path(&self, file: &str) -> PathBuf {
            self.0.path().join(file)
        }

        fn read(&self, file: &str) -> String {
            std::fs::read_to_string(self.path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
        }
    }

    /// Every command of the table, in full: `containers start`.
    fn paths() -> Vec<String> {
        fn collect(node: &Command, before: &str, into: &mut Vec<String>) {
            for below in node.get_subcommands() {
                let path = format!("{before} {}", below.get_name()).trim().to_owned();
                collect(below, &path, into);
                into.push(path);
            }
        }
        let mut all = Vec::new();
        collect(&command(), "", &mut all);
        all
    }

    /// What bash offers for the last of these words.
    fn completed(made: &Made, words: &[&str]) -> Vec<String> {
        let script = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_LINE=\"$*\"; COMP_POINT=${#COMP_LINE}
            _pvcontrol pvcontrol \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut bash = Process::new("bash");
        bash.args(["--norc", "-c", script, "bash"]).arg(made.path("completions/pvcontrol.bash")).args(words);
        let output = bash.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        // Without the part of it that only a shell with a terminal has.
        assert!(said.lines().all(|line| line.contains("compopt")), "{said}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_tree_is_what_clap_takes_and_has_each_command_of_the_table_once() {
        command().debug_assert();
        let paths = paths();
        for path in
            ["ls", "containers restart", "logs", "cmd run-commit", "steps show-progress", "pair", "pair rm", "help"]
        {
            assert_eq!(paths.iter().filter(|one| *one == path).count(), 1, "{path}: {paths:?}");
        }
        assert!(COMMANDS.len() <= paths.len());
    }

    #[test]
    fn every_command_and_option_is_in_a_page_and_in_the_completions_of_three_shells() {
        let made = Made::new();
        let shells =
            ["pvcontrol.bash", "_pvcontrol", "pvcontrol.fish"].map(|name| made.read(&format!("completions/{name}")));
        for path in paths() {
            let page = made.read(&format!("man/pvcontrol-{}.1", path.replace(' ', "-")));
            for (of, words, _) in FLAGS.iter().filter(|(of, ..)| *of == path) {
                for word in words.split([',', ' ']).filter_map(|word| word.strip_prefix("--")) {
                    assert!(page.contains(&word.replace('-', "\\-")), "{of} {word}: {page}");
                }
            }
            let verb = path.rsplit(' ').next().unwrap();
            for shell in &shells {
                assert!(shell.contains(verb), "{path}");
            }
        }
        let options = OPTIONS.iter().map(|(words, _)| *words).chain(FLAGS.iter().map(|(_, words, _)| *words));
        for word in options.flat_map(|words| words.split([',', ' '])).filter_map(|word| word.strip_prefix("--")) {
            for shell in &shells {
                assert!(shell.contains(word), "{word}");
            }
        }
        let whole = made.read("man/pvcontrol.1");
        assert!(whole.contains("no control socket") && whole.contains("containers"), "{whole}");
    }

    #[test]
    fn groff_has_nothing_to_say_about_the_pages() {
        let made = Made::new();
        for page in std::fs::read_dir(made.path("man")).unwrap() {
            let path = page.unwrap().path();
            let mut man = Process::new("man");
            let output = man
                .args(["--warnings", "-E", "UTF-8", "-P", "cat", "-l"])
                .arg(&path)
                .env("LC_ALL", "C.UTF-8")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{}: {said}", path.display());
            let shown = String::from_utf8_lossy(&output.stdout);
            assert!(shown.contains("NAME") && shown.contains("pvcontrol"), "{}: {shown:?}", path.display());
        }
    }

    #[test]
    fn a_real_bash_completes_commands_and_options() {
        let made = Made::new();
        let script = made.path("completions/pvcontrol.bash");
        assert!(Process::new("bash").arg("-n").arg(script).status().unwrap().success());
        assert_eq!(completed(&made, &["pvcontrol", "lo"]), ["logs"]);
        assert_eq!(completed(&made, &["pvcontrol", "containers", "re"]), ["restart"]);
        assert_eq!(completed(&made, &["pvcontrol", "logs", "--si"]), ["--since"]);
        assert_eq!(completed(&made, &["pvcontrol", "cmd", "run", "--re"]), ["--retry"]);
        assert_eq!(completed(&made, &["pvcontrol", "--tab"]), ["--table"]);
    }
}
