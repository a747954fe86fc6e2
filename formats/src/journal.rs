//! The journal as bytes: a head that no version ever changes, then a body that may grow.
//!
//! ```text
//!    0  4    magic "CNJL"
//!    4  1    format of the head: 1, for ever
//!    5  1    1: a version that cannot read this body has changed the head since (see `rehead`)
//!    6  1    attempts
//!    7  1    1: the digest of the default is known, 0: it is not, and is zero here
//!    8  32   digest of the default
//!   40  1    length of the default's name, 1 to 96
//!   41  96   the default's name, then zeros
//!  137  1    number of condemned digests, up to 16
//!  138  512  the condemned digests, oldest first, then zeros
//!  650  1    version of the body, from 1
//!  651  2    length of the body, little-endian
//!  653  n    the body: postcard of the fields that its version has
//!  653+n  4  CRC-32 over everything before, little-endian
//! ```
//!
//! Two promises hold between any two versions of Cairn: the head is read and written by all of them, and no version
//! writes more than [`MAX_LEN`] bytes. A body of a newer version is [`Body::Newer`]: its head still says what to want
//! and what is condemned, and everything else stays unread. Which of two copies is the younger is the store's business.

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};
use statemachine::ids::{Digest, IdError, REVISION_ID_MAX, RevisionId};
use statemachine::journal::{self, CONDEMNED_MAX, Condemned, Ends, Header, Journal, Known, Record};

use crate::crc32::crc32;

/// The most bytes that any version of Cairn, older or newer, writes for a journal.
pub const MAX_LEN: usize = 2048;

/// The most bytes that this version writes: the head, the largest body of [`Version::CURRENT`], the checksum.
pub const CURRENT_LEN: usize = HEAD_LEN + BODY_V2_MAX + CRC_LEN;

const MAGIC: [u8; 4] = *b"CNJL";
const FORMAT: u8 = 1;
const DIGEST_LEN: usize = 32;
const HEAD_LEN: usize = 653;
const CRC_LEN: usize = 4;

// Postcard: a tag or a length below 128 is one byte, a `u32` up to five, an `Option` one before its value.
const NAME_MAX: usize = 1 + REVISION_ID_MAX;
const RECORD_MAX: usize = 1 + NAME_MAX + (1 + DIGEST_LEN) + 1;
const BODY_V1_MAX: usize = RECORD_MAX + 1 + (1 + NAME_MAX) + 2;
const BODY_V2_MAX: usize = BODY_V1_MAX + (1 + journal::CAUSES_MAX * (5 + 1)) + (1 + NAME_MAX);
const _: () = assert!(CURRENT_LEN <= MAX_LEN);

/// A shape of the body that this Cairn can write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// Without the counts of policy reboots and without the mark of a rescue.
    V1,
    /// All of [`journal::Body`].
    V2,
}

impl Version {
    /// What is written once neither the default nor the previous revision is older.
    pub const CURRENT: Self = Self::V2;

    /// The shape with this number; `None` for one that this Cairn does not know.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            _ => None,
        }
    }

    /// The number in the bytes, and in whatever tells another Cairn what this one can read.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// Whether nothing is forgotten when this body is written in this shape. [`Version::V1`] has no place for the
    /// counts of policy reboots nor for the mark of a rescue: whoever must write it has to do without both.
    #[must_use]
    pub fn keeps(self, body: &journal::Body) -> bool {
        match self {
            Self::V1 => body.reboots.is_empty() && body.rescued.is_none(),
            Self::V2 => true,
        }
    }
}

/// What stood in the bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decoded {
    /// Readable whatever version wrote it.
    pub header: Header,
    /// Readable if its version is known here.
    pub body: Body,
    /// A version that could not read this body has changed the header since the body was written. Where the two
    /// disagree the header is right.
    pub overtaken: bool,
}

