//! Names that were parsed once, at the edge, and are right ever after.
//!
//! Everything behind these types may assume that a name is well formed: a [`RevisionId`] can be used as a
//! directory below `trails/` and as a value in a bootloader's environment without a second look.

use core::fmt;
use core::str::FromStr;

use heapless::String;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest revision name in bytes: `locals/` and a name of 64 characters fit with room to spare.
pub const REVISION_ID_MAX: usize = 96;

/// The name of one revision: `0` (factory), `N` (a step of a hub) or `locals/NAME` (made on the device or at a desk).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevisionId(String<REVISION_ID_MAX>);

/// Why a text is not a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum IdError {
    /// No characters at all.
    Empty,
    /// More than [`REVISION_ID_MAX`] bytes.
    TooLong,
    /// Neither a decimal number nor `locals/NAME`.
    Shape,
    /// A character that has no place in a name, at this byte.
    Character(u8),
}

impl RevisionId {
    /// Parses a revision name.
    ///
    /// # Errors
    /// [`IdError`] says what is wrong. Leading zeros (`007`) are a [`IdError::Shape`]: two names must not mean one number.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > REVISION_ID_MAX {
            return Err(IdError::TooLong);
        }
        match text.strip_prefix("locals/") {
            Some(name) => local_name(name)?,
            None => number(text)?,
        }
        String::try_from(text).map(Self).map_err(|_| IdError::TooLong)
    }

    /// The factory revision, `0`.
    #[must_use]
    pub fn factory() -> Self {
        let mut name = String::new();
        // One byte always fits into 96.
        let _ = name.push('0');
        Self(name)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `NAME` of `locals/NAME`: letters, digits, `-`, `_` and `.`, but no leading dot, so never `.` or `..`.
fn local_name(name: &str) -> Result<(), IdError> {
    match name.bytes().next() {
        None | Some(b'.') => return Err(IdError::Shape),
        Some(_) => {}
    }
    match name.bytes().find(|byte| !(byte.is_ascii_alphanumeric() || b"-_.".contains(byte))) {
        Some(bad) => Err(IdError::Character(bad)),
        None => Ok(()),
    }
}

/// A decimal number without leading zeros.
fn number(text: &str) -> Result<(), IdError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) || (text.len() > 1 && text.starts_with('0')) {
        return Err(IdError::Shape);
    }
    Ok(())
}

impl FromStr for RevisionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl fmt::Debug for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for RevisionId {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", self.as_str());
    }
}

impl Serialize for RevisionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for RevisionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::<REVISION_ID_MAX>::deserialize(deserializer)?;
        Self::parse(&name).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a revision name must not be empty"),
            Self::TooLong => write!(f, "a revision name has at most {REVISION_ID_MAX} bytes"),
            Self::Shape => f.write_str("a revision is named by a decimal number or as locals/NAME"),
            Self::Character(byte) => write!(f, "the byte 0x{byte:02x} cannot stand in a revision name"),
        }
    }
}

impl core::error::Error for IdError {}

/// The SHA-256 of a state's raw bytes: what a revision *is*, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Four bytes tell digests apart in a log; the whole is printed by `Display`.
        self.0.iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_of_a_revision_name_are_accepted() {
        for name in ["0", "7", "1234567890", "locals/a", "locals/pvtx-1700000000-0a1b2c3d-x_y.z"] {
            assert_eq!(RevisionId::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_name_that_could_leave_its_directory_is_refused() {
        for name in ["..", "locals/..", "locals/.hidden", "locals/a/b", "/0", "locals/", "0/..", "current"] {
            assert!(RevisionId::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_name_that_could_break_an_environment_file_is_refused() {
        for name in ["locals/a b", "locals/a=b", "locals/a\n", "locals/a\0", "locals/ä"] {
            assert!(matches!(RevisionId::parse(name), Err(IdError::Character(_))), "{name}");
        }
    }

    #[test]
    fn two_names_never_mean_one_number() {
        assert_eq!(RevisionId::parse("00"), Err(IdError::Shape));
        assert_eq!(RevisionId::parse("07"), Err(IdError::Shape));
    }

    #[test]
    fn a_name_longer_than_the_limit_is_refused() {
        let long = "1".repeat(REVISION_ID_MAX + 1);
        assert_eq!(RevisionId::parse(&long), Err(IdError::TooLong));
    }
}
