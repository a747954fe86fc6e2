//! Names that become files: checked once, here, so that no writer of a trail has to look again.
//!
//! A state key is a relative path. It has no empty, `.` or `..` component, no control character, no leading or trailing
//! `/`, and does not begin with `.pv` or `.pvr`, where a trail keeps its own books. Blanks are legal, and so is any
//! other printable character, for people name files as they like.

use alloc::string::String;
use core::fmt;

/// The longest key in bytes: fits `PATH_MAX` with the path of the trail before it.
pub const KEY_MAX: usize = 1024;

/// The longest component in bytes: what file systems hold.
pub const COMPONENT_MAX: usize = 255;

/// The longest container name in bytes: it stands in socket paths, of which a kernel holds 107 bytes.
pub const NAME_MAX: usize = 64;

/// Why a text cannot name a file of a revision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathError {
    /// Empty, or an empty component (`a//b`, `a/`).
    Empty,
    /// Begins with `/`.
    Absolute,
    /// A `.` or `..` component.
    Dots,
    /// A control character or NUL.
    Control,
    /// Longer than [`KEY_MAX`], or a component longer than [`COMPONENT_MAX`].
    TooLong,
    /// Below `.pv` or `.pvr`.
    Reserved,
    /// More than one component where a plain name is wanted.
    Slash,
    /// A character that a container cannot be named with.
    Character(char),
}

/// Checks that a text is a relative path that stays below its root.
///
/// # Errors
/// [`PathError`] says why not.
pub fn relative(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.starts_with('/') {
        return Err(PathError::Absolute);
    }
    if path.len() > KEY_MAX {
        return Err(PathError::TooLong);
    }
    if path.contains(char::is_control) {
        return Err(PathError::Control);
    }
    path.split('/').try_for_each(|component| match component {
        "" => Err(PathError::Empty),
        "." | ".." => Err(PathError::Dots),
        long if long.len() > COMPONENT_MAX => Err(PathError::TooLong),
        _ => Ok(()),
    })
}

/// Checks that a text can be a key of a state: [`relative`], and not where a trail keeps its books.
///
/// # Errors
/// [`PathError`] says why not.
pub fn key(key: &str) -> Result<(), PathError> {
    relative(key)?;
    match key.split('/').next() {
        Some(".pv" | ".pvr") => Err(PathError::Reserved),
        _ => Ok(()),
    }
}

/// Checks that a text is a single component.
///
/// # Errors
/// [`PathError`] says why not.
pub fn component(name: &str) -> Result<(), PathError> {
    relative(name)?;
    if name.contains('/') { Err(PathError::Slash) } else { Ok(()) }
}

/// The name of a container: a letter or digit, then letters, digits, `-`, `_`, `.`; it stands unquoted in mount
/// entries, cgroup and socket paths and hook arguments. `bsp` is not one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ContainerName(String);

impl ContainerName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`PathError`] says what is wrong.
    pub fn parse(name: &str) -> Result<Self, PathError> {
        component(name)?;
        if name.len() > NAME_MAX {
            return Err(PathError::TooLong);
        }
        if name == "bsp" {
            return Err(PathError::Reserved);
        }
        if let Some(first) = name.chars().next().filter(|first| !first.is_ascii_alphanumeric()) {
            return Err(PathError::Character(first));
        }
        match name.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_.".contains(*c))) {
            Some(bad) => Err(PathError::Character(bad)),
            None => Ok(Self(name.into())),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the name or one of its components is empty"),
            Self::Absolute => f.write_str("the path is absolute; it must be relative to the revision"),
            Self::Dots => f.write_str("`.` and `..` cannot be components"),
            Self::Control => f.write_str("control characters cannot stand in a name"),
            Self::TooLong => f.write_str("the name or one of its components is too long"),
            Self::Reserved => f.write_str("the name is reserved"),
            Self::Slash => f.write_str("a name without `/` is wanted"),
            Self::Character(c) => write!(f, "{c:?} cannot stand in the name of a container"),
        }
    }
}

impl core::error::Error for PathError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_could_leave_its_trail_is_refused() {
        for (bad, why) in [
            ("../x", PathError::Dots),
            ("a/../../x", PathError::Dots),
            ("a/..", PathError::Dots),
            ("./a", PathError::Dots),
            ("/etc/passwd", PathError::Absolute),
            ("a//b", PathError::Empty),
            ("a/", PathError::Empty),
            ("", PathError::Empty),
            ("a\0b", PathError::Control),
            ("a\nb", PathError::Control),
            (".pvr/json", PathError::Reserved),
            (".pv/done", PathError::Reserved),
            (".pvr", PathError::Reserved),
        ] {
            assert_eq!(key(bad), Err(why), "{bad:?}");
        }
        assert_eq!(key(&"a/".repeat(600)), Err(PathError::TooLong));
        assert_eq!(key(&"a".repeat(256)), Err(PathError::TooLong));
    }

    #[test]
    fn people_name_files_as_they_like() {
        for good in ["a b/c", "_config/web/.hidden", "a\\x2db.mount", "ä/ö", "..a", "...", ".pvrx/json", "a/.pvr/json"]
        {
            assert_eq!(key(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn a_container_name_can_stand_unquoted_in_a_mount_entry() {
        for good in ["web", "pv-avahi", "a.b_c", "0"] {
            assert!(ContainerName::parse(good).is_ok(), "{good}");
        }
        for bad in ["a b", "a/b", "_config", ".x", "-x", "#x", "bsp", "ä", "a,b", "", "..", &"a".repeat(65)] {
            assert!(ContainerName::parse(bad).is_err(), "{bad}");
        }
    }
}
