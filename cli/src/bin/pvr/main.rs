//! `pvr`: parse, call the library, print, exit. Everything that is printed is printed below this directory.
//!
//! | exit code | |
//! |---|---|
//! | 0 | done |
//! | 1 | files, keys, patterns, permissions, space: the message says which |
//! | 2 | the command line was not understood |
//! | 3 | a device refused or failed |
//! | 4 | the network, or what stands between here and there |
//! | 70 | a bug of ours |
#![forbid(unsafe_code)]

mod args;
mod commands;
mod progress;
mod term;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = args::Args::parse_from(args::spelled(std::env::args_os()));
    match commands::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(term::Failure::Output) => ExitCode::FAILURE,
        Err(term::Failure::Command(error)) => {
            term::complain(&error);
            ExitCode::from(error.kind.exit_code())
        }
    }
}