/// The part that depends on the version that wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::large_enum_variant, reason = "no heap to box it on, and one of it exists, during start")]
pub enum Body {
    /// In a shape that this Cairn knows; what an older shape does not have is at its default.
    Known(journal::Body),
    /// In a shape from after this Cairn.
    Newer {
        /// The number of that shape.
        version: u8,
    },
}

impl Decoded {
    /// Header and body, if both could be read.
    #[must_use]
    pub fn into_journal(self) -> Option<Journal> {
        match self.body {
            Body::Known(body) => Some(Journal { header: self.header, body }),
            Body::Newer { .. } => None,
        }
    }
}

/// Why bytes are no journal, or a journal found no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// So many bytes cannot be a journal: fewer than a head and a checksum, or more than [`MAX_LEN`].
    Length(usize),
    /// The bytes do not begin as a journal does.
    Magic,
    /// The head has this format; there is only format 1.
    Format(u8),
    /// The body claims so many bytes; the journal has room for so many.
    BodyLength {
        /// As written at offset 651.
        claimed: usize,
        /// Between the head and the checksum.
        there: usize,
    },
    /// Torn or rotten: these two differ.
    Checksum {
        /// As written in the last four bytes.
        stored: u32,
        /// Over what is there.
        computed: u32,
    },
    /// A whole journal with a field that cannot be.
    Field {
        /// Which.
        field: Field,
        /// Where it begins.
        offset: usize,
    },
    /// The buffer to write into holds fewer bytes than are needed.
    Room {
        /// How many are needed.
        needed: usize,
    },
}

/// A field that can be wrong even though the checksum is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// The byte is neither 0 nor 1.
    Overtaken,
    /// The digest of the default: its flag is neither 0 nor 1, or it is unknown and yet there.
    DefaultDigest,
    /// The name of the default.
    Default(IdError),
    /// The name of the default is not text, or has a length that it cannot have, or is not followed by zeros.
    DefaultBytes,
    /// The condemned digests: more than sixteen, one of them twice, or not followed by zeros.
    Condemned,
    /// Versions of the body begin with 1.
    BodyVersion,
    /// The body is not what its version says, or does not end where it should.
    Body,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(len) => write!(f, "{len} bytes cannot be a journal"),
            Self::Magic => f.write_str("the bytes do not begin as a journal does"),
            Self::Format(format) => write!(f, "the journal's head has format {format}; only format 1 exists"),
            Self::BodyLength { claimed, there } => {
                write!(f, "the journal's body should have {claimed} bytes and has {there}")
            }
            Self::Checksum { stored, computed } => {
                write!(f, "the journal is torn: its checksum is {stored:08x}, its bytes give {computed:08x}")
            }
            Self::Field { field: Field::Default(why), offset } => {
                write!(f, "the journal's default at byte {offset} is not a revision: {why}")
            }
            Self::Field { field, offset } => write!(f, "the journal's field {field:?} at byte {offset} cannot be"),
            Self::Room { needed } => write!(f, "the journal needs a buffer of {needed} bytes"),
        }
    }
}

impl core::error::Error for Error {}

/// The body as the first version had it: what is in it never changes any more.
#[derive(Serialize, Deserialize)]
struct BodyV1 {
    record: Record,
    proven: bool,
    open: Option<RevisionId>,
    ends: Ends,
}

/// Writes a journal into `into` with the body in the given shape, and gives the number of bytes.
///
/// What the shape has no place for is forgotten; [`Version::keeps`] tells beforehand.
///
/// # Errors
/// [`Error::Room`]; never with [`CURRENT_LEN`] bytes.
pub fn encode_as(journal: &Journal, version: Version, into: &mut [u8]) -> Result<usize, Error> {
    let mut body = [0; BODY_V2_MAX];
    let written = match version {
        Version::V1 => {
            let journal::Body { record, proven, open, ends, reboots: _, rescued: _ } = journal.body.clone();
            postcard::to_slice(&BodyV1 { record, proven, open, ends }, &mut body)
        }
        Version::V2 => postcard::to_slice(&journal.body, &mut body),
    };
    let body = written.map_err(|_| Error::Room { needed: CURRENT_LEN })?;
    assemble(&journal.header, false, version.number(), body, into)
}

