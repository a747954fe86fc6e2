//! A directory that is held open, and what lies beneath it.
//!
//! Every path is resolved by the kernel beneath the open directory and through no symbolic link (`openat2`, Linux 5.6),
//! so neither a state nor a container that writes into storage can make PID 1 touch a file elsewhere. Names handed in
//! must be relative paths that were parsed by [`formats`] or are written here; `..` would be refused by the kernel.
//!
//! A file that appears under a name is whole: it is written under another name, synced and renamed, or it is written where nobody looks yet. What must survive a power cut is synced by whoever knows that it must.

use std::ffi::CString;
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// A directory of the storage.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: String,
}

/// Why a file or directory cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DirError {
    /// The kernel said no.
    Os {
        /// What was attempted.
        call: &'static str,
        /// On what.
        path: String,
        /// The answer.
        errno: Errno,
    },
    /// No room for it.
    NoSpace {
        /// What was to be written.
        path: String,
    },
    /// A symbolic link, a mount, or a path that leaves its directory.
    Link {
        /// The path.
        path: String,
    },
    /// Neither a plain file where one is wanted, nor a directory where one is wanted.
    Kind {
        /// The path.
        path: String,
        /// What was wanted.
        wanted: &'static str,
    },
    /// Longer than anything that may stand there.
    TooLarge {
        /// The file.
        path: String,
        /// The most that is read, in bytes.
        limit: usize,
    },
}

impl DirError {
    /// Whether it only says that there is nothing of this name.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Os { errno: Errno::NOENT, .. })
    }
}

impl fmt::Display for DirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os { call, path, errno } => write!(f, "{path}: {call} failed: {errno}"),
            Self::NoSpace { path } => write!(f, "{path}: no space left; remove revisions or collect garbage"),
            Self::Link { path } => write!(f, "{path}: leads out of its directory by a link or a mount; remove that"),
            Self::Kind { path, wanted } => write!(f, "{path}: is not a {wanted}; move it away"),
            Self::TooLarge { path, limit } => write!(f, "{path}: has more than {limit} bytes"),
        }
    }
}

impl std::error::Error for DirError {}

const FILE_MODE: Mode = Mode::from_raw_mode(0o644);
const DIR_MODE: Mode = Mode::from_raw_mode(0o755);

/// How one name is opened. `NONBLOCK`: a FIFO that was put in place of a file must not stop PID 1.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK);
/// Without `NOFOLLOW`: it would call a link "not a directory", where `openat2` says that it is a link.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::DIRECTORY);
const CREATE: OFlags =
    OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

