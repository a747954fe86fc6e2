//! What a porter writes: constants, one constructor, and what the firmware says it has booted.
//!
//! A board does no I/O of its own. It says *where* and *how*: the runtime opens media by [`Role`], writes kernels to
//! [`Places`], and chooses slots by [`slots::choose`](crate::slots::choose), so that the law about
//! slots is kept in one place for every board, and the same board can be driven against simulated media.

use core::ffi::CStr;

use formats::bootenv;
use statemachine::boot::TrialKind;

use crate::env::BootEnv;
use crate::media::{Files, Sectors};
use crate::provision::{New, Piece};
use crate::slots::{Boots, Places, Shape, Slot};

/// What a partition is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// The firmware's own: bootloader, its script, FAT with kernels.
    Firmware,
    /// The boot cell that Linux writes.
    Wanted,
    /// The note that the bootloader writes.
    Spent,
    /// The two regions of the journal.
    Journal,
    /// Objects, trails and volumes.
    Store,
    /// A kernel and `cairn` in a place of their own.
    Recovery,
    /// A place of kernels, by its index into [`Places::Slots`].
    Slot(Slot),
}

/// One partition of the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Partition {
    /// What it is for.
    pub role: Role,
    /// Its name in the partition table.
    pub label: &'static str,
    /// Where it starts, in KiB from the start of the disk; `None`: behind the one before, aligned to 1 MiB.
    pub start_kib: Option<u32>,
    /// How large it is, in KiB; `None`: what is left.
    pub size_kib: Option<u32>,
    /// What it holds.
    pub content: Content,
}

/// What a partition is formatted as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Bytes without a file system.
    Raw,
    /// FAT, as firmware reads it.
    Fat,
    /// ext4.
    Ext4,
}

/// Partitions in the order in which they lie on the disk. The image builder reads it too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The partitions.
    pub partitions: &'static [Partition],
}

impl Layout {
    /// The partition with a role, if the board has one.
    #[must_use]
    pub fn partition(&self, role: Role) -> Option<&'static Partition> {
        self.partitions.iter().find(|partition| partition.role == role)
    }
}

/// What a board's cells ask of the medium that they lie on. The laws of `board-laws` cut accordingly.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rests {
    /// On whole sectors: one copy of each value, and a sector is written whole or not at all. Where a medium breaks
    /// that promise the cell is unreadable, never another value.
    OnWholeSectors,
    /// On nothing but that sectors which are not written stay as they are: `Wanted` has two copies, in different erase
    /// groups, and any sector in work may be lost.
    OnNothing,
}

/// Two copies of a bootloader, of which one boots while the other is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Twins {
    /// The two boot partitions of the eMMC that the storage lies on. The board's ROM boots from the one that
    /// `PARTITION_CONFIG` names, from its first byte on, and from nowhere else.
    Emmc,
}

/// Opens what a board's cells lie on. The runtime implements it with files and devices, tests with simulated media.
pub trait Media {
    /// Raw partitions, and preallocated files in which a cell is overwritten in place.
    type Sectors: Sectors;
    /// Directories of file systems that a bootloader reads too.
    type Files: Files;

    /// Opens a raw partition, or the preallocated file of this role.
    fn sectors(&mut self, role: Role) -> Option<Self::Sectors>;

    /// Opens the directory of this role.
    fn files(&mut self, role: Role) -> Option<Self::Files>;
}

/// As what the bootloader started this boot; PID 1 resolves it through `Wanted`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BootedAs {
    /// The trial.
    Trial,
    /// The default.
    Default,
    /// The last proven revision before the default.
    Previous,
    /// The factory revision.
    Factory,
    /// Whatever the first slot holds, because the boot cell could not be read.
    FirstSlot,
    /// The recovery kernel.
    Recovery,
}

impl BootedAs {
    /// Reads the last `cairn.role=ROLE` of a command line. `None`: it is missing or unknown.
    #[must_use]
    pub fn from_cmdline(cmdline: &str) -> Option<Self> {
        Some(match last(cmdline, "cairn.role=")? {
            "trial" => Self::Trial,
            "default" => Self::Default,
            "previous" => Self::Previous,
            "factory" => Self::Factory,
            "first-slot" => Self::FirstSlot,
            "recovery" => Self::Recovery,
            _ => return None,
        })
    }
}

/// A file in `boot/` of the storage that is a board's cell, and that others than Cairn have written or may write again.
///
/// It holds `Wanted`. What others write has no checksum and is read as they mean it, under the nonce zero, which no store
/// of ours has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shared {
    /// Its name.
    pub name: &'static str,
    /// Bytes that it has as a cell. However long others leave it: PID 1 [refits](crate::takeover::refit) it.
    pub length: usize,
}

/// What the bootloader did, in its own words on the kernel command line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Booted {
    /// The slot it read; `None` where firmware reads trails.
    pub slot: Option<Slot>,
    /// What [`statemachine::boot::pick`] chose.
    pub role: BootedAs,
}

