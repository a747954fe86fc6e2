//! The launch: everything that a stage is told, as one value that travels in sealed memory.
//!
//! ```text
//!   memfd, sealed against every change:  postcard(Launch), at most 256 KiB, no byte after it
//! ```
//!
//! The launch never leaves the program that wrote it (writer and reader are one file, executed twice), so it has no
//! version. It is checked on both sides: [`Launch::encode`] refuses what [`Launch::decode`] would. What a launch allows is
//! what its maker took from a verified revision; the stage adds nothing and asks nobody.

mod exports;
mod mounts;
mod process;
#[cfg(test)]
mod tests;
mod users;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use exports::Export;
pub use mounts::{
    Attributes, CgroupMode, Create, DEV_NODES, Dev, Mount, MountError, ProcMode, Propagation, Source, SysMode,
    TARGETS_MASKED, TARGETS_READ_ONLY,
};
pub use process::{Capabilities, Output, Process, Resource, Rlimit};
pub use users::{RANGES_MAX, Range, Users};

/// The largest encoded launch, in bytes.
pub const LAUNCH_MAX: usize = 256 * 1024;

/// The longest string of a launch, in bytes: what the kernel takes as a path.
pub const STRING_MAX: usize = 4095;

/// The most entries of any list of a launch.
pub const LIST_MAX: usize = 1024;

/// The most layers of a root. Their names must fit into one option of 255 bytes.
pub const LAYERS_MAX: usize = 12;

/// The longest host name that Linux has.
pub const HOSTNAME_MAX: usize = 64;

/// The most instructions of a seccomp filter, eight bytes each.
pub const FILTER_MAX: usize = 4096;

/// What a stage makes of its process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Launch {
    /// Set in its own UTS namespace only.
    pub hostname: Option<String>,
    /// Which namespaces are its own.
    pub namespaces: Namespaces,
    /// Users of its own, and with them rights of its own: over its namespaces and its files, and over nothing else.
    pub users: Option<Users>,
    /// Directories of v1 cgroups to join; the v2 group is where the process was born.
    pub cgroups: Vec<String>,
    /// What it sees as `/`.
    pub root: Root,
    /// A `/dev` of its own (`lxc.autodev = 1`).
    pub dev: Option<Dev>,
    /// A directory of the device that is mounted as that `/dev`, with further nodes in it.
    pub nodes: Option<String>,
    /// `lxc.mount.auto = proc…`
    pub proc: Option<ProcMode>,
    /// `lxc.mount.auto = sys…`
    pub sys: Option<SysMode>,
    /// `lxc.mount.auto = cgroup…`
    pub cgroup: Option<CgroupMode>,
    /// In order, after all of the above.
    pub mounts: Vec<Mount>,
    /// The showcase of this device, where there is anything to export or to import: see [`Export`].
    pub showcase: Option<String>,
    /// What others may mount, as it is after all mounts.
    pub exports: Vec<Export>,
    /// Paths that appear empty. One that does not exist needs no mask.
    pub masked: Vec<String>,
    /// Paths that appear read-only. One that does not exist needs no protection.
    pub read_only: Vec<String>,
    /// Places where something of the above is mounted, `/` among them, and what is forbidden there in addition.
    pub hardened: Vec<(String, Attributes)>,
    /// Settings of the kernel in its namespaces: the name below `/proc/sys`, and the value. Whoever makes the launch takes
    /// care that each belongs to a namespace of its own; any other is the device's.
    pub sysctls: Vec<(String, String)>,
    /// What is executed, and with which rights.
    pub process: Process,
}

/// Which namespaces are the container's own; the others are shared with the device. The mount namespace always is its
/// own, the user namespace where [`Launch::users`] says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Namespaces {
    /// Process ids: its program is its PID 1, and when that ends, so does everything in it.
    pub pid: bool,
    /// Network.
    pub net: bool,
    /// Host name.
    pub uts: bool,
    /// System V and POSIX queues.
    pub ipc: bool,
    /// Cgroups: it sees its own as the root.
    pub cgroup: bool,
}

