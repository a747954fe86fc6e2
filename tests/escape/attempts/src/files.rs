//! What the kernel shows and takes as files.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use crate::mounts::writable;
use crate::{Attempt, End, Told, Tried};

pub(crate) const ALL: &[Attempt] = &[
    ("core-pattern", |_| writable("/proc/sys/kernel/core_pattern")),
    ("module-helper", |_| writable("/proc/sys/kernel/modprobe")),
    ("poweroff-helper", |_| writable("/proc/sys/kernel/poweroff_cmd")),
    ("panic-setting", |_| writable("/proc/sys/kernel/panic")),
    ("drop-caches", |_| writable("/proc/sys/vm/drop_caches")),
    ("sysrq-setting", |_| writable("/proc/sys/kernel/sysrq")),
    ("sysrq-trigger", |_| writable("/proc/sysrq-trigger")),
    ("interrupt-routing", |_| writable("/proc/irq/default_smp_affinity")),
    ("network-of-device-settings", |_| writable("/proc/sys/net/ipv4/ip_forward")),
    ("keys-of-device", |_| tells("/proc/keys")),
    ("timers-of-kernel", |_| tells("/proc/timer_list")),
    ("interrupts", |_| tells("/proc/interrupts")),
    ("memory-of-kernel", |_| tells("/proc/kcore")),
    ("firmware", firmware),
    ("huge-pages-setting", |_| writable("/sys/kernel/mm/transparent_hugepage/enabled")),
    ("uevent-helper", |_| writable("/sys/kernel/uevent_helper")),
    ("module-parameter", |_| writable("/sys/module/printk/parameters/time")),
    ("power-state", |_| writable("/sys/power/state")),
    ("disk-queue", disk_queue),
    ("cgroup-of-device", cgroup),
    ("group-below", group_below),
    ("own-limit", own_limit),
    ("own-depth", own_depth),
    ("xattr-trusted", trusted),
];

/// Whether there is anything in a file.
pub(crate) fn tells(path: &str) -> Tried {
    let mut file = match fs::File::open(path) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Err(End::Absent(format!("no {path}"))),
        opened => opened?,
    };
    if file.read(&mut [0; 64])? > 0 { Ok(()) } else { Err(End::Nothing("it is empty".into())) }
}

fn firmware(_: &Told) -> Tried {
    if !fs::exists("/sys/firmware")? {
        return Err(End::Absent("no /sys/firmware".into()));
    }
    let count = fs::read_dir("/sys/firmware")?.count();
    if count > 0 { Ok(()) } else { Err(End::Nothing("it is empty".into())) }
}

fn disk_queue(_: &Told) -> Tried {
    let disks = fs::read_dir("/sys/block")?.flatten();
    let queue = disks.map(|disk| disk.path().join("queue/read_ahead_kb")).find(|file: &PathBuf| file.exists());
    writable(queue.ok_or_else(|| End::Absent("no disk".into()))?)
}

/// Where on the device its group lies.
fn cgroup(_: &Told) -> Tried {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    match path {
        None => Err(End::Absent("no second generation of cgroups".into())),
        Some("/") => Err(End::Nothing("its group is the root of all".into())),
        Some(_) => Ok(()),
    }
}

fn group_below(_: &Told) -> Tried {
    let dir = "/sys/fs/cgroup/escaped";
    fs::create_dir(dir)?;
    Ok(fs::remove_dir(dir)?)
}

/// Takes a limit back. Where a tree is mounted with `nsdelegate`, the kernel does not let anybody do that from inside.
fn lift(told: &Told, path: &str) -> Tried {
    writable(path)?;
    match fs::write(path, "max") {
        Err(_) if told.text("nsdelegate")? == "yes" => Err(End::Absent("cgroups without nsdelegate".into())),
        done => Ok(done?),
    }
}

/// As many tasks as it likes: it takes the limit back, where it sees one, and has more than the limit was.
fn own_limit(told: &Told) -> Tried {
    lift(told, "/sys/fs/cgroup/pids.max")?;
    crate::ids::tasks(told)
}

/// How deep a container may divide its group is a limit that every kernel has, with controllers and without.
fn own_depth(told: &Told) -> Tried {
    lift(told, "/sys/fs/cgroup/cgroup.max.depth")?;
    let mut dirs = vec![PathBuf::from("/sys/fs/cgroup/x")];
    let made = loop {
        let Some(last) = dirs.last() else { break Ok(()) };
        match fs::create_dir(last) {
            Err(error) => break Err(error),
            Ok(()) if dirs.len() > 40 => break Ok(()),
            Ok(()) => dirs.push(last.join("x")),
        }
    };
    for dir in dirs.iter().rev() {
        // The last of them was refused.
        let _ = fs::remove_dir(dir);
    }
    Ok(made?)
}

/// What the kernel believes of whoever could write it: overlays keep their own words in such attributes.
fn trusted(_: &Told) -> Tried {
    use crate::sys::{Arg, call};
    fs::write("/data/file", "")?;
    let args = [Arg::S(c"/data/file"), Arg::S(c"trusted.cairn"), Arg::R(b"y"), Arg::N(1), Arg::N(0)];
    let set = call(libc::SYS_setxattr, args);
    fs::remove_file("/data/file")?;
    Ok(set.map(drop)?)
}
