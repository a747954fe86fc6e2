//! Tables against the C library's, filters against their policy, and what a container may do under the default one.

use std::collections::BTreeMap;

use formats::seccomp::{Action, Call, STEPS_MAX};

use super::compile::{Policy, Verdict};
use super::*;

const EPERM: Action = Action::Errno(1);
const ENOSYS: Action = Action::Errno(38);

fn numbers(arch: Arch) -> BTreeMap<&'static str, u32> {
    table::calls(arch).map(|(number, name)| (name, number)).collect()
}

/// What the default filter of an image decides on a machine.
struct Under(Filter, Arch);

impl Under {
    fn of(arch: Arch) -> Self {
        Self(confined(arch, &[]).unwrap(), arch)
    }

    fn with(arch: Arch, keeps: &[Capability]) -> Self {
        Self(confined(arch, keeps).unwrap(), arch)
    }

    fn number(&self, number: u32, first: u64) -> Action {
        self.0.decide(&Call { arch: self.1.audit(), number, args: [first, 0, 0, 0, 0, 0], ..Call::default() })
    }

    fn call(&self, name: &str, first: u64) -> Action {
        self.number(numbers(self.1)[name], first)
    }
}

#[test]
fn every_line_of_every_table_is_a_number_and_a_name_in_order() {
    for (arch, text) in [
        (Arch::X86_64, include_str!("tables/x86_64.txt")),
        (Arch::I386, include_str!("tables/i386.txt")),
        (Arch::Aarch64, include_str!("tables/aarch64.txt")),
        (Arch::Arm, include_str!("tables/arm.txt")),
        (Arch::Riscv64, include_str!("tables/riscv64.txt")),
    ] {
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        let calls: Vec<_> = table::calls(arch).collect();
        assert_eq!(calls.len(), lines, "{arch}");
        assert!(calls.is_sorted_by(|(a, _), (b, _)| a < b), "{arch}");
        assert_eq!(numbers(arch).len(), lines, "{arch}: a name twice");
        assert_eq!(["read", "execve", "exit_group"].map(|name| numbers(arch)[name]), arch.vital());
    }
}

#[test]
fn the_table_of_this_machine_agrees_with_the_c_library() {
    let table = numbers(Arch::NATIVE);
    macro_rules! agree {
        ($($call:ident => $name:literal),* $(,)?) => {
            $(assert_eq!(table.get($name).copied(), u32::try_from(libc::$call).ok(), $name);)*
        };
    }
    agree! {
        SYS_read => "read", SYS_write => "write", SYS_openat => "openat", SYS_close => "close", SYS_mmap => "mmap",
        SYS_clone => "clone", SYS_clone3 => "clone3", SYS_execve => "execve", SYS_execveat => "execveat",
        SYS_exit_group => "exit_group", SYS_mount => "mount", SYS_umount2 => "umount2", SYS_pivot_root => "pivot_root",
        SYS_unshare => "unshare", SYS_setns => "setns", SYS_keyctl => "keyctl", SYS_add_key => "add_key",
        SYS_request_key => "request_key", SYS_bpf => "bpf", SYS_perf_event_open => "perf_event_open",
        SYS_ptrace => "ptrace", SYS_process_vm_readv => "process_vm_readv", SYS_kcmp => "kcmp",
        SYS_init_module => "init_module", SYS_finit_module => "finit_module", SYS_kexec_load => "kexec_load",
        SYS_reboot => "reboot", SYS_swapon => "swapon", SYS_syslog => "syslog", SYS_socket => "socket",
        SYS_personality => "personality", SYS_io_uring_setup => "io_uring_setup", SYS_userfaultfd => "userfaultfd",
        SYS_open_by_handle_at => "open_by_handle_at", SYS_move_mount => "move_mount", SYS_fsopen => "fsopen",
        SYS_mount_setattr => "mount_setattr", SYS_pidfd_getfd => "pidfd_getfd", SYS_openat2 => "openat2",
        SYS_rseq => "rseq", SYS_futex => "futex", SYS_getrandom => "getrandom", SYS_statx => "statx",
        SYS_landlock_restrict_self => "landlock_restrict_self", SYS_memfd_secret => "memfd_secret",
    }
}

#[test]
fn every_name_of_the_default_policy_is_a_call_somewhere() {
    let everything: Vec<_> = Arch::ALL.into_iter().flat_map(|arch| numbers(arch).into_keys()).collect();
    for arch in Arch::ALL {
        for rule in policy::confined(arch, &every_capability()).rules {
            assert!(everything.contains(&rule.name.as_str()), "{}", rule.name);
        }
    }
}

