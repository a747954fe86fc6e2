//! Cgroups: every container is one group of the v2 tree, by name, below one group of this instance of Cairn.
//!
//! ```text
//!   unified host              hybrid host
//!   /sys/fs/cgroup            /sys/fs/cgroup/unified            kill, freeze, events
//!     └ INSTANCE                └ INSTANCE
//!         └ CONTAINER               └ CONTAINER     ◀── born in it (clone3)
//!                             /sys/fs/cgroup/memory             limits, where only v1 has the controller
//!                               └ INSTANCE
//!                                   └ CONTAINER     ◀── joined by the stage, before anything of the container runs
//! ```
//!
//! A container is killed as a group, not as a process: what it has started dies with it, whatever it did to hide. A
//! limit that no tree of the host offers is an error and never passed over.
//!
//! What is left of an earlier life of this instance is found by its name: [`Instance::sweep`].

mod tree;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub use tree::Trees;

use crate::SystemError;
use crate::error::cannot;
use tree::{make, read, remove_all, write};

/// The v1 controllers that a container joins. Others (`cpuset`, say) take no process before they are set up.
const JOINED: [&str; 4] = ["memory", "pids", "cpu", "devices"];

/// Which generation a file belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// One tree per controller.
    V1,
    /// One tree.
    V2,
}

/// A limit on a whole container, in whichever generation the host has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// Bytes of memory.
    Memory(u64),
    /// Processes and threads.
    Tasks(u64),
}

impl Limit {
    fn value(self) -> u64 {
        match self {
            Self::Memory(value) | Self::Tasks(value) => value,
        }
    }

    fn file(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Memory(_), Version::V1) => "memory.limit_in_bytes",
            (Self::Memory(_), Version::V2) => "memory.max",
            (Self::Tasks(_), _) => "pids.max",
        }
    }
}

/// The groups of one running Cairn. On a device there is one, on a host there may be more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    v2: PathBuf,
    /// Controller and directory.
    v1: Vec<(String, PathBuf)>,
}

impl Instance {
    /// Makes the groups of this instance, or takes up those that are there.
    ///
    /// # Errors
    /// `name` is no plain name, or a directory cannot be made.
    pub fn open(trees: &Trees, name: &str) -> Result<Self, SystemError> {
        let name = plain(name)?;
        trees.delegate(&trees.v2);
        let v2 = trees.v2.join(name);
        make(&v2)?;
        trees.delegate(&v2);
        let mut v1 = Vec::new();
        for controller in JOINED {
            if let Some(tree) = trees.v1(controller) {
                let dir = tree.join(name);
                make(&dir)?;
                v1.push((controller.to_owned(), dir));
            }
        }
        Ok(Self { v2, v1 })
    }

    /// The group of a container, whether or not it is there.
    ///
    /// # Errors
    /// `container` is no plain name.
    pub fn group(&self, container: &str) -> Result<Group, SystemError> {
        let name = plain(container)?;
        let v1 = self.v1.iter().map(|(controller, dir)| (controller.clone(), dir.join(name))).collect();
        Ok(Group { v2: self.v2.join(name), v1 })
    }

    /// Makes the group of a container. One that was left over is emptied first.
    ///
    /// # Errors
    /// `container` is no plain name, or a directory cannot be made or emptied.
    pub fn create(&self, container: &str) -> Result<Group, SystemError> {
        let group = self.group(container)?;
        if group.v2.exists() {
            group.end(PATIENCE)?;
        }
        for dir in group.dirs() {
            make(dir)?;
        }
        write(&group.v2.join("cgroup.max.depth"), DEPTH)?;
        Ok(group)
    }

