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

use clap::Parser;
use report::Report;

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Chooses what garbage looks like, and in which order a cache is lost.
    pub(crate) seed: u64,
    /// Of the second cuts, one in so many is tried; which one shifts with the first cut. `--thorough` tries all.
    pub(crate) every: u64,
}

/// Cut power at every durable operation of the real driver.
///
/// First cuts are tried everywhere. With `--board BOARD` this command cuts a whole device instead, at any request to its
/// disk: `cargo xtask powercut --board BOARD --help` has the options of that.
#[derive(Parser)]
#[command(name = "powercut", bin_name = "cargo xtask powercut")]
#[command(
    after_help = "Exit code: 0 no violation, and every planted fault was caught; 1 otherwise; 2 a wrong command line."
)]
struct Options {
    /// Of the second cuts try one in 101, instead of one in five
    #[arg(long, conflicts_with = "thorough")]
    quick: bool,
    /// Try every second cut: some minutes
    #[arg(long)]
    thorough: bool,
    /// Chooses what garbage looks like, and in which order a cache is lost
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Only rows whose name begins with this
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

impl Options {
    fn effort(&self) -> Effort {
        let every = match (self.quick, self.thorough) {
            (true, _) => 101,
            (_, true) => 1,
            _ => 5,
        };
        Effort { seed: self.seed, every }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let effort = options.effort();
    let mut report = Report::new(options.only);
    places::run(effort, &mut report);
    updates::run(effort, &mut report);
    marks::run(effort, &mut report);
    controls::run(effort, &mut report);
    if options.json {
        println!("{}", report.json())
    } else {
        print!("{report}")
    }
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
