//! One line of the configuration as a value: the table of all keys, read and written in one place.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{
    Capability, CgroupVersion, Command, DeviceRule, IdMap, Limits, LxcWrong, MountEntry, NetItem, Resource, Signal,
    keys, quoted, wrong,
};
use crate::words::words;

/// What one line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// `lxc.tty.max`
    TtyMax(u32),
    /// `lxc.tty.min`
    TtyMin(u32),
    /// `lxc.pty.max`
    PtyMax(u32),
    /// `lxc.cgroup.devices.allow` and `deny`, of either generation.
    Devices {
        /// The generation.
        version: CgroupVersion,
        /// Allowed or denied.
        allow: bool,
        /// What.
        rule: DeviceRule,
    },
    /// `lxc.cgroup.CONTROLLER.FILE` and `lxc.cgroup2.CONTROLLER.FILE`, other than devices.
    Cgroup {
        /// The generation.
        version: CgroupVersion,
        /// The file, for example `memory.limit_in_bytes`.
        file: String,
        /// What is written to it.
        value: String,
    },
    /// `lxc.rootfs.path`
    Rootfs(Rootfs),
    /// `lxc.init.cmd`
    InitCmd(Command),
    /// `lxc.init.cwd`
    InitCwd(String),
    /// `lxc.init.uid`
    InitUid(u32),
    /// `lxc.init.gid`
    InitGid(u32),
    /// `lxc.init.groups`
    InitGroups(Vec<u32>),
    /// `lxc.signal.halt`
    SignalHalt(Signal),
    /// `lxc.environment`
    Environment {
        /// The variable.
        name: String,
        /// Its value.
        value: String,
    },
    /// `lxc.namespace.keep`: namespaces shared with the device.
    NamespaceKeep(Vec<Namespace>),
    /// `lxc.namespace.clone`: namespaces of its own; the device's of all others.
    NamespaceClone(Vec<Namespace>),
    /// `lxc.idmap`: users and groups of its own.
    IdMap(IdMap),
    /// `lxc.console.path = none`
    NoConsole,
    /// `lxc.mount.auto`
    MountAuto(Vec<AutoMount>),
    /// `lxc.autodev`
    Autodev(bool),
    /// `lxc.autodev.tmpfs.size`, in bytes.
    AutodevSize(u64),
    /// `lxc.mount.entry`
    Mount(MountEntry),
    /// `lxc.mount.fstab`: a file of the same container.
    Fstab(String),
    /// `lxc.include`: a file of the same container.
    Include(String),
    /// `lxc.cap.drop`
    CapDrop(Vec<Capability>),
    /// `lxc.cap.keep`; empty is `none`.
    CapKeep(Vec<Capability>),
    /// `lxc.no_new_privs`
    NoNewPrivs(bool),
    /// `lxc.seccomp.profile`: a [compiled filter](crate::seccomp), a file of the same container.
    SeccompProfile(String),
    /// `lxc.net.N.…`
    Net {
        /// N.
        index: u8,
        /// The rest.
        item: NetItem,
    },
    /// `lxc.uts.name`
    UtsName(String),
    /// `lxc.hook.mount`: a program of the device.
    HookMount(String),
    /// `lxc.hook.start`: a program of the container, before its first process.
    HookStart(Command),
    /// `lxc.prlimit.RESOURCE`
    Limit {
        /// Of what.
        resource: Resource,
        /// How much.
        limits: Limits,
    },
    /// `lxc.sysctl.NAME`
    Sysctl {
        /// The name with dots: `net.ipv4.ip_forward`.
        name: String,
        /// The value.
        value: String,
    },
    /// `lxc.proc.oom_score_adj`, −1000 to 1000.
    OomScoreAdj(i16),
    /// `cairn.optional`: the limit that is said above may be missed by a kernel without its controller.
    Optional {
        /// The generation.
        version: CgroupVersion,
        /// The file.
        file: String,
    },
    /// A key of a list without a value: what lines before it said of that key is taken back.
    Reset(String),
    /// A line without effect.
    Ignored {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Why it has none.
        why: &'static str,
    },
}

