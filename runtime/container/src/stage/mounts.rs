//! The entries of a launch: sources opened while only the device is in sight, targets found beneath the root.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use super::exports::Showcase;
use super::users::Heir;
use super::{root, target};
use crate::failure::{Failure, Step, at};
use crate::launch::{Attributes, Create, Mount, Propagation, Source};
use crate::sys::{self, MountAttr};

/// A mount that is not attached to anything yet; `None` where its source is of the container.
type Tree = Option<OwnedFd>;

/// Opens the sources of the device. An optional mount without a source has none and is left out later.
pub(super) fn open_sources(
    mounts: &[Mount],
    showcase: Option<&Showcase>,
    heir: Option<&Heir>,
) -> Result<Vec<Tree>, Failure> {
    mounts.iter().map(|mount| open_source(mount, showcase, heir)).collect()
}

/// Makes the new file systems, while directories of the device can still be named: an overlay does.
pub(super) fn make_sources(mounts: &[Mount], sources: &mut [Tree], heir: Option<&Heir>) -> Result<(), Failure> {
    for (mount, tree) in mounts.iter().zip(sources) {
        if let Source::Filesystem { fstype, source, options } = &mount.source {
            *tree = or_left_out(new(mount, fstype, source, options, heir), mount)?;
        }
    }
    Ok(())
}

fn open_source(mount: &Mount, showcase: Option<&Showcase>, heir: Option<&Heir>) -> Result<Tree, Failure> {
    let tree = match &mount.source {
        Source::Device { path, recursive, create } => {
            if *create {
                std::fs::create_dir_all(path).map_err(|error| super::failed(Step::Source, path, &error))?;
            }
            clone_tree(CWD, path, *recursive).map_err(at(Step::Source, path))
        }
        Source::Within { dir, path, recursive, create } => within(dir, path, *create)
            .and_then(|place| clone_tree(place, "", *recursive))
            .map_err(at(Step::Source, &format!("{dir}/{path}")))
            .and_then(|tree| mapped(tree, *recursive, heir, dir)),
        Source::Import { live: false, spot, path, recursive } => imported(showcase, spot, path)
            .and_then(|place| clone_tree(place, "", *recursive))
            .map_err(at(Step::Source, &format!("{spot}/{path}"))),
        Source::Inside { .. } | Source::Filesystem { .. } | Source::Import { live: true, .. } => return Ok(None),
    };
    or_left_out(tree, mount)
}

