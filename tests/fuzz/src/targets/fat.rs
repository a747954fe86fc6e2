//! Laws of finding a file in a FAT.
//!
//! ```text
//!   input  = number, u32 little-endian │ 512 bytes   for each sector that is not zeros; what is left over is nothing
//!   medium = 64 MiB: a small input reaches every part of all three kinds
//! ```

use std::cell::Cell;
use std::convert::Infallible;

use boards_api::media::Sectors;
use metal::fat::{DIRECTORY_MAX, FILE_MAX, locate};

const SECTOR: usize = 512;
const SIZE: u64 = 64 << 20;

/// No path of two names needs more: two directories and a file, each with the entries of its clusters.
const READS_MAX: u64 = 2 * (2 * DIRECTORY_MAX) / SECTOR as u64 + FILE_MAX as u64 / SECTOR as u64 + 8;

struct Sparse<'b> {
    bytes: &'b [u8],
    reads: Cell<u64>,
}

impl Sparse<'_> {
    fn byte(&self, at: u64) -> u8 {
        let (sector, within) = (at / SECTOR as u64, usize::try_from(at % SECTOR as u64).expect("a sector is small"));
        let records = self.bytes.as_chunks::<{ SECTOR + 4 }>().0;
        let is_it = |record: &&[u8; SECTOR + 4]| {
            u64::from(u32::from_le_bytes([record[0], record[1], record[2], record[3]])) == sector
        };
        records.iter().find(is_it).map_or(0, |record| record[4 + within])
    }
}

impl Sectors for Sparse<'_> {
    type Error = Infallible;

    fn size(&self) -> u64 {
        SIZE
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Infallible> {
        self.reads.set(self.reads.get() + 1);
        assert!(self.reads.get() <= READS_MAX, "it reads for ever");
        assert!(at + into.len() as u64 <= SIZE, "{} bytes are read at {at}, behind the medium", into.len());
        // A row lies in one sector or in two.
        for (offset, byte) in (0..).zip(into.iter_mut()) {
            *byte = self.byte(at + offset);
        }
        Ok(())
    }

    fn write(&mut self, at: u64, _: &[u8]) -> Result<(), Infallible> {
        panic!("something is written at {at}");
    }
}

pub(crate) fn located(bytes: &[u8]) {
    for path in ["cairn/wanted", "wanted"] {
        let mut medium = Sparse { bytes, reads: Cell::new(0) };
        let Ok(extent) = locate(&mut medium, path) else { continue };
        assert!(extent.at > 0 && extent.at.is_multiple_of(SECTOR as u64), "a file lies on sectors, behind the first");
        assert!(extent.length > 0 && extent.at + u64::from(extent.length) <= SIZE, "a file lies in its medium");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_hold_a_file_in_each_of_the_three_kinds() {
        let seeds = crate::corpus::seeds("fat").unwrap();
        let found = |bytes: &&Vec<u8>| locate(&mut Sparse { bytes, reads: Cell::new(0) }, "cairn/wanted").is_ok();
        assert_eq!(seeds.iter().filter(found).count(), 3);
    }
}
