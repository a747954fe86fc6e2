//! `test pvr`: all that proves the workstation's tool, and no crate but its own, as a table of what is proven.
//!
//! ```text
//!   cargo test -p cairn-cli ──▶ test GROUP::NAME … ok ──▶ a row for each group
//!                          └──▶ which command ended with what ──▶ a row for commands that no test has seen work, or fail
//! ```
//!
//! Promises: a group that has no test is a failure, and so is a kind of bad input whose test is no more. The tests are those
//! of the stage `unit tests`, so the whole test does not run them twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::term::{Out, bold, green, red};
use crate::{Json, cargo};

/// The name of the stage.
pub(crate) const NAME: &str = "pvr";

/// The package whose tests they are.
const PACKAGE: &str = "cairn-cli";

/// The variable by which the tests are told where to note what they ran.
const NOTES: &str = "PVR_TEST_NOTES";

/// Bad input of each kind, and the test that has it refused with a name and the repository working on.
const BAD_INPUT: [(&str, &str); 10] = [
    ("a layer whose names climb out", "apps::an_image_that_is_damaged_or_means_harm_is_refused_by_name"),
    ("links that lead out of a layer", "hostile::links_of_a_layer_lead_nowhere_but_into_the_image"),
    ("a thousandfold bomb", "hostile::a_bomb_goes_off_at_the_limit"),
    ("a million files", "hostile::a_million_files_are_too_many"),
    ("a digest that differs, a web page", "registries::a_page_a_wrong_blob_and_a_missing_name_are_told_apart"),
    ("429 and Retry-After", "cache::a_busy_registry_is_left_alone_for_as_long_as_it_asks"),
    ("a device with `../` in its state", "remote::what_cannot_be_had_leaves_nothing_and_says_why"),
    ("a damaged object", "hostile::a_damaged_object_is_named_by_whoever_needs_it"),
    ("a repository of a newer version", "bad::a_broken_book_is_named"),
    ("two commits in conflict", "remote::get_stops_before_it_loses_what_was_changed_here"),
];

/// What became of the tests of one group.
#[derive(Default)]
struct Group {
    passed: u32,
    failed: Vec<String>,
}

/// All that was found.
struct Found {
    groups: BTreeMap<String, Group>,
    /// Kinds of bad input whose test did not pass.
    open: Vec<&'static str>,
    /// Commands that no test has seen end well, or badly.
    unseen: Vec<String>,
    commands: usize,
    seconds: f64,
}

impl Found {
    fn is_passed(&self) -> bool {
        self.open.is_empty()
            && self.unseen.is_empty()
            && self.groups.values().all(|group| group.failed.is_empty() && group.passed > 0)
    }
}

/// As a stage among others.
pub(crate) fn check(out: Out) -> Result<()> {
    let found = find(out)?;
    table(&found, out);
    if found.is_passed() { Ok(()) } else { bail!("see the table above") }
}

/// As the only stage.
pub(crate) fn run(wish: Json) -> Result<ExitCode> {
    let found = find(wish.out())?;
    if wish.json {
        println!("{:#}", as_json(&found));
    }
    table(&found, wish.out());
    Ok(if found.is_passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn find(out: Out) -> Result<Found> {
    let programs = build()?;
    let notes = cargo::target_directory()?.join("pvr-notes");
    let _ = fs::remove_file(&notes);
    let start = Instant::now();
    let mut groups = BTreeMap::new();
    let mut passed = BTreeSet::new();
    for (target, program) in &programs {
        out.line(format!("{target}: {}", program.display()));
        let mut command = Command::new(program);
        command.current_dir(cargo::root().join("cli")).env(NOTES, &notes);
        // What tests print is in the way of the table, and stands after the names of those that fail.
        let output =
            command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", program.display()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let tests = read(&said);
        if tests.is_empty() && !output.status.success() {
            bail!("{}: {}: {}", program.display(), output.status, String::from_utf8_lossy(&output.stderr));
        }
        if tests.iter().any(|(_, is_passed)| !is_passed) || !output.status.success() {
            out.line(said.split_once("\nfailures:\n").map_or("", |(_, failures)| failures));
        }
        for (name, is_passed) in tests {
            let group: &mut Group = groups.entry(group(target, &name)).or_default();
            if is_passed {
                group.passed += 1;
                passed.insert(name);
            } else {
                group.failed.push(name);
            }
        }
    }
    let open = BAD_INPUT.iter().filter(|(_, test)| !passed.contains(*test)).map(|(what, _)| *what).collect();
    let commands = commands(&cargo::root().join("cli/tests/program/help"))?;
    let unseen = unseen(&commands, &fs::read_to_string(&notes).unwrap_or_default());
    Ok(Found { groups, open, unseen, commands: commands.len(), seconds: start.elapsed().as_secs_f64() })
}

/// Builds the tests; what they are called, and where they are.
fn build() -> Result<Vec<(String, PathBuf)>> {
    let arguments = ["test", "--package", PACKAGE, "--no-run", "--message-format=json", "--lib", "--bins", "--tests"];
    let output = cargo::command(arguments).stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("the tests of {PACKAGE} cannot be built");
    }
    let mut programs = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Value =
            serde_json::from_str(line).with_context(|| format!("cargo says what is no JSON: {line}"))?;
        let target = message.pointer("/target/name").and_then(Value::as_str);
        let is_test = message.pointer("/profile/test") == Some(&Value::Bool(true));
        if let (Some(target), Some(program), true) =
            (target, message.get("executable").and_then(Value::as_str), is_test)
        {
            programs.push((target.to_owned(), PathBuf::from(program)));
        }
    }
    if programs.is_empty() { bail!("{PACKAGE} has no tests") } else { Ok(programs) }
}

