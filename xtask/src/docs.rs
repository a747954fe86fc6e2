//! `docs`: writes the parts of `docs/` that come from the code or from a run, or tells which of them no longer do.
//!
//! ```text
//!   <!-- from the code: NAME -->      between the two lines stands what the part NAME of the table below writes;
//!   <!-- from a run: NAME -->         here what a device and its owner have really said ([`session`])
//!   <!-- end -->                      everything else in the file is written by people
//! ```
//!
//! Promises: the same code writes the same bytes; with `--check` nothing is written, and the exit code says whether
//! anything would be. `tidy` checks what comes from the code; a run takes a minute, and needs root.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use formats::lxc::keys::{HONOURED, IGNORED, REFUSED};
use serde_json::json;

use crate::term::{Out, green};
use crate::{Json, cargo, manual, run, session};

#[derive(Args)]
pub(crate) struct Options {
    /// Write nothing; fail if a part is not what the code says
    #[arg(long)]
    check: bool,
    /// Only what comes from the code: run nothing
    #[arg(long)]
    quick: bool,
    /// Write the manual pages of pvcontrol and pvtx there, and nothing else
    #[arg(long, value_name = "DIR", conflicts_with = "check")]
    man: Option<PathBuf>,
    /// Write what shells complete them with there, and nothing else: bash, zsh and fish
    #[arg(long, value_name = "DIR", conflicts_with = "check")]
    completions: Option<PathBuf>,
    #[command(flatten)]
    json: Json,
}

/// A part of a document.
struct Part {
    file: &'static str,
    /// As the line before it says: where it is from, and its name there.
    name: &'static str,
    write: fn(Out) -> Result<String>,
}

const PARTS: &[Part] = &[Part { file: "docs/lxc.md", name: "from the code: keys", write: |_| Ok(lxc_keys()) }];

const RUNS: &[Part] = &[Part { file: "docs/mission.md", name: "from a run: mission", write: mission }];

const END: &str = "<!-- end -->";

pub(crate) fn run(options: Options) -> Result<ExitCode> {
    let out = options.json.out();
    if options.man.is_some() || options.completions.is_some() {
        let written = manual::write(options.man.as_deref(), options.completions.as_deref())?;
        if options.json.json {
            println!("{:#}", json!({ "command": "docs", "passed": true, "written": written }));
        }
        written.iter().for_each(|path| out.line(format!("{}: written", path.display())));
        return Ok(ExitCode::SUCCESS);
    }
    let mut stale = Vec::new();
    let runs = if options.quick { &[] } else { RUNS };
    for part in PARTS.iter().chain(runs) {
        let (path, is, should) = part.compare(out)?;
        if is == should {
            continue;
        }
        if options.check {
            out.line(difference(&is, &should));
        }
        stale.push(part.file);
        if !options.check {
            std::fs::write(&path, should).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    let passed = stale.is_empty() || !options.check;
    if options.json.json {
        println!("{:#}", json!({ "command": "docs", "passed": passed, "changed": stale }));
    }
    for file in &stale {
        out.line(if options.check { format!("{file}: {STALE}") } else { format!("{file}: written") });
    }
    if stale.is_empty() {
        out.line(green(out, "docs: every part is what the code says"));
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const STALE: &str = "is not what the code says; `cargo xtask docs` writes it";

/// The documents with a part that is not what the code says, and what to do, for `tidy`.
pub(crate) fn check() -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for part in PARTS {
        let (_, is, should) = part.compare(Out::Stderr)?;
        found.extend((is != should).then(|| (part.file.to_owned(), STALE.to_owned())));
    }
    Ok(found)
}

impl Part {
    /// Its file, as it is and as it should be.
    fn compare(&self, out: Out) -> Result<(PathBuf, String, String)> {
        let path = cargo::root().join(self.file);
        let is = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let should = self.replace(&is, out)?;
        Ok((path, is, should))
    }

    fn replace(&self, text: &str, out: Out) -> Result<String> {
        let begin = format!("<!-- {} -->\n", self.name);
        let Some((before, rest)) = text.split_once(&begin) else { bail!("{} has no line {begin}", self.file) };
        let Some((_, after)) = rest.split_once(END) else { bail!("{} has no line {END}", self.file) };
        Ok(format!("{before}{begin}{}{END}{after}", (self.write)(out)?))
    }
}

/// The first line that differs, as it is and as it should be.
fn difference(is: &str, should: &str) -> String {
    let mut lines = is.lines().zip(should.lines()).zip(1..);
    match lines.find(|((is, should), _)| is != should) {
        Some(((is, should), line)) => format!("line {line} is\n  {is}\nand should be\n  {should}"),
        None => format!("{} lines, and should have {}", is.lines().count(), should.lines().count()),
    }
}

/// The commands of `docs/mission.sh`, run on a device of this machine.
fn mission(out: Out) -> Result<String> {
    const SCRIPT: &str = "docs/mission.sh";
    let script =
        std::fs::read_to_string(cargo::root().join(SCRIPT)).with_context(|| format!("cannot read {SCRIPT}"))?;
    let (said, home) = run::said("mission", SCRIPT, out)?;
    session::of(&script, &said, &home)
}

/// What becomes of every key of `lxc.container.conf(5)`.
fn lxc_keys() -> String {
    let mut text = String::from("\n| Key | | |\n|---|---|---|\n");
    // A `String` takes everything.
    for row in HONOURED {
        let _ = writeln!(text, "| `{}` | honoured | {} |", row.key, row.does);
    }
    for row in IGNORED {
        let only = match row.values {
            [] => String::new(),
            values => {
                format!("only {}: ", values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", "))
            }
        };
        let _ = writeln!(text, "| `{}` | ignored | {only}{} |", row.key, row.why);
    }
    for row in REFUSED {
        let _ = writeln!(text, "| `{}` | refused | {} |", row.key, row.why);
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_two_lines_is_written() {
        let part = Part { file: "x.md", name: "from the code: n", write: |_| Ok("new\n".into()) };
        let text = "a\n<!-- from the code: n -->\nold\nold\n<!-- end -->\nb\n";
        let new = part.replace(text, Out::Stderr).unwrap();
        assert_eq!(new, "a\n<!-- from the code: n -->\nnew\n<!-- end -->\nb\n");
        assert_eq!(part.replace(&new, Out::Stderr).unwrap(), new);
        assert!(part.replace("a\n", Out::Stderr).unwrap_err().to_string().contains("x.md has no line"));
    }

    #[test]
    fn every_key_is_a_row_of_three_columns() {
        let rows: Vec<_> = lxc_keys().lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
        assert_eq!(rows.len(), HONOURED.len() + IGNORED.len() + REFUSED.len());
        assert!(rows.iter().all(|row| row.matches('|').count() == 4), "{rows:?}");
    }
}
