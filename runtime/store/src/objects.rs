//! `objects/<sha256>`: immutable bytes under the hash of their content, linked into trails.
//!
//! ```text
//!   objects/<id>.<n>.tmp   0400   being written and hashed
//!        │ hash is right: 0644, fsync
//!        ▼ rename, fsync of the directory
//!   objects/<id>           0644   whole and right, after any power cut
//! ```
//!
//! A wrong hash, a full disk or a stream that breaks leaves nothing. A temporary is left only by a power cut, and
//! [`Objects::clear_leftovers`] removes it at boot.
//!
//! API: [`Objects::put`], [`Objects::receive`], [`Objects::list`], [`Objects::open_object`], [`Objects::size`], [`Objects::verify`], [`Objects::link`].

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use formats::object::ObjectId;
use ring::digest::{Context, SHA256};
use rustix::fs::{AtFlags, Mode, Stat};
use rustix::io::Errno;

use crate::dir::{Dir, DirError, errno_of, failure, is_file, same_file};

/// The store of objects of a device.
#[derive(Debug)]
pub struct Objects {
    dir: Dir,
}

/// What became of an offered object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// It was written.
    Stored {
        /// Its size in bytes.
        bytes: u64,
    },
    /// It was here already, and right; what was offered is read to its end and forgotten.
    Present,
}

/// Why an object cannot be stored or used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ObjectError {
    /// It is not here.
    Missing(ObjectId),
    /// Its bytes are not those of its name.
    Damaged {
        /// The object.
        id: ObjectId,
        /// What its bytes are.
        found: ObjectId,
    },
    /// What was offered is something else.
    Refused {
        /// What it was offered as.
        id: ObjectId,
        /// What it is.
        found: ObjectId,
    },
    /// What was offered is longer than agreed.
    TooLarge {
        /// The object.
        id: ObjectId,
        /// The most, in bytes.
        limit: u64,
    },
    /// The disk is full.
    NoSpace {
        /// The object.
        id: ObjectId,
        /// How many bytes of it found room; none of them was kept.
        written: u64,
    },
    /// It is known beforehand that the disk has not enough room for it.
    NoRoom {
        /// The object.
        id: ObjectId,
        /// Its size in bytes.
        size: u64,
        /// How many bytes are free.
        free: u64,
    },
    /// The stream broke.
    Stream {
        /// The object.
        id: ObjectId,
        /// How.
        kind: ErrorKind,
    },
    /// The storage.
    Dir(DirError),
}

