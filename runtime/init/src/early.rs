//! The first steps of PID 1: what the kernel leaves to it before anything else works.
//!
//! ```text
//!   /proc  /sys  /dev  /dev/pts  /dev/shm     the kernel's own file systems
//!   /sys/fs/cgroup                            cgroup2, and where a host has them beside it, the v1 limits
//!   /run  /tmp                                tmpfs
//!   lo                                        up
//!   cgroup `init`                             PID 1 itself, so that the groups beside it can have limits
//! ```
//!
//! What is mounted already stays as it is. A step that fails names itself: a device without one of these is no device.

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::voice::Voice;

/// A step that did not work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EarlyError {
    /// What was attempted.
    pub doing: &'static str,
    /// The answer.
    pub why: String,
}

impl std::fmt::Display for EarlyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot {}: {}", self.doing, self.why)
    }
}

fn cannot<E: std::fmt::Display>(doing: &'static str) -> impl Fn(E) -> EarlyError {
    move |error| EarlyError { doing, why: error.to_string() }
}

/// A file system of the kernel.
struct Kernel {
    kind: &'static str,
    dir: &'static str,
    flags: MountFlags,
    options: &'static std::ffi::CStr,
    doing: &'static str,
}

const SAFE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

const MOUNTS: [Kernel; 7] = [
    Kernel { kind: "proc", dir: "/proc", flags: SAFE, options: c"", doing: "mount /proc" },
    Kernel { kind: "sysfs", dir: "/sys", flags: SAFE, options: c"", doing: "mount /sys" },
    Kernel {
        kind: "devtmpfs",
        dir: "/dev",
        flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
        options: c"mode=0755",
        doing: "mount /dev",
    },
    Kernel {
        kind: "devpts",
        dir: "/dev/pts",
        flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
        options: c"newinstance,ptmxmode=0666,mode=0620",
        doing: "mount /dev/pts",
    },
    Kernel {
        kind: "tmpfs",
        dir: "/dev/shm",
        flags: MountFlags::NOSUID.union(MountFlags::NODEV),
        options: c"mode=1777",
        doing: "mount /dev/shm",
    },
    Kernel {
        kind: "tmpfs",
        dir: "/run",
        flags: MountFlags::NOSUID.union(MountFlags::NODEV),
        options: c"mode=0755",
        doing: "mount /run",
    },
    Kernel {
        kind: "tmpfs",
        dir: "/tmp",
        flags: MountFlags::NOSUID.union(MountFlags::NODEV),
        options: c"mode=1777",
        doing: "mount /tmp",
    },
];

/// The v1 controllers that limit a container on a host where v2 does not have them. Device rules are files in v1 only, and
/// needed where the kernel has no programs for them.
const LEGACY: [&str; 6] = ["memory", "pids", "cpu", "cpuset", "blkio", "devices"];

const CGROUPS: &str = "/sys/fs/cgroup";

/// PID 1 on its way into its own group.
///
/// The kernel holds up every fork of the machine for that, and waits for all processors first: ten milliseconds and more, in
/// which everything else can go on that has to do with no group.
#[must_use = "before it has arrived, no group below can have limits"]
pub struct Moving(Option<JoinHandle<Result<(), EarlyError>>>);

impl Moving {
    fn into(group: PathBuf) -> Result<Self, EarlyError> {
        let file = group.join("cgroup.procs");
        let write = |file: &Path| std::fs::write(file, "1").map_err(cannot("move PID 1 into its cgroup"));
        let other = file.clone();
        match thread::Builder::new().stack_size(STACK).spawn(move || write(&other)) {
            Ok(thread) => Ok(Self(Some(thread))),
            // It takes its time then.
            Err(_) => write(&file).map(|()| Self(None)),
        }
    }

    /// Waits until it has arrived.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn arrive(self) -> Result<(), EarlyError> {
        let dead = |_| cannot("move PID 1 into its cgroup")("its thread has died");
        self.0.map_or(Ok(()), |thread| thread.join().map_err(dead)?)
    }
}

/// What one write needs of a stack.
const STACK: usize = 64 * 1024;