fn or_left_out(tree: Result<OwnedFd, Failure>, mount: &Mount) -> Result<Tree, Failure> {
    match tree {
        Ok(tree) => Ok(Some(tree)),
        Err(_) if mount.optional => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The options of an overlay with its directories opened, as [`root::directory`] does it; those of others as they are.
fn layers(fstype: &str, options: &[String]) -> Result<(Vec<String>, Vec<OwnedFd>), Failure> {
    let mut open = Vec::new();
    let mut named = |path: &str| {
        // An empty name stands before layers that only lend data.
        if !path.starts_with('/') {
            return Ok(path.to_owned());
        }
        let directory = root::directory(path)?;
        let name = root::name(&directory);
        open.push(directory);
        Ok(name)
    };
    let options = options.iter().map(|option| match option.split_once('=') {
        Some((key @ ("lowerdir" | "upperdir" | "workdir"), list)) if fstype == "overlay" => {
            let names = list.split(':').map(&mut named).collect::<Result<Vec<_>, _>>()?;
            Ok(format!("{key}={}", names.join(":")))
        }
        _ => Ok(option.clone()),
    });
    let options = options.collect::<Result<_, _>>()?;
    Ok((options, open))
}

/// A new file system. What lies on a device has ids of the container, as images and volumes have.
fn new(mount: &Mount, fstype: &str, source: &str, options: &[String], heir: Option<&Heir>) -> Result<OwnedFd, Failure> {
    let failed = || at(Step::Mount, &mount.target);
    let on_device = source.starts_with('/');
    // A device that cannot be written is mounted only by a file system that does not want to.
    let ro = (mount.attributes.read_only && on_device).then(|| "ro".to_owned());
    let (options, _open) = layers(fstype, options)?;
    let option = |option: String| match heir.filter(|_| !on_device) {
        Some(heir) => heir.option(&option),
        None => Ok(option),
    };
    let options = options.into_iter().map(option).chain(ro.map(Ok)).collect::<Result<Vec<_>, _>>().map_err(failed())?;
    let options = options.iter().map(String::as_str);
    let tree = filesystem_for(heir, fstype, source, options, flags(&mount.attributes)).map_err(failed())?;
    if on_device { mapped(tree, false, heir, source) } else { Ok(tree) }
}

/// The same mount for the users of the container, if it has its own.
pub(super) fn mapped(tree: OwnedFd, recursive: bool, heir: Option<&Heir>, name: &str) -> Result<OwnedFd, Failure> {
    heir.map_or(Ok(()), |heir| heir.map(&tree, recursive)).map_err(at(Step::Map, name))?;
    Ok(tree)
}

/// A place within a directory, whatever links lie in there.
fn within(dir: &str, path: &str, create: bool) -> Result<OwnedFd, Errno> {
    let base = rustix::fs::open(dir, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    if path.is_empty() { Ok(base) } else { target::find_or_make(&base, path, create.then_some(Create::Dir)) }
}

/// What another container exports, or a place in it.
fn imported(showcase: Option<&Showcase>, spot: &str, path: &str) -> Result<OwnedFd, Errno> {
    let all = showcase.ok_or(Errno::INVAL)?.shown(spot)?;
    if path.is_empty() { Ok(all) } else { target::find(all, path) }
}

/// Attaches every entry in order.
pub(super) fn attach(
    mounts: &[Mount],
    sources: Vec<Tree>,
    root: &OwnedFd,
    showcase: Option<&Showcase>,
) -> Result<(), Failure> {
    for (mount, source) in mounts.iter().zip(sources) {
        match attach_one(mount, source, root, showcase) {
            Err(_) if mount.optional => {}
            done => done?,
        }
    }
    Ok(())
}

fn attach_one(mount: &Mount, source: Tree, root: &OwnedFd, showcase: Option<&Showcase>) -> Result<(), Failure> {
    let Mount { target, attributes, create, .. } = mount;
    let place = || target::find_or_make(root, target, *create).map_err(at(Step::Target, target));
    let tree = match (&mount.source, source) {
        (
            Source::Device { recursive, .. } | Source::Within { recursive, .. } | Source::Import { recursive, .. },
            Some(tree),
        ) => bound(tree, *recursive, attributes, target)?,
        (Source::Import { live: true, spot, .. }, None) => {
            let showcase = showcase.ok_or_else(|| Failure::new(Step::Source, spot, Errno::INVAL))?;
            return showcase.import(spot, attributes.read_only, place()?).map_err(at(Step::Source, spot));
        }
        (Source::Filesystem { .. }, Some(tree)) => tree,
        // Missing, and optional, or it would have been an error.
        (Source::Device { path, .. } | Source::Within { path, .. } | Source::Import { spot: path, .. }, None) => {
            return Err(Failure::new(Step::Source, path, Errno::NOENT));
        }
        (Source::Filesystem { fstype, .. }, None) => return Err(Failure::new(Step::Source, fstype, Errno::NODEV)),
        (Source::Inside { path, recursive }, _) => {
            let place = target::find(root, path).map_err(at(Step::Source, path))?;
            let tree = clone_tree(place, "", *recursive).map_err(at(Step::Source, path))?;
            bound(tree, *recursive, attributes, target)?
        }
    };
    put(&tree, place()?).map_err(at(Step::Mount, target))
}

/// A clone of what is mounted at a path (or, with an empty path, at `dir`), attached to nothing.
pub(super) fn clone_tree(dir: impl AsFd, path: &str, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(dir, path, flags)
}

/// A bind mount with what is forbidden on it added to what is forbidden on its source.
fn bound(tree: OwnedFd, recursive: bool, attributes: &Attributes, target: &str) -> Result<OwnedFd, Failure> {
    let attr = propagation(match attributes.propagation {
        Propagation::Private => libc::MS_PRIVATE,
        // It already is one, since the whole tree of the device was made so.
        Propagation::Slave => 0,
    });
    let attr = MountAttr { propagation: attr.propagation, ..changes(attributes) };
    sys::mount_setattr(&tree, recursive, attr).map_err(at(Step::Mount, target))?;
    Ok(tree)
}

/// What is forbidden, and no other change.
fn changes(attributes: &Attributes) -> MountAttr {
    let clear = if attributes.noatime { u64::from(MountAttrFlags::MOUNT_ATTR__ATIME.bits()) } else { 0 };
    MountAttr { set: u64::from(flags(attributes).bits()), clear, ..MountAttr::default() }
}

/// Forbids more at places where something is mounted by now.
pub(super) fn harden(places: &[(String, Attributes)], root: &OwnedFd) -> Result<(), Failure> {
    for (path, attributes) in places {
        let place = target::find(root, path).map_err(at(Step::Target, path))?;
        sys::mount_setattr(&place, false, changes(attributes)).map_err(at(Step::Mount, path))?;
    }
    Ok(())
}

/// How mounts spread, and no other change.
pub(super) fn propagation(flag: libc::c_ulong) -> MountAttr {
    // The type of the constant differs between C libraries.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "c_ulong is not u64 on every target")]
    let propagation = u64::from(flag);
    MountAttr { propagation, ..MountAttr::default() }
}

fn flags(attributes: &Attributes) -> MountAttrFlags {
    [
        (attributes.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (attributes.nosuid, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (attributes.nodev, MountAttrFlags::MOUNT_ATTR_NODEV),
        (attributes.noexec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        (attributes.noatime, MountAttrFlags::MOUNT_ATTR_NOATIME),
    ]
    .into_iter()
    .filter(|(on, _)| *on)
    .fold(MountAttrFlags::empty(), |all, (_, flag)| all | flag)
}

/// The same in the namespaces of the container, also where this process does not become it.
pub(super) fn filesystem_for<'a>(
    heir: Option<&Heir>,
    fstype: &str,
    source: &str,
    options: impl IntoIterator<Item = &'a str>,
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let make = || filesystem(fstype, source, options, attributes);
    match heir {
        Some(heir) if fstype == "proc" => heir.among_its_pids(make),
        _ => make(),
    }
}

/// A new instance of a file system, attached to nothing.
pub(super) fn filesystem<'a>(
    fstype: &str,
    source: &str,
    options: impl IntoIterator<Item = &'a str>,
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)?;
    if !source.is_empty() {
        rustix::mount::fsconfig_set_string(&context, "source", source)?;
    }
    for option in options {
        match option.split_once('=') {
            Some((name, value)) => rustix::mount::fsconfig_set_string(&context, name, value)?,
            None => rustix::mount::fsconfig_set_flag(&context, option)?,
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Attaches a tree on a place.
pub(super) fn put(tree: impl AsFd, place: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", place, "", flags)
}
