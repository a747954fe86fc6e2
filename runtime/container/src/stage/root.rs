//! The root of a container: one read-only directory, or layers with what is written on top.
//!
//! The layers are opened once, and the overlay is told their descriptors (`/proc/self/fd/N`): no path is looked up
//! twice, a colon in a name means nothing, and the kernel's limit of 255 bytes for an option holds twelve of them. No link
//! is followed on the way to one: another container that writes to the same volume could turn it at any moment.

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{MountAttrFlags, UnmountFlags};

use super::mounts::{clone_tree, filesystem, put};
use crate::failure::{Failure, Step, at};
use crate::launch::Root;
use crate::sys::{self, MountAttr};

/// Mounts the root where nobody outside sees it, and returns it as a directory to look things up from.
pub(super) fn assemble(root: &Root) -> Result<OwnedFd, Failure> {
    let layers = root.layers.iter().map(|layer| directory(layer)).collect::<Result<Vec<_>, _>>()?;
    let (Some(top), Some(path)) = (layers.first(), root.layers.first()) else {
        return Err(Failure::new(Step::Root, "", rustix::io::Errno::INVAL));
    };
    let step = || at(Step::Root, path);
    let nodev = if root.devices { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_NODEV };
    let tree = match (&root.writable, layers.len()) {
        (None, 1) => {
            let tree = clone_tree(top, "", false).map_err(step())?;
            let set = MountAttrFlags::MOUNT_ATTR_RDONLY | nodev;
            let clear = MountAttrFlags::MOUNT_ATTR_NODEV;
            let attr = MountAttr { set: set.bits().into(), clear: clear.bits().into(), ..private() };
            sys::mount_setattr(&tree, false, attr).map_err(step())?;
            tree
        }
        (None, _) => {
            let lowers = format!("lowerdir={}", joined(&layers));
            let set = MountAttrFlags::MOUNT_ATTR_RDONLY | nodev;
            filesystem("overlay", "overlay", [lowers.as_str()], set).map_err(step())?
        }
        (Some(writable), _) => {
            let upper = directory(&writable.upper)?;
            let work = directory(&writable.work)?;
            let options = [
                format!("lowerdir={}", joined(&layers)),
                format!("upperdir={}", name(&upper)),
                format!("workdir={}", name(&work)),
            ];
            filesystem("overlay", "overlay", options.iter().map(String::as_str), nodev)
                .map_err(at(Step::Root, &writable.upper))?
        }
    };
    // It has to be attached somewhere before anything can be attached to it. The top layer is a directory that exists
    // for certain; this mount namespace is ours alone, and all sources are open already.
    put(&tree, top).map_err(step())?;
    Ok(tree)
}

/// Mounts a directory of `tree` once more on itself, with other attributes.
pub(super) fn remount(place: &OwnedFd, set: MountAttrFlags, clear: MountAttrFlags) -> Result<(), rustix::io::Errno> {
    let tree = clone_tree(place, "", true)?;
    sys::mount_setattr(&tree, true, MountAttr { set: set.bits().into(), clear: clear.bits().into(), ..private() })?;
    put(tree, place)
}

fn private() -> MountAttr {
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "c_ulong is not u64 on every target")]
    let propagation = u64::from(libc::MS_PRIVATE);
    MountAttr { propagation, ..MountAttr::default() }
}

/// Where the root of the device cannot be moved away: lets go of all that is mounted on it, and covers it.
pub(super) fn cover(root: &OwnedFd) -> Result<(), Failure> {
    let step = || at(Step::Pivot, "/");
    // `/proc` of the device is still what `/proc` means here, for one last look.
    let mounts = std::fs::read_to_string("/proc/self/mounts")
        .map_err(|error| super::failed(Step::Pivot, "/proc/self/mounts", &error))?;
    // The root itself must be free to move; it may have been attached below one of the others.
    let detached = clone_tree(root, "", true).map_err(step())?;
    let mut dirs: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    dirs.dedup();
    for dir in dirs.iter().filter(|dir| **dir != "/") {
        // Detaching takes along what lies below, which then is not found any more.
        let _ = rustix::mount::unmount(*dir, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
    let base = directory("/")?;
    put(&detached, &base).map_err(step())?;
    rustix::process::fchdir(&detached).map_err(step())?;
    rustix::process::chroot(".").map_err(step())
}

/// Opens a layer.
pub(super) fn directory(path: &str) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).map_err(at(Step::Layer, path))
}

fn joined(layers: &[OwnedFd]) -> String {
    layers.iter().map(name).collect::<Vec<_>>().join(":")
}

/// What the kernel finds a layer by, as long as it is open.
pub(super) fn name(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}
