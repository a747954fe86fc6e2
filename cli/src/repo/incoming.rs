//! An object on its way into the pool: hashed as it comes, visible under its name only when all of it is right.
//!
//! ```text
//!   <pool>/<sha256>.part     what has come so far; stays when the way breaks, so that the next attempt goes on from there
//!   <pool>/<sha256>          renamed into when synced and of that hash
//! ```
//!
//! The partial file is locked while somebody writes it: two programs that share a pool fetch an object once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use formats::object::ObjectId;
use ring::digest::{Context as Hasher, SHA256};
use rustix::fs::FlockOperation;

use super::Pool;
use crate::error::{Context as _, Result};

/// Bytes that are read at once when what came before is hashed again.
const PIECE: usize = 128 * 1024;

/// An object of which a part is here.
pub struct Incoming {
    id: ObjectId,
    partial: PathBuf,
    target: PathBuf,
    file: File,
    hasher: Hasher,
    length: u64,
}

impl Incoming {
    /// Begins, or goes on where somebody left off. None: the object is here.
    ///
    /// # Errors
    /// The pool cannot be written.
    pub fn open(pool: &Pool, id: ObjectId) -> Result<Option<Self>> {
        fs::create_dir_all(pool.directory()).context("create", pool.directory())?;
        let (partial, target) = (pool.directory().join(format!("{id}.part")), pool.path(id));
        let file = loop {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&partial);
            let file = file.context("create", &partial)?;
            rustix::fs::flock(&file, FlockOperation::LockExclusive).context("lock", &partial)?;
            if target.is_file() {
                // Whoever had the lock has finished it. If the name is there again, we have just made it.
                let _ = fs::remove_file(&partial);
                return Ok(None);
            }
            // While we waited for the lock, somebody may have swept the file away that we have opened.
            let ours = file.metadata().context("look at", &partial)?;
            if fs::metadata(&partial).is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
                break file;
            }
        };
        let mut incoming = Self { id, partial, target, file, hasher: Hasher::new(&SHA256), length: 0 };
        incoming.take_up()?;
        Ok(Some(incoming))
    }

    /// Removes what was left behind, but for what somebody is fetching now. For when everything that was wanted is here.
    pub fn sweep(pool: &Pool) {
        for entry in fs::read_dir(pool.directory()).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_one = path.extension().is_some_and(|extension| extension == "part");
            let Some(file) = is_one.then(|| File::open(&path).ok()).flatten() else { continue };
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                // One that stays is in nobody's way.
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// Hashes what is there already.
    fn take_up(&mut self) -> Result<()> {
        let mut buffer = vec![0; PIECE];
        loop {
            let length = match self.file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.context("read", &self.partial)?,
            };
            self.hasher.update(buffer.get(..length).unwrap_or_default());
            self.length += length as u64;
        }
    }

    /// Bytes that are here.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether nothing is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).context("write", &self.partial)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what is here.
    ///
    /// # Errors
    /// The file cannot be shortened.
    pub fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).context("shorten", &self.partial)?;
        (self.hasher, self.length) = (Hasher::new(&SHA256), 0);
        Ok(())
    }

    /// Puts the object in its place. False: the bytes are others than its name says; they are forgotten.
    ///
    /// # Errors
    /// It cannot be synced or renamed.
    pub fn finish(&mut self) -> Result<bool> {
        if self.hasher.clone().finish().as_ref() != self.id.as_bytes() {
            self.restart()?;
            return Ok(false);
        }
        self.file.sync_all().context("write", &self.partial)?;
        fs::rename(&self.partial, &self.target).context("replace", &self.target)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_before_is_taken_up_and_only_the_right_bytes_get_the_name() {
        let scratch = tempfile::tempdir().unwrap();
        let pool = Pool::at(scratch.path().join("objects"));
        let id = ObjectId::of(b"half and half");
        let mut incoming = Incoming::open(&pool, id).unwrap().unwrap();
        incoming.write(b"half ").unwrap();
        drop(incoming);
        assert!(!pool.path(id).exists());
        let mut incoming = Incoming::open(&pool, id).unwrap().unwrap();
        assert_eq!(incoming.len(), 5);
        incoming.write(b"and other").unwrap();
        assert!(!incoming.finish().unwrap());
        assert!(incoming.is_empty() && !pool.path(id).exists());
        incoming.write(b"half and half").unwrap();
        assert!(incoming.finish().unwrap());
        drop(incoming);
        assert_eq!(fs::read(pool.path(id)).unwrap(), b"half and half");
        assert!(Incoming::open(&pool, id).unwrap().is_none());
        assert_eq!(fs::read_dir(pool.directory()).unwrap().count(), 1);
    }

    #[test]
    fn what_somebody_is_fetching_is_not_swept_and_what_was_left_is() {
        let scratch = tempfile::tempdir().unwrap();
        let pool = Pool::at(scratch.path().join("objects"));
        let (kept, left) = (ObjectId::of(b"kept"), ObjectId::of(b"left"));
        let mut incoming = Incoming::open(&pool, kept).unwrap().unwrap();
        drop(Incoming::open(&pool, left).unwrap());
        Incoming::sweep(&pool);
        assert_eq!(fs::read_dir(pool.directory()).unwrap().count(), 1);
        incoming.write(b"kept").unwrap();
        assert!(incoming.finish().unwrap());
    }
}
