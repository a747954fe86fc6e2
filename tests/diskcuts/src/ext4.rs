//! Reads an ext4 as a bootloader does: from where its structures lie, without a look at its journal.
//!
//! ```text
//!   superblock ─▶ group ─▶ inode table ─▶ inode ─▶ tree of extents ─▶ blocks
//!                                          root ─▶ entries of a directory, one behind the other
//! ```
//!
//! Like GRUB and U-Boot it checks no sums and repairs nothing; what leads nowhere is an error. Only what image builders
//! and Linux make for a device is known: extents, no links, no inline data. Source: the kernel's documentation,
//! `filesystems/ext4`.

use std::fmt;
use std::ops::Range;

use crate::disk::Disk;

const ROOT: u32 = 2;
const DIRECTORY: u16 = 0x4000;
const REGULAR: u16 = 0x8000;
const EXTENTS: u32 = 0x8_0000;
const INLINE: u32 = 0x1000_0000;
const WIDE: u32 = 0x80;
const EXTENT_MAGIC: u16 = 0xF30A;
/// Blocks of an extent up to here are written; those of a longer one are zeros.
const WRITTEN: u16 = 32_768;
/// The deepest tree of extents.
const DEPTH: u16 = 5;
/// The longest file that is read.
const LONGEST: u64 = 1 << 30;

/// Why something cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Unread {
    /// There is no file system.
    Superblock,
    /// There is no such name.
    Missing(String),
    /// It is there, and cannot be followed.
    Broken(String, &'static str),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superblock => f.write_str("there is no ext4"),
            Self::Missing(path) => write!(f, "there is no {path}"),
            Self::Broken(path, why) => write!(f, "{path} cannot be read: {why}"),
        }
    }
}

/// The file system in a part of a disk.
pub(crate) struct Ext4<'d> {
    disk: &'d Disk,
    part: Range<u64>,
    block: u64,
    first_block: u64,
    inodes_per_group: u32,
    inode_size: u64,
    descriptor: u64,
}

struct Inode {
    mode: u16,
    size: u64,
    flags: u32,
    root: Vec<u8>,
}

type Why = &'static str;

impl<'d> Ext4<'d> {
    pub(crate) fn open(disk: &'d Disk, part: Range<u64>) -> Result<Self, Unread> {
        let superblock = disk.bytes(part.start + 1024, 1024);
        let read = || {
            (half(&superblock, 56)? == 0xEF53).then_some(())?;
            let wide = word(&superblock, 96)? & WIDE != 0;
            Some(Self {
                disk,
                part,
                block: 1024_u64.checked_shl(word(&superblock, 24)?).filter(|block| *block <= 65_536)?,
                first_block: u64::from(word(&superblock, 20)?),
                inodes_per_group: word(&superblock, 40).filter(|count| *count > 0)?,
                inode_size: u64::from(half(&superblock, 88)?),
                descriptor: if wide { u64::from(half(&superblock, 254)?) } else { 32 },
            })
        };
        read().ok_or(Unread::Superblock)
    }

