//! `linux.resources`: what its group may use up, in the words of either generation of cgroups.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use container::launch::DEV_NODES;

use super::Translated;
use crate::document::Document;
use crate::spec::{DeviceRule, HugePages, Priority, Throttle, Weight};

/// Numbers that are one line each.
const NUMBERS: &[(&str, &str)] = &[
    ("memory/limit", "lxc.cgroup.memory.limit_in_bytes"),
    ("memory/reservation", "lxc.cgroup.memory.soft_limit_in_bytes"),
    ("memory/swap", "lxc.cgroup.memory.memsw.limit_in_bytes"),
    ("memory/kernel", "lxc.cgroup.memory.kmem.limit_in_bytes"),
    ("memory/kernelTCP", "lxc.cgroup.memory.kmem.tcp.limit_in_bytes"),
    ("memory/swappiness", "lxc.cgroup.memory.swappiness"),
    ("cpu/shares", "lxc.cgroup.cpu.shares"),
    ("cpu/quota", "lxc.cgroup.cpu.cfs_quota_us"),
    ("cpu/period", "lxc.cgroup.cpu.cfs_period_us"),
    ("cpu/burst", "lxc.cgroup.cpu.cfs_burst_us"),
    ("cpu/idle", "lxc.cgroup.cpu.idle"),
    ("cpu/realtimeRuntime", "lxc.cgroup.cpu.rt_runtime_us"),
    ("cpu/realtimePeriod", "lxc.cgroup.cpu.rt_period_us"),
    ("pids/limit", "lxc.cgroup.pids.max"),
    ("blockIO/weight", "lxc.cgroup.blkio.weight"),
    ("blockIO/leafWeight", "lxc.cgroup.blkio.leaf_weight"),
    ("network/classID", "lxc.cgroup.net_cls.classid"),
];

/// What every container may use besides: terminals.
const TERMINALS: [&str; 2] = ["c 5:2 rwm", "c 136:* rwm"];

pub(super) fn translate(document: &mut Document, all: &mut Translated) -> Result<()> {
    for (member, key) in NUMBERS {
        if let Some(number) = document.take::<i64>(&format!("/linux/resources/{member}"))? {
            // The least number of processes, and no limit.
            let none = *member == "pids/limit" && number <= 0;
            all.say(key, if none { "max".to_owned() } else { number.to_string() });
        }
    }
    if document.take::<bool>("/linux/resources/memory/disableOOMKiller")? == Some(true) {
        all.say("lxc.cgroup.memory.oom_control", 1);
    }
    for member in ["useHierarchy", "checkBeforeUpdate"] {
        // The kernel does the first whatever is said; the second is about changes of what runs.
        document.take::<bool>(&format!("/linux/resources/memory/{member}"))?;
    }
    for (member, key) in [("cpus", "lxc.cgroup.cpuset.cpus"), ("mems", "lxc.cgroup.cpuset.mems")] {
        if let Some(list) = document.take::<String>(&format!("/linux/resources/cpu/{member}"))? {
            all.say(key, list);
        }
    }
    disks(document, all)?;
    for limit in document.take::<Vec<HugePages>>("/linux/resources/hugepageLimits")?.unwrap_or_default() {
        // Unlike most limits this one has no word for both generations.
        let key = if Path::new("/sys/fs/cgroup/hugetlb").is_dir() {
            format!("lxc.cgroup.hugetlb.{}.limit_in_bytes", limit.page_size)
        } else {
            format!("lxc.cgroup2.hugetlb.{}.max", limit.page_size)
        };
        all.say(&key, limit.limit);
    }
    let priorities: Vec<Priority> = document.take("/linux/resources/network/priorities")?.unwrap_or_default();
    for priority in priorities {
        all.say("lxc.cgroup.net_prio.ifpriomap", format!("{} {}", priority.name, priority.priority));
    }
    for (file, value) in document.take::<BTreeMap<String, String>>("/linux/resources/unified")?.unwrap_or_default() {
        all.say(&format!("lxc.cgroup2.{file}"), value);
    }
    devices(&document.take::<Vec<DeviceRule>>("/linux/resources/devices")?.unwrap_or_default(), all)
}

fn disks(document: &mut Document, all: &mut Translated) -> Result<()> {
    for one in document.take::<Vec<Weight>>("/linux/resources/blockIO/weightDevice")?.unwrap_or_default() {
        let of = format!("{}:{}", one.major, one.minor);
        let weights = [("weight_device", one.weight), ("leaf_weight_device", one.leaf_weight)];
        if weights.iter().all(|(_, weight)| weight.is_none()) {
            bail!("/linux/resources/blockIO/weightDevice: {of} has neither weight nor leafWeight");
        }
        for (file, weight) in weights {
            weight.iter().for_each(|weight| all.say(&format!("lxc.cgroup.blkio.{file}"), format!("{of} {weight}")));
        }
    }
    for (member, file) in [
        ("throttleReadBpsDevice", "read_bps_device"),
        ("throttleWriteBpsDevice", "write_bps_device"),
        ("throttleReadIOPSDevice", "read_iops_device"),
        ("throttleWriteIOPSDevice", "write_iops_device"),
    ] {
        let rates: Option<Vec<Throttle>> = document.take(&format!("/linux/resources/blockIO/{member}"))?;
        for rate in rates.unwrap_or_default() {
            let value = format!("{}:{} {}", rate.major, rate.minor, rate.rate);
            all.say(&format!("lxc.cgroup.blkio.throttle.{file}"), value);
        }
    }
    Ok(())
}

/// The rules in their order, and then what the specification gives to every container.
fn devices(rules: &[DeviceRule], all: &mut Translated) -> Result<()> {
    for rule in rules {
        let kind = match rule.kind.as_deref() {
            None | Some("a") => "a",
            Some("b") => "b",
            Some("c" | "u") => "c",
            Some(other) => bail!("/linux/resources/devices: {other:?} is no kind of device"),
        };
        let number = |number: Option<i64>| match number {
            None | Some(-1) => "*".to_owned(),
            Some(number) => number.to_string(),
        };
        let access = rule.access.as_deref().unwrap_or("rwm");
        let key = if rule.allow { "lxc.cgroup.devices.allow" } else { "lxc.cgroup.devices.deny" };
        let (major, minor) = (number(rule.major), number(rule.minor));
        all.say(key, format!("{kind} {major}:{minor} {access}"));
    }
    if !rules.is_empty() {
        let nodes = DEV_NODES.iter().map(|(_, major, minor)| format!("c {major}:{minor} rwm"));
        nodes.for_each(|node| all.say("lxc.cgroup.devices.allow", node));
        TERMINALS.iter().for_each(|node| all.say("lxc.cgroup.devices.allow", node));
    }
    Ok(())
}
