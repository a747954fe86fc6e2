//! Removing a directory with all below it, whatever a container has put there.
//!
//! ```text
//!   top/a/b/c/…            top/a  top/.0/c/…          top/a is empty, top/.0 is next
//! ```
//!
//! A container may nest directories deeper than PID 1 has stack or descriptors. So nothing here recurses: a directory
//! that is not empty moves up beside its parent, and two are open at a time. Links are removed and never followed; a
//! mount is an error and never entered. A power cut in between leaves less of the same, to be removed again.

use std::ffi::{CStr, CString};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use crate::dir::{Dir, DirError, failure, freed, is_dir};

/// Names held in memory at a time.
const BATCH: usize = 256;

/// Removes `leaf` of `parent`, a directory, and tells how many bytes that freed.
pub(crate) fn remove(parent: &Dir, leaf: &str) -> Result<u64, DirError> {
    let top = Level::open(parent.as_fd_and_name(), &cstring(leaf))?;
    let (mut bytes, mut moved) = (0, 0);
    loop {
        let names = top.batch()?;
        if names.is_empty() {
            break;
        }
        for name in names {
            let Some(left) = top.remove(&name, &mut bytes)? else { continue };
            let inner = Level::open(top.as_fd_and_name(), &left)?;
            inner.empty_into(&top, &mut moved, &mut bytes)?;
            top.call("rmdir", &left, rustix::fs::unlinkat(&top.fd, &left, AtFlags::REMOVEDIR))?;
        }
    }
    let done = rustix::fs::unlinkat(parent, leaf, AtFlags::REMOVEDIR);
    done.map_err(|errno| failure("rmdir", parent.name(leaf), errno))?;
    Ok(bytes)
}

/// A directory that is being emptied.
struct Level {
    fd: rustix::fd::OwnedFd,
    path: String,
}

type Place<'p> = (rustix::fd::BorrowedFd<'p>, &'p str);

impl Level {
    fn open((fd, path): Place<'_>, name: &CStr) -> Result<Self, DirError> {
        let path = format!("{path}/{}", name.to_string_lossy());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        match rustix::fs::openat2(fd, name, flags, Mode::empty(), resolve) {
            Ok(fd) => Ok(Self { fd, path }),
            Err(errno) => Err(failure("open", path, errno)),
        }
    }

    fn as_fd_and_name(&self) -> Place<'_> {
        use rustix::fd::AsFd;
        (self.fd.as_fd(), &self.path)
    }

    fn call<T>(&self, call: &'static str, name: &CStr, done: Result<T, Errno>) -> Result<T, DirError> {
        done.map_err(|errno| failure(call, format!("{}/{}", self.path, name.to_string_lossy()), errno))
    }

    fn batch(&self) -> Result<Vec<CString>, DirError> {
        let entries = self.call("readdir", c".", rustix::fs::Dir::read_from(&self.fd))?;
        entries
            .map(|entry| self.call("readdir", c".", entry).map(|entry| entry.file_name().to_owned()))
            .filter(|name| !matches!(name.as_deref().map(CStr::to_bytes), Ok(b"." | b"..")))
            .take(BATCH)
            .collect()
    }

    /// Removes an entry; a directory that is not empty is handed back.
    fn remove(&self, name: &CStr, bytes: &mut u64) -> Result<Option<CString>, DirError> {
        let stat = self.call("stat", name, rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW))?;
        if !is_dir(&stat) {
            self.call("unlink", name, rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()))?;
            *bytes = bytes.saturating_add(freed(&stat));
            return Ok(None);
        }
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Some(name.to_owned())),
            done => self.call("rmdir", name, done).map(|()| None),
        }
    }

    /// Removes everything in here but directories that are not empty: those move up into `top`.
    fn empty_into(&self, top: &Self, moved: &mut u64, bytes: &mut u64) -> Result<(), DirError> {
        loop {
            let names = self.batch()?;
            if names.is_empty() {
                return Ok(());
            }
            for name in names {
                if let Some(left) = self.remove(&name, bytes)? {
                    self.move_up(&left, top, moved)?;
                }
            }
        }
    }

    fn move_up(&self, name: &CStr, top: &Self, moved: &mut u64) -> Result<(), DirError> {
        loop {
            let free = format!(".{moved}");
            *moved = moved.saturating_add(1);
            match rustix::fs::renameat_with(&self.fd, name, &top.fd, free, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                done => return self.call("rename", name, done),
            }
        }
    }
}

/// A name of a revision has no NUL; one that had would be the empty name, which opens nothing.
fn cstring(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn a_tree_deeper_than_a_process_has_descriptors_is_removed() {
        let scratch = Scratch::one_megabyte();
        let mut deep = scratch.dir().make("old").unwrap();
        for _ in 0..5000 {
            drop(deep.create("f", Mode::RUSR).unwrap());
            deep = deep.make(".0").unwrap();
        }
        drop(deep);
        assert!(remove(scratch.dir(), "old").is_ok());
        assert!(!scratch.has("old"));
    }

    #[test]
    fn what_a_link_points_to_stays() {
        let scratch = Scratch::new();
        std::fs::create_dir_all(scratch.path().join("keep/in")).unwrap();
        std::fs::create_dir_all(scratch.path().join("old/a/b")).unwrap();
        symlink("../keep", scratch.path().join("old/link")).unwrap();
        symlink("../../../keep", scratch.path().join("old/a/b/link")).unwrap();
        remove(scratch.dir(), "old").unwrap();
        assert!(scratch.has("keep/in") && !scratch.has("old"));
        symlink("keep", scratch.path().join("old")).unwrap();
        assert!(matches!(remove(scratch.dir(), "old"), Err(DirError::Link { .. })));
        assert!(scratch.has("keep/in"));
    }

    #[test]
    fn what_is_mounted_below_is_never_entered() {
        let scratch = Scratch::new();
        let disk = Scratch::one_megabyte();
        std::fs::write(disk.path().join("data"), "x").unwrap();
        for place in ["old", "older/a/b"] {
            let at = scratch.path().join(place);
            std::fs::create_dir_all(&at).unwrap();
            rustix::mount::mount_bind(disk.path(), &at).unwrap();
            let removed = remove(scratch.dir(), place.split('/').next().unwrap());
            rustix::mount::unmount(&at, rustix::mount::UnmountFlags::DETACH).unwrap();
            assert!(removed.is_err(), "{place}");
            assert_eq!(disk.text("data"), "x");
        }
    }

    #[test]
    fn a_wide_tree_is_removed_in_batches_and_its_bytes_are_counted() {
        let scratch = Scratch::new();
        for number in 0..BATCH + 10 {
            let dir = scratch.path().join(format!("old/{}", number % 3));
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join(number.to_string()), [1; 4096]).unwrap();
        }
        std::fs::write(scratch.path().join("outside"), [1; 4096]).unwrap();
        std::fs::hard_link(scratch.path().join("outside"), scratch.path().join("old/linked")).unwrap();
        assert_eq!(remove(scratch.dir(), "old"), Ok((BATCH as u64 + 10) * 4096));
    }
}
