//! Images and volumes of a container: mounted before its start, unmounted after its end, by PID 1.
//!
//! An image is one file with a file system in it. It is mounted read-only and without device nodes, through a loop
//! device that goes away with the mount. Every error names the path and the step.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use crate::SystemError;
use crate::error::cannot;
use crate::loopdev::Loop;

/// The file system in an image. A volume's last extension is its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `.squashfs`
    Squashfs,
    /// `.ext4`
    Ext4,
    /// `.erofs`
    Erofs,
}

impl Kind {
    /// From an extension, without its dot.
    #[must_use]
    pub fn parse(extension: &str) -> Option<Self> {
        [Self::Squashfs, Self::Ext4, Self::Erofs].into_iter().find(|kind| kind.as_str() == extension)
    }

    /// The kernel's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Squashfs => "squashfs",
            Self::Ext4 => "ext4",
            Self::Erofs => "erofs",
        }
    }
}

/// Mounts the image `file` on the directory `dir`.
///
/// # Errors
/// Then nothing is mounted, and no loop device stays attached.
pub fn mount(file: &Path, kind: Kind, dir: &Path) -> Result<(), SystemError> {
    let device = Loop::attach(file)?;
    mount_device(device.path(), kind, dir).map_err(|error| SystemError { path: blame(&error, file), ..error })
}

/// Mounts a block device read-only on the directory `dir`: a partition, or a mapping that verifies what it reads.
///
/// # Errors
/// Then nothing is mounted.
pub fn mount_device(device: &Path, kind: Kind, dir: &Path) -> Result<(), SystemError> {
    let context = rustix::mount::fsopen(kind.as_str(), FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(cannot("use the file system", kind.as_str()))?;
    rustix::mount::fsconfig_set_string(&context, "source", device).map_err(cannot(READ, device))?;
    // The file system itself, not only this mount of it: it must not write to the device, whoever mounts it.
    rustix::mount::fsconfig_set_flag(&context, "ro").map_err(cannot(READ, device))?;
    rustix::mount::fsconfig_create(&context).map_err(cannot(READ, device))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
    let tree: OwnedFd = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(cannot("mount from", device))?;
    attach(&tree, dir)
}

/// Mounts on the directory `dir` what is attached nowhere yet.
///
/// # Errors
/// It is, or the directory is not there.
pub fn attach(tree: &OwnedFd, dir: &Path) -> Result<(), SystemError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", CWD, dir, flags).map_err(cannot("mount on", dir))
}

/// One mount more of what is mounted on `dir`, attached nowhere. It is gone with the descriptor, unless it was attached.
///
/// # Errors
/// The directory is not there.
pub fn another(dir: &Path) -> Result<OwnedFd, SystemError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, dir, flags).map_err(cannot("open the mount on", dir))
}

const READ: &str = "read a file system from";

/// A person knows the image, not the loop device that happened to be free.
fn blame(error: &SystemError, file: &Path) -> PathBuf {
    if error.doing == READ { file.to_owned() } else { error.path.clone() }
}

/// How a mount ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unmounted {
    /// It is gone.
    Clean,
    /// Nobody sees it any more; it is gone when its last user is.
    Detached,
    /// Nothing was mounted there.
    Nothing,
}

/// Ends the mount on top of `dir`. What is busy is detached.
///
/// # Errors
/// It can be neither unmounted nor detached.
pub fn unmount(dir: &Path) -> Result<Unmounted, SystemError> {
    let flags = UnmountFlags::NOFOLLOW;
    match rustix::mount::unmount(dir, flags) {
        Ok(()) => Ok(Unmounted::Clean),
        Err(Errno::INVAL | Errno::NOENT) => Ok(Unmounted::Nothing),
        Err(Errno::BUSY) => rustix::mount::unmount(dir, flags | UnmountFlags::DETACH)
            .map(|()| Unmounted::Detached)
            .map_err(cannot("detach", dir)),
        Err(errno) => Err(cannot("unmount", dir)(errno)),
    }
}

/// Why directories cannot be the writable layer of an overlay. The kernel says only `EINVAL`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UpperError {
    /// Missing, or no directory.
    System(SystemError),
    /// The two are on different file systems.
    TwoFileSystems(PathBuf, PathBuf),
    /// One is the other, or lies in it.
    Nested(PathBuf, PathBuf),
    /// Nothing can be written there.
    ReadOnly(PathBuf),
}

/// Checks what the kernel demands of the writable layer of an overlay, so that an error can say which demand is not
/// met.
///
/// # Errors
/// See [`UpperError`].
pub fn check_upper(upper: &Path, work: &Path) -> Result<(), UpperError> {
    let device = |dir: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(dir, flags, Mode::empty()).map_err(cannot("open the directory", dir));
        let stat =
            fd.and_then(|fd| rustix::fs::fstat(fd).map_err(cannot("look at", dir))).map_err(UpperError::System)?;
        let writable = rustix::fs::statvfs(dir).map_err(cannot("look at", dir)).map_err(UpperError::System)?;
        if writable.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
            return Err(UpperError::ReadOnly(dir.to_owned()));
        }
        Ok((stat.st_dev, stat.st_ino))
    };
    let (up, down) = (device(upper)?, device(work)?);
    if up.0 != down.0 {
        return Err(UpperError::TwoFileSystems(upper.to_owned(), work.to_owned()));
    }
    if up == down || upper.starts_with(work) || work.starts_with(upper) {
        return Err(UpperError::Nested(upper.to_owned(), work.to_owned()));
    }
    Ok(())
}

impl fmt::Display for UpperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::TwoFileSystems(a, b) => {
                write!(f, "{} and {} must be on one file system", a.display(), b.display())
            }
            Self::Nested(a, b) => write!(f, "{} and {} must not lie in each other", a.display(), b.display()),
            Self::ReadOnly(dir) => write!(f, "{} is on a read-only file system", dir.display()),
        }
    }
}

impl std::error::Error for UpperError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_names_the_file_system() {
        assert_eq!(Kind::parse("squashfs"), Some(Kind::Squashfs));
        assert_eq!(Kind::parse("vfat"), None);
    }

    #[test]
    fn directories_in_each_other_are_no_upper_layer() {
        let dir = std::env::temp_dir();
        assert!(matches!(check_upper(&dir, &dir), Err(UpperError::Nested(..))));
        assert!(matches!(check_upper(&dir, Path::new("/proc")), Err(UpperError::TwoFileSystems(..))));
        assert!(matches!(check_upper(&dir, &dir.join("no such")), Err(UpperError::System(_))));
    }
}