/// What a root is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rootfs {
    /// Read-only layers from the top down; at least one.
    pub lowers: Vec<String>,
    /// The writable layer (`overlayfs:LOWER[:LOWER…]:UPPER`); `None` for a root that is one directory (`PATH`, `dir:PATH`).
    pub upper: Option<String>,
}

words! {
    /// A namespace.
    pub enum Namespace {
        /// User and group ids.
        User = "user",
        /// Network.
        Net = "net",
        /// System V and POSIX queues.
        Ipc = "ipc",
        /// Process ids.
        Pid = "pid",
        /// Host name.
        Uts = "uts",
        /// Cgroups.
        Cgroup = "cgroup",
        /// Mounts.
        Mount = "mnt",
    }
}

words! {
    /// A kernel file system that is mounted without an entry of its own.
    pub enum AutoMount {
        /// `/proc`, dangerous parts read-only.
        Proc = "proc",
        /// The same.
        ProcMixed = "proc:mixed",
        /// `/proc` writable.
        ProcRw = "proc:rw",
        /// `/sys`, read-only but for parts of the network.
        Sys = "sys",
        /// The same.
        SysMixed = "sys:mixed",
        /// `/sys` read-only.
        SysRo = "sys:ro",
        /// `/sys` writable.
        SysRw = "sys:rw",
        /// The container's own cgroup writable, the rest read-only.
        Cgroup = "cgroup",
        /// The same.
        CgroupMixed = "cgroup:mixed",
        /// The container's own cgroup read-only.
        CgroupRo = "cgroup:ro",
        /// The container's own cgroup writable.
        CgroupRw = "cgroup:rw",
    }
}

/// Reads the value of a key.
pub(super) fn read(key: &str, value: &str) -> Result<Item, LxcWrong> {
    Ok(match key {
        _ if value.is_empty() && LISTS.contains(&key) => Item::Reset(key.into()),
        "lxc.tty.max" => Item::TtyMax(number(value)?),
        "lxc.tty.min" => Item::TtyMin(number(value)?),
        "lxc.pty.max" => Item::PtyMax(number(value)?),
        "lxc.rootfs.path" => Item::Rootfs(rootfs(value)?),
        "lxc.init.cmd" => {
            Item::InitCmd(Command::parse(value).ok_or_else(|| wrong(value, "a command with its quotes closed"))?)
        }
        "lxc.init.cwd" => Item::InitCwd(absolute(value)?),
        "lxc.init.uid" => Item::InitUid(number(value)?),
        "lxc.init.gid" => Item::InitGid(number(value)?),
        "lxc.init.groups" => {
            let numbers = value.split([',', ' ', '\t']).filter(|text| !text.is_empty()).map(number);
            Item::InitGroups(numbers.collect::<Result<_, _>>()?)
        }
        "lxc.signal.halt" => Item::SignalHalt(
            Signal::parse(value).ok_or_else(|| wrong(value, "a signal like SIGTERM, SIGRTMIN+3 or 15"))?,
        ),
        "lxc.environment" => match value.split_once('=') {
            Some((name, value)) if !name.is_empty() => Item::Environment { name: name.into(), value: value.into() },
            _ => return Err(wrong(value, "NAME=VALUE")),
        },
        "lxc.namespace.keep" => {
            Item::NamespaceKeep(list(value, Namespace::parse, "a list of user, net, ipc, pid, uts, cgroup")?)
        }
        "lxc.namespace.clone" => {
            Item::NamespaceClone(list(value, Namespace::parse, "a list of mnt, net, ipc, pid, uts, cgroup")?)
        }
        "lxc.idmap" => Item::IdMap(IdMap::parse(value)?),
        "lxc.console.path" if value == "none" => Item::NoConsole,
        "lxc.console.path" => return Err(wrong(value, "none")),
        "lxc.mount.auto" => {
            // A container has its own view of cgroups, which holds nothing but its own: full and own are the same.
            let own = |word: &str| {
                let word = word.strip_suffix(":force").unwrap_or(word);
                match word.strip_prefix("cgroup-full") {
                    Some(mode) => AutoMount::parse(&alloc::format!("cgroup{mode}")),
                    None => AutoMount::parse(word),
                }
            };
            Item::MountAuto(list(value, own, "a list of proc, sys and cgroup with :ro, :mixed or :rw")?)
        }
        "lxc.autodev" => Item::Autodev(flag(value)?),
        "lxc.autodev.tmpfs.size" => Item::AutodevSize(number(value)?.into()),
        "lxc.mount.entry" => Item::Mount(MountEntry::parse(value)?),
        "lxc.mount.fstab" => Item::Fstab(beside(value, FILE)?),
        "lxc.include" => Item::Include(beside(value, FILE)?),
        "lxc.cap.drop" => Item::CapDrop(list(value, Capability::parse, "a list of capabilities like net_admin")?),
        "lxc.cap.keep" if value == "none" => Item::CapKeep(Vec::new()),
        "lxc.cap.keep" => {
            Item::CapKeep(list(value, Capability::parse, "a list of capabilities like net_admin, or none")?)
        }
        "lxc.no_new_privs" => Item::NoNewPrivs(flag(value)?),
        "lxc.seccomp.profile" => Item::SeccompProfile(beside(value, FILTER)?),
        "lxc.uts.name" => Item::UtsName(plain(value, |c| c.is_ascii_alphanumeric() || "-_.".contains(c))?),
        "lxc.hook.mount" => Item::HookMount(absolute(value)?),
        "lxc.hook.start" => {
            Item::HookStart(Command::parse(value).ok_or_else(|| wrong(value, "a command with its quotes closed"))?)
        }
        "lxc.proc.oom_score_adj" => Item::OomScoreAdj(
            value
                .parse()
                .ok()
                .filter(|score| !value.starts_with('+') && (-1000..=1000).contains(score))
                .ok_or_else(|| wrong(value, "a number from -1000 to 1000"))?,
        ),
        OPTIONAL => {
            let form = "a line about the cgroup that is said above, like lxc.cgroup2.pids.max";
            let named = cgroup(value).filter(|(_, file)| is_limit(file));
            let (version, file) = named.ok_or_else(|| wrong(value, form))?;
            Item::Optional { version, file: file.into() }
        }
        _ => return keys::find(key, value).unwrap_or_else(|| family(key, value)),
    })
}

