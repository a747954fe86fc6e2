//! What differs between two images, name by name.
//!
//! Contents are compared where lengths are equal, and not read where they differ. Times are no difference: they change
//! with every build and nothing reads them. Of names of one file each is told by itself.

use std::collections::BTreeMap;

use super::{ContentsError, Entry, Image, Kind};
use crate::watch::Watch;

/// How one name differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Only the new image has it.
    Added(Entry),
    /// Only the old one.
    Removed(Entry),
    /// Both have it, and these are not the same.
    Changed {
        /// As it was.
        from: Entry,
        /// As it is.
        to: Entry,
        /// In what they differ, at least one.
        aspects: Vec<Aspect>,
    },
}

/// What of a name can differ.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Aspect {
    /// What it is: a file, a directory, …
    Kind,
    /// The bytes of a file.
    Contents,
    /// Where a link leads.
    Target,
    /// The numbers of a device node.
    Device,
    /// Permissions.
    Mode,
    /// User or group.
    Owner,
    /// Extended attributes.
    Attributes,
}

impl Aspect {
    /// In one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Contents => "contents",
            Self::Target => "target",
            Self::Device => "device",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Attributes => "attributes",
        }
    }
}

/// All that differs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes(pub BTreeMap<Vec<u8>, Change>);

/// How much that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Names that are new.
    pub added: usize,
    /// Names that are gone.
    pub removed: usize,
    /// Names with other contents or attributes.
    pub changed: usize,
    /// Bytes of files that are new, or have other contents now.
    pub bytes_in: u64,
    /// Bytes of files that are gone, or had other contents.
    pub bytes_out: u64,
}

impl Summary {
    /// Of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            added: self.added + other.added,
            removed: self.removed + other.removed,
            changed: self.changed + other.changed,
            bytes_in: self.bytes_in.saturating_add(other.bytes_in),
            bytes_out: self.bytes_out.saturating_add(other.bytes_out),
        }
    }
}

impl Changes {
    /// Counts them.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut sum = Summary::default();
        for change in self.0.values() {
            let (from, to) = match change {
                Change::Added(to) => {
                    sum.added += 1;
                    (0, to.size)
                }
                Change::Removed(from) => {
                    sum.removed += 1;
                    (from.size, 0)
                }
                Change::Changed { from, to, aspects } => {
                    sum.changed += 1;
                    let other = aspects.iter().any(|it| matches!(it, Aspect::Contents | Aspect::Kind));
                    if other { (from.size, to.size) } else { (0, 0) }
                }
            };
            sum.bytes_out = sum.bytes_out.saturating_add(from);
            sum.bytes_in = sum.bytes_in.saturating_add(to);
        }
        sum
    }
}

/// Compares two images.
///
/// # Errors
/// Contents that have to be compared cannot be read; the error says of which of the two.
pub fn changes(old: &Image<'_>, new: &Image<'_>, watch: &dyn Watch) -> Result<Changes, (Which, ContentsError)> {
    let mut found = BTreeMap::new();
    for (path, from) in old.entries().iter().filter(|(path, _)| !new.entries().contains_key(*path)) {
        found.insert(path.clone(), Change::Removed(from.clone()));
    }
    let mut doubtful = Vec::new();
    for (path, to) in new.entries() {
        let Some(from) = old.entries().get(path) else {
            found.insert(path.clone(), Change::Added(to.clone()));
            continue;
        };
        let aspects = aspects(from, to);
        if from.kind == Kind::File && to.kind == Kind::File && from.size == to.size && to.size > 0 {
            doubtful.push((path, from, to));
        }
        if !aspects.is_empty() {
            found.insert(path.clone(), Change::Changed { from: from.clone(), to: to.clone(), aspects });
        }
    }
    watch.begin("comparing", doubtful.iter().map(|(_, _, to)| to.size).fold(0, u64::saturating_add));
    let compared = doubtful.into_iter().try_for_each(|(path, from, to)| {
        let was = old.sha256(from).map_err(|error| (Which::Old, error))?;
        let is = new.sha256(to).map_err(|error| (Which::New, error))?;
        watch.advance(to.size);
        if was != is {
            let changed = || Change::Changed { from: from.clone(), to: to.clone(), aspects: Vec::new() };
            if let Change::Changed { aspects, .. } = found.entry(path.clone()).or_insert_with(changed) {
                aspects.insert(0, Aspect::Contents);
            }
        }
        Ok(())
    });
    watch.end();
    compared.map(|()| Changes(found))
}

