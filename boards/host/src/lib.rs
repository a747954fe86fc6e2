//! A Linux host as a board: what differs between it and a device of metal.
//!
//! ```text
//!   STORAGE/boot/wanted       512 bytes, overwritten in place     written by Linux
//!   STORAGE/boot/spent        512 bytes, overwritten in place     written by the stand-in, before it jumps
//!   STORAGE/boot/journal.a    the two regions of the journal      never read by the stand-in
//!   STORAGE/boot/journal.b
//!   STORAGE/trails/REVISION/.pv/pv-initrd.img                     what the stand-in starts
//! ```
//!
//! Its firmware is the program `cairn-host`, the crate `stand-in` beside this one. It counts, it reads trails, and it replays no file system
//! journal, as GRUB on ext4 does; so everything that such a board asks of PID 1 is asked here too. Its machine is a set
//! of namespaces: the kernel of the host goes on, so the kernel of a revision is there but never started, and the
//! initramfs *is* the one static program that runs as PID 1.
#![no_std]
#![forbid(unsafe_code)]

use boards_api::board::{Content, Layout, Media, Partition, Role};
use boards_api::cell::SectorFile;
use boards_api::codecs::Raw;
use boards_api::env::CellEnv;
use boards_api::provision::{self, At, New, Piece};
use boards_api::slots::{Boots, Places};
use boards_api::{Board, TrialKind};
use formats::bootenv;

/// The directory of the storage that holds the files below.
pub const BOOT_DIRECTORY: &str = "boot";

/// The cell that Linux writes, in [`BOOT_DIRECTORY`].
pub const WANTED: &str = "wanted";

/// The cell that the stand-in writes, in [`BOOT_DIRECTORY`].
pub const SPENT: &str = "spent";

/// The two regions of the journal, in [`BOOT_DIRECTORY`].
pub const JOURNAL: [&str; 2] = ["journal.a", "journal.b"];

/// Bytes of one region of the journal when nothing else is asked for: four pages of emulated flash, all erased (`0xFF`).
pub const JOURNAL_BYTES: u64 = 4 * 4096;

/// The kernel in a trail: present as on every board, never started.
pub const KERNEL: &str = ".pv/pv-kernel.img";

/// The initramfs in a trail: on this board the static program that becomes PID 1.
pub const PROGRAM: &str = ".pv/pv-initrd.img";

/// How a cell is written down.
pub type Codec = Raw<false>;

/// The board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Host;

impl Board for Host {
    const NAME: &'static str = "host";
    const LAYOUT: Layout = Layout {
        partitions: &[Partition {
            role: Role::Store,
            label: "storage",
            start_kib: None,
            size_kib: None,
            content: Content::Ext4,
        }],
    };
    const TRIAL: TrialKind = TrialKind::Counted;
    const PLACES: Places = Places::Trails;
    /// No kernel of a revision is ever started, so each kind is as good as another.
    const BOOTS: &'static [Boots] = &[Boots::Linux, Boots::Fit];
    type Env<M: Media> = CellEnv<SectorFile<'static, M::Files>, SectorFile<'static, M::Files>, Codec>;

    /// Both roles are [`BOOT_DIRECTORY`] of the storage.
    fn boot_env<M: Media>(media: &mut M) -> Option<Self::Env<M>> {
        let (wanted, spent) = (media.files(Role::Wanted)?, media.files(Role::Spent)?);
        Some(CellEnv::new(SectorFile::new(wanted, WANTED), SectorFile::new(spent, SPENT)))
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), bootenv::Error> {
        provision::raw_cells::<false>(new, &[At::File(WANTED)], At::File(SPENT), put)
    }
}
