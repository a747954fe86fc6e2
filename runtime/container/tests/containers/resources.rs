//! What a container may use up, what it uses, and which device nodes are left to it.

use std::fs;
use std::time::{Duration, Instant};

use container::cgroup::{self, Access, DeviceRule, Flow, Group, Limit, NodeKind, Nodes, Trees, Version};
use container::launch::{CgroupMode, SysMode};
use harness::{PATIENCE, Result, wait};
use rustix::fd::{AsRawFd, FromRawFd, OwnedFd};
use statemachine::container::Outcome;

use crate::world::{World, read_until};

const DENY_ALL: DeviceRule = DeviceRule { allow: false, nodes: Nodes::All };

/// A character device with the major number 1: null is 3, zero 5, full 7.
fn mem(allow: bool, minor: u32, read: bool, write: bool, mknod: bool) -> DeviceRule {
    let access = Access { read, write, mknod };
    DeviceRule { allow, nodes: Nodes::Some { kind: NodeKind::Character, major: Some(1), minor: Some(minor), access } }
}

/// Runs a script under device rules, on top of those for what the stage makes itself.
fn restricted(world: &World, rules: &[DeviceRule], script: &str) -> Result<String> {
    let group = world.ground.instance.create("one")?;
    let made = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0)].map(|(major, minor)| {
        let access = Access { read: false, write: false, mknod: true };
        let (major, minor) = (Some(major), Some(minor));
        DeviceRule { allow: true, nodes: Nodes::Some { kind: NodeKind::Character, major, minor, access } }
    });
    group.restrict(&[&[DENY_ALL], &made[..], rules].concat())?;
    let run = wait(world.start_in(&world.launch(script), &group)?)?;
    group.end(PATIENCE)?;
    run.output()
}

pub(crate) fn device_nodes_open_as_the_rules_say_and_no_further(world: &World) -> Result {
    let rules = [mem(true, 3, true, true, false), mem(true, 5, true, false, false), mem(true, 7, false, true, false)];
    let script = "for node in null zero full; do \
         head -c 0 /dev/$node 2>/dev/null && echo read $node; (true > /dev/$node) 2>/dev/null && echo write $node; \
         (true <> /dev/$node) 2>/dev/null && echo both $node; done; cat /dev/full 2>&1; true";
    let log = restricted(world, &rules, script)?;
    let expected = "read null\nwrite null\nboth null\nread zero\nwrite full\n\
         cat: can't open '/dev/full': Operation not permitted\n";
    assert_eq!(log, expected);
    // Two rules that share it out allow both at once, and the last one that speaks about it decides.
    let shared = [mem(true, 3, true, false, false), mem(true, 3, false, true, false), mem(false, 5, true, true, false)];
    assert_eq!(restricted(world, &shared, script)?, expected.replace("read zero\nwrite full\n", ""));
    Ok(())
}

pub(crate) fn a_node_is_made_only_where_making_is_allowed(world: &World) -> Result {
    let rules = [mem(true, 3, true, true, false), mem(true, 11, false, false, true)];
    let script = "mknod /tmp/log c 1 11 && echo made; cat /tmp/log 2>/dev/null || echo not read; \
         mknod /tmp/mem c 1 1 2>&1; mknod /tmp/block b 1 11 2>&1; mknod /tmp/pipe p && echo pipe";
    let log = restricted(world, &rules, script)?;
    let refused = |node| format!("mknod: /tmp/{node}: Operation not permitted\n");
    assert_eq!(log, format!("made\nnot read\n{}{}pipe\n", refused("mem"), refused("block")));
    Ok(())
}

