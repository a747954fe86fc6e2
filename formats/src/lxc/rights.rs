//! Each right over the device that a configuration grants, as a value: so that two configurations can be compared, and one
//! held against a measure.
//!
//! ```text
//!   before   sys_time  sees /etc
//!   after    sys_time  writes to /etc    c 188:0 rw        gained: writes to /etc of the device; the device nodes c 188:0 rw
//!   confined chown kill … net  user                        what `pvr app add` gives without being asked
//! ```
//!
//! What a manifest asks for beside its configuration is as much a right: [`of`] has both.
//!
//! [`privileges`](super::privileges) tells the same to a person who looks at one container. Whatever is not understood well
//! enough to be called harmless is a right.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use super::privileges::{devices, filter, shared};
use super::wire::{Origin, origins};
use super::{AutoMount, Capability, Config, DeviceRule, Item, MountOption, Namespace};
use crate::network::Protocol;
use crate::run_json::Manifest;

/// What a confined container keeps: what Docker keeps, but `mknod`: a node made in a container is the device's hardware. In
/// the network of the device it does not keep `net_raw` either: see [`Right::Hears`].
pub const CONFINED: &[Capability] = &[
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::SysChroot,
    Capability::AuditWrite,
    Capability::Setfcap,
];

/// One right over the device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Right {
    /// A capability.
    Capability(Capability),
    /// A namespace of the device.
    Shares(Namespace),
    /// Raw sockets in the network of the device: whatever comes and goes there.
    Hears,
    /// A program in it can have more than the first one.
    Gains,
    /// Every system call that the kernel has.
    EveryCall,
    /// Every device node, whatever single rules take of that.
    EveryDevice,
    /// Device nodes beside those of every container.
    Device(DeviceRule),
    /// All of `/proc`, and with it of the kernel's settings.
    WritesProc,
    /// All of `/sys`.
    WritesSys,
    /// A path of the device, or of another container: below `/volumes` and `/exports`.
    Path {
        /// Which.
        path: String,
        /// Or it can only be read.
        writes: bool,
    },
    /// A file system of the kernel's, like `debugfs`, or one on a disk.
    FileSystem(String),
    /// It is spared when memory runs out.
    Spared,
    /// A program of the device, run with the device's rights.
    Hook(String),
    /// A port of a bridge of the device, beside whoever is on it.
    Bridge(String),
    /// An Ethernet address of its own on the wire of an interface of the device.
    Wire(String),
    /// What is marked with a number on the wire of an interface of the device.
    Vlan(String, u16),
    /// An interface of the device, which has it no longer.
    Takes(String),
    /// It manages the device. This and what follows is not of its configuration but of its manifest.
    Manages,
    /// An interface in a pool, beside the containers that are in it.
    Pool(String),
    /// Ports of the device, which lead to it and to nobody else.
    Publishes(Ports),
    /// A driver of the device, loaded for it.
    Driver(String),
}

/// Ports of the device, from one to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ports {
    /// The address of the device; `None` is every one.
    pub address: Option<Ipv4Addr>,
    /// The first, and the last.
    pub numbers: (u16, u16),
    /// What they speak.
    pub protocol: Protocol,
}

/// File systems that hold nothing but what the container puts there.
const OWN: [&str; 4] = ["tmpfs", "devpts", "mqueue", "proc"];

/// Numbers below are those of the device's users: as one of them, a container would be that user to every file.
const DEVICE_USERS: u32 = 65536;

