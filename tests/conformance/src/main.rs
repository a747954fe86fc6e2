//! Runs the boot scripts that boards ship, under the bootloaders that they are for, through every pair of boot cells.
//!
//! The rule of every boot script is one function, `statemachine::boot::pick`. A script is written in a language without
//! arithmetic, run by a program that nobody here wrote, and cannot be seen by a unit test. So it is asked: all cases of a
//! board in one session of QEMU, with the commands that jump replaced by ones that say what they were told to start.
//!
//! A check that cannot fail proves nothing: each kind of mistake is planted once, and **must** be found.
//!
//! ```text
//!   conformance [--board NAME] [--session TEXT] [--json]
//! ```
//!
//! Exit code 0: no difference, and every planted script was caught. 1: otherwise. 2: a wrong command line.
#![forbid(unsafe_code)]
#![expect(clippy::panic, reason = "a test program stops where its own setup is wrong")]

mod cases;
mod grub;
mod jobs;
mod report;
mod uboot;

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use clap::builder::PossibleValuesParser;
use serde_json::json;

use jobs::Job;
use report::Board;

/// All sessions of one board.
type Sessions = fn() -> Result<Vec<Job>>;

/// Boards whose bootloader runs under QEMU.
const BOARDS: &[(&str, Sessions)] = &[
    ("qemu-x86_64-grub", grub::jobs),
    ("qemu-arm64-uboot", uboot::arm64),
    ("qemu-arm-orangepi-pc", uboot::orange_pi),
    ("generic-uboot-ab", uboot::slots),
    ("takeover-uboot", uboot::takeover),
];

#[derive(Parser)]
struct Options {
    /// Only this board
    #[arg(long, value_parser = PossibleValuesParser::new(BOARDS.iter().map(|(name, _)| *name)))]
    board: Option<String>,
    /// Only sessions whose name has this text
    #[arg(long)]
    session: Option<String>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let start = Instant::now();
    let (mut boards, mut jobs) = (Vec::new(), Vec::new());
    for (name, sessions) in BOARDS {
        if options.board.as_ref().is_none_or(|board| board == name) {
            boards.push(Board::new(name));
            let is_asked = |job: &Job| options.session.as_ref().is_none_or(|text| job.name.contains(text));
            jobs.extend(sessions()?.into_iter().filter(is_asked));
        }
    }
    if !options.json {
        report::head();
    }
    let boards = Mutex::new(boards);
    jobs::run(jobs, |name, findings| {
        let mut boards = boards.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(board) = boards.iter_mut().find(|board| board.name == name) {
            if !options.json {
                report::print(name, &findings);
            }
            board.add(findings);
        }
    })?;
    let boards = boards.into_inner().unwrap_or_else(PoisonError::into_inner);
    let passed = boards.iter().all(|board| board.passed(options.session.is_none()));
    let seconds = start.elapsed().as_secs_f64();
    if options.json {
        let boards: Vec<_> = boards.iter().map(Board::json).collect();
        println!("{:#}", json!({ "command": "conformance", "passed": passed, "seconds": seconds, "boards": boards }));
    } else {
        println!("{} in {seconds:.0} s", if passed { "passed" } else { "FAILED" });
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
