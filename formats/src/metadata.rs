//! Metadata: short texts under names, which belong to one device and to none of its revisions.
//!
//! | whose | it says | kept on the storage as |
//! |---|---|---|
//! | [`Metadata::User`] | what its owner wants this one device to know | `cache/meta/KEY` |
//! | [`Metadata::Device`] | what the device, or a container of it, has found | `cache/devmeta/KEY` |
//!
//! A key `NAME.REST` is for the container NAME, which sees it as a file `REST`. Nobody signs metadata, so nothing that it says
//! can loosen what a revision grants: it is data for programs, and values for places that a signed file has named.
//!
//! Promises: a key is one component of a path, also behind its first dot.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

/// The longest key in bytes.
pub const KEY_MAX: usize = 128;
/// The longest value in bytes.
pub const VALUE_MAX: usize = 4096;
/// The most keys of either kind.
pub const KEYS_MAX: usize = 128;

/// Whose metadata.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Metadata {
    /// What the owner says of the device.
    User,
    /// What the device says of itself.
    Device,
}

impl Metadata {
    /// Both.
    pub const ALL: [Self; 2] = [Self::User, Self::Device];

    /// The word in paths that tools ask for, and of directories in a container.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user-meta",
            Self::Device => "device-meta",
        }
    }
}

/// A name of a value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(String);

/// Why a text is no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// Nothing, or more than [`KEY_MAX`] bytes.
    Length,
    /// A dot that nothing stands before, or two in a row.
    Dot,
    /// This cannot be in it.
    Character(char),
}

impl Key {
    /// Reads a key: letters, digits and `-_.~:@+`, with something before each dot.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() || text.len() > KEY_MAX {
            return Err(KeyError::Length);
        }
        if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_.~:@+".contains(*c))) {
            return Err(KeyError::Character(bad));
        }
        if text.starts_with('.') || text.contains("..") {
            return Err(KeyError::Dot);
        }
        Ok(Self(text.into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is called in the container of this name, if it is for that one.
    #[must_use]
    pub fn within(&self, container: &str) -> Option<&str> {
        let (name, rest) = self.0.split_once('.')?;
        (name == container && !rest.is_empty()).then_some(rest)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => write!(f, "a key of metadata has 1 to {KEY_MAX} bytes"),
            Self::Dot => f.write_str("in a key of metadata something stands before each dot"),
            Self::Character(bad) => {
                write!(f, "{bad:?} cannot be in a key of metadata: letters, digits and -_.~:@+ can")
            }
        }
    }
}

impl core::error::Error for KeyError {}

/// Whether a text can be a value. Files and environments end at a NUL.
#[must_use]
pub fn is_value(text: &str) -> bool {
    !text.is_empty() && text.len() <= VALUE_MAX && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_component_also_behind_its_first_dot() {
        for good in ["a", "pvr-sdk.authorized_keys", "pantahub.log.push", "eth0:1", &"k".repeat(KEY_MAX)] {
            assert_eq!(Key::parse(good).map(|key| key.as_str().len()), Ok(good.len()), "{good}");
        }
        for (bad, why) in [
            ("", KeyError::Length),
            (&"k".repeat(KEY_MAX + 1), KeyError::Length),
            (".hidden", KeyError::Dot),
            ("web...", KeyError::Dot),
            ("a..b", KeyError::Dot),
            ("a/b", KeyError::Character('/')),
            ("a b", KeyError::Character(' ')),
            ("a\n", KeyError::Character('\n')),
            ("ä", KeyError::Character('ä')),
        ] {
            assert_eq!(Key::parse(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn a_container_is_meant_by_all_before_the_first_dot() {
        let key = Key::parse("web.a.b").unwrap();
        assert_eq!((key.within("web"), key.within("web.a"), key.within("we")), (Some("a.b"), None, None));
        assert_eq!(Key::parse("web.").unwrap().within("web"), None);
        assert_eq!(Key::parse("web").unwrap().within("web"), None);
    }

    #[test]
    fn a_value_is_a_bounded_text() {
        assert!(is_value("x") && is_value(&"x".repeat(VALUE_MAX)) && is_value("two\nlines"));
        assert!(!is_value("") && !is_value(&"x".repeat(VALUE_MAX + 1)) && !is_value("a\0b"));
    }
}
