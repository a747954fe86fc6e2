//! Where on a partition the bytes of a preallocated file lie, if that is a FAT. Nothing is ever written here.
//!
//! ```text
//!   boot sector ─▶ shape ─▶ root directory ─▶ "CAIRN      " ─▶ clusters ─▶ "WANTED     " ─▶ first cluster, length
//!                             32 bytes an entry, short names                                   │
//!   allocation table:  first ─▶ first + 1 ─▶ … ─▶ end      one row, or the file is fragmented ─┘
//! ```
//!
//! Nobody mounts this file system in the field: its driver would write dates and flags of its own. A bootloader and PID 1
//! overwrite the bytes of a file whose place never changes, and this is how PID 1 learns the place. Names are compared
//! with the short names, which are in upper case; a name in the long form only is not found.
//!
//! What is read may be anybody's: every walk is bounded by [`DIRECTORY_MAX`] or [`FILE_MAX`], and every place is
//! checked against the medium. Source: Microsoft's FAT specification, 1.03.

mod shape;

use std::fmt;

use boards_api::media::Sectors;

pub use shape::Unfit;
use shape::{Next, Shape};

/// The most bytes of a directory, as the specification has it: 65536 entries.
pub const DIRECTORY_MAX: u64 = 2 << 20;

/// The most bytes of a file that is given a place. Cells have a thousand; a chain without end must not hold up a boot.
pub const FILE_MAX: u32 = 1 << 20;

/// The most names of a path.
pub const DEPTH_MAX: usize = 8;

const ENTRY: usize = 32;
const BLOCK: usize = 512;

/// Where a file lies on its medium.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The first byte, a multiple of 512.
    pub at: u64,
    /// Bytes, as its directory says.
    pub length: u32,
}

/// Why a file has no place that can be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FatError<E> {
    /// The medium did not give something back.
    Read(E),
    /// The medium holds no FAT, or one that this cannot be.
    Unfit(Unfit),
    /// A part of the path is no short name.
    Name(String),
    /// There is no such file or directory.
    Missing(String),
    /// It is a directory where a file is wanted, or the other way round.
    Kind(String),
    /// It has no bytes.
    Empty(String),
    /// It has more than [`FILE_MAX`] bytes.
    Large(String),
    /// Its clusters are not one row.
    Fragmented(String),
    /// Its row of clusters ends early, leads out of the medium, or comes back to itself.
    Chain(String),
}

impl<E: fmt::Display> fmt::Display for FatError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Unfit(why) => why.fmt(f),
            Self::Name(name) => write!(f, "{name:?} is no short name of a FAT: eight characters, a dot, three"),
            Self::Missing(name) => write!(f, "there is no {name}; it is made with the image, and never afterwards"),
            Self::Kind(name) => write!(f, "{name} is a directory where a file is wanted, or a file on the way"),
            Self::Empty(name) => write!(f, "{name} is empty; it is made with the image, as long as it will ever be"),
            Self::Large(name) => write!(f, "{name} has more than {FILE_MAX} bytes, so it is none of ours"),
            Self::Fragmented(name) => write!(f, "{name} lies in pieces; it must be one row of clusters"),
            Self::Chain(name) => write!(f, "the clusters of {name} lead nowhere: the file system is damaged"),
        }
    }
}

impl<E: std::error::Error> std::error::Error for FatError<E> {}

/// Finds a file by its path from the root, as `cairn/wanted`.
///
/// # Errors
/// [`FatError`]
pub fn locate<S: Sectors>(medium: &mut S, path: &str) -> Result<Extent, FatError<S::Error>> {
    let names: Vec<&str> = path.split('/').collect();
    let Some((file, dirs)) = names.split_last().filter(|(_, dirs)| dirs.len() < DEPTH_MAX) else {
        return Err(FatError::Name(path.to_owned()));
    };
    let mut fat = Fat::open(medium)?;
    let mut directory = Directory::Root;
    for name in dirs {
        let entry = fat.find(directory, name)?;
        directory = match entry.kind {
            Kind::Directory => Directory::At(entry.first),
            Kind::File => return Err(FatError::Kind((*name).to_owned())),
        };
    }
    let entry = fat.find(directory, file)?;
    if entry.kind == Kind::Directory {
        return Err(FatError::Kind((*file).to_owned()));
    }
    fat.extent(&entry, file)
}

struct Fat<'m, S> {
    medium: &'m mut S,
    shape: Shape,
}

/// A directory to look in.
#[derive(Clone, Copy)]
enum Directory {
    Root,
    At(u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
}

/// What a directory says of a name.
struct Entry {
    kind: Kind,
    first: u32,
    length: u32,
}

impl<'m, S: Sectors> Fat<'m, S> {
    fn open(medium: &'m mut S) -> Result<Self, FatError<S::Error>> {
        let size = medium.size();
        if size < BLOCK as u64 {
            return Err(FatError::Unfit(Unfit::Signature));
        }
        let mut sector = [0; BLOCK];
        medium.read(0, &mut sector).map_err(FatError::Read)?;
        let shape = Shape::of(&sector, size).map_err(FatError::Unfit)?;
        Ok(Self { medium, shape })
    }

