//! A file of an ext4 as a firmware reads it: what the medium holds, and no journal replayed. Nothing is ever written here.
//!
//! ```text
//!   superblock ─▶ descriptor of a group ─▶ table of inodes ─▶ inode 2 ─▶ "trails" ─▶ inode … ─▶ "pv-kernel.img"
//!                                                                                                   │
//!   bytes ◀─ blocks ◀─ runs ◀─ tree of extents, at most five levels ◀───────────────────────────────┘
//! ```
//!
//! Only a medium that nobody writes through gives the truth: while the file system is mounted, the kernel's memory of its
//! *partition* holds what the medium does not yet, so this is given the part of the *whole disk* where it lies.
//!
//! Links are not followed: what a firmware reads has none. Directories are read in order, whatever index they have. What is
//! read may be anybody's: every walk is bounded, and every place is checked against the medium. Source: the kernel's
//! `Documentation/filesystems/ext4`.

use std::fmt;

use boards_api::media::Sectors;

/// The most bytes of a directory on the way.
const DIRECTORY_MAX: u64 = 4 << 20;

/// The most pieces of a file.
const RUNS_MAX: usize = 16 * 1024;

/// The most nodes of the tree of a file.
const NODES_MAX: u32 = 4096;

/// Bytes that are read at once.
const PIECE: u64 = 64 * 1024;

const ROOT: u32 = 2;

/// What changes where bytes lie, and is understood: names with kinds, a journal to be replayed, extents, block numbers of
/// 64 bits, flexible groups, checksums with a seed of their own, directories of more levels.
const UNDERSTOOD: u32 = 0x2 | 0x4 | 0x40 | 0x80 | 0x200 | 0x2000 | 0x4000;
const WIDE: u32 = 0x80;

/// Why a file cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ext4Error<E> {
    /// The medium did not give something back.
    Read(E),
    /// There is no ext4 here.
    None,
    /// It has features that this does not read, as bits of `s_feature_incompat`.
    Unfit(u32),
    /// There is no such name on the way.
    Missing(String),
    /// It is no file, or no directory where one is wanted, or has no extents.
    Kind(String),
    /// What describes it leads nowhere.
    Damaged(String),
}

impl<E: fmt::Display> fmt::Display for Ext4Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::None => f.write_str("there is no ext4"),
            Self::Unfit(features) => write!(f, "an ext4 with features {features:#x}, which are not read here"),
            Self::Missing(name) => write!(f, "{name} is not on the medium"),
            Self::Kind(name) => write!(f, "{name} is no plain file or directory with extents"),
            Self::Damaged(name) => write!(f, "what the medium says of {name} leads nowhere"),
        }
    }
}

impl<E: std::error::Error> std::error::Error for Ext4Error<E> {}

/// An ext4 that nobody mounts here.
#[derive(Debug)]
pub struct Ext4<S> {
    medium: S,
    /// Bytes of a block.
    block: u64,
    /// Where the descriptors of groups begin, and the bytes of one.
    descriptors: (u64, u64),
    /// All inodes, those of a group, and the bytes of one.
    inodes: (u32, u32, u64),
}

struct Inode {
    is_directory: bool,
    size: u64,
    tree: [u8; 60],
}

/// Blocks of a file in a row. `None`: they were reserved and never written, and read as zeros.
struct Run {
    first: u64,
    count: u64,
    place: Option<u64>,
}

