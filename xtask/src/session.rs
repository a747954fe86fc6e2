//! A terminal session as a document shows it: what was really typed and said, made the same for each run.
//!
//! ```text
//!   docs/mission.sh ─▶ the device of the story, `sh -eux` ─▶ + pvr add .          the shell's own trace of a command
//!                                                            Adding raw web/… with sha 30e0…
//!   $ pvr add .                                  ◀─ typed ─┘ the command as it stands in the script
//!   Adding raw web/… with sha …                  ◀─ said ──┘ without what is another in each run
//! ```
//!
//! Promises: nothing of it is written by hand. What is left out is marked by `…`: digests and other long numbers, processes,
//! times, and what a moment takes of memory and processor. A line that is there in some runs only (a device that was busy)
//! is not shown.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};

/// Stands for what is another in each run.
const OTHER: &str = "…";

/// Members of answers whose values are those of a moment.
const MOMENT: [&str; 6] = ["pid", "memory", "memory_peak", "cpu_us", "tasks", "some"];

/// Parts of lines that do not come each time.
const SOMETIMES: [&str; 1] = [" is busy; trying again in "];

/// Digits in a row, of which at least one is decimal: digests and their beginnings, and times in milliseconds.
const LONG: usize = 8;

/// The session of a script that was run by `sh -eux`. `said` is all of its output, `home` the directory that it ran in.
pub(crate) fn of(script: &str, said: &str, home: &str) -> Result<String> {
    let mut typed = commands(script).into_iter();
    let mut text = String::from("\n```console\n");
    for line in said.lines() {
        // A `String` takes everything.
        if line.starts_with("+ set ") || SOMETIMES.iter().any(|part| line.contains(part)) {
            continue;
        }
        if let Some(trace) = line.strip_prefix("+ ") {
            let command = typed.next().with_context(|| format!("the script has no command {trace:?}"))?;
            let (said, meant) = (trace.split(' ').next(), command.split(' ').next());
            ensure!(said == meant, "the shell ran {trace:?} where the script has {command:?}");
            let _ = writeln!(text, "$ {command}");
            continue;
        }
        // One container a line.
        let line = plain(&line.replace(home, "~")).replace("},{\"name\"", "},\n {\"name\"");
        let _ = writeln!(text, "{line}");
    }
    if let Some(command) = typed.next() {
        anyhow::bail!("the script was not run to its end: {command:?} is missing");
    }
    text.push_str("```\n\n");
    Ok(text)
}

/// The commands of a script that has nothing but commands, `&&` and `;`.
fn commands(script: &str) -> Vec<String> {
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let all = lines.flat_map(|line| line.split("&&").flat_map(|part| part.split(';')).collect::<Vec<_>>());
    all.map(str::trim).filter(|command| !command.starts_with("set ")).map(str::to_owned).collect()
}

/// A line without what is another in each run.
fn plain(line: &str) -> String {
    let mut line = line.to_owned();
    for member in MOMENT.into_iter().chain(["full"]) {
        let name = format!("\"{member}\":");
        let mut parts = line.split(&name);
        let mut new = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            let value = if rest.len() < part.len() { OTHER } else { "" };
            new.extend([name.as_str(), value, rest]);
        }
        line = new;
    }
    let mut new = String::new();
    let mut rest = line.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (before, word) = rest.split_at(at);
        let len = word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len());
        let (word, after) = word.split_at(len);
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let is_long = len >= LONG && word.chars().all(is_hex) && word.contains(|c: char| c.is_ascii_digit());
        new.extend([before, if is_long { OTHER } else { word }]);
        rest = after;
    }
    new + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str =
        "#!/bin/sh\nset -eu\n\npvr clone \"http://$DEVICE\" d && cd d\npvr commit -m \"add nginx\"; pvr ls\n";

    #[test]
    fn what_was_typed_stands_over_what_was_said() {
        let said = "+ set -eu\n+ pvr clone http://127.0.0.1 d\ncloned into /tmp/x/work/d: 13 files\n+ cd d\n\
                    + pvr commit -m add nginx\nd is busy; trying again in 7 s\ncommitted 434e6f17d79a4f09\n+ pvr ls\n[]\n";
        let text = of(SCRIPT, said, "/tmp/x/work").unwrap();
        let wanted = "\n```console\n$ pvr clone \"http://$DEVICE\" d\ncloned into ~/d: 13 files\n$ cd d\n\
                      $ pvr commit -m \"add nginx\"\ncommitted …\n$ pvr ls\n[]\n```\n\n";
        assert_eq!(text, wanted);
    }

    #[test]
    fn a_session_that_is_not_that_of_the_script_is_an_error() {
        assert!(of(SCRIPT, "+ pvr clone x\n", "/x").unwrap_err().to_string().contains("\"cd d\" is missing"));
        assert!(of(SCRIPT, "+ cd d\n", "/x").unwrap_err().to_string().contains("where the script has"));
        assert!(of("a\n", "+ a\n+ b\n", "/x").unwrap_err().to_string().contains("no command \"b\""));
    }

    #[test]
    fn what_is_another_in_each_run_is_left_out_and_nothing_else() {
        for (line, wanted) in [
            ("nginx@sha256:64a3aecfaddfd103", "nginx@sha256:…"),
            ("locals/pvr-1795383864955-434e6f17 (434e6f17)", "locals/pvr-…-… (…)"),
            (
                r#"{"pid":10,"restarts":0,"tasks":2,"some":0.50,"none":3}"#,
                r#"{"pid":…,"restarts":0,"tasks":…,"some":…,"none":3}"#,
            ),
            (
                "http://127.0.0.1:12368 at 80/tcp, deadbeef, defaced, 1234567",
                "http://127.0.0.1:12368 at 80/tcp, deadbeef, defaced, 1234567",
            ),
        ] {
            assert_eq!(plain(line), wanted);
        }
    }
}
