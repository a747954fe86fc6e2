//! Every key of `lxc.container.conf(5)`, and one of our own, and what becomes of it here.
//!
//! | | a line with it |
//! |---|---|
//! | [`HONOURED`] | does what LXC says it does |
//! | [`IGNORED`] | is accepted and has no effect; a person is told, but of the terminals that every template asks for |
//! | [`REFUSED`] | makes the container impossible: passing over it would confine less than its maker has signed, or run less |
//!
//! Any other key is an error with its line. Keys of LXC before 3.0 are among the refused, since LXC itself reads none.
//! Of the three, a device carries the last two only; the first is for documents, and its tests keep it true.

use alloc::string::String;

use super::{Item, LxcWrong};

/// A key that is honoured.
pub struct Honoured {
    /// The key; `*` stands for a part of the user's choosing.
    pub key: &'static str,
    /// A line that is accepted.
    pub example: &'static str,
    /// What it does.
    pub does: &'static str,
}

/// A key without effect.
pub struct Ignored {
    /// The key; a `*` at its end stands for any rest.
    pub key: &'static str,
    /// The only values that can be passed over; empty: all.
    pub values: &'static [&'static str],
    /// Why it has no effect.
    pub why: &'static str,
}

/// A key that no container may have.
pub struct Refused {
    /// The key; a `*` stands for one part, and at its end for any rest.
    pub key: &'static str,
    /// Why, and what to write instead.
    pub why: &'static str,
}

const fn row(key: &'static str, example: &'static str, does: &'static str) -> Honoured {
    Honoured { key, example, does }
}

/// What is honoured, in the order of the manual.
pub const HONOURED: &[Honoured] = &[
    row("lxc.include", "extra.conf", "the lines of another file of the same container, in this place"),
    row("lxc.uts.name", "web", "its host name, if `run.json` does not say one"),
    row("lxc.signal.halt", "SIGRTMIN+3", "what asks it to end; else the signal that its first process waits for"),
    row("lxc.init.cmd", "/sbin/init", "its first process, split at blanks; quotes keep words together"),
    row(
        "lxc.hook.start",
        "/bin/prepare",
        "a program of its own, run in it and with its rights before its first process",
    ),
    row(
        "lxc.hook.mount",
        "/lib/remount",
        "only `export.sh`, `mdev.sh`, `remount`: what these do is part of the device",
    ),
    row("lxc.init.cwd", "/srv", "where that starts"),
    row("lxc.init.uid", "33", "as whom"),
    row("lxc.init.gid", "33", "in which group"),
    row("lxc.init.groups", "4,27", "in which further groups"),
    row("lxc.environment", "A=B", "a variable; nothing is inherited from the device"),
    row("lxc.pty.max", "1024", "the most pseudo-terminals"),
    row(
        "lxc.console.path",
        "none",
        "its output is discarded; else it goes to its log, by way of a terminal if it is a system",
    ),
    row("lxc.autodev", "1", "a small `/dev` of its own, as without the line; `0` leaves that to the image"),
    row("lxc.autodev.tmpfs.size", "500000", "the most bytes in it"),
    row("lxc.mount.entry", "/volumes/web/data data none bind,create=dir 0 0", "a mount, as described above"),
    row("lxc.mount.fstab", "fstab", "mounts from another file of the same container"),
    row("lxc.mount.auto", "proc:mixed sys:ro cgroup", "the kernel's file systems; `:force` changes nothing"),
    row(
        "lxc.rootfs.path",
        "overlayfs:/volumes/web/root.squashfs:/volumes/web/lxc-overlay/upper",
        "its root: layers and where changes go; or one volume, which is read-only then",
    ),
    row("lxc.cgroup.devices.*", "c 1:3 rwm", "which device nodes can be used (`allow`, `deny`)"),
    row("lxc.cgroup.*", "10M", "a limit in the words of cgroups v1, set in the generation that the kernel has"),
    row("lxc.cgroup2.*", "10M", "a limit in the words of cgroups v2, set in the generation that the kernel has"),
    row(
        "cairn.optional",
        "lxc.cgroup2.pids.max",
        "that limit, said above, is left out with a warning where the kernel lacks its controller; a key that LXC passes over",
    ),
    row("lxc.cap.drop", "sys_admin", "capabilities that nothing in it can have"),
    row("lxc.cap.keep", "net_bind_service chown", "the only ones that it can have; `none`"),
    row("lxc.no_new_privs", "1", "no program in it gains rights by set-user-id or file capabilities"),
    row("lxc.seccomp.profile", "seccomp.bpf", "a compiled filter of system calls: another file of the same container"),
    row("lxc.namespace.keep", "user net", "what it shares with the device; mounts are always its own"),
    row("lxc.namespace.clone", "pid mnt uts ipc cgroup", "what is its own; everything else is shared"),
    row(
        "lxc.idmap",
        "u 0 1000000 65536",
        "users (`u`), groups (`g`) or both (`b`) of its own, and who they are on the device",
    ),
    row(
        "lxc.net.*.type",
        "veth",
        "`none`: the device's network; `empty`: loopback and nothing else; `veth`, `macvlan`, `vlan`, `phys`: as described above",
    ),
    row("lxc.net.*.flags", "up", "it is brought up; else its programs do so. `empty` is up without it"),
    row(
        "lxc.net.*.link",
        "br0",
        "the bridge of the device that it is on, the interface whose wire it is on, or that it is",
    ),
    row(
        "lxc.net.*.name",
        "lan0",
        "what it is called in the container; else `eth0`, `eth1`, …, and `phys` as on the device",
    ),
    row("lxc.net.*.hwaddr", "02:00:0a:00:03:07", "its Ethernet address, written out"),
    row("lxc.net.*.mtu", "1400", "its longest packet, in bytes"),
    row("lxc.net.*.veth.pair", "web0", "what the other end of a `veth` is called on the device"),
    row("lxc.net.*.veth.mode", "bridge", "nothing more: `bridge` is what a `veth` has"),
    row(
        "lxc.net.*.macvlan.mode",
        "bridge",
        "who on the wire speaks to whom: `private` (as without the line), `vepa`, `bridge`, `passthru`",
    ),
    row("lxc.net.*.vlan.id", "7", "which number a `vlan` is marked with"),
    row(
        "lxc.net.*.ipv4.address",
        "10.0.3.7/24",
        "an address, with its prefix and, if you like, the one that means everybody; several add up",
    ),
    row(
        "lxc.net.*.ipv4.gateway",
        "10.0.3.1",
        "the way to everything else: a router, `auto` (the address of the device there) or `dev`",
    ),
    row("lxc.net.*.ipv6.address", "fd00::7/64", "likewise; a prefix that is not said is 64"),
    row("lxc.net.*.ipv6.gateway", "fd00::1", "likewise"),
    row("lxc.prlimit.*", "1024:4096", "a limit of each process: soft, hard, or both in one; `unlimited`"),
    row("lxc.sysctl.*", "1", "a setting of the kernel that belongs to a namespace of its own"),
    row("lxc.proc.oom_score_adj", "100", "how readily the kernel ends it when memory runs out, -1000 to 1000"),
];