impl Booted {
    /// Reads `cairn.role=ROLE` and, on boards with slots, `cairn.slot=NAME`. The last of each counts, as the kernel has
    /// it, so that a script may append to a command line it did not write.
    ///
    /// `None`: the role is missing or unknown, or the slot is not one of this board.
    #[must_use]
    pub fn from_cmdline(cmdline: &str, places: Places) -> Option<Self> {
        let role = BootedAs::from_cmdline(cmdline)?;
        let slot = match (places, last(cmdline, "cairn.slot=")) {
            (_, None) => None,
            (Places::Trails, Some(_)) => return None,
            (Places::Slots(names), Some(name)) => {
                let index = names.iter().position(|slot| *slot == name)?;
                Some(Slot(u8::try_from(index).ok()?))
            }
        };
        Some(Self { slot, role })
    }
}

/// The value of the last word that begins with `key`.
fn last<'c>(cmdline: &'c str, key: &str) -> Option<&'c str> {
    cmdline.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key)).next_back()
}

/// A board: what differs from one device to the next.
pub trait Board {
    /// Its name, as in `compatible` of a signed revision.
    const NAME: &'static str;
    /// Its partitions.
    const LAYOUT: Layout;
    /// How its firmware counts the boots of a trial.
    const TRIAL: TrialKind;
    /// Where its firmware looks for kernels.
    const PLACES: Places;
    /// What its slots are like, where it has slots: each is written, read and labelled by PID 1 in this shape.
    const SHAPE: Option<Shape> = None;
    /// What of a base system its firmware starts. A revision that brings something else is refused when it arrives.
    const BOOTS: &'static [Boots] = &[Boots::Linux];
    /// Where its bootloader has two copies, so that a revision may bring another one. None by default: then it is flashed,
    /// and a revision that brings one is refused, unless the settings of a device know better (`bootloader=emmc`).
    const BOOTLOADER: Option<Twins> = None;
    /// What its cells ask of their medium.
    const RESTS: Rests = Rests::OnWholeSectors;
    /// The largest erase group of its medium in KiB: what an interrupted write may take along. Two copies of one value
    /// lie at least so far apart. 4 MiB is that of most SD cards; NOR flash and small eMMC have less.
    const ERASE_GROUP_KIB: u32 = 4096;
    /// The preallocated files in the FAT of [`Role::Firmware`] that stand for partitions which the board does not have:
    /// what [`Media::sectors`] opens for these roles are their sectors.
    const PREALLOCATED: &'static [(Role, &'static str)] =
        &[(Role::Wanted, "cairn/wanted"), (Role::Spent, "cairn/spent")];
    /// The file of others that holds `Wanted`, on a device that was set up for the reference system and keeps its firmware.
    const SHARES: Option<Shared> = None;
    /// Whether PID 1 makes a note anew that cannot be read, because this firmware changes a note and cannot make one. It is
    /// the one write of Linux to what belongs to the firmware: [`provision::mend`](crate::provision::mend).
    const MENDS_NOTE: bool = false;
    /// The boot script as text, its parts in their order, where the firmware runs one; the image builder makes of it
    /// what the firmware reads.
    const SCRIPT: &'static [&'static str] = &[];
    /// Its boot environment over media of any kind.
    type Env<M: Media>: BootEnv;

    /// Opens the boot environment. `None`: a medium is missing.
    fn boot_env<M: Media>(media: &mut M) -> Option<Self::Env<M>>;

    /// What the cells of a new device hold, with whatever else has to be there before the first store. The image builder
    /// writes it, and the laws begin with it. Nothing by default: a cell that can be made of blank sectors.
    ///
    /// # Errors
    /// These values cannot be written down on this board.
    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), bootenv::Error> {
        let _ = (new, put);
        Ok(())
    }

    /// What the firmware says in the device tree instead of on the command line, in the words of the latter: PID 1
    /// appends them to it before [`booted`](Self::booted) reads it. `property` reads a 32-bit property by its path below
    /// `/proc/device-tree`. `None`: this firmware says nothing there.
    #[must_use]
    fn said(property: &mut dyn FnMut(&str) -> Option<u32>) -> Option<&'static str> {
        let _ = property;
        None
    }

    /// What did the bootloader start?
    #[must_use]
    fn booted(cmdline: &str) -> Option<Booted> {
        Booted::from_cmdline(cmdline, Self::PLACES)
    }

    /// The argument of `reboot(2)`, if the firmware wants to hear of a trial.
    #[must_use]
    fn reboot_arg(trial: bool) -> Option<&'static CStr> {
        let _ = trial;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AB: Places = Places::Slots(&["a", "b"]);

    #[test]
    fn the_command_line_says_slot_and_role() {
        let booted = Booted::from_cmdline("console=ttyS0 cairn.role=trial cairn.slot=b quiet", AB);
        assert_eq!(booted, Some(Booted { slot: Some(Slot(1)), role: BootedAs::Trial }));
    }

    #[test]
    fn the_last_word_on_a_command_line_counts() {
        let booted = Booted::from_cmdline("cairn.role=default cairn.slot=a cairn.role=previous", AB);
        assert_eq!(booted, Some(Booted { slot: Some(Slot(0)), role: BootedAs::Previous }));
    }

    #[test]
    fn an_unknown_role_or_slot_is_no_answer() {
        assert_eq!(Booted::from_cmdline("quiet", AB), None);
        assert_eq!(Booted::from_cmdline("cairn.role=tryme", AB), None);
        assert_eq!(Booted::from_cmdline("cairn.role=trial cairn.slot=c", AB), None);
        assert_eq!(Booted::from_cmdline("cairn.role=trial cairn.slot=a", Places::Trails), None);
    }
}