fn every_capability() -> Vec<Capability> {
    policy::WITH.iter().flat_map(|(capabilities, _)| *capabilities).copied().collect()
}

/// What a policy says, without a tree.
fn plainly(policy: &Policy, table: &BTreeMap<u32, &str>, newest: u32, number: u32, first: u32) -> Action {
    let Some(name) = table.get(&number) else { return policy.unknown };
    match policy.rules.iter().rfind(|rule| rule.name == *name).map(|rule| &rule.verdict) {
        Some(Verdict::Always(action)) => *action,
        Some(Verdict::If { argument: 0, mask, ranges, then, otherwise }) => {
            let holds = ranges.iter().any(|(from, to)| (*from..=*to).contains(&(first & mask)));
            if holds { *then } else { *otherwise }
        }
        Some(_) => panic!("{name}"),
        None if number > newest && number < 0xf_0000 => policy.unknown,
        None => policy.otherwise,
    }
}

#[test]
fn a_filter_decides_about_every_number_as_its_policy_says() {
    for image in Arch::ALL {
        for keeps in [vec![], every_capability()] {
            let (policy, filter) = (policy::confined(image, &keeps), confined(image, &keeps).unwrap());
            for arch in family(image) {
                let table: BTreeMap<_, _> = table::calls(*arch).collect();
                let named = |name: &str| policy.rules.iter().any(|rule| rule.name == name);
                let newest = *table.iter().rfind(|(number, name)| **number < 0xf_0000 && named(name)).unwrap().0;
                for number in (0..1024).chain(0xe_fff0..0xf_0010).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
                    for first in [0, 1, 8, 38, 40, 46, 0x2_0000, 0x1000_0000, 0x0001_0f00, u32::MAX] {
                        let args = [u64::from(first) | 7 << 32, 0, 0, 0, 0, 0];
                        let decided = filter.decide(&Call { arch: arch.audit(), number, args, ..Call::default() });
                        let said = plainly(&policy, &table, newest, number, first);
                        assert_eq!(decided, said, "{image} on {arch}: {number} with {first:#x}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_filter_serves_the_machines_of_its_family_and_no_others() {
    for image in Arch::ALL {
        let filter = confined(image, &[]).unwrap();
        for machine in Arch::ALL {
            assert_eq!(filter.serves(machine).is_ok(), family(image).contains(&machine), "{image} on {machine}");
        }
        let foreign = Call { arch: 0xc000_0102, ..Call::default() };
        assert_eq!(filter.decide(&foreign), Action::KillProcess);
    }
}

#[test]
fn a_filter_is_short_and_the_same_each_time() {
    for image in Arch::ALL {
        let filter = confined(image, &every_capability()).unwrap();
        assert_eq!(filter, confined(image, &every_capability()).unwrap());
        assert!(filter.steps().len() < STEPS_MAX / 4, "{image}: {}", filter.steps().len());
    }
}

#[test]
fn the_golden_filters_are_those_that_are_written() {
    let golden: [(&[Arch], &[u8]); 3] = [
        (&[Arch::X86_64], include_bytes!("../../../tests/formats/golden/seccomp-x86_64.bpf")),
        (&[Arch::Aarch64, Arch::Arm], include_bytes!("../../../tests/formats/golden/seccomp-aarch64.bpf")),
        (&[Arch::Riscv64], include_bytes!("../../../tests/formats/golden/seccomp-riscv64.bpf")),
    ];
    for (images, bytes) in golden {
        for image in images {
            let written = confined(*image, crate::app::KEPT).unwrap().to_bytes();
            assert!(written == bytes, "{image}: `pvr app seccomp --platform {image}` writes another file now");
        }
    }
}

#[test]
fn what_breaks_out_of_containers_is_refused() {
    for image in Arch::ALL {
        let under = Under::of(image);
        for name in [
            "mount",
            "umount2",
            "pivot_root",
            "unshare",
            "setns",
            "keyctl",
            "add_key",
            "request_key",
            "bpf",
            "perf_event_open",
            "kexec_load",
            "init_module",
            "finit_module",
            "delete_module",
            "reboot",
            "swapon",
            "open_by_handle_at",
            "userfaultfd",
            "io_uring_setup",
            "io_uring_enter",
            "syslog",
            "acct",
            "settimeofday",
            "sethostname",
            "fsopen",
            "move_mount",
            "open_tree",
            "mount_setattr",
            "quotactl",
            "vhangup",
            "chroot",
            "process_madvise",
            "pidfd_getfd",
            "kcmp",
            "mbind",
            "move_pages",
            "lookup_dcookie",
            "nfsservctl",
        ] {
            if let Some(number) = numbers(image).get(name) {
                assert_eq!(under.number(*number, 0), EPERM, "{image}: {name}");
            }
        }
        assert_eq!(under.call("clone3", 0), ENOSYS);
        assert_eq!(under.call("clone", 0x1000_0011), EPERM, "a user namespace");
        assert_eq!(under.call("clone", 0x0f00 | 0x11), Action::Allow, "a thread");
        assert_eq!([2, 16, 38, 40, 46].map(|family| under.call("socket", family)), {
            [Action::Allow, Action::Allow, EPERM, EPERM, EPERM]
        });
        assert_eq!(under.call("socket", 38 | 1 << 32), EPERM, "the kernel looks at 32 bits");
        assert_eq!(under.call("personality", 0x0004_0000), EPERM, "a fixed layout of memory");
        assert_eq!(under.call("personality", 0xffff_ffff), Action::Allow, "a question");
    }
}

#[test]
fn calls_that_this_list_does_not_know_yet_are_those_of_an_older_kernel() {
    for image in Arch::ALL {
        let under = Under::of(image);
        assert_eq!(under.number(999, 0), ENOSYS);
        assert_eq!(under.call("listns", 0), ENOSYS);
        assert_eq!(under.call("removexattrat", 0), Action::Allow);
    }
}

#[test]
fn the_other_calls_of_a_pc_are_no_way_around() {
    let amd64 = Under::of(Arch::X86_64);
    let x32 = 0x4000_0000;
    assert_eq!(amd64.number(x32, 0), ENOSYS, "read");
    assert_eq!(amd64.number(x32 | numbers(Arch::X86_64)["mount"], 0), ENOSYS);
    let (of_64, of_32) = (Under(amd64.0, Arch::I386), Under::of(Arch::I386));
    assert_eq!((of_64.call("socketcall", 1), of_32.call("socketcall", 1)), (EPERM, Action::Allow));
    assert_eq!((of_64.call("read", 0), of_64.call("mount", 0)), (Action::Allow, EPERM));
    assert_eq!(of_64.call("socket", 38), EPERM);
}

#[test]
fn arm_has_the_calls_that_only_arm_has() {
    for image in [Arch::Arm, Arch::Aarch64] {
        let under = Under(confined(image, &[]).unwrap(), Arch::Arm);
        assert_eq!([0xf_0001, 0xf_0002, 0xf_0005].map(|number| under.number(number, 0)), [Action::Allow; 3]);
        assert_eq!(under.number(0xf_0003, 0), EPERM, "26-bit mode");
        assert_eq!(under.number(0xf_0000, 0), ENOSYS);
        assert_eq!(under.number(0xf_0007, 0), ENOSYS);
        assert_eq!(under.number(0x90_0003, 0), ENOSYS, "the old convention");
    }
}

#[test]
fn a_capability_brings_the_calls_that_need_it() {
    for (capability, names) in [
        (Capability::SysAdmin, &["mount", "umount2", "unshare", "clone3", "bpf", "syslog"][..]),
        (Capability::SysChroot, &["chroot"]),
        (Capability::SysTime, &["settimeofday"]),
        (Capability::SysModule, &["finit_module"]),
        (Capability::Syslog, &["syslog"]),
        (Capability::DacReadSearch, &["open_by_handle_at"]),
        (Capability::SysBoot, &["reboot"]),
    ] {
        let (without, with) = (Under::of(Arch::Arm), Under::with(Arch::Arm, &[capability]));
        for name in names {
            assert_ne!(without.call(name, 0), Action::Allow, "{name}");
            assert_eq!(with.call(name, 0), Action::Allow, "{name}");
        }
        assert_eq!(with.call("keyctl", 0), EPERM, "no capability brings keys");
    }
    assert_eq!(Under::with(Arch::Arm, &[Capability::SysAdmin]).call("clone", 0x1000_0000), Action::Allow);
}

#[test]
fn images_name_architectures_as_docker_does() {
    assert_eq!(["amd64", "386", "arm64", "arm", "riscv64"].map(arch), Arch::ALL.map(Some));
    assert_eq!(["mips", "x86_64", ""].map(arch), [None; 3]);
}
