//! What boards with a U-Boot and FIT images in two slots have in common: partitions, labels, and the jump.
//!
//! ```text
//!   script     head (the board's own lines) │ uboot::PICK (cells, list, note) │ JUMP (labels, bootm)
//!
//!   wanted     MiB 0  copy  4  copy
//!   slot-a     MiB 0  label 4  label  8  FIT image    a label says which revisions the image is of
//!   slot-b            the same
//!   recovery   MiB 0  FIT image
//! ```
//!
//! Cells, list and note are those of every U-Boot board ([`uboot`](crate::uboot)). Besides its variables, a head sets:
//!
//! | variable            | what                                                                      |
//! |---------------------|---------------------------------------------------------------------------|
//! | `cairn_fit`         | where in memory a whole FIT image has room                                |
//! | `cairn_fit_sectors` | how many sectors of a slot are read, in hexadecimal: the largest image    |
//! | `cairn_fit_more`    | what `cairn_start` is told behind the place of the image, if anything     |

use formats::bootenv::uboot::Head;
use formats::bootenv::{Error, label};

use crate::board::{Content, Layout, Partition, Role};
use crate::provision::{At, New, Piece};
use crate::slots::{Shape, Slot};
use crate::uboot::{APART, partition};

/// Names of the slots, in the order of their partitions.
pub const NAMES: [&str; 2] = ["a", "b"];

/// Where in the partition of a slot its label lies: two copies, because that of the default is written again when the
/// device is updated in place.
pub const LABELS_AT: [u64; 2] = [0, APART];

/// Where in the partition of a slot its FIT image starts, in an erase group of its own.
pub const FIT_AT: u64 = 2 * APART;

/// Finds the slot of what [`uboot::PICK`](crate::uboot::PICK) has chosen by the labels, and starts its image.
pub const JUMP: &str = include_str!("../scripts/uboot-slots.cmd");

/// The partitions of a disk whose kernels lie in slots.
pub const LAYOUT: Layout = Layout {
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

/// What a slot is like, with labels for such a U-Boot.
#[must_use]
pub const fn shape(head: Head) -> Shape {
    Shape { labels: &LABELS_AT, head, image: FIT_AT }
}

/// The labels of a new device.
///
/// # Errors
/// [`Error`]: the names have no room in a label.
pub fn labels(new: &New<'_>, head: Head, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
    for (index, held) in (0_u8..).zip(new.slots) {
        let bytes = label::encode(*held, head)?;
        LABELS_AT
            .into_iter()
            .for_each(|at| put(Piece { role: Role::Slot(Slot(index)), at: At::Byte(at), bytes: &bytes }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;
    use crate::media::SECTOR;

    fn sectors(bytes: u64) -> std::string::String {
        format!("{:x}", bytes / SECTOR as u64)
    }

    #[test]
    fn the_jump_finds_label_and_image_where_they_are() {
        assert!(JUMP.contains(&format!("for cairn_name in {}; do", NAMES.join(" "))));
        let [first, second] = LABELS_AT;
        assert!(JUMP.contains(&format!("${{cairn_first}} + {}\n", sectors(second - first))));
        assert!(JUMP.contains(&format!("${{cairn_first}} + {}\n", sectors(FIT_AT))));
    }

    #[test]
    fn the_jump_ends_in_a_reset_and_holds_nothing_that_an_old_parser_could_stumble_over() {
        assert_eq!(JUMP.lines().rfind(|line| !line.is_empty() && !line.starts_with('#')), Some("reset"));
        for line in JUMP.lines() {
            assert!(line.is_ascii() && line.len() < 512 && !line.contains('\t'), "{line}");
        }
    }
}