/// What a configuration grants to the container of this name.
#[must_use]
pub fn rights(container: &str, config: &Config) -> Vec<Right> {
    let (mut kept, mut dropped) = (None::<Vec<Capability>>, Vec::new());
    let (mut no_new, mut devices_users) = (false, false);
    let mut rights = Vec::new();
    for item in config.items() {
        match item {
            Item::CapKeep(list) => kept.get_or_insert_default().extend(list),
            Item::CapDrop(list) => dropped.extend(list),
            Item::IdMap(map) => devices_users |= map.outside < DEVICE_USERS,
            Item::NoNewPrivs(on) => no_new = *on,
            Item::MountAuto(list) => rights.extend(list.iter().filter_map(|one| match one {
                AutoMount::ProcRw => Some(Right::WritesProc),
                AutoMount::SysRw => Some(Right::WritesSys),
                _ => None,
            })),
            Item::Rootfs(root) => {
                rights.extend(root.lowers.iter().filter_map(|lower| path(container, lower, false)));
                rights.extend(root.upper.iter().filter_map(|upper| path(container, upper, true)));
            }
            Item::Mount(entry) if entry.options.contains(&MountOption::Relative) => {}
            Item::Mount(entry) if entry.fstype == "overlay" => {
                for (key, list) in entry.kernel_options().filter_map(|option| option.split_once('=')) {
                    let writes = key != "lowerdir";
                    rights.extend(list.split(':').filter_map(|layer| path(container, layer, writes)));
                }
            }
            Item::Mount(entry) if OWN.contains(&entry.fstype.as_str()) => {}
            Item::Mount(entry) if entry.source.starts_with('/') => {
                let writes = !entry.kernel_options().any(|option| option == "ro");
                rights.extend(path(container, &entry.source, writes));
            }
            Item::Mount(entry) => rights.push(Right::FileSystem(entry.fstype.clone())),
            Item::OomScoreAdj(..0) => rights.push(Right::Spared),
            Item::HookMount(path) => rights.push(Right::Hook(path.clone())),
            _ => {}
        }
    }
    let kept = kept.unwrap_or_else(|| Capability::WORDS.iter().filter_map(|word| Capability::parse(word)).collect());
    let mut all: Vec<Right> = kept.into_iter().filter(|one| !dropped.contains(one)).map(Right::Capability).collect();
    let shared = shared(config);
    all.extend((devices_users && !shared.contains(&Namespace::User)).then_some(Right::Shares(Namespace::User)));
    let hears = shared.contains(&Namespace::Net) && all.contains(&Right::Capability(Capability::NetRaw));
    all.extend(shared.into_iter().map(Right::Shares));
    all.extend(hears.then_some(Right::Hears));
    all.extend((!no_new).then_some(Right::Gains));
    all.extend(filter(config).is_none().then_some(Right::EveryCall));
    match devices(config) {
        (true, _) => all.push(Right::EveryDevice),
        (false, rules) => all.extend(rules.into_iter().map(Right::Device)),
    }
    all.extend(rights);
    all.extend(of_wires(config));
    all
}

/// What the interfaces of a configuration are, or are on.
pub(super) fn of_wires(config: &Config) -> Vec<Right> {
    let right = |origin: Origin| match origin {
        whole if whole.is_whole() => Right::Takes(whole.link().to_owned()),
        Origin::Bridge { bridge, .. } => Right::Bridge(bridge),
        Origin::Macvlan { parent, .. } => Right::Wire(parent),
        Origin::Vlan { parent, id } => Right::Vlan(parent, id),
        Origin::Phys { link } => Right::Takes(link),
    };
    origins(config.items()).into_iter().map(right).collect()
}

/// What a container has: by its configuration, and by its manifest. `manages` says whether its role is one of managers.
#[must_use]
pub fn of(manifest: &Manifest, config: Option<&Config>, manages: bool) -> Vec<Right> {
    let mut all = config.map(|config| rights(manifest.name.as_str(), config)).unwrap_or_default();
    let pools = manifest.network.iter().flat_map(|network| &network.interfaces);
    let pools: Vec<_> = pools.map(|interface| Right::Pool(interface.pool.clone())).collect();
    if !pools.is_empty() {
        // Its network is its own then, whatever its configuration says.
        all.retain(|right| !matches!(right, Right::Shares(Namespace::Net) | Right::Hears));
    }
    all.extend(pools);
    all.extend(manifest.ports.iter().map(|port| {
        let numbers = (port.device, port.device);
        Right::Publishes(Ports { address: port.address, numbers, protocol: port.protocol })
    }));
    let drivers = [&manifest.drivers.required, &manifest.drivers.optional, &manifest.drivers.manual];
    all.extend(drivers.into_iter().flatten().map(|name| Right::Driver(name.clone())));
    all.extend(manages.then_some(Right::Manages));
    all
}

/// What of the device, or of another container, a path is.
fn path(container: &str, path: &str, writes: bool) -> Option<Right> {
    let own = path.strip_prefix("/volumes/").and_then(|rest| rest.split('/').next()) == Some(container);
    (path.starts_with('/') && !own).then(|| Right::Path { path: path.trim_end_matches('/').to_owned(), writes })
}

