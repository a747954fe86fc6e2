//! Manual pages of the tools on a device, and what shells complete them with, from the tables that their help comes from.
//!
//! ```text
//!   logs [-f] [-n LINES] CONTAINER      a word in small letters is a command, or one of several (`start|stop`);
//!                                       one in capitals is an argument; what is in brackets can be left out
//! ```
//!
//! Promises: a command or an option of a table is in each of its files. The parsers on the device are written by hand and
//! small; that they read what their tables say, and nothing else, is tested beside them. `pvr` makes its own from its arguments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Arg, ArgAction, Command, ValueHint};
use clap_complete::Shell;
use ctl::help::Tool;

/// The tools on a device.
const TOOLS: &[Tool] = &[ctl::help::TOOL, ctl::tx::help::TOOL];

/// Writes pages into one directory and completions into another, and says which files these are.
pub(crate) fn write(man: Option<&Path>, completions: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    if let Some(dir) = man {
        make(dir)?;
        let cannot = || format!("cannot write manual pages to {}", dir.display());
        TOOLS.iter().try_for_each(|tool| clap_mangen::generate_to(command(tool), dir)).with_context(cannot)?;
        for page in std::fs::read_dir(dir).with_context(cannot)? {
            let path = page.with_context(cannot)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_ours = TOOLS.iter().any(|tool| name.starts_with(tool.name)) && name.ends_with(".1");
            written.extend(is_ours.then(|| path.clone()));
        }
        written.sort();
    }
    if let Some(dir) = completions {
        make(dir)?;
        for (tool, shell) in
            TOOLS.iter().flat_map(|tool| [Shell::Bash, Shell::Zsh, Shell::Fish].map(|shell| (tool, shell)))
        {
            let path = clap_complete::generate_to(shell, &mut command(tool), tool.name, dir);
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
    fn command(&self, tool: &Tool, name: &'static str, path: &str) -> Command {
        let mut command = Command::new(name).disable_help_subcommand(true);
        if let Some((help, words)) = &self.says {
            command = command.about(*help).args(arguments(words));
        } else {
            let verbs: Vec<&str> = self.below.keys().copied().collect();
            command = command.about(format!("{name}: {}", verbs.join(", "))).subcommand_required(true);
        }
        let own: Vec<Arg> =
            tool.flags.iter().filter(|(of, ..)| *of == path).map(|(_, words, help)| option(words, help)).collect();
        let is_taken =
            |general: &Arg| own.iter().any(|own| own.get_short().is_some() && own.get_short() == general.get_short());
        // What a letter means behind a command is that command's to say.
        let general = general(tool).map(|arg| if is_taken(&arg) { arg.short(None) } else { arg });
        command = command.args(general.collect::<Vec<_>>()).args(own);
        command.subcommands(
            self.below.iter().map(|(name, node)| node.command(tool, name, format!("{path} {name}").trim_start())),
        )
    }
}

/// Everything, as a program that reads its arguments with clap would have it.
fn command(tool: &Tool) -> Command {
    let mut root = Node::default();
    for (words, help) in tool.commands {
        root.add(&words.split(' ').collect::<Vec<_>>(), help);
    }
    let all = root.command(tool, tool.name, "").about(tool.about).long_about(tool.long);
    all.after_long_help(tool.exits).arg_required_else_help(true)
}

fn is_verb(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_lowercase() || b"|-".contains(&byte))
}

fn general(tool: &Tool) -> impl Iterator<Item = Arg> {
    // clap has this one itself.
    tool.options.iter().filter(|(words, _)| !words.ends_with("--help")).map(|(words, help)| option(words, help))
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
    let (mut within, mut depth) = (false, 0);
    let mut arguments = Vec::new();
    for word in words {
        let begins = word.starts_with("[-");
        if begins || within {
            within = !word.contains(']');
            continue;
        }
        let name = word.trim_matches(['[', ']', '…']);
        // What stands beside something that can be left out, can be left out with it.
        depth += word.matches('[').count();
        let mut arg = Arg::new(name).value_name(name).value_hint(hint(name));
        arg = arg.required(depth == 0);
        depth -= word.matches(']').count().min(depth);
        arguments.push(if word.contains('…') { arg.num_args(0..).trailing_var_arg(true) } else { arg });
    }
    arguments
}

fn hint(value: &str) -> ValueHint {
    match value {
        "FILE" | "FILE|-" | "PATH" => ValueHint::FilePath,
        "DIR" | "OBJECTS" => ValueHint::DirPath,
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
    fn paths(tool: &Tool) -> Vec<String> {
        fn collect(node: &Command, before: &str, into: &mut Vec<String>) {
            for below in node.get_subcommands() {
                let path = format!("{before} {}", below.get_name()).trim().to_owned();
                collect(below, &path, into);
                into.push(path);
            }
        }
        let mut all = Vec::new();
        collect(&command(tool), "", &mut all);
        all
    }

    /// What bash offers for the last of these words.
    fn completed(made: &Made, words: &[&str]) -> Vec<String> {
        let script = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_LINE=\"$*\"; COMP_POINT=${#COMP_LINE}
            _$COMP_WORDS $COMP_WORDS \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut bash = Process::new("bash");
        bash.args(["--norc", "-c", script, "bash"])
            .arg(made.path(&format!("completions/{}.bash", words[0])))
            .args(words);
        let output = bash.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        // Without the part of it that only a shell with a terminal has.
        assert!(said.lines().all(|line| line.contains("compopt")), "{said}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_tree_is_what_clap_takes_and_has_each_command_of_the_table_once() {
        TOOLS.iter().for_each(|tool| command(tool).debug_assert());
        for tool in TOOLS {
            assert!(tool.commands.len() <= paths(tool).len());
        }
        let paths = paths(&ctl::help::TOOL);
        for path in
            ["ls", "containers restart", "logs", "cmd run-commit", "steps show-progress", "pair", "pair rm", "help"]
        {
            assert_eq!(paths.iter().filter(|one| *one == path).count(), 1, "{path}: {paths:?}");
        }
    }

    #[test]
    fn every_command_and_option_is_in_a_page_and_in_the_completions_of_three_shells() {
        let made = Made::new();
        for tool in TOOLS {
            let name = tool.name;
            let shells = [format!("{name}.bash"), format!("_{name}"), format!("{name}.fish")]
                .map(|file| made.read(&format!("completions/{file}")));
            for path in paths(tool) {
                let page = made.read(&format!("man/{name}-{}.1", path.replace(' ', "-")));
                for (of, words, _) in tool.flags.iter().filter(|(of, ..)| *of == path) {
                    for word in words.split([',', ' ']).filter_map(|word| word.strip_prefix("--")) {
                        assert!(page.contains(&word.replace('-', "\\-")), "{of} {word}: {page}");
                    }
                }
                let verb = path.rsplit(' ').next().unwrap();
                for shell in &shells {
                    assert!(shell.contains(verb), "{path}");
                }
            }
            let options =
                tool.options.iter().map(|(words, _)| *words).chain(tool.flags.iter().map(|(_, words, _)| *words));
            for word in options.flat_map(|words| words.split([',', ' '])).filter_map(|word| word.strip_prefix("--")) {
                for shell in &shells {
                    assert!(shell.contains(word), "{word}");
                }
            }
            let whole = made.read(&format!("man/{name}.1"));
            assert!(whole.contains("no control socket") && whole.contains(tool.about), "{whole}");
        }
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
            let is_of = TOOLS.iter().any(|tool| shown.contains(tool.name));
            assert!(shown.contains("NAME") && is_of, "{}: {shown:?}", path.display());
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
        assert_eq!(completed(&made, &["pvtx", "com"]), ["commit"]);
        assert_eq!(completed(&made, &["pvtx", "queue", "un"]), ["unpack"]);
        assert_eq!(completed(&made, &["pvtx", "commit", "--me"]), ["--message"]);
    }
}
