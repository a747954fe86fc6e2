//! Bytes that are read from anywhere: a file, a part of one, memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::error::{Context as _, Result};

/// Something that an image is in.
pub trait Medium {
    /// How many bytes it has.
    fn len(&self) -> u64;

    /// Fills the buffer with what is at this place.
    ///
    /// # Errors
    /// It cannot be read, or ends before the buffer does.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Whether it has nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A part of a file.
#[derive(Debug)]
pub struct Span {
    file: File,
    offset: u64,
    len: u64,
}

impl Span {
    /// The whole of a file.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).context("open", path)?;
        let len = file.metadata().context("look at", path)?.len();
        Ok(Self { file, offset: 0, len })
    }

    /// A part of a file that is open.
    #[must_use]
    pub fn of(file: File, offset: u64, len: u64) -> Self {
        Self { file, offset, len }
    }
}

impl Medium for Span {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len);
        let from = end.and_then(|_| self.offset.checked_add(offset)).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.file.read_exact_at(buffer, from)
    }
}

impl Medium for &[u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = from.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(self.get(from..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_part_of_a_file_ends_where_it_is_said_to() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before-inside-after").unwrap();
        let span = Span::of(file, 7, 6);
        let mut buffer = [0; 6];
        span.read_at(0, &mut buffer).unwrap();
        assert_eq!(&buffer, b"inside");
        assert!(span.read_at(1, &mut buffer).is_err());
        assert!(span.read_at(u64::MAX, &mut buffer).is_err());
    }
}
