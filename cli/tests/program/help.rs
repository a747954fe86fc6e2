//! What every command says of itself, word for word: a change of it is seen, and meant.
//!
//! `SNAPSHOTS=overwrite cargo test -p cairn-cli --test program help` writes the files below `help/` anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use snapbox::{Data, assert_data_eq};

use crate::bench::Bench;

fn files() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/program/help")
}

/// The commands that a text of help lists.
fn below(help: &str) -> Vec<String> {
    let list = help.split_once("\nCommands:\n").map_or("", |(_, list)| list.split("\n\n").next().unwrap_or_default());
    // Two blanks, the word; what it does may go on in lines that are indented deeper.
    let words = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    words.filter(|word| !word.is_empty() && *word != "help").map(str::to_owned).collect()
}

#[test]
fn outside_of_a_repository_and_with_nonsense_every_command_says_why_it_fails() {
    let bench = Bench::with_web();
    bench.write("file", "x");
    for (code, args, part) in [
        (1, &["putobjects", "../none/objects"][..], "objects"),
        (1, &["man", "file"], "cannot write manual pages"),
        (2, &["cache", "clean", "--max", "much"], "is no size"),
        (2, &["device", "scan", "--nonsense"], "unexpected argument"),
        (2, &["sig", "key", "--nonsense"], "unexpected argument"),
    ] {
        let ran = bench.run(args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{args:?}: {}", ran.stderr);
    }
    fs::rename(bench.path(".pvr"), bench.top().join("books")).unwrap();
    for args in
        [&["app", "ls"][..], &["json"], &["dm", "ls"], &["merge", "../none"], &["add"], &["commit"], &["sig", "ls"]]
    {
        bench.refused(args, &["is not in a repository", "pvr init"]);
    }
}

#[test]
fn the_help_of_every_command_is_what_was_meant() {
    let bench = Bench::new();
    let mut open = vec![Vec::<String>::new()];
    let mut seen = BTreeSet::new();
    while let Some(command) = open.pop() {
        let mut args: Vec<&str> = command.iter().map(String::as_str).collect();
        args.push("--help");
        let ran = bench.ok(&args);
        assert_eq!(ran.stderr, "");
        let name = format!(
            "{}.txt",
            ["pvr"].into_iter().chain(command.iter().map(String::as_str)).collect::<Vec<_>>().join("-")
        );
        assert_data_eq!(ran.stdout.as_str(), Data::read_from(&files().join(&name), None));
        seen.insert(name);
        open.extend(below(&ran.stdout).into_iter().map(|word| [command.clone(), vec![word]].concat()));
    }
    assert!(seen.len() > 30, "{seen:?}");
    let there: BTreeSet<_> =
        fs::read_dir(files()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there.difference(&seen).collect::<Vec<_>>(), Vec::<&String>::new(), "of commands that are no more");
}