    /// Ends and removes every group of this instance: what an earlier life has left.
    ///
    /// # Errors
    /// A group does not go away; the others have been tried all the same.
    pub fn sweep(&self, patience: Duration) -> Result<(), SystemError> {
        let mut names: Vec<_> = std::iter::once(&self.v2).chain(self.v1.iter().map(|(_, dir)| dir)).collect();
        names.dedup();
        let mut result = Ok(());
        for child in names.into_iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten() {
            if let (Ok(kind), Some(name)) = (child.file_type(), child.file_name().to_str())
                && kind.is_dir()
            {
                result = result.and(self.group(name).and_then(|group| group.end(patience)));
            }
        }
        result
    }

    /// Removes the groups of this instance, which must be empty.
    ///
    /// # Errors
    /// A container is left in one of them.
    pub fn remove(self) -> Result<(), SystemError> {
        std::iter::once(&self.v2).chain(self.v1.iter().map(|(_, dir)| dir)).try_for_each(|dir| remove_all(dir))
    }
}

/// How deep a container may divide itself, so that what it has made can be named and removed.
const DEPTH: &str = "32";

/// How long [`Instance::create`] waits for what was left over to die: longer than the kernel takes to end a process,
/// shorter than a watchdog.
const PATIENCE: Duration = Duration::from_secs(5);

/// The group of one container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    v2: PathBuf,
    v1: Vec<(String, PathBuf)>,
}

impl Group {
    /// The directory of the v2 tree, to be born in.
    ///
    /// # Errors
    /// It is gone.
    pub fn open(&self) -> Result<OwnedFd, SystemError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&self.v2, flags, Mode::empty()).map_err(cannot("open the cgroup", &self.v2))
    }

    /// The directories that the stage joins, for [`Launch::cgroups`](crate::Launch::cgroups).
    pub fn joined(&self) -> impl Iterator<Item = &Path> {
        self.v1.iter().map(|(_, dir)| dir.as_path())
    }

    /// Sets a limit, in the generation that has it here.
    ///
    /// # Errors
    /// No tree of this host has the controller, or the kernel refuses the value.
    pub fn limit(&self, limit: Limit) -> Result<(), SystemError> {
        let file = limit.file(Version::V2);
        let version = if self.v2.join(file).exists() { Version::V2 } else { Version::V1 };
        self.set(version, limit.file(version), &limit.value().to_string())
    }

    /// Writes a file of the group as a configuration names it: `memory.max`, `devices.allow`.
    ///
    /// # Errors
    /// `file` is no plain name, the controller is not there in that generation, or the kernel refuses the value.
    pub fn set(&self, version: Version, file: &str, value: &str) -> Result<(), SystemError> {
        write(&self.dir_of(version, file).ok_or(Errno::NODEV).map_err(cannot(SET, file))?.join(plain(file)?), value)
    }

    /// The directory that holds the files of a controller.
    fn dir_of(&self, version: Version, file: &str) -> Option<&Path> {
        let controller = file.split('.').next().unwrap_or_default();
        match version {
            Version::V2 => Some(&self.v2),
            Version::V1 => self.v1.iter().find(|(name, _)| name == controller).map(|(_, dir)| dir.as_path()),
        }
    }

    /// Kills every process of the container, all at once and for certain.
    ///
    /// # Errors
    /// The group is gone.
    pub fn kill(&self) -> Result<(), SystemError> {
        write(&self.v2.join("cgroup.kill"), "1")
    }

    /// Stops every process where it is, or lets them go on. [`is_frozen`](Self::is_frozen) tells when all have.
    ///
    /// # Errors
    /// The group is gone.
    pub fn freeze(&self, frozen: bool) -> Result<(), SystemError> {
        write(&self.v2.join("cgroup.freeze"), if frozen { "1" } else { "0" })
    }

    /// Whether a process lives in it.
    ///
    /// # Errors
    /// The group is gone.
    pub fn is_populated(&self) -> Result<bool, SystemError> {
        self.event("populated")
    }

    /// Whether all of its processes stand still.
    ///
    /// # Errors
    /// The group is gone.
    pub fn is_frozen(&self) -> Result<bool, SystemError> {
        self.event("frozen")
    }

    fn event(&self, name: &str) -> Result<bool, SystemError> {
        let path = self.v2.join(EVENTS);
        Ok(field(&read(&path)?, name).ok_or(Errno::NODATA).map_err(cannot("find an event in", path))? != 0)
    }

    /// The file of events: `POLLPRI` when one of the answers above has changed.
    ///
    /// # Errors
    /// The group is gone.
    pub fn events(&self) -> Result<OwnedFd, SystemError> {
        let path = self.v2.join(EVENTS);
        rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(cannot("open", path))
    }

    /// How often the kernel has killed in this group for lack of memory: 0 where no tree has the controller.
    ///
    /// # Errors
    /// The group is gone.
    pub fn memory_kills(&self) -> Result<u64, SystemError> {
        let v2 = self.v2.join("memory.events");
        let v1 = self.dir_of(Version::V1, "memory").map(|dir| dir.join("memory.oom_control"));
        match v1.or_else(|| v2.exists().then_some(v2)) {
            Some(path) => Ok(field(&read(&path)?, "oom_kill").unwrap_or(0)),
            None => Ok(0),
        }
    }

    /// Whether it is there at all.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.v2.exists()
    }

    /// Whether a v1 tree of this host has the controller.
    #[must_use]
    pub fn has_v1(&self, controller: &str) -> bool {
        self.dir_of(Version::V1, controller).is_some()
    }

    /// Removes the group and what its container has made of it.
    ///
    /// # Errors
    /// A process lives in it (`EBUSY`).
    pub fn remove(&self) -> Result<(), SystemError> {
        self.dirs().try_for_each(remove_all)
    }

    /// Kills, waits and removes. For what nobody reaps: the container of a living process is waited for by its end.
    ///
    /// # Errors
    /// The processes do not end in time (`EBUSY`), or a directory cannot be removed.
    pub fn end(&self, patience: Duration) -> Result<(), SystemError> {
        if self.v2.exists() {
            // A frozen process dies as well, but one that is being frozen may not yet be seen as such.
            self.kill()?;
            let events = self.events()?;
            let limit = std::time::Instant::now() + patience;
            while self.is_populated()? {
                let left = limit.saturating_duration_since(std::time::Instant::now());
                if left.is_zero() {
                    return Err(cannot("end the processes of", &self.v2)(Errno::BUSY));
                }
                wait_for_change(events.as_fd(), left).map_err(cannot("wait for", &self.v2))?;
            }
        }
        self.remove()
    }

    fn dirs(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.v2.as_path()).chain(self.joined())
    }
}

