//! What a container is kept from.

use container::failure::Step;
use container::launch::{
    Attributes, CgroupMode, Mount, ProcMode, Resource, Rlimit, SysMode, TARGETS_MASKED, TARGETS_READ_ONLY,
};
use harness::Result;
use statemachine::container::Outcome;

use crate::world::World;

const CHOWN: u64 = 1 << 0;
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_ADMIN: u64 = 1 << 12;
const NET_RAW: u64 = 1 << 13;
const SYS_ADMIN: u64 = 1 << 21;
const MKNOD: u64 = 1 << 27;

pub(crate) fn a_container_has_a_host_name_of_its_own(world: &World) -> Result {
    let before = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    assert_eq!(world.output(&world.launch("hostname; hostname other; hostname"))?, "box\nother\n");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname")?, before);
    Ok(())
}

pub(crate) fn a_network_of_its_own_has_a_way_to_itself(world: &World) -> Result {
    let log = world.output(&world.launch("ip link; ip addr show lo"))?;
    assert!(log.contains("<LOOPBACK,UP,LOWER_UP>") && log.contains("127.0.0.1/8"), "{log}");
    assert!(!log.contains("\n2: eth"), "{log}");
    Ok(())
}

pub(crate) fn a_shared_namespace_is_the_device_s(world: &World) -> Result {
    let kinds = ["net", "uts", "ipc", "pid", "cgroup", "mnt"];
    let script = format!("for n in {}; do readlink /proc/self/ns/$n; done", kinds.join(" "));
    let host: Vec<String> = kinds
        .iter()
        .map(|kind| Ok(std::fs::read_link(format!("/proc/self/ns/{kind}"))?.display().to_string()))
        .collect::<Result<_>>()?;
    let mut launch = world.launch(&script);
    let own = world.output(&launch)?;
    assert!(own.lines().zip(&host).all(|(inside, outside)| inside != outside), "{own}{host:?}");
    launch.hostname = None;
    launch.namespaces = container::launch::Namespaces { pid: false, net: false, uts: false, ipc: false, cgroup: false };
    let shared = world.output(&launch)?;
    let same: Vec<bool> = shared.lines().zip(&host).map(|(inside, outside)| inside == outside).collect();
    // Mounts are never shared.
    assert_eq!(same, [true, true, true, true, true, false], "{shared}{host:?}");
    Ok(())
}

pub(crate) fn a_container_sees_its_group_as_the_root_of_all(world: &World) -> Result {
    let mut launch =
        world.launch("grep -E '^0:|:memory:' /proc/self/cgroup; mkdir /sys/fs/cgroup/own && ls /sys/fs/cgroup/own");
    launch.sys = Some(SysMode::ReadOnly);
    launch.cgroup = Some(CgroupMode::Writable);
    let log = world.output(&launch)?;
    assert!(log.lines().filter(|line| line.contains(':')).all(|line| line.ends_with(":/")), "{log}");
    assert!(log.contains("cgroup.procs"), "{log}");
    launch.cgroup = Some(CgroupMode::ReadOnly);
    let run = world.run(&launch)?;
    assert!(run.outcome == Outcome::Code(1) && run.log.contains("Read-only"), "{}", run.log);
    Ok(())
}

pub(crate) fn dev_holds_what_programs_expect_and_nothing_else(world: &World) -> Result {
    let log = world.output(&world.launch(
        "ls /dev; echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c; \
         echo x > /dev/full; test -c /dev/ptmx && echo ptmx; echo y > /dev/shm/x && cat /dev/shm/x; \
         test -r /dev/kmsg || echo no kmsg; dd if=/dev/zero of=/dev/shm/y bs=1024 count=2048 2>/dev/null; \
         test $(wc -c < /dev/shm/y) -le 1048576 && echo bounded",
    ))?;
    let names = "console\nfd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n";
    assert!(log.starts_with(&format!("{names}3\n5\n")), "{log}");
    assert!(log.contains("No space left") && log.ends_with("ptmx\ny\nno kmsg\nbounded\n"), "{log}");
    Ok(())
}

pub(crate) fn what_is_written_to_the_console_is_logged(world: &World) -> Result {
    // From a process with an output and a session of its own, while the first process still has its output.
    let log =
        world.output(&world.launch("setsid sh -c 'exec > /tmp/out; echo kept; echo hello > /dev/console'; true"))?;
    assert_eq!(log, "hello\n");
    Ok(())
}

