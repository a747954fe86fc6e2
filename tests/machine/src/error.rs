//! What can go wrong with a machine, with what is needed to understand it: the last lines of the console.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The result of everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program or a firmware file is not on this host.
    #[error("{what} of the package {package} is missing: run `cargo xtask setup`")]
    Missing {
        /// The file or program.
        what: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// This kind of machine cannot be what the plan says.
    #[error("the plan of a machine: {0}")]
    Plan(String),
    /// A file of the machine.
    #[error("cannot {verb} {}", path.display())]
    File {
        /// What was tried with it.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// QEMU did not start.
    #[error("cannot start {program}: {why}")]
    Start {
        /// The name of the program.
        program: &'static str,
        /// What it has said, or the error of the system.
        why: String,
    },
    /// The machine is off (or on) and would have to be on (or off).
    #[error("the machine is {}", if *.on { "on" } else { "off" })]
    Power {
        /// How it is.
        on: bool,
    },
    /// What was waited for did not come in time.
    #[error("waited {:.1} s for {what}; the last lines of the console:\n{tail}", waited.as_secs_f64())]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        waited: Duration,
        /// The last lines.
        tail: String,
    },
    /// The machine went off while something was waited for.
    #[error("the machine went off ({end}) before {what}; the last lines of the console:\n{tail}")]
    WentOff {
        /// What was waited for.
        what: String,
        /// How it ended.
        end: String,
        /// The last lines.
        tail: String,
    },
    /// QEMU refused an order or did not understand it.
    #[error("QEMU on `{order}`: {why}")]
    Order {
        /// The order.
        order: &'static str,
        /// What it has answered.
        why: String,
    },
    /// No port of the guest with that number is forwarded.
    #[error("port {0} of the guest is not forwarded")]
    NotForwarded(u16),
}

impl Error {
    pub(crate) fn file(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { verb, path, source }
    }
}