    /// A file whole.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, Unread> {
        let inode = self.find(path)?;
        let broken = |why| Unread::Broken(path.to_owned(), why);
        if inode.mode & 0xF000 != REGULAR {
            return Err(broken("it is no file"));
        }
        self.content(&inode).map_err(broken)
    }

    /// The names in a directory, without those of itself and of the one above.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<String>, Unread> {
        let inode = self.find(path)?;
        let entries = self.entries(&inode).map_err(|why| Unread::Broken(path.to_owned(), why))?;
        let names = entries.into_iter().map(|(_, name)| String::from_utf8_lossy(&name).into_owned());
        Ok(names.filter(|name| name != "." && name != "..").collect())
    }

    fn find(&self, path: &str) -> Result<Inode, Unread> {
        let broken = |why| Unread::Broken(path.to_owned(), why);
        let mut inode = self.inode(ROOT).map_err(broken)?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let entries = self.entries(&inode).map_err(broken)?;
            let entry = entries.into_iter().find(|(_, entry)| entry == name.as_bytes());
            let (number, _) = entry.ok_or_else(|| Unread::Missing(path.to_owned()))?;
            inode = self.inode(number).map_err(broken)?;
        }
        Ok(inode)
    }

    /// A block of the file system.
    fn blocks(&self, block: u64, into: &mut [u8]) -> Result<(), Why> {
        let at = block.checked_mul(self.block).and_then(|at| at.checked_add(self.part.start));
        let at = at.filter(|at| at + into.len() as u64 <= self.part.end).ok_or("it leads out of the file system")?;
        self.disk.read(at, into);
        Ok(())
    }

    fn inode(&self, number: u32) -> Result<Inode, Why> {
        let index = number.checked_sub(1).ok_or("there is no inode 0")?;
        let (group, index) = (index / self.inodes_per_group, index % self.inodes_per_group);
        let descriptors = (self.first_block + 1) * self.block;
        let at = self.part.start + descriptors + u64::from(group) * self.descriptor;
        let descriptor = self.disk.bytes(at, 64);
        let high = if self.descriptor >= 64 { word(&descriptor, 40) } else { Some(0) };
        let table = word(&descriptor, 8).zip(high).ok_or("no group")?;
        let table = u64::from(table.0) | u64::from(table.1) << 32;
        let at = table.checked_mul(self.block).ok_or("it leads out of the file system")?;
        let at = self.part.start.checked_add(at).ok_or("it leads out of the file system")?;
        let inode = self.disk.bytes(at + u64::from(index) * self.inode_size, 128);
        let read = || {
            Some(Inode {
                mode: half(&inode, 0)?,
                size: u64::from(word(&inode, 4)?) | u64::from(word(&inode, 108)?) << 32,
                flags: word(&inode, 32)?,
                root: inode.get(40..100)?.to_vec(),
            })
        };
        read().ok_or("no inode")
    }

    fn content(&self, inode: &Inode) -> Result<Vec<u8>, Why> {
        if inode.flags & INLINE != 0 || inode.flags & EXTENTS == 0 {
            return Err("it has no extents");
        }
        if inode.size > LONGEST {
            return Err("it is too long");
        }
        let mut bytes = vec![0; usize::try_from(inode.size).map_err(|_| "it is too long")?];
        self.extents(&inode.root, DEPTH, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills in what a node of the tree leads to; the rest are holes.
    fn extents(&self, node: &[u8], depth: u16, into: &mut [u8]) -> Result<(), Why> {
        let torn = "its tree of extents is torn";
        let (magic, count, level) = (half(node, 0), half(node, 2).ok_or(torn)?, half(node, 6).ok_or(torn)?);
        if magic != Some(EXTENT_MAGIC) || level > depth {
            return Err(torn);
        }
        for index in 1..=usize::from(count) {
            let entry = node.get(index * 12..).filter(|entry| entry.len() >= 12).ok_or(torn)?;
            if level > 0 {
                let low = u64::from(word(entry, 4).ok_or(torn)?);
                let high = u64::from(half(entry, 8).ok_or(torn)?);
                let mut child = vec![0; usize::try_from(self.block).map_err(|_| torn)?];
                self.blocks(low | high << 32, &mut child)?;
                self.extents(&child, level - 1, into)?;
                continue;
            }
            let length = half(entry, 4).ok_or(torn)?;
            let first = u64::from(word(entry, 0).ok_or(torn)?) * self.block;
            let start = u64::from(word(entry, 8).ok_or(torn)?) | u64::from(half(entry, 6).ok_or(torn)?) << 32;
            if length > WRITTEN {
                continue;
            }
            // Blocks may lie behind the end of a file: what was reserved, and what was not cut off yet.
            let first = usize::try_from(first).map_err(|_| torn)?.min(into.len());
            let bytes = usize::try_from(u64::from(length) * self.block).map_err(|_| torn)?;
            let end = first.saturating_add(bytes).min(into.len());
            self.blocks(start, into.get_mut(first..end).ok_or(torn)?)?;
        }
        Ok(())
    }

    fn entries(&self, inode: &Inode) -> Result<Vec<(u32, Vec<u8>)>, Why> {
        let torn = "a directory on the way is torn";
        if inode.mode & 0xF000 != DIRECTORY {
            return Err("something on the way is no directory");
        }
        let bytes = self.content(inode)?;
        let mut entries = Vec::new();
        // An entry never reaches into the next block, and those of an index look like an empty one to who knows of none.
        for block in bytes.chunks(usize::try_from(self.block).map_err(|_| torn)?) {
            let mut rest = block;
            while rest.len() >= 8 {
                let (number, length) = (word(rest, 0).ok_or(torn)?, usize::from(half(rest, 4).ok_or(torn)?));
                let name = rest.get(8..8 + usize::from(*rest.get(6).ok_or(torn)?)).ok_or(torn)?;
                if length < 8 || length > rest.len() {
                    return Err(torn);
                }
                if number != 0 {
                    entries.push((number, name.to_vec()));
                }
                rest = rest.get(length..).unwrap_or_default();
            }
        }
        Ok(entries)
    }
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// A file system of another program, with a tree in it, behind a megabyte of something else.
    fn made(features: &str) -> Disk {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("trails/locals/a")).unwrap();
        fs::write(tree.join("trails/locals/a/kernel"), kernel()).unwrap();
        for number in 0..400 {
            fs::write(tree.join(format!("trails/a-long-name-of-a-file-{number}")), format!("{number}")).unwrap();
        }
        let image = dir.path().join("image");
        let made = Command::new("/usr/sbin/mke2fs")
            .args(["-q", "-F", "-t", "ext4", "-O", features, "-E", "offset=1048576", "-d"])
            .args([&tree, &image])
            .arg("16m")
            .status()
            .unwrap();
        assert!(made.success());
        Disk::open(&image).unwrap()
    }

    fn kernel() -> Vec<u8> {
        (0..3_000_001_u32).map(|at| (at / 7) as u8).collect()
    }

    #[test]
    fn what_another_program_has_written_is_read() {
        for features in ["64bit,metadata_csum", "^64bit,^metadata_csum"] {
            let disk = made(features);
            let ext4 = Ext4::open(&disk, 1 << 20..disk.size()).unwrap();
            assert!(ext4.read("trails/locals/a/kernel").unwrap() == kernel());
            assert_eq!(ext4.read("/trails/a-long-name-of-a-file-399").unwrap(), b"399");
            assert_eq!(ext4.list("trails").unwrap().len(), 401);
            assert_eq!(ext4.read("trails/none"), Err(Unread::Missing("trails/none".into())));
            assert!(matches!(ext4.read("trails/locals"), Err(Unread::Broken(..))));
        }
    }

    #[test]
    fn a_file_system_that_was_torn_anywhere_is_an_error_or_an_answer_and_nothing_else() {
        let disk = made("64bit,metadata_csum");
        for at in (1 << 20..(1 << 20) + (2 << 20)).step_by(4096) {
            let mut torn = disk.clone();
            torn.write(at, &[0xEE; 512]);
            if let Ok(ext4) = Ext4::open(&torn, 1 << 20..disk.size()) {
                let _ = ext4.read("trails/locals/a/kernel");
            }
        }
        assert!(Ext4::open(&Disk::new(vec![0; 1 << 20]), 0..1 << 20).is_err());
    }
}
