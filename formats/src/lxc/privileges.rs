//! What a container may do to the device, in words: read from its configuration, and from nothing else.
//!
//! ```text
//!   user 1000, group 1000
//!   capabilities chown kill                     shares with the device net
//!   programs cannot gain privileges             writes to /run/dbus of the device
//! ```
//!
//! Workstation and device say it with the same words, so that two of them can be compared line by line. The first four
//! lines are always there, in this order; each of the others is one right more. Takes the lines of [`lines`](super::lines),
//! from which what was taken back is gone.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{AutoMount, Config, DeviceKind, DeviceRule, Item, MountEntry, MountOption, Namespace, rights};

/// What is said where no filter of system calls is loaded.
pub const EVERY_CALL: &str = "every system call";

/// The file of the filter of system calls, if there is one.
#[must_use]
pub fn filter(config: &Config) -> Option<&str> {
    config.items().rev_find(|item| if let Item::SeccompProfile(file) = item { Some(file.as_str()) } else { None })
}

/// What the lines of a configuration allow, a line each. What its filter leaves is another: see [`filter`].
#[must_use]
pub fn privileges(config: &Config) -> Vec<String> {
    let items = || config.items();
    let joined = |words: Vec<&str>| if words.is_empty() { "none".to_owned() } else { words.join(" ") };
    let uid = items().rev_find(|item| if let Item::InitUid(uid) = item { Some(*uid) } else { None }).unwrap_or(0);
    let gid = items().rev_find(|item| if let Item::InitGid(gid) = item { Some(*gid) } else { None }).unwrap_or(0);
    let kept: Option<Vec<&str>> = items().fold(None, |kept, item| match item {
        Item::CapKeep(list) => {
            Some(kept.unwrap_or_default().into_iter().chain(list.iter().map(|it| it.as_str())).collect())
        }
        _ => kept,
    });
    let dropped: Vec<&str> = items()
        .flat_map(|item| if let Item::CapDrop(list) = item { list.as_slice() } else { &[] })
        .map(|it| it.as_str())
        .collect();
    let shared = shared(config);
    let no_new = items().rev_find(|item| if let Item::NoNewPrivs(on) = item { Some(*on) } else { None });
    let mut lines = vec![
        format!("user {uid}, group {gid}"),
        format!(
            "capabilities {}",
            match (kept, dropped.is_empty()) {
                (Some(kept), _) => joined(kept),
                (None, true) => "all".to_owned(),
                (None, false) => format!("all but {}", joined(dropped)),
            }
        ),
        format!("shares with the device {}", joined(shared.iter().map(|it| it.as_str()).collect())),
        format!("programs {} gain privileges", if no_new == Some(true) { "cannot" } else { "can" }),
    ];
    lines.extend(root_of(config));
    lines.extend(nodes(config));
    lines.extend(rights::of_wires(config).iter().map(|right| format!("{right}")));
    for item in items() {
        match item {
            Item::MountAuto(list) => lines.extend(list.iter().filter_map(|one| match one {
                AutoMount::ProcRw => Some("writes to all of /proc".to_owned()),
                AutoMount::SysRw => Some("writes to all of /sys".to_owned()),
                _ => None,
            })),
            Item::Mount(entry) if entry.source.starts_with('/') && !is_its_own(entry) => {
                let writes = if entry.kernel_options().any(|option| option == "ro") { "sees" } else { "writes to" };
                let whose = if entry.source.starts_with("/exports/") { "" } else { " of the device" };
                lines.push(format!("{writes} {}{whose}", entry.source));
            }
            Item::Sysctl { name, value } => lines.push(format!("sets {name} to {value} for itself")),
            Item::OomScoreAdj(score @ ..0) => lines.push(format!("is spared when memory runs out ({score})")),
            Item::HookMount(path) => lines.push(format!("runs {path} of the device")),
            _ => {}
        }
    }
    lines
}

/// The namespaces of the device that it shares. Users are the device's unless others are said, whatever is said of the
/// namespace; and so is a network of the type `none`.
pub(super) fn shared(config: &Config) -> Vec<Namespace> {
    let items = || config.items();
    let said = items().rev_find(|item| match item {
        Item::NamespaceKeep(list) => Some(list.clone()),
        Item::NamespaceClone(own) => Some(SHARED.iter().copied().filter(|one| !own.contains(one)).collect()),
        _ => None,
    });
    let said = said.unwrap_or_default();
    let whole = super::wire::shares(items());
    let mapped = items().any(|item| matches!(item, Item::IdMap(_)));
    let shares = |one: &Namespace| match one {
        Namespace::User => !mapped,
        Namespace::Net => said.contains(one) || whole,
        other => said.contains(other),
    };
    SHARED.iter().copied().filter(shares).collect()
}

