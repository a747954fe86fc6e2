//! The partitions of a disk: a GUID partition table, as the image builder writes it.
//!
//! ```text
//!   sector 1  "EFI PART" … 72: first sector of the entries, 80: how many, 84: bytes of each
//!   entry     0: kind, 32: first sector, 40: last sector
//! ```

use std::ops::Range;

use crate::disk::Disk;

const SECTOR: u64 = 512;

/// More than any board has.
const MOST: u32 = 128;

/// Bytes of each partition, the first one first. `None`: there is no such table.
pub(crate) fn partitions(disk: &Disk) -> Option<Vec<Range<u64>>> {
    let head = disk.bytes(SECTOR, 512);
    let number = |bytes: &[u8], at: usize| bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let word = |at: usize| head.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    if !head.starts_with(b"EFI PART") {
        return None;
    }
    let (first, count, size) = (number(&head, 72)?, word(80)?.min(MOST), word(84)?);
    let mut partitions = Vec::new();
    for index in 0..u64::from(count) {
        let entry = disk.bytes(first * SECTOR + index * u64::from(size), 128);
        if entry.iter().take(16).all(|byte| *byte == 0) {
            break;
        }
        let (start, last) = (number(&entry, 32)?, number(&entry, 40)?);
        partitions.push(start * SECTOR..last.checked_add(1)?.checked_mul(SECTOR)?);
    }
    Some(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_read_up_to_the_first_empty_entry() {
        let mut disk = Disk::new(vec![0; 1 << 20]);
        assert_eq!(partitions(&disk), None);
        disk.write(512, b"EFI PART");
        disk.write(512 + 72, &2_u64.to_le_bytes());
        disk.write(512 + 80, &128_u32.to_le_bytes());
        disk.write(512 + 84, &128_u32.to_le_bytes());
        for (index, (first, last)) in [(40_u64, 79_u64), (80, 99)].into_iter().enumerate() {
            let at = 1024 + 128 * index as u64;
            disk.write(at, &[0xAF; 16]);
            disk.write(at + 32, &first.to_le_bytes());
            disk.write(at + 40, &last.to_le_bytes());
        }
        assert_eq!(partitions(&disk), Some(vec![40 * 512..80 * 512, 80 * 512..100 * 512]));
    }
}
