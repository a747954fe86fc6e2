//! The hashes of files that have not changed since they were hashed, so that looking at a large work tree reads no file.
//!
//! ```text
//!   .pvr/known   {"PATH": "LENGTH MTIME CTIME INODE DEVICE SHA"}       times in nanoseconds since 1970
//! ```
//!
//! Promises: a hash is believed only of a file whose length, times, inode and device are those of the one that was
//! hashed, and whose times were past when that began: whoever writes to it later gives it another change time, which
//! nobody can set. The file is a help and not a book: one that is missing, damaged or of no use means that files are hashed.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use formats::json::{self, Json, Limits};
use formats::object::ObjectId;

use super::durable::temporary_in;

/// Smaller ones are hashed sooner than looked up.
const WORTH_KNOWING: u64 = 64 * 1024;

/// The coarsest clock of a file system that work trees lie on, FAT's.
const TICK: Duration = Duration::from_secs(2);

/// What was hashed.
#[derive(Debug)]
pub struct Known {
    path: PathBuf,
    earlier: BTreeMap<String, String>,
    now: BTreeMap<String, String>,
}

impl Known {
    /// What the books in a directory know.
    #[must_use]
    pub fn load(books: &Path) -> Self {
        let path = books.join("known");
        let is_small = fs::metadata(&path).is_ok_and(|file| file.len() <= Limits::STATE.bytes as u64);
        let bytes = if is_small { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        let earlier = match json::parse(&bytes, Limits::STATE).map(|value| value.to_json()) {
            Ok(Json::Object(members)) => {
                let text = |(path, value): &(String, Json)| Some((path.clone(), value.as_str()?.to_owned()));
                members.iter().filter_map(text).collect()
            }
            _ => BTreeMap::new(),
        };
        Self { path, earlier, now: BTreeMap::new() }
    }

    /// The hash of a file that is as it was.
    pub fn find(&mut self, path: &str, file: &Metadata) -> Option<ObjectId> {
        let text = self.earlier.get(path)?;
        let id = ObjectId::parse(text.strip_prefix(&mark(file))?)?;
        self.now.insert(path.to_owned(), text.clone());
        Some(id)
    }

    /// Takes note of a hash. `before` is the file before it was read, `after` when it had been, and `began` when that was.
    pub fn note(&mut self, path: &str, before: &Metadata, after: &Metadata, id: ObjectId, began: SystemTime) {
        let seconds = began.checked_sub(TICK).and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        let quiet = seconds.and_then(|time| i64::try_from(time.as_secs()).ok());
        let is_past = quiet.is_some_and(|quiet| before.mtime() < quiet && before.ctime() < quiet);
        if before.len() >= WORTH_KNOWING && is_past && mark(before) == mark(after) {
            self.now.insert(path.to_owned(), format!("{}{id}", mark(before)));
        }
    }

    /// Writes what is known of the files that were looked at, if that is news.
    ///
    /// # Errors
    /// It cannot be written; then the files are hashed again.
    pub fn save(self) -> io::Result<()> {
        if self.now == self.earlier {
            return Ok(());
        }
        let text = self.now.into_iter().fold(Json::object(), |all, (path, text)| all.with(&path, text)).compact();
        // Not synced: what a power cut damages is no JSON, or has marks that no file has.
        let temporary = temporary_in(self.path.parent().unwrap_or(Path::new(".")));
        let done = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &self.path));
        if done.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        done
    }
}

/// What tells one content of a file from another, up to its hash.
fn mark(file: &Metadata) -> String {
    let (mtime, ctime) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
    format!("{} {}.{:09} {}.{:09} {} {} ", file.len(), mtime.0, mtime.1, ctime.0, ctime.1, file.ino(), file.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(3600);

    /// A file, and books that know it as it is.
    fn known() -> (tempfile::TempDir, PathBuf, ObjectId) {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        fs::write(&file, vec![7; 100_000]).unwrap();
        let (seen, id) = (fs::metadata(&file).unwrap(), ObjectId::of(b"whatever it is"));
        let mut known = Known::load(scratch.path());
        known.note("a/file", &seen, &seen, id, SystemTime::now() + LATER);
        known.save().unwrap();
        (scratch, file, id)
    }

    #[test]
    fn a_file_that_is_as_it_was_is_known_and_any_other_is_not() {
        let (scratch, file, id) = known();
        let find = |path: &str| Known::load(scratch.path()).find(path, &fs::metadata(&file).unwrap());
        assert_eq!(find("a/file"), Some(id));
        assert_eq!(find("file"), None);
        // The same length and the same times, as far as anybody can set them: the change time tells.
        let times = fs::metadata(&file).unwrap().modified().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        fs::write(&file, vec![8; 100_000]).unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(times).unwrap();
        assert_eq!(find("a/file"), None);
    }

    #[test]
    fn what_may_change_in_the_same_tick_or_is_small_is_not_noted() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file");
        for (len, began, is_noted) in [(100_000, Duration::ZERO, false), (10, LATER, false), (100_000, LATER, true)] {
            fs::write(&file, vec![7; len]).unwrap();
            let seen = fs::metadata(&file).unwrap();
            let mut known = Known::load(scratch.path());
            known.note("file", &seen, &seen, ObjectId::of(b""), SystemTime::now() + began);
            assert_eq!(!known.now.is_empty(), is_noted, "{len} {began:?}");
        }
    }

    #[test]
    fn a_damaged_file_means_that_nothing_is_known() {
        let (scratch, file, _) = known();
        let path = scratch.path().join("known");
        let text = fs::read_to_string(&path).unwrap();
        for bad in [&text[..text.len() / 2], "", "[]", r#"{"a/file":1}"#, r#"{"a/file":"1 2 3"}"#] {
            fs::write(&path, bad).unwrap();
            assert_eq!(Known::load(scratch.path()).find("a/file", &fs::metadata(&file).unwrap()), None, "{bad}");
        }
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let (scratch, _, _) = known();
        Known::load(scratch.path()).save().unwrap();
        assert_eq!(fs::read_to_string(scratch.path().join("known")).unwrap(), "{}");
    }
}
