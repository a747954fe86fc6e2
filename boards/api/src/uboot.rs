//! What boards with a U-Boot have in common: the boot script, the partitions, and the cells in raw sectors.
//!
//! ```text
//!   script     head (the board's own lines) │ PICK (cells, list, note) │ TRAILS or the board's own jump
//!
//!   MiB  4            64          72      76          84            192
//!        ├─ firmware ─┼─ wanted ──┼ spent ┼─ journal ─┼─ recovery ──┼─ storage ──▶
//!                      1st   2nd             A    B
//! ```
//!
//! Whatever must not be lost together lies 4 MiB apart, the largest erase group of common eMMC and SD cards: the two
//! copies of `Wanted`, the note, and the two regions of the journal. Sectors have 512 bytes.
//!
//! A head sets these variables; everything else in the scripts is the same for all:
//!
//! | variable          | what                                                                       |
//! |-------------------|----------------------------------------------------------------------------|
//! | `cairn_disk`      | the command that reads and writes blocks: `mmc`, `virtio`, `nvme`, …        |
//! | `cairn_number`    | which disk of that kind                                                    |
//! | `cairn_args`      | the kernel's arguments before ours                                         |
//! | `cairn_start`     | `booti` or `bootz`                                                         |
//! | `cairn_board_fdt` | where a device tree lies for revisions that bring none                     |
//! | `cairn_tree_gets` | commands that add to the tree at `fdt addr`, on a board that has some       |

use formats::bootenv;

use crate::board::{Content, Layout, Media, Partition, Role};
use crate::cell::{OneSector, RawPair};
use crate::codecs::Raw;
use crate::env::CellEnv;
use crate::media::SECTOR;
use crate::provision::{self, At, New, Piece};

/// From the cells to `cairn_role`, `cairn_revision` and a note on the medium: [`statemachine::boot::pick`] in hush.
/// It needs `env import -c`, `env export -c`, `part`, `setexpr`, `cmp`, `test` and a disk's `dev`, `read` and `write`.
pub const PICK: &str = include_str!("../scripts/uboot-pick.cmd");

/// Loads what [`PICK`] has chosen from trails or the recovery partition, and jumps.
pub const TRAILS: &str = include_str!("../scripts/uboot-trails.cmd");

/// Bytes from the first copy of `Wanted` to the second; in [`PICK`] as sectors.
pub const APART: u64 = 4 << 20;

/// The partitions of a disk whose kernels lie in trails.
pub const LAYOUT: Layout = Layout {
    partitions: &[
        Partition { start_kib: Some(4 << 10), ..partition(Role::Firmware, "firmware", 60, Content::Fat) },
        partition(Role::Wanted, "wanted", 8, Content::Raw),
        partition(Role::Spent, "spent", 4, Content::Raw),
        partition(Role::Journal, "journal", 8, Content::Raw),
        partition(Role::Recovery, "recovery", 108, Content::Fat),
        Partition { size_kib: None, ..partition(Role::Store, "storage", 0, Content::Ext4) },
    ],
};

/// A partition of so many MiB, behind the one before.
#[must_use]
pub const fn partition(role: Role, label: &'static str, mib: u32, content: Content) -> Partition {
    Partition { role, label, start_kib: None, size_kib: Some(mib << 10), content }
}

/// The boot environment in raw sectors. `FLAGGED` as in [`Raw`].
pub type Env<M, const FLAGGED: bool> =
    CellEnv<RawPair<<M as Media>::Sectors, Raw<FLAGGED>>, OneSector<<M as Media>::Sectors>, Raw<FLAGGED>>;

/// Opens it: two copies in one partition, the note in another. `None`: a partition is missing.
pub fn boot_env<M: Media, const FLAGGED: bool>(media: &mut M) -> Option<Env<M, FLAGGED>> {
    let (wanted, spent) = (media.sectors(Role::Wanted)?, media.sectors(Role::Spent)?);
    Some(CellEnv::new(RawPair::new(wanted, [0, APART]), OneSector::new(spent, 0, SECTOR)))
}

/// What its cells hold on a new device.
///
/// # Errors
/// [`Board::provision`](crate::Board::provision).
pub fn provision<const FLAGGED: bool>(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), bootenv::Error> {
    provision::raw_cells::<FLAGGED>(new, &[At::Byte(0), At::Byte(APART)], At::Byte(0), put)
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::vec::Vec;

    use super::*;

    fn commands(script: &str) -> impl Iterator<Item = &str> {
        script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    }

    #[test]
    fn the_second_copy_lies_where_the_script_looks_for_it_and_within_its_partition() {
        assert!(PICK.contains(&format!("${{cairn_first}} + {:x}\n", APART / SECTOR as u64)));
        let wanted = LAYOUT.partition(Role::Wanted).and_then(|wanted| wanted.size_kib).unwrap();
        assert_eq!(u64::from(wanted) << 10, 2 * APART);
    }

    #[test]
    fn every_label_of_the_scripts_is_a_partition() {
        let mut labels = Vec::new();
        for line in commands(PICK).chain(commands(TRAILS)) {
            if let Some((_, part)) = line.split_once("part ") {
                labels.push(part.split(' ').nth(3).unwrap());
            }
        }
        assert_eq!(labels, ["spent", "wanted", "storage", "recovery"]);
        assert!(labels.iter().all(|label| LAYOUT.partitions.iter().any(|partition| partition.label == *label)));
    }

    #[test]
    fn the_scripts_write_the_note_and_nothing_else() {
        let words = || commands(PICK).chain(commands(TRAILS)).flat_map(|line| line.split([' ', ';']));
        assert_eq!(words().filter(|word| *word == "write").count(), 1);
        let files = ["saveenv", "save", "fatwrite", "ext4write", "erase", "sf", "nand"];
        assert_eq!(words().find(|word| files.contains(word)), None);
    }

    #[test]
    fn the_jump_ends_in_a_reset() {
        assert_eq!(commands(TRAILS).last(), Some("reset"));
    }

    #[test]
    fn the_scripts_hold_nothing_that_an_old_parser_could_stumble_over() {
        // hush has a table of 256 characters, and a `char` of some compilers is signed. Its lines have 512 bytes.
        for line in PICK.lines().chain(TRAILS.lines()) {
            assert!(line.is_ascii() && line.len() < 512 && !line.contains('\t'), "{line}");
        }
    }
}
