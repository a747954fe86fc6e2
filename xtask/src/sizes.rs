//! `sizes`: what the device binary weighs, against the record and the budget in `xtask/sizes.json`.
//!
//! Promises: it measures the program as a device gets it (release profile, static), and fails when that program is not
//! static, is above its budget, or has grown by more than the allowance since the record. `--record` writes the new
//! figure, so that growth shows up in a review. What is in it is told by role ([`parts`]).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Json;
use crate::build;
use crate::cargo;
use crate::elf::Elf;
use crate::parts;
use crate::term::{Out, bold, green, red};
use crate::vendor::Program;

pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROGRAM: &str = "cairn";

#[derive(Args)]
pub(crate) struct Options {
    /// Write today's figure into xtask/sizes.json
    #[arg(long)]
    record: bool,
    #[command(flatten)]
    json: Json,
}

/// `xtask/sizes.json`, by program.
type Book = BTreeMap<String, Entry>;

#[derive(Serialize, Deserialize)]
struct Entry {
    /// Bytes of the file when it was recorded.
    recorded: u64,
    /// Growth since then that needs no new record.
    allowance: u64,
    /// Bytes that the file must never exceed.
    budget: u64,
    /// Why this budget.
    why: String,
}

pub(crate) fn run(options: Options) -> Result<ExitCode> {
    let out = options.json.out();
    let program = build(&Program::ours(), out)?;
    let bytes = std::fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    let elf = Elf::parse(&bytes)?;
    let file = bytes.len() as u64;
    let mut book: Book = serde_json::from_slice(&std::fs::read(path()).context("cannot read xtask/sizes.json")?)?;
    let entry = book.get_mut(PROGRAM).with_context(|| format!("xtask/sizes.json has no entry for {PROGRAM}"))?;
    if options.record {
        entry.recorded = file;
    }
    let parts = parts::of(&std::fs::read(with_symbols(out)?).context("cannot read the program with symbols")?)?;
    let wrong = judge(entry, file, elf.dynamic);
    let change = i128::from(file) - i128::from(entry.recorded);
    if options.json.json {
        println!(
            "{:#}",
            json!({
                "command": "sizes", "passed": wrong.is_empty(), "program": PROGRAM, "target": TARGET, "static": !elf.dynamic,
                "file": file, "text": elf.text, "rodata": elf.rodata, "data": elf.data, "bss": elf.bss,
                "parts": parts.iter().copied().collect::<BTreeMap<_, _>>(), "recorded": entry.recorded, "change": change, "budget": entry.budget, "failures": wrong,
            })
        );
    }
    out.line(bold(
        out,
        "program        file       text     rodata       data        bss   recorded     change     budget",
    ));
    out.line(format!(
        "{PROGRAM:<8} {file:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {change:>+10} {:>10}",
        elf.text, elf.rodata, elf.data, elf.bss, entry.recorded, entry.budget
    ));
    out.line(bold(out, "\nrole or part                     bytes of its own code and data"));
    parts.iter().for_each(|(part, bytes)| out.line(format!("{part:<28} {bytes:>10}")));
    wrong.iter().for_each(|wrong| out.line(format!("{} {wrong}", red(out, "failed"))));
    if !wrong.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    if options.record {
        std::fs::write(path(), format!("{}\n", serde_json::to_string_pretty(&book)?))?;
    }
    out.line(green(out, "static, and within the budget"));
    Ok(ExitCode::SUCCESS)
}

/// Builds a device binary as a device gets it, and says where it is.
pub(crate) fn build(program: &Program, out: Out) -> Result<PathBuf> {
    let mut command = cargo::command(["build", "--release", "--target", TARGET, "--package", program.package]);
    let target = cargo::target_directory()?;
    command.current_dir(program.root).arg("--target-dir").arg(target);
    cargo::must(command.env(FLAGS, flags()), out)?;
    Ok(target.join(TARGET).join("release").join(program.package))
}

/// Where cargo looks for what the compiler is told, each word apart from the next by [`BETWEEN`].
pub(crate) const FLAGS: &str = "CARGO_ENCODED_RUSTFLAGS";
pub(crate) const BETWEEN: &str = "\u{1f}";

/// Static, relocations in their short form (which a static glibc reads since 2.36), and what every program is linked with.
pub(crate) fn flags() -> String {
    let own = ["-Ctarget-feature=+crt-static", "-Clink-arg=-Wl,-z,pack-relative-relocs"].map(str::to_owned);
    [own, build::link_arguments()].concat().join(BETWEEN)
}

/// The same program with its symbols, to see what is in it.
fn with_symbols(out: Out) -> Result<PathBuf> {
    let target = cargo::target_directory()?.join("symbols");
    let mut command = cargo::command(["build", "--release", "--target", TARGET, "--package", PROGRAM, "--target-dir"]);
    command.arg(&target).env("CARGO_PROFILE_RELEASE_STRIP", "none");
    cargo::must(command.env(FLAGS, flags()), out)?;
    Ok(target.join(TARGET).join("release").join(PROGRAM))
}

fn path() -> PathBuf {
    cargo::root().join("xtask/sizes.json")
}

/// Everything that is wrong with this figure.
fn judge(entry: &Entry, file: u64, dynamic: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    if dynamic {
        wrong.push(format!("{PROGRAM} is not static: an initramfs that holds only it would not boot"));
    }
    if file > entry.budget {
        wrong.push(format!("{PROGRAM} has {file} bytes, {} above its budget", file - entry.budget));
    }
    if file > entry.recorded + entry.allowance {
        let grown = file - entry.recorded;
        wrong.push(format!("{PROGRAM} has grown by {grown} bytes; if that is worth it: cargo xtask sizes --record"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry { recorded: 1000, allowance: 100, budget: 2000, why: String::new() }
    }

    #[test]
    fn a_program_at_its_limits_passes_and_one_byte_more_fails() {
        assert!(judge(&entry(), 1100, false).is_empty());
        assert_eq!(judge(&entry(), 1101, false).len(), 1);
        assert_eq!(judge(&Entry { recorded: 2000, ..entry() }, 2001, false).len(), 1);
    }

    #[test]
    fn each_word_for_the_compiler_is_one_whatever_the_path_of_the_tree() {
        let flags = flags();
        assert!(flags.split('\u{1f}').all(|word| word.starts_with("-C")), "{flags:?}");
    }

    #[test]
    fn a_dynamic_program_fails_whatever_its_size() {
        assert_eq!(judge(&entry(), 1, true).len(), 1);
    }
}
