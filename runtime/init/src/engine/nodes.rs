//! The `/dev` of a container whose `mdev.json` wants more nodes in it than every container has.
//!
//! ```text
//!   /sys/dev/{char,block}/MAJOR:MINOR ─▶ is a rule about it, and do the device rules leave it? ─▶ RUN/dev/NAME/PATH
//!   RUN/dev/NAME   a tmpfs of the device, which the stage mounts as /dev ─▶ what is made in the one is in the other
//! ```
//!
//! So a device that comes or goes while the container runs does so in there, too, without a process of its own in it, and also
//! where users of its own could make no node. Nothing is opened: a node is two numbers. Root of the container may write there,
//! so no link in there is followed, and what is not what was made is neither changed nor taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use container::launch::Dev;
use formats::lxc::DeviceKind;
use formats::mdev::{Device, UEVENT_MAX};
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use super::{Engine, EngineError, Paths, mounts};
use crate::assembly::{Assembled, Program};

/// Where the kernel has one directory for each device with a node, by kind and numbers.
const DEVICES: [(&str, DeviceKind); 2] =
    [("/sys/dev/char", DeviceKind::Character), ("/sys/dev/block", DeviceKind::Block)];

/// The most files of such a tree, links and directories among them.
const FILES_MAX: u32 = 8192;

/// The trees of the containers that have one.
pub(super) type Trees = Mutex<BTreeMap<String, Tree>>;

/// What was made in one, and what a person has heard of what could not be.
#[derive(Debug, Default)]
pub(super) struct Tree {
    made: BTreeMap<String, What>,
    told: BTreeSet<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum What {
    Node {
        kind: DeviceKind,
        numbers: (u32, u32),
        owner: (u32, u32),
        mode: u32,
    },
    /// To another path of the tree.
    Link(String),
}

impl Engine {
    /// Makes the `/dev` of a container that is about to start, if it has one of this kind.
    pub(super) fn make_nodes(&self, name: &str, program: &Program) -> Result<Option<PathBuf>, EngineError> {
        let Some(dev) = program.launch.dev.filter(|_| !program.nodes.is_empty()) else { return Ok(None) };
        let place = self.paths.nodes(name);
        self.drop_nodes(name)?;
        mount_tree(&place, dev, root_of(program))?;
        let mut tree = Tree::default();
        tree.settle(&place, program)?;
        // Whoever asks next hears it.
        tree.told.clear();
        lock(&self.nodes).insert(name.to_owned(), tree);
        Ok(Some(place))
    }

    /// Brings the nodes of a container that is up to what the device has now. Says what cannot be as its rules want it, each
    /// thing once.
    pub fn settle_nodes(&self, assembled: &Assembled) -> Vec<String> {
        let name = assembled.name.as_str();
        let mut trees = lock(&self.nodes);
        let (Some(program), Some(tree)) = (&assembled.program, trees.get_mut(name)) else { return Vec::new() };
        tree.settle(&self.paths.nodes(name), program).unwrap_or_else(|error| vec![error.to_string()])
    }