/// Takes all of them; the last goes on beside what follows.
///
/// # Errors
/// [`EarlyError`] names the first that did not work.
pub fn prepare() -> Result<Moving, EarlyError> {
    let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let _ = umask;
    // Mounts of containers must not come back to a host that shares its own.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(cannot("make the mounts private"))?;
    for kernel in &MOUNTS {
        let dir = Path::new(kernel.dir);
        std::fs::create_dir_all(dir).map_err(cannot(kernel.doing))?;
        if !is_mount(dir) {
            mount(kernel.kind, dir, kernel.kind, kernel.flags, kernel.options).map_err(cannot(kernel.doing))?;
        }
    }
    let group = cgroups()?;
    loopback().map_err(cannot("bring up the interface lo"))?;
    Moving::into(group)
}

/// What the kernel does when it or PID 1 dies: it restarts, which the firmware counts, instead of standing still. Only
/// for a machine that is ours: these are settings of the whole kernel. Before this, the command line has to say it.
pub fn panics_restart(log: &Voice) {
    for (file, value) in [("/proc/sys/kernel/panic", "2"), ("/proc/sys/kernel/panic_on_oops", "1")] {
        // A command line that has said how long a panic is shown, or to restart at once, is not overruled.
        let said = std::fs::read_to_string(file).unwrap_or_default();
        if matches!(said.trim(), "" | "0")
            && let Err(error) = std::fs::write(file, value)
        {
            log.warn("boot", &format_args!("{file}: {error}; a kernel that dies stays as it is"));
        }
    }
}

/// Whether the root is memory that came with the kernel: what is removed there is memory again.
#[must_use]
pub fn root_is_memory() -> bool {
    const RAMFS: u32 = 0x8584_58F6;
    const TMPFS: u32 = 0x0102_1994;
    // The field is signed, and as wide as a word; the kinds have 32 bits.
    rustix::fs::statfs("/").is_ok_and(|status| matches!(status.f_type as u32, RAMFS | TMPFS))
}

fn is_mount(dir: &Path) -> bool {
    let device = |dir: &Path| rustix::fs::stat(dir).map(|stat| (stat.st_dev, stat.st_ino));
    match (device(dir), dir.parent().map(device)) {
        (Ok(own), Some(Ok(parent))) => own.0 != parent.0,
        _ => false,
    }
}

/// Mounts the trees; with the group of PID 1.
fn cgroups() -> Result<PathBuf, EarlyError> {
    let root = Path::new(CGROUPS);
    let options = c"nsdelegate,memory_recursiveprot";
    let doing = "mount the cgroup2 tree";
    if is_cgroup2(root) {
        return own_group(root);
    }
    // A namespace that is not the first may not set options of the whole tree.
    match mount("cgroup2", root, "cgroup2", SAFE, options) {
        Err(Errno::PERM | Errno::INVAL) => mount("cgroup2", root, "cgroup2", SAFE, c"").map_err(cannot(doing))?,
        other => other.map_err(cannot(doing))?,
    }
    let own = own_group(root)?;
    let has = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let has = |name: &str| match name {
        "devices" => container::cgroup::has_device_programs(),
        // The only one that has another name there.
        name => has.split_ascii_whitespace().any(|one| one == if name == "blkio" { "io" } else { name }),
    };
    for controller in LEGACY.into_iter().filter(|name| !has(name)) {
        let dir = Path::new("/run/cgroup").join(controller);
        let options = std::ffi::CString::new(controller).map_err(cannot("name a controller"))?;
        std::fs::create_dir_all(&dir).map_err(cannot("make a place for a controller"))?;
        // Where neither tree has it, the limit that needs it says so.
        let _ = mount("cgroup", &dir, "cgroup", SAFE, options.as_c_str());
    }
    Ok(own)
}

fn is_cgroup2(dir: &Path) -> bool {
    dir.join("cgroup.procs").exists()
}

/// A group with processes of its own hands no controllers down, except at the very root.
fn own_group(root: &Path) -> Result<PathBuf, EarlyError> {
    let own = root.join("init");
    match std::fs::create_dir(&own) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(cannot("make the cgroup of PID 1")(error))
        }
        _ => Ok(own),
    }
}

fn loopback() -> Result<(), Errno> {
    container::network::bring_up("lo")
}
