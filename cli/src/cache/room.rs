//! How much a cache holds, and what goes when that is too much: what has not been used for longest.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use super::{BLOBS, Cache, NOTES, PART};
use crate::error::{Context as _, Result};

/// What is being written is done after that, or its writer is dead.
const WRITTEN: Duration = Duration::from_secs(24 * 60 * 60);

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A whole blob.
    Blob,
    /// A blob on its way.
    Part,
    /// A note.
    Note,
    /// Something that is being written.
    New,
}

/// A file of a cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name, without its directory.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its length in bytes.
    pub len: u64,
    /// When it was used last.
    pub used: SystemTime,
    path: PathBuf,
}

/// What was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Removed {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Kind {
    /// Its name for people and programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Part => "part",
            Self::Note => "note",
            Self::New => "new",
        }
    }
}

impl Cache {
    /// What it holds, the latest used first.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        for (directory, kind) in [(BLOBS, Kind::Blob), (NOTES, Kind::Note)] {
            let directory = self.directory.join(directory);
            for entry in fs::read_dir(&directory).context("list", &directory)? {
                let entry = entry.context("list", &directory)?;
                // Another program may have removed it by now.
                let Ok(metadata) = entry.metadata() else { continue };
                let name = entry.file_name().to_string_lossy().into_owned();
                let kind = match &name {
                    name if name.starts_with("new.") => Kind::New,
                    name if name.ends_with(PART) => Kind::Part,
                    _ => kind,
                };
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push(Entry { name, kind, len: metadata.len(), used, path: entry.path() });
            }
        }
        found.sort_by(|left, right| right.used.cmp(&left.used).then_with(|| left.name.cmp(&right.name)));
        Ok(found)
    }

    /// Removes what was used longest ago until the rest has at most so many bytes. What somebody works on stays.
    ///
    /// # Errors
    /// It cannot be read; what cannot be removed stays and is not counted.
    pub fn trim(&self, most: u64, now: SystemTime) -> Result<Removed> {
        let mut removed = Removed::default();
        let mut kept = 0_u64;
        for entry in self.entries()? {
            let age = now.duration_since(entry.used).unwrap_or_default();
            let may_go = match entry.kind {
                Kind::New => age > WRITTEN,
                _ => kept.saturating_add(entry.len) > most,
            };
            if may_go && entry.remove() {
                removed.files += 1;
                removed.bytes += entry.len;
            } else {
                kept = kept.saturating_add(entry.len);
            }
        }
        Ok(removed)
    }
}

impl Entry {
    fn remove(&self) -> bool {
        if self.kind == Kind::Part {
            let Ok(file) = File::open(&self.path) else { return false };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                return false;
            }
            // Held until it is gone: who waits for it finds out, and begins anew.
            return fs::remove_file(&self.path).is_ok();
        }
        fs::remove_file(&self.path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Wanted;
    use super::*;
    use crate::image::digest::Digest;

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_what_is_worked_on_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::open(scratch.path(), 1 << 20).unwrap();
        let ids = [b"aaaa", b"bbbb", b"cccc"].map(|bytes| cache.keep(bytes).unwrap());
        let now = SystemTime::now();
        for (age, id) in (1..).zip(&ids) {
            let file = File::options().write(true).open(cache.blob_path(id)).unwrap();
            file.set_modified(now - Duration::from_secs(age * 100)).unwrap();
        }
        // The oldest is used, which makes it the newest.
        assert!(cache.blob(&ids[2]).is_some());
        let Wanted::Part(mut travelling) = cache.want(&Digest::of(b"d")).unwrap() else { panic!() };
        travelling.write(b"dd").unwrap();
        assert_eq!(cache.trim(10, now).unwrap(), Removed { files: 1, bytes: 4 });
        assert_eq!(ids.map(|id| cache.blob_path(&id).exists()), [true, false, true]);
        assert_eq!(cache.trim(0, now).unwrap(), Removed { files: 2, bytes: 8 });
        drop(travelling);
        assert_eq!(cache.trim(0, now).unwrap(), Removed { files: 1, bytes: 2 });
        assert_eq!(cache.entries().unwrap(), []);
    }

    #[test]
    fn what_a_dead_writer_left_is_swept_after_a_day() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::open(scratch.path(), 1 << 20).unwrap();
        fs::write(scratch.path().join("blobs/new.1.0"), "x").unwrap();
        let now = SystemTime::now();
        assert_eq!(cache.trim(0, now).unwrap(), Removed::default());
        assert_eq!(cache.trim(1 << 20, now + WRITTEN * 2).unwrap(), Removed { files: 1, bytes: 1 });
    }
}