const fn ignored(key: &'static str, why: &'static str) -> Ignored {
    Ignored { key, values: &[], why }
}

const fn only(key: &'static str, values: &'static [&'static str], why: &'static str) -> Ignored {
    Ignored { key, values, why }
}

const LOGGED: &str = "what it writes is in the log of the device";
const NO_MONITOR: &str = "no process stands between the device and a container";
const NO_STORE: &str = "the revision says what is kept";
const OWN_GROUP: &str = "its group has its name";
const BY_GROUPS: &str = "the groups of the revision say when it starts";
const NO_TERMINALS: &str = "no terminals are lent";

/// What has no effect.
pub const IGNORED: &[Ignored] = &[
    ignored("lxc.arch", "the kernel runs whatever it can"),
    only("lxc.signal.stop", &["SIGKILL", "KILL", "9"], "what does not end in time is killed, by no other signal"),
    ignored("lxc.signal.reboot", "restarting is ending and starting"),
    ignored("lxc.execute.cmd", "it is for lxc-execute; write lxc.init.cmd"),
    ignored("lxc.tty.max", NO_TERMINALS),
    ignored("lxc.tty.min", NO_TERMINALS),
    ignored("lxc.tty.dir", NO_TERMINALS),
    ignored("lxc.console.logfile", LOGGED),
    ignored("lxc.console.rotate", LOGGED),
    ignored("lxc.console.size", LOGGED),
    ignored("lxc.console.buffer.size", LOGGED),
    ignored("lxc.log.file", "nothing would write it"),
    ignored("lxc.log.level", "the device has its own"),
    ignored("lxc.log.syslog", LOGGED),
    ignored("lxc.ephemeral", NO_STORE),
    ignored("lxc.start.*", BY_GROUPS),
    ignored("lxc.group", BY_GROUPS),
    ignored("lxc.monitor.*", NO_MONITOR),
    ignored("lxc.rootfs.mount", "the device chooses the place, which nobody sees"),
    ignored("lxc.rootfs.managed", NO_STORE),
    ignored("lxc.cgroup.relative", OWN_GROUP),
    ignored("lxc.cgroup.dir", OWN_GROUP),
    ignored("lxc.cgroup.dir.*", OWN_GROUP),
    only("lxc.hook.version", &["0"], "a hook is told its container, `lxc` and `start` as further arguments"),
    ignored("lxc.hook.clone", "it is never cloned"),
    ignored("lxc.hook.destroy", "a revision goes as a whole"),
    only("lxc.apparmor.profile", &["unconfined", "unchanged"], "no AppArmor profile is applied"),
    ignored("lxc.apparmor.allow_nesting", "no AppArmor profile is applied"),
    ignored("lxc.apparmor.allow_incomplete", "no AppArmor profile is applied"),
    ignored("lxc.seccomp.allow_nesting", "filters add up, whoever loads them"),
    only("lxc.keyring.session", &["1"], "it always has a session keyring of its own"),
    only("lxc.sched.core", &["0"], "cores are not scheduled by container"),
];

const fn refused(key: &'static str, why: &'static str) -> Refused {
    Refused { key, why }
}

const OTHER_TYPE: &str = "the types of interfaces are veth, macvlan, vlan and phys; remove the line";
const BRIDGES: &str = "what happens on the device's side of a veth is its bridge's; remove the line";
const OLD: &str = "this is a spelling of LXC before 3.0, which lxc-update-config turns into the present one";
const SYSTEM: &str = "this belongs into LXC's own lxc.conf; remove the line";
const HOOK: &str = "no program of the device is run for a container; what lies in it can be run by lxc.hook.start";

/// What makes a container impossible.
pub const REFUSED: &[Refused] = &[
    refused("lxc.apparmor.raw", "no AppArmor profile is applied; remove the line"),
    refused("lxc.selinux.*", "no SELinux context is set; remove the line"),
    refused("lxc.seccomp.notify.*", "no process stands by to answer for a system call; remove the line"),
    refused("lxc.time.offset.*", "clocks are those of the device; remove the line"),
    refused("lxc.namespace.share.*", "namespaces are the container's own or the device's; remove the line"),
    refused("lxc.rootfs.options", "a root is mounted as the revision's images are; remove the line"),
    refused("lxc.proc.*", "of /proc/PID only oom_score_adj can be set; remove the line"),
    refused("lxc.hook.*", HOOK),
    refused("lxc.net.*.script.*", HOOK),
    refused("lxc.net.*.ipvlan.*", OTHER_TYPE),
    refused("lxc.net.*.l2proxy", OTHER_TYPE),
    refused("lxc.net.*.veth.vlan.*", BRIDGES),
    refused("lxc.net.*.veth.ipv4.*", BRIDGES),
    refused("lxc.net.*.veth.ipv6.*", BRIDGES),
    refused("lxc.net.*.veth.n_rxqueues", BRIDGES),
    refused("lxc.net.*.veth.n_txqueues", BRIDGES),
    refused("lxc.bdev.*", SYSTEM),
    refused("lxc.lxcpath", SYSTEM),
    refused("lxc.default_config", SYSTEM),
    refused("lxc.cgroup.pattern", SYSTEM),
    refused("lxc.cgroup.use", SYSTEM),
    refused("lxc.aa_allow_incomplete", OLD),
    refused("lxc.aa_profile", OLD),
    refused("lxc.console", OLD),
    refused("lxc.devttydir", OLD),
    refused("lxc.haltsignal", OLD),
    refused("lxc.id_map", OLD),
    refused("lxc.init_cmd", OLD),
    refused("lxc.init_gid", OLD),
    refused("lxc.init_uid", OLD),
    refused("lxc.kmsg", OLD),
    refused("lxc.limit.*", OLD),
    refused("lxc.logfile", OLD),
    refused("lxc.loglevel", OLD),
    refused("lxc.mount", OLD),
    refused("lxc.network.*", OLD),
    refused("lxc.pts", OLD),
    refused("lxc.rebootsignal", OLD),
    refused("lxc.rootfs", OLD),
    refused("lxc.rootfs.backend", OLD),
    refused("lxc.se_context", OLD),
    refused("lxc.seccomp", OLD),
    refused("lxc.stopsignal", OLD),
    refused("lxc.syslog", OLD),
    refused("lxc.tty", OLD),
    refused("lxc.utsname", OLD),
];

/// Whether a key is the one of a row, or one of its family.
fn is(key: &str, row: &str) -> bool {
    if let Some((head, tail)) = row.split_once(".*.") {
        let rest = key.strip_prefix(head).and_then(|rest| rest.strip_prefix('.')).and_then(|rest| rest.split_once('.'));
        return rest.is_some_and(|(_, rest)| is(rest, tail));
    }
    match row.strip_suffix('*') {
        Some(family) => key.strip_prefix(family).is_some_and(|rest| !rest.is_empty()),
        None => key == row,
    }
}

/// What becomes of a key that is not honoured; `None` if nobody knows it.
pub(super) fn find(key: &str, value: &str) -> Option<Result<Item, LxcWrong>> {
    if let Some(row) = IGNORED.iter().find(|row| is(key, row.key)) {
        return Some(if row.values.is_empty() || row.values.contains(&value) {
            Ok(Item::Ignored { key: key.into(), value: String::from(value), why: row.why })
        } else {
            Err(LxcWrong::Only { values: row.values, why: row.why })
        });
    }
    REFUSED.iter().find(|row| is(key, row.key)).map(|row| Err(LxcWrong::Refused(row.why)))
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;
    use crate::lxc::Config;

    /// A key of a row with something in the place of `*`.
    fn some(row: &str) -> String {
        let part = match row {
            "lxc.cgroup.devices.*" => "allow",
            "lxc.cgroup.*" => "memory.limit_in_bytes",
            "lxc.cgroup2.*" => "memory.max",
            net if net.starts_with("lxc.net.*.") => "0",
            "lxc.prlimit.*" => "nofile",
            "lxc.sysctl.*" => "net.ipv4.ip_forward",
            _ => "x",
        };
        row.replace('*', part)
    }

    #[test]
    fn every_key_that_is_said_to_be_honoured_is_read_and_has_a_value_of_its_own() {
        for row in HONOURED {
            let line = format!("{} = {}", some(row.key), row.example);
            let config = Config::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(!matches!(config.lines[0].item, Item::Ignored { .. }), "{line}");
            assert_eq!(config.to_text().unwrap().trim_end(), line);
        }
    }

    #[test]
    fn every_key_that_the_reader_knows_stands_in_one_table() {
        let source = include_str!("item.rs");
        let known = source.split('"').filter(|text| {
            text.strip_prefix("lxc.").is_some_and(|rest| {
                !rest.is_empty()
                    && rest.bytes().all(|byte| byte.is_ascii_lowercase() || b"._0123456789".contains(&byte))
            })
        });
        let rows: Vec<&str> = HONOURED.iter().map(|row| row.key).chain(IGNORED.iter().map(|row| row.key)).collect();
        let mut found = 0;
        for key in known {
            // Families stand in the source with their beginning only.
            let row = rows.iter().any(|row| is(key, row) || row.starts_with(key));
            assert!(row, "{key} is read by item.rs and stands in no table");
            found += 1;
        }
        assert!(found > 30, "{found}");
    }

    #[test]
    fn no_key_stands_in_two_tables() {
        let mut keys: Vec<&str> = HONOURED.iter().map(|row| row.key).collect();
        keys.extend(IGNORED.iter().map(|row| row.key));
        keys.extend(REFUSED.iter().map(|row| row.key));
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn what_has_no_effect_is_accepted_and_says_why() {
        for row in IGNORED {
            let value = row.values.first().copied().unwrap_or("8");
            let line = format!("{} = {value}", some(row.key));
            let config = Config::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(config.to_text().unwrap().trim_end(), line);
            if !row.values.is_empty() {
                let error = Config::parse(format!("{} = other", row.key).as_bytes()).unwrap_err().to_string();
                assert!(error.contains(row.why) && error.contains(value), "{error}");
            }
        }
    }

    #[test]
    fn what_is_refused_says_why() {
        for row in REFUSED {
            let error = Config::parse(format!("{} = x", some(row.key)).as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), format!("line 1: {}: {}", some(row.key), row.why));
        }
    }
}