impl Dir {
    /// Opens a directory that the device's own configuration names. Here, and only here, links are followed.
    ///
    /// # Errors
    /// It is missing, or not a directory.
    pub fn open(path: &Path) -> Result<Self, DirError> {
        let name = std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path: name }),
            Err(errno) => Err(failure("open", name, errno)),
        }
    }

    /// Its absolute path, for messages and for files that tell tools where they are.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Another handle of this directory.
    pub(crate) fn again(&self) -> Result<Self, DirError> {
        let fd = self.beneath(".", DIRECTORY, Mode::empty())?;
        Ok(Self { fd, path: self.path.clone() })
    }

    pub(crate) fn as_fd_and_name(&self) -> (BorrowedFd<'_>, &str) {
        (self.fd.as_fd(), &self.path)
    }

    fn error(&self, call: &'static str, rel: &str) -> impl Fn(Errno) -> DirError {
        move |errno| failure(call, self.name(rel), errno)
    }

    pub(crate) fn name(&self, rel: &str) -> String {
        if rel.is_empty() { self.path.clone() } else { format!("{}/{rel}", self.path) }
    }

    fn beneath(&self, rel: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, DirError> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.fd, rel, flags, mode, resolve) {
                Err(Errno::INTR) => {}
                Err(Errno::NOTDIR) if flags.contains(OFlags::DIRECTORY) => {
                    return Err(DirError::Kind { path: self.name(rel), wanted: "directory" });
                }
                done => return done.map_err(self.error("open", rel)),
            }
        }
    }

    /// A directory beneath this one.
    pub(crate) fn sub(&self, rel: &str) -> Result<Self, DirError> {
        let fd = self.beneath(rel, DIRECTORY, Mode::empty())?;
        Ok(Self { fd, path: self.name(rel) })
    }

    /// The same, or `None` if there is nothing of this name.
    pub(crate) fn sub_if_any(&self, rel: &str) -> Result<Option<Self>, DirError> {
        if_any(self.sub(rel))
    }

    /// A directory beneath this one, made with its parents if need be. New ones are not synced.
    pub(crate) fn make(&self, rel: &str) -> Result<Self, DirError> {
        match self.sub(rel) {
            Err(error) if error.is_missing() => {}
            done => return done,
        }
        let ends = rel.match_indices('/').map(|(slash, _)| slash).chain([rel.len()]);
        for level in ends.filter_map(|end| rel.get(..end)) {
            let (parent, leaf) = self.parent(level)?;
            match rustix::fs::mkdirat(&parent, leaf, DIR_MODE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failure("mkdir", self.name(level), errno)),
            }
        }
        self.sub(rel)
    }

    /// The same, for who comes before everybody that writes in this boot: what is there, the medium holds already.
    pub(crate) fn find_or_make_durably(&self, rel: &str) -> Result<Self, DirError> {
        match self.sub(rel) {
            Err(error) if error.is_missing() => self.make_durably(rel),
            found => found,
        }
    }

    /// The same, durable when it returns.
    ///
    /// # Errors
    /// [`DirError`]
    pub fn make_durably(&self, rel: &str) -> Result<Self, DirError> {
        let dir = self.make(rel)?;
        self.sync_ancestors(rel)?;
        Ok(dir)
    }

    /// The directory that a path ends in, and its last component.
    pub(crate) fn parent<'p>(&self, rel: &'p str) -> Result<(Self, &'p str), DirError> {
        match rel.rsplit_once('/') {
            Some((parent, leaf)) => Ok((self.sub(parent)?, leaf)),
            None => Ok((self.again()?, rel)),
        }
    }

    /// A plain file, to be read.
    pub(crate) fn file(&self, rel: &str) -> Result<File, DirError> {
        let fd = self.beneath(rel, READ, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd).map_err(self.error("fstat", rel))?;
        if is_file(&stat) {
            Ok(File::from(fd))
        } else {
            Err(DirError::Kind { path: self.name(rel), wanted: "plain file" })
        }
    }

    /// A whole file of at most `limit` bytes.
    pub(crate) fn read(&self, rel: &str, limit: usize) -> Result<Vec<u8>, DirError> {
        let mut bytes = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        self.file(rel)?
            .take(most)
            .read_to_end(&mut bytes)
            .map_err(|error| self.error("read", rel)(errno_of(&error)))?;
        if bytes.len() > limit { Err(DirError::TooLarge { path: self.name(rel), limit }) } else { Ok(bytes) }
    }

    /// The same, or `None` if there is nothing of this name.
    ///
    /// # Errors
    /// [`DirError`]
    pub fn read_if_any(&self, rel: &str, limit: usize) -> Result<Option<Vec<u8>>, DirError> {
        if_any(self.read(rel, limit))
    }

    /// What stands under a name, if anything. A link is not followed.
    pub(crate) fn stat(&self, rel: &str) -> Result<Option<Stat>, DirError> {
        let looked = self.parent(rel).and_then(|(parent, leaf)| {
            rustix::fs::statat(&parent, leaf, AtFlags::SYMLINK_NOFOLLOW).map_err(self.error("stat", rel))
        });
        if_any(looked)
    }

    /// A new file that nobody else can open for writing. It must not exist.
    pub(crate) fn create(&self, rel: &str, mode: Mode) -> Result<File, DirError> {
        self.beneath(rel, CREATE, mode).map(File::from)
    }

    /// A new file with these bytes, synced. Its name is not: see [`Dir::sync`].
    pub(crate) fn write_new(&self, rel: &str, bytes: &[u8]) -> Result<(), DirError> {
        let mut file = self.create(rel, FILE_MODE)?;
        file.write_all(bytes).map_err(|error| self.error("write", rel)(errno_of(&error)))?;
        rustix::fs::fsync(&file).map_err(self.error("fsync", rel))
    }

    /// Replaces a file as a whole: a reader sees the old bytes or the new ones, after a power cut too.
    ///
    /// # Errors
    /// [`DirError`]: it is still what it was, unless it was the sync of the directory that failed.
    pub fn replace(&self, rel: &str, bytes: &[u8]) -> Result<(), DirError> {
        let (parent, leaf) = self.parent(rel)?;
        let temporary = beside(leaf);
        parent.unlink_if_any(&temporary)?;
        let done = parent.write_new(&temporary, bytes).and_then(|()| parent.rename(&temporary, leaf));
        if done.is_err() {
            // The first failure is the one to report; a leftover is removed by the next attempt.
            let _ = parent.unlink_if_any(&temporary);
        }
        done.and_then(|()| parent.sync())
    }

    /// Renames within this directory, over what has the name already.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), DirError> {
        rustix::fs::renameat(&self.fd, from, &self.fd, to).map_err(self.error("rename", from))
    }

    pub(crate) fn unlink(&self, leaf: &str) -> Result<(), DirError> {
        rustix::fs::unlinkat(&self.fd, leaf, AtFlags::empty()).map_err(self.error("unlink", leaf))
    }

    pub(crate) fn unlink_if_any(&self, leaf: &str) -> Result<(), DirError> {
        if_any(self.unlink(leaf)).map(|_| ())
    }

    /// Waits until the names in this directory are durable.
    pub(crate) fn sync(&self) -> Result<(), DirError> {
        rustix::fs::fsync(&self.fd).map_err(self.error("fsync", ""))
    }

    /// The same for every directory on the way to a path, and for the path itself if it is one.
    pub(crate) fn sync_ancestors(&self, rel: &str) -> Result<(), DirError> {
        rel.match_indices('/').filter_map(|(slash, _)| rel.get(..slash)).try_for_each(|dir| self.sub(dir)?.sync())?;
        self.sync()
    }

    /// Shows every name here, in the order of the file system.
    pub(crate) fn each_name(&self, mut visit: impl FnMut(CString) -> Result<(), DirError>) -> Result<(), DirError> {
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(self.error("readdir", ""))? {
            let entry = entry.map_err(self.error("readdir", ""))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                visit(entry.file_name().to_owned())?;
            }
        }
        Ok(())
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The temporary name beside a file: no longer than a name may be, and never the name itself.
fn beside(leaf: &str) -> String {
    // A name of the greatest length loses its end; only one temporary exists in a directory at a time.
    let kept: String = leaf
        .chars()
        .scan(0, |length, c| {
            *length += c.len_utf8();
            (*length <= 240).then_some(c)
        })
        .collect();
    format!(".{kept}.tmp")
}