/// The tests of an output, and whether each has passed.
fn read(said: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    for line in said.lines() {
        let Some((name, result)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) else {
            continue;
        };
        match result {
            "ok" => found.push((name.to_owned(), true)),
            "FAILED" => found.push((name.to_owned(), false)),
            // Ignored, or measured.
            _ => {}
        }
    }
    found
}

/// The rows: modules of the tests of the program, and whole targets for the rest.
fn group(target: &str, test: &str) -> String {
    match (target, test.split_once("::")) {
        ("program", Some((module, _))) => format!("program: {module}"),
        ("cli", Some((module, _))) => format!("library: {module}"),
        ("flatten", _) => "layers, beside umoci".to_owned(),
        _ => target.to_owned(),
    }
}

/// The commands that have a text of help and no others below them.
fn commands(help: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(help).with_context(|| format!("cannot read {}", help.display()))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_parent = fs::read_to_string(&path)?.contains("\nCommands:\n");
        found.extend((!is_parent).then_some(name));
    }
    Ok(found)
}

/// The commands of which no line of the notes says that they ended well, and those of which none says the contrary.
fn unseen(commands: &BTreeSet<String>, notes: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    for (code, words) in notes.lines().filter_map(|line| line.split_once(' ')) {
        let words: Vec<_> = words.split(' ').collect();
        // The longest command that the words begin with: `app add` and not `app`.
        let name =
            (1..=words.len().min(3)).rev().map(|len| format!("pvr-{}", words.get(..len).unwrap_or_default().join("-")));
        if let Some(name) = name.into_iter().find(|name| commands.contains(name)) {
            seen.insert((name, code == "0"));
        }
    }
    let missing = |well: bool| {
        let how = if well { "works" } else { "fails" };
        let seen = &seen;
        commands
            .iter()
            .filter(move |name| !seen.contains(&((*name).clone(), well)))
            .map(move |name| format!("{}: no test in which it {how}", name.replace('-', " ")))
    };
    missing(true).chain(missing(false).filter(|line| !CANNOT_FAIL.iter().any(|name| line.starts_with(name)))).collect()
}

/// What has nothing that could go wrong, but for the command line.
const CANNOT_FAIL: [&str; 3] = ["pvr version", "pvr completion", "pvr cache dir"];

fn table(found: &Found, out: Out) {
    out.line(bold(out, &format!("\n{:<28} {:>6} {:>6}", "pvr", "passed", "failed")));
    for (name, group) in &found.groups {
        let failed = if group.failed.is_empty() { green(out, "0") } else { red(out, &group.failed.len().to_string()) };
        out.line(format!("{name:<28} {:>6} {:>6}", group.passed, failed));
        group.failed.iter().for_each(|test| out.line(format!("  {} {test}", red(out, "failed"))));
    }
    let kinds = BAD_INPUT.len();
    out.line(format!("{:<28} {:>6} {:>6}", "kinds of bad input", kinds - found.open.len(), found.open.len()));
    found.open.iter().for_each(|what| out.line(format!("  {} {what}", red(out, "not proven:"))));
    out.line(format!("{:<28} {:>6} {:>6}", "commands", found.commands, found.unseen.len()));
    found.unseen.iter().for_each(|line| out.line(format!("  {} {line}", red(out, "not seen:"))));
    let (passed, failed) = found
        .groups
        .values()
        .fold((0, 0), |(passed, failed), group| (passed + group.passed, failed + group.failed.len()));
    out.line(format!("\n{passed} tests passed, {failed} failed, in {:.1} s", found.seconds));
}

fn as_json(found: &Found) -> Value {
    let groups = found
        .groups
        .iter()
        .map(|(name, group)| json!({ "group": name, "passed": group.passed, "failed": group.failed }));
    json!({
        "command": "test pvr", "passed": found.is_passed(), "seconds": found.seconds, "groups": groups.collect::<Vec<_>>(),
        "bad_input": BAD_INPUT.map(|(what, test)| json!({ "what": what, "test": test, "passed": !found.open.contains(&what) })),
        "commands": found.commands, "not_seen": found.unseen,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_where_the_tests_say_them_and_nowhere_else() {
        let said = "running 3 tests\ntest apps::a ... ok\ntest cache::b ... FAILED\ntest c ... ignored\nrest ... ok\n";
        assert_eq!(read(said), [("apps::a".to_owned(), true), ("cache::b".to_owned(), false)]);
        assert_eq!(group("program", "apps::a"), "program: apps");
        assert_eq!(group("flatten", "a::b"), "layers, beside umoci");
    }

    #[test]
    fn a_command_that_no_test_has_seen_work_and_fail_is_told() {
        let commands = ["pvr-add", "pvr-app-add", "pvr-version"].map(str::to_owned).into();
        let notes = "0 add .\n1 add none\n0 app add x --from y\n0 version\n4 app\n";
        assert_eq!(unseen(&commands, notes), ["pvr app add: no test in which it fails"]);
        assert_eq!(unseen(&commands, "").len(), 5);
    }

    #[test]
    fn what_was_not_run_is_not_passed() {
        let found = |passed| Found {
            groups: [("a".to_owned(), Group { passed, failed: Vec::new() })].into(),
            open: Vec::new(),
            unseen: Vec::new(),
            commands: 1,
            seconds: 0.0,
        };
        assert!(found(1).is_passed() && !found(0).is_passed());
        assert!(!Found { open: vec!["x"], ..found(1) }.is_passed());
    }
}
