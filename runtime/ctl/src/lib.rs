//! `pvcontrol`: shows and steers a running device through its control socket. [`tx`] is `pvtx`, which changes its state.
//!
//! ```text
//!   arguments ─args─▶ Command ─run─▶ requests ─client─▶ pv-ctrl
//!                                  answers ─show─▶ tables, or the JSON as it came
//! ```
//!
//! Promises: the commands, options and exit codes of the program that scripts know by this name. What goes into a pipe
//! or a file is the answer of the device, byte for byte; tables are for terminals. A name that cannot exist is refused
//! before anything is asked. Nothing a device says is an order to a terminal.
#![forbid(unsafe_code)]

mod args;
mod client;
mod console;
mod exec;
mod failure;
pub mod help;
mod logs;
mod relay;
mod run;
mod show;
mod table;
mod top;
pub mod tx;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use failure::Failure;

/// The body of the role. Takes the arguments after the name of the program.
#[must_use]
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let mut out = io::stdout().lock();
    let is_terminal = out.is_terminal();
    let done = args::parse(args).and_then(|(options, command)| run::run(options, command, &mut out, is_terminal));
    let failure = match done {
        Ok(code) => return ExitCode::from(code),
        Err(failure) => failure,
    };
    // If nobody reads it, the exit code says it nevertheless.
    let _ = writeln!(io::stderr(), "pvcontrol: {failure}");
    if matches!(*failure, Failure::Usage(_)) {
        let _ = writeln!(io::stderr(), "pvcontrol --help tells what there is");
    }
    ExitCode::from(failure.exit_code())
}

/// Has PID 1 write once more what journal and boot cells hold, for the role `selftest`: what came of it, as JSON.
///
/// # Errors
/// For a person: why there is no answer.
pub fn rewrite() -> Result<String, String> {
    let answer = client::Client::find(None).and_then(|client| client.send("POST", "/selftest", b""));
    answer.and_then(|answer| answer.text(client::TEXT_MAX)).map_err(|failure| failure.to_string())
}

#[cfg(test)]
mod tests;
