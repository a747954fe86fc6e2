//! Tables that are found by a list of where their blocks of metadata are.

use super::Squashfs;
use super::cursor::{BLOCK, Cursor};
use super::superblock::NOWHERE;
use crate::contents::error::ContentsError;
use crate::contents::medium::Medium;

/// Where a block of tails is, and its length as data blocks have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment {
    pub(super) start: u64,
    pub(super) word: u32,
}

impl<M: Medium> Squashfs<M> {
    /// A reader at an element of a table. All elements have `size` bytes, which divides a block.
    pub(super) fn element(&self, table: u64, index: u64, size: usize) -> Result<Cursor<'_, M>, ContentsError> {
        let per_block = (BLOCK / size) as u64;
        let pointer = (index / per_block).checked_mul(8).and_then(|offset| table.checked_add(offset));
        let pointer = pointer.filter(|_| table != NOWHERE).ok_or(ContentsError::Damaged("a table is missing"))?;
        let mut block = [0; 8];
        self.read(pointer, &mut block)?;
        let offset = (index % per_block) as usize * size;
        // Below the length of a block, which is far below 65536.
        Ok(self.at(u64::from_le_bytes(block), u16::try_from(offset).unwrap_or_default()))
    }

    pub(super) fn read_ids(&self) -> Result<Vec<u32>, ContentsError> {
        (0..u64::from(self.head.id_count)).map(|index| self.element(self.head.id_table, index, 4)?.u32()).collect()
    }

    pub(super) fn id(&self, index: u16) -> Result<u32, ContentsError> {
        self.ids.get(usize::from(index)).copied().ok_or(ContentsError::Damaged("an owner is not in its table"))
    }

    pub(super) fn fragment(&self, index: u32) -> Result<Fragment, ContentsError> {
        if index >= self.head.fragments {
            return Err(ContentsError::Damaged("a tail is not in its table"));
        }
        let mut cursor = self.element(self.head.fragment_table, index.into(), 16)?;
        Ok(Fragment { start: cursor.u64()?, word: cursor.u32()? })
    }
}
