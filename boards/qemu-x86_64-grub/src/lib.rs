//! A PC with UEFI, a GPT disk and GRUB as a board: the virtual one of QEMU, and what a real one of that kind needs.
//!
//! ```text
//!   1 firmware   FAT    EFI/BOOT/BOOTX64.EFI     GRUB, its modules and grub.cfg in one file
//!                       cairn/wanted             1024 bytes, one sector changes    written by Linux
//!                       cairn/spent              1024 bytes, one sector changes    written by GRUB, before it jumps
//!   2 journal    raw    two halves               never read by GRUB
//!   3 recovery   FAT    kernel, initrd
//!   4 storage    ext4   trails/REVISION/.pv/pv-kernel.img, pv-initrd.img
//! ```
//!
//! GRUB counts, reads trails, and replays no file system journal. The numbers of the partitions stand in its script.
#![no_std]
#![forbid(unsafe_code)]

use boards_api::board::{Content, Layout, Media, Partition, Role};
use boards_api::cell::OneSector;
use boards_api::codecs::Grub;
use boards_api::env::CellEnv;
use boards_api::provision::{At, New, Piece, grub_cells};
use boards_api::slots::Places;
use boards_api::{Board, TrialKind};
use formats::bootenv::Error;
use formats::bootenv::grub::BLOCK;

/// What UEFI starts from the FAT of [`Role::Firmware`]: `grub-mkimage -O x86_64-efi`, prefix `(memdisk)/boot/grub`, an
/// archive (`-m`) with the script as `boot/grub/grub.cfg`, and [`MODULES`]. Nothing is loaded later, so it can be signed
/// as a whole.
pub const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";

/// The modules of GRUB that the script uses, and those that read where it lies.
pub const MODULES: &[&str] = &[
    "memdisk", "tar", "normal", "part_gpt", "fat", "ext2", "loadenv", "test", "regexp", "serial", "sleep", "linux",
    "boot", "reboot",
];

/// How the cells are written down.
pub type Codec = Grub;

/// The board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QemuX86Grub;

const fn partition(role: Role, label: &'static str, mebibytes: Option<u32>, content: Content) -> Partition {
    let size_kib = match mebibytes {
        Some(mebibytes) => Some(mebibytes * 1024),
        None => None,
    };
    Partition { role, label, start_kib: None, size_kib, content }
}

impl Board for QemuX86Grub {
    const NAME: &'static str = "qemu-x86_64-grub";
    const LAYOUT: Layout = Layout {
        partitions: &[
            // No smaller: FAT32, which every UEFI reads, has at least 65,525 clusters.
            partition(Role::Firmware, "firmware", Some(48), Content::Fat),
            partition(Role::Journal, "journal", Some(8), Content::Raw),
            partition(Role::Recovery, "recovery", Some(64), Content::Fat),
            partition(Role::Store, "storage", None, Content::Ext4),
        ],
    };
    const TRIAL: TrialKind = TrialKind::Counted;
    const PLACES: Places = Places::Trails;
    const MENDS_NOTE: bool = true;
    const SCRIPT: &'static [&'static str] = &[include_str!("../grub.cfg")];
    type Env<M: Media> = CellEnv<OneSector<M::Sectors>, OneSector<M::Sectors>, Codec>;

    /// The sectors of both roles are those of the two files.
    fn boot_env<M: Media>(media: &mut M) -> Option<Self::Env<M>> {
        let mut cell = |role| Some(OneSector::new(media.sectors(role)?, 0, BLOCK));
        Some(CellEnv::new(cell(Role::Wanted)?, cell(Role::Spent)?))
    }

    /// Preallocated whole: GRUB overwrites the blocks that a file has, and makes none.
    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        grub_cells(new, At::Byte(0), At::Byte(0), put)
    }
}
