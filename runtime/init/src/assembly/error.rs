//! Why a revision has no assembly: the document, the place in it, and what to do.

use std::fmt;

use container::launch::{LaunchError, MountError};
use formats::document::DocumentError;
use formats::leases::Why;
use formats::lxc::FilesError;
use formats::remount::RuleError;
use formats::run_json::Manifest;
use formats::seccomp::FilterError;

/// Why a revision cannot be run by this version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AssemblyError {
    /// A manifest is wrong.
    Document(Box<DocumentError>),
    /// A configuration is wrong, or a file of it is not there.
    Config(FilesError),
    /// It is well formed and cannot be followed.
    Refused {
        /// The key in the state.
        document: String,
        /// The line or member.
        place: Where,
        /// Why.
        why: Refusal,
    },
}

/// A place in a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Where {
    /// A member of JSON, with dots between levels.
    Member(String),
    /// A line of a configuration.
    Line {
        /// From 1.
        number: u32,
        /// Its key.
        key: String,
    },
    /// The whole of it.
    Whole,
}

/// What cannot be followed. What would leave a container less confined than its maker has signed is refused, too.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Images that are checked block by block.
    Verity,
    /// An image with a file system that is not mounted.
    FileSystem(String),
    /// A disk of this type.
    Disk(String),
    /// An entry of a policy of mount options.
    Remount(String, RuleError),
    /// More containers in pools than can be.
    Pool,
    /// An address in a pool.
    Address(Box<(String, Why)>),
    /// An Ethernet address that another container of the pool has.
    Mac(String),
    /// Ports of a container that is on no bridge.
    NotPublished,
    /// A port that another container publishes: this one, that one, and whose.
    Published(Box<[String; 3]>),
    /// A driver that nothing of the revision knows.
    Driver(String),
    /// A service that no other container offers.
    NoService(String),
    /// A service that is offered and nowhere in the container: its name, its target, whose it is, and where it is there.
    Unlinked(Box<[String; 4]>),
    /// What an interface is to have, and another container has.
    Wire(String),
    /// A hook.
    Hook,
    /// The owner and group of a device node that `lxc.idmap` has no place for.
    Owner(u32, u32),
    /// A path below `/exports` that no other container exports.
    Exports(String),
    /// It needs a container of a later group.
    Later {
        /// The container.
        name: String,
        /// Its group.
        group: String,
    },
    /// Containers that wait for each other, the first one again at the end.
    Circle(Vec<String>),
    /// A filter of system calls that is not in the revision.
    NoFilter(String),
    /// One that the kernel would not take, or that is for another machine.
    Filter(FilterError),
    /// Two lines that exclude each other.
    Contradiction(&'static str),
    /// A path below `/volumes` that nothing of this revision is mounted at.
    NoVolume(String),
    /// A layer of an overlay that is no volume.
    Layer(String),
    /// A writable layer that is not within storage of the container itself.
    Upper(String),
    /// No root.
    NoRoot,
    /// Two volumes of which one has, or lies within, the place of the other.
    Taken(String),
    /// A value of a line about the cgroup, and what it should be.
    Value(String, &'static str),
    /// A setting of the kernel that is not of a namespace of the container's own.
    Sysctl(String),
    /// A mount that cannot be made.
    Mount(MountError),
    /// What comes out cannot be started.
    Launch(LaunchError),
}

impl AssemblyError {
    pub(super) fn refused(document: impl Into<String>, place: Where, why: Refusal) -> Self {
        Self::Refused { document: document.into(), place, why }
    }

    pub(super) fn member(manifest: &Manifest, member: impl Into<String>, why: Refusal) -> Self {
        Self::refused(format!("{}/run.json", manifest.name), Where::Member(member.into()), why)
    }
}

/// Tells what of a manifest has no effect.
pub(super) fn without_effect(manifest: &Manifest, warnings: &mut Vec<String>) {
    let without_effect = [
        ("exports", !manifest.exports.is_empty() && manifest.config.is_none(), "nothing of it is started"),
        ("logs", !manifest.logs.is_empty(), "only the console is logged"),
        ("dev-log", manifest.dev_log == Some(true), "there is no /dev/log to show"),
    ];
    for (member, _, why) in without_effect.iter().filter(|(_, is_there, _)| *is_there) {
        warnings.push(format!("{}/run.json: {member}: has no effect: {why}", manifest.name));
    }
}

impl From<DocumentError> for AssemblyError {
    fn from(error: DocumentError) -> Self {
        Self::Document(Box::new(error))
    }
}

impl From<FilesError> for AssemblyError {
    fn from(error: FilesError) -> Self {
        Self::Config(error)
    }
}

impl fmt::Display for AssemblyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Refused { document, place, why } => match place {
                Where::Member(member) => write!(f, "{document}: {member}: {why}"),
                Where::Line { number: 0, key } => write!(f, "{document}: {key}: {why}"),
                Where::Line { number, key } => write!(f, "{document}: line {number}: {key}: {why}"),
                Where::Whole => write!(f, "{document}: {why}"),
            },
        }
    }
}

