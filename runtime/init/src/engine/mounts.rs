//! Mounts of PID 1 below its runtime directory, and the way back: what is mounted there is what the kernel says, not
//! what was remembered.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use container::image;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind_recursive, mount_remount};

use super::EngineError;

/// Makes a directory and what is missing above it. Only root may change what lies in it; what is there stays as it is.
pub(super) fn make_dir(dir: &Path) -> Result<(), EngineError> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(EngineError::file("make the directory", dir))
}

/// Walks from a directory to one below it, without following a link (`ELOOP`), and makes what is missing if it may.
pub(super) fn plain(dir: &Path, rest: &Path, create: bool) -> Result<(), EngineError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let failed = |errno: Errno| EngineError::file("use as a layer", &dir.join(rest))(errno.into());
    // The way to the directory is the device's own; links on it are meant.
    let mut place = rustix::fs::open(dir, flags.difference(OFlags::NOFOLLOW), Mode::empty()).map_err(failed)?;
    for part in rest.components() {
        let Component::Normal(part) = part else { return Err(failed(Errno::INVAL)) };
        if create {
            match rustix::fs::mkdirat(&place, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        place = rustix::fs::openat(&place, part, flags, Mode::empty()).map_err(failed)?;
    }
    Ok(())
}

/// Binds a directory with all below it.
pub(super) fn bind(from: &Path, place: &Path, read_only: bool) -> Result<(), EngineError> {
    make_dir(place)?;
    // A file of its name would be bound just as well.
    if !fs::metadata(from).map_err(EngineError::file("look at", from))?.is_dir() {
        let why = std::io::ErrorKind::NotADirectory.into();
        return Err(EngineError::File { doing: "bind", path: from.to_owned(), why });
    }
    let failed = |doing| move |errno: Errno| EngineError::file(doing, place)(errno.into());
    mount_bind_recursive(from, place).map_err(failed("mount on"))?;
    if read_only {
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV;
        mount_remount(place, flags, "").map_err(failed("make read-only"))?;
    }
    Ok(())
}

/// Mounts an empty directory in memory. One that is mounted already stays as it is.
pub(super) fn tmpfs(place: &Path) -> Result<(), EngineError> {
    make_dir(place)?;
    if is_mounted(place)? {
        return Ok(());
    }
    mount("tmpfs", place, "tmpfs", MountFlags::NODEV, Some(c"mode=0755"))
        .map_err(|errno| EngineError::file("mount a tmpfs on", place)(errno.into()))
}

fn is_mounted(place: &Path) -> Result<bool, EngineError> {
    let dir = fs::canonicalize(place).map_err(EngineError::file("find", place))?;
    Ok(below(&table()?, &dir).contains(&dir))
}

fn table() -> Result<Vec<u8>, EngineError> {
    let table = Path::new("/proc/self/mountinfo");
    fs::read(table).map_err(EngineError::file("read", table))
}

/// Clears every entry of a directory but one.
pub(super) fn clear_others(dir: &Path, but: &str) -> Result<(), EngineError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(EngineError::file("read", dir))?,
    };
    for entry in entries {
        let entry = entry.map_err(EngineError::file("read", dir))?;
        if entry.file_name() != but {
            clear(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a directory of the storage, however much is in it.
pub(super) fn discard(storage: &Path, dir: &Path) -> Result<(), EngineError> {
    let path =
        dir.strip_prefix(storage).ok().and_then(Path::to_str).ok_or_else(|| EngineError::Path(dir.to_owned()))?;
    store::sweep::discard(storage, path).map_err(|why| EngineError::file("empty", dir)(std::io::Error::other(why)))
}

/// Copies a file: who writes to it does not write to the store's.
pub(super) fn copy(from: &Path, place: &Path) -> Result<(), EngineError> {
    if let Some(parent) = place.parent() {
        make_dir(parent)?;
    }
    fs::copy(from, place).map(drop).map_err(EngineError::file("copy", from))
}

/// Unmounts everything at and below a directory, the last mount first, and removes it. A mount that was busy is
/// detached, so that nothing of it is found any more.
pub(super) fn clear(dir: &Path) -> Result<(), EngineError> {
    // As the kernel's table has it: without links on the way.
    let dir = match fs::canonicalize(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(EngineError::file("find", dir))?,
    };
    let text = table()?;
    let mut result = Ok(());
    // In the order of mounting, so that what covers comes after what is covered.
    for place in below(&text, &dir).iter().rev() {
        if let Err(error) = image::unmount(place) {
            result = result.and(Err(error.into()));
        }
    }
    result.and_then(|()| remove(&dir))
}

/// Removes a tree of directories and copies, and enters no other file system: what could not be unmounted is data.
fn remove(dir: &Path) -> Result<(), EngineError> {
    let device = fs::symlink_metadata(dir).map_err(EngineError::file("look at", dir))?.dev();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.last().cloned() {
        let failed = || EngineError::file("remove", &path);
        let entries = fs::read_dir(&path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(failed())?;
        if entries.is_empty() {
            fs::remove_dir(&path).map_err(failed())?;
            left.pop();
        }
        for entry in entries {
            let meta = entry.metadata().map_err(failed())?;
            if meta.dev() != device {
                return Err(failed()(std::io::ErrorKind::ResourceBusy.into()));
            }
            if meta.is_dir() {
                left.push(entry.path());
            } else {
                fs::remove_file(entry.path()).map_err(failed())?;
            }
        }
    }
    Ok(())
}

/// The mount points at and below a directory, in the order of the table.
fn below(mountinfo: &[u8], dir: &Path) -> Vec<PathBuf> {
    let place = |line: &[u8]| line.split(|byte| *byte == b' ').nth(4).map(unescaped);
    let places = mountinfo.split(|byte| *byte == b'\n').filter_map(place);
    places.filter(|place| place.starts_with(dir)).collect()
}

/// Resolves `\ooo`, as the kernel writes blanks and backslashes.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = tail.get(3..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_below_the_directory_are_found_and_in_their_order() {
        let text = b"\
21 1 0:1 / / rw - rootfs rootfs rw
30 21 7:0 / /run/v/web/root\\040x.squashfs ro - squashfs /dev/loop0 ro
31 21 0:9 / /run/v/web ro - tmpfs tmpfs rw
32 21 0:9 / /run/v/webb/x ro - tmpfs tmpfs rw
";
        let found = below(text, Path::new("/run/v/web"));
        assert_eq!(found, [Path::new("/run/v/web/root x.squashfs"), Path::new("/run/v/web")]);
    }

    #[test]
    fn a_tree_of_directories_and_copies_is_removed() {
        let dir = std::env::temp_dir().join(format!("cairn-clear-{}", std::process::id()));
        make_dir(&dir.join("a/b")).unwrap();
        fs::write(dir.join("a/b/x.bind"), "x").unwrap();
        clear(&dir).unwrap();
        assert!(!dir.exists());
        clear(&dir).unwrap();
    }
}
