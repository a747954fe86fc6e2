//! A directory that is there whole or not at all: built beside its place, renamed into it.
//!
//! ```text
//!   DIR        as it was, until it is replaced
//!   .DIR.new.<pid>     being built; locked, so that what a killed one left can be told from what is being built
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::BOOKS;
use super::durable::{parent, sync_directory};
use crate::error::{Context as _, Error, Result};

/// A directory that is not in its place yet. Dropped, it is gone.
pub(crate) struct Building {
    /// Where it is meanwhile.
    pub(crate) path: PathBuf,
    _alive: File,
}

/// Whether `directory` may be made: there is nothing, nothing in it, or, with `force`, a trail or repository.
///
/// # Errors
/// It cannot be looked at.
pub(crate) fn may_be_replaced(directory: &Path, force: bool) -> Result<bool> {
    match fs::symlink_metadata(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        found => {
            if !found.context("look at", directory)?.is_dir() {
                return Ok(false);
            }
        }
    }
    let is_empty = fs::read_dir(directory).context("list", directory)?.next().is_none();
    Ok(is_empty || force && directory.join(BOOKS).join("json").is_file())
}

impl Building {
    /// Makes an empty directory beside `directory`, and sweeps those that nobody builds any more.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn begin(directory: &Path) -> Result<Self> {
        let above = parent(directory);
        let prefix = format!(".{}.new.", directory.file_name().unwrap_or_default().to_string_lossy());
        for entry in fs::read_dir(above).context("list", above)?.flatten() {
            let is_one = entry.file_name().to_string_lossy().starts_with(&prefix);
            if is_one && lock(&entry.path()).is_ok() {
                fs::remove_dir_all(entry.path()).context("remove", &entry.path())?;
            }
        }
        let path = above.join(format!("{prefix}{}", std::process::id()));
        fs::create_dir(&path).context("create", &path)?;
        Ok(Self { _alive: lock(&path)?, path })
    }

    /// Makes all of it durable, and puts it in its place.
    ///
    /// # Errors
    /// It cannot be synced or renamed; what was there before stays.
    pub(crate) fn publish(self, directory: &Path) -> Result<()> {
        // One call for all the names and bytes.
        let handle = File::open(&self.path).context("open", &self.path)?;
        rustix::fs::syncfs(&handle).context("sync", &self.path)?;
        let old = self.path.with_extension("old");
        let replaces = directory.exists();
        if replaces {
            fs::rename(directory, &old).context("move away", directory)?;
        }
        if let Err(error) = fs::rename(&self.path, directory) {
            // Best effort: what was there goes back.
            let _ = fs::rename(&old, directory);
            return Err(Error::io("replace", directory, &error));
        }
        sync_directory(parent(directory))?;
        if replaces { fs::remove_dir_all(&old).context("remove", &old) } else { Ok(()) }
    }
}

fn lock(directory: &Path) -> Result<File> {
    let handle = File::open(directory).context("open", directory)?;
    rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive).context("lock", directory)?;
    Ok(handle)
}

impl Drop for Building {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
