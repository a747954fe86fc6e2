//! What the kernel refused: the object, the attempt, the answer, and what a kernel without it lacks.

use std::fmt;

use rustix::io::Errno;

/// The kernel said no.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// On what, with its kind: `bridge lxcbr0`.
    pub object: String,
    /// What was attempted, as it reads after "cannot".
    pub doing: &'static str,
    /// The answer.
    pub errno: Errno,
    /// What the kernel said in words, or what is wrong with the object. May be empty.
    pub detail: String,
    /// Options that the kernel lacks, or whose module is not loaded, if the answer says that. May be empty.
    pub needs: &'static str,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: cannot {}: {}", self.object, self.doing, self.errno)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        if !self.needs.is_empty() {
            write!(f, "; the kernel needs {}, built in or loaded", self.needs)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
