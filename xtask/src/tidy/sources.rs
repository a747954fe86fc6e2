//! What each file of the project owes its reader: a head that says what it promises, an end in sight, nothing left over.

use super::lists::{FOREIGN_PATHS, LEFTOVERS, LONG_FILES, LONGEST};
use super::{File, Finding};

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files.iter().filter_map(|file| Some((file.path.as_str(), file.text.as_deref()?))) {
        findings.extend(head(path, text));
        findings.extend(length(path, text));
        findings.extend(words(path, text));
    }
    for (listed, _) in LONG_FILES {
        if !files.iter().any(|file| file.path == *listed) {
            findings.push(Finding::file(*listed, "does not exist; take it out of LONG_FILES in lists.rs"));
        }
    }
    findings
}

/// A source says in its first line what it promises (`//!`, or inner attributes), a script who runs it (`#!`).
fn head(path: &str, text: &str) -> Option<Finding> {
    let wanted: &[&str] = match extension(path) {
        "rs" => &["//!", "#![", "#!/"],
        "sh" => &["#!/"],
        _ => return None,
    };
    let found = wanted.iter().any(|head| text.starts_with(head));
    (!found)
        .then(|| Finding::line(path, 1, format!("must start with `{}`: say what it promises", wanted.join("` or `"))))
}

/// Only what people write and read from top to bottom.
fn length(path: &str, text: &str) -> Option<Finding> {
    let read = matches!(extension(path), "rs" | "md" | "sh" | "bbclass" | "bb");
    let lines = text.lines().count();
    let listed = LONG_FILES.iter().any(|(long, _)| *long == path);
    match (lines > LONGEST, listed) {
        (true, false) if read => {
            Some(Finding::file(path, format!("has {lines} lines; at {LONGEST} ask what the second noun is")))
        }
        (false, true) => Some(Finding::file(path, "is short enough now; take it out of LONG_FILES in lists.rs")),
        _ => None,
    }
}

fn words(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (word, advice) in LEFTOVERS.iter().filter(|(word, _)| line.contains(word)) {
            findings.push(Finding::line(path, number, format!("`{word}` is left over: {advice}")));
        }
        for place in FOREIGN_PATHS.iter().filter(|place| starts_a_path(line, place)) {
            findings.push(Finding::line(path, number, format!("a path below {place} exists on one machine only")));
        }
    }
    findings
}

/// Whether an absolute path begins with `place` here: `/x/` counts, `target/x/` does not.
fn starts_a_path(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        !before.is_some_and(|before| before.is_alphanumeric() || "._-/})".contains(before))
    })
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_without_a_head_is_found() {
        assert!(head("a.rs", "fn main() {}").is_some());
        assert!(head("a.rs", "//! Promises nothing.").is_none());
        assert!(head("a.sh", "echo").is_some());
        assert!(head("a.toml", "[package]").is_none());
    }

    #[test]
    fn a_file_may_have_six_hundred_lines_and_not_one_more() {
        assert!(length("a.rs", &"x\n".repeat(600)).is_none());
        assert!(length("a.rs", &"x\n".repeat(601)).is_some());
        assert!(length("a.json", &"x\n".repeat(601)).is_none());
    }

    #[test]
    fn leftovers_are_found_with_their_line() {
        let text = concat!("//! Head.\nfn f() { todo", "!() }\n");
        assert_eq!(words("a.rs", text).first().map(|finding| finding.line), Some(Some(2)));
    }

    #[test]
    fn a_path_of_one_machine_is_told_from_a_relative_one() {
        let place = FOREIGN_PATHS[0];
        assert!(starts_a_path(&format!("see {place}me"), place));
        assert!(starts_a_path(&format!("\"{place}me\""), place));
        assert!(!starts_a_path(&format!("root{place}me"), place));
        assert!(!starts_a_path(&format!("{{dir}}{place}me"), place));
    }
}
