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
pub(crate) struct Build {
    directory: TempDir,
    _lock: File,
}

impl Build {
    /// Makes one in the books of a repository.
    pub(crate) fn new(books: &Path) -> Result<Self> {
        sweep(books);
        let directory =
            tempfile::Builder::new().prefix(PREFIX).tempdir_in(books).context("make a directory in", books)?;
        let path = directory.path().join(LOCK);
        let lock = File::create(&path).context("create", &path)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).context("lock", &path)?;
        Ok(Self { directory, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file of the container.
    pub(crate) fn write(&self, name: &str, file: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path().join(name).join(file);
        let mut opened = durable::create(&path, 0o644)?;
        opened.write_all(bytes).and_then(|()| opened.sync_all()).context("write", &path)
    }

    /// Writes a file that may be there already. Nobody sees it before it is published.
    pub(crate) fn replace(&self, name: &str, file: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path().join(name).join(file);
        fs::write(&path, bytes).context("write", &path)
    }

    /// Takes over the files of a directory but those that are made anew. They are the same files, or copies where the file
    /// system has no second name for a file.
    pub(crate) fn adopt(&self, from: &Path, to: &str, made: &dyn Fn(&str) -> bool) -> Result<()> {
        let mut open = vec![(from.to_owned(), self.path().join(to))];
        while let Some((source, target)) = open.pop() {
            for entry in fs::read_dir(&source).context("read", &source)? {
                let entry = entry.context("read", &source)?;
                let name = entry.file_name();
                if source == from && name.to_str().is_some_and(made) {
                    continue;
                }
                let (path, place) = (entry.path(), target.join(&name));
                let kind = entry.file_type().context("look at", &path)?;
                if kind.is_dir() {
                    fs::create_dir(&place).context("create", &place)?;
                    open.push((path, place));
                } else if kind.is_symlink() {
                    let to = fs::read_link(&path).context("read", &path)?;
                    std::os::unix::fs::symlink(to, &place).context("create", &place)?;
                } else if fs::hard_link(&path, &place).is_err() {
                    fs::copy(&path, &place).context("copy", &path)?;
                }
            }
        }
        Ok(())
    }

    /// Puts the container into the work tree. What was there comes here, and goes with this.
    pub(crate) fn publish(self, repo: &Repo, name: &str, replace: bool) -> Result<()> {
        self.publish_all(repo, &[(name.to_owned(), name.to_owned())], replace)
    }

    /// Puts several things into the work tree, each whole: first what is here, then its path there. If one of them cannot be
    /// put in place, none of them is.
    pub(crate) fn publish_all(self, repo: &Repo, things: &[(String, String)], replace: bool) -> Result<()> {
        for (made, _) in things {
            sync(&self.path().join(made))?;
        }
        let _lock = repo.lock()?;
        let mut done = Vec::new();
        for (made, place) in things {
            let (made, place) = (self.path().join(made), repo.root().join(place));
            match put(&made, &place, replace) {
                Ok(flags) => done.push((made, place, flags)),
                Err(error) => {
                    for (made, place, flags) in done.iter().rev() {
                        // As they came; what cannot be undone is what the first error is about.
                        let _ = renameat_with(CWD, place, CWD, made, *flags);
                    }
                    return Err(error);
                }
            }
        }
        for (_, place, _) in &done {
            durable::sync_directory(durable::parent(place))?;
        }
        Ok(())
    }
}

/// Renames into place; returns how.
fn put(made: &Path, place: &Path, replace: bool) -> Result<RenameFlags> {
    let above = durable::parent(place);
    fs::create_dir_all(above).context("create", above)?;
    let rename = |flags| renameat_with(CWD, made, CWD, place, flags).map(|()| flags);
    let done = match rename(RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) if replace => rename(RenameFlags::EXCHANGE),
        Err(Errno::EXIST) => {
            let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(Error::user(format!("there is a {name} now, made meanwhile")).hint("--force replaces it"));
        }
        done => done,
    };
    done.context("put in place", place)
}

/// Makes a file durable, or a directory with all that is in it.
fn sync(path: &Path) -> Result<()> {
    let metadata = path.symlink_metadata().context("look at", path)?;
    if metadata.is_file() {
        return File::open(path).and_then(|file| file.sync_all()).context("sync", path);
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path).context("read", path)? {
            sync(&entry.context("read", path)?.path())?;
        }
        durable::sync_directory(path)?;
    }
    Ok(())
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
