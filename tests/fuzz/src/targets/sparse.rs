//! A medium that is zeros but for the sectors that an input names, so that a small input reaches every part of a large one.
//!
//! ```text
//!   input  = number, u32 little-endian │ 512 bytes   for each sector that is not zeros; what is left over is nothing
//! ```

use std::convert::Infallible;

use boards_api::media::Sectors;

pub(super) const SECTOR: usize = 512;

/// The medium. It panics when more is read than may be, when something is read behind it, and when anything is written.
#[derive(Debug)]
pub(super) struct Sparse<'b> {
    bytes: &'b [u8],
    size: u64,
    reads: u64,
}

impl<'b> Sparse<'b> {
    /// One of `size` bytes, of which may be read at most `reads` times.
    pub(super) fn new(bytes: &'b [u8], size: u64, reads: u64) -> Self {
        Self { bytes, size, reads }
    }

    fn sector(&self, number: u64) -> Option<&[u8]> {
        let records = self.bytes.as_chunks::<{ SECTOR + 4 }>().0;
        let is_it = |record: &&[u8; SECTOR + 4]| {
            u64::from(u32::from_le_bytes([record[0], record[1], record[2], record[3]])) == number
        };
        records.iter().find(is_it).map(|record| &record[4..])
    }
}

impl Sectors for Sparse<'_> {
    type Error = Infallible;

    fn size(&self) -> u64 {
        self.size
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Infallible> {
        self.reads = self.reads.checked_sub(1).expect("it ends");
        assert!(at + into.len() as u64 <= self.size, "{} bytes are read at {at}, behind the medium", into.len());
        let mut done = 0;
        while done < into.len() {
            let (place, within) = (at + done as u64, (at + done as u64) % SECTOR as u64);
            let within = usize::try_from(within).expect("a sector is small");
            let length = (SECTOR - within).min(into.len() - done);
            let piece = &mut into[done..done + length];
            match self.sector(place / SECTOR as u64) {
                Some(sector) => piece.copy_from_slice(&sector[within..within + length]),
                None => piece.fill(0),
            }
            done += length;
        }
        Ok(())
    }

    fn write(&mut self, at: u64, _: &[u8]) -> Result<(), Infallible> {
        panic!("something is written at {at}");
    }
}