    /// Looks a name up in a directory.
    fn find(&mut self, directory: Directory, name: &str) -> Result<Entry, FatError<S::Error>> {
        let wanted = short(name).ok_or_else(|| FatError::Name(name.to_owned()))?;
        let first = match directory {
            Directory::Root => match self.shape.root() {
                shape::Root::Region { at, length } => {
                    let found = self.find_in(at, length, &wanted)?;
                    return found.flatten().ok_or_else(|| FatError::Missing(name.to_owned()));
                }
                shape::Root::Cluster(first) => first,
            },
            Directory::At(first) => first,
        };
        let damaged = || FatError::Chain(format!("the directory of {name}"));
        let (mut cluster, mut seen) = (first, 0);
        loop {
            let at = self.shape.at(cluster).ok_or_else(damaged)?;
            let length = self.shape.cluster_bytes();
            if let Some(found) = self.find_in(at, length, &wanted)? {
                return found.ok_or_else(|| FatError::Missing(name.to_owned()));
            }
            seen += length;
            match self.next(cluster)? {
                Next::Cluster(_) if seen >= DIRECTORY_MAX => return Err(damaged()),
                Next::Cluster(next) => cluster = next,
                Next::End => return Err(FatError::Missing(name.to_owned())),
                Next::Broken => return Err(damaged()),
            }
        }
    }

    /// Looks through a row of entries. `None`: the directory goes on behind it; `Some(None)`: it ends here.
    fn find_in(
        &mut self,
        at: u64,
        length: u64,
        wanted: &[u8; 11],
    ) -> Result<Option<Option<Entry>>, FatError<S::Error>> {
        let mut block = [0; BLOCK];
        for offset in (0..length).step_by(BLOCK) {
            self.medium.read(at + offset, &mut block).map_err(FatError::Read)?;
            for entry in block.as_chunks::<ENTRY>().0 {
                let Some(name) = entry.first_chunk::<11>() else { continue };
                if name.first() == Some(&0) {
                    return Ok(Some(None));
                }
                if name == wanted
                    && let Some(entry) = self.entry(entry)
                {
                    return Ok(Some(Some(entry)));
                }
            }
        }
        Ok(None)
    }

    /// An entry of a file or directory. `None`: it is the label of the volume, or a piece of a long name.
    fn entry(&self, bytes: &[u8; ENTRY]) -> Option<Entry> {
        const LABEL: u8 = 0x08;
        const DIRECTORY: u8 = 0x10;
        let attributes = *bytes.get(11)?;
        if attributes & LABEL != 0 {
            return None;
        }
        let word = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk).map(|word| u16::from_le_bytes(*word));
        let (high, low) = (word(20)?, word(26)?);
        // On the small kinds these bytes belong to others.
        let high = if self.shape.is_wide() { u32::from(high) << 16 } else { 0 };
        let length = u32::from(word(28)?) | u32::from(word(30)?) << 16;
        let kind = if attributes & DIRECTORY != 0 { Kind::Directory } else { Kind::File };
        Some(Entry { kind, first: high | u32::from(low), length })
    }

    fn next(&mut self, cluster: u32) -> Result<Next, FatError<S::Error>> {
        let (at, width) = self.shape.table_entry(cluster);
        let mut bytes = [0; 4];
        let part = bytes.get_mut(..width).unwrap_or_default();
        self.medium.read(at, part).map_err(FatError::Read)?;
        Ok(self.shape.next(cluster, u32::from_le_bytes(bytes)))
    }

    /// The place of a file whose clusters are one row, to its very end.
    fn extent(&mut self, entry: &Entry, name: &str) -> Result<Extent, FatError<S::Error>> {
        if entry.length == 0 {
            return Err(FatError::Empty(name.to_owned()));
        }
        if entry.length > FILE_MAX {
            return Err(FatError::Large(name.to_owned()));
        }
        let damaged = || FatError::Chain(name.to_owned());
        let at = self.shape.at(entry.first).ok_or_else(damaged)?;
        let count = u64::from(entry.length).div_ceil(self.shape.cluster_bytes());
        let mut cluster = entry.first;
        for left in (0..count).rev() {
            self.shape.at(cluster).ok_or_else(damaged)?;
            match self.next(cluster)? {
                Next::End if left == 0 => return Ok(Extent { at, length: entry.length }),
                Next::Cluster(next) if left > 0 && Some(next) == cluster.checked_add(1) => cluster = next,
                Next::Cluster(_) if left > 0 => return Err(FatError::Fragmented(name.to_owned())),
                Next::Cluster(_) | Next::End | Next::Broken => return Err(damaged()),
            }
        }
        Err(damaged())
    }
}

/// A name as directories hold it: `wanted` is `WANTED` and spaces up to eleven bytes.
fn short(name: &str) -> Option<[u8; 11]> {
    let (base, extension) = name.split_once('.').unwrap_or((name, ""));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"$%'-_@~`!(){}^#&".contains(&byte);
    let fits = !base.is_empty() && base.len() <= 8 && extension.len() <= 3;
    if !fits || !base.bytes().chain(extension.bytes()).all(is_plain) {
        return None;
    }
    let mut short = [b' '; 11];
    let (left, right) = short.split_at_mut(8);
    let put = |into: &mut [u8], from: &str| {
        into.iter_mut().zip(from.bytes()).for_each(|(to, byte)| *to = byte.to_ascii_uppercase());
    };
    put(left, base);
    put(right, extension);
    Some(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_eleven_bytes_in_upper_case() {
        assert_eq!(short("wanted").unwrap(), *b"WANTED     ");
        assert_eq!(short("Bootx64.efi").unwrap(), *b"BOOTX64 EFI");
        for name in ["", ".", "..", ".txt", "much-too-long", "a.html", "a b", "a/b", "é", "a.b.c"] {
            assert_eq!(short(name), None, "{name:?}");
        }
    }
}
