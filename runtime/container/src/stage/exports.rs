//! Shows parts of a container to others, and others' parts to it, without a process between.
//!
//! ```text
//!   exporting stage         device              importing stage
//!   /run ═ shared           SHOWCASE ═ shared   SHOWCASE: one that follows
//!     │ clone, follows        │                   │ clone of one spot, without what is on it
//!     ▼                       ▼                   ▼
//!   SHOWCASE' ═ a peer ────▶ SPOT ────────────▶ /target    what comes onto the spot comes onto the target
//! ```
//!
//! The stage of an exporter keeps a peer of the showcase past its separation from the device, mounts on it, and lets go of
//! it. From then on it is all the kernel's propagation: what the container mounts below an exported path is seen by
//! those who imported it writable, nothing of theirs by the container. What is read-only is so as it was at the start:
//! a mount that came later would come writable. With users of its own, all is as it was at the start: the kernel lets no mount
//! out of a less privileged namespace.

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, UnmountFlags};

use super::mounts::{clone_tree, propagation, put};
use super::target;
use crate::failure::{Failure, Step, at};
use crate::launch::{Create, Export, Launch};
use crate::sys::{self, MountAttr};

/// How often an import begins anew because its spot changes meanwhile.
const TRIES: u32 = 16;

/// The showcase, as this mount namespace has it.
pub(super) struct Showcase {
    /// With what is on its spots.
    view: OwnedFd,
    /// Without; `None` as long as this namespace is not separate.
    bare: Option<OwnedFd>,
    /// What is mounted on it appears on the device.
    peer: Option<OwnedFd>,
}

impl Showcase {
    /// Finds it while this namespace is not separate yet.
    pub(super) fn find(launch: &Launch) -> Result<Option<Self>, Failure> {
        let Some(showcase) = &launch.showcase else { return Ok(None) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let find = || {
            let view = rustix::fs::open(showcase, flags, Mode::empty())?;
            let peer = if launch.exports.is_empty() { None } else { Some(clone_tree(&view, "", false)?) };
            Ok(Self { view, bare: None, peer })
        };
        find().map(Some).map_err(at(Step::Source, showcase))
    }

    /// The namespace is separate.
    pub(super) fn settle(self) -> Result<Self, Failure> {
        let settle = || {
            let bare = clone_tree(&self.view, "", false)?;
            // Only what is attached can be cloned further.
            put(&bare, &self.view)?;
            Ok(bare)
        };
        let bare = settle().map_err(at(Step::Source, "(showcase)"))?;
        Ok(Self { bare: Some(bare), ..self })
    }

    /// Attaches a spot at a place: what is on it, and from now on what comes onto it and leaves it. Where nothing is on it,
    /// it is empty and read-only.
    pub(super) fn import(&self, spot: &str, read_only: bool, place: impl AsFd) -> Result<(), Errno> {
        let name = format!("{spot}.{}", Export::extension(read_only));
        for _ in 0..TRIES {
            let tree = self.follower(&name)?;
            let before = look(&self.view, &name)?;
            put(&tree, &place)?;
            let id = mount_id(&before)?;
            if id != mount_id(&self.view)? {
                // It was there before, so it has not come by itself.
                put(clone_tree(&before, "", true)?, &tree)?;
            }
            if mount_id(look(&self.view, &name)?)? == id {
                return Ok(());
            }
            // Something came or went meanwhile, and nobody knows whether it did so here.
            let name = format!("/proc/self/fd/{}", tree.as_raw_fd());
            rustix::mount::unmount(name, UnmountFlags::DETACH)?;
        }
        Err(Errno::AGAIN)
    }

    /// A clone of a spot without what is on it, attached to nothing yet.
    fn follower(&self, name: &str) -> Result<OwnedFd, Errno> {
        let bare = self.bare.as_ref().ok_or(Errno::INVAL)?;
        let tree = clone_tree(look(bare, name)?, "", false)?;
        let set = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        sys::mount_setattr(&tree, false, MountAttr { set: set.bits().into(), ..MountAttr::default() })?;
        Ok(tree)
    }

    /// What is exported, now.
    pub(super) fn shown(&self, spot: &str) -> Result<OwnedFd, Errno> {
        let top = look(&self.view, &format!("{spot}.{}", Export::extension(false)))?;
        if mount_id(&top)? == mount_id(&self.view)? { Err(Errno::NOENT) } else { Ok(top) }
    }
}

/// Mounts what is exported on its spots.
pub(super) fn show(exports: &[Export], root: &OwnedFd, showcase: Option<&Showcase>) -> Result<(), Failure> {
    let Some((showcase, peer)) = showcase.and_then(|showcase| Some((showcase, showcase.peer.as_ref()?))) else {
        return Ok(());
    };
    put(peer, &showcase.view).map_err(at(Step::Export, "(showcase)"))?;
    for export in exports {
        show_one(export, root, peer).map_err(at(Step::Export, &export.path))?;
    }
    // What leaves with the root of the device shall not leave the showcase.
    sys::mount_setattr(peer, true, propagation(libc::MS_PRIVATE)).map_err(at(Step::Export, "(showcase)"))
}

fn show_one(export: &Export, root: &OwnedFd, peer: &OwnedFd) -> Result<(), Errno> {
    let place = target::find_or_make(root, &export.path, Some(Create::Dir))?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode);
    let own = clone_tree(&place, "", true)?;
    sys::mount_setattr(&own, true, propagation(libc::MS_SHARED))?;
    put(&own, place)?;
    let follows = propagation(libc::MS_SLAVE);
    let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into();
    let stays = MountAttr { set: read_only, ..propagation(libc::MS_PRIVATE) };
    for (attr, is_read_only) in [(follows, false), (stays, true)] {
        let tree = clone_tree(&own, "", true)?;
        sys::mount_setattr(&tree, true, attr)?;
        let name = format!("{}.{}", export.spot, Export::extension(is_read_only));
        put(tree, spot(peer, &name, kind == FileType::Directory)?)?;
    }
    Ok(())
}

/// A spot, made anew where it is of the other kind.
fn spot(showcase: &OwnedFd, name: &str, is_dir: bool) -> Result<OwnedFd, Errno> {
    let create = if is_dir { Create::Dir } else { Create::File };
    let make = || target::find_or_make(showcase, name, Some(create));
    let place = make()?;
    let was_dir = FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) == FileType::Directory;
    if was_dir == is_dir {
        return Ok(place);
    }
    drop(place);
    rustix::fs::unlinkat(showcase, name, if was_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() })?;
    make()
}

/// A spot, or what is on it.
fn look(showcase: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(showcase, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

fn mount_id(place: impl AsFd) -> Result<u64, Errno> {
    Ok(rustix::fs::statx(place, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id)
}
