//! A place that holds one small value and survives a power cut.
//!
//! | cell | medium it needs | who reads it without Linux |
//! |---|---|---|
//! | [`RawPair`] | sectors, whole or not | U-Boot, by raw block reads |
//! | [`OneSector`] | sectors that are **written whole or not at all** | GRUB, from a preallocated FAT file; `autoboot.txt` |
//! | [`SectorFile`] | a file on such sectors, its blocks never move | the same, from ext4 without replay |
//! | [`ExchangedFile`] | a journalling file system on such sectors | the same, values of more than one changing sector |
//!
//! The law for each, on the medium it names: on `Ok` a bootloader sees the new bytes after any power cut; if power is
//! lost inside, it sees the old ones or the new ones, never a third.

use core::marker::PhantomData;

use crate::media::{Files, SECTOR, Sectors};

/// The longest value of a cell with everything around it, in bytes: two sectors.
pub const CELL_MAX: usize = 2 * SECTOR;

/// A place that holds one small value and survives a power cut.
pub trait Cell {
    /// What went wrong.
    type Error: core::error::Error;

    /// Reads the value; returns its length.
    ///
    /// # Errors
    /// Nothing whole is there, `into` is too short, or the medium failed.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error>;

    /// On `Ok` a bootloader that replays no journal sees the new bytes, after any power cut. If power is lost
    /// inside, it sees the old ones or the new ones, never a third. Replacing twice is harmless.
    ///
    /// # Errors
    /// Either value may stand; [`read`](Self::read) tells.
    fn replace(&mut self, with: &[u8]) -> Result<(), Self::Error>;
}

/// Why a cell could not be read or replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CellError<E> {
    /// The medium below failed.
    Medium(E),
    /// Nothing whole is there: never written, or damaged.
    NotWhole,
    /// The value is not as long as the cell demands, or is not one of its codec; or the caller's buffer is too short.
    Length,
    /// Bytes behind the first sector would change; this cell replaces one sector.
    BehindFirstSector,
}

impl<E> From<E> for CellError<E> {
    fn from(error: E) -> Self {
        Self::Medium(error)
    }
}

impl<E: core::fmt::Display> core::fmt::Display for CellError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Medium(error) => write!(f, "the boot cell's medium failed: {error}"),
            Self::NotWhole => f.write_str("the boot cell holds nothing whole; flash it, or let PID 1 rebuild it"),
            Self::Length => f.write_str("the value does not fit the boot cell"),
            Self::BehindFirstSector => f.write_str("the value changes bytes behind the first sector of the boot cell"),
        }
    }
}

impl<E: core::error::Error> core::error::Error for CellError<E> {}

/// How a whole copy of a pair is told from a torn one: by a checksum that the bootloader checks too.
pub trait Whole {
    /// Whether these bytes, one sector, are a whole copy.
    fn is_whole(copy: &[u8]) -> bool;
}

/// Two copies with a checksum, in a sector each: the first counts if it is whole, else the second.
///
/// ```text
///   before    1 old   2 old      read: the first
///   first     1 ▓▓▓   2 old      power goes: the second, the old value
///             1 new   2 old      the new value, and a repair before the next replacement
///   second    1 new   2 new
/// ```
///
/// There is no generation, so that a boot script has nothing to compare. What makes it right is the repair: whenever a
/// replacement begins, both copies agree, and a torn first one uncovers the value of just before. It asks nothing of its
/// medium but that sectors which are not written stay as they are; the two copies should lie in different erase groups.
#[derive(Clone, Debug)]
pub struct RawPair<S, W> {
    sectors: S,
    /// Where the copies start, in bytes.
    at: [u64; 2],
    whole: PhantomData<W>,
}

impl<S: Sectors, W: Whole> RawPair<S, W> {
    /// A pair whose copies start at these bytes; each a multiple of [`SECTOR`].
    #[must_use]
    pub fn new(sectors: S, at: [u64; 2]) -> Self {
        Self { sectors, at, whole: PhantomData }
    }

    /// Gives the medium back.
    pub fn into_inner(self) -> S {
        self.sectors
    }

    /// One copy, if it is whole. One that the medium does not give back is none.
    fn copy(&mut self, at: u64) -> Option<[u8; SECTOR]> {
        let mut copy = [0; SECTOR];
        self.sectors.read(at, &mut copy).ok()?;
        W::is_whole(&copy).then_some(copy)
    }

    /// Makes both copies agree, if there is anything that they could agree on.
    fn repair(&mut self) -> Result<(), S::Error> {
        let [first, second] = self.at;
        match (self.copy(first), self.copy(second)) {
            (Some(held), behind) if behind != Some(held) => self.sectors.write(second, &held),
            (None, Some(held)) => self.sectors.write(first, &held),
            _ => Ok(()),
        }
    }
}

impl<S: Sectors, W: Whole> Cell for RawPair<S, W> {
    type Error = CellError<S::Error>;

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error> {
        let [first, second] = self.at;
        let copy = self.copy(first).or_else(|| self.copy(second)).ok_or(CellError::NotWhole)?;
        into.get_mut(..SECTOR).ok_or(CellError::Length)?.copy_from_slice(&copy);
        Ok(SECTOR)
    }

    fn replace(&mut self, with: &[u8]) -> Result<(), Self::Error> {
        if with.len() != SECTOR || !W::is_whole(with) {
            return Err(CellError::Length);
        }
        let [first, second] = self.at;
        self.repair()?;
        self.sectors.write(first, with)?;
        Ok(self.sectors.write(second, with)?)
    }
}

