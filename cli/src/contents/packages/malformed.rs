//! Where a database stops making sense.

use std::fmt;

/// What is wrong, and in which line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// Counted from one.
    pub line: usize,
    /// As the end of a sentence.
    pub what: &'static str,
}

impl Malformed {
    pub(super) const fn at(line: usize, what: &'static str) -> Self {
        Self { line, what }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for Malformed {}

/// A name or a version: visible, and with no blank in it.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|one| one.is_whitespace() || one.is_control())
}
