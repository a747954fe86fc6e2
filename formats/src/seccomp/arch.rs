//! The architectures of Linux that Cairn knows calls of, as a filter sees them.

use core::fmt;

/// An architecture. A machine of 64 bits may run programs of its family's 32 bits too, under numbers of their own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Arch {
    /// 64-bit PCs.
    X86_64,
    /// 32-bit PCs.
    I386,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM, EABI.
    Arm,
    /// 64-bit RISC-V.
    Riscv64,
}

impl Arch {
    /// All.
    pub const ALL: [Self; 5] = [Self::X86_64, Self::I386, Self::Aarch64, Self::Arm, Self::Riscv64];

    /// The one that this program is built for.
    pub const NATIVE: Self = if cfg!(target_arch = "x86_64") {
        Self::X86_64
    } else if cfg!(target_arch = "x86") {
        Self::I386
    } else if cfg!(target_arch = "aarch64") {
        Self::Aarch64
    } else if cfg!(target_arch = "arm") {
        Self::Arm
    } else if cfg!(target_arch = "riscv64") {
        Self::Riscv64
    } else {
        panic!("name the architecture of this target here, with its calls")
    };

    /// Its name, which is the compiler's.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::I386 => "i386",
            Self::Aarch64 => "aarch64",
            Self::Arm => "arm",
            Self::Riscv64 => "riscv64",
        }
    }

    /// `AUDIT_ARCH_…`: the machine of ELF, a bit for little endian and one for 64 bits.
    #[must_use]
    pub const fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::I386 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
            Self::Riscv64 => 0xc000_00f3,
        }
    }

    /// `read`, `execve` and `exit_group`, without which no program starts and ends.
    #[must_use]
    pub const fn vital(self) -> [u32; 3] {
        match self {
            Self::X86_64 => [0, 59, 231],
            Self::I386 => [3, 11, 252],
            Self::Arm => [3, 11, 248],
            Self::Aarch64 | Self::Riscv64 => [63, 221, 94],
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
