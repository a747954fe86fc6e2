//! NOR flash: pages are erased to ones, words are programmed to zeros, and power may go inside either.
//!
//! Rules that a breach of is reported, and never quietly put right: offsets are whole words or pages; programming only
//! clears bits; a word is programmed as often between two erases as [`Writes`] allows. A torn word counts as
//! programmed. Only the word being programmed, or the page being erased, is ever damaged.

use embedded_storage_async::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

use crate::fuel::{Burn, Fuel, Luck, Tear};

/// How often a word may be programmed between two erases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writes {
    /// Once: parts with error correction per word.
    Once,
    /// Twice, the second time to all zeros.
    TwiceWithZeros,
}

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NorFault {
    /// Power has gone.
    PowerCut,
    /// The range ends behind the medium.
    OutOfBounds,
    /// The range is not made of whole words or pages.
    NotAligned,
    /// The write would set a bit at this offset.
    SetsBits(usize),
    /// The word at this offset was programmed too often.
    Worn(usize),
}

impl std::fmt::Display for NorFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PowerCut => f.write_str("power has gone"),
            Self::OutOfBounds => f.write_str("the range ends behind the flash"),
            Self::NotAligned => f.write_str("the range is not made of whole words or pages"),
            Self::SetsBits(at) => write!(f, "the write at {at:#x} would set a bit; erase first"),
            Self::Worn(at) => write!(f, "the word at {at:#x} was programmed too often since its erase"),
        }
    }
}

impl std::error::Error for NorFault {}

impl NorFlashError for NorFault {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            Self::NotAligned => NorFlashErrorKind::NotAligned,
            Self::PowerCut | Self::SetsBits(_) | Self::Worn(_) => NorFlashErrorKind::Other,
        }
    }
}

/// A NOR flash with words of `WORD` and pages of `PAGE` bytes.
#[derive(Clone, Debug)]
pub struct SimNor<const WORD: usize, const PAGE: usize> {
    bytes: Vec<u8>,
    /// How often each word was programmed since its erase.
    programmed: Vec<u8>,
    writes: Writes,
    fuel: Fuel,
}

impl<const WORD: usize, const PAGE: usize> SimNor<WORD, PAGE> {
    /// An erased flash of `pages` pages.
    #[must_use]
    pub fn erased(pages: usize, writes: Writes, fuel: &Fuel) -> Self {
        let size = pages * PAGE;
        Self { bytes: vec![0xFF; size], programmed: vec![0; size / WORD], writes, fuel: fuel.clone() }
    }

    /// Fills all of it with one byte, as it might come from somewhere else.
    pub fn fill(&mut self, with: u8) {
        self.bytes.fill(with);
        self.programmed.fill(u8::from(with != 0xFF));
    }

    /// Power is back.
    pub fn power_on(&mut self, fuel: &Fuel) {
        self.fuel = fuel.clone();
    }

    /// The bytes as they stand.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Flips one bit, as age does.
    pub fn flip(&mut self, at: usize, bit: u8) {
        self.bytes[at] ^= 1 << (bit & 7);
    }

    fn range(&self, from: u32, length: usize, unit: usize) -> Result<usize, NorFault> {
        let from = from as usize;
        if !from.is_multiple_of(unit) || !length.is_multiple_of(unit) {
            return Err(NorFault::NotAligned);
        }
        match from.checked_add(length) {
            Some(end) if end <= self.bytes.len() => Ok(from),
            _ => Err(NorFault::OutOfBounds),
        }
    }

    fn program(&mut self, at: usize, word: &[u8]) -> Result<(), NorFault> {
        let old = &self.bytes[at..at + WORD];
        if old.iter().zip(word).any(|(old, new)| old & new != *new) {
            return Err(NorFault::SetsBits(at));
        }
        let allowed = match self.writes {
            Writes::TwiceWithZeros if word.iter().all(|byte| *byte == 0) => 2,
            Writes::Once | Writes::TwiceWithZeros => 1,
        };
        if self.programmed[at / WORD] >= allowed {
            return Err(NorFault::Worn(at));
        }
        match self.fuel.burn() {
            Burn::Whole => {
                self.bytes[at..at + WORD].copy_from_slice(word);
                self.programmed[at / WORD] += 1;
                Ok(())
            }
            Burn::Torn(tear, seed) => {
                tear.mix(&mut self.bytes[at..at + WORD], word, seed);
                self.programmed[at / WORD] += u8::from(tear != Tear::Old);
                Err(NorFault::PowerCut)
            }
            Burn::Dead => Err(NorFault::PowerCut),
        }
    }

    fn erase_page(&mut self, at: usize) -> Result<(), NorFault> {
        let page = &mut self.bytes[at..at + PAGE];
        let programmed = &mut self.programmed[at / WORD..(at + PAGE) / WORD];
        match self.fuel.burn() {
            Burn::Whole | Burn::Torn(Tear::New, _) => {
                page.fill(0xFF);
                programmed.fill(0);
            }
            Burn::Torn(Tear::Half, seed) => {
                // An erase has no direction: either half may be the one that is done.
                let start = Luck(seed).below(2) * (PAGE / 2);
                page[start..start + PAGE / 2].fill(0xFF);
                programmed.fill(2);
            }
            Burn::Torn(tear, seed) => {
                tear.mix(page, &[0xFF; PAGE], seed);
                if tear != Tear::Old {
                    programmed.fill(2);
                }
            }
            Burn::Dead => {}
        }
        if self.fuel.is_out() { Err(NorFault::PowerCut) } else { Ok(()) }
    }
}