/// One copy, overwritten in place, of which only the first sector ever changes.
///
/// It rests on its medium: a sector is written whole or not at all. eMMC, SD cards and disks of repute do so; where one
/// does not, a torn sector reads as [`CellError::NotWhole`] by its codec, and the cell is rebuilt from the journal.
/// The bytes behind the first sector are written once, when the device is made.
#[derive(Clone, Debug)]
pub struct OneSector<S> {
    sectors: S,
    at: u64,
    length: usize,
}

impl<S: Sectors> OneSector<S> {
    /// A cell of `length` bytes (at most [`CELL_MAX`]) that starts at byte `at`, a multiple of [`SECTOR`].
    #[must_use]
    pub fn new(sectors: S, at: u64, length: usize) -> Self {
        Self { sectors, at, length }
    }

    /// Gives the medium back.
    pub fn into_inner(self) -> S {
        self.sectors
    }
}

impl<S: Sectors> Cell for OneSector<S> {
    type Error = CellError<S::Error>;

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error> {
        self.sectors.read(self.at, into.get_mut(..self.length).ok_or(CellError::Length)?)?;
        Ok(self.length)
    }

    fn replace(&mut self, with: &[u8]) -> Result<(), Self::Error> {
        if with.len() != self.length {
            return Err(CellError::Length);
        }
        let mut held = [0; CELL_MAX];
        let held = held.get_mut(..self.length.next_multiple_of(SECTOR)).ok_or(CellError::Length)?;
        self.sectors.read(self.at, held)?;
        if held.iter().zip(with).skip(SECTOR).any(|(old, new)| old != new) {
            return Err(CellError::BehindFirstSector);
        }
        let first = held.get_mut(..SECTOR).ok_or(CellError::Length)?;
        first.iter_mut().zip(with).for_each(|(old, new)| *old = *new);
        Ok(self.sectors.write(self.at, first)?)
    }
}

/// [`OneSector`] in a file: overwritten in place, only the first sector ever changes, and no metadata does. So a reader
/// that replays nothing sees it at once, and Linux, which replays, sees the same.
#[derive(Clone, Debug)]
pub struct SectorFile<'n, F> {
    files: F,
    name: &'n str,
}

impl<'n, F: Files> SectorFile<'n, F> {
    /// A cell in the file `name`, which exists and has the length of every value.
    #[must_use]
    pub fn new(files: F, name: &'n str) -> Self {
        Self { files, name }
    }

    /// Overwrites all of a value that was found to be none: there is nothing to lose, so more than a sector may change.
    ///
    /// # Errors
    /// Anything may stand there.
    pub fn rebuild(&mut self, with: &[u8]) -> Result<(), CellError<F::Error>> {
        Ok(self.files.overwrite(self.name, with)?)
    }

    /// Gives the directory back.
    pub fn into_inner(self) -> F {
        self.files
    }
}

impl<F: Files> Cell for SectorFile<'_, F> {
    type Error = CellError<F::Error>;

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error> {
        Ok(self.files.read(self.name, into)?)
    }

    fn replace(&mut self, with: &[u8]) -> Result<(), Self::Error> {
        let mut held = [0; CELL_MAX];
        let length = self.files.read(self.name, &mut held)?;
        if with.len() != length {
            return Err(CellError::Length);
        }
        if held.iter().zip(with).skip(SECTOR).any(|(old, new)| old != new) {
            return Err(CellError::BehindFirstSector);
        }
        // The sectors behind the first are written as they are: old and new are the same there.
        Ok(self.files.overwrite(self.name, with)?)
    }
}

/// Two files of one length on a journalling file system, one of which has the name that the bootloader reads.
///
/// ```text
///   before      cell ▸ file 1 (old)    spare ▸ file 2
///   overwrite   cell ▸ file 1 (old)    spare ▸ file 2 (new)     data goes home at once
///   exchange    cell ▸ file 2 (new)    spare ▸ file 1 (old)     in the file system's journal
///   checkpoint  the same, at home                               seen without replay
/// ```
///
/// A temporary file renamed over the old one is not enough: its checkpoint brings the name and the two files home in
/// any order, so a cut can show the name of a file that is not there yet, or is emptied already. Here one entry changes,
/// and both files exist for ever.
///
/// One thing it cannot give: when power goes between exchange and checkpoint, the firmware of the next boot acts on the
/// old value, and Linux, which replays, reads the new one. That boot may run what the cell no longer names; it stays
/// up without updates, and the boot after it is right again. Where one sector is enough, use [`SectorFile`].
#[derive(Clone, Debug)]
pub struct ExchangedFile<'n, F> {
    files: F,
    name: &'n str,
    spare: &'n str,
}

impl<'n, F: Files> ExchangedFile<'n, F> {
    /// A cell under `name`, with `spare` beside it; both files exist and have the length of every value.
    #[must_use]
    pub fn new(files: F, name: &'n str, spare: &'n str) -> Self {
        Self { files, name, spare }
    }

    /// Gives the directory back.
    pub fn into_inner(self) -> F {
        self.files
    }
}

impl<F: Files> Cell for ExchangedFile<'_, F> {
    type Error = CellError<F::Error>;

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error> {
        Ok(self.files.read(self.name, into)?)
    }

    fn replace(&mut self, with: &[u8]) -> Result<(), Self::Error> {
        // After a failed replace an unreplaying reader may still know the spare file by the cell's name.
        self.files.checkpoint()?;
        self.files.overwrite(self.spare, with)?;
        self.files.exchange(self.name, self.spare)?;
        Ok(self.files.checkpoint()?)
    }
}
