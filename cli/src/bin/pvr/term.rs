//! Standard output and standard error: results go to the first, everything else to the second.
//!
//! Colours are there on a terminal only, and not where `NO_COLOR` is set. A closed output (`pvr diff | head`) ends the
//! program with 1 and without a word.

use std::fmt::Display;
use std::io::{self, Write as _};

use anstyle::{AnsiColor, Style};
use cli::{Error, ErrorKind};

/// Why the program does not end with 0.
pub(crate) enum Failure {
    /// The command failed.
    Command(Error),
    /// Nobody takes what is printed.
    Output,
}

pub(crate) type Done = Result<(), Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Command(error)
    }
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Output
    }
}

pub(crate) const RED: Style = AnsiColor::Red.on_default();
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
const BOLD_RED: Style = RED.bold();
const CYAN: Style = AnsiColor::Cyan.on_default();

/// One line of the result.
pub(crate) fn out(line: impl Display) -> Done {
    Ok(writeln!(anstream::stdout(), "{line}")?)
}

/// One line about what is being done.
pub(crate) fn note(line: impl Display) {
    // Nobody listens: nothing to be done about it.
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// Something that a person should look at.
pub(crate) fn warn(line: impl Display) {
    note(format_args!("{YELLOW}warning:{YELLOW:#} {line}"));
}

/// Why the command failed, and what to do.
pub(crate) fn complain(error: &Error) {
    note(format_args!("{BOLD_RED}error:{BOLD_RED:#} {error}"));
    if let Some(hint) = &error.hint {
        note(format_args!("{CYAN}hint:{CYAN:#} {hint}"));
    }
    if error.kind == ErrorKind::Internal {
        note("this is a bug of pvr; please report it with the state (.pvr/json)");
    }
}
