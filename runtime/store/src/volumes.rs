//! Whose data a container finds in its `revision` volumes: `disks/rev/<key>/<container>/<volume>`.
//!
//! The key of a container is the last revision that changed the container's own files. An update that leaves a
//! container alone leaves its data alone, and going back to a revision finds the data of then. The keys are fixed when a
//! revision is staged and kept in its trail, one line each, because the revisions they were derived from may be gone:
//!
//! ```text
//!   .pv/volumes     db 3\n
//!                   web locals/x\n
//! ```
//!
//! A trail without that file was made by other tools: there every container has the data of that revision alone.

use std::collections::BTreeMap;

use formats::path::ContainerName;
use formats::state::{Class, Entry, Owner, Revision};
use statemachine::ids::RevisionId;

/// The key of each container of a revision.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct VolumeKeys(BTreeMap<ContainerName, RevisionId>);

/// The most that is read: a line for each container that a state can hold would be less.
pub(crate) const TEXT_MAX: usize = 4 << 20;

impl VolumeKeys {
    /// The keys of a revision that has nothing before it: its own name.
    #[must_use]
    pub fn own(revision: &Revision, id: &RevisionId) -> Self {
        Self(revision.containers().iter().map(|name| (name.clone(), id.clone())).collect())
    }

    /// The keys of a revision that follows another.
    #[must_use]
    pub fn following(revision: &Revision, id: &RevisionId, base: &Revision, keys: &Self) -> Self {
        let mut own = Self::own(revision, id);
        for (name, key) in &mut own.0 {
            if let Some(earlier) = keys.get(name).filter(|_| files(revision, name) == files(base, name)) {
                *key = earlier.clone();
            }
        }
        own
    }

    /// The key of a container of the revision.
    #[must_use]
    pub fn get(&self, name: &ContainerName) -> Option<&RevisionId> {
        self.0.get(name)
    }

    /// All keys, some of them several times.
    pub fn keys(&self) -> impl Iterator<Item = &RevisionId> {
        self.0.values()
    }

    pub(crate) fn to_text(&self) -> String {
        self.0.iter().map(|(name, key)| format!("{name} {key}\n")).collect()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        if !text.is_empty() && !text.ends_with('\n') {
            return None;
        }
        let line = |line: &str| {
            let (name, key) = line.split_once(' ')?;
            Some((ContainerName::parse(name).ok()?, RevisionId::parse(key).ok()?))
        };
        text.split_terminator('\n').map(line).collect::<Option<_>>().map(Self)
    }
}

/// A container's own files by name, with what is in them. What devices ignore is left out.
fn files<'r>(revision: &'r Revision, name: &ContainerName) -> BTreeMap<&'r str, Content<'r>> {
    let own = |entry: &Entry<'_>| entry.class != Class::Ignored && revision.owner(entry.key) == Owner::Container(name);
    revision.entries().filter(own).map(|entry| (entry.key, Content::of(entry))).collect()
}

#[derive(PartialEq)]
enum Content<'r> {
    Object(formats::object::ObjectId),
    Text(&'r str),
}

impl<'r> Content<'r> {
    fn of(entry: Entry<'r>) -> Self {
        match entry.class {
            Class::Object(id) => Self::Object(id),
            _ => Self::Text(entry.raw),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{id, revision};

    const A: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const B: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

    fn key(keys: &VolumeKeys, name: &str) -> String {
        keys.get(&ContainerName::parse(name).unwrap()).unwrap().to_string()
    }

    #[test]
    fn only_a_container_whose_own_files_changed_starts_with_empty_volumes() {
        let rest = r#""web/run.json":{},"db/run.json":{}"#;
        let first = revision(&format!(r#"{rest},"web/x":"{A}","db/x":"{A}","_config/db/y":"{A}""#));
        let second = revision(&format!(
            r#""new/run.json":{{}},"bsp/k":"{B}",{rest},"db/src.json":{{}},"db/x":"{A}","web/x":"{B}","_config/db/y":"{A}""#
        ));
        let third = revision(&format!(r#"{rest},"web/x":"{B}","db/x":"{A}","_config/db/y":"{B}""#));
        let one = VolumeKeys::own(&first, &id("1"));
        let two = VolumeKeys::following(&second, &id("2"), &first, &one);
        let three = VolumeKeys::following(&third, &id("locals/3"), &second, &two);
        assert_eq!(["web", "db", "new"].map(|name| key(&two, name)), ["2", "1", "2"]);
        assert_eq!(["web", "db"].map(|name| key(&three, name)), ["2", "locals/3"]);
    }

    #[test]
    fn keys_are_written_and_read_back_and_a_torn_file_is_no_keys() {
        let revision = revision(r#""web/run.json":{},"db/run.json":{}"#);
        let keys = VolumeKeys::own(&revision, &id("locals/x"));
        let text = keys.to_text();
        assert_eq!(text, "db locals/x\nweb locals/x\n");
        assert_eq!(VolumeKeys::parse(text.as_bytes()), Some(keys));
        for length in 1..text.len() {
            let whole_line = text.as_bytes()[length - 1] == b'\n';
            assert_eq!(VolumeKeys::parse(&text.as_bytes()[..length]).is_some(), whole_line, "{length}");
        }
        assert_eq!(VolumeKeys::parse(b"../x 1\n"), None);
        assert_eq!(VolumeKeys::parse(b"web ../1\n"), None);
    }
}
