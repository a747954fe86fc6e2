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
//! A container that divides its group itself gets one below for that (`CONTAINER/own`), which is the root of all it sees: the
//! files with its limits lie above it. Root of the device may write them wherever it sees them, whatever else it lacks.
//!
//! A container is killed as a group, not as a process: what it has started dies with it, whatever it did to hide; also
//! by the kernel for lack of memory, where v2 has that controller. A limit that no tree of the host offers is an error
//! and never passed over.
//!
//! What is left of an earlier life of this instance is found by its name: [`Instance::sweep`].

mod devices;
mod limit;
mod tree;
mod usage;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

pub use devices::{Access, DeviceRule, NodeKind, Nodes};
pub use limit::{Flow, Limit};
pub use tree::Trees;
pub use usage::{Pressure, Usage};

use crate::SystemError;
use crate::error::cannot;
use crate::sys;
use tree::{make, read, remove_all, write};

/// The v1 controllers that each container joins: what it uses is read from them.
const JOINED: [&str; 2] = ["memory", "pids"];

/// Those that a container joins for a limit of theirs only.
const ON_DEMAND: [&str; 7] = ["blkio", "cpu", "cpuset", "devices", "hugetlb", "net_cls", "net_prio"];

/// Which generation a file belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// One tree per controller.
    V1,
    /// One tree.
    V2,
}

/// The groups of one running Cairn. On a device there is one, on a host there may be more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    v2: PathBuf,
    /// Controller and directory.
    v1: Vec<(&'static str, PathBuf)>,
}

impl Instance {
    /// Makes the groups of this instance, or takes up those that are there.
    ///
    /// # Errors
    /// `name` is no plain name, or a directory cannot be made.
    pub fn open(trees: &Trees, name: &str) -> Result<Self, SystemError> {
        let name = plain(name)?;
        tree::delegate(&trees.v2);
        let v2 = trees.v2.join(name);
        make(&v2)?;
        tree::delegate(&v2);
        let mut v1 = Vec::new();
        for controller in JOINED.into_iter().chain(ON_DEMAND) {
            if let Some(tree) = trees.v1(controller) {
                v1.push((controller, tree.join(name)));
            }
        }
        make_joined(&v1)?;
        Ok(Self { v2, v1 })
    }

    /// The group of a container, whether or not it is there.
    ///
    /// # Errors
    /// `container` is no plain name.
    pub fn group(&self, container: &str) -> Result<Group, SystemError> {
        let name = plain(container)?;
        let v1 = self.v1.iter().map(|(controller, dir)| (*controller, dir.join(name))).collect();
        Ok(Group { v2: self.v2.join(name), v1, own: false })
    }

    /// Makes the group of a container. One that was left over is emptied first.
    ///
    /// # Errors
    /// `container` is no plain name, or a directory cannot be made or emptied.
    pub fn create(&self, container: &str) -> Result<Group, SystemError> {
        let group = self.group(container)?;
        if group.dirs().any(Path::exists) {
            group.end(PATIENCE)?;
        }
        make(&group.v2)?;
        write(&group.v2.join("cgroup.max.depth"), DEPTH)?;
        make_joined(&group.v1)?;
        // A container of which the kernel has taken a part is neither up nor down. Without the controller there is no
        // such file, and no limit either.
        match write(&group.v2.join("memory.oom.group"), "1") {
            Err(error) if error.errno == Errno::NOENT => Ok(group),
            other => other.map(|()| group),
        }
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

/// What the group below is called that a container divides.
const OWN: &str = "own";

/// The group of one container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    v2: PathBuf,
    v1: Vec<(&'static str, PathBuf)>,
    /// Its processes are in a group below, which is theirs to divide.
    own: bool,
}

impl Group {
    /// Makes the group below that the container may divide, with all controllers that this one has. To be called before
    /// anything is born in it.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn divide(&mut self) -> Result<(), SystemError> {
        make(&self.v2.join(OWN))?;
        tree::delegate(&self.v2);
        self.own = true;
        Ok(())
    }

    /// The directory of the v2 tree, to be born in.
    ///
    /// # Errors
    /// It is gone.
    pub fn open(&self) -> Result<OwnedFd, SystemError> {
        let dir = if self.own { self.v2.join(OWN) } else { self.v2.clone() };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&dir, flags, Mode::empty()).map_err(cannot("open the cgroup", dir))
    }

