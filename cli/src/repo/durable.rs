//! Files that are there whole or not at all, also after a power cut.
//!
//! ```text
//!   prepare: write a temporary, fsync        everything that can fail for lack of room fails here
//!   publish: rename, fsync the directory     one file at a time; the last one is what makes a commit
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Context as _, Result};

/// A file that is written and not yet in its place. Dropped, it is gone.
#[derive(Debug)]
pub struct Prepared {
    temporary: Option<PathBuf>,
    target: PathBuf,
}

/// A name that nobody else uses, in a directory on the same file system as the target.
pub(crate) fn temporary_in(directory: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let serial = NEXT.fetch_add(1, Ordering::Relaxed);
    directory.join(format!("new.{}.{serial}", std::process::id()))
}

/// Opens a new file for writing.
pub(crate) fn create(path: &Path, mode: u32) -> Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path).context("create", path)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory).and_then(|file| file.sync_all()).context("sync", directory)
}

impl Prepared {
    /// Writes `bytes` to a temporary in `scratch`, to become `target`.
    ///
    /// # Errors
    /// It cannot be written; nothing is left behind.
    pub fn new(scratch: &Path, target: &Path, bytes: &[u8], mode: u32) -> Result<Self> {
        let temporary = temporary_in(scratch);
        let mut file = create(&temporary, mode)?;
        let prepared = Self { temporary: Some(temporary), target: target.to_owned() };
        file.write_all(bytes).and_then(|()| file.sync_all()).context("write", target)?;
        Ok(prepared)
    }

    /// Puts it in its place.
    ///
    /// # Errors
    /// It cannot be renamed, or its directory cannot be synced.
    pub fn publish(mut self) -> Result<()> {
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.target).context("replace", &self.target)?;
        }
        self.temporary = None;
        sync_directory(parent(&self.target))
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Replaces a file as a whole.
///
/// # Errors
/// Those of [`Prepared`].
pub fn replace(target: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    Prepared::new(parent(target), target, bytes, mode)?.publish()
}

/// The directory of a path, also of one without a slash.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_prepared_and_not_published_leaves_no_trace() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("json");
        fs::write(&target, "old").unwrap();
        drop(Prepared::new(scratch.path(), &target, b"new", 0o644).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
        replace(&target, b"new", 0o644).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }
}
