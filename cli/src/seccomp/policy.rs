//! The default policy: which calls a container of an image may make.
//!
//! | | |
//! |---|---|
//! | allowed | what programs do with files, memory, processes, sockets and time |
//! | with a capability | what the kernel itself asks that capability for; without it the call is not even reached |
//! | by arguments | a clone without namespaces, sockets of families that are in use, harmless personalities |
//! | no such call | `clone3`, whose flags no filter can see: C libraries fall back to `clone`. And what is newer than this list, as on an older kernel |
//! | `EPERM` | everything else: keys, mounts, namespaces, modules, tracing of the kernel, `io_uring` |
//!
//! The facts which calls these are, are those of Docker's default profile of 2025. Three things are narrower here:
//!
//! * The x32 calls of 64-bit PCs are none.
//! * `socketcall`, which hides its arguments, is there for images of 32-bit PCs only. Elsewhere no program needs it, and
//!   one of 64 bits could reach the refused families through it.
//! * Arguments of 32 bits are compared in 32 bits.

use formats::lxc::Capability;
use formats::seccomp::{Action, Arch};

use super::compile::{Policy, Rule, Verdict};

const EPERM: Action = Action::Errno(1);
const ENOSYS: Action = Action::Errno(38);

/// What every container may.
const ALLOWED: &[&str] = &[
    // Programs and their end.
    "execve execveat exit exit_group restart_syscall fork vfork wait4 waitid waitpid",
    // Threads and the locks between them.
    "set_tid_address set_robust_list get_robust_list futex futex_time64 futex_wait futex_wake futex_requeue futex_waitv",
    "rseq membarrier set_thread_area get_thread_area",
    // Who it is, and whom it belongs to.
    "getpid getppid gettid getpgid getpgrp getsid setsid setpgid getuid getuid32 geteuid geteuid32 getgid getgid32",
    "getegid getegid32 getresuid getresuid32 getresgid getresgid32 getgroups getgroups32 setuid setuid32 setgid setgid32",
    "setreuid setreuid32 setregid setregid32 setresuid setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid",
    "setfsgid32 setgroups setgroups32 capget capset umask",
    // Signals.
    "kill tkill tgkill rt_sigaction rt_sigprocmask rt_sigpending rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn",
    "rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 sigprocmask sigreturn sigaltstack signalfd signalfd4 pause",
    "pidfd_open pidfd_send_signal process_mrelease",
    // Memory.
    "brk mmap mmap2 munmap mremap mprotect msync madvise mincore mlock mlock2 mlockall munlock munlockall mseal",
    "remap_file_pages memfd_create memfd_secret pkey_alloc pkey_free pkey_mprotect map_shadow_stack",
    // Opening, reading and writing.
    "open openat openat2 creat close close_range read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2",
    "lseek _llseek dup dup2 dup3 pipe pipe2 fcntl fcntl64 ioctl flock splice tee vmsplice sendfile sendfile64",
    "copy_file_range readahead fadvise64 fadvise64_64 fallocate truncate truncate64 ftruncate ftruncate64 cachestat",
    "sync syncfs fsync fdatasync sync_file_range",
    // Directories, links and nodes. Nodes of devices take a capability that no container of an image has.
    "getcwd chdir fchdir getdents getdents64 mkdir mkdirat rmdir link linkat symlink symlinkat unlink unlinkat rename",
    "renameat renameat2 readlink readlinkat mknod mknodat name_to_handle_at",
    // What files are like.
    "stat stat64 lstat lstat64 fstat fstat64 newfstatat fstatat64 statx statfs statfs64 fstatfs fstatfs64 statmount",
    "listmount access faccessat faccessat2 chmod fchmod fchmodat fchmodat2 chown chown32 fchown fchown32 fchownat lchown",
    "lchown32 utime utimes futimesat utimensat utimensat_time64",
    "getxattr lgetxattr fgetxattr getxattrat setxattr lsetxattr fsetxattr setxattrat listxattr llistxattr flistxattr",
    "listxattrat removexattr lremovexattr fremovexattr removexattrat",
    // Waiting for something.
    "poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 epoll_create epoll_create1 epoll_ctl",
    "epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2 inotify_init inotify_init1",
    "inotify_add_watch inotify_rm_watch fanotify_mark",
    "io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64",
    // Sockets, but for making them.
    "socketpair bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt send sendto",
    "sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64",
    // Queues, semaphores and shared memory of its own namespace.
    "ipc mq_open mq_unlink mq_notify mq_getsetattr mq_timedsend mq_timedsend_time64 mq_timedreceive",
    "mq_timedreceive_time64 msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl",
    "shmdt shmget",
    // Time; setting it is below, and what `adjtimex` may do without that capability is to ask.
    "time times gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep",
    "clock_nanosleep_time64 nanosleep adjtimex clock_adjtime clock_adjtime64 alarm getitimer setitimer timer_create",
    "timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create",
    "timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64",
    // Its share of the machine.
    "sched_yield sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam",
    "sched_getscheduler sched_setscheduler sched_get_priority_max sched_get_priority_min sched_rr_get_interval",
    "sched_rr_get_interval_time64 getpriority setpriority ioprio_get ioprio_set getrlimit ugetrlimit setrlimit prlimit64",
    "getrusage getcpu",
    // What the kernel tells of itself, and what a process gives up.
    "uname sysinfo getrandom prctl seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self uretprobe",
    // Debuggers, of processes of the same user; filters hold for who is traced since Linux 4.8.
    "ptrace process_vm_readv process_vm_writev",
];

