//! `model`, `replay`, `powercut` and `fuzz`: each runs the crate of that name below `tests/`, optimised, and passes its
//! arguments and exit code through. Thin on purpose: those crates are programs of their own. Without arguments each does
//! what `cargo xtask test` expects of it.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::cargo;
use crate::term::Out;

/// A program below `tests/` and the first argument that selects what it does.
#[derive(Clone, Copy)]
pub(crate) struct Explorer {
    package: &'static str,
    verb: Option<&'static str>,
    optimised: bool,
}

impl Explorer {
    pub(crate) const MODEL: Self = Self { package: "cairn-tests-model", verb: Some("explore"), optimised: true };
    pub(crate) const MUTANTS: Self = Self { package: "cairn-tests-model", verb: Some("mutants"), optimised: true };
    pub(crate) const REPLAY: Self = Self { package: "cairn-tests-model", verb: Some("replay"), optimised: true };
    /// `replay` as it is built for a test: the log of a real run is short.
    pub(crate) const FOLLOW: Self = Self { package: "cairn-tests-model", verb: Some("replay"), optimised: false };
    pub(crate) const POWERCUT: Self = Self { package: "cairn-tests-powercut", verb: None, optimised: true };
    pub(crate) const FUZZ: Self = Self { package: "cairn-tests-fuzz", verb: None, optimised: true };
    pub(crate) const DISKCUTS: Self = Self { package: "cairn-tests-diskcuts", verb: None, optimised: true };
    /// It waits for QEMU, whatever it is built as.
    pub(crate) const CONFORMANCE: Self = Self { package: "cairn-tests-conformance", verb: None, optimised: false };

    /// The cargo command that runs it.
    pub(crate) fn command<S: AsRef<str>>(self, args: &[S]) -> Command {
        let profile = if self.optimised { "--profile=explore" } else { "--profile=dev" };
        let mut command = cargo::command(["run", "--quiet", profile, "--package", self.package, "--"]);
        command.args(self.verb).args(args.iter().map(AsRef::as_ref));
        command
    }
}

/// Runs it in sight. Exit: that of the program.
pub(crate) fn run(explorer: Explorer, args: &[String]) -> Result<ExitCode> {
    let status = cargo::status(&mut explorer.command(args), Out::Stdout)?;
    // Without a code it was killed by a signal, which is no success.
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
