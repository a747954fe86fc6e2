//! Sectors over erase blocks: a write takes its whole block along.
//!
//! ```text
//!   block    A │ B │ C │ D      write C'      read ▸ erase ▸ program A B C' D ▸ read back, compare
//!   cut      anything in this block, A, B and D included; every other block is as it was
//! ```
//!
//! So what must not be lost together lies in different erase blocks: the copies of a cell, the labels of a slot and its image.
//! [`Blocks::check_apart`] is asked before anything is opened for that.
//!
//! A block is erased before every write, also where it reads as erased: one whose erase was cut may read so, and lose what is
//! programmed into it.

use std::fmt;

use boards_api::media::{SECTOR, Sectors};

/// The largest erase block that is taken: a copy of one is in memory while it is written.
pub const ERASE_MAX: u32 = 1 << 20;

/// What every byte of an erased block is.
const ERASED: u8 = 0xFF;

/// What flash is made of, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// All of it.
    pub size: u64,
    /// What is erased at once.
    pub erase: u32,
    /// What is programmed at once.
    pub write: u32,
}

/// What a driver of flash can do.
pub trait Chip {
    /// What went wrong.
    type Error: fmt::Display + fmt::Debug + Copy;

    /// As the kernel counts it.
    fn number(&self) -> u32;

    /// What it is made of.
    fn geometry(&self) -> Geometry;

    /// Whether the erase block at byte `at` cannot be used.
    ///
    /// # Errors
    /// It does not say.
    fn is_bad(&mut self, at: u64) -> Result<bool, Self::Error>;

    /// Reads `into.len()` bytes from byte `at`.
    ///
    /// # Errors
    /// The flash failed.
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Self::Error>;

    /// Erases the block that starts at byte `at`, and waits for it.
    ///
    /// # Errors
    /// It may hold anything.
    fn erase(&mut self, at: u64) -> Result<(), Self::Error>;

    /// Programs whole sectors that are erased, and waits for it.
    ///
    /// # Errors
    /// They may hold anything.
    fn program(&mut self, at: u64, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Why flash cannot be used, or an access failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MtdError<E> {
    /// Which flash, as the kernel counts.
    pub number: u32,
    /// What is wrong.
    pub fault: Fault<E>,
}

/// What is wrong with flash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault<E> {
    /// The driver said no.
    Chip {
        /// What was attempted.
        doing: &'static str,
        /// Where, in bytes.
        at: u64,
        /// The answer.
        why: E,
    },
    /// What is programmed at once takes neighbours of a sector along.
    WriteSize(u32),
    /// Erase blocks that are too large, or no whole sectors.
    EraseSize(u32),
    /// It is empty, or not made of whole erase blocks.
    Size {
        /// All of it.
        size: u64,
        /// An erase block.
        erase: u32,
    },
    /// The erase block at this byte is marked as bad.
    Bad(u64),
    /// Places that must not be lost together lie within one erase block.
    Together {
        /// An erase block.
        erase: u32,
        /// How far from each other the places are said to lie.
        apart: u64,
    },
    /// The board keeps one copy, and flash has none while it is written.
    OneCopy(u32),
    /// The range does not lie on whole sectors, or ends behind the flash.
    Range {
        /// Where it starts.
        at: u64,
        /// How long it is.
        length: usize,
    },
    /// It gives back other bytes than were written.
    Differs(u64),
    /// The device is not what the kernel has listed under its name.
    Changed,
}

impl<E: fmt::Display> fmt::Display for MtdError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mtd{}: ", self.number)?;
        match &self.fault {
            Fault::Chip { doing, at, why } => write!(f, "{doing} at byte {at}: {why}"),
            Fault::WriteSize(size) => {
                write!(
                    f,
                    "it is programmed in pages of {size} bytes, and a sector has {SECTOR}; keep boot cells elsewhere"
                )
            }
            Fault::EraseSize(size) => {
                write!(f, "erase blocks of {size} bytes are not whole sectors, or more than {ERASE_MAX} bytes")
            }
            Fault::Size { size, erase } => {
                write!(f, "{size} bytes are no erase blocks of {erase}; correct the partition in the device tree")
            }
            Fault::Bad(at) => {
                write!(
                    f,
                    "the erase block at byte {at} is bad; give the partition a place in the device tree without one"
                )
            }
            Fault::Together { erase, apart } => write!(
                f,
                "it is erased in blocks of {erase} bytes, and the copies of this board lie {apart} bytes apart: \
                 a write that power interrupts would take both"
            ),
            Fault::OneCopy(erase) => write!(
                f,
                "it is erased in blocks of {erase} bytes, and this board keeps one copy: a write that power interrupts \
                 would leave none"
            ),
            Fault::Range { at, length } => write!(f, "{length} bytes at {at} are no sectors of it"),
            Fault::Differs(at) => {
                write!(f, "it does not give back what was written at byte {at}; it is locked, or worn out")
            }
            Fault::Changed => f.write_str("its device is not what the kernel lists"),
        }
    }
}