impl From<DirError> for ObjectError {
    fn from(error: DirError) -> Self {
        Self::Dir(error)
    }
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(id) => write!(f, "object {id} is not on this device; fetch it"),
            Self::Damaged { id, found } => write!(f, "object {id} is damaged, it reads as {found}; fetch it again"),
            Self::Refused { id, found } => write!(f, "what was sent as object {id} is {found}; nothing was kept"),
            Self::TooLarge { id, limit } => write!(f, "object {id} has more than {limit} bytes; nothing was kept"),
            Self::NoSpace { id, written } => {
                write!(f, "no space for object {id} after {written} bytes; nothing was kept; ")?;
                f.write_str("remove revisions or collect garbage")
            }
            Self::NoRoom { id, size, free } => {
                write!(f, "object {id} needs {size} bytes, and {free} are free; nothing was kept; ")?;
                f.write_str("remove something from the device, or from the revision")
            }
            Self::Stream { id, kind } => write!(f, "object {id} ended early: {kind}; send it again"),
            Self::Dir(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for ObjectError {}

/// Numbers the temporaries of this process; what an earlier process left is stepped over.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// While it is written: nobody but its writer opens it.
const UNCHECKED: Mode = Mode::from_raw_mode(0o400);
/// When it is right: containers with user ids of their own read it too.
const CHECKED: Mode = Mode::from_raw_mode(0o644);

impl Objects {
    /// Opens the store of a device, making it on a new one.
    ///
    /// # Errors
    /// `objects` is not a directory, or there is no room for one.
    pub fn open(storage: &Dir) -> Result<Self, DirError> {
        Ok(Self { dir: storage.find_or_make_durably("objects")? })
    }

    /// A store in this directory, for tools that make the storage of a device.
    #[must_use]
    pub fn at(dir: Dir) -> Self {
        Self { dir }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &str {
        self.dir.path()
    }

    /// Stores what a stream brings as object `id`, if it is that, and is at most `limit` bytes long. One that is here
    /// and damaged is replaced.
    ///
    /// # Errors
    /// [`ObjectError`]; nothing that is wrong or cut short is left, and what was here stays.
    pub fn put(&self, id: ObjectId, from: &mut impl Read, limit: u64) -> Result<Put, ObjectError> {
        match self.verify(id) {
            Ok(()) => {
                pump(id, from, limit)?;
                // An earlier call may have failed just here.
                self.dir.sync()?;
                return Ok(Put::Present);
            }
            Err(ObjectError::Missing(_) | ObjectError::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut incoming = self.receive(id, limit)?;
        copy(id, from, |piece| incoming.write(piece))?;
        Ok(Put::Stored { bytes: incoming.finish()? })
    }

    /// Begins to store an object that arrives piece by piece. What is here under its name stays until it is whole.
    ///
    /// # Errors
    /// There is no room for a file.
    pub fn receive(&self, id: ObjectId, limit: u64) -> Result<Incoming, ObjectError> {
        let dir = self.dir.again()?;
        let (temporary, file) = self.temporary(id)?;
        Ok(Incoming { dir, id, temporary, file, hash: Context::new(&SHA256), bytes: 0, limit })
    }

    fn temporary(&self, id: ObjectId) -> Result<(String, File), DirError> {
        loop {
            let name = format!("{id}.{}.tmp", NEXT.fetch_add(1, Ordering::Relaxed));
            match self.dir.create(&name, UNCHECKED) {
                Err(DirError::Os { errno: Errno::EXIST, .. }) => {}
                Ok(file) => return Ok((name, file)),
                Err(error) => return Err(error),
            }
        }
    }

    /// An object, to be read. Whether its bytes are right is for [`Objects::verify`] to say.
    ///
    /// # Errors
    /// It is missing or not a plain file.
    pub fn open_object(&self, id: ObjectId) -> Result<File, ObjectError> {
        self.dir
            .file(&id.to_string())
            .map_err(|error| if error.is_missing() { ObjectError::Missing(id) } else { ObjectError::Dir(error) })
    }

    /// The size of an object in bytes; `None` if it is not here.
    ///
    /// # Errors
    /// It is not a plain file, or cannot be looked at.
    pub fn size(&self, id: ObjectId) -> Result<Option<u64>, ObjectError> {
        match self.stat(id) {
            Ok(stat) => Ok(Some(u64::try_from(stat.st_size).unwrap_or(0))),
            Err(ObjectError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// At most so many objects and their sizes, sorted by name, after this one.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self, after: Option<ObjectId>, most: usize) -> Result<Vec<(ObjectId, u64)>, ObjectError> {
        let mut page = BTreeSet::new();
        self.each(|id| {
            if after.is_none_or(|after| id > after) {
                page.insert(id);
                if page.len() > most {
                    page.pop_last();
                }
            }
        })?;
        // One that was swept in between is no longer here.
        let sized = page.into_iter().map(|id| Ok((id, self.size(id)?)));
        sized.filter_map(|row| row.map(|(id, size)| Some((id, size?))).transpose()).collect()
    }

    /// Whether there is room for an object of this size, as the file system counts what is left for it. Others may take
    /// it meanwhile.
    ///
    /// # Errors
    /// [`ObjectError::NoRoom`], or the file system does not tell.
    pub fn room_for(&self, id: ObjectId, size: u64) -> Result<(), ObjectError> {
        let (dir, name) = self.dir.as_fd_and_name();
        let stat = rustix::fs::fstatvfs(dir).map_err(|errno| failure("statvfs", name.to_owned(), errno))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if size > free { Err(ObjectError::NoRoom { id, size, free }) } else { Ok(()) }
    }

    /// Reads an object to its end and compares its hash with its name.
    ///
    /// # Errors
    /// [`ObjectError::Missing`], [`ObjectError::Damaged`], or the storage failed.
    pub fn verify(&self, id: ObjectId) -> Result<(), ObjectError> {
        let found = pump(id, &mut self.open_object(id)?, u64::MAX)?;
        if found == id { Ok(()) } else { Err(ObjectError::Damaged { id, found }) }
    }

    /// Makes `path` in `dir` a hard link to an object, in place of whatever file is there. Directories on the way are
    /// made. Nothing is synced. `false`: it was one already.
    ///
    /// # Errors
    /// The object is missing, or the path leads through a link or over a directory.
    pub fn link(&self, id: ObjectId, dir: &Dir, path: &str) -> Result<bool, ObjectError> {
        let object = self.stat(id)?;
        if let Some((parent, _)) = path.rsplit_once('/') {
            dir.make(parent)?;
        }
        let (parent, leaf) = dir.parent(path)?;
        if let Some(there) = parent.stat(leaf)? {
            if same_file(&object, &there) {
                return Ok(false);
            }
            parent.unlink(leaf)?;
        }
        rustix::fs::linkat(&self.dir, id.to_string(), &parent, leaf, AtFlags::empty())
            .map_err(|errno| failure("link", dir.name(path), errno))?;
        Ok(true)
    }

    /// Whether `path` in `dir` is a link to the object of the store.
    pub(crate) fn is_linked(&self, id: ObjectId, dir: &Dir, path: &str) -> Result<bool, ObjectError> {
        let object = self.stat(id)?;
        Ok(dir.stat(path)?.is_some_and(|there| same_file(&object, &there)))
    }

    /// Removes what power cuts left of objects that were being written. To be called at boot, before the first
    /// [`Objects::put`]; it tells how many there were.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub fn clear_leftovers(&self) -> Result<u64, DirError> {
        let mut count = 0;
        self.dir.each_name(|name| {
            if let Some(name) = name.to_str().ok().filter(|name| is_temporary(name)) {
                self.dir.unlink_if_any(name)?;
                count += 1;
            }
            Ok(())
        })?;
        Ok(count)
    }

    /// Shows the name of every object. What has no such name is nobody's business here.
    pub(crate) fn each(&self, mut visit: impl FnMut(ObjectId)) -> Result<(), DirError> {
        self.dir.each_name(|name| {
            if let Some(id) = name.to_str().ok().and_then(ObjectId::parse) {
                visit(id);
            }
            Ok(())
        })
    }

    /// Takes an object's name away; it tells how many bytes that frees. Only a sweep may.
    pub(crate) fn remove(&self, id: ObjectId) -> Result<u64, ObjectError> {
        let freed = crate::dir::freed(&self.stat(id)?);
        self.dir.unlink(&id.to_string())?;
        Ok(freed)
    }

    pub(crate) fn sync(&self) -> Result<(), DirError> {
        self.dir.sync()
    }

    fn stat(&self, id: ObjectId) -> Result<Stat, ObjectError> {
        let name = id.to_string();
        match self.dir.stat(&name)? {
            None => Err(ObjectError::Missing(id)),
            Some(stat) if is_file(&stat) => Ok(stat),
            Some(_) => Err(DirError::Kind { path: self.dir.name(&name), wanted: "plain file" }.into()),
        }
    }
}

/// An object that arrives piece by piece. Dropped before it is whole, it leaves nothing.
pub struct Incoming {
    dir: Dir,
    id: ObjectId,
    temporary: String,
    file: File,
    hash: Context,
    bytes: u64,
    limit: u64,
}

impl Incoming {
    /// Takes the next piece.
    ///
    /// # Errors
    /// It is longer than agreed, or there is no room; then nothing more can come of it.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), ObjectError> {
        let bytes = within(self.id, self.bytes, piece, self.limit)?;
        self.file.write_all(piece).map_err(|error| self.failed("write", errno_of(&error)))?;
        self.hash.update(piece);
        self.bytes = bytes;
        Ok(())
    }

    /// All of it has come: stores it under its name, durably, if it is what it was offered as. It tells its length.
    ///
    /// # Errors
    /// [`ObjectError`]; nothing that is wrong or cut short is left, and what was here stays.
    pub fn finish(self) -> Result<u64, ObjectError> {
        let found = named(self.hash.clone());
        if found != self.id {
            return Err(ObjectError::Refused { id: self.id, found });
        }
        rustix::fs::fchmod(&self.file, CHECKED).map_err(|errno| self.failed("fchmod", errno))?;
        // With delayed allocation a full disk may show itself only here.
        rustix::fs::fsync(&self.file).map_err(|errno| self.failed("fsync", errno))?;
        self.dir.rename(&self.temporary, &self.id.to_string())?;
        self.dir.sync()?;
        Ok(self.bytes)
    }

    fn failed(&self, call: &'static str, errno: Errno) -> ObjectError {
        os(self.id, self.bytes, failure(call, self.dir.name(&self.id.to_string()), errno))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Once it has its name there is no temporary; one that cannot be removed now is removed at boot.
        let _ = self.dir.unlink_if_any(&self.temporary);
    }
}

/// `<id>.tmp`, as other tools name it, or `<id>.<n>.tmp`.
fn is_temporary(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".tmp") else { return false };
    let (id, number) = stem.split_once('.').unwrap_or((stem, "0"));
    ObjectId::parse(id).is_some() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads a stream to its end and hashes it.
fn pump(id: ObjectId, from: &mut impl Read, limit: u64) -> Result<ObjectId, ObjectError> {
    let mut hash = Context::new(&SHA256);
    let mut bytes: u64 = 0;
    copy(id, from, |piece| {
        bytes = within(id, bytes, piece, limit)?;
        hash.update(piece);
        Ok(())
    })?;
    Ok(named(hash))
}

/// Hands a stream on, piece by piece.
fn copy(
    id: ObjectId,
    from: &mut impl Read,
    mut take: impl FnMut(&[u8]) -> Result<(), ObjectError>,
) -> Result<(), ObjectError> {
    // 32 KiB: a system call costs less than hashing it, and it fits the stack of a helper thread.
    let mut buffer = [0; 32 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => take(buffer.get(..length).unwrap_or_default())?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(ObjectError::Stream { id, kind: error.kind() }),
        }
    }
}

/// How long it is with one more piece.
fn within(id: ObjectId, bytes: u64, piece: &[u8], limit: u64) -> Result<u64, ObjectError> {
    let bytes = bytes.saturating_add(piece.len() as u64);
    if bytes > limit { Err(ObjectError::TooLarge { id, limit }) } else { Ok(bytes) }
}

/// The name of what was hashed.
fn named(hash: Context) -> ObjectId {
    let mut digest = [0; 32];
    // The algorithm fixes the length: 32 on both sides.
    digest.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
    ObjectId::from_digest(digest)
}

fn os(id: ObjectId, written: u64, error: DirError) -> ObjectError {
    match error {
        DirError::NoSpace { .. } => ObjectError::NoSpace { id, written },
        error => ObjectError::Dir(error),
    }
}

#[cfg(test)]
mod tests;
