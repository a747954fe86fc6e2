//! The kernel's own file systems in a container, and what is hidden of them.

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::mounts::{clone_tree, filesystem, filesystem_for, propagation, put};
use super::users::Heir;
use super::{root, target, terminal};
use crate::failure::{Failure, Step, at};
use crate::launch::{CgroupMode, DEV_NODES, Dev, Launch, Output, ProcMode, SysMode};
use crate::sys;

const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;
/// For what is neither a program nor a device.
const PLAIN: MountAttrFlags = NOSUID.union(NODEV).union(NOEXEC);
const NONE: MountAttrFlags = MountAttrFlags::empty();

/// The capability of that name, as a bit of a set.
const CAP_NET_ADMIN: u64 = 1 << 12;

/// `/dev`, `/proc`, `/sys` and `/sys/fs/cgroup`, as the launch wants them; with the terminal that it speaks through.
pub(super) fn mount(
    launch: &Launch,
    nodes: Option<OwnedFd>,
    root: &OwnedFd,
    heir: Option<&Heir>,
) -> Result<Option<OwnedFd>, Failure> {
    let new = |fstype: &str, path: &str, flags| new(fstype, path, &[], flags, root, heir);
    let console = match launch.process.output {
        Output::Terminal => Console::Terminal,
        // With shared pids, number 1 would be that of the device.
        _ if launch.namespaces.pid => Console::Link,
        _ => Console::None,
    };
    let terminal = launch.dev.map_or(Ok(None), |dev| dev_tree(dev, nodes, console, root, heir))?;
    let net = may_set_network(launch);
    if let Some(mode) = launch.proc {
        new("proc", "proc", PLAIN)?;
        if mode == ProcMode::Mixed {
            part("proc/sys", READ_ONLY, NONE, root)?;
            if net {
                part("proc/sys/net", NONE, READ_ONLY, root)?;
            }
            part("proc/sysrq-trigger", READ_ONLY, NONE, root)?;
        }
    }
    if let Some(mode) = launch.sys {
        let read_only = if mode == SysMode::Writable { NONE } else { READ_ONLY };
        new("sysfs", "sys", PLAIN | read_only)?;
        if mode == SysMode::Mixed && net {
            part("sys/devices/virtual/net", NONE, READ_ONLY, root)?;
        }
    }
    if let Some(mode) = launch.cgroup {
        let read_only = if mode == CgroupMode::Writable { NONE } else { READ_ONLY };
        new("cgroup2", "sys/fs/cgroup", PLAIN | read_only)?;
        if let (CgroupMode::Writable, Some(heir)) = (mode, heir) {
            delegate(root, heir)?;
        }
    }
    Ok(terminal)
}

/// The `/dev` that has nodes in it already, if there is one, while the device can still be seen.
pub(super) fn open_nodes(launch: &Launch) -> Result<Option<OwnedFd>, Failure> {
    let Some(path) = &launch.nodes else { return Ok(None) };
    let open = || {
        let tree = clone_tree(CWD, path, false)?;
        sys::mount_setattr(&tree, false, propagation(libc::MS_PRIVATE))?;
        Ok(tree)
    };
    open().map(Some).map_err(at(Step::Source, path))
}

/// Whether what these trees say of a network may be written: it is the container's own, or the container may administer
/// that of the device. The files themselves ask for user 0 and nothing else.
fn may_set_network(launch: &Launch) -> bool {
    let administers = launch.process.capabilities.bounding & CAP_NET_ADMIN != 0;
    // Users of its own have their rights over networks of their own.
    launch.namespaces.net || administers && launch.users.is_none()
}

fn new(
    fstype: &str,
    path: &str,
    options: &[&str],
    flags: MountAttrFlags,
    root: &OwnedFd,
    heir: Option<&Heir>,
) -> Result<(), Failure> {
    let place = target::find_or_make_plain(root, path).map_err(at(Step::Target, path))?;
    let tree = filesystem_for(heir, fstype, fstype, options.iter().copied(), flags).map_err(at(Step::Mount, path))?;
    put(tree, place).map_err(at(Step::Mount, path))
}

