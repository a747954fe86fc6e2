//! `tidy`: what no compiler checks. It lists everything it finds, sorted by place, and fails if there is anything.
//!
//! | module | checks |
//! |---|---|
//! | [`layers`] | a crate imports from lower layers only; every room is named in ARCHITECTURE.md |
//! | [`licences`] | what we depend on may be shipped; what must not reach a device does not |
//! | [`sources`] | heads of files, lengths, leftovers, words that have no place here |
//! | [`boards`] | no board costs more lines than it may; every board is a row of `boards/all` |
//! | [`docs`] | what is written from the code is what the code says |
//! | [`links`] | relative links in Markdown lead somewhere; tests that the map names exist |
//! | [`tools`] | `cargo fmt`, `clippy` and `doc` have nothing to say |
//!
//! The rules are code; what is exempt or forbidden by name is data, in [`lists`].

mod layers;
mod licences;
mod links;
mod lists;
mod sources;
mod tools;

use std::fmt;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::cargo::{self, Metadata};
use crate::term::{Out, green};
use crate::{Json, boards, docs};

#[derive(Args)]
pub(crate) struct Options {
    /// Leave out fmt, clippy and doc
    #[arg(long)]
    fast: bool,
    #[command(flatten)]
    json: Json,
}

/// How much is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What can be read from files and metadata, in less than a second.
    Sources,
    /// Also what the compiler's tools find.
    Full,
}

/// One thing to put right, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Finding {
    file: String,
    line: Option<usize>,
    text: String,
}

impl Finding {
    fn file(file: impl Into<String>, text: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, text: text.into() }
    }

    fn line(file: impl Into<String>, line: usize, text: impl Into<String>) -> Self {
        Self { file: file.into(), line: Some(line), text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, text } = self;
        match line {
            Some(line) => write!(f, "{file}:{line}: {text}"),
            None => write!(f, "{file}: {text}"),
        }
    }
}

pub(crate) fn run(options: Options) -> Result<ExitCode> {
    let depth = if options.fast { Depth::Sources } else { Depth::Full };
    let findings = find(depth)?;
    if options.json.json {
        println!("{:#}", json!({ "command": "tidy", "passed": findings.is_empty(), "findings": findings }));
    }
    list(&findings, options.json.out());
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The same, as a stage of `test`.
pub(crate) fn check(out: Out, depth: Depth) -> Result<()> {
    let findings = find(depth)?;
    list(&findings, out);
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    Ok(())
}

fn list(findings: &[Finding], out: Out) {
    findings.iter().for_each(|finding| out.line(finding.to_string()));
    match findings.len() {
        0 => out.line(green(out, "tidy: nothing to put right")),
        number => out.line(format!("tidy: {number} to put right")),
    }
}

fn find(depth: Depth) -> Result<Vec<Finding>> {
    let metadata = Metadata::read()?;
    let files = project_files()?;
    let mut findings = layers::check(&metadata);
    findings.extend(layers::check_map(&metadata, &files));
    findings.extend(licences::check(&metadata));
    findings.extend(sources::check(&files));
    findings.extend(boards::check()?.into_iter().map(|(place, what)| Finding::file(place, what)));
    findings.extend(docs::check()?.into_iter().map(|(place, what)| Finding::file(place, what)));
    findings.extend(links::check(&files));
    findings.extend(links::check_tests(&files));
    if depth == Depth::Full {
        findings.extend(tools::check()?);
    }
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// A file of the project, by its path below the root.
struct File {
    path: String,
    /// `None`: not text.
    text: Option<String>,
}

/// Every file that belongs to the project, or would if it were added now.
fn project_files() -> Result<Vec<File>> {
    let mut git = Command::new("git");
    git.current_dir(cargo::root()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.output().context("cannot run `git ls-files`")?;
    if !output.status.success() {
        bail!("`git ls-files` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let mut paths: Vec<_> = String::from_utf8(output.stdout)?.split_terminator('\0').map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        // A file that was deleted and not yet staged is none of ours any more.
        if let Ok(bytes) = std::fs::read(cargo::root().join(&path)) {
            files.push(File { path, text: String::from_utf8(bytes).ok() });
        }
    }
    Ok(files)
}