pub(crate) fn a_group_below_cannot_loosen_what_is_left_of_devices(world: &World) -> Result {
    let group = world.ground.instance.create("one")?;
    group.restrict(&[mem(false, 5, true, true, true)])?;
    let mut launch = world.launch(
        "echo 0 > /sys/fs/cgroup/below/cgroup.procs; grep ^0: /proc/self/cgroup; cat /dev/zero 2>&1; \
         head -c 2 /dev/random | wc -c",
    );
    launch.sys = Some(SysMode::ReadOnly);
    launch.cgroup = Some(CgroupMode::Writable);
    // Nodes of the image, so that none has to be made.
    launch.dev = None;
    let nodes = [("zero", 5), ("random", 8)];
    for (name, minor) in nodes {
        let device = rustix::fs::makedev(1, minor);
        let path = world.ground.dir.join("image/dev").join(name);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::from_raw_mode(0o666),
            device,
        )?;
    }
    launch.root.devices = true;
    // What a nested manager would do: a program of its own, that allows everything. Both are asked.
    let below = v2_of(world)?.join("one/below");
    fs::create_dir(&below)?;
    if cgroup::has_device_programs() {
        allow_all(&below)?;
    }
    let run = wait(world.start_in(&launch, &group)?)?;
    group.end(PATIENCE)?;
    assert_eq!(run.log, "0::/below\ncat: can't open '/dev/zero': Operation not permitted\n2\n");
    Ok(())
}

pub(crate) fn who_divides_its_group_does_not_see_the_one_with_its_limits(world: &World) -> Result {
    let mut group = world.ground.instance.create("one")?;
    let v2 = v2_of(world)?.join("one");
    let depth = fs::read_to_string(v2.join("cgroup.max.depth"))?;
    group.limit(&Limit::Tasks(Some(50)), &[])?;
    group.divide()?;
    let mut launch = world.launch(
        "cd /sys/fs/cgroup; grep ^0: /proc/self/cgroup; for f in cgroup.max.depth pids.max memory.max; do \
         test -e $f && (echo max > $f) 2>/dev/null; done; mkdir below && echo 0 > below/cgroup.procs && grep ^0: /proc/self/cgroup; \
         for c in $(cat cgroup.controllers); do echo +$c > cgroup.subtree_control || echo $c; done; echo up; sleep 99",
    );
    launch.sys = Some(SysMode::ReadOnly);
    launch.cgroup = Some(CgroupMode::Writable);
    let spawned = world.start_in(&launch, &group)?;
    let log = read_until(&spawned, "up")?;
    assert_eq!(log, "0::/\n0::/below\nup\n");
    // All that it wrote lies below.
    assert_eq!(fs::read_to_string(v2.join("cgroup.max.depth"))?, depth);
    assert_eq!(file_of(world, &group, "pids.max").as_deref(), Some("50"));
    assert!(group.is_populated()? && group.usage().tasks.is_some_and(|tasks| tasks > 0));
    group.kill()?;
    assert_eq!(wait(spawned)?.outcome, Outcome::Signal(9));
    group.end(PATIENCE)?;
    assert!(!v2.exists());
    Ok(())
}