type Result<T, S> = std::result::Result<T, Ext4Error<<S as Sectors>::Error>>;

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl<S: Sectors> Ext4<S> {
    /// Reads the superblock.
    ///
    /// # Errors
    /// [`Ext4Error::None`] and [`Ext4Error::Unfit`].
    pub fn open(mut medium: S) -> Result<Self, S> {
        let mut bytes = [0; 1024];
        if medium.size() < 2048 {
            return Err(Ext4Error::None);
        }
        medium.read(1024, &mut bytes).map_err(Ext4Error::Read)?;
        let features = le32(&bytes, 96).filter(|_| le16(&bytes, 56) == Some(0xEF53)).ok_or(Ext4Error::None)?;
        // One without extents is an ext2 or ext3, and nothing of it is read.
        if features & !UNDERSTOOD != 0 || features & 0x40 == 0 {
            return Err(Ext4Error::Unfit(features));
        }
        let shape = || {
            let block = 1024_u64.checked_shl(le32(&bytes, 24)?).filter(|block| (1024..=65536).contains(block))?;
            let first = u64::from(le32(&bytes, 20)?);
            let wide = if features & WIDE != 0 { u64::from(le16(&bytes, 254)?) } else { 32 };
            let (all, of_group, size) = (le32(&bytes, 0)?, le32(&bytes, 40)?, u64::from(le16(&bytes, 88)?));
            let fits = of_group > 0 && (128..=block).contains(&size) && (32..=1024).contains(&wide);
            fits.then_some((block, ((first + 1) * block, wide), (all, of_group, size)))
        };
        let (block, descriptors, inodes) = shape().ok_or(Ext4Error::None)?;
        Ok(Self { medium, block, descriptors, inodes })
    }

    /// Reads a file by its path from the root, as `trails/0/.pv/pv-kernel.img`, piece by piece; returns its length.
    ///
    /// # Errors
    /// [`Ext4Error`]. Pieces that were given by then are none of a whole file.
    pub fn read(&mut self, path: &str, each: &mut dyn FnMut(&[u8])) -> Result<u64, S> {
        let mut number = ROOT;
        for name in path.split('/') {
            number = self.child(number, name, path)?;
        }
        let inode = self.inode(number, path)?;
        if inode.is_directory {
            return Err(Ext4Error::Kind(path.to_owned()));
        }
        self.bytes(&inode, path, each)?;
        Ok(inode.size)
    }

    /// The inode of a name in a directory.
    fn child(&mut self, directory: u32, name: &str, path: &str) -> Result<u32, S> {
        let inode = self.inode(directory, path)?;
        if !inode.is_directory {
            return Err(Ext4Error::Kind(path.to_owned()));
        }
        if inode.size > DIRECTORY_MAX {
            return Err(Ext4Error::Damaged(path.to_owned()));
        }
        let mut entries = Vec::new();
        self.bytes(&inode, path, &mut |bytes| entries.extend_from_slice(bytes))?;
        let mut rest = entries.as_slice();
        // What an index keeps in a directory looks like entries without a name.
        while let (Some(number), Some(length)) = (le32(rest, 0), le16(rest, 4)) {
            let named = rest.get(6).and_then(|length| rest.get(8..8 + usize::from(*length)));
            if number != 0 && named == Some(name.as_bytes()) {
                return Ok(number);
            }
            rest = rest.get(usize::from(length)..).filter(|_| length >= 8).unwrap_or_default();
        }
        Err(Ext4Error::Missing(path.to_owned()))
    }

    fn inode(&mut self, number: u32, path: &str) -> Result<Inode, S> {
        let damaged = || Ext4Error::Damaged(path.to_owned());
        let (all, of_group, size) = self.inodes;
        let index = number.checked_sub(1).filter(|index| *index < all).ok_or_else(damaged)?;
        let (at, length) = self.descriptors;
        let mut descriptor = [0; 64];
        let used = descriptor.get_mut(..usize::try_from(length.min(64)).unwrap_or(64)).unwrap_or_default();
        self.take(at + u64::from(index / of_group) * length, used, path)?;
        let (low, high) = (le32(&descriptor, 8).ok_or_else(damaged)?, le32(&descriptor, 40).ok_or_else(damaged)?);
        let table = self.at(u64::from(high) << 32 | u64::from(low)).ok_or_else(damaged)?;
        let mut bytes = [0; 128];
        self.take(table + u64::from(index % of_group) * size, &mut bytes, path)?;
        let inode = || {
            let (kind, flags) = (le16(&bytes, 0)? & 0xF000, le32(&bytes, 32)?);
            let size = u64::from(le32(&bytes, 108)?) << 32 | u64::from(le32(&bytes, 4)?);
            let is_plain = matches!(kind, 0x4000 | 0x8000) && flags & 0x8_0000 != 0;
            let tree = *bytes.get(40..)?.first_chunk()?;
            Some((is_plain, Inode { is_directory: kind == 0x4000, size, tree }))
        };
        match inode().ok_or_else(damaged)? {
            (_, inode) if inode.size > self.medium.size() => Err(damaged()),
            (true, inode) => Ok(inode),
            (false, _) => Err(Ext4Error::Kind(path.to_owned())),
        }
    }

    /// The first byte of a block. `None`: there is no such place.
    fn at(&self, block: u64) -> Option<u64> {
        block.checked_mul(self.block).filter(|at| *at < self.medium.size())
    }

    /// Reads what the medium has; a place behind it is damage.
    fn take(&mut self, at: u64, into: &mut [u8], path: &str) -> Result<(), S> {
        match at.checked_add(into.len() as u64) {
            Some(end) if end <= self.medium.size() => self.medium.read(at, into).map_err(Ext4Error::Read),
            _ => Err(Ext4Error::Damaged(path.to_owned())),
        }
    }

    fn bytes(&mut self, inode: &Inode, path: &str, each: &mut dyn FnMut(&[u8])) -> Result<(), S> {
        let mut runs = Vec::new();
        self.runs(&inode.tree, (5, &mut 0), path, &mut runs)?;
        let (mut done, mut buffer) = (0, Vec::new());
        for Run { first, count, place } in runs {
            let start = first.checked_mul(self.block).ok_or_else(|| Ext4Error::Damaged(path.to_owned()))?;
            self.zeros(&mut done, start.min(inode.size), each);
            let end = start.saturating_add(count.saturating_mul(self.block)).min(inode.size);
            let Some(place) = place else {
                self.zeros(&mut done, end, each);
                continue;
            };
            while done < end {
                buffer.resize(usize::try_from((end - done).min(PIECE)).unwrap_or_default(), 0);
                self.take(place + (done - start), &mut buffer, path)?;
                each(&buffer);
                done += buffer.len() as u64;
            }
        }
        self.zeros(&mut done, inode.size, each);
        Ok(())
    }

    fn zeros(&self, done: &mut u64, until: u64, each: &mut dyn FnMut(&[u8])) {
        const ZEROS: [u8; 4096] = [0; 4096];
        while *done < until {
            let length = (until - *done).min(ZEROS.len() as u64);
            each(ZEROS.get(..usize::try_from(length).unwrap_or_default()).unwrap_or_default());
            *done += length;
        }
    }

    /// What a node of the tree leads to, in the order of the file.
    fn runs(&mut self, node: &[u8], (levels, seen): (u16, &mut u32), path: &str, into: &mut Vec<Run>) -> Result<(), S> {
        let damaged = || Ext4Error::Damaged(path.to_owned());
        *seen += 1;
        if *seen > NODES_MAX {
            return Err(damaged());
        }
        let (magic, count, depth) = (le16(node, 0), le16(node, 2).ok_or_else(damaged)?, le16(node, 6));
        let depth = depth.filter(|depth| magic == Some(0xF30A) && *depth <= levels).ok_or_else(damaged)?;
        for entry in (12..).step_by(12).take(count.into()) {
            let first = le32(node, entry).ok_or_else(damaged)?;
            let (middle, last) = (le16(node, entry + 4), le32(node, entry + 8));
            let (middle, high) = (middle.ok_or_else(damaged)?, le16(node, entry + 6).ok_or_else(damaged)?);
            let low = last.ok_or_else(damaged)?;
            if depth > 0 {
                // Here the low half comes first.
                let place = u64::from(le16(node, entry + 8).ok_or_else(damaged)?) << 32
                    | u64::from(le32(node, entry + 4).ok_or_else(damaged)?);
                let mut below = vec![0; usize::try_from(self.block).unwrap_or_default()];
                let at = self.at(place).ok_or_else(damaged)?;
                self.take(at, &mut below, path)?;
                self.runs(&below, (depth - 1, &mut *seen), path, into)?;
                continue;
            }
            let follows = into.last().is_none_or(|run| run.first + run.count <= u64::from(first));
            if !follows || into.len() >= RUNS_MAX {
                return Err(damaged());
            }
            let place = self.at(u64::from(high) << 32 | u64::from(low)).ok_or_else(damaged)?;
            let (count, place) = if middle > 32768 { (middle - 32768, None) } else { (middle, Some(place)) };
            into.push(Run { first: first.into(), count: count.into(), place });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    /// A medium in memory.
    #[derive(Clone)]
    struct Memory(Vec<u8>);

    impl Sectors for Memory {
        type Error = fmt::Error;

        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn read(&mut self, at: u64, into: &mut [u8]) -> std::result::Result<(), fmt::Error> {
            let at = usize::try_from(at).map_err(|_| fmt::Error)?;
            into.copy_from_slice(self.0.get(at..).and_then(|rest| rest.get(..into.len())).ok_or(fmt::Error)?);
            Ok(())
        }

        fn write(&mut self, _: u64, _: &[u8]) -> std::result::Result<(), fmt::Error> {
            panic!("written")
        }
    }

    fn tool(name: &str) -> Command {
        let mut command = Command::new(name);
        command
            .env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// A file system made by the distribution's tool from a directory.
    fn made(tree: &Path, options: &[&str]) -> Memory {
        let image = tree.with_extension("img");
        fs::File::create(&image).unwrap().set_len(24 << 20).unwrap();
        let mut make = tool("mkfs.ext4");
        make.args(["-q", "-F", "-d"]).arg(tree).args(options).arg(&image);
        assert!(make.status().unwrap().success(), "{options:?}");
        Memory(fs::read(image).unwrap())
    }

    fn read(medium: &Memory, path: &str) -> std::result::Result<Vec<u8>, Ext4Error<fmt::Error>> {
        let mut bytes = Vec::new();
        let length = Ext4::open(medium.clone())?.read(path, &mut |piece| bytes.extend_from_slice(piece))?;
        assert_eq!(length, bytes.len() as u64);
        Ok(bytes)
    }

    #[test]
    fn files_are_read_as_the_tool_of_the_distribution_has_written_them() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("trails/0/.pv")).unwrap();
        let kernel: Vec<u8> = (0..3_000_001_u32).map(|number| (number % 251) as u8).collect();
        fs::write(tree.join("trails/0/.pv/pv-kernel.img"), &kernel).unwrap();
        fs::write(tree.join("empty"), "").unwrap();
        // A hole in the middle, and one at the end.
        let sparse = fs::File::create(tree.join("sparse")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"late", 1 << 20).unwrap();
        sparse.set_len((1 << 20) + 9000).unwrap();
        // More names than a block holds.
        for number in 0..2000 {
            fs::write(tree.join(format!("trails/0/file-with-a-long-name-{number}")), [1]).unwrap();
        }
        for options in [&["-b", "4096"][..], &["-b", "1024", "-O", "^64bit"], &["-O", "^metadata_csum,^flex_bg"]] {
            let medium = made(&tree, options);
            assert_eq!(read(&medium, "trails/0/.pv/pv-kernel.img").unwrap(), kernel, "{options:?}");
            assert_eq!(read(&medium, "empty").unwrap(), b"");
            assert_eq!(read(&medium, "sparse").unwrap(), fs::read(tree.join("sparse")).unwrap());
            assert_eq!(read(&medium, "trails/0/file-with-a-long-name-1999").unwrap(), [1]);
            let missing = read(&medium, "trails/1/.pv/pv-kernel.img");
            assert_eq!(missing, Err(Ext4Error::Missing("trails/1/.pv/pv-kernel.img".into())));
            assert_eq!(read(&medium, "trails/0"), Err(Ext4Error::Kind("trails/0".into())));
        }
    }

    #[test]
    fn what_is_no_ext4_or_another_one_is_an_error() {
        assert_eq!(read(&Memory(vec![0; 4096]), "a"), Err(Ext4Error::None));
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let inline = made(&tree, &["-O", "inline_data"]);
        assert!(matches!(read(&inline, "a"), Err(Ext4Error::Unfit(features)) if features & 0x8000 != 0));
    }

    #[test]
    fn no_damage_leads_out_of_the_medium_or_never_ends() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("file"), vec![7; 100_000]).unwrap();
        let mut whole = made(&tree, &["-b", "1024"]);
        whole.0.truncate(4 << 20);
        // Where what is read of it lies: the superblock, descriptors and the first inodes; each byte wrong in turn.
        let read_of_it = (1024..1024 + 264).chain(2048..2048 + 64);
        for at in read_of_it {
            let mut medium = whole.clone();
            if let Some(byte) = medium.0.get_mut(at) {
                *byte ^= 0xFF;
            }
            // Whatever comes of it, it comes.
            let _ = Ext4::open(medium).and_then(|mut ext4| ext4.read("file", &mut |_| ()));
        }
    }
}
