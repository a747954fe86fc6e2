//! Where this host has its cgroup trees, and what can be done to a directory of one.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::SystemError;
use crate::error::cannot;

/// The cgroup trees of a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trees {
    pub(super) v2: PathBuf,
    /// Controller and mount point. Trees without a controller (`name=…`) are left out.
    v1: Vec<(String, PathBuf)>,
}

const MOUNTS: &str = "/proc/self/mounts";

impl Trees {
    /// Looks at what is mounted.
    ///
    /// # Errors
    /// There is no v2 tree; without one no container can be killed for certain.
    pub fn detect() -> Result<Self, SystemError> {
        let mounts = read(Path::new(MOUNTS))?;
        Self::parse(&mounts).ok_or(Errno::NODEV).map_err(cannot("find a mounted cgroup2 in", MOUNTS))
    }

    /// The trees that a table of mounts names, `None` if there is no v2 tree in it.
    #[must_use]
    pub fn parse(mounts: &str) -> Option<Self> {
        let mut v2 = None;
        let mut v1 = Vec::new();
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            let (Some(dir), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            match kind {
                "cgroup2" if v2.is_none() => v2 = Some(PathBuf::from(dir)),
                "cgroup" if !options.contains("name=") => {
                    v1.extend(options.split(',').map(|option| (option.to_owned(), PathBuf::from(dir))));
                }
                _ => {}
            }
        }
        v2.map(|v2| Self { v2, v1 })
    }

    /// Where the v2 tree is mounted.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.v2
    }

    /// The tree of a controller that only v1 has. Options like `rw` share the list and are never asked for.
    pub(super) fn v1(&self, controller: &str) -> Option<&Path> {
        self.v1.iter().find(|(name, _)| name == controller).map(|(_, dir)| dir.as_path())
    }
}

/// Hands the v2 controllers of `dir` down to the groups below. One that cannot be handed down is missed by the limit that
/// needs it, which then says so.
pub(super) fn delegate(dir: &Path) {
    let controllers = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    let words: Vec<String> = controllers.split_ascii_whitespace().map(|one| format!("+{one}")).collect();
    let file = dir.join("cgroup.subtree_control");
    // All at once is one turn for the kernel; if it does not take one of them, it takes none.
    if !words.is_empty() && write(&file, &words.join(" ")).is_err() {
        for word in words {
            let _ = write(&file, &word);
        }
    }
}

/// Makes one directory, if it is not there.
pub(super) fn make(dir: &Path) -> Result<(), SystemError> {
    match rustix::fs::mkdir(dir, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(cannot("make the cgroup", dir)(errno)),
    }
}

/// Gives a v1 group `cpuset` what the group above it has, where it has nothing yet: it takes no process before.
pub(super) fn inherit_cpuset(dir: &Path) -> Result<(), SystemError> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = dir.join(file);
        if let (true, Some(above)) = (read(&own)?.trim().is_empty(), dir.parent()) {
            write(&own, read(&above.join(file))?.trim())?;
        }
    }
    Ok(())
}

/// Removes a group and all groups below it; their files are the kernel's and go with them. A group that is not there
/// is removed.
pub(super) fn remove_all(dir: &Path) -> Result<(), SystemError> {
    // Depth first, without recursion: how deep it goes is the container's choice.
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.last().cloned() {
        match rustix::fs::unlinkat(CWD, &dir, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {
                left.pop();
            }
            Err(errno @ (Errno::BUSY | Errno::NOTEMPTY)) => {
                let below = left.len();
                let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
                left.extend(
                    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()),
                );
                if left.len() == below {
                    return Err(cannot("remove the cgroup", &dir)(errno));
                }
            }
            Err(errno) => return Err(cannot("remove the cgroup", &dir)(errno)),
        }
    }
    Ok(())
}

pub(super) fn read(path: &Path) -> Result<String, SystemError> {
    fs::read_to_string(path).map_err(|error| cannot("read", path)(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
}

/// One write, as files of the kernel want it; the file must be there.
pub(super) fn write(path: &Path, value: &str) -> Result<(), SystemError> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(cannot("open", path))?;
    rustix::io::write(&file, value.as_bytes()).map(|_| ()).map_err(cannot("write to", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
tmpfs /sys/fs/cgroup tmpfs rw,mode=755 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0
cgroup /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
";

    #[test]
    fn a_hybrid_host_has_both_kinds_of_trees() {
        let trees = Trees::parse(HYBRID).unwrap();
        assert_eq!(trees.v2, Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(trees.v1("memory"), Some(Path::new("/sys/fs/cgroup/memory")));
        assert_eq!(trees.v1("cpu"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(trees.v1("pids"), None);
    }

    #[test]
    fn a_unified_host_has_one_tree() {
        let trees = Trees::parse("cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n").unwrap();
        assert_eq!((trees.v2.to_str(), trees.v1("memory")), (Some("/sys/fs/cgroup"), None));
    }

    #[test]
    fn a_host_without_a_v2_tree_is_refused() {
        assert_eq!(Trees::parse("cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"), None);
    }
}