/// What architectures have for themselves; the names are in no other table.
const OWN: &[&str] = &[
    // PCs.
    "arch_prctl modify_ldt",
    // ARM: the last three are numbers of their own, as code that is made at run time needs them.
    "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls",
    // RISC-V.
    "riscv_flush_icache riscv_hwprobe",
];

/// What may be called with any of some capabilities.
pub(super) const WITH: &[(&[Capability], &str)] = &[
    (&[Capability::DacReadSearch], "open_by_handle_at"),
    (
        &[Capability::SysAdmin],
        "mount umount umount2 mount_setattr move_mount open_tree fsopen fsmount fsconfig fspick quotactl quotactl_fd",
    ),
    (
        &[Capability::SysAdmin],
        "clone clone3 unshare setns sethostname setdomainname fanotify_init lookup_dcookie lsm_get_self_attr \
         lsm_set_self_attr lsm_list_modules",
    ),
    (&[Capability::SysAdmin, Capability::Syslog], "syslog"),
    (&[Capability::SysAdmin, Capability::Bpf], "bpf"),
    (&[Capability::SysAdmin, Capability::Perfmon], "perf_event_open"),
    (&[Capability::SysBoot], "reboot"),
    (&[Capability::SysChroot], "chroot"),
    (&[Capability::SysModule], "init_module finit_module delete_module"),
    (&[Capability::SysPacct], "acct"),
    (&[Capability::SysPtrace], "kcmp pidfd_getfd process_madvise"),
    (&[Capability::SysRawio], "iopl ioperm"),
    (&[Capability::SysTime], "settimeofday stime clock_settime clock_settime64"),
    (&[Capability::SysTtyConfig], "vhangup"),
    (&[Capability::SysNice], "get_mempolicy set_mempolicy set_mempolicy_home_node mbind"),
];

/// Flags of `clone` that make namespaces: mount, cgroup, uts, ipc, user, pid, net.
const NAMESPACES: u32 = 0x7e02_0000;

/// Families of sockets that are allowed. Those between have no users left (DECnet, Econet, switched ATM, IrDA, WAN-PIPE,
/// ISDN, CAIF), or reach around the container: the kernel's cryptography (38) and the machine's host (40). What is beyond
/// the last is newer than this list.
const FAMILIES: &[(u32, u32)] = &[(0, 11), (13, 18), (21, 22), (24, 24), (26, 33), (35, 36), (39, 39), (41, 45)];

/// Linux, that of 32 bits, either with the version of an old one, and the question which it is.
const PERSONALITIES: &[(u32, u32)] =
    &[(0, 0), (8, 8), (0x2_0000, 0x2_0000), (0x2_0008, 0x2_0008), (u32::MAX, u32::MAX)];

/// The default for an image of an architecture whose container keeps these capabilities.
pub(super) fn confined(arch: Arch, keeps: &[Capability]) -> Policy {
    let mut rules = Vec::new();
    let mut add = |names: &str, verdict: &Verdict| {
        rules.extend(names.split_whitespace().map(|name| Rule {
            name: name.to_owned(),
            on: None,
            verdict: verdict.clone(),
        }));
    };
    let allow = Verdict::Always(Action::Allow);
    let only = |mask, ranges: &[(u32, u32)]| Verdict::If {
        argument: 0,
        mask,
        ranges: ranges.to_vec(),
        then: Action::Allow,
        otherwise: EPERM,
    };
    ALLOWED.iter().chain(OWN).for_each(|names| add(names, &allow));
    if arch == Arch::I386 {
        add("socketcall", &allow);
    }
    add("clone", &only(NAMESPACES, &[(0, 0)]));
    add("clone3", &Verdict::Always(ENOSYS));
    add("socket", &only(u32::MAX, FAMILIES));
    add("personality", &only(u32::MAX, PERSONALITIES));
    for (capabilities, names) in WITH {
        if capabilities.iter().any(|one| keeps.contains(one)) {
            add(names, &allow);
        }
    }
    Policy { rules, otherwise: EPERM, unknown: ENOSYS, foreign: Action::KillProcess }
}
