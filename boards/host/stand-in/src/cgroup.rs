//! The group of a device: one in the v2 tree, and one in each v1 tree whose controllers a container may want.
//!
//! It is entered before the cgroup namespace is made, so that it is the root of what the device sees. It is killed as a
//! whole in the v2 tree; what an earlier run has left is found by its name.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::Pid;

/// v1 controllers whose trees are entered. Others (`cpuset`, say) take no process before they are set up.
const JOINED: [&str; 7] = ["memory", "pids", "cpu", "cpuacct", "devices", "freezer", "blkio"];

/// Killed processes have to be taken apart by the kernel, with all their memory.
const EMPTY_WITHIN: Duration = Duration::from_secs(20);

/// The groups of one device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Group {
    v2: PathBuf,
    v1: Vec<PathBuf>,
}

impl Group {
    /// Where the groups of this name are, or would be.
    pub(crate) fn of(name: &str) -> Result<Self> {
        let table = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        let (v2, v1) = trees(&table);
        let v2 = v2.context("no cgroup v2 tree is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup")?;
        Ok(Self { v2: v2.join(name), v1: v1.into_iter().map(|tree| tree.join(name)).collect() })
    }

    /// The group in the v2 tree.
    pub(crate) fn path(&self) -> &Path {
        &self.v2
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.v2).chain(&self.v1)
    }

    /// Makes them, empty, with a limit on memory if there is one.
    pub(crate) fn make(&self, memory: Option<u64>) -> Result<()> {
        self.remove()?;
        for path in self.all() {
            fs::create_dir(path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        memory.map_or(Ok(()), |bytes| self.limit(bytes))
    }

    fn limit(&self, bytes: u64) -> Result<()> {
        if let Some(file) = self.v1.iter().map(|path| path.join("memory.limit_in_bytes")).find(|file| file.exists()) {
            return write(&file, &bytes.to_string());
        }
        if let Some(tree) = self.v2.parent() {
            // Refused where the tree has no such controller; what follows says so.
            let _ = fs::write(tree.join("cgroup.subtree_control"), "+memory");
        }
        write(&self.v2.join("memory.max"), &bytes.to_string()).context("this host offers no limit on memory")
    }

    /// Moves a process into them.
    pub(crate) fn join(&self, pid: Pid) -> Result<()> {
        self.all().try_for_each(|path| write(&path.join("cgroup.procs"), &pid.as_raw_nonzero().to_string()))
    }

    /// Moves this process to where PID 1 of the device is, so that it dies with the device.
    pub(crate) fn join_beside(&self, pid1: i32) -> Result<()> {
        let path = format!("/proc/{pid1}/cgroup");
        let table = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let within = table.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let tree = self.v2.parent().unwrap_or(&self.v2);
        let me = std::process::id().to_string();
        std::iter::once(&tree.join(within)).chain(&self.v1).try_for_each(|path| write(&path.join("cgroup.procs"), &me))
    }

    /// Kills everything in them and waits until it is gone.
    pub(crate) fn kill(&self) -> Result<()> {
        if !self.v2.exists() {
            return Ok(());
        }
        write(&self.v2.join("cgroup.kill"), "1").context("killing a group takes Linux 5.14")?;
        let start = Instant::now();
        while is_populated(&self.v2) {
            if start.elapsed() > EMPTY_WITHIN {
                bail!("what runs in {} does not die", self.v2.display());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Kills what is in them and removes them, with all groups below.
    pub(crate) fn remove(&self) -> Result<()> {
        self.kill()?;
        self.all().try_for_each(|path| remove_tree(path))
    }
}

fn is_populated(group: &Path) -> bool {
    let events = fs::read_to_string(group.join("cgroup.events")).unwrap_or_default();
    events.lines().any(|line| line == "populated 1")
}

fn remove_tree(path: &Path) -> Result<()> {
    let start = Instant::now();
    loop {
        match remove_once(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            // A v1 group is busy for a moment after its last process has died.
            Err(error) if start.elapsed() > EMPTY_WITHIN => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn remove_once(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_once(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {text:?} to {}", path.display()))
}

/// The v2 tree and the v1 trees to be entered, from the lines of `mountinfo`; only mounts of a whole tree count.
fn trees(table: &str) -> (Option<PathBuf>, Vec<PathBuf>) {
    let (mut v2, mut v1) = (None, Vec::new());
    for line in table.lines() {
        let Some((mount, fs)) = line.split_once(" - ") else { continue };
        let (mut mount, mut fs) = (mount.split(' ').skip(3), fs.split(' '));
        let (Some("/"), Some(at)) = (mount.next(), mount.next()) else { continue };
        let options = fs.clone().nth(2).unwrap_or_default();
        match fs.next() {
            Some("cgroup2") => v2 = v2.or_else(|| Some(PathBuf::from(at))),
            Some("cgroup") if options.split(',').any(|option| JOINED.contains(&option)) => v1.push(PathBuf::from(at)),
            _ => {}
        }
    }
    (v2, v1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trees_of_a_hybrid_host_are_found_and_those_that_need_setting_up_are_left_alone() {
        let table = "30 24 0:26 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
                     31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                     32 24 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
                     33 24 0:29 /part /mnt rw - cgroup cgroup rw,pids\n\
                     34 24 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        let (v2, v1) = trees(table);
        assert_eq!(v2, Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(v1, [PathBuf::from("/sys/fs/cgroup/memory")]);
    }
}
