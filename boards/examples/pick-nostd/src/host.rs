//! The program of this machine: runs the other one under QEMU, twice, and compares its log with its own answers.
//!
//! ```console
//! $ pick-nostd PROGRAM [--json]
//! ```
//!
//! The second run is the control: the answer at one cell is spoiled, and this must be what is found. Exit 0: the first
//! run differs nowhere, the second at that cell only.

mod compare;
mod machine;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSegment as _};
use serde_json::json;

use crate::cells;
use compare::{Difference, Table};
use machine::Run;

/// As many differences are shown as tell what they have in common.
const SHOWN: usize = 5;

pub(crate) fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).collect::<Vec<_>>();
    let json = arguments.last().is_some_and(|last| last == "--json");
    arguments.truncate(arguments.len() - usize::from(json));
    let result = match <[_; 1]>::try_from(arguments) {
        Ok([program]) => check(&PathBuf::from(program)),
        Err(_) => Err(anyhow::anyhow!("pick-nostd PROGRAM [--json]: PROGRAM is the microcontroller's")),
    };
    match result {
        Ok(report) => {
            if json {
                println!("{:#}", report.json());
            } else {
                report.show();
            }
            if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            if json {
                println!("{:#}", json!({ "command": "pick-nostd", "passed": false, "error": format!("{error:#}") }));
            }
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What both runs have shown.
struct Report {
    cells: usize,
    /// Bytes of code and of what it reads, as they would lie in flash.
    flash: u64,
    /// Bytes of the log, encoded.
    log: usize,
    differences: Vec<Difference>,
    /// The cell whose answer was spoiled.
    spoiled: usize,
    /// What differed then.
    found: Vec<Difference>,
}

/// Both runs.
fn check(program: &PathBuf) -> Result<Report> {
    let bytes = std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let table = Table::parse(&bytes)?;
    let mut expected = Vec::new();
    cells::each(|number, case| expected.push(format!("{number}: {case:?} -> {:?}", case.answer())));
    if expected.is_empty() {
        bail!("the table is empty");
    }
    let run = |spoiled| {
        let Run { log, ended } = machine::run(program, spoiled)?;
        let lines = table.decode(&log)?;
        ended.with_context(|| format!("its last words: {}", lines.last().map_or("none", String::as_str)))?;
        anyhow::Ok((compare::differences(&expected, &lines), log.len()))
    };
    let (differences, log) = run(None)?;
    let spoiled = expected.len() / 2;
    let (found, _) = run(Some(spoiled))?;
    Ok(Report { cells: expected.len(), flash: flash(&bytes)?, log, differences, spoiled, found })
}

/// Bytes of a program that are loaded: not its names, and not the texts of its log.
fn flash(program: &[u8]) -> Result<u64> {
    Ok(object::File::parse(program)?.segments().map(|segment| segment.file_range().1).sum())
}

impl Report {
    fn passed(&self) -> bool {
        self.differences.is_empty() && self.control()
    }

    /// Whether the spoiled answer was found, and nothing else.
    fn control(&self) -> bool {
        matches!(self.found.as_slice(), [one] if one.number == self.spoiled)
    }

    fn show(&self) {
        let Self { cells, flash, log, differences, spoiled, found } = self;
        let different = differences.len();
        println!("{cells} cells on a Cortex-M3: {different} answers differ from this machine's");
        differences.iter().take(SHOWN).for_each(|difference| println!("{difference}"));
        println!("  {flash} bytes of flash, {log} bytes of log");
        if self.control() {
            println!("  one answer spoiled, at cell {spoiled}: found there and nowhere else");
        } else {
            println!("  one answer spoiled, at cell {spoiled}, but {} differ:", found.len());
            found.iter().take(SHOWN).for_each(|difference| println!("{difference}"));
        }
    }

    fn json(&self) -> serde_json::Value {
        let Self { cells, flash, log, differences, spoiled, found } = self;
        let numbers = |of: &[Difference]| of.iter().map(|difference| difference.number).collect::<Vec<_>>();
        json!({
            "command": "pick-nostd", "passed": self.passed(), "cells": cells, "flash": flash, "log": log,
            "differences": numbers(differences), "spoiled": spoiled, "found": numbers(found),
        })
    }
}
