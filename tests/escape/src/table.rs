//! The table: each attempt, what it needs beside the template, and what stands in its way.

use crate::guard::Guard::{
    self, Beneath, CgroupsToRead, Filter, Lacks, LimitsAbove, Line, NoNewPrivs, NoNodes, Own, Proc, Rules, Stage, Sys,
    Unsigned,
};

/// One row.
pub(crate) struct Case {
    /// What it is called; the attempt of this name is made, if [`attempt`](Self::attempt) has no other.
    pub(crate) name: &'static str,
    /// Whoever holds by itself, all of them; without them the attempt succeeds.
    pub(crate) guards: &'static [Guard],
    /// How the configuration differs from the template, with guards and without.
    pub(crate) with: &'static [Setting],
}

/// How a configuration is prepared for an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Setting {
    /// One more line.
    Add(&'static str),
    /// Words of a line, and what stands there instead.
    Replace(&'static str, &'static str),
    /// A network of its own, as the template does not have it.
    OwnNetwork,
    /// What the volume names changes all the time while the container starts.
    Swapped,
}

impl Case {
    /// The name of what the program does.
    pub(crate) fn attempt(&self) -> &'static str {
        self.name.strip_suffix("-swapped").unwrap_or(self.name)
    }
}

const fn case(name: &'static str, guards: &'static [Guard]) -> Case {
    Case { name, guards, with: &[] }
}

const fn with(name: &'static str, guards: &'static [Guard], with: &'static [Setting]) -> Case {
    Case { name, guards, with }
}

const ADMIN: Guard = Lacks("sys_admin");
const PTRACE: Guard = Lacks("sys_ptrace");
const PID: Guard = Own("pid");
/// Of a container that does not share the network of the device.
pub(crate) const OWN_NETWORK: Guard = Line("lxc.net.0.type = empty");
/// As the engine mounts what a volume has at `x`.
const LINK: Setting = Setting::Add("lxc.mount.entry = /volumes/web/docker--data/x srv none bind,create=dir 0 0");