    /// The directory of the v2 tree in which one of its processes is: the group itself, or one that the container has made.
    ///
    /// # Errors
    /// The process has ended, or is in another group.
    pub fn of_member(&self, pid: Pid) -> Result<OwnedFd, SystemError> {
        let path = PathBuf::from(format!("/proc/{}/cgroup", pid.as_raw_pid()));
        let text = read(&path)?;
        let place = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        // The kernel tells it from the root of the tree, wherever that is mounted.
        let below =
            Path::new(place).ancestors().find(|above| !above.as_os_str().is_empty() && self.v2.ends_with(above));
        let rest = below.and_then(|above| Path::new(place).strip_prefix(above).ok());
        let rest = rest.ok_or(Errno::SRCH).map_err(cannot("find the group of", path))?;
        let dir = self.v2.join(rest);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&dir, flags, Mode::empty()).map_err(cannot("open the cgroup", dir))
    }

    /// The directories that the stage joins, for [`Launch::cgroups`](crate::Launch::cgroups): those that all limits
    /// were set in before.
    pub fn joined(&self) -> impl Iterator<Item = &Path> {
        // Controllers that are mounted together are one directory.
        let is_first = |at: usize, dir: &Path| self.v1.iter().take(at).all(|(_, other)| other != dir);
        let dirs = self.v1.iter().enumerate().filter(move |(at, (_, dir))| dir.exists() && is_first(*at, dir));
        dirs.map(|(_, (_, dir))| dir.as_path())
    }

    /// Sets a limit, in the generation that has it here. `among` are all limits of the container, this one with them: a
    /// file may hold two of them.
    ///
    /// # Errors
    /// No tree of this host has the controller, or the kernel refuses the value.
    pub fn limit(&self, limit: &Limit, among: &[Limit]) -> Result<(), SystemError> {
        if is_moot(limit) {
            return Ok(());
        }
        if let Some((path, value)) = self.file_of(limit, among)? {
            return write(&path, &value);
        }
        let file = limit.words(Version::V2, among).first().map_or("memory.swap.max", |(file, _)| *file);
        Err(lacking(limit.controller(Version::V2), file))
    }

    /// Whether [`limit`](Self::limit) finds a tree that has this one.
    ///
    /// # Errors
    /// The group is gone.
    pub fn has_limit(&self, limit: &Limit, among: &[Limit]) -> Result<bool, SystemError> {
        Ok(is_moot(limit) || self.file_of(limit, among)?.is_some())
    }

    /// Where a limit is written, and what; `None` where no tree has its controller.
    fn file_of(&self, limit: &Limit, among: &[Limit]) -> Result<Option<(PathBuf, String)>, SystemError> {
        for version in [Version::V2, Version::V1] {
            let Some(dir) = self.dir_of(version, limit.controller(version))? else { continue };
            let mut words = limit.words(version, among).into_iter().map(|(file, value)| (dir.join(file), value));
            if let Some(found) = words.find(|(path, _)| path.exists()) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Writes a file of one generation as a configuration names it: `memory.swappiness`, `hugetlb.2MB.max`.
    ///
    /// # Errors
    /// `file` is no plain name, the controller is not there in that generation, or the kernel refuses the value.
    pub fn set(&self, version: Version, file: &str, value: &str) -> Result<(), SystemError> {
        let path = self.path_of(version, file)?.ok_or_else(|| lacking(controller_of(file), file))?;
        write(&path, value)
    }

    /// Whether [`set`](Self::set) finds this file.
    ///
    /// # Errors
    /// `file` is no plain name, or the group is gone.
    pub fn has_file(&self, version: Version, file: &str) -> Result<bool, SystemError> {
        Ok(self.path_of(version, file)?.is_some())
    }

    fn path_of(&self, version: Version, file: &str) -> Result<Option<PathBuf>, SystemError> {
        let dir = self.dir_of(version, controller_of(file))?;
        let path = dir.map(|dir| plain(file).map(|file| dir.join(file))).transpose()?;
        Ok(path.filter(|path| path.exists()))
    }

    /// Leaves the container the device nodes that these rules leave it, in their order; without a rule, all.
    ///
    /// # Errors
    /// The kernel has neither programs for this nor the controller (`ENODEV`), or refuses.
    pub fn restrict(&self, rules: &[DeviceRule]) -> Result<(), SystemError> {
        match sys::load_device_program(&devices::program(rules)) {
            Ok(program) => sys::attach_device_program(self.open()?.as_fd(), program.as_fd())
                .map_err(cannot("attach the device rules to", &self.v2)),
            Err(errno) if is_unknown(errno) => self.restrict_v1(rules),
            Err(errno) => Err(cannot("load the device rules of", &self.v2)(errno)),
        }
    }

    fn restrict_v1(&self, rules: &[DeviceRule]) -> Result<(), SystemError> {
        let dir = self.dir_of(Version::V1, "devices")?.ok_or_else(|| lacking("devices", "programs instead"))?;
        rules.iter().try_for_each(|rule| {
            let file = if rule.allow { "devices.allow" } else { "devices.deny" };
            write(&dir.join(file), &rule.nodes.to_string())
        })
    }

    /// The directory that holds the files of a controller, made for v1 if it is not there. `None`: not mounted here.
    fn dir_of(&self, version: Version, controller: &str) -> Result<Option<&Path>, SystemError> {
        if version == Version::V2 {
            return Ok(Some(&self.v2));
        }
        let Some(dir) = self.v1_dir(controller) else { return Ok(None) };
        for dir in dir.parent().into_iter().chain([dir]) {
            make(dir)?;
            if controller == "cpuset" {
                tree::inherit_cpuset(dir)?;
            }
        }
        Ok(Some(dir))
    }

    /// The directory of a v1 controller, whether or not it is there.
    fn v1_dir(&self, controller: &str) -> Option<&Path> {
        self.v1.iter().find(|(name, _)| *name == controller).map(|(_, dir)| dir.as_path())
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
        let v1 = self.v1_dir("memory").map(|dir| dir.join("memory.oom_control"));
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
        std::iter::once(self.v2.as_path()).chain(self.v1.iter().map(|(_, dir)| dir.as_path()))
    }
}

const EVENTS: &str = "cgroup.events";
/// A kernel that cannot swap has no such file.
const SWAPS: &str = "/proc/swaps";

/// Whether this kernel has programs about device nodes. Where it has, nothing needs the v1 controller `devices`.
#[must_use]
pub fn has_device_programs() -> bool {
    !sys::load_device_program(&devices::EMPTY).is_err_and(is_unknown)
}

/// What a kernel answers that lacks the call, or this kind of programs.
fn is_unknown(errno: Errno) -> bool {
    matches!(errno, Errno::NOSYS | Errno::INVAL)
}

/// A kernel that cannot swap keeps every limit of swap.
fn is_moot(limit: &Limit) -> bool {
    limit.is_of_swap() && !Path::new(SWAPS).exists()
}

/// The controller that a file belongs to.
fn controller_of(file: &str) -> &str {
    file.split('.').next().unwrap_or_default()
}

fn lacking(controller: &str, file: &str) -> SystemError {
    cannot("find in this kernel", format!("the cgroup controller {controller} with {file}"))(Errno::NODEV)
}

/// Makes the groups that every container joins.
fn make_joined(v1: &[(&'static str, PathBuf)]) -> Result<(), SystemError> {
    v1.iter().filter(|(name, _)| JOINED.contains(name)).try_for_each(|(_, dir)| make(dir))
}

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

    /// Directories with files, as the kernel would have them: of v2, and of the v1 controller `memory`.
    struct Pretended(PathBuf);

    impl Pretended {
        fn new(name: &str, files: &[&str]) -> (Self, Group) {
            let dir = std::env::temp_dir().join(format!("cairn-cgroup-{name}-{}", std::process::id()));
            for file in files {
                let path = dir.join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "").unwrap();
            }
            let group = Group { v2: dir.join("v2/one"), v1: vec![("memory", dir.join("v1/one"))], own: false };
            (Self(dir), group)
        }

        fn said(&self, file: &str) -> String {
            std::fs::read_to_string(self.0.join(file)).unwrap()
        }
    }

    impl Drop for Pretended {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_limit_goes_to_v2_where_it_has_the_controller_and_else_to_v1() {
        let v2 =
            ["cpu.max", "cpu.weight", "io.bfq.weight", "io.max", "cpuset.cpus"].map(|file| format!("v2/one/{file}"));
        let v1 = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"].map(|file| format!("v1/one/{file}"));
        let files: Vec<&str> = v2.iter().chain(&v1).map(String::as_str).collect();
        let (host, group) = Pretended::new("limits", &files);
        let io = Limit::Io { device: (8, 0), flow: Flow::Reads, rate: Some(7) };
        let limits = [
            Limit::Memory(Some(100)),
            Limit::Swap(Some(20)),
            Limit::CpuQuota(Some(2000)),
            Limit::CpuShares(2048),
            Limit::IoWeight(5000),
            Limit::Cpus("1".into()),
            io,
        ];
        limits.iter().try_for_each(|limit| group.limit(limit, &limits)).unwrap();
        let said: Vec<String> = files.iter().map(|file| host.said(file)).collect();
        assert_eq!(said, ["2000 100000", "200", "1000", "8:0 riops=7", "1", "100", "120"]);
        for (limit, controller) in [
            (Limit::Tasks(Some(1)), "pids with pids.max"),
            (Limit::MemoryHigh(Some(1)), "memory with memory.high"),
            (Limit::Mems("0".into()), "cpuset with cpuset.mems"),
        ] {
            let error = group.limit(&limit, &[]).unwrap_err();
            let said = format!("cannot find in this kernel the cgroup controller {controller}: ");
            assert!(error.errno == Errno::NODEV && error.to_string().starts_with(&said), "{error}");
        }
    }

    #[test]
    fn usage_is_read_from_v2_where_it_tells_and_else_from_v1() {
        let (host, group) = Pretended::new("usage", &["v2/one/memory.current", "v1/one/memory.usage_in_bytes"]);
        for (file, text) in [
            ("v2/one/memory.current", "10\n"),
            ("v2/one/memory.events", "low 0\noom 1\noom_kill 2\n"),
            ("v1/one/memory.usage_in_bytes", "20\n"),
            ("v1/one/memory.max_usage_in_bytes", "30\n"),
            ("v2/one/cpu.stat", "usage_usec 40\nuser_usec 1\n"),
            ("v2/one/pids.current", "rubbish\n"),
            ("v2/one/io.stat", "8:0 rbytes=50 wbytes=60 rios=1\n"),
            ("v2/one/io.pressure", "some avg10=0.10 avg60=0.00\nfull avg10=0.05 avg60=0.00\n"),
        ] {
            std::fs::write(host.0.join(file), text).unwrap();
        }
        let expected = Usage {
            memory: Some(10),
            memory_peak: Some(30),
            memory_kills: Some(2),
            cpu: Some(40),
            read: Some(50),
            written: Some(60),
            io_pressure: Some(Pressure { some: 10, full: 5 }),
            ..Usage::default()
        };
        assert_eq!(group.usage(), expected);
    }
}