const EVENTS: &str = "cgroup.events";
const SET: &str = "find the controller of";

/// Waits until the file of events says something new, or a tenth of a second: an event may lie before the call.
fn wait_for_change(events: BorrowedFd<'_>, left: Duration) -> Result<(), Errno> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let slice = left.min(Duration::from_millis(100));
    let timeout = Timespec { tv_sec: 0, tv_nsec: slice.subsec_nanos().into() };
    match poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The number behind a name, one pair a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().filter_map(|line| line.split_once(' ')).find(|(key, _)| *key == name)?.1.trim().parse().ok()
}

/// A name that is one component of a path and hidden from nobody.
fn plain(name: &str) -> Result<&str, SystemError> {
    let bad = name.is_empty() || name.starts_with('.') || name.contains(['/', '\0', '\n']);
    if bad { Err(cannot("use as the name of a cgroup", name)(Errno::INVAL)) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leaves_its_directory_is_refused() {
        assert!(["", ".", "..", "a/b", ".hidden", "a\nb"].iter().all(|name| plain(name).is_err()));
        assert_eq!(plain("cairn-web.1"), Ok("cairn-web.1"));
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "oom 3\noom_kill 2\noom_kill_disable 1\n";
        assert_eq!((field(text, "oom_kill"), field(text, "kill")), (Some(2), None));
    }
}