    pub(super) fn drop_nodes(&self, name: &str) -> Result<(), EngineError> {
        lock(&self.nodes).remove(name);
        mounts::clear(&self.paths.nodes(name))
    }
}

impl Paths {
    /// The `/dev` of a container, where PID 1 makes nodes in it.
    fn nodes(&self, container: &str) -> PathBuf {
        self.run.join("dev").join(container)
    }
}

impl Tree {
    /// Makes what is missing, and takes away what is not wanted any more.
    fn settle(&mut self, place: &Path, program: &Program) -> Result<Vec<String>, EngineError> {
        let wanted = wanted(program)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(place, flags, Mode::empty())
            .map_err(|errno| EngineError::file("open", place)(errno.into()))?;
        let mut remarks = BTreeSet::new();
        let made = std::mem::take(&mut self.made);
        for (path, what) in made {
            if wanted.get(&path) == Some(&what) {
                self.made.insert(path, what);
            } else if let Err(errno) = take_away(&dir, &path, &what) {
                remarks.insert(format!("/dev/{path} stays, though its device has gone: {errno}"));
            }
        }
        for (path, what) in wanted {
            if self.made.contains_key(&path) {
                continue;
            }
            match make(&dir, &path, &what, root_of(program)) {
                Ok(()) => {
                    self.made.insert(path, what);
                }
                Err(errno) => {
                    remarks.insert(format!("/dev/{path} cannot be made as mdev.json wants it: {errno}"));
                }
            }
        }
        let new = remarks.difference(&self.told).cloned().collect();
        self.told = remarks;
        Ok(new)
    }
}

/// What a container has of the devices that there are now.
fn wanted(program: &Program) -> Result<BTreeMap<String, What>, EngineError> {
    let mut wanted = BTreeMap::new();
    for (dir, kind) in DEVICES {
        let dir = Path::new(dir);
        for entry in fs::read_dir(dir).map_err(EngineError::file("read", dir))? {
            let Ok(entry) = entry else { continue };
            // One that goes meanwhile has none.
            let Some((uevent, subsystem)) = describe(&entry.path()) else { continue };
            let Some(device) = Device::of(&uevent, &subsystem) else { continue };
            let (major, minor) = device.numbers;
            if !program.devices.leaves(kind, major, minor) {
                continue;
            }
            let Some(node) = program.nodes.node(&device) else { continue };
            let Some(owner) = outside(program, (node.uid, node.gid)) else { continue };
            if let Some(link) = node.link {
                wanted.insert(link, What::Link(node.path.clone()));
            }
            wanted.insert(node.path, What::Node { kind, numbers: device.numbers, owner, mode: node.mode });
        }
    }
    Ok(wanted)
}

/// What the kernel says of a device, and its subsystem.
fn describe(dir: &Path) -> Option<(String, String)> {
    let uevent = fs::read_to_string(dir.join("uevent")).ok().filter(|text| text.len() <= UEVENT_MAX)?;
    let subsystem = fs::read_link(dir.join("subsystem")).ok();
    let subsystem = subsystem.and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    Some((uevent, subsystem.unwrap_or_default()))
}

/// Who somebody of the container is on the device.
fn outside(program: &Program, (uid, gid): (u32, u32)) -> Option<(u32, u32)> {
    program.launch.users.as_ref().map_or(Some((uid, gid)), |users| users.uid(uid).zip(users.gid(gid)))
}

fn root_of(program: &Program) -> (u32, u32) {
    // A launch without either is none.
    outside(program, (0, 0)).unwrap_or_default()
}

fn mount_tree(place: &Path, dev: Dev, (uid, gid): (u32, u32)) -> Result<(), EngineError> {
    mounts::make_dir(place)?;
    let options = format!("mode=0755,uid={uid},gid={gid},size={},nr_inodes={FILES_MAX}", dev.size);
    let options = CString::new(options).map_err(|_| EngineError::Path(place.to_owned()))?;
    mount("tmpfs", place, "tmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, options.as_c_str())
        .map_err(|errno| EngineError::file("mount a tmpfs on", place)(errno.into()))
}

fn make(dir: &OwnedFd, path: &str, what: &What, root: (u32, u32)) -> Result<(), Errno> {
    let (parent, name) = parent(dir, path, Some(root))?;
    match what {
        What::Link(to) => {
            let up = "../".repeat(path.matches('/').count());
            rustix::fs::symlinkat(format!("{up}{to}"), &parent, name)?;
            rustix::fs::chownat(
                &parent,
                name,
                Some(Uid::from_raw(root.0)),
                Some(Gid::from_raw(root.1)),
                AtFlags::SYMLINK_NOFOLLOW,
            )
        }
        What::Node { kind, numbers, owner, mode } => {
            // Nobody's, until it is whose it shall be. The mask of PID 1 would take bits away besides.
            match rustix::fs::mknodat(&parent, name, file_type(*kind), Mode::empty(), device(*numbers)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
            let node = same(&parent, name, *kind, *numbers)?.ok_or(Errno::EXIST)?;
            let (uid, gid) = (Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)));
            rustix::fs::chownat(&node, "", uid, gid, AtFlags::EMPTY_PATH)?;
            rustix::fs::chmod(format!("/proc/self/fd/{}", node.as_raw_fd()), Mode::from_raw_mode(*mode))
        }
    }
}

fn take_away(dir: &OwnedFd, path: &str, what: &What) -> Result<(), Errno> {
    let (parent, name) = match parent(dir, path, None) {
        // Whoever moved it has it no more at its place.
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        found => found?,
    };
    let is_ours = match what {
        What::Node { kind, numbers, .. } => same(&parent, name, *kind, *numbers)?.is_some(),
        What::Link(_) => rustix::fs::readlinkat(&parent, name, Vec::new()).is_ok(),
    };
    if !is_ours {
        return Ok(());
    }
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// The node of that name, if it is the one of these numbers.
fn same(parent: &OwnedFd, name: &str, kind: DeviceKind, numbers: (u32, u32)) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        found => found?,
    };
    let stat = rustix::fs::fstat(&node)?;
    let is_same = FileType::from_raw_mode(stat.st_mode) == file_type(kind) && stat.st_rdev == device(numbers);
    Ok(is_same.then_some(node))
}

/// The directory that a path lies in, and its last part; with what is missing of the way made for whom it shall belong to.
fn parent<'p>(dir: &OwnedFd, path: &'p str, make_for: Option<(u32, u32)>) -> Result<(OwnedFd, &'p str), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (way, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut place = rustix::io::fcntl_dupfd_cloexec(dir, 0)?;
    for part in way.split('/').filter(|part| !part.is_empty()) {
        let made = make_for.map(|root| (root, rustix::fs::mkdirat(&place, part, Mode::from_raw_mode(0o755))));
        let next = rustix::fs::openat(&place, part, flags, Mode::empty())?;
        if let Some(((uid, gid), Ok(()))) = made {
            rustix::fs::chownat(&next, "", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?;
        }
        place = next;
    }
    Ok((place, name))
}

fn file_type(kind: DeviceKind) -> FileType {
    match kind {
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Character => FileType::CharacterDevice,
    }
}

fn device((major, minor): (u32, u32)) -> u64 {
    rustix::fs::makedev(major, minor)
}

/// What a thread that panicked has left is as good as what it would have.
fn lock(trees: &Trees) -> MutexGuard<'_, BTreeMap<String, Tree>> {
    trees.lock().unwrap_or_else(PoisonError::into_inner)
}
