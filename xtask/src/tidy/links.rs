//! Relative links in Markdown lead to a file or directory of the project; addresses on the network are not asked. And
//! the tests that ARCHITECTURE.md names for its invariants exist.

use super::{File, Finding};
use crate::cargo;

const MAP: &str = "ARCHITECTURE.md";

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let dir = file.path.rsplit_once('/').map_or("", |(dir, _)| dir);
        for (line, target) in file.text.as_deref().map(targets).unwrap_or_default() {
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !cargo::root().join(dir).join(path).exists() {
                findings.push(Finding::line(&file.path, line, format!("the link to {path} leads nowhere")));
            }
        }
    }
    findings
}

/// A test that the map names must be a function of that name.
pub(super) fn check_tests(files: &[File]) -> Vec<Finding> {
    let map = files.iter().find(|file| file.path == MAP).and_then(|file| file.text.as_deref()).unwrap_or_default();
    let sources: Vec<_> =
        files.iter().filter(|file| file.path.ends_with(".rs")).filter_map(|file| file.text.as_deref()).collect();
    let exists = |name: &str| sources.iter().any(|source| source.contains(&format!("fn {name}(")));
    let missing = tests(map).into_iter().filter(|(_, name)| !exists(name));
    missing.map(|(line, name)| Finding::line(MAP, line, format!("there is no test {name}"))).collect()
}

/// Code in a text that can only be the name of a test: a sentence of at least three words, or an invariant.
fn tests(text: &str) -> Vec<(usize, &str)> {
    let is_name =
        |code: &&str| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let is_test = |code: &&str| code.starts_with("invariant_") || code.matches('_').count() >= 2;
    (1..)
        .zip(text.lines())
        .flat_map(|(number, line)| line.split('`').skip(1).step_by(2).map(move |code| (number, code)))
        .filter(|(_, code)| is_name(code) && is_test(code))
        .collect()
}

/// The targets of inline links, `[text](target)`, and of definitions, `[name]: target`, with their lines; none from code.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            // Every second piece lies between backticks. The target of [`code`](target) is in the piece after them.
            for prose in line.split('`').step_by(2) {
                found.extend(prose.split("](").skip(1).filter_map(|rest| Some((number, rest.split_once(')')?.0))));
            }
            if let Some((_, target)) = line.strip_prefix('[').and_then(|line| line.split_once("]: ")) {
                found.push((number, target.trim()));
            }
        }
    }
    found.retain(|(_, target)| !target.contains("://") && !target.starts_with("mailto:"));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<&str> {
        targets(text).into_iter().map(|(_, target)| target).collect()
    }

    #[test]
    fn inline_links_and_definitions_are_found() {
        assert_eq!(of("see [a](a.md) and [`b`](b.md#x)\n\n[c]: c.md\n"), ["a.md", "b.md#x", "c.md"]);
    }

    #[test]
    fn names_of_tests_are_told_from_other_code() {
        let text = "`invariant_whole`, `a_torn_note_spends_the_trial` but `no_std`, `tests/sim/` and `State::Idle`";
        let names: Vec<_> = tests(text).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["invariant_whole", "a_torn_note_spends_the_trial"]);
    }

    #[test]
    fn code_and_addresses_are_left_alone() {
        assert_eq!(of("`[a](a.md)` <https://x.y>\n```\n[b](b.md)\n```\n[c](https://x.y)"), [""; 0]);
    }
}
