//! The pool: objects by the SHA-256 of their bytes, each written once and then never touched.
//!
//! A file of the work tree is *copied* in, hashed on the way, and renamed into its name when it is durable. It is never
//! hard-linked in, because somebody may edit it in place. Out of the pool objects are hard-linked where that is
//! possible, and made read-only then; what is copied out is hashed again.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use formats::object::ObjectId;
use ring::digest::{Context as Hasher, SHA256};

use super::durable::{create, sync_directory, temporary_in};
use crate::contents::medium::{Medium, Span};
use crate::error::{Context as _, Error, Result};
use crate::watch::Watch;

/// Bytes that are read at once.
const PIECE: usize = 128 * 1024;

/// Mode of an object that is hard-linked from a work tree or trail: an editor in place would damage the pool.
const LINKED: u32 = 0o444;

/// A directory of objects.
#[derive(Clone, Debug)]
pub struct Pool {
    directory: PathBuf,
}

/// How an object comes out of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Out {
    /// As a file of its own.
    Copy,
    /// As a hard link, or as a copy where the file system differs.
    Link,
}

impl Pool {
    /// The pool in a directory, which need not exist yet.
    #[must_use]
    pub fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where an object is, if it is there.
    #[must_use]
    pub fn path(&self, id: ObjectId) -> PathBuf {
        self.directory.join(id.to_string())
    }

    /// Copies a file in. `len` is its expected length: an object of that name and length is taken to be there.
    ///
    /// # Errors
    /// The file does not have the expected hash (any more), or cannot be read or written.
    pub fn store(&self, file: &Path, id: ObjectId, len: u64, watch: &dyn Watch) -> Result<()> {
        if fs::metadata(self.path(id)).is_ok_and(|there| there.is_file() && there.len() == len) {
            watch.advance(len);
            return Ok(());
        }
        fs::create_dir_all(&self.directory).context("create", &self.directory)?;
        let found = self.copy_in(file, Some(id), watch)?;
        if found != id {
            return Err(Error::user(format!("{} changed while it was being committed", file.display()))
                .hint("run the command again when nothing writes to it"));
        }
        Ok(())
    }

    /// Makes the names of all stored objects durable.
    ///
    /// # Errors
    /// The directory cannot be synced.
    pub fn sync(&self) -> Result<()> {
        if self.directory.exists() { sync_directory(&self.directory) } else { Ok(()) }
    }

    /// Copies a file in under its own hash, unless another one was wanted.
    fn copy_in(&self, file: &Path, wanted: Option<ObjectId>, watch: &dyn Watch) -> Result<ObjectId> {
        let temporary = temporary_in(&self.directory);
        let mut copy = create(&temporary, 0o644)?;
        let done = (|| {
            let mut source = File::open(file).context("read", file)?;
            let id = pump(&mut source, file, &mut copy, &temporary, watch)?;
            if wanted.is_some_and(|wanted| wanted != id) {
                return Ok(id);
            }
            copy.sync_all().context("write", &temporary)?;
            let target = self.path(id);
            fs::rename(&temporary, &target).context("replace", &target)?;
            Ok(id)
        })();
        // After the rename there is nothing of that name.
        let _ = fs::remove_file(&temporary);
        done
    }

    /// Takes an object over from another pool, as a hard link if possible, checked in any case.
    ///
    /// # Errors
    /// It is missing or damaged there, or cannot be written here.
    pub fn adopt(&self, from: &Self, id: ObjectId, key: &str, watch: &dyn Watch) -> Result<()> {
        let target = self.path(id);
        fs::create_dir_all(&self.directory).context("create", &self.directory)?;
        if self.directory.canonicalize().ok() == from.directory.canonicalize().ok() || target.exists() {
            return self.check(id, key, watch);
        }
        from.check(id, key, watch)?;
        match fs::hard_link(from.path(id), &target) {
            Ok(()) => Ok(()),
            Err(_) => self.copy_in(&from.path(id), Some(id), &crate::watch::Unwatched).map(drop),
        }
    }