/// Writes a journal in the newest shape; see [`encode_as`].
///
/// # Errors
/// [`Error::Room`]; never with [`CURRENT_LEN`] bytes.
pub fn encode(journal: &Journal, into: &mut [u8]) -> Result<usize, Error> {
    encode_as(journal, Version::CURRENT, into)
}

/// Puts another header before a body that stays as it is, byte for byte.
///
/// This is how a Cairn that cannot read a newer body writes down what it has to: attempts, condemned digests, the
/// default. The body then tells of an earlier moment than the header, and says so ([`Decoded::overtaken`]) to the
/// newer Cairn that reads both again. A Cairn that commits *itself* as the default must not use this: it writes a
/// whole journal of its own version, because what the newer body said is over.
///
/// # Errors
/// What [`decode`] says of `old`; [`Error::Room`], never with `old.len()` bytes.
pub fn rehead(old: &[u8], header: &Header, into: &mut [u8]) -> Result<usize, Error> {
    let (_, version, body) = open(old)?;
    assemble(header, true, version, body, into)
}

/// Reads a journal. `bytes` is the whole of it and nothing else.
///
/// # Errors
/// [`Error`] says what is wrong, and where.
pub fn decode(bytes: &[u8]) -> Result<Decoded, Error> {
    let (head, version, body) = open(bytes)?;
    let (header, overtaken) = read_head(head)?;
    let body = match Version::from_number(version) {
        Some(Version::V1) => {
            let BodyV1 { record, proven, open, ends } = exactly(body)?;
            Body::Known(journal::Body { record, proven, open, ends, reboots: Vec::new(), rescued: None })
        }
        Some(Version::V2) => Body::Known(exactly(body)?),
        None if version == 0 => return Err(Error::Field { field: Field::BodyVersion, offset: 650 }),
        None => Body::Newer { version },
    };
    Ok(Decoded { header, body, overtaken })
}

/// One postcard value and nothing after it.
fn exactly<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(Error::Field { field: Field::Body, offset: HEAD_LEN }),
    }
}

/// Checks everything that can be checked without looking into the fields: the head, the body's version, the body.
fn open(bytes: &[u8]) -> Result<(&[u8; HEAD_LEN], u8, &[u8]), Error> {
    let length = Error::Length(bytes.len());
    if bytes.len() > MAX_LEN {
        return Err(length);
    }
    let (covered, stored) = bytes.split_last_chunk::<CRC_LEN>().ok_or(length)?;
    let (head, body) = covered.split_first_chunk::<HEAD_LEN>().ok_or(length)?;
    let [m0, m1, m2, m3, format, .., version, low, high] = *head;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(Error::Magic);
    }
    // The checksum comes before the rest, so that a torn head is called torn and not of an unknown format.
    let (stored, computed) = (u32::from_le_bytes(*stored), crc32(covered));
    if stored != computed {
        return Err(Error::Checksum { stored, computed });
    }
    if format != FORMAT {
        return Err(Error::Format(format));
    }
    let claimed = usize::from(u16::from_le_bytes([low, high]));
    if claimed != body.len() {
        return Err(Error::BodyLength { claimed, there: body.len() });
    }
    Ok((head, version, body))
}