impl<E: fmt::Display + fmt::Debug> std::error::Error for MtdError<E> {}

/// Flash as sectors.
#[derive(Clone, Debug)]
pub struct Blocks<C> {
    chip: C,
    geometry: Geometry,
}

impl<C: Chip> Blocks<C> {
    /// The sectors of a chip, if their promise can be kept on it.
    ///
    /// # Errors
    /// Its geometry cannot be honoured, or it has a bad block.
    pub fn new(mut chip: C) -> Result<Self, MtdError<C::Error>> {
        let geometry = chip.geometry();
        let Geometry { size, erase, write } = geometry;
        let wrong = |fault| Err(MtdError { number: chip.number(), fault });
        if write == 0 || !SECTOR.is_multiple_of(write as usize) {
            return wrong(Fault::WriteSize(write));
        }
        if erase == 0 || erase > ERASE_MAX || !(erase as usize).is_multiple_of(SECTOR) {
            return wrong(Fault::EraseSize(erase));
        }
        if size == 0 || !size.is_multiple_of(erase.into()) {
            return wrong(Fault::Size { size, erase });
        }
        for at in (0..size).step_by(erase as usize) {
            let fault = match chip.is_bad(at) {
                Ok(false) => continue,
                Ok(true) => Fault::Bad(at),
                Err(error) => Fault::Chip { doing: "asking for bad blocks", at, why: error },
            };
            return Err(MtdError { number: chip.number(), fault });
        }
        Ok(Self { chip, geometry })
    }

    /// What it is made of.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The chip again.
    pub fn chip(&mut self) -> &mut C {
        &mut self.chip
    }

    /// Whether places that are `apart` bytes from each other, or in different groups of so many, lie in different erase blocks.
    /// `None`: there is one place, and nothing that stands in for it.
    ///
    /// # Errors
    /// [`Fault::Together`], [`Fault::OneCopy`]
    pub fn check_apart(&self, apart: Option<u64>) -> Result<(), MtdError<C::Error>> {
        let erase = self.geometry.erase;
        match apart {
            Some(apart) if apart > 0 && apart.is_multiple_of(erase.into()) => Ok(()),
            Some(apart) => Err(self.wrong(Fault::Together { erase, apart })),
            None => Err(self.wrong(Fault::OneCopy(erase))),
        }
    }

    fn wrong(&self, fault: Fault<C::Error>) -> MtdError<C::Error> {
        MtdError { number: self.chip.number(), fault }
    }

    fn failed<T>(&self, doing: &'static str, at: u64, done: Result<T, C::Error>) -> Result<T, MtdError<C::Error>> {
        done.map_err(|error| self.wrong(Fault::Chip { doing, at, why: error }))
    }

    fn check(&self, at: u64, length: usize, unit: usize) -> Result<(), MtdError<C::Error>> {
        let whole = at.is_multiple_of(unit as u64) && length.is_multiple_of(unit);
        match at.checked_add(length as u64) {
            Some(end) if whole && end <= self.geometry.size => Ok(()),
            _ => Err(self.wrong(Fault::Range { at, length })),
        }
    }

    /// Replaces one erase block.
    fn rewrite(&mut self, start: u64, block: &[u8]) -> Result<(), MtdError<C::Error>> {
        let erased = self.chip.erase(start);
        self.failed("erasing", start, erased)?;
        for (at, sector) in (start..).step_by(SECTOR).zip(block.chunks(SECTOR)) {
            if sector.iter().any(|byte| *byte != ERASED) {
                let programmed = self.chip.program(at, sector);
                self.failed("programming", at, programmed)?;
            }
        }
        let mut seen = [0; SECTOR];
        for (at, sector) in (start..).step_by(SECTOR).zip(block.chunks(SECTOR)) {
            let read = self.chip.read(at, &mut seen);
            self.failed("reading back", at, read)?;
            if seen != *sector {
                return Err(self.wrong(Fault::Differs(at)));
            }
        }
        Ok(())
    }
}

impl<C: Chip> Sectors for Blocks<C> {
    type Error = MtdError<C::Error>;

    fn size(&self) -> u64 {
        self.geometry.size
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), MtdError<C::Error>> {
        self.check(at, into.len(), 1)?;
        let read = self.chip.read(at, into);
        self.failed("reading", at, read)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), MtdError<C::Error>> {
        self.check(at, bytes.len(), SECTOR)?;
        let erase = self.geometry.erase as usize;
        let mut block = vec![0; erase];
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let start = at - at % erase as u64;
            let skip = (at - start) as usize;
            let length = rest.len().min(erase - skip);
            if length < erase {
                let read = self.chip.read(start, &mut block);
                self.failed("reading", start, read)?;
            }
            let (new, behind) = rest.split_at_checked(length).unwrap_or_default();
            block.iter_mut().skip(skip).zip(new).for_each(|(old, new)| *old = *new);
            self.rewrite(start, &block)?;
            (at, rest) = (start + erase as u64, behind);
        }
        Ok(())
    }
}
