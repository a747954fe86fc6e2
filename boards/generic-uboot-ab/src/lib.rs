//! A U-Boot with two environments and FIT images in two raw partitions as a board: the one to adapt for a device whose
//! kernels do not lie in a file system, or whose U-Boot verifies signed images.
//!
//! ```text
//!   wanted     MiB 0  copy  4  copy                   both as `saveenv` writes a redundant environment: `fw_printenv` reads them
//!   slot-a     MiB 0  label 4  label  8  FIT image    a label says which revisions the image is of
//!   slot-b            the same
//!   recovery   MiB 0  FIT image
//! ```
//!
//! Cells, list and note are those of every U-Boot board ([`boards_api::uboot`]). What was never run is in `README.md`.
#![no_std]
#![forbid(unsafe_code)]

use boards_api::board::{Content, Layout, Media, Partition, Rests, Role};
use boards_api::provision::{At, New, Piece};
use boards_api::slots::{Boots, Places, Shape, Slot};
use boards_api::uboot::{self, APART, partition};
use boards_api::{Board, TrialKind};
use formats::bootenv::uboot::Head;
use formats::bootenv::{Error, label};

/// Names of the slots, in the order of their partitions.
pub const SLOTS: [&str; 2] = ["a", "b"];

/// Where in the partition of a slot its label lies: two copies, because that of the default is written again when the
/// device is updated in place.
pub const LABELS_AT: [u64; 2] = [0, APART];

/// Where in the partition of a slot its FIT image starts, in an erase group of its own.
pub const FIT_AT: u64 = 2 * APART;

/// The board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UbootAb;

impl Board for UbootAb {
    const NAME: &'static str = "generic-uboot-ab";
    const LAYOUT: Layout = Layout {
        partitions: &[
            Partition { start_kib: Some(4 << 10), ..partition(Role::Firmware, "firmware", 60, Content::Fat) },
            partition(Role::Wanted, "wanted", 8, Content::Raw),
            partition(Role::Spent, "spent", 4, Content::Raw),
            partition(Role::Journal, "journal", 8, Content::Raw),
            partition(Role::Slot(Slot(0)), "slot-a", 40, Content::Raw),
            partition(Role::Slot(Slot(1)), "slot-b", 40, Content::Raw),
            partition(Role::Recovery, "recovery", 32, Content::Raw),
            Partition { size_kib: None, ..partition(Role::Store, "storage", 0, Content::Ext4) },
        ],
    };
    const TRIAL: TrialKind = TrialKind::Counted;
    const PLACES: Places = Places::Slots(&SLOTS);
    const SHAPE: Option<Shape> = Some(Shape { labels: &LABELS_AT, head: Head::Flagged, image: FIT_AT });
    const BOOTS: &'static [Boots] = &[Boots::Fit];
    const RESTS: Rests = Rests::OnNothing;
    const SCRIPT: &'static [&'static str] = &[include_str!("head.cmd"), uboot::PICK, include_str!("slots.cmd")];
    type Env<M: Media> = uboot::Env<M, true>;

    fn boot_env<M: Media>(media: &mut M) -> Option<Self::Env<M>> {
        uboot::boot_env(media)
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        uboot::provision::<true>(new, put)?;
        for (index, held) in (0_u8..).zip(new.slots) {
            let bytes = label::encode(*held, Head::Flagged)?;
            LABELS_AT
                .into_iter()
                .for_each(|at| put(Piece { role: Role::Slot(Slot(index)), at: At::Byte(at), bytes: &bytes }));
        }
        Ok(())
    }
}
