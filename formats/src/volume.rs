//! Volumes: image files that are mounted read-only, and storage that is writable.
//!
//! ```text
//!   "root-volume": "dm:root.squashfs"        prefix dm: = checked by dm-verity
//!                      └── last extension = how it is mounted
//!   "storage": { "docker--var-lib-web": { "persistence": "permanent", "disk": "secrets" } }
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use crate::document::{Doubt, Item, Read, Warning, Wrong, shown};
use crate::words::words;

/// An image of a container or of the base system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Volume {
    /// The file, relative to the directory of its manifest.
    pub file: String,
    /// Whether its blocks are checked by dm-verity with the table in `_dm/<file>.json`.
    pub verity: bool,
}

/// How an image becomes a mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mount<'v> {
    /// `x.bind`: a copy of the object, bind-mounted as a file.
    Bind,
    /// `x.data`: a directory of the trail, bind-mounted with all below.
    Data,
    /// Anything else: a file system of that type on a loop device.
    FileSystem(&'v str),
}

impl Volume {
    pub(crate) fn read(item: &Item<'_, '_>) -> Read<Self> {
        let text = item.text()?;
        let wrong = || item.error(Wrong::Form { found: shown(text), wanted: "FILE.TYPE or dm:FILE.TYPE" });
        let (file, verity) = match text.split_once(':') {
            Some(("dm", file)) => (file, true),
            Some(_) => return Err(wrong()),
            None => (text, false),
        };
        crate::path::relative(file).map_err(|why| item.error(Wrong::Path(why)))?;
        let volume = Self { file: file.into(), verity };
        match volume.mount() {
            // A type goes into a mount call: letters and digits only.
            Some(Mount::FileSystem(kind)) if !kind.bytes().all(|byte| byte.is_ascii_alphanumeric()) => Err(wrong()),
            Some(Mount::Bind | Mount::Data) if verity => Err(wrong()),
            Some(_) => Ok(volume),
            None => Err(wrong()),
        }
    }

    /// How it is mounted, by its last extension; `None` without one, which no volume that was read has.
    #[must_use]
    pub fn mount(&self) -> Option<Mount<'_>> {
        let name = self.file.rsplit('/').next()?;
        match name.rsplit_once('.')? {
            (_, "") => None,
            (_, "bind") => Some(Mount::Bind),
            (_, "data") => Some(Mount::Data),
            (_, kind) => Some(Mount::FileSystem(kind)),
        }
    }
}

words! {
    /// How long what is written to a storage volume lives.
    pub enum Persistence {
        /// As long as the device.
        Permanent = "permanent",
        /// As long as the revision.
        Revision = "revision",
        /// Until the next boot.
        Boot = "boot",
    }
}

/// A writable directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Storage {
    /// Its name; one component.
    pub name: String,
    /// How long its content lives.
    pub persistence: Persistence,
    /// The disk it lies on, by name or alias; `None` is the default disk.
    pub disk: Option<String>,
}

/// Reads `{ "NAME": { "persistence": …, "disk": … } }`. An entry without persistence is left out and an unknown one
/// lives until the next boot, both with a warning, because existing tools write such entries.
pub(crate) fn read_storage(map: &Item<'_, '_>, warnings: &mut Vec<Warning>) -> Read<Vec<Storage>> {
    let mut list = Vec::new();
    for (name, item) in map.members()?.iter() {
        crate::path::component(name).map_err(|why| item.error(Wrong::Path(why)))?;
        let members = item.members()?;
        members.only(&["persistence", "disk"], warnings);
        let Some(persistence) = members.get("persistence") else {
            warnings.push(item.warning(Doubt::NoEffect("it has no persistence")));
            continue;
        };
        list.push(Storage {
            name: name.into(),
            persistence: persistence.word_or(Persistence::Boot, "\"boot\"", warnings)?,
            disk: members.c_text("disk")?,
        });
    }
    Ok(list)
}

/// How many bytes of an image [`begins_as`] looks at.
pub const HEAD: usize = 2048;

/// Whether an image begins as a file system of this kind does. Of kinds that nobody mounts everything does.
#[must_use]
pub fn begins_as(kind: &str, head: &[u8]) -> bool {
    let magic: (usize, &[u8]) = match kind {
        "squashfs" => (0, b"hsqs"),
        "erofs" => (1024, &[0xE2, 0xE1, 0xF5, 0xE0]),
        "ext4" => (1024 + 56, &[0x53, 0xEF]),
        _ => return true,
    };
    head.get(magic.0..).is_some_and(|rest| rest.starts_with(magic.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;
    use alloc::format;

    fn volume(text: &str) -> Read<Volume> {
        let text = format!("{text:?}");
        let value = document::parse("web/run.json", &text)?;
        Volume::read(&Item::root("web/run.json", &value))
    }

    #[test]
    fn the_last_extension_says_how_a_volume_is_mounted() {
        for (text, mount, verity) in [
            ("root.squashfs", Mount::FileSystem("squashfs"), false),
            ("dm:root.ovl.squashfs", Mount::FileSystem("squashfs"), true),
            ("x.ext4", Mount::FileSystem("ext4"), false),
            ("conf.bind", Mount::Bind, false),
            ("shared/tree.data", Mount::Data, false),
        ] {
            let volume = volume(text).unwrap();
            assert_eq!((volume.mount(), volume.verity), (Some(mount), verity), "{text}");
        }
    }

    #[test]
    fn a_volume_that_is_no_file_of_its_container_is_refused() {
        for text in
            ["../x.squashfs", "/x.squashfs", "x", "x.", "a.b/x", "crypt:x.squashfs", "dm:x.bind", "x.a b", "dm:", ""]
        {
            assert!(volume(text).is_err(), "{text}");
        }
    }

    #[test]
    fn doubtful_storage_is_kept_until_the_next_boot_or_left_out() {
        let text = r#"{"a":{"persistence":"permanent","disk":"d"},"b":{"persistence":"built-in"},"c":{"disk":"d"}}"#;
        let value = document::parse("d", text).unwrap();
        let mut warnings = Vec::new();
        let list = read_storage(&Item::root("d", &value), &mut warnings).unwrap();
        let found: Vec<_> = list.iter().map(|one| (one.name.as_str(), one.persistence, one.disk.as_deref())).collect();
        assert_eq!(found, [("a", Persistence::Permanent, Some("d")), ("b", Persistence::Boot, None)]);
        assert_eq!(warnings.len(), 2);
    }

    #[test]
    fn a_storage_name_is_one_component() {
        for name in ["../x", "a/b", "..", ""] {
            let text = format!(r#"{{"{name}":{{"persistence":"boot"}}}}"#);
            let value = document::parse("d", &text).unwrap();
            assert!(read_storage(&Item::root("d", &value), &mut Vec::new()).is_err(), "{name}");
        }
    }

    #[test]
    fn an_image_is_known_by_its_first_bytes_and_not_by_its_name() {
        let mut head = [0; HEAD];
        for (kind, at, magic) in [
            ("squashfs", 0, &b"hsqs"[..]),
            ("erofs", 1024, &0xE0F5_E1E2_u32.to_le_bytes()[..]),
            ("ext4", 1080, &0xEF53_u16.to_le_bytes()[..]),
        ] {
            assert!(!begins_as(kind, &head), "{kind}");
            head[at..at + magic.len()].copy_from_slice(magic);
            assert!(begins_as(kind, &head) && !begins_as(kind, &head[..at + magic.len() - 1]), "{kind}");
            assert!(!begins_as(kind, b""));
            head.fill(0);
        }
        assert!(begins_as("data", b""));
    }
}