pub(crate) fn proc_and_sys_are_as_writable_as_the_launch_says(world: &World) -> Result {
    let script = "for f in kernel/domainname net/ipv4/ip_forward; do \
         (echo 1 > /proc/sys/$f) 2>/dev/null && echo $f; done; \
         (echo h > /proc/sysrq-trigger) 2>/dev/null && echo sysrq; \
         for f in kernel/mm/ksm/pages_to_scan devices/virtual/net/lo/mtu; do \
         (echo 1000 > /sys/$f) 2>/dev/null && echo $f; done; true";
    let run = |proc, sys| -> Result<String> {
        let mut launch = world.launch(script);
        launch.proc = Some(proc);
        launch.sys = Some(sys);
        Ok(world.output(&launch)?.replace("kernel/mm/ksm/pages_to_scan\n", ""))
    };
    assert_eq!(run(ProcMode::Mixed, SysMode::ReadOnly)?, "net/ipv4/ip_forward\n");
    assert_eq!(run(ProcMode::Mixed, SysMode::Mixed)?, "net/ipv4/ip_forward\ndevices/virtual/net/lo/mtu\n");
    // Not every kernel has this one.
    let sysrq = if std::path::Path::new("/proc/sysrq-trigger").exists() { "sysrq\n" } else { "" };
    let all = format!("kernel/domainname\nnet/ipv4/ip_forward\n{sysrq}devices/virtual/net/lo/mtu\n");
    assert_eq!(run(ProcMode::Writable, SysMode::Writable)?, all);
    Ok(())
}

pub(crate) fn the_network_of_the_device_is_set_up_by_those_who_may_administer_it(world: &World) -> Result {
    // Opened to be written, and not written: it is this machine's.
    let script = "for f in /proc/sys/net/ipv4/ip_forward /sys/devices/virtual/net/lo/mtu; do \
         (: >> $f) 2>/dev/null && echo $f; done; true";
    let both = "/proc/sys/net/ipv4/ip_forward\n/sys/devices/virtual/net/lo/mtu\n";
    for (own, bounding, open) in [(true, 0, both), (false, 0, ""), (false, NET_ADMIN, both)] {
        let mut launch = world.launch(script);
        (launch.proc, launch.sys) = (Some(ProcMode::Mixed), Some(SysMode::Mixed));
        launch.namespaces.net = own;
        launch.process.capabilities.bounding = bounding;
        assert_eq!(world.output(&launch)?, open, "{own} {bounding:x}");
    }
    Ok(())
}

pub(crate) fn masked_paths_are_empty_and_protected_ones_read_only(world: &World) -> Result {
    let mut launch = world.launch(
        "head -c 9 /proc/timer_list /proc/keys | grep -v == | wc -c; ls /sys/firmware | wc -l; \
         echo 1 > /proc/sys/net/ipv4/ip_forward || echo refused; cat /srv/* | wc -c",
    );
    launch.sys = Some(SysMode::Writable);
    launch.proc = Some(ProcMode::Writable);
    launch.mounts.push(Mount::from_fstab("/proc/self", "srv", "none", ["bind", "optional"])?);
    launch.masked = TARGETS_MASKED.iter().map(ToString::to_string).collect();
    launch.masked.push("/srv".into());
    launch.read_only = TARGETS_READ_ONLY.iter().map(ToString::to_string).collect();
    let log = world.output(&launch)?;
    let numbers: Vec<_> = log.lines().filter(|line| line.parse::<u32>().is_ok()).collect();
    assert!(log.contains("refused"), "{log}");
    assert!(numbers.iter().all(|number| *number == "0" || *number == "1"), "{log}");
    Ok(())
}

pub(crate) fn capabilities_outside_the_bounding_set_are_gone(world: &World) -> Result {
    let mut launch = world.launch(
        "grep ^Cap /proc/self/status; mknod /tmp/n c 1 3; mount -t tmpfs t /srv; hostname x; ip link set lo down; true",
    );
    launch.process.capabilities.bounding = CHOWN | NET_RAW;
    let log = world.output(&launch)?;
    let kept = format!("{:016x}", CHOWN | NET_RAW);
    for (set, value) in [("Bnd", kept.as_str()), ("Prm", &kept), ("Eff", &kept), ("Inh", &"0".repeat(16))] {
        assert!(log.contains(&format!("Cap{set}:\t{value}\n")), "{log}");
    }
    for refused in ["mknod", "mount", "hostname", "ip"] {
        assert!(log.lines().any(|line| line.starts_with(refused)), "{refused} was not refused: {log}");
    }
    Ok(())
}

pub(crate) fn another_user_has_the_ambient_capabilities_and_no_others(world: &World) -> Result {
    let mut launch = world.launch("grep -E '^(Cap|NoNewPrivs)' /proc/self/status");
    launch.process.capabilities.bounding = SYS_ADMIN | MKNOD | NET_BIND_SERVICE;
    launch.process.capabilities.ambient = NET_BIND_SERVICE;
    launch.process.uid = 1000;
    launch.process.gid = 1000;
    launch.process.no_new_privs = true;
    let log = world.output(&launch)?;
    let ambient = format!("{NET_BIND_SERVICE:016x}");
    for set in ["Amb", "Eff", "Prm", "Inh"] {
        assert!(log.contains(&format!("Cap{set}:\t{ambient}\n")), "{log}");
    }
    assert!(log.contains("NoNewPrivs:\t1\n"), "{log}");
    Ok(())
}

