//! Names and numbers of system calls: a file for each architecture, made from the kernel's headers.

use formats::seccomp::Arch;

/// The calls of an architecture, in the order of their numbers.
pub(super) fn calls(arch: Arch) -> impl Iterator<Item = (u32, &'static str)> {
    let text = match arch {
        Arch::X86_64 => include_str!("tables/x86_64.txt"),
        Arch::I386 => include_str!("tables/i386.txt"),
        Arch::Aarch64 => include_str!("tables/aarch64.txt"),
        Arch::Arm => include_str!("tables/arm.txt"),
        Arch::Riscv64 => include_str!("tables/riscv64.txt"),
    };
    // A test reads every line of every file.
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (number, name) = line.split_once(' ')?;
        Some((number.parse().ok()?, name))
    })
}