/// Not of LXC, which passes over every key that does not begin with `lxc.`.
const OPTIONAL: &str = "cairn.optional";

/// Keys of which each line adds to the ones before it, and which can therefore be taken back.
const LISTS: [&str; 15] = [
    "lxc.cap.drop",
    "lxc.cap.keep",
    "lxc.cgroup.devices.allow",
    "lxc.cgroup.devices.deny",
    "lxc.cgroup2.devices.allow",
    "lxc.cgroup2.devices.deny",
    "lxc.environment",
    "lxc.idmap",
    "lxc.init.groups",
    "lxc.mount.auto",
    "lxc.mount.entry",
    "lxc.mount.fstab",
    "lxc.namespace.clone",
    "lxc.namespace.keep",
    "lxc.tty.dir",
];

/// The keys that have a part of their own choosing.
fn family(key: &str, value: &str) -> Result<Item, LxcWrong> {
    if let Some((index, member)) = key.strip_prefix("lxc.net.").and_then(|rest| rest.split_once('.')) {
        // A second spelling of a number would be a second interface to one reader and the same to another.
        let canonical = index == "0" || !index.starts_with(['0', '+']);
        let index = index.parse().ok().filter(|_| canonical).ok_or(LxcWrong::UnknownKey)?;
        return NetItem::read(member, value).ok_or(LxcWrong::UnknownKey)?.map(|item| Item::Net { index, item });
    }
    if let Some(resource) = key.strip_prefix("lxc.prlimit.") {
        let resource = Resource::parse(resource).ok_or(LxcWrong::UnknownKey)?;
        return Ok(Item::Limit { resource, limits: Limits::parse(value)? });
    }
    if let Some(name) = key.strip_prefix("lxc.sysctl.") {
        let word = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        if !name.split('.').all(word) {
            return Err(LxcWrong::UnknownKey);
        }
        return match value {
            "" => Err(wrong(value, "a value")),
            value => Ok(Item::Sysctl { name: name.into(), value: value.into() }),
        };
    }
    let (version, file) = cgroup(key).ok_or(LxcWrong::UnknownKey)?;
    match file {
        "devices.allow" => Ok(Item::Devices { version, allow: true, rule: DeviceRule::parse(value)? }),
        "devices.deny" => Ok(Item::Devices { version, allow: false, rule: DeviceRule::parse(value)? }),
        _ if !is_limit(file) => Err(LxcWrong::UnknownKey),
        _ if value.is_empty() => Err(wrong(value, "a value")),
        _ => Ok(Item::Cgroup { version, file: file.into(), value: value.into() }),
    }
}