pub(crate) fn device_rules_go_with_their_group(world: &World) -> Result {
    if !cgroup::has_device_programs() {
        return Ok(());
    }
    let group = world.ground.instance.create("one")?;
    group.restrict(&[mem(false, 5, true, true, true)])?;
    let program = attached(&v2_of(world)?.join("one"))?.ok_or("no program is attached")?;
    assert!(is_loaded(program)?);
    group.end(PATIENCE)?;
    let limit = Instant::now() + PATIENCE;
    while is_loaded(program)? {
        assert!(Instant::now() < limit, "the program {program} is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn v2_of(world: &World) -> Result<std::path::PathBuf> {
    Ok(Trees::detect()?.root().join(&world.ground.name))
}

/// `bpf(2)` with words for attributes; gives what it answers.
fn bpf(command: libc::c_int, attr: &mut [u32]) -> Result<i64> {
    // SAFETY: the words are what the kernel documents for these commands, and pointers among them are to memory of the
    // callers that lives until the call returns.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) };
    if done < 0 { Err(std::io::Error::last_os_error().into()) } else { Ok(done) }
}

/// A pointer as two words.
fn words(pointer: *const u8) -> [u32; 2] {
    let bytes = (pointer as u64).to_ne_bytes();
    [[bytes[0], bytes[1], bytes[2], bytes[3]], [bytes[4], bytes[5], bytes[6], bytes[7]]].map(u32::from_ne_bytes)
}

fn allow_all(dir: &std::path::Path) -> Result {
    // r0 = 1; exit
    let program = [0xb4, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0_u8];
    let ([a, b], [c, d]) = (words(program.as_ptr()), words(c"".as_ptr().cast()));
    let fd = i32::try_from(bpf(5, &mut [15, 2, a, b, c, d])?)?;
    // SAFETY: the descriptor is new and nobody else's.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    let dir = fs::File::open(dir)?;
    let number = |fd: i32| fd.unsigned_abs();
    bpf(8, &mut [number(dir.as_raw_fd()), number(program.as_raw_fd()), 6, 2])?;
    Ok(())
}

/// The number of the first program about devices that is attached to a group.
fn attached(dir: &std::path::Path) -> Result<Option<u32>> {
    let dir = fs::File::open(dir)?;
    let mut ids = [0_u32; 8];
    let [a, b] = words(ids.as_mut_ptr().cast());
    let mut attr = [dir.as_raw_fd().unsigned_abs(), 6, 0, 0, a, b, 8, 0];
    bpf(16, &mut attr)?;
    Ok((attr[6] > 0).then_some(ids[0]))
}

/// Whether the kernel still has a program of this number.
fn is_loaded(program: u32) -> Result<bool> {
    let mut attr = [program - 1, 0, 0];
    match bpf(11, &mut attr) {
        Ok(_) => Ok(attr[1] == program),
        Err(error) if error.to_string().contains("os error 2") => Ok(false),
        Err(error) => Err(error),
    }
}

pub(crate) fn limits_are_set_in_the_generation_that_this_machine_has(world: &World) -> Result {
    let group = world.ground.instance.create("one")?;
    let limits = [
        Limit::Memory(Some(64 << 20)),
        Limit::MemoryAndSwap(Some(80 << 20)),
        Limit::MemoryLow(4 << 20),
        Limit::Tasks(Some(50)),
        Limit::CpuShares(512),
        Limit::CpuQuota(Some(40_000)),
        Limit::CpuPeriod(80_000),
        Limit::Cpus("0".into()),
        Limit::Mems("0".into()),
        Limit::IoWeight(200),
    ];
    for limit in &limits {
        group.limit(limit, &limits).map_err(|error| format!("{limit:?}: {error}"))?;
    }
    for (v2, said2, v1, said1) in [
        ("memory.max", "67108864", "memory.limit_in_bytes", "67108864"),
        ("memory.swap.max", "16777216", "memory.memsw.limit_in_bytes", "83886080"),
        ("memory.low", "4194304", "memory.soft_limit_in_bytes", "4194304"),
        ("pids.max", "50", "pids.max", "50"),
        ("cpu.weight", "50", "cpu.shares", "512"),
        ("cpu.max", "40000 80000", "cpu.cfs_quota_us", "40000"),
        ("cpu.max", "40000 80000", "cpu.cfs_period_us", "80000"),
        ("cpuset.cpus", "0", "cpuset.cpus", "0"),
        ("cpuset.mems", "0", "cpuset.mems", "0"),
        ("io.weight", "default 200", "blkio.bfq.weight", "200"),
    ] {
        let said = |file: &str| file_of(world, &group, file);
        match (said(v2), said(v1)) {
            (Some(said), _) if v2 != v1 => assert_eq!(said, said2, "{v2}"),
            (_, Some(said)) => assert_eq!(said, said1, "{v1}"),
            _ => return Err(format!("neither {v2} nor {v1} is there").into()),
        }
    }
    // Whoever is started in it is in all of the groups, and runs.
    let run = wait(world.start_in(&world.launch("grep -c one /proc/self/cgroup; nproc"), &group)?)?;
    group.end(PATIENCE)?;
    assert!(run.log.ends_with("\n1\n"), "{}", run.log);
    Ok(())
}

/// What stands in a file of the group, in whichever tree has it.
fn file_of(world: &World, group: &Group, file: &str) -> Option<String> {
    let v2 = v2_of(world).ok()?.join("one");
    let mut dirs = std::iter::once(v2.as_path()).chain(group.joined());
    dirs.find_map(|dir| fs::read_to_string(dir.join(file)).ok()).map(|text| text.trim().to_owned())
}

pub(crate) fn a_throughput_of_a_disk_is_limited_where_it_is_named(world: &World) -> Result {
    let group = world.ground.instance.create("one")?;
    let disk = rustix::fs::stat("/")?.st_dev;
    // A file system without a disk of its own has a number that no disk has.
    let Some(device) = whole_disk(rustix::fs::major(disk), rustix::fs::minor(disk)) else {
        return Ok(group.remove()?);
    };
    let limit = Limit::Io { device, flow: Flow::WriteBytes, rate: Some(1 << 20) };
    group.limit(&limit, std::slice::from_ref(&limit))?;
    let (major, minor) = device;
    let said = ["io.max", "blkio.throttle.write_bps_device"].map(|file| file_of(world, &group, file));
    let words =
        [format!("{major}:{minor} rbps=max wbps=1048576 riops=max wiops=max"), format!("{major}:{minor} 1048576")];
    assert!(said.iter().zip(&words).any(|(said, words)| said.as_ref() == Some(words)), "{said:?}");
    group.remove()?;
    Ok(())
}

fn whole_disk(major: u32, minor: u32) -> Option<(u32, u32)> {
    let dir = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let dir = if dir.join("partition").exists() { dir.parent()?.to_owned() } else { dir };
    let text = fs::read_to_string(dir.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

pub(crate) fn a_limit_that_no_tree_has_is_an_error_that_names_the_controller(world: &World) -> Result {
    let group = world.ground.instance.create("one")?;
    for version in [Version::V2, Version::V1] {
        let error = group.set(version, "nosuch.max", "1").err().ok_or("it was set")?.to_string();
        assert!(error.contains("the cgroup controller nosuch with nosuch.max"), "{error}");
    }
    assert!(group.set(Version::V2, "../one/x", "1").is_err());
    group.remove()?;
    Ok(())
}

pub(crate) fn what_a_container_uses_is_told_while_it_runs(world: &World) -> Result {
    let script = "head -c 8388608 /dev/zero > /dev/shm/x; echo up; while true; do :; done";
    let mut launch = world.launch(script);
    launch.dev = launch.dev.map(|dev| container::launch::Dev { shm: 16 << 20, ..dev });
    let (spawned, group) = world.start(&launch)?;
    read_until(&spawned, "up")?;
    let limit = Instant::now() + PATIENCE;
    let usage = loop {
        let usage = group.usage();
        if usage.cpu.is_none_or(|time| time > 50_000) {
            break usage;
        }
        assert!(Instant::now() < limit, "it does not run: {usage:?}");
        std::thread::sleep(Duration::from_millis(10));
    };
    group.kill()?;
    assert_eq!(wait(spawned)?.outcome, Outcome::Signal(9));
    group.end(PATIENCE)?;
    assert!(usage.cpu.is_some() && usage.memory_kills == Some(0), "{usage:?}");
    assert!(usage.tasks.is_some_and(|tasks| (1..4).contains(&tasks)), "{usage:?}");
    let plausible = |bytes: Option<u64>| bytes.is_some_and(|bytes| (8 << 20..64 << 20).contains(&bytes));
    assert!(plausible(usage.memory) && plausible(usage.memory_peak), "{usage:?}");
    let pressure = fs::exists("/proc/pressure/cpu")?;
    assert_eq!(usage.cpu_pressure.is_some() && usage.memory_pressure.is_some(), pressure, "{usage:?}");
    // Of a group that is gone nothing is told.
    assert_eq!(group.usage(), cgroup::Usage::default());
    Ok(())
}

pub(crate) fn a_container_dies_whole_for_lack_of_memory(world: &World) -> Result {
    let group = world.ground.instance.create("one")?;
    let Some(together) = file_of(world, &group, "memory.oom.group") else {
        // Only v2 has it.
        return Ok(group.remove()?);
    };
    assert_eq!(together, "1");
    group.limit(&Limit::Memory(Some(32 << 20)), &[])?;
    let run = wait(world.start_in(&world.launch("(tail /dev/zero); echo survived"), &group)?)?;
    group.end(PATIENCE)?;
    assert!(run.outcome == Outcome::Signal(9) && !run.log.contains("survived"), "{}", run.log);
    Ok(())
}