pub(crate) fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

pub(crate) fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Whether two names are links to one file.
pub(crate) fn same_file(one: &Stat, other: &Stat) -> bool {
    one.st_dev == other.st_dev && one.st_ino == other.st_ino
}

/// What removing one name of a file frees, in bytes as the file system counts them.
pub(crate) fn freed(stat: &Stat) -> u64 {
    let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
    if is_file(stat) && stat.st_nlink == 1 { blocks.saturating_mul(512) } else { 0 }
}

pub(crate) fn if_any<T>(done: Result<T, DirError>) -> Result<Option<T>, DirError> {
    match done {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

pub(crate) fn failure(call: &'static str, path: String, errno: Errno) -> DirError {
    match errno {
        Errno::NOSPC | Errno::DQUOT => DirError::NoSpace { path },
        Errno::LOOP | Errno::XDEV => DirError::Link { path },
        errno => DirError::Os { call, path, errno },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_path_leads_out_of_the_directory() {
        let scratch = Scratch::new();
        std::fs::write(scratch.path().join("secret"), "x").unwrap();
        std::fs::create_dir(scratch.path().join("in")).unwrap();
        symlink("../secret", scratch.path().join("in/file")).unwrap();
        symlink("..", scratch.path().join("in/dir")).unwrap();
        let dir = scratch.dir().sub("in").unwrap();
        for path in ["file", "dir/secret", "../secret", "/etc/passwd"] {
            assert!(matches!(dir.read(path, 10), Err(DirError::Link { .. })), "{path}");
        }
        assert!(dir.write_new("dir/new", b"x").is_err());
        assert!(dir.make("dir/new").is_err());
        assert!(!scratch.path().join("new").exists());
    }

    #[test]
    fn a_pipe_in_place_of_a_file_stops_nobody() {
        let scratch = Scratch::new();
        rustix::fs::mknodat(scratch.dir().as_fd(), "pipe", FileType::Fifo, FILE_MODE, 0).unwrap();
        assert!(matches!(scratch.dir().file("pipe"), Err(DirError::Kind { .. })));
    }

    #[test]
    fn a_file_longer_than_its_limit_is_not_read() {
        let scratch = Scratch::new();
        scratch.dir().write_new("a", b"12345").unwrap();
        assert_eq!(scratch.dir().read("a", 5).unwrap(), b"12345");
        assert!(matches!(scratch.dir().read("a", 4), Err(DirError::TooLarge { limit: 4, .. })));
    }

    #[test]
    fn a_file_is_replaced_whole_and_a_leftover_of_a_power_cut_is_no_obstacle() {
        let scratch = Scratch::new();
        let long = "ä".repeat(127);
        for name in ["a", &long] {
            std::fs::write(scratch.path().join(beside(name)), "half").unwrap();
            scratch.dir().replace(name, b"one").unwrap();
            scratch.dir().replace(name, b"two").unwrap();
            assert_eq!(scratch.dir().read(name, 9).unwrap(), b"two");
            assert!(!scratch.path().join(beside(name)).exists());
        }
    }
}
