//! Local integrity of what lies on this device: BLAKE3, which is faster than a slow core can read its flash.
//!
//! Objects are *named* by SHA-256, because that is what signed states say. This digest is never sent and never signed;
//! it answers one question: are these the bytes that were written here?

use std::fmt;
use std::io::{self, Read, Write};

/// BLAKE3 of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalDigest([u8; 32]);

impl LocalDigest {
    /// Reads a stream to its end.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn of(stream: &mut impl Read) -> io::Result<Self> {
        let mut tally = Tally::new(io::sink());
        // 16 KiB: large enough for every SIMD width of the hash, small enough for a stack.
        let mut buffer = [0; 16 * 1024];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(tally.finish().0),
                Ok(length) => tally.write_all(buffer.get(..length).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A digest that was kept beside the bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest, to be kept.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for LocalDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LocalDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A writer that passes everything on and keeps the digest of what was taken.
pub struct Tally<W> {
    inner: W,
    hasher: blake3::Hasher,
    length: u64,
}

impl<W: Write> Tally<W> {
    /// Passes on to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: blake3::Hasher::new(), length: 0 }
    }

    /// The digest, the number of bytes, and the writer.
    pub fn finish(self) -> (LocalDigest, u64, W) {
        (LocalDigest(*self.hasher.finalize().as_bytes()), self.length, self.inner)
    }
}

impl<W: Write> Write for Tally<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..taken).unwrap_or(bytes));
        self.length = self.length.saturating_add(taken as u64);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_published_one() {
        let digest = LocalDigest::of(&mut io::empty()).unwrap();
        assert_eq!(digest.to_string(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    }

    #[test]
    fn a_stream_has_the_same_digest_in_one_piece_and_in_many() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let whole = LocalDigest::of(&mut &bytes[..]).unwrap();
        let mut tally = Tally::new(Vec::new());
        bytes.chunks(777).for_each(|piece| tally.write_all(piece).unwrap());
        let (digest, length, copy) = tally.finish();
        assert_eq!((digest, length, copy), (whole, 100_000, bytes));
    }

    #[test]
    fn only_what_the_inner_writer_took_is_counted() {
        let mut space = [0; 3];
        let mut tally = Tally::new(&mut space[..]);
        assert_eq!(tally.write(b"abcdef").unwrap(), 3);
        assert_eq!(tally.finish().0, LocalDigest::of(&mut &b"abc"[..]).unwrap());
    }
}
