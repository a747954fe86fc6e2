//! The tar format, as layers come in it and as images are written from it.
//!
//! ```text
//!   header 512: name 100 │ mode 8 │ uid 8 │ gid 8 │ size 12 │ mtime 12 │ sum 8 │ type 1 │ link 100
//!               "ustar" 8 │ owner 32 │ group 32 │ major 8 │ minor 8 │ prefix 155 │ 12
//!   contents, filled up to a multiple of 512; two blocks of zeros end the archive
//! ```
//!
//! What does not fit stands in an entry before it: type `x` (POSIX records `LENGTH KEY=VALUE\n`) or `L` and `K` (GNU).
//! Read here and not by a crate, because every length must be bounded before it is believed, and because contents are
//! never unpacked: an entry says where in the archive they are.

mod read;
mod write;

use std::collections::BTreeMap;
use std::fmt;

pub use read::Reader;
pub use write::Writer;

/// The unit of everything in a tar.
pub const BLOCK: u64 = 512;

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name as it stands there.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permissions, with setuid, setgid and sticky: twelve bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970; earlier and later than 32 bits hold is the nearest they hold.
    pub mtime: u32,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an entry is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A file with its contents.
    File {
        /// Where they begin in the archive, in bytes.
        offset: u64,
        /// How many they are.
        len: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link to this text.
    Symlink(Vec<u8>),
    /// Another name of the entry of this name.
    HardLink(Vec<u8>),
    /// A character or block device.
    Device {
        /// Block, else character.
        block: bool,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// Why an archive cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TarError {
    /// It cannot be read from where it is.
    Io(String),
    /// It ends in the middle of an entry.
    Truncated,
    /// A header without the right sum: no tar, or a damaged one.
    Sum,
    /// A field that is not a number.
    Number(&'static str),
    /// A record of an extended header that is not one.
    Record,
    /// An extended header longer than the limit.
    Header(usize),
    /// More entries than the limit.
    Entries(usize),
    /// A sparse file, whose contents are stored otherwise.
    Sparse,
    /// An entry of a type that file systems do not have.
    Type(u8),
}

impl fmt::Display for TarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(why) => write!(f, "it cannot be read: {why}"),
            Self::Truncated => f.write_str("it ends in the middle of an entry"),
            Self::Sum => f.write_str("this is no tar archive, or a damaged one (a header has a wrong sum)"),
            Self::Number(field) => write!(f, "the {field} is not a number that can be used"),
            Self::Record => f.write_str("an extended header is damaged"),
            Self::Header(limit) => write!(f, "an extended header is longer than {limit} bytes"),
            Self::Entries(limit) => write!(f, "it has more than {limit} entries"),
            Self::Sparse => f.write_str("a sparse file; write the layer without (tar without --sparse)"),
            Self::Type(kind) => write!(f, "an entry of type {:?}, which is no file", char::from(*kind)),
        }
    }
}

impl std::error::Error for TarError {}
