//! Where a container is made before it is there: a directory in the books that goes away by itself.
//!
//! It holds a lock as long as its maker lives; what a dead one left is swept by the next.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::error::{Context as _, Error, Result};
use crate::repo::Repo;
use crate::repo::durable;

const PREFIX: &str = "app.";
const LOCK: &str = ".lock";

/// A directory of its own, until it is dropped.
pub(super) struct Build {
    directory: TempDir,
    _lock: File,
}

impl Build {
    /// Makes one in the books of a repository.
    pub(super) fn new(books: &Path) -> Result<Self> {
        sweep(books);
        let directory =
            tempfile::Builder::new().prefix(PREFIX).tempdir_in(books).context("make a directory in", books)?;
        let path = directory.path().join(LOCK);
        let lock = File::create(&path).context("create", &path)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).context("lock", &path)?;
        Ok(Self { directory, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file of the container.
    pub(super) fn write(&self, name: &str, file: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path().join(name).join(file);
        let mut opened = durable::create(&path, 0o644)?;
        opened.write_all(bytes).and_then(|()| opened.sync_all()).context("write", &path)
    }

    /// Puts the container into the work tree. What was there comes here, and goes with this.
    pub(super) fn publish(self, repo: &Repo, name: &str, replace: bool) -> Result<()> {
        let (made, place) = (self.path().join(name), repo.root().join(name));
        for entry in fs::read_dir(&made).context("read", &made)? {
            let path = entry.context("read", &made)?.path();
            File::open(&path).and_then(|file| file.sync_all()).context("sync", &path)?;
        }
        durable::sync_directory(&made)?;
        let _lock = repo.lock()?;
        let put = |flags| renameat_with(CWD, &made, CWD, &place, flags);
        let done = match put(RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) if replace => put(RenameFlags::EXCHANGE),
            Err(Errno::EXIST) => {
                return Err(Error::user(format!("there is a {name} now, made meanwhile")).hint("--force replaces it"));
            }
            done => done,
        };
        done.context("put in place", &place)?;
        durable::sync_directory(repo.root())
    }
}

/// Removes what was left by those who are gone.
fn sweep(books: &Path) {
    for entry in fs::read_dir(books).into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        // Who is between making the directory and locking it is not swept: there is no lock to take yet.
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_maker_left_is_swept_and_what_a_live_one_makes_is_not() {
        let scratch = tempfile::tempdir().unwrap();
        let live = Build::new(scratch.path()).unwrap();
        let dead = scratch.path().join("app.dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        fs::write(dead.join("layer"), "x").unwrap();
        drop(Build::new(scratch.path()).unwrap());
        assert!(live.path().exists() && !dead.exists());
        drop(live);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
