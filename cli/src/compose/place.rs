//! Many files and directories put in place, or none: each by one rename, which is taken back if a later one fails.
//!
//! What was there before comes to where the new one was, and goes with the directory that it was made in.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::error::{Context as _, Error, Result};
use crate::repo::durable;

/// What was done, to be taken back.
enum Undo {
    /// Something new is there.
    Put(PathBuf, PathBuf),
    /// Something else is there instead.
    Exchanged(PathBuf, PathBuf),
    /// A directory for it.
    Made(PathBuf),
}

/// Renames on their way.
pub(crate) struct Moves {
    done: Vec<Undo>,
    settled: bool,
}

impl Moves {
    pub(crate) const fn new() -> Self {
        Self { done: Vec::new(), settled: false }
    }

    /// Puts `from` to `to`, in place of what is there.
    pub(crate) fn put(&mut self, from: &Path, to: &Path) -> Result<()> {
        self.directories(durable::parent(to))?;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => self.done.push(Undo::Put(from.to_owned(), to.to_owned())),
            Err(Errno::EXIST) => {
                // A directory where a file is to be has files of somebody in it.
                if from.is_dir() != to.is_dir() {
                    return Err(Error::user(format!("{} is in the way", to.display())).hint("move it away"));
                }
                renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE).context("replace", to)?;
                self.done.push(Undo::Exchanged(from.to_owned(), to.to_owned()));
            }
            Err(errno) => return Err(errno).context("put in place", to),
        }
        Ok(())
    }

    /// Takes `from` away, to a place that goes.
    pub(crate) fn take(&mut self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).context("remove", from)?;
        self.done.push(Undo::Put(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn directories(&mut self, directory: &Path) -> Result<()> {
        if directory.is_dir() {
            return Ok(());
        }
        if let Some(parent) = directory.parent() {
            self.directories(parent)?;
        }
        fs::create_dir(directory).context("create", directory)?;
        self.done.push(Undo::Made(directory.to_owned()));
        Ok(())
    }

    /// All of it is there, and stays.
    pub(crate) fn settle(mut self) -> Result<()> {
        self.settled = true;
        for done in &self.done {
            match done {
                Undo::Put(from, to) | Undo::Exchanged(from, to) => {
                    for path in [from, to] {
                        let parent = durable::parent(path);
                        if parent.is_dir() {
                            durable::sync_directory(parent)?;
                        }
                    }
                }
                Undo::Made(directory) => durable::sync_directory(durable::parent(directory))?,
            }
        }
        Ok(())
    }
}

impl Drop for Moves {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        // Whatever cannot be taken back here could not be told better elsewhere: the error that led here is told.
        for done in self.done.drain(..).rev() {
            let _ = match done {
                Undo::Put(from, to) => fs::rename(to, from),
                Undo::Exchanged(from, to) => {
                    renameat_with(CWD, &from, CWD, &to, RenameFlags::EXCHANGE).map_err(Into::into)
                }
                Undo::Made(directory) => fs::remove_dir(directory),
            };
        }
    }
}

/// Makes all below a directory durable.
pub(crate) fn sync(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory).context("read", directory)? {
        let path = entry.context("read", directory)?.path();
        if path.is_dir() {
            sync(&path)?;
        } else {
            File::open(&path).and_then(|file| file.sync_all()).context("sync", &path)?;
        }
    }
    durable::sync_directory(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_in_the_middle_leaves_everything_as_it_was() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        for (name, text) in [("new.a", "new"), ("a", "old"), ("new.b", "new"), ("gone", "old")] {
            fs::write(path(name), text).unwrap();
        }
        fs::create_dir(path("in-the-way")).unwrap();
        let mut moves = Moves::new();
        moves.put(&path("new.a"), &path("a")).unwrap();
        moves.put(&path("new.b"), &path("deep/er/b")).unwrap();
        moves.take(&path("gone"), &path("trash")).unwrap();
        let wrong = moves.put(&path("a"), &path("in-the-way")).unwrap_err();
        assert!(wrong.message.contains("in-the-way is in the way"));
        drop(moves);
        let read = |name: &str| fs::read_to_string(path(name)).ok();
        assert_eq!([read("a"), read("new.a"), read("gone")], ["old", "new", "old"].map(|text| Some(text.to_owned())));
        assert!(!path("deep").exists() && path("new.b").exists());
        let mut moves = Moves::new();
        moves.put(&path("new.a"), &path("a")).unwrap();
        moves.put(&path("new.b"), &path("deep/er/b")).unwrap();
        moves.settle().unwrap();
        assert_eq!([read("a"), read("deep/er/b")], ["new", "new"].map(|text| Some(text.to_owned())));
    }
}
