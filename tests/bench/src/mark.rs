//! The first program of a container that is measured: says when it runs, then becomes the program of its arguments.
//!
//! ```text
//!   runs at 123456789012        nanoseconds of CLOCK_MONOTONIC, which is the same inside of a container and outside
//! ```
#![forbid(unsafe_code)]

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    // First of all: whatever else it does is no part of the start.
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    println!("runs at {}{:09}", now.tv_sec, now.tv_nsec);
    let mut args = std::env::args_os().skip(1);
    let Some(program) = args.next() else { return ExitCode::from(2) };
    eprintln!("{}: {}", program.display(), Command::new(&program).args(args).exec());
    ExitCode::from(126)
}