/// All of them.
pub(crate) const ALL: &[Case] = &[
    // Mounts and roots.
    case("mount-tmpfs", &[Filter, ADMIN]),
    case("mount-proc-anew", &[Filter, ADMIN]),
    case("mount-sys-anew", &[Filter, ADMIN]),
    case("mount-cgroup-anew", &[Filter, ADMIN, Own("cgroup")]),
    case("mount-in-user-namespace", &[Filter]),
    case("mount-overlay", &[Filter, ADMIN]),
    case("remount-proc-sys", &[Filter, ADMIN]),
    case("unmount-mask", &[Filter, ADMIN]),
    case("fsopen", &[Filter, ADMIN]),
    case("open-tree", &[Filter, ADMIN]),
    case("mount-setattr", &[Filter, ADMIN]),
    case("pivot-root", &[Filter, ADMIN]),
    case("chroot-and-descriptor", &[Stage]),
    case("chroot-twice", &[Stage]),
    case("leaked-descriptor", &[Stage]),
    with("link-in-volume", &[Beneath], &[LINK]),
    with("link-in-volume-swapped", &[Beneath], &[LINK, Setting::Swapped]),
    // The kernel.
    case("unshare-user", &[Filter]),
    case("unshare-mount", &[Filter, ADMIN]),
    case("unshare-network", &[Filter, ADMIN]),
    case("clone-user", &[Filter]),
    case("clone-mount", &[Filter, ADMIN]),
    case("clone3-user", &[Filter]),
    case("setns-own", &[Filter, ADMIN]),
    case("sethostname", &[Filter, ADMIN]),
    case("reboot", &[Filter, Lacks("sys_boot")]),
    case("kexec-load", &[Filter, Lacks("sys_boot")]),
    case("init-module", &[Filter, Lacks("sys_module")]),
    case("finit-module", &[Filter, Lacks("sys_module")]),
    case("delete-module", &[Filter, Lacks("sys_module")]),
    case("set-timezone", &[Filter, Lacks("sys_time")]),
    case("adjust-clock", &[Lacks("sys_time")]),
    case("swapon", &[Filter, ADMIN]),
    case("swapoff", &[Filter, ADMIN]),
    case("acct", &[Filter, Lacks("sys_pacct")]),
    case("quotactl", &[Filter]),
    case("iopl", &[Filter, Lacks("sys_rawio")]),
    case("bpf-map", &[Filter, Lacks("bpf")]),
    case("perf-of-kernel", &[Filter, Lacks("perfmon")]),
    case("perf-of-itself", &[Filter]),
    case("userfaultfd", &[Filter]),
    case("userfaultfd-of-kernel", &[Filter, PTRACE]),
    case("io-uring", &[Filter]),
    case("add-key", &[Filter]),
    case("keyring-of-user", &[Filter]),
    case("request-key", &[Filter]),
    case("open-by-handle", &[Filter, Lacks("dac_read_search")]),
    case("fanotify-content", &[Filter, ADMIN]),
    case("fanotify-names", &[Filter]),
    case("syslog-read-all", &[Filter]),
    case("syslog-unread", &[Filter, Lacks("syslog")]),
    case("vhangup", &[Filter, Lacks("sys_tty_config")]),
    case("personality", &[Filter]),
    case("memory-policy", &[Filter]),
    case("migrate-pages", &[Filter]),
    case("wake-alarm", &[Lacks("wake_alarm")]),
    #[cfg(target_arch = "x86_64")]
    case("x32-call", &[Filter]),
    #[cfg(target_arch = "x86_64")]
    case("i386-unshare", &[Filter]),
    #[cfg(target_arch = "x86_64")]
    case("i386-keyctl", &[Filter]),
    #[cfg(target_arch = "x86_64")]
    case("i386-io-uring", &[Filter]),
    #[cfg(target_arch = "x86_64")]
    case("i386-mount", &[Filter, ADMIN]),
    #[cfg(target_arch = "x86_64")]
    case("i386-socketcall-vsock", &[Filter]),
    // Processes.
    case("signal-device", &[PID]),
    case("signal-pid-one", &[PID]),
    case("signal-by-descriptor", &[PID]),
    case("ptrace-device", &[PID, PTRACE]),
    case("read-memory", &[PID, PTRACE]),
    case("write-memory", &[PID, PTRACE]),
    case("read-environment", &[PID, PTRACE]),
    case("root-of-device", &[PID, PTRACE]),
    case("directory-of-device", &[PID, PTRACE]),
    case("descriptor-of-device", &[PID, PTRACE]),
    case("program-of-device", &[PID, PTRACE]),
    case("out-of-memory-score-of-device", &[PID]),
    case("namespace-of-device", &[PID, Filter, Lacks("sys_admin sys_ptrace")]),
    case("namespaces-by-descriptor", &[PID, Filter, Lacks("sys_admin sys_ptrace")]),
    case("take-descriptor", &[PID, Filter, PTRACE]),
    case("compare-with-device", &[PID, Filter, PTRACE]),
    case("bind-device-to-processor", &[PID, Lacks("sys_nice")]),
    case("priority-of-device", &[PID, Lacks("sys_nice")]),
    case("limits-of-device", &[PID]),
    case("root-of-other-container", &[PID]),
    // What the kernel shows as files.
    case("core-pattern", &[Proc]),
    case("module-helper", &[Proc]),
    case("poweroff-helper", &[Proc]),
    case("panic-setting", &[Proc]),
    case("drop-caches", &[Proc]),
    case("sysrq-setting", &[Proc]),
    case("sysrq-trigger", &[Proc]),
    case("interrupt-routing", &[Proc]),
    case("network-of-device-settings", &[Lacks("net_admin")]),
    case("keys-of-device", &[Proc]),
    case("timers-of-kernel", &[Proc]),
    case("interrupts", &[Proc]),
    case("memory-of-kernel", &[Proc, Lacks("sys_rawio")]),
    case("firmware", &[Sys]),
    case("huge-pages-setting", &[Sys]),
    case("uevent-helper", &[Sys]),
    case("module-parameter", &[Sys]),
    case("power-state", &[Sys]),
    case("disk-queue", &[Sys]),
    case("cgroup-of-device", &[Own("cgroup")]),
    with("group-below", &[CgroupsToRead], &[Setting::Replace("sys:ro", "sys:ro cgroup:ro")]),
    with("own-limit", &[CgroupsToRead, LimitsAbove], &[Setting::Replace("sys:ro", "sys:ro cgroup:ro")]),
    with("own-depth", &[LimitsAbove], &[Setting::Replace("sys:ro", "sys:ro cgroup:rw")]),
    case("xattr-trusted", &[ADMIN]),
    // Devices.
    case("disk-of-device", &[Unsigned("lxc.mount.entry = /dev/DISK dev/DISK none bind,create=file 0 0"), Rules]),
    case("kernel-log-of-device", &[Unsigned("lxc.mount.entry = /dev/kmsg dev/kmsg none bind,create=file 0 0"), Rules]),
    case("terminal-of-device", &[Unsigned("lxc.mount.entry = /dev/pts dev/pts none bind 0 0")]),
    case("node-of-disk", &[Lacks("mknod"), Rules]),
    case("node-of-disk-in-root", &[Lacks("mknod"), Rules, NoNodes]),
    with("node-of-disk-by-rules", &[Rules], &[Setting::Replace("lxc.cap.keep =", "lxc.cap.keep = mknod")]),
    case("node-of-kernel-log", &[Lacks("mknod"), Rules]),
    case("node-of-loop-control", &[Lacks("mknod"), Rules]),
    case("node-of-kernel-memory", &[Lacks("mknod sys_rawio"), Rules]),
    // Networks.
    with("abstract-socket", &[OWN_NETWORK], &[Setting::OwnNetwork]),
    with("loopback-service", &[OWN_NETWORK], &[Setting::OwnNetwork]),
    with("capture-of-device", &[Lacks("net_raw"), OWN_NETWORK], &[Setting::OwnNetwork]),
    case("vsock", &[Filter]),
    case("vsock-in-full-register", &[Filter]),
    case("kernel-cryptography", &[Filter]),
    case("link-flags", &[Lacks("net_admin")]),
    case("firewall", &[Lacks("net_admin")]),
    // Rights and shares.
    with(
        "set-user-id-program",
        &[NoNewPrivs],
        &[
            Setting::Add("lxc.init.uid = 1000"),
            Setting::Add("lxc.init.gid = 1000"),
            Setting::Add("lxc.cap.keep = none"),
        ],
    ),
    case("capability-back", &[ADMIN]),
    case("run-before-others", &[Lacks("sys_nice")]),
    case("run-in-real-time", &[Lacks("sys_nice")]),
    case("disk-before-others", &[Lacks("sys_nice")]),
    case("raise-limit", &[Lacks("sys_resource")]),
    case("lock-memory", &[Lacks("ipc_lock")]),
    case("never-killed-for-memory", &[Lacks("sys_resource")]),
    case("unchangeable-file", &[Lacks("linux_immutable")]),
    case("queue-of-device", &[Own("ipc")]),
    case("shared-memory-of-device", &[Own("ipc")]),
    case("more-tasks-than-allowed", &[Line("lxc.cgroup2.pids.max")]),
    with(
        "more-memory-than-allowed",
        &[Line("lxc.cgroup2.memory.max = 16M")],
        &[Setting::Add("lxc.cgroup2.memory.max = 16M")],
    ),
];
