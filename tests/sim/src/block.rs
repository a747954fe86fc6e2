//! A block device with 512-byte sectors and a volatile cache: what was not flushed may or may not have arrived.
//!
//! ```text
//!   write ──▶ cache (volatile) ──flush──▶ media
//!                │ power goes
//!                ▼
//!      each sector old or new, by the seed; the last one torn
//! ```
//!
//! A write into the cache is one operation, and so is each sector that a flush carries over. Power that goes during a
//! flush finds the sectors before it carried over, the one in work torn, and of the rest any part.

use boards_api::media::{SECTOR, Sectors};

use crate::fuel::{Burn, Fuel, Luck, Tear};

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockFault {
    /// Power has gone.
    PowerCut,
    /// The range ends behind the medium.
    OutOfBounds,
    /// The range is not made of whole sectors.
    NotAligned,
}

impl std::fmt::Display for BlockFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PowerCut => "power has gone",
            Self::OutOfBounds => "the range ends behind the device",
            Self::NotAligned => "the range is not made of whole sectors",
        })
    }
}

impl std::error::Error for BlockFault {}

/// A block device.
#[derive(Clone, Debug)]
pub struct SimBlock {
    media: Vec<u8>,
    /// Sectors that were written and not flushed, in the order of their last write.
    cache: Vec<(usize, [u8; SECTOR])>,
    fuel: Fuel,
}

impl SimBlock {
    /// A device of `sectors` sectors, all filled with `with`.
    #[must_use]
    pub fn filled(sectors: usize, with: u8, fuel: &Fuel) -> Self {
        Self { media: vec![with; sectors * SECTOR], cache: Vec::new(), fuel: fuel.clone() }
    }

    /// Power is back; what the cache held is decided already.
    pub fn power_on(&mut self, fuel: &Fuel) {
        if !self.cache.is_empty() {
            // Power went while something else was written: nothing here was being carried over.
            self.lose(Tear::Old, 0x5eed);
        }
        self.fuel = fuel.clone();
    }

    /// What lies on the media, the cache not counted.
    #[must_use]
    pub fn media(&self) -> &[u8] {
        &self.media
    }

    /// Replaces bytes on the media directly, as age or a stranger does.
    pub fn damage(&mut self, at: usize, with: &[u8]) {
        self.media[at..at + with.len()].copy_from_slice(with);
    }

    /// Writes whole sectors into the cache.
    ///
    /// # Errors
    /// Power has gone, or the range is none.
    pub fn write_cached(&mut self, at: u64, bytes: &[u8]) -> Result<(), BlockFault> {
        let start = self.range(at, bytes.len())?;
        if !start.is_multiple_of(SECTOR) || !bytes.len().is_multiple_of(SECTOR) {
            return Err(BlockFault::NotAligned);
        }
        for (index, chunk) in bytes.as_chunks::<SECTOR>().0.iter().enumerate() {
            let number = start / SECTOR + index;
            let burn = self.fuel.burn();
            if burn == Burn::Dead {
                return Err(BlockFault::PowerCut);
            }
            self.cache.retain(|(cached, _)| *cached != number);
            self.cache.push((number, *chunk));
            if let Burn::Torn(tear, seed) = burn {
                self.lose(tear, seed);
                return Err(BlockFault::PowerCut);
            }
        }
        Ok(())
    }

    /// Carries the cache over to the media.
    ///
    /// # Errors
    /// Power has gone.
    pub fn flush(&mut self) -> Result<(), BlockFault> {
        while let Some((number, new)) = self.cache.first().copied() {
            match self.fuel.burn() {
                Burn::Whole => {
                    self.sector(number).copy_from_slice(&new);
                    self.cache.remove(0);
                }
                Burn::Torn(tear, seed) => {
                    // The one in work comes last, where `lose` tears.
                    self.cache.rotate_left(1);
                    self.lose(tear, seed);
                    return Err(BlockFault::PowerCut);
                }
                Burn::Dead => return Err(BlockFault::PowerCut),
            }
        }
        if self.fuel.is_out() { Err(BlockFault::PowerCut) } else { Ok(()) }
    }

    /// Power goes: the last sector of the cache is torn, each other has arrived or not.
    fn lose(&mut self, tear: Tear, seed: u64) {
        let mut luck = Luck(seed);
        let mut cache = std::mem::take(&mut self.cache);
        if let Some((number, new)) = cache.pop() {
            tear.mix(self.sector(number), &new, luck.next());
        }
        for (number, new) in cache {
            if luck.below(2) == 0 {
                self.sector(number).copy_from_slice(&new);
            }
        }
    }

    fn sector(&mut self, number: usize) -> &mut [u8] {
        &mut self.media[number * SECTOR..(number + 1) * SECTOR]
    }

    fn range(&self, at: u64, length: usize) -> Result<usize, BlockFault> {
        let start = usize::try_from(at).map_err(|_| BlockFault::OutOfBounds)?;
        match start.checked_add(length) {
            Some(end) if end <= self.media.len() => Ok(start),
            _ => Err(BlockFault::OutOfBounds),
        }
    }
}

impl Sectors for SimBlock {
    type Error = BlockFault;

    fn size(&self) -> u64 {
        self.media.len() as u64
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), BlockFault> {
        if self.fuel.is_out() {
            return Err(BlockFault::PowerCut);
        }
        let start = self.range(at, into.len())?;
        into.copy_from_slice(&self.media[start..start + into.len()]);
        // The device answers from its cache first.
        for (number, bytes) in &self.cache {
            let first = number * SECTOR;
            let from = first.max(start);
            let to = (first + SECTOR).min(start + into.len());
            if from < to {
                into[from - start..to - start].copy_from_slice(&bytes[from - first..to - first]);
            }
        }
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), BlockFault> {
        self.write_cached(at, bytes)?;
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_flushed_stays_and_what_was_not_may_be_lost() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let mut disk = SimBlock::filled(4, 0, &Fuel::unlimited());
            disk.write(0, &[1; SECTOR]).unwrap();
            disk.power_on(&Fuel::limited(2, Tear::Old, seed));
            disk.write_cached(SECTOR as u64, &[2; SECTOR * 3]).unwrap_err();
            assert_eq!(disk.media()[..SECTOR], [1; SECTOR]);
            seen.insert(disk.media().chunks(SECTOR).map(|sector| sector[0]).collect::<Vec<_>>());
        }
        // Two sectors were on their way, each on its own; the third was the one torn.
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn a_cut_flush_tears_one_sector_in_the_mode_that_was_asked_for() {
        for tear in Tear::ALL {
            let mut disk = SimBlock::filled(2, 9, &Fuel::limited(1, tear, 1));
            disk.write(0, &[2; SECTOR]).unwrap_err();
            let expected: [u8; 2] = match tear {
                Tear::Old => [9, 9],
                Tear::New => [2, 2],
                Tear::Half => [2, 9],
                Tear::Zeros => [0, 0],
                Tear::At(_) | Tear::Garbage => continue,
            };
            assert_eq!([disk.media()[0], disk.media()[SECTOR - 1]], expected);
            assert_eq!(disk.media()[SECTOR..], [9; SECTOR]);
        }
    }

    #[test]
    fn a_reader_with_power_sees_what_the_cache_holds() {
        let mut disk = SimBlock::filled(2, 0, &Fuel::unlimited());
        disk.write_cached(SECTOR as u64, &[5; SECTOR]).unwrap();
        let mut across = [0; 4];
        disk.read(SECTOR as u64 - 2, &mut across).unwrap();
        assert_eq!(across, [0, 0, 5, 5]);
    }
}
