//! A part of a medium as a medium of its own: half of a partition, or a file whose place in it is known.
//!
//! ```text
//!   medium  ├──────────┬────────────────┬─────┤
//!   window             0 ──────── length        nothing outside is read or written
//! ```

use boards_api::media::{SECTOR, Sectors};

/// A part of a medium.
#[derive(Clone, Debug)]
pub struct Window<S> {
    sectors: S,
    start: u64,
    length: u64,
}

/// Why a part cannot be a window, or an access failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WindowError<E> {
    /// The medium below.
    Sectors(E),
    /// The range is not made of whole sectors of the medium, or of the window.
    Range {
        /// Where it starts, in bytes.
        at: u64,
        /// How long it is, in bytes.
        length: u64,
    },
}

impl<E: std::fmt::Display> std::fmt::Display for WindowError<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sectors(error) => error.fmt(f),
            Self::Range { at, length } => write!(f, "{length} bytes at {at} are no sectors of this part"),
        }
    }
}

impl<E: std::error::Error> std::error::Error for WindowError<E> {}

impl<S: Sectors> Window<S> {
    /// The part of `length` bytes that starts at byte `start`.
    ///
    /// # Errors
    /// [`WindowError::Range`]: it is empty, not made of whole sectors, or ends behind the medium.
    pub fn new(sectors: S, start: u64, length: u64) -> Result<Self, WindowError<S::Error>> {
        let whole = start.is_multiple_of(SECTOR as u64) && length.is_multiple_of(SECTOR as u64) && length > 0;
        match start.checked_add(length) {
            Some(end) if whole && end <= sectors.size() => Ok(Self { sectors, start, length }),
            _ => Err(WindowError::Range { at: start, length }),
        }
    }

    /// All of it.
    ///
    /// # Errors
    /// The medium is empty.
    pub fn whole(sectors: S) -> Result<Self, WindowError<S::Error>> {
        let length = sectors.size();
        Self::new(sectors, 0, length)
    }

    fn at(&self, at: u64, length: usize) -> Result<u64, WindowError<S::Error>> {
        let length = length as u64;
        match at.checked_add(length) {
            Some(end) if end <= self.length => Ok(self.start + at),
            _ => Err(WindowError::Range { at, length }),
        }
    }
}

impl<S: Sectors> Sectors for Window<S> {
    type Error = WindowError<S::Error>;

    fn size(&self) -> u64 {
        self.length
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Self::Error> {
        let at = self.at(at, into.len())?;
        self.sectors.read(at, into).map_err(WindowError::Sectors)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Self::Error> {
        let at = self.at(at, bytes.len())?;
        self.sectors.write(at, bytes).map_err(WindowError::Sectors)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    struct Memory(Vec<u8>);

    impl Sectors for Memory {
        type Error = Infallible;

        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Infallible> {
            let at = usize::try_from(at).unwrap();
            into.copy_from_slice(&self.0[at..at + into.len()]);
            Ok(())
        }

        fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Infallible> {
            let at = usize::try_from(at).unwrap();
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
    }

    #[test]
    fn a_write_goes_to_its_part_and_nowhere_else() {
        let mut memory = Memory(vec![0; 4 * SECTOR]);
        let mut window = Window::new(&mut memory, 512, 1024).unwrap();
        window.write(512, &[7; SECTOR]).unwrap();
        let mut seen = [0; 2];
        window.read(511, &mut seen).unwrap();
        assert_eq!((window.size(), seen), (1024, [0, 7]));
        let changed: Vec<_> = (0..4).map(|sector| memory.0[sector * SECTOR]).collect();
        assert_eq!(changed, [0, 0, 7, 0]);
    }

    #[test]
    fn nothing_outside_is_reached() {
        let mut memory = Memory(vec![0; 4 * SECTOR]);
        let mut window = Window::new(&mut memory, 512, 1024).unwrap();
        assert!(window.write(1024, &[7; SECTOR]).is_err());
        assert!(window.read(1023, &mut [0; 2]).is_err());
        assert!(window.read(u64::MAX, &mut [0; 2]).is_err());
        for (start, length) in [(0, 0), (100, 512), (0, 100), (2048, 512), (u64::MAX - 511, 512)] {
            assert!(Window::new(Memory(vec![0; 2048]), start, length).is_err(), "{length} at {start}");
        }
    }
}
