//! Raspberry Pi 4 and 5 as a board: two boot partitions, and a firmware that tries the other one once, when asked.
//!
//! ```text
//!   1 firmware   FAT    autoboot.txt: 512 bytes, overwritten in place          written by Linux, read by the firmware
//!   2 boot-a     FAT    firmware files, config.txt, kernel, initramfs          slot a, label in a reserved sector
//!   3 boot-b     FAT    the same                                               slot b
//!   4 journal    raw    two halves                                             never read by the firmware
//!   5 storage    ext4   objects, trails, volumes                               never read by the firmware
//! ```
//!
//! The firmware writes nothing: no note, no list. It knows a default and, for one boot, a trial; the rest of the chain
//! exists from PID 1 on. What that leaves open is in `README.md`.
#![no_std]
#![forbid(unsafe_code)]

mod env;

use core::ffi::CStr;

use boards_api::board::{Content, Layout, Media, Partition, Role};
use boards_api::cell::OneSector;
use boards_api::provision::{At, New, Piece};
use boards_api::slots::{Boots, Places, Shape, Slot};
use boards_api::{Board, TrialKind};
use formats::bootenv::uboot::Head;
use formats::bootenv::{Error, autoboot, label};

pub use env::{Autoboot, TrybootError};

/// Names of the slots, in the order of their partitions.
pub const SLOTS: [&str; 2] = ["a", "b"];

/// The number of the first slot's partition, counted from 1.
const FIRST_PARTITION: u8 = 2;

/// Where in the partition of a slot its label lies, in bytes: a reserved sector of its FAT, behind the copies of the boot
/// sector. The FAT needs at least 17 reserved sectors; FAT32 as everybody makes it has 32.
pub const LABEL_AT: u64 = 16 * 512;

const SLOT_A: Role = Role::Slot(Slot(0));
const SLOT_B: Role = Role::Slot(Slot(1));

const fn partition(role: Role, label: &'static str, mib: Option<u32>, content: Content) -> Partition {
    let size_kib = match mib {
        Some(mib) => Some(mib * 1024),
        None => None,
    };
    Partition { role, label, start_kib: None, size_kib, content }
}

/// The board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RpiTryboot;

impl Board for RpiTryboot {
    const NAME: &'static str = "rpi-tryboot";
    const LAYOUT: Layout = Layout {
        partitions: &[
            partition(Role::Firmware, "firmware", Some(48), Content::Fat),
            partition(SLOT_A, "boot-a", Some(128), Content::Fat),
            partition(SLOT_B, "boot-b", Some(128), Content::Fat),
            partition(Role::Journal, "journal", Some(8), Content::Raw),
            partition(Role::Store, "storage", None, Content::Ext4),
        ],
    };
    const TRIAL: TrialKind = TrialKind::OneShot;
    const PLACES: Places = Places::Slots(&SLOTS);
    const SHAPE: Option<Shape> = Some(Shape { labels: &[LABEL_AT], head: Head::Plain, image: 0 });
    const BOOTS: &'static [Boots] = &[Boots::Partition];
    const PREALLOCATED: &'static [(Role, &'static str)] = &[(Role::Wanted, "autoboot.txt")];
    type Env<M: Media> = Autoboot<M::Sectors>;

    fn boot_env<M: Media>(media: &mut M) -> Option<Self::Env<M>> {
        let file = OneSector::new(media.sectors(Role::Wanted)?, 0, autoboot::FILE);
        Some(Autoboot::new(file, [media.sectors(SLOT_A)?, media.sectors(SLOT_B)?]))
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        let partitions = env::partitions(new.wanted, |slot, revision| {
            new.slots.get(usize::from(slot)).is_some_and(|held| held.contains(revision))
        });
        let partitions = partitions.ok_or(Error::Missing(formats::bootenv::key::HOLDS))?;
        let file = autoboot::encode(new.wanted, partitions)?;
        put(Piece { role: Role::Wanted, at: At::Byte(0), bytes: &file });
        for (role, held) in [SLOT_A, SLOT_B].into_iter().zip(new.slots) {
            let label = label::encode(*held, Head::Plain)?;
            put(Piece { role, at: At::Byte(LABEL_AT), bytes: &label });
        }
        Ok(())
    }

    /// The firmware leaves in the device tree which partition it read and whether that was the one request.
    fn said(property: &mut dyn FnMut(&str) -> Option<u32>) -> Option<&'static str> {
        let partition = property("chosen/bootloader/partition")?;
        match (partition, property("chosen/bootloader/tryboot")?) {
            (2, 0) => Some("cairn.role=default cairn.slot=a"),
            (2, 1) => Some("cairn.role=trial cairn.slot=a"),
            (3, 0) => Some("cairn.role=default cairn.slot=b"),
            (3, 1) => Some("cairn.role=trial cairn.slot=b"),
            _ => None,
        }
    }

    /// Partition 0 means the one that `autoboot.txt` names.
    fn reboot_arg(trial: bool) -> Option<&'static CStr> {
        trial.then_some(c"0 tryboot")
    }
}
