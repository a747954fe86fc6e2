//! Cuts power at every durable operation: of single stores, and of whole updates run by the real driver.
//!
//! Two passes, as MCUboot's simulator has them: a run with unlimited power counts the operations, then one run for each
//! operation loses power inside it, in every way the medium can. Then power is lost a second time, at each operation of
//! the recovery. After every cut four things must hold: *something boots*, *what boots is old or new and whole*, *the
//! cells name only what is held, and whole*, and *with power the device settles on old or new*. Boot files are read as
//! a bootloader reads them, without replay. The `marks/…` rows end boots with a mark instead: PID 1 dies, power stays.
//!
//! A check that cannot fail proves nothing, so each kind of fault that the design rules out is planted once, in the
//! `control/…` rows, and **must** be caught.
//!
//! ```text
//!   powercut [--quick | --thorough] [--seed N] [--json] [--only PREFIX]
//! ```
//!
//! First cuts are always tried everywhere. Of the second cuts one in five is, with `--quick` one in 101, and with
//! `--thorough` (some minutes) every one.
//!
//! Exit code 0: no violation, and every control was caught. 1: otherwise. 2: a wrong command line.
#![forbid(unsafe_code)]
#![expect(clippy::panic, reason = "a test program stops where its own setup is wrong")]
#![expect(clippy::indexing_slicing, reason = "the same; and it never runs on a device")]

mod cairns;
mod controls;
mod cuts;
mod device;
mod marks;
mod places;
mod report;
mod slots;
mod stories;
mod txt;
mod updates;
mod world;

use std::process::ExitCode;

use report::Report;

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Chooses what garbage looks like, and in which order a cache is lost.
    pub(crate) seed: u64,
    /// Of the second cuts, one in so many is tried; which one shifts with the first cut. `--thorough` tries all.
    pub(crate) every: u64,
}

struct Arguments {
    effort: Effort,
    json: bool,
    only: String,
}

fn arguments() -> Result<Arguments, lexopt::Error> {
    use lexopt::prelude::*;
    let mut arguments = Arguments { effort: Effort { seed: 1, every: 5 }, json: false, only: String::new() };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => arguments.effort.every = 101,
            Long("thorough") => arguments.effort.every = 1,
            Long("seed") => arguments.effort.seed = parser.value()?.parse()?,
            Long("json") => arguments.json = true,
            Long("only") => arguments.only = parser.value()?.string()?,
            other => return Err(other.unexpected()),
        }
    }
    Ok(arguments)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("powercut: {error}\nusage: powercut [--quick | --thorough] [--seed N] [--json] [--only PREFIX]");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::new(arguments.only);
    places::run(arguments.effort, &mut report);
    updates::run(arguments.effort, &mut report);
    marks::run(arguments.effort, &mut report);
    controls::run(arguments.effort, &mut report);
    if arguments.json {
        println!("{}", report.json())
    } else {
        print!("{report}")
    }
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
