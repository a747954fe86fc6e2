//! Parts of a state: `web,_config/web,-web/src.json`.
//!
//! | part | |
//! |---|---|
//! | `x` | the key `x`, and all below `x/` |
//! | `-x` | neither of them, even if another part takes it |
//!
//! Nothing that is taken means everything. A part ends where a component does: `app` is not `app2`. The format of the
//! state, `#spec`, is in no part. A part does not bring its configuration or signature along; name them.

use formats::path;

use crate::error::{Error, Result};

/// Which keys of a state are meant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selector {
    include: Vec<String>,
    exclude: Vec<String>,
}

impl Selector {
    /// Reads the fragment of an address. The empty one means everything.
    ///
    /// # Errors
    /// A part that no state can have.
    pub fn parse(fragment: &str) -> Result<Self> {
        let mut selector = Self::default();
        let fragment = decoded(fragment).ok_or_else(|| {
            Error::user(format!("the parts {fragment:?} have a `%` that is not followed by two hexadecimal digits"))
        })?;
        for part in fragment.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, list) = match part.strip_prefix('-') {
                Some(name) => (name, &mut selector.exclude),
                None => (part, &mut selector.include),
            };
            let name = name.trim_end_matches('/');
            path::relative(name).map_err(|why| {
                Error::user(format!("the part {part:?}: {why}"))
                    .hint("a part is a path of the state, such as web or _config/web")
            })?;
            list.push(name.into());
        }
        Ok(selector)
    }

    /// As it was typed.
    #[must_use]
    pub fn to_text(&self) -> String {
        let excluded = self.exclude.iter().map(|part| format!("-{part}"));
        self.include.iter().cloned().chain(excluded).collect::<Vec<_>>().join(",")
    }

    /// Whether every key is meant.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// The parts that are taken.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.include.iter().map(String::as_str)
    }

    /// The parts that are kept out.
    pub fn excluded(&self) -> impl Iterator<Item = &str> {
        self.exclude.iter().map(String::as_str)
    }

    /// The same with other names.
    #[must_use]
    pub fn map(&self, rename: impl Fn(&str) -> String) -> Self {
        let all = |parts: &[String]| parts.iter().map(|part| rename(part)).collect();
        Self { include: all(&self.include), exclude: all(&self.exclude) }
    }

    /// Whether a key is replaced by whatever the source has.
    #[must_use]
    pub fn covers(&self, key: &str) -> bool {
        self.include.is_empty() || self.include.iter().any(|part| is_in(key, part))
    }

    /// Whether a key is kept out.
    #[must_use]
    pub fn excludes(&self, key: &str) -> bool {
        key != "#spec" && self.exclude.iter().any(|part| is_in(key, part))
    }

    /// Whether a key of the source is taken.
    #[must_use]
    pub fn takes(&self, key: &str) -> bool {
        self.covers(key) && !self.excludes(key)
    }
}

/// Whether a key is a part, or below it.
#[must_use]
pub fn is_in(key: &str, part: &str) -> bool {
    key.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A text with its `%XX` replaced.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_ends_where_a_component_does() {
        let selector = Selector::parse("app,device.json,-app/src.json").unwrap();
        let taken = ["app/run.json", "app2/run.json", "device.json", "app/src.json", "app/src.json2", "#spec"];
        assert_eq!(taken.map(|key| selector.takes(key)), [true, false, true, false, true, false]);
        let without = Selector::parse("-app").unwrap();
        assert_eq!(taken.map(|key| without.takes(key)), [false, true, true, false, false, true]);
    }

    #[test]
    fn nothing_means_everything_and_a_slash_may_be_encoded() {
        assert!(Selector::parse("").unwrap().is_everything());
        assert!(Selector::parse(",").unwrap().takes("#spec"));
        assert_eq!(Selector::parse("_sigs%2fweb.json").unwrap().to_text(), "_sigs/web.json");
        for text in ["../x", "/x", "a//b", "%2", "%zz", "-"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