/// One of two images.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// What was.
    Old,
    /// What is.
    New,
}

/// In what two entries differ, as far as that is seen without reading contents.
fn aspects(from: &Entry, to: &Entry) -> Vec<Aspect> {
    let kind = std::mem::discriminant(&from.kind) != std::mem::discriminant(&to.kind);
    let differs = from.kind != to.kind && !kind;
    let all = [
        (kind, Aspect::Kind),
        (!kind && from.size != to.size, Aspect::Contents),
        (differs && matches!(from.kind, Kind::Symlink(_)), Aspect::Target),
        (differs && matches!(from.kind, Kind::Device { .. }), Aspect::Device),
        (from.mode != to.mode, Aspect::Mode),
        ((from.uid, from.gid) != (to.uid, to.gid), Aspect::Owner),
        (from.xattrs != to.xattrs, Aspect::Attributes),
    ];
    all.into_iter().filter_map(|(is, aspect)| is.then_some(aspect)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::medium::Span;
    use crate::image::Limits;
    use crate::watch::Unwatched;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::process::Command;

    fn image(scratch: &Path, name: &str, pseudo: &[&str], make: impl Fn(&Path)) -> Image<'static> {
        let (root, file) = (scratch.join(name), scratch.join(format!("{name}.squashfs")));
        fs::create_dir_all(root.join("etc")).unwrap();
        make(&root);
        let mut tool = Command::new("mksquashfs");
        tool.arg(&root).arg(&file).args(["-quiet", "-no-progress"]);
        tool.args(pseudo.iter().flat_map(|line| ["-p", line]));
        assert!(tool.output().unwrap().status.success());
        Image::open(Span::open(&file).unwrap(), Limits::DEFAULT).unwrap().unwrap()
    }

    #[test]
    fn every_difference_is_told_by_its_name_and_equal_files_are_not() {
        let scratch = tempfile::tempdir().unwrap();
        let old = image(scratch.path(), "old", &["moved m 600 1 2", "tty c 600 0 0 4 1"], |root| {
            let files = [("same", "same"), ("length", "a"), ("bytes", "aaaa"), ("gone", "12345"), ("moved", "m")];
            files.iter().for_each(|(name, text)| fs::write(root.join("etc").join(name), text).unwrap());
            fs::write(root.join("moved"), "m").unwrap();
            fs::write(root.join("kind"), "file").unwrap();
            symlink("a", root.join("link")).unwrap();
        });
        let new = image(scratch.path(), "new", &["moved m 644 0 0", "tty c 600 0 0 4 2"], |root| {
            let files = [("same", "same"), ("length", "abc"), ("bytes", "aaba"), ("fresh", "1234567"), ("moved", "m")];
            files.iter().for_each(|(name, text)| fs::write(root.join("etc").join(name), text).unwrap());
            fs::write(root.join("moved"), "m").unwrap();
            fs::create_dir(root.join("kind")).unwrap();
            symlink("b", root.join("link")).unwrap();
        });
        let found = changes(&old, &new, &Unwatched).unwrap();
        let told: Vec<_> = found
            .0
            .iter()
            .map(|(path, change)| {
                let how = match change {
                    Change::Added(_) => "+".into(),
                    Change::Removed(_) => "-".into(),
                    Change::Changed { aspects, .. } => aspects.iter().map(|it| it.name()).collect::<Vec<_>>().join(","),
                };
                format!("{}: {how}", String::from_utf8_lossy(path))
            })
            .collect();
        assert_eq!(
            told,
            [
                "etc/bytes: contents",
                "etc/fresh: +",
                "etc/gone: -",
                "etc/length: contents",
                "kind: kind,mode",
                "link: target",
                "moved: mode,owner",
                "tty: device"
            ]
        );
        let is = Summary { added: 1, removed: 1, changed: 6, bytes_in: 7 + 4 + 3, bytes_out: 5 + 4 + 1 + 4 };
        assert_eq!(found.summary(), is);
        assert_eq!(changes(&old, &old, &Unwatched), Ok(Changes::default()));
    }
}
