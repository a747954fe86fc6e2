//! The head of the file system.
//!
//! ```text
//!    0 magic  4 inodes  8 made  12 block  16 fragments  20 packed by:16  22 log2 of block:16  24 flags:16  26 ids:16
//!   28 major:16  30 minor:16  32 root:64  40 bytes:64  48 ids:64  56 attributes:64  64 inodes:64  72 directories:64
//!   80 fragments:64  88 export:64
//! ```

use super::unpack::Packed;
use crate::contents::error::ContentsError;
use crate::contents::medium::Medium;

const MAGIC: [u8; 4] = *b"hsqs";
const LEN: usize = 96;

/// The smallest and the largest block that there are.
const BLOCKS: std::ops::RangeInclusive<u32> = 4096..=1024 * 1024;

/// The place of a table that is not there.
pub(super) const NOWHERE: u64 = u64::MAX;

/// What is needed of it.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) made: u32,
    pub(super) block: u32,
    pub(super) packed: Packed,
    pub(super) fragments: u32,
    pub(super) id_count: u16,
    pub(super) root: u64,
    /// Where the file system ends; what follows is padding.
    pub(super) end: u64,
    pub(super) id_table: u64,
    pub(super) xattr_table: u64,
    pub(super) inode_table: u64,
    pub(super) directory_table: u64,
    pub(super) fragment_table: u64,
}

/// Whether it begins as one does.
pub(in crate::contents) fn is_one(medium: &impl Medium) -> bool {
    let mut magic = [0; 4];
    medium.read_at(0, &mut magic).is_ok() && magic == MAGIC
}

impl Superblock {
    pub(super) fn read(medium: &impl Medium) -> Result<Self, ContentsError> {
        let mut bytes = [0; LEN];
        medium.read_at(0, &mut bytes).map_err(|_| ContentsError::Damaged("it ends within its head"))?;
        let u16 = |at| u16::from_le_bytes(field(&bytes, at));
        let u32 = |at| u32::from_le_bytes(field(&bytes, at));
        let u64 = |at| u64::from_le_bytes(field(&bytes, at));
        if (u16(28), u16(30)) != (4, 0) {
            let version = format!("it is squashfs {}.{}, and 4.0 is what is read here", u16(28), u16(30));
            return Err(ContentsError::Unknown(version));
        }
        let (block, log) = (u32(12), u16(22));
        if !BLOCKS.contains(&block) || 1_u32.checked_shl(log.into()) != Some(block) {
            return Err(ContentsError::Damaged("its blocks have a length that none can have"));
        }
        let end = u64(40);
        if end > medium.len() {
            return Err(ContentsError::Damaged("it is longer than the file that it is in"));
        }
        Ok(Self {
            made: u32(8),
            block,
            packed: Packed::of(u16(20))?,
            fragments: u32(16),
            id_count: u16(26),
            root: u64(32),
            end,
            id_table: u64(48),
            xattr_table: u64(56),
            inode_table: u64(64),
            directory_table: u64(72),
            fragment_table: u64(80),
        })
    }
}

/// The bytes of a number. All places are in the head.
fn field<const N: usize>(bytes: &[u8; LEN], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}