/// Who its root is outside, if its users are its own.
fn root_of(config: &Config) -> Option<String> {
    let mut maps = config.items().filter_map(|item| if let Item::IdMap(map) = item { Some(*map) } else { None });
    let root = maps.find(|map| map.has_users() && map.inside == 0)?;
    Some(format!("users of its own; its root is number {} of the device", root.outside))
}

/// The nodes that every container has: null, zero, full, random, urandom, tty, console, ptmx and the terminals of `pts`.
/// Character devices by major and minor number; `None` is any.
pub const USUAL_DEVICES: [(u32, Option<u32>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

/// Whether it has every device node, and the rules that make it less than that, or else more than the usual ones.
pub(super) fn devices(config: &Config) -> (bool, Vec<DeviceRule>) {
    let rules = config.items().filter_map(|item| match item {
        Item::Devices { allow, rule, .. } => Some((*allow, *rule)),
        _ => None,
    });
    let (mut all, mut others) = (true, Vec::new());
    for (allow, rule) in rules {
        match rule {
            DeviceRule::All => {
                all = allow;
                others.clear();
            }
            DeviceRule::Nodes { kind: DeviceKind::Character, major: Some(major), minor, .. }
                if !all && USUAL_DEVICES.contains(&(major, minor)) => {}
            DeviceRule::Nodes { .. } if all != allow => others.push(rule),
            // It takes back what another allowed, or a part of that: what is told is never less than there is.
            DeviceRule::Nodes { .. } => others.retain(|other| *other != rule),
        }
    }
    (all, others)
}

/// The device nodes that are left to it. Without a rule that is all of them.
fn nodes(config: &Config) -> Vec<String> {
    let (all, others) = devices(config);
    let others = others.iter().map(|rule| format!("{rule}"));
    match (all, others.len()) {
        (true, 0) => vec!["every device node".to_owned()],
        (true, _) => vec![format!("every device node but {}", others.collect::<Vec<_>>().join(", "))],
        (false, _) => others.map(|rule| format!("the device nodes {rule}")).collect(),
    }
}

/// All that can be shared.
pub(super) const SHARED: [Namespace; 6] =
    [Namespace::User, Namespace::Net, Namespace::Ipc, Namespace::Pid, Namespace::Uts, Namespace::Cgroup];

/// Whether a mount shows a container nothing but volumes of the revision, or itself.
fn is_its_own(entry: &MountEntry) -> bool {
    entry.source.starts_with("/volumes/") || entry.options.contains(&MountOption::Relative)
}

/// The last line of a kind counts.
trait LastOf<'a>: Iterator<Item = &'a Item> + Sized {
    fn rev_find<T>(self, pick: impl Fn(&'a Item) -> Option<T>) -> Option<T> {
        self.filter_map(pick).last()
    }
}

impl<'a, I: Iterator<Item = &'a Item>> LastOf<'a> for I {}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        privileges(&Config::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_configuration_without_a_line_leaves_everything_but_the_namespaces() {
        let plain = [
            "user 0, group 0",
            "capabilities all",
            "shares with the device user",
            "programs can gain privileges",
            "every device node",
        ];
        assert_eq!(said(""), plain);
        assert_eq!(filter(&Config::default()), None);
    }

    #[test]
    fn the_last_line_of_a_kind_counts_and_lists_of_capabilities_add_up() {
        let lines = said(
            "lxc.init.uid = 5\nlxc.init.uid = 7\nlxc.cap.keep = chown\nlxc.cap.keep = kill\nlxc.no_new_privs = 1\n\
             lxc.namespace.clone = pid ipc uts cgroup",
        );
        assert_eq!(lines[0], "user 7, group 0");
        assert_eq!(lines[1], "capabilities chown kill");
        assert_eq!(lines[2], "shares with the device user net");
        assert_eq!(lines[3], "programs cannot gain privileges");
        assert_eq!(said("lxc.cap.drop = mknod\nlxc.cap.drop = sys_boot")[1], "capabilities all but mknod sys_boot");
        assert_eq!(said("lxc.cap.keep = none")[1], "capabilities none");
    }

    #[test]
    fn each_further_right_is_a_line_of_its_own_and_volumes_are_none() {
        let lines = said(
            "lxc.cgroup.devices.allow = a\nlxc.mount.auto = proc:rw sys:rw\n\
             lxc.mount.entry = /run/dbus run/dbus none bind,create=dir 0 0\n\
             lxc.mount.entry = /etc/hosts etc/hosts none bind,ro,create=file 0 0\n\
             lxc.mount.entry = /volumes/web/data data none bind,create=dir 0 0\n\
             lxc.sysctl.net.ipv4.ip_forward = 1\nlxc.proc.oom_score_adj = -500",
        );
        assert_eq!(
            lines[4..],
            [
                "every device node",
                "writes to all of /proc",
                "writes to all of /sys",
                "writes to /run/dbus of the device",
                "sees /etc/hosts of the device",
                "sets net.ipv4.ip_forward to 1 for itself",
                "is spared when memory runs out (-500)",
            ]
        );
    }

    #[test]
    fn of_users_of_its_own_it_is_told_who_their_root_is() {
        let lines = said("lxc.idmap = u 0 1000000 65536\nlxc.idmap = g 0 2000000 65536\nlxc.cgroup.devices.deny = a\n");
        assert_eq!(lines[4..], ["users of its own; its root is number 1000000 of the device"]);
    }

    #[test]
    fn device_nodes_are_told_as_the_rules_leave_them_in_their_order() {
        let devices = |text: &str| said(text)[4..].join(";");
        let denied = "lxc.cgroup.devices.deny = a\n";
        let usual = "lxc.cgroup.devices.allow = c 1:3 rwm\nlxc.cgroup2.devices.allow = c 136:* rwm\n";
        assert_eq!(devices(&[denied, usual].concat()), "");
        let serial = "lxc.cgroup.devices.allow = c 188:0 rw\n";
        assert_eq!(devices(&[denied, usual, serial].concat()), "the device nodes c 188:0 rw");
        assert_eq!(devices(&[serial, denied].concat()), "");
        assert_eq!(devices(&[denied, serial, "lxc.cgroup.devices.deny = c 188:0 rw"].concat()), "");
        assert_eq!(devices("lxc.cgroup.devices.deny = b 8:* rwm"), "every device node but b 8:* rwm");
        assert_eq!(devices(&[denied, "lxc.cgroup.devices.allow = a"].concat()), "every device node");
    }

    #[test]
    fn what_is_shared_is_told_as_it_is_and_not_as_it_was_said() {
        let shares = |text: &str| said(text)[2].clone();
        let map = "lxc.idmap = b 0 1000000 65536\n";
        assert_eq!(shares("lxc.namespace.keep = net"), "shares with the device user net");
        assert_eq!(shares("lxc.namespace.keep = ipc net user"), "shares with the device user net ipc");
        assert_eq!(shares("lxc.net.0.type = none"), "shares with the device user net");
        assert_eq!(shares("lxc.net.0.type = none\nlxc.net.0.type = empty"), "shares with the device user");
        assert_eq!(shares(&[map, "lxc.namespace.keep = net"].concat()), "shares with the device net");
        assert_eq!(shares(map), "shares with the device none");
    }

    #[test]
    fn each_interface_that_is_on_a_wire_of_the_device_is_told() {
        let lines = said(
            "lxc.cgroup.devices.deny = a\nlxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.1.type = phys\n\
             lxc.net.1.link = eth1\nlxc.net.2.type = macvlan\nlxc.net.2.link = eth0\nlxc.net.3.type = vlan\n\
             lxc.net.3.link = eth0\nlxc.net.3.vlan.id = 7\n",
        );
        assert_eq!(lines[2], "shares with the device user");
        assert_eq!(
            lines[4..],
            [
                "is on the bridge br0 of the device",
                "takes the interface eth1 from the device",
                "is on the wire of eth0 of the device",
                "is in VLAN 7 on the wire of eth0 of the device",
            ]
        );
    }

    #[test]
    fn the_last_filter_is_the_one_that_is_loaded() {
        let config = Config::parse(b"lxc.seccomp.profile = a.bpf\nlxc.seccomp.profile = b.bpf").unwrap();
        assert_eq!(filter(&config), Some("b.bpf"));
    }
}