/// The generation and the file of a key about the cgroup.
fn cgroup(key: &str) -> Option<(CgroupVersion, &str)> {
    let of = |prefix, version| key.strip_prefix(prefix).map(|file| (version, file));
    of("lxc.cgroup2.", CgroupVersion::V2).or_else(|| of("lxc.cgroup.", CgroupVersion::V1))
}

/// Whether a file may be one of a controller other than that of device nodes.
fn is_limit(file: &str) -> bool {
    let Some((controller, name)) = file.split_once('.') else { return false };
    let word = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte))
    };
    // Sizes of pages have capitals, as in `hugetlb.2MB.max`; no controller has.
    let capital = controller.bytes().any(|byte| byte.is_ascii_uppercase());
    !capital && word(controller) && word(name) && controller != "devices"
}

fn number(value: &str) -> Result<u32, LxcWrong> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|_| digits).ok_or_else(|| wrong(value, "a whole number"))
}

fn flag(value: &str) -> Result<bool, LxcWrong> {
    match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(wrong(value, "0 or 1")),
    }
}

fn plain(value: &str, allowed: impl Fn(char) -> bool) -> Result<String, LxcWrong> {
    if value.is_empty() || value.len() > 64 || !value.chars().all(allowed) {
        return Err(wrong(value, "a plain name"));
    }
    Ok(value.into())
}

fn absolute(value: &str) -> Result<String, LxcWrong> {
    if value.starts_with('/') && !value.split('/').any(|component| component == "..") {
        Ok(value.into())
    } else {
        Err(wrong(value, "an absolute path without `..`"))
    }
}

const FILE: &str = "the name of a file that lies beside this one in the revision";
/// With LXC it is a path of the device, of a text that only a compiler understands.
const FILTER: &str = "a compiled filter beside this file, like seccomp.bpf (`pvr app seccomp` makes it of a text)";

/// A file of the same container in its revision.
fn beside(value: &str, wanted: &'static str) -> Result<String, LxcWrong> {
    match crate::path::component(value) {
        Ok(()) => Ok(value.into()),
        Err(_) => Err(wrong(value, wanted)),
    }
}

/// A list separated by blanks; never empty.
fn list<T>(value: &str, parse: impl Fn(&str) -> Option<T>, wanted: &'static str) -> Result<Vec<T>, LxcWrong> {
    let items: Option<Vec<T>> = value.split_ascii_whitespace().map(parse).collect();
    items.filter(|items| !items.is_empty()).ok_or_else(|| wrong(value, wanted))
}

fn rootfs(value: &str) -> Result<Rootfs, LxcWrong> {
    let form = || wrong(value, "overlayfs:LOWER[:LOWER…]:UPPER with absolute paths, or dir:PATH");
    let Some(layers) = value.strip_prefix("overlayfs:") else {
        let dir = absolute(value.strip_prefix("dir:").unwrap_or(value)).map_err(|_| form())?;
        return if dir.contains(':') { Err(form()) } else { Ok(Rootfs { lowers: alloc::vec![dir], upper: None }) };
    };
    let mut lowers = layers.split(':').map(absolute).collect::<Result<Vec<_>, _>>().map_err(|_| form())?;
    let upper = lowers.pop().ok_or_else(form)?;
    if lowers.is_empty() { Err(form()) } else { Ok(Rootfs { lowers, upper: Some(upper) }) }
}