/// What `pvr app add` gives to a container without being asked.
#[must_use]
pub fn confined() -> Vec<Right> {
    let mut rights: Vec<_> = CONFINED.iter().copied().map(Right::Capability).collect();
    rights.extend([Right::Shares(Namespace::User), Right::Shares(Namespace::Net)]);
    rights.push(Right::Path { path: "/etc/resolv.conf".to_owned(), writes: false });
    rights
}

/// Those of `wanted` that nothing in `had` covers, each once.
#[must_use]
pub fn beyond(wanted: &[Right], had: &[Right]) -> Vec<Right> {
    let mut beyond = Vec::new();
    for right in wanted.iter().filter(|right| !had.iter().any(|had| had.covers(right))) {
        if !beyond.contains(right) {
            beyond.push(right.clone());
        }
    }
    beyond
}

impl Right {
    /// Whether who has this one gains nothing by the other.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::EveryDevice, Self::Device(_)) => true,
            // Numbers that are more, or the same ones, with at least as much that may be done.
            (
                Self::Device(DeviceRule::Nodes { kind, major, minor, access }),
                Self::Device(DeviceRule::Nodes { kind: its, major: of, minor: one, access: does }),
            ) => {
                let number = |all: &Option<u32>, one: &Option<u32>| all.is_none() || all == one;
                let may = access.read >= does.read && access.write >= does.write && access.mknod >= does.mknod;
                kind == its && number(major, of) && number(minor, one) && may
            }
            // Who has all of an interface hears what is marked on its wire, too.
            (Self::Takes(link), Self::Wire(of) | Self::Vlan(of, _)) => link == of,
            (Self::Path { path, writes }, Self::Path { path: other, writes: wanted }) => {
                let below =
                    other.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                below && writes >= wanted
            }
            (Self::Publishes(has), Self::Publishes(wants)) => {
                let (from, to) = (has.numbers, wants.numbers);
                let address = has.address.is_none() || has.address == wants.address;
                address && has.protocol == wants.protocol && from.0 <= to.0 && to.1 <= from.1
            }
            _ => self == other,
        }
    }
}

impl Ports {
    /// Reads `[ADDRESS:]FIRST[-LAST][/tcp|/udp]`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, protocol) = match text.rsplit_once('/') {
            Some((rest, word)) => (rest, Protocol::parse(word)?),
            None => (text, Protocol::Tcp),
        };
        let (address, range) = match rest.rsplit_once(':') {
            Some((address, range)) => (Some(address.parse().ok()?), range),
            None => (None, rest),
        };
        let number = |text: &str| {
            let plain = !text.starts_with('+');
            text.parse().ok().filter(|number: &u16| plain && *number > 0)
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let numbers = (number(first)?, number(last)?);
        (numbers.0 <= numbers.1).then_some(Self { address, numbers, protocol })
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.address {
            write!(f, "{address}:")?;
        }
        let (first, last) = self.numbers;
        write!(f, "{first}")?;
        if last > first {
            write!(f, "-{last}")?;
        }
        write!(f, "/{}", self.protocol)
    }
}

