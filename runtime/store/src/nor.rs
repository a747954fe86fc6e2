//! Flash emulated on sectors, so that one storage algorithm serves NOR chips, partitions and files.
//!
//! ```text
//!   erase   ▓ 1 2 3 4 5 6 7    the first sector, durable
//!           ▓ ▓ 2 3 4 5 6 7    then each next one, durable, ascending
//! ```
//!
//! The order of the erase is the point. A page's state is told by its first and its last word; were the last one cleared
//! first, a page of old records would look like the one in use, and values would go back in time without any error. A
//! single larger write promises no order, so every sector is written and awaited by itself.
//!
//! A write reads the sectors that it touches, clears bits in them, and writes back those and no others, ascending.
//! Flash behind an MTD device has erase and write of its own and will implement the same trait beside this file.

use boards_api::media::{SECTOR, Sectors};
use embedded_storage_async::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

/// Bytes of a page: what is erased at once. Eight sectors, the block of most file systems and flash translation layers.
pub const PAGE: usize = 4096;

/// Bytes of a word: what is written at once.
pub const WORD: usize = 4;

/// NOR flash on sectors.
#[derive(Clone, Debug)]
pub struct SectorNor<S> {
    sectors: S,
    capacity: u32,
}

/// Why emulated flash was not read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NorError<E> {
    /// The sectors below failed.
    Sectors(E),
    /// The range ends behind the flash.
    OutOfBounds,
    /// The range is not made of whole words or pages.
    NotAligned,
}

impl<E: std::fmt::Display> std::fmt::Display for NorError<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sectors(error) => error.fmt(f),
            Self::OutOfBounds => f.write_str("the range ends behind the emulated flash"),
            Self::NotAligned => f.write_str("the range is not made of whole words or pages"),
        }
    }
}

impl<E: std::error::Error> std::error::Error for NorError<E> {}

impl<E: std::fmt::Debug> NorFlashError for NorError<E> {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Sectors(_) => NorFlashErrorKind::Other,
            Self::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            Self::NotAligned => NorFlashErrorKind::NotAligned,
        }
    }
}

/// A medium whose size is no row of pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrongSize(pub u64);

impl std::fmt::Display for WrongSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes are no row of {PAGE}-byte pages below 4 GiB; make the partition fit", self.0)
    }
}

impl std::error::Error for WrongSize {}

impl<S: Sectors> SectorNor<S> {
    /// Flash as large as the medium.
    ///
    /// # Errors
    /// Its size is not a row of pages, or 4 GiB and more.
    pub fn new(sectors: S) -> Result<Self, WrongSize> {
        let size = sectors.size();
        match u32::try_from(size) {
            Ok(capacity) if capacity > 0 && capacity.is_multiple_of(PAGE as u32) => Ok(Self { sectors, capacity }),
            _ => Err(WrongSize(size)),
        }
    }

    /// Gives the medium back.
    pub fn into_inner(self) -> S {
        self.sectors
    }

    /// The medium below.
    pub fn sectors(&mut self) -> &mut S {
        &mut self.sectors
    }

    fn check(&self, from: u32, length: usize, unit: usize) -> Result<(), NorError<S::Error>> {
        if !(from as usize).is_multiple_of(unit) || !length.is_multiple_of(unit) {
            return Err(NorError::NotAligned);
        }
        match u64::from(from).checked_add(length as u64) {
            Some(end) if end <= u64::from(self.capacity) => Ok(()),
            _ => Err(NorError::OutOfBounds),
        }
    }
}

impl<S: Sectors> ErrorType for SectorNor<S> {
    type Error = NorError<S::Error>;
}

impl<S: Sectors> ReadNorFlash for SectorNor<S> {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.check(offset, bytes.len(), 1)?;
        self.sectors.read(u64::from(offset), bytes).map_err(NorError::Sectors)
    }

    fn capacity(&self) -> usize {
        self.capacity as usize
    }
}

impl<S: Sectors> NorFlash for SectorNor<S> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        let length = to.checked_sub(from).ok_or(NorError::OutOfBounds)?;
        self.check(from, length as usize, PAGE)?;
        for sector in (from..to).step_by(SECTOR) {
            self.sectors.write(u64::from(sector), &[0xFF; SECTOR]).map_err(NorError::Sectors)?;
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.check(offset, bytes.len(), WORD)?;
        let mut at = offset as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = at % SECTOR;
            let (now, later) = rest.split_at(rest.len().min(SECTOR - within));
            let start = (at - within) as u64;
            let mut sector = [0; SECTOR];
            self.sectors.read(start, &mut sector).map_err(NorError::Sectors)?;
            sector.iter_mut().skip(within).zip(now).for_each(|(old, new)| *old &= new);
            self.sectors.write(start, &sector).map_err(NorError::Sectors)?;
            at += now.len();
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sim::block::SimBlock;
    use sim::{Fuel, Tear};

    use super::*;
    use crate::region::now;

    fn flash(fuel: &Fuel) -> SectorNor<SimBlock> {
        SectorNor::new(SimBlock::filled(16, 0xFF, fuel)).unwrap()
    }

    #[test]
    fn a_write_only_clears_bits_and_an_erase_sets_them() {
        let mut flash = flash(&Fuel::unlimited());
        now(flash.write(508, &[0x0F; 8])).unwrap().unwrap();
        now(flash.write(508, &[0xF1; 8])).unwrap().unwrap();
        let mut seen = [0; 12];
        now(flash.read(504, &mut seen)).unwrap().unwrap();
        assert_eq!(seen, [0xFF, 0xFF, 0xFF, 0xFF, 1, 1, 1, 1, 1, 1, 1, 1]);
        now(flash.erase(0, PAGE as u32)).unwrap().unwrap();
        assert!(flash.into_inner().media().iter().all(|byte| *byte == 0xFF));
    }

    #[test]
    fn an_interrupted_erase_has_cleared_an_ascending_part_of_the_page() {
        for cut in 0..8 {
            let mut sectors = SimBlock::filled(16, 0, &Fuel::unlimited());
            // Each sector is two operations: into the cache, and out of it.
            sectors.power_on(&Fuel::limited(2 * cut, Tear::Old, 1));
            let mut flash = SectorNor::new(sectors).unwrap();
            now(flash.erase(0, PAGE as u32)).unwrap().unwrap_err();
            let media = flash.into_inner();
            let erased = media.media().iter().take_while(|byte| **byte == 0xFF).count();
            assert_eq!(erased, cut as usize * SECTOR);
            assert!(media.media()[erased..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn a_write_touches_the_sectors_of_its_range_and_no_other() {
        let fuel = Fuel::unlimited();
        let mut flash = flash(&fuel);
        now(flash.write(1020, &[0; 8])).unwrap().unwrap();
        assert_eq!(fuel.spent(), 4);
    }

    #[test]
    fn a_size_that_is_no_row_of_pages_is_refused() {
        let sectors = SimBlock::filled(9, 0xFF, &Fuel::unlimited());
        assert_eq!(SectorNor::new(sectors).unwrap_err(), WrongSize(9 * 512));
    }
}
