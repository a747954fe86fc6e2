//! Versions of Cairn that meet on one device: what each reads of the journal, and what it writes.
//!
//! | Cairn | bodies that it reads | body that it writes |
//! |---|---|---|
//! | [`Older`](Cairn::Older) | 1 | 1 |
//! | [`This`](Cairn::This) | 1, 2 | the newest that itself, the default and the previous revision all read |
//! | [`Newer`](Cairn::Newer) | 1, 2, 3 | the same |
//!
//! Body 3 does not exist: it is body 2 with bytes behind it, so that `formats::journal` meets what it cannot know. All
//! three run the same update machine; only their journals differ.

use formats::journal::{self, Body, MAX_LEN, Version, decode, encode_as};
use statemachine::journal::{Header, Journal};

/// The Cairn inside a revision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cairn {
    Older,
    This,
    Newer,
}

impl Cairn {
    /// The number of the newest body that it reads and writes.
    pub(crate) fn newest(self) -> u8 {
        match self {
            Self::Older => Version::V1.number(),
            Self::This => Version::CURRENT.number(),
            Self::Newer => FUTURE,
        }
    }
}

/// The number of the body that this Cairn does not know.
pub(crate) const FUTURE: u8 = 3;

/// What that body has and this one has not.
const ADDED: &[u8] = b"what only a later version understands";

/// Where the version, the length and the body begin, as `formats::journal` draws it.
const VERSION: usize = 650;
const LENGTH: usize = 651;
const BODY: usize = 653;
const CHECKSUM: usize = 4;

/// What one Cairn makes of a record.
#[derive(Debug)]
pub(crate) enum Read {
    /// All of it.
    Whole(Box<Journal>),
    /// The head; the body is newer than the reader.
    Head(Box<Header>),
}

/// The number of the body of a record that [`decode`] has accepted.
pub(crate) fn number(record: &[u8]) -> u8 {
    record[VERSION]
}

/// Number, length and bytes of the body.
pub(crate) fn body(record: &[u8]) -> Vec<u8> {
    record[VERSION..record.len() - CHECKSUM].to_vec()
}

pub(crate) fn encode(journal: &Journal, number: u8) -> Result<Vec<u8>, journal::Error> {
    let version = Version::from_number(number).unwrap_or(Version::CURRENT);
    let mut bytes = [0; MAX_LEN];
    let length = encode_as(journal, version, &mut bytes)?;
    let record = bytes[..length].to_vec();
    Ok(if number == FUTURE { resealed(&record, FUTURE, &[body_bytes(&record), ADDED].concat()) } else { record })
}

/// Reads as `cairn` does.
pub(crate) fn read(record: &[u8], cairn: Cairn) -> Result<Read, String> {
    let decoded = decode(record).map_err(|error| error.to_string())?;
    if number(record) > cairn.newest() {
        return Ok(Read::Head(Box::new(decoded.header)));
    }
    let decoded = match decoded.body {
        Body::Known(_) => decoded,
        Body::Newer { .. } => {
            let known = body_bytes(record).strip_suffix(ADDED).ok_or("the newer body is not what was written")?;
            decode(&resealed(record, Version::CURRENT.number(), known)).map_err(|error| error.to_string())?
        }
    };
    decoded
        .into_journal()
        .map(|journal| Read::Whole(Box::new(journal)))
        .ok_or_else(|| "the body has another number than it was read with".to_owned())
}

fn body_bytes(record: &[u8]) -> &[u8] {
    &record[BODY..record.len() - CHECKSUM]
}

/// The head of `record` before another body.
fn resealed(record: &[u8], number: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&record[..BODY], body].concat();
    bytes[VERSION] = number;
    bytes[LENGTH..BODY].copy_from_slice(&u16::try_from(body.len()).unwrap_or(u16::MAX).to_le_bytes());
    let sum = crc32(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

/// The checksum of `formats::journal`, on its own so that a wrong one there would be noticed here.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { 0xEDB8_8320 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::known;

    #[test]
    fn each_cairn_reads_what_it_writes_and_only_the_head_of_what_is_newer() {
        let journal = Journal::factory(known(1));
        for (writer, readers) in [(Cairn::Older, 3), (Cairn::This, 2), (Cairn::Newer, 1)] {
            let record = encode(&journal, writer.newest()).unwrap();
            let read = [Cairn::Newer, Cairn::This, Cairn::Older].map(|reader| read(&record, reader).unwrap());
            let whole = read.iter().filter(|read| matches!(read, Read::Whole(whole) if **whole == journal)).count();
            let heads = read.iter().filter(|read| matches!(read, Read::Head(head) if **head == journal.header)).count();
            assert_eq!((whole, heads), (readers, 3 - readers), "{writer:?}");
        }
    }

    #[test]
    fn the_newer_body_is_one_that_this_version_really_does_not_know() {
        let record = encode(&Journal::factory(known(1)), FUTURE).unwrap();
        assert_eq!(decode(&record).unwrap().body, Body::Newer { version: FUTURE });
    }
}
