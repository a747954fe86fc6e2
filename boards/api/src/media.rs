//! What boot cells are written to: sectors of a partition, or files of a file system that a bootloader reads too.
//!
//! These two traits are the seam between the codecs of boards and the operating system. Both say *durable* in the
//! strict sense: on `Ok` the bytes are found after any power cut, by a reader that replays no file system journal.
//! `Read + Write + Seek` could express neither a barrier nor an exchange of two names.

/// The unit in which block media are written, in bytes. No medium promises more than one whole sector at a time.
pub const SECTOR: usize = 512;

/// A row of sectors: a partition, or a preallocated file whose blocks never move.
pub trait Sectors {
    /// What went wrong below.
    type Error: core::error::Error;

    /// Bytes that can be addressed; a multiple of [`SECTOR`].
    fn size(&self) -> u64;

    /// Reads `into.len()` bytes from byte `at`.
    ///
    /// # Errors
    /// The medium failed, or the range ends behind it.
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Self::Error>;

    /// Replaces whole sectors, durably: `at` and the length are multiples of [`SECTOR`]. If power is lost inside, each
    /// of them is old or new on a medium that keeps the promise of whole sectors, and anything on one that does not;
    /// in which order is not said, so whoever needs an order writes one sector at a time. All others are untouched; on flash
    /// that is erased in blocks, those of other blocks.
    ///
    /// # Errors
    /// Any of the sectors may hold anything. A range that is not made of whole sectors changes nothing.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Self::Error>;
}

impl<T: Sectors> Sectors for &mut T {
    type Error = T::Error;

    fn size(&self) -> u64 {
        T::size(self)
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Self::Error> {
        T::read(self, at, into)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Self::Error> {
        T::write(self, at, bytes)
    }
}

/// One directory of a journalling file system, as the running system sees it.
pub trait Files {
    /// What went wrong below.
    type Error: core::error::Error;

    /// Reads a file from its start; returns the bytes that were read.
    ///
    /// # Errors
    /// The file is missing, longer than `into`, or could not be read.
    fn read(&mut self, name: &str, into: &mut [u8]) -> Result<usize, Self::Error>;

    /// Overwrites a file of exactly this length in place, in the blocks it has, and waits for the data (`fdatasync`).
    /// A reader that replays nothing sees them at once, because no metadata changed.
    ///
    /// # Errors
    /// The file is missing or of another length (nothing changed), or the medium failed (it may hold anything).
    fn overwrite(&mut self, name: &str, with: &[u8]) -> Result<(), Self::Error>;

    /// Exchanges two names and waits until the file system's journal holds it (`renameat2` with `RENAME_EXCHANGE`,
    /// `fsync` of the directory). Both files go on to exist: none is freed, so no reader can meet an emptied one.
    ///
    /// # Errors
    /// Either name may stand for either file.
    fn exchange(&mut self, one: &str, other: &str) -> Result<(), Self::Error>;

    /// Brings home what the file system's journal holds, so that a reader that replays nothing sees it
    /// (`EXT4_IOC_CHECKPOINT`; before Linux 5.14: freeze and thaw).
    ///
    /// # Errors
    /// Nothing may be assumed to be visible.
    fn checkpoint(&mut self) -> Result<(), Self::Error>;
}

impl<T: Files> Files for &mut T {
    type Error = T::Error;

    fn read(&mut self, name: &str, into: &mut [u8]) -> Result<usize, Self::Error> {
        T::read(self, name, into)
    }

    fn overwrite(&mut self, name: &str, with: &[u8]) -> Result<(), Self::Error> {
        T::overwrite(self, name, with)
    }

    fn exchange(&mut self, one: &str, other: &str) -> Result<(), Self::Error> {
        T::exchange(self, one, other)
    }

    fn checkpoint(&mut self) -> Result<(), Self::Error> {
        T::checkpoint(self)
    }
}