/// What `cgroups(7)` names for somebody who may divide a group, and not change its limits.
const DELEGATED: [&str; 4] = [".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];

/// Gives the group to root of the container, as it is mounted there.
fn delegate(root: &OwnedFd, heir: &Heir) -> Result<(), Failure> {
    for name in DELEGATED {
        let path = format!("sys/fs/cgroup/{name}");
        match target::find(root, &path).and_then(|file| heir.give(&file)) {
            // In a group of threads, say.
            Err(Errno::NOENT) => {}
            done => done.map_err(at(Step::Cgroup, &path))?,
        }
    }
    Ok(())
}

/// Another mode for a part of what is mounted. A part that this kernel does not have needs none.
fn part(path: &str, set: MountAttrFlags, clear: MountAttrFlags, root: &OwnedFd) -> Result<(), Failure> {
    match target::find(root, path) {
        Ok(place) => root::remount(&place, set, clear).map_err(at(Step::Mount, path)),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(at(Step::Target, path)(errno)),
    }
}

const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Where a console leads that is no terminal: the output of the container's first process, which is its log.
const CONSOLE: &str = "/proc/1/fd/1";

/// What `/dev/console` is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Console {
    None,
    Link,
    Terminal,
}

/// The group `tty`, everywhere.
const TTY: u32 = 5;

fn dev_tree(
    dev: Dev,
    nodes: Option<OwnedFd>,
    console: Console,
    root: &OwnedFd,
    heir: Option<&Heir>,
) -> Result<Option<OwnedFd>, Failure> {
    let new = |fstype: &str, path: &str, options: &[&str], flags| new(fstype, path, options, flags, root, heir);
    match nodes {
        Some(tree) => {
            let place = target::find_or_make_plain(root, "dev").map_err(at(Step::Target, "dev"))?;
            put(tree, place).map_err(at(Step::Mount, "dev"))?;
        }
        None => {
            let size = format!("size={}", dev.size);
            new("tmpfs", "dev", &["mode=0755", &size, "nr_inodes=1024"], NOSUID | NOEXEC)?;
        }
    }
    let dir = target::find(root, "dev").map_err(at(Step::Target, "dev"))?;
    // The modes are those of the nodes; no mask of PID 1 takes a bit away.
    let mask = rustix::process::umask(Mode::empty());
    for (name, major, minor) in DEV_NODES {
        let (mode, device) = (Mode::from_raw_mode(0o666), rustix::fs::makedev(major, minor));
        rustix::fs::mknodat(&dir, name, FileType::CharacterDevice, mode, device).map_err(at(Step::Dev, name))?;
    }
    rustix::process::umask(mask);
    for (to, name) in LINKS {
        rustix::fs::symlinkat(to, &dir, name).map_err(at(Step::Dev, name))?;
    }
    if console == Console::Link {
        rustix::fs::symlinkat(CONSOLE, &dir, "console").map_err(at(Step::Dev, "console"))?;
    }
    // The one that it begins with is not among those that it may make.
    let ptys = format!("max={}", dev.ptys.saturating_add((console == Console::Terminal).into()));
    let mut options = vec!["newinstance", "mode=0620", "ptmxmode=0666", ptys.as_str()];
    let tty = heir.map_or(Some(TTY), |heir| heir.gid(TTY)).map(|gid| format!("gid={gid}"));
    // Without that group, terminals have the one of whoever opens them.
    options.extend(tty.as_deref());
    new("devpts", "dev/pts", &options, NOSUID | NOEXEC)?;
    let size = format!("size={}", dev.shm);
    new("tmpfs", "dev/shm", &["mode=1777", &size], PLAIN)?;
    (console == Console::Terminal).then(|| terminal::console(&dir)).transpose()
}

/// Masks and protects what the launch names. What is not there needs neither.
pub(super) fn hide(launch: &Launch, root: &OwnedFd) -> Result<(), Failure> {
    for path in &launch.read_only {
        part(path, READ_ONLY, NONE, root)?;
    }
    for path in &launch.masked {
        let place = match target::find(root, path) {
            Ok(place) => place,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(at(Step::Target, path)(errno)),
        };
        let stat = rustix::fs::fstat(&place).map_err(at(Step::Target, path))?;
        let empty = if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            filesystem("tmpfs", "masked", ["size=0", "mode=0555", "nr_inodes=2"], PLAIN | READ_ONLY)
        } else {
            null()
        };
        put(empty.map_err(at(Step::Mount, path))?, place).map_err(at(Step::Mount, path))?;
    }
    Ok(())
}

/// The null device of the device, which is still at its place.
fn null() -> Result<OwnedFd, Errno> {
    let null = rustix::fs::open("/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    clone_tree(null, "", false)
}