impl std::error::Error for AssemblyError {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verity => {
                f.write_str("this version cannot check images with dm-verity, and will not mount them unchecked")
            }
            Self::FileSystem(kind) => write!(f, "images of type {kind:?} are not mounted; use squashfs, erofs or ext4"),
            Self::Disk(kind) => write!(f, "disks of type {kind} are not supported by this version"),
            Self::Remount(pattern, why) => write!(f, "{pattern:?}: {why}"),
            Self::Pool => f.write_str("there are more containers in pools than a device keeps addresses for"),
            Self::Address(refused) => write!(f, "pool {}: {}", refused.0, refused.1),
            Self::Mac(other) => {
                write!(f, "{other} has this Ethernet address in the same pool; give one of them another")
            }
            Self::NotPublished => {
                f.write_str("there is no pool with a bridge that they could be published from; name one in `network`")
            }
            Self::Published(claims) => {
                let [port, taken, by] = &**claims;
                write!(f, "{port}: {by} publishes {taken}; publish one of them at another port of the device")
            }
            Self::Driver(name) => {
                write!(f, "{name}: bsp/drivers.json does not have it; add it there, or make it optional")
            }
            Self::NoService(name) => {
                write!(f, "no other container offers {name}; add it to the services.json of one, or make it optional")
            }
            Self::Unlinked(names) => {
                let [name, target, owner, socket] = &**names;
                write!(
                    f,
                    "nothing puts {name} at {target}: this version links no services by itself; add the directory of /{socket} \
                     to `exports` of {owner}, and mount it from /exports/{owner} so that the socket is there"
                )
            }
            Self::Wire(what) => write!(f, "{what}; give one of them another"),
            Self::Hook => f.write_str(
                "no program of the device is run for a container; what lies in it can be run by lxc.hook.start",
            ),
            Self::Owner(uid, gid) => {
                write!(f, "{uid}:{gid} is nobody in this container: lxc.idmap has no line for it")
            }
            Self::Exports(path) => {
                write!(f, "{path}: no other container exports it; add it to `exports` of its run.json")
            }
            Self::Later { name, group } => {
                write!(
                    f,
                    "needs {name}, which starts later, in group {group}; make what it needs of it optional, or move one"
                )
            }
            Self::Circle(names) => {
                write!(f, "waits for itself: {}; take one of these needs away, or make it optional", names.join(" → "))
            }
            Self::NoFilter(key) => write!(f, "{key} is not in the revision; add the file, or remove the line"),
            Self::Filter(why) => why.fmt(f),
            Self::Contradiction(what) => f.write_str(what),
            Self::NoVolume(path) => write!(f, "{path} is no volume of a container of this revision"),
            Self::Layer(path) => write!(f, "{path}: a layer is a volume or in one, below /volumes"),
            Self::Upper(path) => write!(f, "{path} must lie within storage of this container"),
            Self::NoRoot => f.write_str("there is neither lxc.rootfs.path nor a root-volume"),
            Self::Taken(name) => write!(f, "{name} would cover another volume, or lie within one"),
            Self::Value(value, form) => write!(f, "{value:?} is not {form}"),
            Self::Sysctl(name) => write!(
                f,
                "{name} is a setting of the whole device here; a container can have those of net.* with a network of its own, \
                 and of queues and shared memory (fs.mqueue.*, kernel.msg*, kernel.sem, kernel.shm*) with an ipc namespace"
            ),
            Self::Mount(why) => why.fmt(f),
            Self::Launch(why) => why.fmt(f),
        }
    }
}
