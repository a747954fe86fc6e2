//! The machines that boards run on, and what each of them is in words of QEMU.
//!
//! | kind | firmware | disk | second serial line | resets and switches itself off | watchdog |
//! |---|---|---|---|---|---|
//! | `X86_64Uefi` | OVMF | NVMe | `ttyS1` | yes | i6300esb |
//! | `X86_64Direct` | `-kernel` | NVMe | `ttyS1` | yes | i6300esb |
//! | `Arm64UBoot` | U-Boot `qemu_arm64` | virtio | a PCI UART | yes | i6300esb |
//! | `Arm64Direct` | `-kernel` | virtio | a PCI UART | yes | i6300esb |
//! | `OrangePiPc` | SPL on the SD card | SD | `ttyS1`, if the device tree has it | no | none |

use crate::firmware::{Packaged, QEMU_ARM, QEMU_ARM64, QEMU_X86_64};

/// A machine that QEMU can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A PC (`q35`) with UEFI, which starts `EFI/BOOT/BOOTX64.EFI` of the first disk.
    X86_64Uefi,
    /// The same PC, started at a kernel.
    X86_64Direct,
    /// Arm64 (`virt`) with U-Boot.
    Arm64UBoot,
    /// The same, started at a kernel.
    Arm64Direct,
    /// An Orange Pi PC (armv7, Allwinner H3), which starts what lies at 8 KiB of its SD card.
    OrangePiPc,
}

/// The boards that run on one of these.
pub const BOARDS: [(&str, Kind); 4] = [
    ("qemu-x86_64-grub", Kind::X86_64Uefi),
    ("qemu-arm64-uboot", Kind::Arm64UBoot),
    ("qemu-arm64-uboot-ab", Kind::Arm64UBoot),
    ("qemu-arm-orangepi-pc", Kind::OrangePiPc),
];

/// What the console says last where a machine waits for somebody. Where a warm reset hangs: the end of the kernel's, with
/// `quiet` and after a panic, and that of U-Boot. And what a kernel says that is to switch off and cannot.
const LAST_WORDS: [(&str, Stuck); 4] = [
    ("reboot: Restarting system", Stuck::Reset),
    ("Reboot failed -- System halted", Stuck::Reset),
    ("Please RESET the board", Stuck::Reset),
    ("reboot: System halted", Stuck::Halt),
];

/// What a machine wanted that it cannot do itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// To start anew.
    Reset,
    /// To be off.
    Halt,
}

impl Kind {
    /// That of a board of this name.
    #[must_use]
    pub fn of_board(name: &str) -> Option<Self> {
        BOARDS.iter().find(|(board, _)| *board == name).map(|(_, kind)| *kind)
    }

    /// What it says before it is stuck; nothing where it resets and switches itself off.
    pub(crate) fn last_words(self) -> &'static [(&'static str, Stuck)] {
        if self.resets_warm() { &[] } else { &LAST_WORDS }
    }

    pub(crate) fn qemu(self) -> Packaged {
        match self {
            Self::X86_64Uefi | Self::X86_64Direct => QEMU_X86_64,
            Self::Arm64UBoot | Self::Arm64Direct => QEMU_ARM64,
            Self::OrangePiPc => QEMU_ARM,
        }
    }

    pub(crate) fn program(self) -> &'static str {
        self.qemu().path.rsplit('/').next().unwrap_or_default()
    }

    pub(crate) fn machine(self) -> &'static [&'static str] {
        match self {
            Self::X86_64Uefi | Self::X86_64Direct => &["-machine", "q35", "-cpu", "max"],
            Self::Arm64UBoot | Self::Arm64Direct => &["-machine", "virt", "-cpu", "cortex-a53"],
            Self::OrangePiPc => &["-machine", "orangepi-pc"],
        }
    }

    /// Whether a kernel must be given.
    pub(crate) fn is_direct(self) -> bool {
        matches!(self, Self::X86_64Direct | Self::Arm64Direct)
    }

    /// Megabytes, unless the plan says another number.
    pub(crate) fn memory(self) -> u32 {
        match self {
            // GRUB has a quarter of it, and does not get the distribution's kernel for every machine into that of 256.
            Self::X86_64Uefi => 512,
            Self::X86_64Direct => 256,
            Self::Arm64UBoot | Self::Arm64Direct => 512,
            Self::OrangePiPc => 1024,
        }
    }

    /// An Orange Pi has one size only; less is asked of its kernel (`mem=64M`).
    pub(crate) fn takes_memory(self, megabytes: u32) -> bool {
        self != Self::OrangePiPc || megabytes == self.memory()
    }

    /// Whether a reset that the guest asks for starts it again. On an Orange Pi in QEMU it hangs: cut its power.
    #[must_use]
    pub fn resets_warm(self) -> bool {
        self != Self::OrangePiPc
    }

    /// Whether its disk may keep what was written in a cache until somebody asks for a flush. A card has each sector on the
    /// medium before it takes the next, and its reader has no flush to ask for.
    #[must_use]
    pub fn has_write_cache(self) -> bool {
        self != Self::OrangePiPc
    }

    /// Whether it can have a watchdog.
    #[must_use]
    pub fn has_watchdog(self) -> bool {
        self != Self::OrangePiPc
    }

    /// The device of a disk on the drive `id`; `None` where the drive itself is the card in the only reader.
    ///
    /// One that is `served` is a virtio disk everywhere: QEMU's NVMe (7.2) does not pass on that a write must be on the
    /// medium when it is answered, so whoever serves it would believe that a journal's commit may be lost.
    pub(crate) fn disk_device(self, id: &str, first: bool, served: bool) -> Option<String> {
        let order = if first { ",bootindex=0" } else { "" };
        match self {
            Self::X86_64Uefi | Self::X86_64Direct if !served => Some(format!("nvme,drive={id},serial={id}{order}")),
            Self::X86_64Uefi | Self::X86_64Direct | Self::Arm64UBoot | Self::Arm64Direct => {
                Some(format!("virtio-blk-pci,drive={id},serial={id}{order}"))
            }
            Self::OrangePiPc => None,
        }
    }

    /// Arguments for a network of the user's, with these options of its back end.
    pub(crate) fn network(self, options: &str) -> Vec<String> {
        match self {
            Self::OrangePiPc => vec!["-nic".into(), format!("user{options}")],
            // Without its boot ROM: the firmware has its own driver, and the ROMs are a package of their own.
            _ => vec![
                "-netdev".into(),
                format!("user,id=net{options}"),
                "-device".into(),
                "virtio-net-pci,netdev=net,romfile=".into(),
            ],
        }
    }

    /// Arguments for a second serial line at this character device.
    pub(crate) fn second_serial(self, chardev: &str) -> [String; 2] {
        match self {
            Self::Arm64UBoot | Self::Arm64Direct => ["-device".into(), format!("pci-serial,chardev={chardev}")],
            _ => ["-serial".into(), format!("chardev:{chardev}")],
        }
    }
}
