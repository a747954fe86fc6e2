//! Laws of growing the last partition of a GPT.
//!
//! ```text
//!   input  = odd: the sums of the table are put right │ number of the partition │ sectors 1, 2 … of the disk
//!   medium = 4 MiB
//! ```

use std::convert::Infallible;

use boards_api::media::Sectors;
use metal::gpt::{GptError, grow_last};

use super::crc32;

const SECTOR: usize = 512;
const SIZE: usize = 4 << 20;

struct Disk {
    bytes: Vec<u8>,
    /// The first sector of each write, and how many it had.
    writes: Vec<(u64, usize)>,
}

impl Sectors for Disk {
    type Error = Infallible;

    fn size(&self) -> u64 {
        SIZE as u64
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Infallible> {
        into.copy_from_slice(&self.bytes[at as usize..][..into.len()]);
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Infallible> {
        assert!(at.is_multiple_of(SECTOR as u64) && bytes.len().is_multiple_of(SECTOR), "no sectors: {at}");
        self.bytes[at as usize..][..bytes.len()].copy_from_slice(bytes);
        self.writes.push((at / SECTOR as u64, bytes.len() / SECTOR));
        Ok(())
    }
}

pub(crate) fn grown(input: &[u8]) {
    let [is_right, number, sectors @ ..] = input else { return };
    let mut bytes = vec![0; SIZE];
    let length = sectors.len().min(SIZE - SECTOR);
    bytes[SECTOR..SECTOR + length].copy_from_slice(&sectors[..length]);
    if is_right % 2 == 1 {
        put_sums(&mut bytes);
    }
    let le64 = |at: usize| u64::from_le_bytes(bytes[SECTOR + at..][..8].try_into().expect("eight bytes"));
    let (entries, count) = (le64(72), le64(80) & 0xFFFF_FFFF);
    let mut disk = Disk { bytes: bytes.clone(), writes: Vec::new() };
    match grow_last(&mut disk, u32::from(*number)) {
        Ok(size) => {
            assert!(size <= SIZE as u64 || disk.writes.is_empty(), "a partition of {size} bytes");
            let counted = entries..entries.saturating_add(count * 128 / SECTOR as u64);
            for (first, sectors) in &disk.writes {
                let written = *first..first + *sectors as u64;
                assert!(written.start > 0, "sector 0 is written");
                assert!(written.start >= counted.end || counted.start >= written.end, "entries that count are written");
            }
            assert!(disk.writes.is_empty() || disk.writes.last() == Some(&(1, 1)), "the header comes last");
            disk.writes.clear();
            assert_eq!(grow_last(&mut disk, u32::from(*number)), Ok(size));
            assert!(disk.writes.is_empty(), "it is written twice");
        }
        Err(GptError::ReadBack) => panic!("the medium gives back what it took"),
        Err(_) => assert!(disk.bytes == bytes, "an error has changed the disk"),
    }
}

/// So that mutations get behind the sums.
fn put_sums(bytes: &mut [u8]) {
    let header = &bytes[SECTOR..];
    let at = usize::try_from(u64::from_le_bytes(header[72..80].try_into().expect("eight bytes"))).unwrap_or(usize::MAX);
    let count = u32::from_le_bytes(header[80..84].try_into().expect("four bytes")) as usize;
    let place = at.checked_mul(SECTOR).and_then(|at| bytes.get(at..at.checked_add(count.checked_mul(128)?)?));
    let Some(sum) = place.map(crc32) else { return };
    let header = &mut bytes[SECTOR..2 * SECTOR];
    header[88..92].copy_from_slice(&sum.to_le_bytes());
    header[16..20].fill(0);
    let sum = crc32(&header[..92]);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_table_that_grows() {
        let seeds = crate::corpus::seeds("gpt").unwrap();
        let grows = |seed: &&Vec<u8>| {
            let [1, number, sectors @ ..] = seed.as_slice() else { return false };
            let mut bytes = vec![0; SIZE];
            bytes[SECTOR..SECTOR + sectors.len()].copy_from_slice(sectors);
            let mut disk = Disk { bytes, writes: Vec::new() };
            grow_last(&mut disk, u32::from(*number)).is_ok() && disk.writes.len() == 4
        };
        assert_eq!(seeds.iter().filter(grows).count(), 1);
    }
}
