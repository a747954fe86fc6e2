//! Mounts of a container: entries in the manner of fstab, and the kernel's own file systems.
//!
//! A source is a path of the device and is opened before anything of the container is in sight. A target is a path
//! below the container's root and is resolved within it, whatever symbolic links an image holds.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{LaunchError, absolute, count, exports, relative, text};

/// One mount.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// What.
    pub source: Source,
    /// Where, relative to the root of the container.
    pub target: String,
    /// What is forbidden there.
    pub attributes: Attributes,
    /// What to make where the target is missing.
    pub create: Option<Create>,
    /// Whether the container starts without it.
    pub optional: bool,
}

/// What is mounted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Source {
    /// A file or directory of the device.
    Device {
        /// Its path.
        path: String,
        /// With all that is mounted below it.
        recursive: bool,
        /// Whether to make it first, as a directory (`origin=mkdir`).
        create: bool,
    },
    /// A file or directory within a directory of the device that others may write to. A symbolic link in there ends at
    /// that directory.
    Within {
        /// The directory; or a file, if `path` is empty.
        dir: String,
        /// Relative to it, or empty for all of it.
        path: String,
        /// With all that is mounted below it.
        recursive: bool,
        /// Whether to make it first, as a directory (`origin=mkdir`).
        create: bool,
    },
    /// What another container exports.
    Import {
        /// See [`Export`](super::Export).
        spot: String,
        /// Relative to what is exported, or empty for all of it. A symbolic link in there ends at what is exported.
        path: String,
        /// With all that is mounted below it.
        recursive: bool,
        /// Whether it comes and goes with what the other container has there; then it is always all of it. Else what is
        /// there at the start is kept.
        live: bool,
    },
    /// A file or directory of the container itself (`relative`).
    Inside {
        /// Relative to the root of the container.
        path: String,
        /// With all that is mounted below it.
        recursive: bool,
    },
    /// A new instance of a file system.
    Filesystem {
        /// `tmpfs`, `proc`, …
        fstype: String,
        /// A device or a mere name.
        source: String,
        /// `NAME` or `NAME=VALUE`, for the file system.
        options: Vec<String>,
    },
}

/// What to make where a target is missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Create {
    /// A directory.
    Dir,
    /// An empty file.
    File,
}

/// What is forbidden on a mount. A bind mount keeps what its source forbids.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Attributes {
    /// `ro`
    pub read_only: bool,
    /// `nosuid`
    pub nosuid: bool,
    /// `nodev`
    pub nodev: bool,
    /// `noexec`
    pub noexec: bool,
    /// `noatime`
    pub noatime: bool,
    /// How mounts of the device that come later appear in it.
    pub propagation: Propagation,
}

/// How later mounts below one side of a bind mount reach the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Propagation {
    /// Not at all.
    #[default]
    Private,
    /// From the device to the container.
    Slave,
}

/// A `/dev` with the nodes that every program expects and nothing else: null, zero, full, random, urandom, tty, ptmx,
/// pts, shm, and a console: the output of the container's first process, or its terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dev {
    /// The most pseudo-terminals.
    pub ptys: u32,
    /// The size of `/dev/shm`, in bytes.
    pub shm: u64,
    /// The size of `/dev` itself, in bytes.
    pub size: u64,
}

/// The device nodes of such a `/dev`: name, major, minor. All are character devices, and everybody may use them.
pub const DEV_NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// `/proc`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ProcMode {
    /// `/proc/sys` and `/proc/sysrq-trigger` are read-only, but for `/proc/sys/net` of a network that is the container's
    /// own or that it may administer.
    Mixed,
    /// All writable.
    Writable,
}

/// `/sys`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SysMode {
    /// All read-only.
    ReadOnly,
    /// Read-only but for `/sys/devices/virtual/net` of such a network.
    Mixed,
    /// All writable.
    Writable,
}

/// `/sys/fs/cgroup`: the v2 tree, from the container's own group down if it has a cgroup namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CgroupMode {
    /// To look at.
    ReadOnly,
    /// The container may divide itself. Its own limits are out of its reach only where the device mounts the tree with
    /// `nsdelegate`.
    Writable,
}

