//! What a container may use up: the files of its group while it runs, in either generation of cgroups.

use serde_json::json;

use crate::table::How::{Group, Inside, Unsayable, Wrong};
use crate::table::{Case, PLAIN};
use crate::world::put;

const MEMORY: &str = "config-linux.md#memory";
const CPU: &str = "config-linux.md#cpu";
const DISKS: &str = "config-linux.md#block-io";
const HUGE: &str = "config-linux.md#huge-page-limits";
const NETWORK: &str = "config-linux.md#network";
const DEVICES: &str = "config-linux.md#allowed-device-list";
const UNIFIED: &str = "config-linux.md#unified";
const PATH: &str = "config-linux.md#cgroups-path";

pub(crate) const ALL: &[Case] = &[
    Case {
        name: "linux_cgroups_memory/limit",
        section: MEMORY,
        how: Group {
            with: |c| put(c, "/linux/resources/memory/limit", json!(50_331_648)),
            files: &[("memory.limit_in_bytes", "50331648"), ("memory.max", "50331648")],
        },
    },
    Case {
        name: "linux_cgroups_memory/reservation",
        section: MEMORY,
        how: Group {
            with: |c| put(c, "/linux/resources/memory/reservation", json!(20_971_520)),
            files: &[("memory.soft_limit_in_bytes", "20971520"), ("memory.low", "20971520")],
        },
    },
    Case {
        name: "linux_cgroups_memory/swap",
        section: MEMORY,
        how: Group {
            with: |c| put(c, "/linux/resources/memory", json!({"limit": 50_331_648, "swap": 67_108_864})),
            files: &[("memory.memsw.limit_in_bytes", "67108864"), ("memory.swap.max", "16777216")],
        },
    },
    Case {
        name: "linux_cgroups_memory/swappiness",
        section: MEMORY,
        how: Group {
            with: |c| put(c, "/linux/resources/memory/swappiness", json!(17)),
            files: &[("memory.swappiness", "17")],
        },
    },
    Case {
        name: "linux_cgroups_memory/ended",
        section: MEMORY,
        how: Inside {
            with: |c| put(c, "/linux/resources/memory", json!({"limit": 16_777_216, "swap": 16_777_216})),
            without: PLAIN,
            script: "head -c 24000000 /dev/zero | tr '\\0' x | awk '{ print length($0) }'; echo ended",
            holds: |seen| !seen.says("24000000"),
        },
    },
    Case {
        name: "linux_cgroups_cpus/shares",
        section: CPU,
        how: Group {
            with: |c| put(c, "/linux/resources/cpu/shares", json!(512)),
            files: &[("cpu.shares", "512"), ("cpu.weight", "50"), ("cpu.weight", "20"), ("cpu.weight", "59")],
        },
    },
    Case {
        name: "linux_cgroups_cpus/quota",
        section: CPU,
        how: Group {
            with: |c| put(c, "/linux/resources/cpu", json!({"quota": 40_000, "period": 80_000})),
            files: &[("cpu.cfs_quota_us", "40000"), ("cpu.max", "40000 80000")],
        },
    },
    Case {
        name: "linux_cgroups_cpus/period",
        section: CPU,
        how: Group {
            with: |c| put(c, "/linux/resources/cpu", json!({"quota": 40_000, "period": 80_000})),
            files: &[("cpu.cfs_period_us", "80000"), ("cpu.max", "40000 80000")],
        },
    },
    Case {
        name: "linux_cgroups_cpus/cpus",
        section: CPU,
        how: Inside {
            with: |c| put(c, "/linux/resources/cpu", json!({"cpus": "0", "mems": "0"})),
            without: PLAIN,
            script: "grep Cpus_allowed_list /proc/self/status",
            holds: |seen| seen.of("Cpus_allowed_list:") == Some("0"),
        },
    },
    Case {
        name: "linux_cgroups_cpus/realtime",
        section: CPU,
        // The groups above it have none to give, or the kernel knows none.
        how: Unsayable {
            with: |c| put(c, "/linux/resources/cpu/realtimeRuntime", json!(1000)),
            words: "lxc.cgroup.cpu.rt_runtime_us cannot be honoured on this device",
        },
    },
    Case {
        name: "linux_cgroups_pids",
        section: "config-linux.md#pids",
        how: Group { with: |c| put(c, "/linux/resources/pids/limit", json!(33)), files: &[("pids.max", "33")] },
    },
    Case {
        name: "linux_cgroups_pids/in-force",
        section: "config-linux.md#pids",
        how: Inside {
            with: |c| put(c, "/linux/resources/pids/limit", json!(4)),
            without: PLAIN,
            script: "for one in 1 2 3 4 5 6 7 8; do sleep 1 & done 2>&1; echo ended",
            holds: |seen| seen.log.contains("fork"),
        },
    },
    Case {
        name: "linux_cgroups_blkio/weight",
        section: DISKS,
        how: Group {
            with: |c| put(c, "/linux/resources/blockIO/weight", json!(300)),
            // Three fifths of the usual, which is 500 in the first of these files and 100 in the others.
            files: &[("blkio.weight", "300"), ("blkio.bfq.weight", "60"), ("io.weight", "default 60")],
        },
    },
    Case {
        name: "linux_cgroups_blkio/throttle",
        section: DISKS,
        how: Group {
            with: |c| {
                let rate = json!([{"major": 7, "minor": 0, "rate": 1_048_576}]);
                put(c, "/linux/resources/blockIO/throttleReadBpsDevice", rate);
            },
            files: &[
                ("blkio.throttle.read_bps_device", "7:0 1048576"),
                ("io.max", "7:0 rbps=1048576 wbps=max riops=max wiops=max"),
            ],
        },
    },
    Case {
        name: "linux_cgroups_blkio/throttle-operations",
        section: DISKS,
        how: Group {
            with: |c| {
                let rate = json!([{"major": 7, "minor": 0, "rate": 500}]);
                put(c, "/linux/resources/blockIO/throttleWriteIOPSDevice", rate);
            },
            files: &[
                ("blkio.throttle.write_iops_device", "7:0 500"),
                ("io.max", "7:0 rbps=max wbps=max riops=max wiops=500"),
            ],
        },
    },
    Case {
        name: "linux_cgroups_blkio/weight-of-nothing",
        section: DISKS,
        how: Wrong {
            with: |c| put(c, "/linux/resources/blockIO/weightDevice", json!([{"major": 7, "minor": 0}])),
            words: "neither weight nor leafWeight",
        },
    },
    Case {
        name: "linux_cgroups_hugetlb",
        section: HUGE,
        how: Group {
            with: |c| {
                put(c, "/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4_194_304}]));
            },
            files: &[("hugetlb.2MB.limit_in_bytes", "4194304"), ("hugetlb.2MB.max", "4194304")],
        },
    },
    Case {
        name: "linux_cgroups_network/class",
        section: NETWORK,
        how: Group {
            with: |c| put(c, "/linux/resources/network/classID", json!(1_048_577)),
            files: &[("net_cls.classid", "1048577")],
        },
    },
    Case {
        name: "linux_cgroups_network/priorities",
        section: NETWORK,
        how: Group {
            with: |c| {
                put(c, "/linux/resources/network/priorities", json!([{"name": "lo", "priority": 10}]));
            },
            files: &[("net_prio.ifpriomap", "lo 10")],
        },
    },
    Case {
        name: "linux_cgroups_devices",
        section: DEVICES,
        how: Inside {
            with: |c| {
                put(c, "/linux/devices", json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]));
                put(c, "/linux/resources/devices", json!([{"allow": false, "access": "rwm"}]));
            },
            without: |c| {
                put(c, "/linux/devices", json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]));
            },
            script: "head -c 0 /dev/null && echo null; (exec 3> /dev/kmsg) 2>&1; echo ended",
            holds: |seen| seen.says("null") && seen.log.contains("Operation not permitted") && seen.says("ended"),
        },
    },
    Case {
        name: "linux_cgroups_devices/order",
        section: DEVICES,
        how: Inside {
            with: |c| {
                put(c, "/linux/devices", json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]));
                let allow = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"});
                put(c, "/linux/resources/devices", json!([{"allow": false, "access": "rwm"}, allow]));
            },
            without: |c| {
                put(c, "/linux/devices", json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]));
                let allow = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "w"});
                put(c, "/linux/resources/devices", json!([allow, {"allow": false, "access": "rwm"}]));
            },
            script: "(exec 3> /dev/kmsg) && echo written; (exec 3< /dev/kmsg) 2>&1 || echo not read",
            holds: |seen| seen.says("written") && seen.says("not read"),
        },
    },
    Case {
        name: "linux_cgroups_unified",
        section: UNIFIED,
        how: Group {
            with: |c| put(c, "/linux/resources/unified", json!({"cgroup.max.descendants": "7"})),
            files: &[("cgroup.max.descendants", "7")],
        },
    },
    Case {
        name: "linux_cgroups_unified/unknown",
        section: UNIFIED,
        how: Wrong {
            with: |c| put(c, "/linux/resources/unified", json!({"memory.no_such_file": "7"})),
            words: "memory.no_such_file",
        },
    },
    Case {
        name: "linux_cgroups_relative",
        section: PATH,
        how: Unsayable {
            with: |c| put(c, "/linux/cgroupsPath", json!("testdir/runtime-test/container")),
            words: "lxc.cgroup.dir",
        },
    },
    Case {
        name: "linux_cgroups_absolute",
        section: PATH,
        how: Unsayable { with: |c| put(c, "/linux/cgroupsPath", json!("/cgrouptest")), words: "lxc.cgroup.dir" },
    },
    Case {
        name: "linux_cgroups_rdma",
        section: "config-linux.md#rdma",
        how: Unsayable {
            with: |c| put(c, "/linux/resources/rdma", json!({"mlx5_1": {"hcaHandles": 3}})),
            words: "/linux/resources/rdma",
        },
    },
];
