//! Namespaces: of its own, those of the device, and users.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::table::How::{Calls, Inside, Unsayable, Wrong};
use crate::table::{Case, PLAIN};
use crate::world::{STAYS, Seen, World, add, put, share};

const NAMESPACES: &str = "config-linux.md#namespaces";
const USERS: &str = "config-linux.md#user-namespace-mappings";

/// All of them, by the kernel's names.
const LINKS: &str = "for one in cgroup ipc mnt net pid user uts; do echo $one: $(readlink /proc/self/ns/$one); done";

/// Whether it is another one than that of the device.
fn own(seen: &Seen, kind: &str) -> bool {
    let here = std::fs::read_link(format!("/proc/self/ns/{kind}")).ok();
    match (here.as_deref().and_then(std::path::Path::to_str), seen.of(&format!("{kind}:"))) {
        (Some(here), Some(there)) => there.starts_with(kind) && here != there,
        _ => false,
    }
}

/// Whether it is the same.
fn inherited(seen: &Seen, kind: &str) -> bool {
    seen.of(&format!("{kind}:")).is_some_and(|there| there.starts_with(kind)) && !own(seen, kind)
}

macro_rules! of_its_own {
    ($name:literal, $kind:literal, $link:literal) => {
        Case {
            name: $name,
            section: NAMESPACES,
            how: Inside { with: PLAIN, without: |c| share(c, $kind), script: LINKS, holds: |seen| own(seen, $link) },
        }
    };
}

macro_rules! of_the_device {
    ($name:literal, $kind:literal, $link:literal) => {
        Case {
            name: $name,
            section: NAMESPACES,
            how: Inside {
                with: |c| share(c, $kind),
                without: PLAIN,
                script: LINKS,
                holds: |seen| inherited(seen, $link),
            },
        }
    };
}

pub(crate) const ALL: &[Case] = &[
    of_its_own!("linux_ns_nopath/cgroup", "cgroup", "cgroup"),
    of_its_own!("linux_ns_nopath/ipc", "ipc", "ipc"),
    of_its_own!("linux_ns_nopath/network", "network", "net"),
    of_its_own!("linux_ns_nopath/pid", "pid", "pid"),
    of_its_own!("linux_ns_nopath/uts", "uts", "uts"),
    Case { name: "linux_ns_nopath/mount", section: NAMESPACES, how: Calls(mounts) },
    Case {
        name: "linux_ns_nopath/user",
        section: NAMESPACES,
        how: Inside { with: users, without: PLAIN, script: LINKS, holds: |seen| own(seen, "user") },
    },
    of_the_device!("linux_ns_itype/cgroup", "cgroup", "cgroup"),
    of_the_device!("linux_ns_itype/ipc", "ipc", "ipc"),
    of_the_device!("linux_ns_itype/network", "network", "net"),
    of_the_device!("linux_ns_itype/pid", "pid", "pid"),
    of_the_device!("linux_ns_itype/uts", "uts", "uts"),
    Case {
        name: "linux_ns_itype/user",
        section: NAMESPACES,
        how: Inside { with: PLAIN, without: users, script: LINKS, holds: |seen| inherited(seen, "user") },
    },
    Case {
        name: "linux_ns_itype/mount",
        section: NAMESPACES,
        how: Unsayable { with: |c| share(c, "mount"), words: "mounts are always the container's own" },
    },
    Case {
        name: "linux_ns_path",
        section: NAMESPACES,
        how: Unsayable {
            with: |c| {
                share(c, "network");
                add(c, "/linux/namespaces", json!({"type": "network", "path": "/proc/1/ns/net"}));
            },
            words: "lxc.namespace.share",
        },
    },
    Case {
        name: "linux_ns_path_type",
        section: NAMESPACES,
        how: Unsayable {
            with: |c| {
                share(c, "ipc");
                add(c, "/linux/namespaces", json!({"type": "ipc", "path": "/proc/1/ns/net"}));
            },
            words: "lxc.namespace.share",
        },
    },
    Case {
        name: "linux_ns_nopath/twice",
        section: NAMESPACES,
        how: Wrong { with: |c| add(c, "/linux/namespaces", json!({"type": "pid"})), words: "twice" },
    },
    Case {
        name: "linux_ns_nopath/time",
        section: NAMESPACES,
        how: Unsayable { with: |c| add(c, "/linux/namespaces", json!({"type": "time"})), words: "time" },
    },
    Case {
        name: "linux_uid_mappings",
        section: USERS,
        how: Inside {
            with: users,
            without: PLAIN,
            script: "echo users: $(cat /proc/self/uid_map); id -u; stat -c 'owner %u:%g' /data/file",
            holds: |seen| seen.says("users: 0 100000 1000 1000 300000 10") && seen.says("0") && seen.says("owner 0:0"),
        },
    },
    Case {
        name: "linux_gid_mappings",
        section: USERS,
        how: Inside {
            with: users,
            without: PLAIN,
            script: "echo groups: $(cat /proc/self/gid_map); id -g",
            holds: |seen| seen.says("groups: 0 200000 1000") && seen.says("0"),
        },
    },
    Case {
        name: "linux_uid_mappings/of-the-device",
        section: USERS,
        how: Wrong {
            with: |c| put(c, "/linux/uidMappings", json!([{"containerID": 0, "hostID": 1, "size": 1}])),
            words: "no user namespace",
        },
    },
    Case {
        name: "linux_uid_mappings/overlapping",
        section: USERS,
        how: Wrong {
            with: |c| {
                users(c);
                add(c, "/linux/uidMappings", json!({"containerID": 5, "hostID": 1, "size": 1}));
            },
            words: "lxc.idmap",
        },
    },
];

fn users(config: &mut Value) {
    add(config, "/linux/namespaces", json!({"type": "user"}));
    let map = |inside: u32, outside: u32, size: u32| json!({"containerID": inside, "hostID": outside, "size": size});
    put(config, "/linux/uidMappings", json!([map(0, 100_000, 1000), map(1000, 300_000, 10)]));
    put(config, "/linux/gidMappings", json!([map(0, 200_000, 1000)]));
}

/// They are always its own, so there is no container without: two of them have two, and neither is that of the device.
fn mounts(world: &mut World) -> Result<Option<String>> {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let id = world.start_and_wait(PLAIN, STAYS)?;
        let pid = world.front.running(&id)?.pid.as_raw_pid();
        seen.push(std::fs::read_link(format!("/proc/{pid}/ns/mnt"))?);
    }
    seen.push(std::fs::read_link("/proc/self/ns/mnt")?);
    let different: std::collections::BTreeSet<_> = seen.iter().collect();
    ensure!(different.len() == 3, "{seen:?}");
    Ok(None)
}
