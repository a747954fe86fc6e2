//! What the kernel refused: the attempt, the object and the answer, in one type for the whole crate.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The kernel said no.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SystemError {
    /// What was attempted, as it reads after "cannot".
    pub doing: &'static str,
    /// On what.
    pub path: PathBuf,
    /// The answer.
    pub errno: Errno,
}

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.doing, self.path.display(), self.errno)
    }
}

impl std::error::Error for SystemError {}

/// For `map_err`.
pub(crate) fn cannot(doing: &'static str, path: impl AsRef<Path>) -> impl FnOnce(Errno) -> SystemError {
    move |errno| SystemError { doing, path: path.as_ref().to_owned(), errno }
}