pub(crate) fn keys_of_the_device_are_out_of_reach(world: &World) -> Result {
    let mut launch = world.launch("cat /proc/keys");
    launch.proc = Some(ProcMode::Writable);
    let key = format!("cairn-test-{}", std::process::id());
    let name = std::ffi::CString::new(key.as_str())?;
    // SAFETY: strings end with NUL, and the payload has the length that is given. The last argument is the session's
    // keyring, which is made for this thread if there is none.
    let id = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            name.as_ptr(),
            c"x".as_ptr(),
            1,
            libc::KEY_SPEC_SESSION_KEYRING,
        )
    };
    assert!(id > 0, "no key could be added: {}", std::io::Error::last_os_error());
    // SAFETY: no memory is passed. Only who possesses the key may see it from now on.
    let set = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, id, 0x3f00_0000) };
    let before = std::fs::read_to_string("/proc/keys")?;
    let log = world.output(&launch);
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_REVOKE, id) };
    let log = log?;
    assert!(set == 0 && before.contains(&key), "{before}");
    assert!(log.contains("_ses") && !log.contains(&key), "{log}");
    Ok(())
}

/// Refuses one system call with `EPERM`.
pub(crate) fn filter(call: libc::c_long) -> Result<Vec<u8>> {
    let number = u32::try_from(call)?;
    let errno = libc::SECCOMP_RET_ERRNO | u32::try_from(libc::EPERM)?;
    // Load the number; if it is that call, go on to the refusal, else skip it.
    let program: [(u16, u8, u8, u32); 4] =
        [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, errno), (0x06, 0, 0, libc::SECCOMP_RET_ALLOW)];
    let bytes = program.iter().flat_map(|(code, yes, no, k)| {
        let [a, b] = code.to_ne_bytes();
        let [c, d, e, f] = k.to_ne_bytes();
        [a, b, *yes, *no, c, d, e, f]
    });
    Ok(bytes.collect())
}

pub(crate) fn a_filter_of_system_calls_is_in_force(world: &World) -> Result {
    for no_new_privs in [false, true] {
        let mut launch = world.launch("grep Seccomp: /proc/self/status; hostname other || echo refused");
        launch.process.no_new_privs = no_new_privs;
        launch.process.seccomp = Some(filter(libc::SYS_sethostname)?);
        let log = world.output(&launch)?;
        assert!(log.starts_with("Seccomp:\t2\n") && log.ends_with("refused\n"), "{log}");
    }
    Ok(())
}

pub(crate) fn limits_are_in_force(world: &World) -> Result {
    let mut launch = world.launch("ulimit -n; ulimit -H -n; ulimit -c; cat /proc/self/oom_score_adj");
    launch.process.limits = vec![
        Rlimit { resource: Resource::OpenFiles, soft: Some(123), hard: Some(456) },
        Rlimit { resource: Resource::Core, soft: Some(0), hard: Some(0) },
    ];
    launch.process.oom_score_adj = 300;
    assert_eq!(world.output(&launch)?, "123\n456\n0\n300\n");
    Ok(())
}

pub(crate) fn what_is_forbidden_in_addition_is_forbidden_at_that_place_and_not_below(world: &World) -> Result {
    let mut launch = world.launch("grep -E ' (/|/dev|/dev/shm|/proc) ' /proc/self/mountinfo; touch /x || echo refused");
    let nosuid = Attributes { nosuid: true, noatime: true, ..Attributes::default() };
    let read_only = Attributes { read_only: true, ..Attributes::default() };
    launch.hardened = vec![("/".into(), nosuid), ("/dev/shm".into(), read_only)];
    let log = world.output(&launch)?;
    let options = |place: &str| {
        let line = log.lines().find(|line| line.split(' ').nth(4) == Some(place));
        line.and_then(|line| line.split(' ').nth(5)).map(str::to_owned).ok_or(format!("no {place}: {log}"))
    };
    assert!(options("/")?.contains("nosuid") && options("/")?.contains("noatime"), "{log}");
    assert!(options("/dev/shm")?.starts_with("ro,") && options("/dev")?.starts_with("rw,"), "{log}");
    assert!(!options("/proc")?.contains("noatime") && !log.contains("refused"), "{log}");
    launch.hardened = vec![("/".into(), read_only)];
    assert!(world.output(&launch)?.contains("refused"));
    launch.hardened = vec![("/srv".into(), read_only)];
    let failure = world.run(&launch)?.failure.ok_or("no failure")?;
    assert_eq!((failure.step, failure.path.as_str()), (Step::Mount, "/srv"));
    Ok(())
}
