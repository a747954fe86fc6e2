//! Partitions that can be made, found by their names, and torn apart from each other.

use boards_api::Board;
use boards_api::board::{Content, Partition, Rests, Role};
use boards_api::media::SECTOR;
use boards_api::provision::At;
use statemachine::boot::TrialKind;

use crate::Verdict;
use crate::store::stored;
use crate::values::{described, life, made, noted};

/// Characters of a name in a GPT.
const GPT_NAME: usize = 36;

/// What a partition without a start of its own is aligned to.
const ALIGN_KIB: u64 = 1024;

/// What a partition table takes at the start of the disk, in KiB: protective MBR, GPT and its entries.
const TABLE_KIB: u64 = 20;

/// Where each partition lies, in KiB; the end of the last may be open.
fn extents(partitions: &[Partition]) -> Vec<(u64, Option<u64>)> {
    let mut free = ALIGN_KIB;
    partitions
        .iter()
        .map(|partition| {
            let start = partition.start_kib.map_or(free.next_multiple_of(ALIGN_KIB), u64::from);
            let end = partition.size_kib.map(|size| start + u64::from(size));
            free = end.unwrap_or(start);
            (start, end)
        })
        .collect()
}

/// No overlap, no double role, names that a partition table can hold, and contents that their roles need.
///
/// # Errors
/// The law is broken.
pub fn the_partitions_can_be_made_and_found<B: Board>() -> Verdict {
    let partitions = B::LAYOUT.partitions;
    let extents = extents(partitions);
    for (index, partition) in partitions.iter().enumerate() {
        let Partition { role, label, size_kib, content, .. } = *partition;
        let before = &partitions[..index];
        let wrong = |what: String| Err(format!("partition {} ({role:?}, {label:?}): {what}", index + 1));
        if before.iter().any(|other| other.role == role) {
            return wrong("another one has this role".into());
        }
        if before.iter().any(|other| other.label == label) {
            return wrong("another one has this label".into());
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        if label.is_empty() || label.len() > GPT_NAME || !label.bytes().all(plain) {
            return wrong(format!("a label has 1 to {GPT_NAME} of a-z, 0-9, -, _ and ."));
        }
        if size_kib == Some(0) {
            return wrong("it has no room".into());
        }
        if size_kib.is_none() && index + 1 < partitions.len() {
            return wrong("only the last one can take what is left".into());
        }
        let (start, _) = extents[index];
        let earliest = index.checked_sub(1).map_or(TABLE_KIB, |before| extents[before].1.unwrap_or(u64::MAX));
        if start < earliest {
            return wrong(format!("it starts at {start} KiB, and what is before it ends at {earliest} KiB"));
        }
        if !fits(role, content) {
            return wrong(format!("it holds {content:?}"));
        }
    }
    match B::LAYOUT.partition(Role::Store) {
        Some(_) => Ok(()),
        None => Err("no partition holds objects and trails".into()),
    }
}

/// What a role may be made of.
fn fits(role: Role, content: Content) -> bool {
    match role {
        // Cells and journal are found by their sectors. In a file system they have no partition of their own.
        Role::Wanted | Role::Spent | Role::Journal => content == Content::Raw,
        Role::Store => content == Content::Ext4,
        Role::Firmware | Role::Recovery | Role::Slot(_) => true,
    }
}

/// What is opened as sectors is a partition, or a preallocated file whose name the image builder and PID 1 both know.
///
/// # Errors
/// The law is broken.
pub fn every_cell_has_a_place_that_can_be_found<B: Board>() -> Verdict {
    let first = &life::<B>()[0];
    let fat = B::LAYOUT.partition(Role::Firmware).is_some_and(|firmware| firmware.content == Content::Fat);
    for piece in described::<B>(first, noted(first))? {
        let named = B::PREALLOCATED.iter().any(|(role, _)| *role == piece.role);
        match (piece.at, B::LAYOUT.partition(piece.role)) {
            (At::Byte(at), Some(Partition { size_kib: Some(kib), label, .. })) => {
                let end = at + piece.bytes.len() as u64;
                if end > u64::from(*kib) * 1024 {
                    return Err(format!("{:?} ends at byte {end}, behind its partition {label:?}", piece.role));
                }
            }
            (At::Byte(_), None) if !(named && fat) => {
                return Err(format!("{:?} has neither a partition nor a preallocated file in a FAT", piece.role));
            }
            (At::Byte(at), _) if !at.is_multiple_of(SECTOR as u64) => {
                return Err(format!("{:?} begins at byte {at}, within a sector", piece.role));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What an interrupted write may take along must not hold the other copy: of the journal, and of `Wanted` where there are
/// two. Whatever is a partition of its own has a size, so it is there before it is needed.
///
/// # Errors
/// The law is broken.
pub fn copies_and_halves_lie_in_different_erase_groups<B: Board>() -> Verdict {
    let group = u64::from(B::ERASE_GROUP_KIB);
    for role in [Role::Wanted, Role::Spent, Role::Journal] {
        if B::LAYOUT.partition(role).is_some_and(|partition| partition.size_kib.is_none()) {
            return Err(format!("{role:?} takes what is left; a cell and a journal are as large as they ever will be"));
        }
    }
    if let Some(half) =
        B::LAYOUT.partition(Role::Journal).and_then(|journal| journal.size_kib).map(|kib| u64::from(kib) / 2)
        && half < group
    {
        return Err(format!(
            "a half of the journal has {half} KiB, and one erase group of {group} KiB would hold both"
        ));
    }
    if B::RESTS == Rests::OnWholeSectors {
        return Ok(());
    }
    let life = life::<B>();
    let (device, _) = made::<B>(&life[0], noted(&life[0]))?;
    stored::<B>(&device, &life[1])?;
    let mut writes = device.writes(Role::Wanted);
    writes.sort_unstable();
    writes.dedup();
    let near = writes.windows(2).find(|two| two[1] - two[0] < group * 1024);
    match (writes.len(), near) {
        (0 | 1, _) => {
            Err(format!("it rests on nothing, and a store writes {} place in Role::Wanted, not two", writes.len()))
        }
        (_, Some(two)) => Err(format!("the copies at bytes {two:?} lie in one erase group of {group} KiB")),
        _ => Ok(()),
    }
}

/// `pick` ends in recovery. A machine whose firmware is not its own (the host) has no place for one.
///
/// # Errors
/// The law is broken.
pub fn a_firmware_that_counts_has_a_recovery_to_end_in<B: Board>() -> Verdict {
    let has = |role| B::LAYOUT.partition(role).is_some();
    if B::TRIAL == TrialKind::Counted && has(Role::Firmware) && !has(Role::Recovery) {
        return Err("its list ends in recovery, and no partition has Role::Recovery".into());
    }
    Ok(())
}