/// What a confined container has no business reading. For [`Launch::masked`](super::Launch::masked).
pub const TARGETS_MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// What a confined container may read and not write. For [`Launch::read_only`](super::Launch::read_only).
pub const TARGETS_READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// An entry that no mount can be made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MountError {
    /// Neither an option that is known nor one for a file system.
    Option(String),
    /// `none` is no file system; say `bind` or `rbind`.
    NoBind,
}

impl Mount {
    /// A mount from the fields of an fstab entry. What only Cairn and LXC know (`create=…`, `optional`, `relative`,
    /// `origin=mkdir`) is understood as well.
    ///
    /// # Errors
    /// An option that a bind mount cannot have, so that nothing meant to confine is passed over.
    pub fn from_fstab<'a>(
        source: &str,
        target: &str,
        fstype: &str,
        options: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, MountError> {
        let mut attributes = Attributes::default();
        let (mut bind, mut create, mut mkdir, mut optional, mut inside) = (None, None, false, false, false);
        let mut rest = Vec::new();
        for option in options {
            match option {
                "bind" => bind = bind.or(Some(false)),
                "rbind" => bind = Some(true),
                "create=dir" => create = Some(Create::Dir),
                "create=file" => create = Some(Create::File),
                "origin=mkdir" => mkdir = true,
                "optional" => optional = true,
                "relative" => inside = true,
                other if attributes.apply(other) => {}
                other => rest.push(other.to_owned()),
            }
        }
        let source = match (bind, rest.first()) {
            (Some(_), Some(option)) => return Err(MountError::Option(option.clone())),
            (Some(recursive), None) if inside => {
                Source::Inside { path: source.trim_matches('/').to_owned(), recursive }
            }
            (Some(recursive), None) => Source::Device { path: source.to_owned(), recursive, create: mkdir },
            (None, _) if fstype == "none" || fstype == "bind" => return Err(MountError::NoBind),
            (None, _) if inside => return Err(MountError::Option("relative".to_owned())),
            (None, _) if mkdir => return Err(MountError::Option("origin=mkdir".to_owned())),
            (None, _) => Source::Filesystem { fstype: fstype.to_owned(), source: source.to_owned(), options: rest },
        };
        Ok(Self { source, target: target.trim_matches('/').to_owned(), attributes, create, optional })
    }

    pub(super) fn check(&self) -> Result<(), LaunchError> {
        relative(&self.target)?;
        match &self.source {
            Source::Device { path, .. } => absolute(path),
            Source::Within { dir, path, .. } => {
                absolute(dir)?;
                if path.is_empty() { Ok(()) } else { relative(path) }
            }
            Source::Import { spot, path, live, .. } => {
                exports::spot(spot)?;
                match path.as_str() {
                    "" => Ok(()),
                    _ if *live => Err(LaunchError::Path(path.clone())),
                    path => relative(path),
                }
            }
            Source::Inside { path, .. } => relative(path),
            Source::Filesystem { fstype, source, options } => {
                if fstype.is_empty() {
                    return Err(LaunchError::Text("file system"));
                }
                text("file system", fstype)?;
                text("source of a mount", source)?;
                count("options of a mount", options)?;
                options.iter().try_for_each(|option| text("option of a mount", option))
            }
        }
    }
}

impl Attributes {
    /// Takes in one option; whether it is about attributes at all. As with `mount`, the last word counts.
    pub fn apply(&mut self, option: &str) -> bool {
        match option {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "nosuid" => self.nosuid = true,
            "suid" => self.nosuid = false,
            "nodev" => self.nodev = true,
            "dev" => self.nodev = false,
            "noexec" => self.noexec = true,
            "exec" => self.noexec = false,
            "noatime" => self.noatime = true,
            "atime" | "relatime" => self.noatime = false,
            "private" | "rprivate" => self.propagation = Propagation::Private,
            "slave" | "rslave" => self.propagation = Propagation::Slave,
            "defaults" => *self = Self::default(),
            _ => return false,
        }
        true
    }
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(option) => write!(f, "{option:?} is no option of this kind of mount; remove it"),
            Self::NoBind => f.write_str("a mount without a file system needs `bind` or `rbind`"),
        }
    }
}

impl std::error::Error for MountError {}
