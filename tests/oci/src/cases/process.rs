//! The process of a container, its root and the names of its host.

use serde_json::{Value, json};

use crate::table::How::{Inside, Unsayable, Wrong};
use crate::table::{Case, PLAIN};
use crate::world::{put, share};

const PROCESS: &str = "config.md#process";
const POSIX: &str = "config.md#posix-process";
const LINUX: &str = "config.md#linux-process";
const USER: &str = "config.md#posix-platform-user";
const ROOT: &str = "config.md#root";

/// Sets of capabilities, as the kernel writes them.
const SETS: &str = "grep Cap /proc/self/status";
const LIMITS: &str = "cat /proc/self/limits";
const IDS: &str = "id -u; id -g; echo groups: $(id -G)";

pub(crate) const ALL: &[Case] = &[
    Case {
        name: "process/args",
        section: POSIX,
        how: Inside {
            with: |c| put(c, "/process/args", json!(["/bin/echo", "two words", "", "a'b", "#c", "$d"])),
            without: PLAIN,
            script: "true",
            holds: |seen| seen.log == "two words  a'b #c $d\n",
        },
    },
    Case {
        name: "process/env",
        section: POSIX,
        how: Inside {
            with: |c| put(c, "/process/env", json!(["PATH=/bin", "ONE=1 and = more", "EMPTY="])),
            without: PLAIN,
            script: "echo one: $ONE; echo empty: ${EMPTY+set}",
            holds: |seen| seen.says("one: 1 and = more") && seen.says("empty: set"),
        },
    },
    Case {
        name: "process/cwd",
        section: PROCESS,
        how: Inside {
            with: |c| put(c, "/process/cwd", json!("/data")),
            without: PLAIN,
            script: "pwd",
            holds: |seen| seen.says("/data"),
        },
    },
    Case {
        name: "process/cwd-relative",
        section: PROCESS,
        how: Wrong { with: |c| put(c, "/process/cwd", json!("data")), words: "lxc.init.cwd" },
    },
    Case {
        name: "process/no-args",
        section: POSIX,
        how: Wrong { with: |c| put(c, "/process/args", json!([])), words: "/process/args" },
    },
    Case {
        name: "process/terminal",
        section: PROCESS,
        how: Unsayable { with: |c| put(c, "/process/terminal", json!(true)), words: "/process/terminal" },
    },
    Case {
        name: "process/no-new-privileges",
        section: LINUX,
        how: Inside {
            with: |c| put(c, "/process/noNewPrivileges", json!(true)),
            without: PLAIN,
            script: "cat /proc/self/status",
            holds: |seen| seen.of("NoNewPrivs:") == Some("1"),
        },
    },
    Case {
        name: "process_user",
        section: USER,
        how: Inside {
            with: |c| put(c, "/process/user", json!({"uid": 10, "gid": 20, "additionalGids": [5, 30]})),
            without: PLAIN,
            script: IDS,
            holds: |seen| seen.says("10") && seen.says("groups: 20 5 30"),
        },
    },
    Case {
        name: "process_user/groups-of-root",
        section: USER,
        how: Inside {
            with: |c| put(c, "/process/user/additionalGids", json!([7])),
            without: PLAIN,
            script: IDS,
            holds: |seen| seen.says("groups: 0 7"),
        },
    },
    Case {
        name: "process_user/umask",
        section: USER,
        how: Unsayable { with: |c| put(c, "/process/user/umask", json!(0o27)), words: "/process/user/umask" },
    },
    Case {
        name: "process_capabilities/of-root",
        section: LINUX,
        how: Inside {
            with: |c| sets(c, &["bounding", "effective", "permitted"], &["CAP_NET_RAW", "CAP_SYS_TIME"]),
            without: PLAIN,
            script: SETS,
            holds: |seen| {
                let all = Some("0000000002002000");
                let none = Some("0000000000000000");
                [seen.of("CapBnd:"), seen.of("CapEff:"), seen.of("CapPrm:")] == [all; 3]
                    && [seen.of("CapInh:"), seen.of("CapAmb:")] == [none; 2]
            },
        },
    },
    Case {
        name: "process_capabilities/none",
        section: LINUX,
        how: Inside {
            with: |c| put(c, "/process/capabilities", json!({})),
            without: PLAIN,
            script: SETS,
            holds: |seen| {
                ["CapBnd:", "CapEff:", "CapPrm:", "CapInh:", "CapAmb:"]
                    .iter()
                    .all(|set| seen.of(set) == Some("0000000000000000"))
            },
        },
    },
    Case {
        name: "process_capabilities/of-a-user",
        section: LINUX,
        how: Inside {
            with: |c| {
                put(c, "/process/user", json!({"uid": 10, "gid": 10}));
                sets(c, &["bounding", "effective", "permitted"], &["CAP_CHOWN", "CAP_KILL"]);
            },
            without: |c| {
                put(c, "/process/user", json!({"uid": 10, "gid": 10}));
                sets(c, &["bounding", "effective", "permitted", "inheritable", "ambient"], &["CAP_CHOWN", "CAP_KILL"]);
            },
            script: SETS,
            holds: |seen| {
                seen.of("CapBnd:") == Some("0000000000000021") && seen.of("CapEff:") == Some("0000000000000000")
            },
        },
    },
    Case {
        name: "process_capabilities/ambient",
        section: LINUX,
        how: Inside {
            with: |c| {
                put(c, "/process/user", json!({"uid": 10, "gid": 10}));
                sets(c, &["bounding", "effective", "permitted", "inheritable", "ambient"], &["CAP_NET_BIND_SERVICE"]);
            },
            without: |c| {
                put(c, "/process/user", json!({"uid": 10, "gid": 10}));
                sets(c, &["bounding", "effective", "permitted"], &["CAP_NET_BIND_SERVICE"]);
            },
            script: SETS,
            holds: |seen| {
                ["CapBnd:", "CapEff:", "CapPrm:", "CapInh:", "CapAmb:"]
                    .iter()
                    .all(|set| seen.of(set) == Some("0000000000000400"))
            },
        },
    },
    Case {
        name: "process_capabilities/differing",
        section: LINUX,
        how: Unsayable {
            with: |c| put(c, "/process/capabilities/effective", json!(["CAP_CHOWN"])),
            words: "no key of LXC says sets that differ",
        },
    },
    Case {
        name: "process_capabilities/inheritable",
        section: LINUX,
        how: Unsayable {
            with: |c| put(c, "/process/capabilities/inheritable", json!(["CAP_CHOWN"])),
            words: "no key of LXC says sets that differ",
        },
    },
    Case {
        name: "process_capabilities_fail",
        section: LINUX,
        how: Wrong { with: |c| sets(c, &["bounding", "effective", "permitted"], &["CAP_TEST"]), words: "lxc.cap.keep" },
    },
    Case {
        name: "process_rlimits",
        section: POSIX,
        how: Inside {
            with: |c| {
                // None is raised: not every root may do that.
                let all = [
                    ("AS", 1_u64 << 30, 1_u64 << 31),
                    ("CORE", 1000, 2000),
                    ("CPU", 100, 200),
                    ("DATA", 1 << 29, 1 << 30),
                    ("FSIZE", 5000, 6000),
                    ("LOCKS", 11, 12),
                    ("MEMLOCK", 4096, 8192),
                    ("MSGQUEUE", 1000, 2000),
                    ("NICE", 0, 0),
                    ("NOFILE", 64, 128),
                    ("NPROC", 300, 400),
                    ("RSS", 1000, 2000),
                    ("RTPRIO", 0, 0),
                    ("RTTIME", 500, 600),
                    ("SIGPENDING", 70, 80),
                    ("STACK", 1 << 20, 1 << 21),
                ];
                let all =
                    all.map(|(name, soft, hard)| json!({"type": format!("RLIMIT_{name}"), "soft": soft, "hard": hard}));
                put(c, "/process/rlimits", json!(all));
            },
            without: PLAIN,
            script: LIMITS,
            holds: |seen| {
                [
                    ("Max address space", "1073741824 2147483648"),
                    ("Max core file size", "1000 2000"),
                    ("Max cpu time", "100 200"),
                    ("Max data size", "536870912 1073741824"),
                    ("Max file size", "5000 6000"),
                    ("Max file locks", "11 12"),
                    ("Max locked memory", "4096 8192"),
                    ("Max msgqueue size", "1000 2000"),
                    ("Max nice priority", "0 0"),
                    ("Max open files", "64 128"),
                    ("Max processes", "300 400"),
                    ("Max resident set", "1000 2000"),
                    ("Max realtime priority", "0 0"),
                    ("Max realtime timeout", "500 600"),
                    ("Max pending signals", "70 80"),
                    ("Max stack size", "1048576 2097152"),
                ]
                .iter()
                .all(|(name, values)| {
                    let said = seen.of(name).unwrap_or_default();
                    said.split_whitespace().take(2).collect::<Vec<_>>().join(" ") == *values
                })
            },
        },
    },
    Case {
        name: "process_rlimits/unlimited",
        section: POSIX,
        how: Inside {
            with: |c| put(c, "/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 7, "hard": u64::MAX}])),
            without: |c| put(c, "/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 7, "hard": 8}])),
            script: LIMITS,
            holds: |seen| {
                seen.of("Max core file size").is_some_and(|said| said.starts_with("7 ") && said.contains(" unlimited "))
            },
        },
    },
    Case {
        name: "process_rlimits_fail/unknown",
        section: POSIX,
        how: Wrong {
            with: |c| put(c, "/process/rlimits", json!([{"type": "RLIMIT_TEST", "soft": 1, "hard": 1}])),
            words: "lxc.prlimit.test",
        },
    },
    Case {
        name: "process_rlimits_fail/twice",
        section: POSIX,
        how: Wrong {
            with: |c| {
                let one = json!({"type": "RLIMIT_CORE", "soft": 1, "hard": 1});
                put(c, "/process/rlimits", json!([one, one]));
            },
            words: "twice",
        },
    },
    Case {
        name: "process_rlimits_fail/soft-above-hard",
        section: POSIX,
        how: Wrong {
            with: |c| put(c, "/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}])),
            words: "lxc.prlimit.core",
        },
    },
    Case {
        name: "process_oom_score_adj",
        section: LINUX,
        how: Inside {
            with: |c| put(c, "/process/oomScoreAdj", json!(543)),
            without: PLAIN,
            script: "cat /proc/self/oom_score_adj",
            holds: |seen| seen.says("543"),
        },
    },
    Case {
        name: "linux_process_apparmor_profile",
        section: LINUX,
        how: Unsayable {
            with: |c| put(c, "/process/apparmorProfile", json!("acme_secure_profile")),
            words: "lxc.apparmor.profile",
        },
    },
    Case {
        name: "process/selinux-label",
        section: LINUX,
        how: Unsayable {
            with: |c| put(c, "/process/selinuxLabel", json!("system_u:system_r:svirt_lxc_net_t:s0")),
            words: "lxc.selinux.context",
        },
    },
    Case {
        name: "process/io-priority",
        section: LINUX,
        how: Unsayable {
            with: |c| put(c, "/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 4})),
            words: "/process/ioPriority",
        },
    },
    Case {
        name: "process/scheduler",
        section: LINUX,
        how: Unsayable {
            with: |c| put(c, "/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 5})),
            words: "/process/scheduler",
        },
    },
    Case {
        name: "process/cpu-affinity",
        section: LINUX,
        how: Unsayable {
            with: |c| put(c, "/process/execCPUAffinity", json!({"initial": "0"})),
            words: "/process/execCPUAffinity",
        },
    },
    Case {
        name: "hostname",
        section: "config.md#hostname",
        how: Inside {
            with: |c| put(c, "/hostname", json!("hostname-specific")),
            without: PLAIN,
            script: "hostname",
            holds: |seen| seen.says("hostname-specific"),
        },
    },
    Case {
        name: "hostname/of-the-device",
        section: "config.md#hostname",
        how: Wrong {
            with: |c| {
                put(c, "/hostname", json!("hostname-specific"));
                share(c, "uts");
            },
            words: "lxc.uts.name",
        },
    },
    Case {
        name: "domainname",
        section: "config.md#domainname",
        how: Inside {
            with: |c| put(c, "/domainname", json!("example.org")),
            without: PLAIN,
            script: "cat /proc/sys/kernel/domainname",
            holds: |seen| seen.says("example.org"),
        },
    },
    Case {
        name: "root_readonly_true",
        section: ROOT,
        how: Inside {
            with: PLAIN,
            without: |c| put(c, "/root/readonly", json!(false)),
            script: "touch /data/new 2>&1 && echo written; grep ' / / ' /proc/self/mountinfo",
            holds: |seen| seen.log.contains("Read-only file system") && !seen.says("written"),
        },
    },
    Case {
        name: "root_readonly_false",
        section: ROOT,
        how: Inside {
            with: |c| put(c, "/root/readonly", json!(false)),
            without: PLAIN,
            script: "echo own > /data/file && cat /data/file",
            holds: |seen| seen.says("own"),
        },
    },
    Case { name: "root/none", section: ROOT, how: Wrong { with: |c| put(c, "/root", Value::Null), words: "/root" } },
    Case {
        name: "root/missing",
        section: ROOT,
        how: Wrong { with: |c| put(c, "/root/path", json!("missing")), words: "/root/path" },
    },
];

/// The same capabilities in these sets, and none in others.
fn sets(config: &mut Value, names: &[&str], all: &[&str]) {
    put(config, "/process/capabilities", json!({}));
    names.iter().for_each(|name| put(config, &format!("/process/capabilities/{name}"), json!(all)));
}