fn read_head(head: &[u8; HEAD_LEN]) -> Result<(Header, bool), Error> {
    let mut reader = Reader { rest: head, offset: 0 };
    let [.., overtaken, attempts] = *reader.take::<7>()?;
    let overtaken = flag(overtaken).ok_or(Error::Field { field: Field::Overtaken, offset: 5 })?;

    let bad_digest = Error::Field { field: Field::DefaultDigest, offset: 7 };
    let [known] = *reader.take()?;
    let digest = *reader.take::<DIGEST_LEN>()?;
    let digest = match flag(known).ok_or(bad_digest)? {
        true => Some(Digest(digest)),
        false if digest == [0; DIGEST_LEN] => None,
        false => return Err(bad_digest),
    };

    let bad_name = Error::Field { field: Field::DefaultBytes, offset: 40 };
    let [length] = *reader.take()?;
    let name = zero_filled(reader.take::<REVISION_ID_MAX>()?, usize::from(length)).ok_or(bad_name)?;
    let name = core::str::from_utf8(name).map_err(|_| bad_name)?;
    let revision = RevisionId::parse(name).map_err(|why| Error::Field { field: Field::Default(why), offset: 41 })?;

    let bad_condemned = Error::Field { field: Field::Condemned, offset: 137 };
    let [count] = *reader.take()?;
    let digests = reader.take::<{ CONDEMNED_MAX * DIGEST_LEN }>()?;
    let digests = zero_filled(digests, usize::from(count) * DIGEST_LEN).ok_or(bad_condemned)?;
    let mut condemned = Condemned::default();
    for digest in digests.as_chunks().0 {
        if condemned.holds(&Digest(*digest)) {
            return Err(bad_condemned);
        }
        condemned.add(Digest(*digest));
    }
    Ok((Header { default: Known { revision, digest }, attempts, condemned }, overtaken))
}

/// The head, field by field, with the place for the error that cannot happen.
struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], Error> {
        let (field, rest) = self.rest.split_first_chunk().ok_or(Error::Length(self.offset))?;
        self.rest = rest;
        self.offset += N;
        Ok(field)
    }
}

fn flag(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// The first `len` bytes of a field whose other bytes must be zero, so that one value has one form.
fn zero_filled(field: &[u8], len: usize) -> Option<&[u8]> {
    let (used, unused) = field.split_at_checked(len)?;
    unused.iter().all(|byte| *byte == 0).then_some(used)
}

fn assemble(header: &Header, overtaken: bool, version: u8, body: &[u8], into: &mut [u8]) -> Result<usize, Error> {
    let needed = HEAD_LEN + body.len() + CRC_LEN;
    // A body of 64 KiB cannot come up: what is written here is bounded above, what is kept was checked by `open`.
    let length = u16::try_from(body.len()).map_err(|_| Error::Length(needed))?;
    let into = into.get_mut(..needed).ok_or(Error::Room { needed })?;
    let (covered, checksum) = into.split_last_chunk_mut::<CRC_LEN>().ok_or(Error::Room { needed })?;

    let mut writer = Writer { rest: covered };
    let name = header.default.revision.as_str();
    writer.put(&MAGIC, 4);
    writer.put(&[FORMAT, u8::from(overtaken), header.attempts, u8::from(header.default.digest.is_some())], 4);
    writer.put(header.default.digest.as_ref().map_or(&[], |digest| digest.0.as_slice()), DIGEST_LEN);
    writer.put(&[name.len() as u8], 1);
    writer.put(name.as_bytes(), REVISION_ID_MAX);
    writer.put(&[header.condemned.iter().count() as u8], 1);
    header.condemned.iter().for_each(|digest| writer.put(&digest.0, DIGEST_LEN));
    writer.put(&[], (CONDEMNED_MAX - header.condemned.iter().count()) * DIGEST_LEN);
    writer.put(&[version], 1);
    writer.put(&length.to_le_bytes(), 2);
    writer.put(body, body.len());
    *checksum = crc32(covered).to_le_bytes();
    Ok(needed)
}

/// Fields one after the other, each filled up with zeros.
struct Writer<'a> {
    rest: &'a mut [u8],
}

impl Writer<'_> {
    fn put(&mut self, field: &[u8], width: usize) {
        let Some((place, rest)) = core::mem::take(&mut self.rest).split_at_mut_checked(width) else { return };
        for (index, byte) in place.iter_mut().enumerate() {
            *byte = field.get(index).copied().unwrap_or(0);
        }
        self.rest = rest;
    }
}

#[cfg(test)]
mod tests;
