//! `cargo fmt`, `clippy` and `doc`, asked for all they find at once: a broken crate does not hide the next.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Finding;
use crate::cargo;

pub(super) fn check() -> Result<Vec<Finding>> {
    let mut findings = fmt()?;
    let clippy =
        ["clippy", "--workspace", "--all-targets", "--keep-going", "--message-format=json", "--", "-Dwarnings"];
    findings.extend(compiler(&clippy, "clippy")?);
    findings.extend(compiler(&["doc", "--workspace", "--no-deps", "--keep-going", "--message-format=json"], "doc")?);
    Ok(findings)
}

fn fmt() -> Result<Vec<Finding>> {
    let output = cargo::command(["fmt", "--all", "--", "--check", "-l"]).output().context("cannot run `cargo fmt`")?;
    let root = cargo::root().to_string_lossy();
    let listed = String::from_utf8_lossy(&output.stdout);
    let files = listed.lines().map(|path| path.trim_start_matches(root.as_ref()).trim_start_matches('/'));
    let mut findings: Vec<_> = files.map(|path| Finding::file(path, "is not formatted; run cargo fmt")).collect();
    if findings.is_empty() && !output.status.success() {
        findings.push(Finding::file("cargo fmt", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(findings)
}

/// A line of `--message-format=json`, as far as we read it.
#[derive(Deserialize)]
struct Line {
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    level: String,
    message: String,
    code: Option<Code>,
    spans: Vec<Span>,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
struct Span {
    file_name: String,
    line_start: usize,
    is_primary: bool,
}

fn compiler(args: &[&str], tool: &str) -> Result<Vec<Finding>> {
    let mut command = cargo::command(args.iter().copied());
    let output =
        command.env("RUSTDOCFLAGS", "-Dwarnings").output().with_context(|| format!("cannot run `cargo {tool}`"))?;
    let mut findings: Vec<_> =
        String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| read(line, tool)).collect();
    if findings.is_empty() && !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error")).collect();
        findings.push(Finding::file(format!("cargo {tool}"), errors.join("; ")));
    }
    Ok(findings)
}

fn read(line: &str, tool: &str) -> Option<Finding> {
    let message = serde_json::from_str::<Line>(line).ok()?.message?;
    // Errors carry a place, except the closing count, which is no finding of its own.
    let span = message.spans.iter().find(|span| span.is_primary)?;
    // On its way `doc` compiles; what the compiler says then, clippy has said already.
    let repeated = tool == "doc" && !message.code.as_ref().is_some_and(|code| code.code.starts_with("rustdoc::"));
    (matches!(message.level.as_str(), "error" | "warning") && !repeated)
        .then(|| Finding::line(&span.file_name, span.line_start, format!("{} ({tool})", message.message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_message_becomes_a_finding_at_its_primary_span() {
        let line = r#"{"reason":"compiler-message","message":{"level":"error","message":"unused","spans":[
            {"file_name":"b.rs","line_start":1,"is_primary":false},{"file_name":"a.rs","line_start":7,"is_primary":true}]}}"#;
        assert_eq!(read(line, "clippy"), Some(Finding::line("a.rs", 7, "unused (clippy)")));
    }

    #[test]
    fn closing_counts_and_artifacts_are_no_findings() {
        let count = r#"{"reason":"compiler-message","message":{"level":"error","message":"aborting","spans":[]}}"#;
        assert_eq!(read(count, "doc"), None);
        assert_eq!(read(r#"{"reason":"compiler-artifact"}"#, "doc"), None);
    }
}
