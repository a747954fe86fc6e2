//! What a command says when it fails: whose matter it is, what is wrong and where, and what to do.
//!
//! | kind | exit code | who can act |
//! |---|---|---|
//! | – | 2 | the command line was not understood (from the parser of arguments) |
//! | [`ErrorKind::User`] | 1 | the person: files, keys, patterns, permissions, space |
//! | [`ErrorKind::Device`] | 3 | whoever has the device |
//! | [`ErrorKind::Network`] | 4 | whoever has the network or the server |
//! | [`ErrorKind::Signature`] | 13 | whoever signed: a signature that was asked about does not count |
//! | [`ErrorKind::Internal`] | 70 | us: this should not happen |

use std::fmt;
use std::io;
use std::path::Path;

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// Who can act.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The person at the keyboard.
    User,
    /// A device refused or failed.
    Device,
    /// Something between here and there.
    Network,
    /// A signature that was asked about does not count.
    Signature,
    /// A bug.
    Internal,
}

/// Why a command failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// Who can act.
    pub kind: ErrorKind,
    /// What is wrong, with the file and the place in it.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ErrorKind {
    /// The code with which the program ends.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Device => 3,
            Self::Network => 4,
            // As existing tools end, and scripts expect.
            Self::Signature => 13,
            Self::Internal => 70,
        }
    }
}

impl Error {
    /// A matter of the person's.
    pub fn user(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::User, message: message.into(), hint: None }
    }

    /// A bug.
    pub fn internal(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Internal, message: message.into(), hint: None }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// A call on a file that failed. `verb` fits after "cannot".
    #[must_use]
    pub fn io(verb: &str, path: &Path, error: &io::Error) -> Self {
        let failed = Self::user(format!("cannot {verb} {}: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                failed.hint("make room and run the command again; the committed state is as it was")
            }
            io::ErrorKind::PermissionDenied => failed.hint("check owner and mode (ls -l), or run as the owner"),
            _ => failed,
        }
    }
}

/// Puts verb and path to the errors of calls on files.
pub(crate) trait Context<T> {
    /// `verb` fits after "cannot".
    fn context(self, verb: &str, path: &Path) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, verb: &str, path: &Path) -> Result<T> {
        self.map_err(|error| Error::io(verb, path, &error))
    }
}

impl<T> Context<T> for rustix::io::Result<T> {
    fn context(self, verb: &str, path: &Path) -> Result<T> {
        self.map_err(|errno| Error::io(verb, path, &errno.into()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_code_of_its_own_and_none_is_that_of_the_argument_parser() {
        let kinds = [ErrorKind::User, ErrorKind::Device, ErrorKind::Network, ErrorKind::Signature, ErrorKind::Internal];
        let codes = kinds.map(ErrorKind::exit_code);
        assert_eq!(codes, [1, 3, 4, 13, 70]);
        assert!(!codes.contains(&2));
    }

    #[test]
    fn a_full_disk_says_what_to_do() {
        let error = Error::io("write", Path::new("x"), &io::Error::from(io::ErrorKind::StorageFull));
        assert!(error.hint.unwrap().contains("make room"));
    }
}