impl Namespaces {
    /// Everything of its own.
    pub const OWN: Self = Self { pid: true, net: true, uts: true, ipc: true, cgroup: true };
}

/// What a container sees as `/`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Root {
    /// Directories of the device that are laid over each other and never written, the top one first. At least one.
    pub layers: Vec<String>,
    /// Where changes go. Without it the root is read-only.
    pub writable: Option<Writable>,
    /// Whether device nodes in the layers work. Else only those of `/dev` do, which is a mount of its own.
    pub devices: bool,
}

/// The writable layer of an overlay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Writable {
    /// Holds the changes.
    pub upper: String,
    /// An empty directory of the same file system, for the kernel.
    pub work: String,
}

/// Why a launch cannot be used. Whoever made it is to blame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LaunchError {
    /// More than [`LAUNCH_MAX`] bytes.
    Size(usize),
    /// The bytes are not one launch.
    Bytes,
    /// A string is empty, too long, or holds a NUL.
    Text(&'static str),
    /// A list is empty that may not be, or too long.
    Count(&'static str),
    /// Neither absolute nor free of `..`, `.` and empty components.
    Path(String),
    /// The name of a variable is empty or holds `=`.
    Variable(String),
    /// Ambient capabilities that are outside the bounding set.
    Ambient,
    /// A seccomp filter that is not a row of instructions.
    Filter,
    /// Ranges of these that overlap, or do not have number 0 or one that the process needs.
    Users(&'static str),
    /// Exports or imports, and no showcase for them.
    Showcase,
    /// A terminal is one of a `/dev` of its own.
    Terminal,
    /// Device nodes are in a `/dev` of its own.
    Nodes,
    /// A host name without a UTS namespace would rename the device.
    Hostname,
    /// A writable cgroup tree without a cgroup namespace would be the device's.
    Cgroup,
}

impl Launch {
    /// The bytes of the launch.
    ///
    /// # Errors
    /// The launch contradicts itself or is too large.
    pub fn encode(&self) -> Result<Vec<u8>, LaunchError> {
        self.check()?;
        let bytes = postcard::to_allocvec(self).map_err(|_| LaunchError::Bytes)?;
        if bytes.len() > LAUNCH_MAX { Err(LaunchError::Size(bytes.len())) } else { Ok(bytes) }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// As for encoding, or the bytes are not exactly one launch.
    pub fn decode(bytes: &[u8]) -> Result<Self, LaunchError> {
        if bytes.len() > LAUNCH_MAX {
            return Err(LaunchError::Size(bytes.len()));
        }
        let (launch, rest) = postcard::take_from_bytes::<Self>(bytes).map_err(|_| LaunchError::Bytes)?;
        if !rest.is_empty() {
            return Err(LaunchError::Bytes);
        }
        launch.check()?;
        Ok(launch)
    }

    fn check(&self) -> Result<(), LaunchError> {
        if let Some(name) = &self.hostname {
            text("host name", name)?;
            if name.len() > HOSTNAME_MAX || name.is_empty() {
                return Err(LaunchError::Text("host name"));
            }
            if !self.namespaces.uts {
                return Err(LaunchError::Hostname);
            }
        }
        if self.process.output == Output::Terminal && self.dev.is_none() {
            return Err(LaunchError::Terminal);
        }
        if self.nodes.is_some() && self.dev.is_none() {
            return Err(LaunchError::Nodes);
        }
        self.nodes.iter().try_for_each(|nodes| absolute(nodes))?;
        if self.cgroup == Some(CgroupMode::Writable) && !self.namespaces.cgroup {
            return Err(LaunchError::Cgroup);
        }
        self.root.check()?;
        count("cgroups", &self.cgroups)?;
        self.cgroups.iter().try_for_each(|dir| absolute(dir))?;
        count("mounts", &self.mounts)?;
        self.mounts.iter().try_for_each(Mount::check)?;
        self.showcase.iter().try_for_each(|showcase| absolute(showcase))?;
        count("exports", &self.exports)?;
        self.exports.iter().try_for_each(Export::check)?;
        let imports = self.mounts.iter().any(|mount| matches!(mount.source, Source::Import { .. }));
        if self.showcase.is_none() && (imports || !self.exports.is_empty()) {
            return Err(LaunchError::Showcase);
        }
        count("masked paths", &self.masked)?;
        count("read-only paths", &self.read_only)?;
        self.masked.iter().chain(&self.read_only).try_for_each(|path| absolute(path))?;
        count("hardened places", &self.hardened)?;
        self.hardened.iter().try_for_each(|(path, _)| absolute(path))?;
        count("settings of the kernel", &self.sysctls)?;
        for (name, value) in &self.sysctls {
            relative(name)?;
            text("setting of the kernel", value)?;
        }
        self.process.check()?;
        self.users.as_ref().map_or(Ok(()), |users| {
            users.check()?;
            let Process { uid, gid, groups, .. } = &self.process;
            if users.uid(*uid).is_none() {
                return Err(LaunchError::Users("users"));
            }
            let mapped = std::iter::once(gid).chain(groups).all(|gid| users.gid(*gid).is_some());
            if mapped { Ok(()) } else { Err(LaunchError::Users("groups")) }
        })
    }
}

impl Root {
    fn check(&self) -> Result<(), LaunchError> {
        if self.layers.is_empty() || self.layers.len() > LAYERS_MAX {
            return Err(LaunchError::Count("layers"));
        }
        self.layers.iter().try_for_each(|layer| absolute(layer))?;
        self.writable.iter().flat_map(|it| [&it.upper, &it.work]).try_for_each(|path| absolute(path))
    }
}

pub(crate) fn text(what: &'static str, text: &str) -> Result<(), LaunchError> {
    if text.len() > STRING_MAX || text.contains('\0') { Err(LaunchError::Text(what)) } else { Ok(()) }
}

pub(crate) fn count<T>(what: &'static str, list: &[T]) -> Result<(), LaunchError> {
    if list.len() > LIST_MAX { Err(LaunchError::Count(what)) } else { Ok(()) }
}

/// A path of the device, or of the container from its root.
pub(crate) fn absolute(path: &str) -> Result<(), LaunchError> {
    path.strip_prefix('/').map_or_else(
        || Err(LaunchError::Path(path.to_owned())),
        |rest| if rest.is_empty() { Ok(()) } else { relative(rest.strip_suffix('/').unwrap_or(rest)) },
    )
}

/// A path below the root of a container.
fn relative(path: &str) -> Result<(), LaunchError> {
    text("path", path)?;
    let climbs = path.split('/').any(|part| matches!(part, "" | "." | ".."));
    if climbs { Err(LaunchError::Path(path.to_owned())) } else { Ok(()) }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(bytes) => write!(f, "the launch has {bytes} bytes, at most {LAUNCH_MAX} fit"),
            Self::Bytes => f.write_str("the bytes are not a launch of this program"),
            Self::Text(what) => write!(f, "{what}: empty, too long, or with a NUL in it"),
            Self::Count(what) => write!(f, "{what}: none, or more than a launch holds"),
            Self::Path(path) => write!(f, "{path:?} must lead from the root and hold no `..`, `.` or `//`"),
            Self::Variable(name) => write!(f, "{name:?} is no name for a variable"),
            Self::Ambient => f.write_str("ambient capabilities must be within the bounding set"),
            Self::Filter => write!(f, "a seccomp filter has 1 to {FILTER_MAX} instructions of 8 bytes"),
            Self::Users(what) => write!(
                f,
                "ranges of {what} must not overlap, and must have 0 and those that the first process runs as; \
                 there can be {RANGES_MAX}"
            ),
            Self::Showcase => f.write_str("exports and imports need the showcase of the device"),
            Self::Terminal => f.write_str("a terminal as its console needs a /dev of its own"),
            Self::Nodes => f.write_str("further device nodes need a /dev of its own"),
            Self::Hostname => f.write_str("a host name needs a UTS namespace, or it renames the device"),
            Self::Cgroup => f.write_str("a writable cgroup tree needs a cgroup namespace, or it is the device's"),
        }
    }
}

impl std::error::Error for LaunchError {}