/// The same without waiting, for drivers that block.
impl<const WORD: usize, const PAGE: usize> SimNor<WORD, PAGE> {
    /// Reads from byte `offset`.
    ///
    /// # Errors
    /// [`NorFault`]
    pub fn read_now(&self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFault> {
        if self.fuel.is_out() {
            return Err(NorFault::PowerCut);
        }
        let from = self.range(offset, bytes.len(), 1)?;
        bytes.copy_from_slice(&self.bytes[from..from + bytes.len()]);
        Ok(())
    }

    /// Erases whole pages.
    ///
    /// # Errors
    /// [`NorFault`]
    pub fn erase_now(&mut self, from: u32, to: u32) -> Result<(), NorFault> {
        let length = to.checked_sub(from).ok_or(NorFault::OutOfBounds)? as usize;
        let start = self.range(from, length, PAGE)?;
        (start..start + length).step_by(PAGE).try_for_each(|page| self.erase_page(page))
    }

    /// Programs whole words.
    ///
    /// # Errors
    /// [`NorFault`]
    pub fn write_now(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFault> {
        let start = self.range(offset, bytes.len(), WORD)?;
        bytes.chunks(WORD).enumerate().try_for_each(|(index, word)| self.program(start + index * WORD, word))
    }
}

impl<const WORD: usize, const PAGE: usize> ErrorType for SimNor<WORD, PAGE> {
    type Error = NorFault;
}

impl<const WORD: usize, const PAGE: usize> ReadNorFlash for SimNor<WORD, PAGE> {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFault> {
        self.read_now(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WORD: usize, const PAGE: usize> NorFlash for SimNor<WORD, PAGE> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFault> {
        self.erase_now(from, to)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFault> {
        self.write_now(offset, bytes)
    }
}

impl<const WORD: usize, const PAGE: usize> MultiwriteNorFlash for SimNor<WORD, PAGE> {}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Flash = SimNor<4, 64>;

    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("a simulated flash never waits"),
        }
    }

    #[test]
    fn a_word_is_programmed_once_and_then_needs_an_erase() {
        let mut flash = Flash::erased(2, Writes::Once, &Fuel::unlimited());
        now(flash.write(4, &[0x0F; 4])).unwrap();
        assert_eq!(now(flash.write(4, &[0x0F; 4])), Err(NorFault::Worn(4)));
        assert_eq!(now(flash.write(4, &[0xFF; 4])), Err(NorFault::SetsBits(4)));
        now(flash.erase(0, 64)).unwrap();
        now(flash.write(4, &[0xF0; 4])).unwrap();
    }

    #[test]
    fn zeros_may_be_written_a_second_time_where_the_part_allows_it() {
        let mut flash = Flash::erased(2, Writes::TwiceWithZeros, &Fuel::unlimited());
        now(flash.write(0, &[0x0F; 4])).unwrap();
        now(flash.write(0, &[0; 4])).unwrap();
        assert_eq!(now(flash.write(0, &[0; 4])), Err(NorFault::Worn(0)));
    }

    #[test]
    fn a_cut_damages_the_word_being_programmed_and_no_other() {
        for tear in Tear::ALL {
            let mut flash = Flash::erased(2, Writes::Once, &Fuel::limited(1, tear, 3));
            assert_eq!(now(flash.write(0, &[0x11; 12])), Err(NorFault::PowerCut));
            assert_eq!(flash.bytes()[..4], [0x11; 4]);
            assert_eq!(flash.bytes()[8..], [0xFF; 120]);
        }
    }

    #[test]
    fn a_cut_erase_leaves_the_other_pages_alone() {
        for tear in Tear::ALL {
            let mut flash = Flash::erased(3, Writes::Once, &Fuel::unlimited());
            now(flash.write(0, &[0x11; 192])).unwrap();
            flash.power_on(&Fuel::limited(0, tear, 3));
            assert_eq!(now(flash.erase(64, 128)), Err(NorFault::PowerCut));
            assert_eq!(flash.bytes()[..64], [0x11; 64]);
            assert_eq!(flash.bytes()[128..], [0x11; 64]);
        }
    }

    #[test]
    fn without_power_nothing_is_read() {
        let mut flash = Flash::erased(1, Writes::Once, &Fuel::limited(0, Tear::Old, 0));
        assert_eq!(now(flash.erase(0, 64)), Err(NorFault::PowerCut));
        assert_eq!(now(flash.read(0, &mut [0; 4])), Err(NorFault::PowerCut));
        flash.power_on(&Fuel::unlimited());
        assert_eq!(now(flash.read(0, &mut [0; 4])), Ok(()));
    }

    #[test]
    fn ranges_are_whole_words_and_whole_pages() {
        let mut flash = Flash::erased(1, Writes::Once, &Fuel::unlimited());
        assert_eq!(now(flash.write(2, &[0; 4])), Err(NorFault::NotAligned));
        assert_eq!(now(flash.erase(0, 32)), Err(NorFault::NotAligned));
        assert_eq!(now(flash.write(64, &[0; 4])), Err(NorFault::OutOfBounds));
    }
}
