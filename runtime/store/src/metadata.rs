//! Metadata of a device, a file for each value.
//!
//! ```text
//!   STORAGE/cache/meta/KEY        what the owner says        STORAGE/cache/devmeta/KEY     what the device says
//! ```
//!
//! The places are those of existing devices, so that one which is taken over keeps its own. What stands there and is no value
//! (no key, too long, not text) is neither shown nor removed. A value that was set is durable; nothing is remembered, so any
//! thread may look.

use formats::metadata::{KEYS_MAX, Key, Metadata, VALUE_MAX, is_value};
use rustix::io::Errno;

use crate::dir::{Dir, DirError};

/// See the module.
#[derive(Debug)]
pub struct MetadataStore {
    storage: Dir,
}

/// Why a value cannot be kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetadataError {
    /// There are [`KEYS_MAX`] others.
    TooMany,
    /// There is none of this key.
    Missing(Key),
    /// It is empty, longer than [`VALUE_MAX`], or has a NUL in it.
    Value(Key),
    /// The storage.
    Dir(DirError),
}

impl From<DirError> for MetadataError {
    fn from(error: DirError) -> Self {
        Self::Dir(error)
    }
}

impl std::fmt::Display for MetadataError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooMany => write!(f, "a device keeps {KEYS_MAX} values of metadata; delete one first"),
            Self::Missing(key) => write!(f, "there is no metadata {key}"),
            Self::Value(key) => write!(f, "{key}: a value is a text of 1 to {VALUE_MAX} bytes without a NUL"),
            Self::Dir(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MetadataError {}

fn place(of: Metadata) -> &'static str {
    match of {
        Metadata::User => "cache/meta",
        Metadata::Device => "cache/devmeta",
    }
}

impl MetadataStore {
    /// The metadata of a device, of which there may be none.
    ///
    /// # Errors
    /// The storage cannot be opened once more.
    pub fn new(storage: &Dir) -> Result<Self, DirError> {
        Ok(Self { storage: storage.again()? })
    }

    /// The keys that there are, in no order; of more than [`KEYS_MAX`], which other tools may have left, any so many.
    ///
    /// # Errors
    /// [`DirError`]
    pub fn keys(&self, of: Metadata) -> Result<Vec<Key>, DirError> {
        let mut keys = Vec::new();
        let Some(dir) = self.storage.sub_if_any(place(of))? else { return Ok(keys) };
        dir.each_name(|name| {
            if keys.len() < KEYS_MAX {
                keys.extend(name.to_str().ok().and_then(|name| Key::parse(name).ok()));
            }
            Ok(())
        })?;
        Ok(keys)
    }

    /// A value, if there is one.
    ///
    /// # Errors
    /// [`DirError`]
    pub fn get(&self, of: Metadata, key: &Key) -> Result<Option<String>, DirError> {
        let bytes = match self.storage.read_if_any(&path(of, key), VALUE_MAX) {
            Err(DirError::TooLarge { .. } | DirError::Kind { .. } | DirError::Link { .. }) => None,
            read => read?,
        };
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| is_value(text)))
    }

    /// Keeps a value, in place of what was there.
    ///
    /// # Errors
    /// [`MetadataError`]: it is still what it was.
    pub fn set(&self, of: Metadata, key: &Key, value: &str) -> Result<(), MetadataError> {
        if !is_value(value) {
            return Err(MetadataError::Value(key.clone()));
        }
        if self.get(of, key)?.as_deref() == Some(value) {
            return Ok(());
        }
        let keys = self.keys(of)?;
        if keys.len() >= KEYS_MAX && !keys.contains(key) {
            return Err(MetadataError::TooMany);
        }
        let dir = self.storage.find_or_make_durably(place(of))?;
        Ok(dir.replace(key.as_str(), value.as_bytes())?)
    }

    /// Forgets a value.
    ///
    /// # Errors
    /// [`MetadataError::Missing`], or the storage.
    pub fn remove(&self, of: Metadata, key: &Key) -> Result<(), MetadataError> {
        let missing = || MetadataError::Missing(key.clone());
        let dir = self.storage.sub_if_any(place(of))?.ok_or_else(missing)?;
        match dir.unlink(key.as_str()) {
            Err(DirError::Os { errno: Errno::NOENT, .. }) => Err(missing()),
            other => Ok(other.and_then(|()| dir.sync())?),
        }
    }
}

fn path(of: Metadata, key: &Key) -> String {
    format!("{}/{key}", place(of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    fn open(scratch: &Scratch) -> MetadataStore {
        MetadataStore::new(scratch.dir()).unwrap()
    }

    #[test]
    fn a_value_is_kept_replaced_and_forgotten_and_of_its_own_kind() {
        let scratch = Scratch::new();
        let store = open(&scratch);
        assert_eq!(store.get(Metadata::User, &key("country")), Ok(None));
        store.set(Metadata::User, &key("country"), "DE").unwrap();
        store.set(Metadata::User, &key("country"), "FR").unwrap();
        assert_eq!(open(&scratch).get(Metadata::User, &key("country")), Ok(Some("FR".into())));
        assert_eq!(store.get(Metadata::Device, &key("country")), Ok(None));
        assert_eq!(std::fs::read_to_string(scratch.path().join("cache/meta/country")).unwrap(), "FR");
        store.remove(Metadata::User, &key("country")).unwrap();
        assert_eq!(store.remove(Metadata::User, &key("country")), Err(MetadataError::Missing(key("country"))));
        assert_eq!(store.remove(Metadata::Device, &key("x")), Err(MetadataError::Missing(key("x"))));
        assert!(store.keys(Metadata::User).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_value_is_refused_and_what_stood_there_stays() {
        let scratch = Scratch::new();
        let store = open(&scratch);
        store.set(Metadata::Device, &key("a"), "1").unwrap();
        for bad in ["", "a\0b", &"x".repeat(VALUE_MAX + 1)] {
            assert_eq!(store.set(Metadata::Device, &key("a"), bad), Err(MetadataError::Value(key("a"))));
        }
        assert_eq!(store.get(Metadata::Device, &key("a")), Ok(Some("1".into())));
    }

    #[test]
    fn there_are_so_many_and_each_of_them_can_still_change() {
        let scratch = Scratch::new();
        let store = open(&scratch);
        (0..KEYS_MAX).for_each(|n| store.set(Metadata::User, &key(&format!("k{n}")), "v").unwrap());
        assert_eq!(store.set(Metadata::User, &key("more"), "v"), Err(MetadataError::TooMany));
        store.set(Metadata::User, &key("k7"), "w").unwrap();
        store.set(Metadata::Device, &key("more"), "v").unwrap();
        assert_eq!(store.keys(Metadata::User).unwrap().len(), KEYS_MAX);
    }

    #[test]
    fn what_others_left_there_is_not_shown_and_not_touched() {
        let scratch = Scratch::new();
        let dir = scratch.path().join("cache/meta");
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        std::fs::write(dir.join(".half.tmp"), "x").unwrap();
        std::fs::write(dir.join("long"), vec![b'x'; VALUE_MAX + 1]).unwrap();
        std::fs::write(dir.join("bytes"), [0xff]).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", dir.join("link")).unwrap();
        let store = open(&scratch);
        for name in ["long", "bytes", "link", "sub"] {
            assert_eq!(store.get(Metadata::User, &key(name)), Ok(None), "{name}");
        }
        store.set(Metadata::User, &key("link"), "v").unwrap();
        assert_eq!(store.get(Metadata::User, &key("link")), Ok(Some("v".into())));
    }
}