    /// Checks that an object is there and has the right bytes. `key` is for messages.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn check(&self, id: ObjectId, key: &str, watch: &dyn Watch) -> Result<()> {
        let path = self.path(id);
        if !path.is_file() {
            return Err(self.missing(id, key));
        }
        let (found, _) = hash_file(&path, watch)?;
        if found == id { Ok(()) } else { Err(self.damaged(id, key)) }
    }

    /// Brings an object to a path that does not exist. A copy is checked; who wants a link checks before.
    ///
    /// # Errors
    /// It is missing or damaged, or the path cannot be written.
    pub fn bring(&self, id: ObjectId, key: &str, target: &Path, out: Out, watch: &dyn Watch) -> Result<()> {
        let source = self.path(id);
        if out == Out::Link && fs::hard_link(&source, target).is_ok() {
            return fs::set_permissions(target, Permissions::from_mode(LINKED)).context("change the mode of", target);
        }
        let mut from = match File::open(&source) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.missing(id, key)),
            opened => opened.context("read", &source)?,
        };
        let mode = if out == Out::Link { LINKED } else { 0o644 };
        let mut to = create(target, mode)?;
        let found = pump(&mut from, &source, &mut to, target, watch);
        if !matches!(found, Ok(found) if found == id) {
            let _ = fs::remove_file(target);
        }
        if found? == id { Ok(()) } else { Err(self.damaged(id, key)) }
    }

    /// An object to be read in place. Nothing of it is checked.
    ///
    /// # Errors
    /// It is missing, or cannot be opened.
    pub fn span(&self, id: ObjectId, key: &str) -> Result<Span> {
        let path = self.path(id);
        if path.is_file() { Span::open(&path) } else { Err(self.missing(id, key)) }
    }

    fn missing(&self, id: ObjectId, key: &str) -> Error {
        Error::user(format!("{key}: its object {id} is not in the pool {}", self.directory.display()))
            .hint("get it from where the state came from, or commit the file again")
    }

    fn damaged(&self, id: ObjectId, key: &str) -> Error {
        let path = self.path(id);
        Error::user(format!("{key}: the object {} does not have the bytes that its name says", path.display()))
            .hint("remove it, and get it from where the state came from or commit the file again")
    }
}

/// The hash of a file, and its length.
///
/// # Errors
/// It cannot be read.
pub fn hash_file(path: &Path, watch: &dyn Watch) -> Result<(ObjectId, u64)> {
    let mut count = Count(0);
    let mut file = File::open(path).context("read", path)?;
    let id = pump(&mut file, path, &mut count, path, watch)?;
    Ok((id, count.0))
}

/// The hash of what can be read anywhere.
///
/// # Errors
/// It cannot be read.
pub fn hash_medium(medium: &impl Medium, watch: &dyn Watch) -> io::Result<ObjectId> {
    let mut hasher = Hasher::new(&SHA256);
    let (mut buffer, mut at) = (vec![0; PIECE], 0);
    while at < medium.len() {
        let len = (medium.len() - at).min(PIECE as u64);
        let piece = buffer.get_mut(..len as usize).unwrap_or_default();
        medium.read_at(at, piece)?;
        hasher.update(piece);
        watch.advance(len);
        at += len;
    }
    <[u8; 32]>::try_from(hasher.finish().as_ref()).map(ObjectId::from_digest).map_err(io::Error::other)
}

struct Count(u64);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies to the end, and hashes what passes.
fn pump(from: &mut File, source: &Path, to: &mut impl io::Write, target: &Path, watch: &dyn Watch) -> Result<ObjectId> {
    let mut hasher = Hasher::new(&SHA256);
    let mut buffer = vec![0; PIECE];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.context("read", source)?,
        };
        let piece = buffer.get(..length).unwrap_or_default();
        hasher.update(piece);
        to.write_all(piece).context("write", target)?;
        watch.advance(length as u64);
    }
    let digest = <[u8; 32]>::try_from(hasher.finish().as_ref());
    digest.map(ObjectId::from_digest).map_err(|_| Error::internal("SHA-256 does not have 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Unwatched;

    #[test]
    fn what_goes_in_comes_out_and_damage_is_seen() {
        let scratch = tempfile::tempdir().unwrap();
        let pool = Pool::at(scratch.path().join("objects"));
        let file = scratch.path().join("file");
        fs::write(&file, "bytes").unwrap();
        let (id, len) = hash_file(&file, &Unwatched).unwrap();
        assert_eq!((id, len), (ObjectId::of(b"bytes"), 5));
        pool.store(&file, id, len, &Unwatched).unwrap();
        let out = scratch.path().join("out");
        pool.bring(id, "k", &out, Out::Copy, &Unwatched).unwrap();
        assert_eq!(fs::read(&out).unwrap(), b"bytes");
        fs::write(pool.path(id), "other").unwrap();
        fs::remove_file(&out).unwrap();
        let error = pool.bring(id, "k", &out, Out::Copy, &Unwatched).unwrap_err();
        assert!(error.message.starts_with("k: the object"), "{error}");
        assert!(!out.exists());
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_not_stored_under_a_wrong_name() {
        let scratch = tempfile::tempdir().unwrap();
        let pool = Pool::at(scratch.path().join("objects"));
        let file = scratch.path().join("file");
        fs::write(&file, "later").unwrap();
        let error = pool.store(&file, ObjectId::of(b"first"), 5, &Unwatched).unwrap_err();
        assert!(error.message.contains("changed while"), "{error}");
        assert_eq!(fs::read_dir(pool.directory()).unwrap().count(), 0);
    }
}
