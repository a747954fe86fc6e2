//! Bytes from somewhere, some of them ahead. One type for whatever they come from, because code for each would be code.

use std::io::{self, Read};

/// What bytes come from: `Read` with one method, since each type that is read through a `dyn Read` brings all of the others.
pub(super) trait Bytes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;
}

impl<R: Read + ?Sized> Bytes for R {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Read::read(self, into)
    }
}

/// Bytes read at once.
const PIECE: usize = 16 * 1024;

/// A reader with a buffer, and a bound for what comes out of it.
pub(super) struct Input<'r> {
    from: &'r mut dyn Bytes,
    buffer: Vec<u8>,
    at: usize,
    left: u64,
}

impl<'r> Input<'r> {
    /// After `most` bytes it is an error.
    pub(super) fn new(from: &'r mut dyn Bytes, most: u64) -> Self {
        Self { from, buffer: Vec::new(), at: 0, left: most }
    }

    /// What is there without waiting for more than a piece; empty at the end.
    pub(super) fn ahead(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.buffer.len() {
            self.buffer.resize(PIECE, 0);
            self.at = 0;
            let read = loop {
                match self.from.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    done => break done,
                }
            };
            self.buffer.truncate(*read.as_ref().unwrap_or(&0));
            self.left = self.left.checked_sub(read? as u64).ok_or_else(|| damaged("it does not end"))?;
        }
        Ok(self.buffer.get(self.at..).unwrap_or_default())
    }

    /// The next byte; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<u8>> {
        let byte = self.ahead()?.first().copied();
        self.at += usize::from(byte.is_some());
        Ok(byte)
    }

    /// The next byte, which must be there.
    pub(super) fn byte(&mut self) -> io::Result<u8> {
        self.next()?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Bytes for Input<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut ahead = self.ahead()?;
        let read = Read::read(&mut ahead, into)?;
        self.at += read;
        Ok(read)
    }
}

/// All that comes, if it is not more than this.
pub(super) fn bounded(from: &mut dyn Bytes, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut input = Input::new(from, u64::MAX);
    let mut bytes = Vec::new();
    loop {
        let piece = input.ahead()?;
        if piece.is_empty() {
            return Ok(Some(bytes));
        }
        if bytes.len() + piece.len() > most {
            return Ok(None);
        }
        bytes.extend_from_slice(piece);
        input.at = input.buffer.len();
    }
}

/// Reads to the end, at most so many bytes; it tells how many they were.
pub(super) fn pass(from: &mut dyn Bytes, most: u64) -> io::Result<u64> {
    let mut piece = [0; 4096];
    let mut passed = 0;
    while passed < most {
        let wanted = usize::try_from(most - passed).unwrap_or(usize::MAX).min(piece.len());
        match from.read(piece.get_mut(..wanted).unwrap_or_default()) {
            Ok(0) => break,
            Ok(read) => passed += read as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(passed)
}

/// What was read is not what it should be.
pub(super) fn damaged(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
