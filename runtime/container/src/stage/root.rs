//! The root of a container: one read-only directory, or layers with what is written on top.
//!
//! The layers are opened once, and the overlay is told their descriptors (`/proc/self/fd/N`): no path is looked up
//! twice, a colon in a name means nothing, and the kernel's limit of 255 bytes for an option holds twelve of them. No link
//! is followed on the way to one: another container that writes to the same volume could turn it at any moment.

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, UnmountFlags};

use super::mounts::{clone_tree, filesystem, mapped, put};
use super::users::Heir;
use crate::failure::{Failure, Step, at};
use crate::launch::{Root, Writable};
use crate::sys::{self, MountAttr};

/// Mounts the root where nobody outside sees it, and returns it as a directory to look things up from.
pub(super) fn assemble(root: &Root, heir: Option<&Heir>) -> Result<OwnedFd, Failure> {
    let mut layers = root.layers.iter().map(|layer| directory(layer)).collect::<Result<Vec<_>, _>>()?;
    let writable = root.writable.as_ref().map(|writable| uppers(writable, heir)).transpose()?;
    let alone = writable.is_none() && layers.len() == 1;
    if let (Some(heir), false) = (heir, alone) {
        for (layer, path) in layers.iter_mut().zip(&root.layers) {
            *layer = covered(layer, path, heir)?;
        }
    }
    let (Some(top), Some(path)) = (layers.first(), root.layers.first()) else {
        return Err(Failure::new(Step::Root, "", Errno::INVAL));
    };
    let step = || at(Step::Root, path);
    let nodev = if root.devices { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_NODEV };
    let tree = match (&writable, layers.len()) {
        (None, 1) => {
            let tree = clone_tree(top, "", false).map_err(step()).and_then(|tree| mapped(tree, false, heir, path))?;
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
        (Some((upper, work)), _) => {
            let options = [
                format!("lowerdir={}", joined(&layers)),
                format!("upperdir={}", name(upper)),
                format!("workdir={}", name(work)),
            ];
            filesystem("overlay", "overlay", options.iter().map(String::as_str), nodev).map_err(step())?
        }
    };
    // It has to be attached somewhere before anything can be attached to it. The top layer is a directory that exists
    // for certain; this mount namespace is ours alone, and all sources are open already.
    put(&tree, top).map_err(step())?;
    Ok(tree)
}

/// The directories that an overlay writes to.
fn uppers(writable: &Writable, heir: Option<&Heir>) -> Result<(OwnedFd, OwnedFd), Failure> {
    let Writable { upper, work } = writable;
    let Some(heir) = heir else { return Ok((directory(upper)?, directory(work)?)) };
    // The kernel wants both on one mount, so what is mapped is the directory that both are in.
    let (Some((dir, up)), Some((other, down))) = (upper.rsplit_once('/'), work.rsplit_once('/')) else {
        return Err(Failure::new(Step::Layer, upper, Errno::INVAL));
    };
    if dir != other {
        return Err(Failure::new(Step::Layer, work, Errno::XDEV));
    }
    let both = covered(&directory(dir)?, dir, heir)?;
    Ok((within(&both, up, upper)?, within(&both, down, work)?))
}

/// A directory for the users of the container: mounted on itself, for not every kernel takes a layer that is attached to
/// nothing.
fn covered(layer: &OwnedFd, path: &str, heir: &Heir) -> Result<OwnedFd, Failure> {
    let tree = clone_tree(layer, "", false).map_err(at(Step::Layer, path))?;
    let tree = mapped(tree, false, Some(heir), path)?;
    put(&tree, layer).map_err(at(Step::Layer, path))?;
    Ok(tree)
}

/// Mounts a directory of `tree` once more on itself, with other attributes.
pub(super) fn remount(place: &OwnedFd, set: MountAttrFlags, clear: MountAttrFlags) -> Result<(), Errno> {
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

const DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens a layer.
pub(super) fn directory(path: &str) -> Result<OwnedFd, Failure> {
    within(CWD, path, path)
}

/// Opens a directory of a directory, which is known as `path`.
fn within(dir: impl AsFd, name: &str, path: &str) -> Result<OwnedFd, Failure> {
    rustix::fs::openat2(dir, name, DIR, Mode::empty(), ResolveFlags::NO_SYMLINKS).map_err(at(Step::Layer, path))
}

fn joined(layers: &[OwnedFd]) -> String {
    layers.iter().map(name).collect::<Vec<_>>().join(":")
}

/// What the kernel finds a layer by, as long as it is open.
pub(super) fn name(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}
