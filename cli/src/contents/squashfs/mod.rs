//! squashfs 4.0, as every kernel since 2.6.29 reads it: one compressed file system without free space.
//!
//! ```text
//!   superblock │ data blocks │ fragments │ inodes │ directories │ fragment table │ … │ ids │ attributes
//!   96 bytes   │ of files    │ of tails  └──────── metadata: blocks of at most 8 KiB, packed each ────┘
//! ```
//!
//! All numbers are little-endian. An inode is named by where it is: the place of its block behind the beginning of the
//! table, and 16 bits of where in that. Packed by gzip (zlib), xz, lz4 or zstd; `lzma` and `lzo` are said and not read.
//!
//! Whatever the image says, what is held is 256 blocks of metadata, 16 of data and the ids, of which there are 65535.

mod cursor;
mod data;
mod directory;
mod inode;
mod superblock;
mod tables;
#[cfg(test)]
mod tests;
mod unpack;
mod xattr;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::entry::Entry;
use super::error::ContentsError;
use super::image::{Each, Filesystem, Take};
use super::medium::Medium;
use cursor::Block;
use superblock::Superblock;

pub(super) use superblock::is_one;

/// A file system whose head has been read.
pub(super) struct Squashfs<M> {
    medium: M,
    head: Superblock,
    ids: Vec<u32>,
    metadata: RefCell<HashMap<u64, Rc<Block>>>,
    fragments: RefCell<HashMap<u64, Rc<Vec<u8>>>>,
}

impl<M: Medium> Squashfs<M> {
    /// Reads the head and the ids.
    pub(super) fn open(medium: M) -> Result<Self, ContentsError> {
        let head = Superblock::read(&medium)?;
        let mut files =
            Self { medium, head, ids: Vec::new(), metadata: RefCell::default(), fragments: RefCell::default() };
        files.ids = files.read_ids()?;
        Ok(files)
    }
}

impl<M: Medium> Filesystem for Squashfs<M> {
    fn root(&self) -> u64 {
        self.head.root
    }

    fn made(&self) -> u32 {
        self.head.made
    }

    fn inode(&self, inode: u64) -> Result<Entry, ContentsError> {
        self.read_inode(inode)?.entry(self, inode)
    }

    fn names(&self, inode: u64, each: &mut Each<'_>) -> Result<(), ContentsError> {
        self.read_directory(&self.read_inode(inode)?, each)
    }

    fn contents(&self, inode: u64, take: &mut Take<'_>) -> Result<(), ContentsError> {
        self.read_contents(self.read_inode(inode)?, take)
    }
}