/// What a list of rights says, a line for each kind.
#[must_use]
pub fn lines(rights: &[Right]) -> Vec<String> {
    let names = |pick: fn(&Right) -> Option<&'static str>| rights.iter().filter_map(pick).collect::<Vec<_>>();
    let capabilities = names(|right| if let Right::Capability(one) = right { Some(one.as_str()) } else { None });
    let shared = names(|right| if let Right::Shares(one) = right { Some(one.as_str()) } else { None });
    let mut lines = vec![];
    match capabilities.as_slice() {
        [] => {}
        all if all.len() == Capability::WORDS.len() => lines.push("all capabilities".to_owned()),
        rest if rest.len() + CONFINED.len() == Capability::WORDS.len()
            && CONFINED.iter().all(|one| !rest.contains(&one.as_str())) =>
        {
            lines.push("all other capabilities".to_owned());
        }
        [one] => lines.push(format!("the capability {one}")),
        some => lines.push(format!("the capabilities {}", some.join(" "))),
    }
    if !shared.is_empty() {
        lines.push(format!("shares with the device {}", shared.join(" ")));
    }
    let single = rights.iter().filter(|right| !matches!(right, Right::Capability(_) | Right::Shares(_)));
    lines.extend(single.map(|right| format!("{right}")));
    lines
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capability(one) => write!(f, "the capability {one}"),
            Self::Shares(one) => write!(f, "shares with the device {one}"),
            Self::Hears => f.write_str("hears and forges all traffic of the device"),
            Self::Gains => f.write_str("programs can gain privileges"),
            Self::EveryCall => f.write_str(super::privileges::EVERY_CALL),
            Self::EveryDevice => f.write_str("every device node"),
            Self::Device(rule) => write!(f, "the device nodes {rule}"),
            Self::WritesProc => f.write_str("writes to all of /proc"),
            Self::WritesSys => f.write_str("writes to all of /sys"),
            Self::Path { path, writes } => {
                let others = path.starts_with("/exports/") || path.starts_with("/volumes/");
                let whose = if others { "" } else { " of the device" };
                let path = if path.is_empty() { "/" } else { path };
                write!(f, "{} {path}{whose}", if *writes { "writes to" } else { "sees" })
            }
            Self::FileSystem(kind) => write!(f, "the file system {kind} of the kernel"),
            Self::Spared => f.write_str("is spared when memory runs out"),
            Self::Hook(path) => write!(f, "runs {path} of the device"),
            Self::Manages => f.write_str("manages the device"),
            Self::Bridge(name) => write!(f, "is on the bridge {name} of the device"),
            Self::Wire(name) => write!(f, "is on the wire of {name} of the device"),
            Self::Vlan(name, id) => write!(f, "is in VLAN {id} on the wire of {name} of the device"),
            Self::Takes(name) => write!(f, "takes the interface {name} from the device"),
            Self::Pool(name) => write!(f, "is in the pool {name}"),
            Self::Publishes(ports) => write!(f, "publishes {ports} of the device"),
            Self::Driver(name) => write!(f, "loads the driver {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<Right> {
        rights("web", &Config::parse(text.as_bytes()).unwrap())
    }

    const CONFINES: &str = "lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = c 1:3 rwm\n\
         lxc.namespace.keep = user net\nlxc.mount.auto = proc:mixed sys:ro\n\
         lxc.mount.entry = /etc/resolv.conf etc/resolv.conf none bind,ro,create=file,optional 0 0\n\
         lxc.mount.entry = tmpfs run tmpfs rw,mode=755,create=dir 0 0\n\
         lxc.mount.entry = /volumes/web/docker--data data none bind,rw,create=dir 0 0\n\
         lxc.cap.keep = chown kill\nlxc.no_new_privs = 1\nlxc.seccomp.profile = seccomp.bpf\n";

    fn gained(more: &str) -> String {
        lines(&beyond(&of(&[CONFINES, more].concat()), &confined())).join("; ")
    }

    #[test]
    fn what_the_template_gives_is_nothing_beyond_it_and_each_further_line_is() {
        assert_eq!(gained(""), "");
        for (line, told) in [
            ("lxc.cap.keep = sys_time", "the capability sys_time"),
            ("lxc.cap.keep = sys_admin sys_boot", "the capabilities sys_admin sys_boot"),
            ("lxc.namespace.keep = net pid", "shares with the device pid"),
            ("lxc.cap.keep = net_raw", "hears and forges all traffic of the device"),
            ("lxc.cap.keep = net_raw\nlxc.namespace.keep = user", ""),
            (
                "lxc.cap.keep = net_raw\nlxc.namespace.keep = user\nlxc.net.0.type = none",
                "hears and forges all traffic of the device",
            ),
            ("lxc.namespace.clone = user net ipc", "shares with the device pid uts cgroup"),
            ("lxc.no_new_privs = 0", "programs can gain privileges"),
            ("lxc.cgroup.devices.allow = c 188:0 rw", "the device nodes c 188:0 rw"),
            ("lxc.cgroup2.devices.allow = a", "every device node"),
            ("lxc.mount.auto = proc:rw sys:rw", "writes to all of /proc; writes to all of /sys"),
            ("lxc.mount.entry = / host none bind,rw,create=dir 0 0", "writes to / of the device"),
            ("lxc.mount.entry = /etc/resolv.conf x none bind,create=file", "writes to /etc/resolv.conf of the device"),
            ("lxc.mount.entry = /exports/db/run db none bind,ro 0 0", "sees /exports/db/run"),
            ("lxc.mount.entry = /volumes/db/data db none bind,rw 0 0", "writes to /volumes/db/data"),
            ("lxc.rootfs.path = overlayfs:/volumes/web/a:/volumes/db/b:/volumes/web/c/upper", "sees /volumes/db/b"),
            (
                "lxc.mount.entry = x m overlay lowerdir=/volumes/web/a:/etc,upperdir=/volumes/web/o/u,x 0 0",
                "sees /etc of the device",
            ),
            ("lxc.mount.entry = / m overlay upperdir=/volumes/db/o/u 0 0", "writes to /volumes/db/o/u"),
            ("lxc.mount.entry = debugfs d debugfs rw 0 0", "the file system debugfs of the kernel"),
            ("lxc.mount.entry = /dev/sda1 d ext4 rw 0 0", "writes to /dev/sda1 of the device"),
            ("lxc.proc.oom_score_adj = -1", "is spared when memory runs out"),
        ] {
            assert_eq!(gained(line), told, "{line}");
        }
        assert_eq!(lines(&beyond(&of(""), &confined()))[0], "all other capabilities");
        assert_eq!(
            lines(&of("")),
            [
                "all capabilities",
                "shares with the device user",
                "programs can gain privileges",
                "every system call",
                "every device node"
            ]
        );
        assert!(!of("lxc.cap.drop = sys_boot").contains(&Right::Capability(Capability::SysBoot)));
    }

    #[test]
    fn who_gives_up_users_of_its_own_shares_those_of_the_device() {
        let own = CONFINES.replace("keep = user net", "keep = net");
        let mapped = |first: u32| alloc::format!("{own}lxc.idmap = b 0 {first} 65536\n");
        let gained = |wanted: &str, had: &str| lines(&beyond(&of(wanted), &of(had))).join("; ");
        for shared in [CONFINES, &own] {
            assert_eq!(gained(&mapped(1_000_000), shared), "");
            assert_eq!(gained(shared, &mapped(1_000_000)), "shares with the device user");
        }
        assert_eq!(gained(&mapped(2_000_000), &mapped(1_000_000)), "", "another range is no more");
        assert_eq!(
            gained(&mapped(1000), &mapped(1_000_000)),
            "shares with the device user",
            "the device's own numbers"
        );
        assert!(beyond(&of(&mapped(1_000_000)), &confined()).is_empty());
    }

    #[test]
    fn what_a_manifest_asks_for_is_a_right_and_a_pool_is_no_network_of_the_device() {
        let of = |members: &str, config: &str| {
            let name = crate::path::ContainerName::parse("web").unwrap();
            let text = alloc::format!(r#"{{"name":"web"{members}}}"#);
            let manifest = Manifest::parse(&name, &text, &mut Vec::new()).unwrap();
            super::of(&manifest, Some(&Config::parse(config.as_bytes()).unwrap()), false)
        };
        let gains = |members: &str, had: &str| lines(&beyond(&of(members, CONFINES), &of(had, CONFINES))).join("; ");
        let pool = r#","network":{"pool":"apps"},"ports":["80:80","127.0.0.1:53:5353/udp"]"#;
        let told = "is in the pool apps; publishes 80/tcp of the device; publishes 127.0.0.1:53/udp of the device";
        assert_eq!(gains(pool, ""), told);
        assert_eq!(gains("", pool), "shares with the device net");
        assert_eq!(gains(r#","network":{"pool":"apps"},"ports":["80:8080"]"#, pool), "", "another port of its own");
        assert_eq!(gains(&pool.replace("80:80", "81:80"), pool), "publishes 81/tcp of the device");
        let drivers = |required: &str, manual: &str| {
            alloc::format!(r#","drivers":{{"required":[{required}],"optional":[],"manual":[{manual}]}}"#)
        };
        assert_eq!(gains(&drivers(r#""wifi""#, ""), ""), "loads the driver wifi");
        assert_eq!(gains(&drivers("", r#""wifi""#), &drivers(r#""wifi""#, "")), "", "whenever it is loaded");
        let raw = "lxc.cap.keep = net_raw\nlxc.namespace.keep = net\n";
        assert!(of("", raw).contains(&Right::Hears) && !of(pool, raw).contains(&Right::Hears));
    }

    #[test]
    fn an_interface_of_the_device_is_a_right_and_all_of_it_is_the_most() {
        let net = |kind: &str, link: &str, more: &str| {
            let lines = alloc::format!("lxc.net.0.type = {kind}\nlxc.net.0.link = {link}\n");
            [CONFINES.replace("net\n", "\n").as_str(), &lines, more].concat()
        };
        let gains = |wanted: &str, had: &str| lines(&beyond(&of(wanted), &of(had))).join("; ");
        let own = CONFINES.replace("user net", "user");
        assert_eq!(gains(&net("veth", "br0", ""), &own), "is on the bridge br0 of the device");
        assert_eq!(gains(&net("macvlan", "eth0", ""), &own), "is on the wire of eth0 of the device");
        let vlan = net("vlan", "eth0", "lxc.net.0.vlan.id = 7");
        assert_eq!(gains(&vlan, &own), "is in VLAN 7 on the wire of eth0 of the device");
        let phys = net("phys", "eth0", "");
        assert_eq!(gains(&phys, &own), "takes the interface eth0 from the device");
        let passthru = net("macvlan", "eth0", "lxc.net.0.macvlan.mode = passthru");
        assert_eq!(gains(&passthru, &phys), "");
        for less in [&vlan, &net("macvlan", "eth0", ""), &passthru] {
            assert_eq!(gains(less, &phys), "");
        }
        assert_eq!(gains(&net("phys", "eth1", ""), &phys), "takes the interface eth1 from the device");
        assert!(!gains(&phys, &vlan).is_empty() && !gains(&vlan, &net("macvlan", "eth0", "")).is_empty());
        // A network of its own with a wire in it is not the device's, which it could share.
        assert!(gains(&net("veth", "br0", ""), CONFINES).starts_with("is on the bridge"));
    }

    #[test]
    fn ports_cover_those_between_at_their_address() {
        for text in ["80/tcp", "8000-8999/udp", "10.0.0.1:1-65535/tcp"] {
            assert_eq!(alloc::format!("{}", Ports::parse(text).unwrap()), text);
        }
        assert_eq!(Ports::parse("80"), Ports::parse("80/tcp"));
        for text in ["", "0", "+80", "80-", "-80", "81-80", "80/sctp", "65536", "x:80", "80:80", ":80", "80 "] {
            assert_eq!(Ports::parse(text), None, "{text}");
        }
        let covers = |one: &str, other: &str| {
            let right = |text: &str| Right::Publishes(Ports::parse(text).unwrap());
            right(one).covers(&right(other))
        };
        assert!(covers("8000-8999", "8080") && covers("80", "127.0.0.1:80") && covers("1-9/udp", "1-9/udp"));
        assert!(!covers("8080", "8000-8999") && !covers("127.0.0.1:80", "80") && !covers("1-9/udp", "5"));
        assert!(!covers("127.0.0.1:80", "127.0.0.2:80"));
    }

    #[test]
    fn who_has_more_gains_nothing_by_a_part_of_it() {
        let lose = |had: &str, wanted: &str| beyond(&of(wanted), &of(had)).is_empty();
        let path = |path: &str, options: &str| alloc::format!("lxc.mount.entry = {path} x none bind,{options} 0 0\n");
        assert!(lose(&path("/", "rw"), &path("/etc/x", "ro")));
        assert!(lose(&path("/etc/", "rw"), &path("/etc", "rw")));
        assert!(!lose(&path("/etc", "ro"), &path("/etc", "rw")));
        assert!(!lose(&path("/etc", "rw"), &path("/etcetera", "ro")));
        let rule = |rule: &str| alloc::format!("lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = {rule}\n");
        assert!(lose("", &rule("c 188:0 rw")));
        assert!(lose(&rule("c 188:* rw"), &rule("c 188:0 r")));
        assert!(!lose(&rule("c 188:0 r"), &rule("c 188:0 rw")));
        assert!(!lose(&rule("c 188:0 rw"), &rule("c 188:* rw")));
        assert!(!lose(&rule("c 188:0 rw"), &rule("b 188:0 rw")));
    }
}
