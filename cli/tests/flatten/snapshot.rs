//! What is in a directory: every name with all that a file system keeps of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cli::image::digest::Digest;

/// All names below a directory.
pub(crate) struct Snapshot(BTreeMap<PathBuf, Seen>);

/// One name.
#[derive(PartialEq, Eq)]
struct Seen {
    /// Type and permissions.
    mode: u32,
    owner: (u32, u32),
    time: i64,
    what: What,
    /// All names of the same file.
    names: BTreeSet<PathBuf>,
    attributes: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(PartialEq, Eq, Debug)]
enum What {
    File(Digest, u64),
    Link(PathBuf),
    Device(u64),
    Other,
}

impl Snapshot {
    pub(crate) fn of(directory: &Path) -> Self {
        let mut found = BTreeMap::new();
        let mut files: BTreeMap<(u64, u64), BTreeSet<PathBuf>> = BTreeMap::new();
        let mut open = vec![directory.to_owned()];
        while let Some(one) = open.pop() {
            for entry in fs::read_dir(&one).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(directory).unwrap().to_owned();
                let metadata = path.symlink_metadata().unwrap();
                if metadata.is_dir() {
                    open.push(path.clone());
                } else {
                    files.entry((metadata.dev(), metadata.ino())).or_default().insert(name.clone());
                }
                found.insert(name, ((metadata.dev(), metadata.ino()), look(&path, &metadata)));
            }
        }
        let named = found.into_iter().map(|(name, (number, mut seen))| {
            seen.names = files.get(&number).cloned().unwrap_or_default();
            (name, seen)
        });
        Self(named.collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One line for each name that is not the same in both.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let shown = |seen: Option<&Seen>| seen.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        let line = |name: &&PathBuf| {
            let (one, two) = (self.0.get(*name), other.0.get(*name));
            (one != two).then(|| format!("{name:?}:\n  {}\n  {}", shown(one), shown(two)))
        };
        names.iter().filter_map(line).collect()
    }
}

fn look(path: &Path, metadata: &fs::Metadata) -> Seen {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        What::File(Digest::of(&fs::read(path).unwrap()), metadata.len())
    } else if kind.is_symlink() {
        What::Link(fs::read_link(path).unwrap())
    } else {
        // Pipes and directories have no number, and zero is what the kernel says of them.
        if metadata.rdev() == 0 { What::Other } else { What::Device(metadata.rdev()) }
    };
    Seen {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        time: metadata.mtime(),
        what,
        names: BTreeSet::new(),
        attributes: attributes(path),
    }
}

fn attributes(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![0_u8; 64 * 1024];
    // A file system in which no file has any may say that it knows none.
    let len = match rustix::fs::llistxattr(path, &mut list) {
        Err(rustix::io::Errno::NOTSUP) => 0,
        len => len.unwrap(),
    };
    list.truncate(len);
    let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 64 * 1024];
            let key = std::ffi::OsString::from_vec(name.to_vec());
            let len = rustix::fs::lgetxattr(path, key.as_bytes(), &mut value).unwrap();
            value.truncate(len);
            (name.to_vec(), value)
        })
        .collect()
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, owner, time, what, names, attributes } = self;
        write!(f, "{mode:o} {owner:?} @{time} {what:?}")?;
        if names.len() > 1 {
            write!(f, " as {names:?}")?;
        }
        for (name, value) in attributes {
            write!(f, " {}={}", name.escape_ascii(), value.escape_ascii())?;
        }
        Ok(())
    }
}
