//! Inodes: a short form for most, a long one for what has attributes, several names or many bytes.
//!
//! ```text
//!   kind:16  mode:16  owner:16  group:16  mtime:32  number:32 │ what the kind has
//!    1 directory  block:32 names:32 len:16 offset:16 parent:32
//!    8            names:32 len:32 block:32 parent:32 indexes:16 offset:16 xattrs:32
//!    2 file       start:32 fragment:32 offset:32 len:32 │ a word for each block
//!    9            start:64 len:64 sparse:64 names:32 fragment:32 offset:32 xattrs:32 │ a word for each block
//!    3 link       names:32 len:32 target          10  … xattrs:32
//!    4 block, 5 character  names:32 device:32     11, 12  … xattrs:32
//!    6 pipe, 7 socket      names:32               13, 14  … xattrs:32
//! ```

use super::Squashfs;
use super::cursor::Cursor;
use crate::contents::entry::{Entry, Kind};
use crate::contents::error::ContentsError;
use crate::contents::medium::Medium;

/// The longest target that Linux takes.
const LINK_MAX: u32 = 4096;

/// Something that is not there.
const NONE: u32 = u32::MAX;

/// Where the contents of a file are.
pub(super) struct File<'a, M> {
    pub(super) start: u64,
    pub(super) size: u64,
    /// The block of tails that its last bytes are in, and where in that.
    pub(super) tail: Option<(u32, u32)>,
    /// At the words of its blocks.
    pub(super) words: Cursor<'a, M>,
}

/// Where the names of a directory are.
#[derive(Clone, Copy)]
pub(super) struct Directory {
    pub(super) block: u32,
    pub(super) offset: u16,
    pub(super) len: u32,
}

pub(super) enum Node<'a, M> {
    File(File<'a, M>),
    Directory(Directory),
    Other(Kind),
}

pub(super) struct Inode<'a, M> {
    pub(super) node: Node<'a, M>,
    mode: u16,
    owner: u16,
    group: u16,
    mtime: u32,
    xattrs: Option<u32>,
}

impl<M: Medium> Squashfs<M> {
    pub(super) fn read_inode(&self, reference: u64) -> Result<Inode<'_, M>, ContentsError> {
        let mut cursor = self.refer(self.head.inode_table, reference)?;
        let at = &mut cursor;
        let (kind, mode, owner, group) = (at.u16()?, at.u16()?, at.u16()?, at.u16()?);
        let (mtime, _number) = (at.u32()?, at.u32()?);
        let mut xattrs = NONE;
        let node = match kind {
            1 => {
                let (block, _names, len, offset) = (at.u32()?, at.u32()?, at.u16()?, at.u16()?);
                Node::Directory(Directory { block, offset, len: len.into() })
            }
            8 => {
                let (_names, len, block, _parent) = (at.u32()?, at.u32()?, at.u32()?, at.u32()?);
                let (_indexes, offset) = (at.u16()?, at.u16()?);
                xattrs = at.u32()?;
                Node::Directory(Directory { block, offset, len })
            }
            2 => {
                let (start, fragment, offset, size) = (at.u32()?, at.u32()?, at.u32()?, at.u32()?);
                let tail = (fragment != NONE).then_some((fragment, offset));
                Node::File(File { start: start.into(), size: size.into(), tail, words: cursor })
            }
            9 => {
                let (start, size, _sparse, _names) = (at.u64()?, at.u64()?, at.u64()?, at.u32()?);
                let (fragment, offset) = (at.u32()?, at.u32()?);
                xattrs = at.u32()?;
                let tail = (fragment != NONE).then_some((fragment, offset));
                Node::File(File { start, size, tail, words: cursor })
            }
            3 | 10 => {
                let (_names, len) = (at.u32()?, at.u32()?);
                if len > LINK_MAX {
                    return Err(ContentsError::Damaged("a link leads to a path that is longer than 4096 bytes"));
                }
                let target = at.take(len as usize)?;
                if kind == 10 {
                    xattrs = at.u32()?;
                }
                Node::Other(Kind::Symlink(target))
            }
            4 | 5 | 11 | 12 => {
                let (_names, device) = (at.u32()?, at.u32()?);
                let major = (device & 0xf_ff00) >> 8;
                let minor = (device & 0xff) | ((device >> 12) & 0xf_ff00);
                if kind >= 11 {
                    xattrs = at.u32()?;
                }
                Node::Other(Kind::Device { block: matches!(kind, 4 | 11), major, minor })
            }
            6 | 7 | 13 | 14 => {
                at.u32()?;
                if kind >= 13 {
                    xattrs = at.u32()?;
                }
                Node::Other(if matches!(kind, 6 | 13) { Kind::Fifo } else { Kind::Socket })
            }
            _ => return Err(ContentsError::Damaged("an inode is of a kind that does not exist")),
        };
        Ok(Inode { node, mode, owner, group, mtime, xattrs: (xattrs != NONE).then_some(xattrs) })
    }
}

impl<M: Medium> Inode<'_, M> {
    /// As a list has it. `reference` is what this is the inode of.
    pub(super) fn entry(self, files: &Squashfs<M>, reference: u64) -> Result<Entry, ContentsError> {
        let (kind, size) = match self.node {
            Node::File(file) => (Kind::File, file.size),
            Node::Directory(_) => (Kind::Directory, 0),
            Node::Other(kind) => (kind, 0),
        };
        Ok(Entry {
            kind,
            mode: self.mode & 0o7777,
            uid: files.id(self.owner)?,
            gid: files.id(self.group)?,
            mtime: self.mtime,
            size,
            xattrs: self.xattrs.map(|index| files.read_xattrs(index)).transpose()?.unwrap_or_default(),
            inode: reference,
        })
    }
}
