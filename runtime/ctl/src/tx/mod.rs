//! `pvtx`: changes the state of a device part by part, and hands it over as one new revision.
//!
//! ```text
//!   begin ─▶ add, remove, … ─▶ commit    the device has it all, under a name of its own
//!                           └▶ deploy    a directory is its trail: for storage that is not running
//!            current.json, .status       the transaction between two calls, replaced as wholes
//! ```
//!
//! Promises: a command changes the transaction as it says or not at all, after a power cut too, and one works at a time.
//! Objects go where they belong while they are read, so memory holds a state and never an object; those that were brought
//! for a transaction that is then given up are nobody's, and go with the next sweep of the device.
//!
//! A transaction of a *device* ends with `commit`, one with a directory of objects is *local* and ends with `deploy`.

mod args;
mod gzip;
pub mod help;
mod inflate;
mod input;
mod package;
mod parts;
mod place;
mod queue;
mod run;
mod shelf;
mod tar;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, Read, Write as _};
use std::process::ExitCode;

use formats::object::ObjectId;

use crate::failure::Failure;

/// What a command comes to.
type Result<T> = std::result::Result<T, Box<Failure>>;

/// The body of the role. Takes the arguments after the name of the program.
#[must_use]
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let done = args::parse(args).and_then(|(options, command)| run::run(&options, command, &mut io::stdout().lock()));
    let Err(failure) = done else { return ExitCode::SUCCESS };
    // If nobody reads it, the exit code says it nevertheless.
    let _ = writeln!(io::stderr(), "pvtx: {failure}");
    if matches!(*failure, Failure::Usage(_)) {
        let _ = writeln!(io::stderr(), "pvtx --help tells what there is");
    }
    ExitCode::from(failure.exit_code())
}

/// Reads a package as `add` does, keeping nothing: the text of its keys, and each object with its size. For tests of what
/// somebody may hand over.
///
/// # Errors
/// Why it is none, for a person.
pub fn look_into(bytes: &[u8]) -> std::result::Result<(String, Vec<(ObjectId, u64)>), String> {
    struct Sizes(Vec<(ObjectId, u64)>);
    impl package::Sink for Sizes {
        fn object(&mut self, id: ObjectId, _: u64, bytes: &mut dyn Read) -> Result<()> {
            let read = input::pass(&mut { bytes }, u64::MAX).map_err(Failure::io("cannot read"))?;
            self.0.push((id, read));
            Ok(())
        }
    }
    let (mut sizes, mut bytes) = (Sizes(Vec::new()), bytes);
    match package::Package::read(&mut bytes, "package", &mut sizes) {
        Ok(package) => Ok((package.parts.text(), sizes.0)),
        Err(failure) => Err(failure.to_string()),
    }
}
