//! Devices, masked and read-only paths, settings of the kernel, filters of system calls, and what only Linux has.

use serde_json::{Value, json};
use statemachine::container::Outcome;

use super::mounts::optional_fields;
use crate::table::How::{Inside, Unsayable, Wrong};
use crate::table::{Case, PLAIN};
use crate::world::{add, put, share};

const DEVICES: &str = "config-linux.md#devices";
const MASKED: &str = "config-linux.md#masked-paths";
const READ_ONLY: &str = "config-linux.md#readonly-paths";
const SYSCTL: &str = "config-linux.md#sysctl";
const SECCOMP: &str = "config-linux.md#seccomp";
const PROPAGATION: &str = "config-linux.md#rootfs-mount-propagation";

pub(crate) const ALL: &[Case] = &[
    Case {
        name: "default/devices",
        section: "config-linux.md#default-devices",
        how: Inside {
            with: PLAIN,
            without: |c| put(c, "/linux/maskedPaths", json!(["/dev/full"])),
            script: "cd /dev; stat -c '%n %a %t:%T %F' null zero full random urandom tty; readlink ptmx; \
                     head -c 3 zero | wc -c; echo x 2>/dev/null > full || echo full",
            holds: |seen| {
                ["null 666 1:3", "zero 666 1:5", "full 666 1:7", "random 666 1:8", "urandom 666 1:9", "tty 666 5:0"]
                    .iter()
                    .all(|node| seen.says(&format!("{node} character special file")))
                    && ["pts/ptmx", "3", "full"].iter().all(|line| seen.says(line))
            },
        },
    },
    Case {
        name: "default/links",
        section: "runtime-linux.md#dev-symbolic-links",
        how: Inside {
            with: PLAIN,
            without: |c| put(c, "/linux/maskedPaths", json!(["/dev"])),
            script: "cd /dev; for one in fd stdin stdout stderr; do echo $one: $(readlink $one); done",
            holds: |seen| {
                seen.of("fd:") == Some("/proc/self/fd")
                    && seen.of("stdin:") == Some("/proc/self/fd/0")
                    && seen.of("stdout:") == Some("/proc/self/fd/1")
                    && seen.of("stderr:") == Some("/proc/self/fd/2")
            },
        },
    },
    Case {
        name: "linux_devices",
        section: DEVICES,
        how: Inside {
            with: |c| put(c, "/linux/devices", json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}])),
            without: PLAIN,
            script: "stat -c '%t:%T %F' /dev/kmsg",
            holds: |seen| seen.says("1:b character special file"),
        },
    },
    Case {
        name: "linux_devices/mode",
        section: DEVICES,
        how: Unsayable {
            with: |c| {
                let node = json!({"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o123});
                put(c, "/linux/devices", json!([node]));
            },
            words: "changes mode or owner",
        },
    },
    Case {
        name: "linux_devices/other-numbers",
        section: DEVICES,
        how: Unsayable {
            with: |c| put(c, "/linux/devices", json!([{"path": "/dev/test", "type": "c", "major": 10, "minor": 229}])),
            words: "no key of LXC makes a node",
        },
    },
    Case {
        name: "linux_devices/twice",
        section: DEVICES,
        how: Wrong {
            with: |c| {
                let node = json!({"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11});
                put(c, "/linux/devices", json!([node, node]));
            },
            words: "twice",
        },
    },
    Case {
        name: "linux_masked_paths/file",
        section: MASKED,
        how: Inside {
            with: |c| put(c, "/linux/maskedPaths", json!(["/masked/file"])),
            without: PLAIN,
            script: "echo bytes: $(wc -c < /masked/file); cat /data/file",
            holds: |seen| seen.says("bytes: 0") && seen.says("seen"),
        },
    },
    Case {
        name: "linux_masked_paths/directory",
        section: MASKED,
        how: Inside {
            with: |c| put(c, "/linux/maskedPaths", json!(["/masked"])),
            without: PLAIN,
            script: "echo names: $(ls /masked | wc -l); touch /masked/new 2>/dev/null && echo written; echo ended",
            holds: |seen| seen.says("names: 0") && !seen.says("written") && seen.says("ended"),
        },
    },
    Case {
        name: "linux_masked_paths/kernel",
        section: MASKED,
        how: Inside {
            with: |c| put(c, "/linux/maskedPaths", json!(["/proc/version", "/proc/sys/kernel"])),
            without: PLAIN,
            script: "echo bytes: $(cat /proc/version | wc -c); echo names: $(ls /proc/sys/kernel | wc -l)",
            holds: |seen| seen.says("bytes: 0") && seen.says("names: 0"),
        },
    },
    Case {
        name: "linux_masked_paths/missing",
        section: MASKED,
        how: Inside {
            with: |c| put(c, "/linux/maskedPaths", json!(["/nowhere", "/masked/file"])),
            without: PLAIN,
            script: "echo bytes: $(wc -c < /masked/file)",
            holds: |seen| seen.says("bytes: 0"),
        },
    },
    Case {
        name: "linux_masked_paths/relative",
        section: MASKED,
        how: Wrong { with: |c| put(c, "/linux/maskedPaths", json!(["masked"])), words: "no absolute path" },
    },
    Case {
        name: "linux_readonly_paths",
        section: READ_ONLY,
        how: Inside {
            with: |c| {
                put(c, "/root/readonly", json!(false));
                let mount = json!({"destination": "/mnt", "source": "shared", "options": ["bind"]});
                add(c, "/mounts", mount);
                put(c, "/linux/readonlyPaths", json!(["/mnt", "/nowhere"]));
            },
            without: |c| {
                put(c, "/root/readonly", json!(false));
                let mount = json!({"destination": "/mnt", "source": "shared", "options": ["bind"]});
                add(c, "/mounts", mount);
            },
            script: "cat /mnt/file; touch /mnt/new 2>&1; touch /data/new && echo others",
            holds: |seen| seen.says("shared") && seen.log.contains("Read-only file system") && seen.says("others"),
        },
    },
    Case {
        name: "linux_readonly_paths/file-and-directory",
        section: READ_ONLY,
        how: Inside {
            with: |c| {
                put(c, "/root/readonly", json!(false));
                put(c, "/linux/readonlyPaths", json!(["/data", "/masked/file"]));
            },
            without: |c| put(c, "/root/readonly", json!(false)),
            script: "touch /data/new 2>&1; (echo > /masked/file) 2>&1; touch /masked/new && echo others",
            holds: |seen| seen.log.matches("Read-only file system").count() == 2 && seen.says("others"),
        },
    },
    Case {
        name: "linux_readonly_paths/kernel",
        section: READ_ONLY,
        how: Inside {
            with: |c| put(c, "/linux/readonlyPaths", json!(["/proc/sys"])),
            without: PLAIN,
            script: "(echo 1 > /proc/sys/net/ipv4/ip_forward) 2>&1; cat /proc/sys/net/ipv4/ip_forward",
            holds: |seen| seen.log.contains("Read-only file system") && seen.says("0"),
        },
    },
    Case {
        name: "linux_readonly_paths/relative",
        section: READ_ONLY,
        how: Wrong { with: |c| put(c, "/linux/readonlyPaths", json!(["data"])), words: "no absolute path" },
    },
    Case {
        name: "linux_rootfs_propagation/private",
        section: PROPAGATION,
        how: Inside {
            with: |c| put(c, "/linux/rootfsPropagation", json!("private")),
            // There is no other root; this is what the kernel would say of it.
            without: |c| put(c, "/process/args", json!(["/bin/echo", "1 0 0:1 / / rw shared:1 - x x rw"])),
            script: "cat /proc/self/mountinfo",
            holds: |seen| optional_fields(&seen.log, "/").is_some_and(|fields| fields.is_empty()),
        },
    },
    Case {
        name: "linux_rootfs_propagation/slave",
        section: PROPAGATION,
        how: Unsayable {
            with: |c| put(c, "/linux/rootfsPropagation", json!("slave")),
            words: "/linux/rootfsPropagation",
        },
    },
    Case {
        name: "linux_rootfs_propagation/shared",
        section: PROPAGATION,
        how: Unsayable {
            with: |c| put(c, "/linux/rootfsPropagation", json!("shared")),
            words: "/linux/rootfsPropagation",
        },
    },
    Case {
        name: "linux_rootfs_propagation/unbindable",
        section: PROPAGATION,
        how: Unsayable {
            with: |c| put(c, "/linux/rootfsPropagation", json!("unbindable")),
            words: "/linux/rootfsPropagation",
        },
    },
    Case {
        name: "linux_sysctl/network",
        section: SYSCTL,
        how: Inside {
            with: |c| put(c, "/linux/sysctl", json!({"net.ipv4.ip_forward": "1"})),
            without: PLAIN,
            script: "cat /proc/sys/net/ipv4/ip_forward",
            holds: |seen| seen.says("1"),
        },
    },
    Case {
        name: "linux_sysctl/ipc",
        section: SYSCTL,
        how: Inside {
            with: |c| put(c, "/linux/sysctl", json!({"kernel.shmmni": "1234", "fs.mqueue.msg_max": "77"})),
            without: PLAIN,
            script: "cat /proc/sys/kernel/shmmni /proc/sys/fs/mqueue/msg_max",
            holds: |seen| seen.says("1234") && seen.says("77"),
        },
    },
    Case {
        name: "linux_sysctl/of-the-device",
        section: SYSCTL,
        how: Wrong {
            with: |c| {
                put(c, "/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}));
                share(c, "network");
            },
            words: "setting of the whole device",
        },
    },
    Case {
        name: "linux_sysctl/without-a-namespace",
        section: SYSCTL,
        how: Unsayable {
            with: |c| put(c, "/linux/sysctl", json!({"vm.swappiness": "1"})),
            words: "setting of the whole device",
        },
    },
    Case {
        name: "linux_seccomp",
        section: SECCOMP,
        how: Inside {
            with: |c| filter(c, json!({"names": ["getcwd", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"})),
            without: PLAIN,
            script: "mkdir /dev/new 2>&1 && echo made; grep Seccomp: /proc/self/status",
            holds: |seen| {
                seen.log.contains("Operation not permitted") && !seen.says("made") && seen.of("Seccomp:") == Some("2")
            },
        },
    },
    Case {
        name: "linux_seccomp/errno",
        section: SECCOMP,
        how: Inside {
            with: |c| {
                filter(c, json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}));
            },
            without: |c| filter(c, json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"})),
            script: "mkdir /dev/new 2>&1; echo ended",
            holds: |seen| seen.log.contains("No space left on device") && seen.says("ended"),
        },
    },
    Case {
        name: "linux_seccomp/arguments",
        section: SECCOMP,
        how: Inside {
            with: |c| {
                let args = json!([{"index": 1, "value": 9, "op": "SCMP_CMP_EQ"}]);
                filter(c, json!({"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": args}));
            },
            without: PLAIN,
            script: "sleep 9 & kill -9 $! 2>&1; kill -15 $! && echo other signals; kill -9 $$ || echo refused",
            holds: |seen| {
                seen.log.contains("Operation not permitted") && seen.says("other signals") && seen.says("refused")
            },
        },
    },
    Case {
        name: "linux_seccomp/kill",
        section: SECCOMP,
        how: Inside {
            with: |c| filter(c, json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL"})),
            without: PLAIN,
            script: "mkdir /dev/new; echo code: $?",
            // The shell runs some programs itself.
            holds: |seen| seen.says("code: 159") || seen.outcome == Outcome::Signal(31),
        },
    },
    Case {
        name: "linux_seccomp/only-these",
        section: SECCOMP,
        how: Inside {
            with: |c| {
                let calls = [
                    "access",
                    "arch_prctl",
                    "brk",
                    "capget",
                    "close",
                    "dup",
                    "dup2",
                    "execve",
                    "exit",
                    "exit_group",
                    "fcntl",
                    "fstat",
                    "getcwd",
                    "getegid",
                    "geteuid",
                    "getgid",
                    "getpid",
                    "getppid",
                    "getrandom",
                    "getuid",
                    "ioctl",
                    "lseek",
                    "mmap",
                    "mprotect",
                    "munmap",
                    "newfstatat",
                    "open",
                    "openat",
                    "poll",
                    "prctl",
                    "prlimit64",
                    "read",
                    "readlink",
                    "readlinkat",
                    "rseq",
                    "rt_sigaction",
                    "rt_sigprocmask",
                    "sched_getaffinity",
                    "set_robust_list",
                    "set_tid_address",
                    "setgid",
                    "setuid",
                    "sigaltstack",
                    "stat",
                    "statx",
                    "sysinfo",
                    "uname",
                    "wait4",
                    "write",
                    "writev",
                    "futex",
                    "gettid",
                    "clone",
                    "clone3",
                    "vfork",
                    "fork",
                    "umask",
                    "setgroups",
                    "setresuid",
                    "setresgid",
                    "capset",
                    "chdir",
                    "seccomp",
                    "pread64",
                    "madvise",
                    "pipe2",
                    "tgkill",
                ];
                let allowed = json!([{"names": calls.as_slice(), "action": "SCMP_ACT_ALLOW"}]);
                put(c, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": allowed}));
            },
            without: PLAIN,
            script: "echo up; mkdir /dev/new 2>&1 && echo made; hostname",
            holds: |seen| seen.says("up") && seen.log.contains("Operation not permitted") && !seen.says("made"),
        },
    },
    Case {
        name: "linux_seccomp/log",
        section: SECCOMP,
        how: Unsayable {
            with: |c| filter(c, json!({"names": ["mkdir"], "action": "SCMP_ACT_LOG"})),
            words: "no profile of LXC says this",
        },
    },
    Case {
        name: "linux_seccomp/notify",
        section: SECCOMP,
        how: Unsayable {
            with: |c| filter(c, json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"})),
            words: "no profile of LXC says this",
        },
    },
    Case {
        name: "linux_seccomp/unknown-call",
        section: SECCOMP,
        how: Wrong {
            with: |c| filter(c, json!({"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"})),
            words: "no architecture has a call",
        },
    },
    Case {
        name: "linux_seccomp/no-names",
        section: SECCOMP,
        how: Wrong { with: |c| filter(c, json!({"names": [], "action": "SCMP_ACT_ERRNO"})), words: "names no call" },
    },
    Case {
        name: "linux_mount_label",
        section: "config-linux.md#mount-label",
        how: Unsayable {
            with: |c| put(c, "/linux/mountLabel", json!("system_u:object_r:svirt_sandbox_file_t:s0")),
            words: "/linux/mountLabel",
        },
    },
    Case {
        name: "linux_intel_rdt",
        section: "config-linux.md#intelrdt",
        how: Unsayable {
            with: |c| put(c, "/linux/intelRdt", json!({"closID": "one", "l3CacheSchema": "L3:0=f"})),
            words: "/linux/intelRdt",
        },
    },
    Case {
        name: "linux_personality",
        section: "config-linux.md#personality",
        how: Unsayable {
            with: |c| put(c, "/linux/personality", json!({"domain": "LINUX32"})),
            words: "/linux/personality",
        },
    },
    Case {
        name: "linux_time_offsets",
        section: "config-linux.md#time-offsets",
        how: Unsayable {
            with: |c| put(c, "/linux/timeOffsets", json!({"boottime": {"secs": 50}})),
            words: "/linux/timeOffsets",
        },
    },
];

/// A filter of one rule; everything else is allowed.
fn filter(config: &mut Value, rule: Value) {
    put(config, "/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}));
}
