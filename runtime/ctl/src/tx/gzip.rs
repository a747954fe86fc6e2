//! gzip (RFC 1952), unpacked as it is read.
//!
//! ```text
//!   1f 8b 08 flags time×4 hint os   [extra] [name] [comment] [sum of these]   deflate   CRC-32  length
//! ```
//!
//! Members that follow each other are one stream, as parallel packers write it; so are zeros behind the last. Promises: a
//! sum or a length that is wrong is an error before the end is told, and memory is one window, whatever arrives.

use std::io;

use formats::crc32;

use super::inflate::Inflate;
use super::input::{Bytes, Input, damaged};

/// What a stream begins with.
pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

const DEFLATE: u8 = 8;
const HEADER_SUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// A stream that is unpacked.
pub(super) struct Gzip<'r> {
    inner: Input<'r>,
    /// Of the member that is being read; `None` between two.
    member: Option<Member>,
    is_first: bool,
    is_over: bool,
}

struct Member {
    bytes: Inflate,
    sum: crc32::Running,
    length: u32,
}

impl<'r> Gzip<'r> {
    pub(super) fn new(inner: Input<'r>) -> Self {
        Self { inner, member: None, is_first: true, is_over: false }
    }

    /// Reads the head of the next member, if there is one.
    fn begin(&mut self) -> io::Result<Option<Member>> {
        let first = loop {
            match self.inner.next()? {
                None if self.is_first => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => return Ok(None),
                Some(0) if !self.is_first => {}
                Some(byte) => break byte,
            }
        };
        let (second, method, flags) = (self.inner.byte()?, self.inner.byte()?, self.inner.byte()?);
        if [first, second] != MAGIC || method != DEFLATE || flags & RESERVED != 0 {
            return Err(damaged("it does not begin as gzip does"));
        }
        self.number(6)?;
        if flags & EXTRA != 0 {
            let length = self.number(2)?;
            self.number(length)?;
        }
        for _ in [NAME, COMMENT].into_iter().filter(|flag| flags & flag != 0) {
            while self.inner.byte()? != 0 {}
        }
        if flags & HEADER_SUM != 0 {
            self.number(2)?;
        }
        self.is_first = false;
        Ok(Some(Member { bytes: Inflate::new(), sum: crc32::Running::default(), length: 0 }))
    }

    /// The last four of so many bytes, as a number whose lowest byte comes first.
    fn number(&mut self, bytes: u32) -> io::Result<u32> {
        let mut number = 0;
        for _ in 0..bytes {
            number = number >> 8 | u32::from(self.inner.byte()?) << 24;
        }
        Ok(number >> (8 * 4_u32.saturating_sub(bytes).min(3)))
    }
}

impl Bytes for Gzip<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.is_over && !into.is_empty() {
            let mut member = match self.member.take() {
                Some(member) => member,
                None => match self.begin()? {
                    Some(member) => member,
                    None => {
                        self.is_over = true;
                        break;
                    }
                },
            };
            let read = member.bytes.read(&mut self.inner, into)?;
            if read == 0 {
                if self.number(4)? != member.sum.finish() || self.number(4)? != member.length {
                    return Err(damaged("its checksum is wrong"));
                }
                continue;
            }
            member.sum.update(into.get(..read).unwrap_or_default());
            // It is counted modulo 2^32, as the format has it.
            member.length = member.length.wrapping_add(read as u32);
            self.member = Some(member);
            return Ok(read);
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, GzBuilder};

    use super::super::input::bounded;
    use super::*;

    fn packed(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut writer =
            GzBuilder::new().filename("name").comment("why").extra("xx").write(Vec::new(), Compression::new(level));
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = bytes;
        bounded(&mut Gzip::new(Input::new(&mut bytes, u64::MAX)), usize::MAX).map(Option::unwrap)
    }

    fn sample() -> Vec<u8> {
        (0..200_000_u32).flat_map(|n| (n / 7 * 31 % 1009).to_le_bytes()).collect()
    }

    #[test]
    fn what_was_packed_comes_out_whatever_packed_it() {
        let noise: Vec<u8> =
            (0..100_000_u64).map(|n| (n.wrapping_mul(n).wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
        let zeros = vec![0; 70_000];
        for bytes in [sample(), noise, zeros, b"short".to_vec(), (0..=255).collect()] {
            for level in [0, 1, 6, 9] {
                assert_eq!(unpacked(&packed(&bytes, level)).unwrap(), bytes, "level {level}");
            }
        }
        assert_eq!(unpacked(&packed(b"", 6)).unwrap(), b"");
    }

    #[test]
    fn members_behind_each_other_are_one_stream_and_zeros_end_it() {
        let two = [packed(b"one ", 6), packed(b"two", 0), vec![0; 700]].concat();
        assert_eq!(unpacked(&two).unwrap(), b"one two");
        assert!(unpacked(&[packed(b"one", 6), b"rest".to_vec()].concat()).is_err());
    }

    #[test]
    fn a_bit_that_is_wrong_or_a_byte_that_is_missing_is_an_error() {
        let whole = packed(&sample(), 6);
        for cut in [0, 1, 5, 20, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            assert!(unpacked(&whole[..cut]).is_err(), "cut at {cut}");
        }
        for at in [whole.len() / 2, whole.len() - 8, whole.len() - 1] {
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            assert!(unpacked(&wrong).is_err(), "bit at {at}");
        }
    }
}