/// Words with blanks between.
fn joined<T: Copy>(items: &[T], word: impl Fn(T) -> &'static str) -> String {
    items.iter().map(|item| word(*item)).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TtyMax(number) => write!(f, "lxc.tty.max = {number}"),
            Self::TtyMin(number) => write!(f, "lxc.tty.min = {number}"),
            Self::PtyMax(number) => write!(f, "lxc.pty.max = {number}"),
            Self::Devices { version, allow, rule } => {
                write!(f, "lxc.{version}.devices.{} = {rule}", if *allow { "allow" } else { "deny" })
            }
            Self::Cgroup { version, file, value } => write!(f, "lxc.{version}.{file} = {}", quoted(value)),
            Self::Rootfs(Rootfs { lowers, upper }) => match upper {
                Some(upper) => write!(f, "lxc.rootfs.path = overlayfs:{}:{upper}", lowers.join(":")),
                None => write!(f, "lxc.rootfs.path = dir:{}", lowers.join(":")),
            },
            Self::InitCmd(command) => write!(f, "lxc.init.cmd = {}", quoted(&alloc::format!("{command}"))),
            Self::InitCwd(path) => write!(f, "lxc.init.cwd = {}", quoted(path)),
            Self::InitUid(id) => write!(f, "lxc.init.uid = {id}"),
            Self::InitGid(id) => write!(f, "lxc.init.gid = {id}"),
            Self::InitGroups(groups) => {
                let groups: Vec<_> = groups.iter().map(|group| alloc::format!("{group}")).collect();
                write!(f, "lxc.init.groups = {}", groups.join(","))
            }
            Self::SignalHalt(signal) => write!(f, "lxc.signal.halt = {signal}"),
            Self::Environment { name, value } => {
                write!(f, "lxc.environment = {}", quoted(&alloc::format!("{name}={value}")))
            }
            Self::NamespaceKeep(list) => write!(f, "lxc.namespace.keep = {}", joined(list, Namespace::as_str)),
            Self::NamespaceClone(list) => write!(f, "lxc.namespace.clone = {}", joined(list, Namespace::as_str)),
            Self::IdMap(map) => write!(f, "lxc.idmap = {map}"),
            Self::NoConsole => f.write_str("lxc.console.path = none"),
            Self::MountAuto(list) => write!(f, "lxc.mount.auto = {}", joined(list, AutoMount::as_str)),
            Self::Autodev(on) => write!(f, "lxc.autodev = {}", u8::from(*on)),
            Self::AutodevSize(size) => write!(f, "lxc.autodev.tmpfs.size = {size}"),
            Self::Fstab(file) => write!(f, "lxc.mount.fstab = {}", quoted(file)),
            Self::Include(file) => write!(f, "lxc.include = {}", quoted(file)),
            Self::Mount(entry) => write!(f, "lxc.mount.entry = {entry}"),
            Self::CapDrop(list) => write!(f, "lxc.cap.drop = {}", joined(list, Capability::as_str)),
            Self::CapKeep(list) if list.is_empty() => f.write_str("lxc.cap.keep = none"),
            Self::CapKeep(list) => write!(f, "lxc.cap.keep = {}", joined(list, Capability::as_str)),
            Self::NoNewPrivs(on) => write!(f, "lxc.no_new_privs = {}", u8::from(*on)),
            Self::SeccompProfile(file) => write!(f, "lxc.seccomp.profile = {file}"),
            Self::Net { index, item } => write!(f, "lxc.net.{index}.{item}"),
            Self::UtsName(name) => write!(f, "lxc.uts.name = {name}"),
            Self::HookStart(command) => write!(f, "lxc.hook.start = {}", quoted(&alloc::format!("{command}"))),
            Self::HookMount(path) => write!(f, "lxc.hook.mount = {}", quoted(path)),
            Self::Limit { resource, limits } => write!(f, "lxc.prlimit.{resource} = {limits}"),
            Self::Sysctl { name, value } => write!(f, "lxc.sysctl.{name} = {}", quoted(value)),
            Self::OomScoreAdj(score) => write!(f, "lxc.proc.oom_score_adj = {score}"),
            Self::Optional { version, file } => write!(f, "{OPTIONAL} = lxc.{version}.{file}"),
            Self::Reset(key) => write!(f, "{key} ="),
            Self::Ignored { key, value, .. } => write!(f, "{key} = {}", quoted(value)),
        }
    }
}

impl Item {
    /// The key of the line.
    #[must_use]
    pub fn key(&self) -> String {
        let text = alloc::format!("{self}");
        text.split_once(" =").map_or(text.as_str(), |(key, _)| key).into()
    }
}
