//! Why an image could not be read, as the end of a sentence that begins with its name.

use std::fmt;
use std::io;

/// What is wrong with an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ContentsError {
    /// The file that it is in could not be read.
    Read(String),
    /// It contradicts itself, or what every file system keeps to.
    Damaged(&'static str),
    /// It is whole as far as we know, but of a kind that is not read here.
    Unknown(String),
    /// It goes beyond a bound.
    TooMuch {
        /// Of what, in the plural.
        what: &'static str,
        /// The bound.
        most: u64,
    },
}

impl From<io::Error> for ContentsError {
    fn from(error: io::Error) -> Self {
        Self::Read(error.to_string())
    }
}

impl fmt::Display for ContentsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(why) => write!(f, "it cannot be read: {why}"),
            Self::Damaged(what) => write!(f, "it is damaged: {what}"),
            Self::Unknown(what) => write!(f, "{what}"),
            Self::TooMuch { what, most } => write!(f, "it has more than {most} {what}"),
        }
    }
}

impl std::error::Error for ContentsError {}
