//! Contents of files: whole blocks one after the other, and the tail in a block that several files share.
//!
//! ```text
//!   a word for each block:   24 bits: packed length, 0 = only zeros   1 bit: as it is
//! ```

use std::rc::Rc;

use super::Squashfs;
use super::inode::{Inode, Node};
use crate::contents::error::ContentsError;
use crate::contents::image::Take;
use crate::contents::medium::Medium;

/// Blocks of tails that are held: files of one directory share them.
const HELD: usize = 16;

const AS_IT_IS: u32 = 1 << 24;

impl<M: Medium> Squashfs<M> {
    pub(super) fn read_contents(&self, inode: Inode<'_, M>, take: &mut Take<'_>) -> Result<(), ContentsError> {
        let Node::File(mut file) = inode.node else { return Err(ContentsError::Damaged("a file is none")) };
        let block = u64::from(self.head.block);
        let mut left = file.size;
        // Blocks of zeros have no bytes that a file could have: made once, when one is met.
        let mut zeros = Vec::new();
        while left >= block || left > 0 && file.tail.is_none() {
            let word = file.words.u32()?;
            let len = left.min(block) as usize;
            if word == 0 {
                zeros.resize(block as usize, 0);
                take(zeros.get(..len).unwrap_or_default())?;
            } else {
                let contents = self.block(file.start, word)?;
                if contents.len() != len {
                    return Err(ContentsError::Damaged("a block of a file has another length than the file says"));
                }
                file.start += u64::from(word & !AS_IT_IS);
                take(&contents)?;
            }
            left -= len as u64;
        }
        if left > 0 {
            let (fragment, offset) = file.tail.unwrap_or_default();
            let contents = self.tails(fragment)?;
            let from = offset as usize;
            let tail = from.checked_add(left as usize).and_then(|end| contents.get(from..end));
            take(tail.ok_or(ContentsError::Damaged("a file's tail is not in its block"))?)?;
        }
        Ok(())
    }

    fn block(&self, at: u64, word: u32) -> Result<Vec<u8>, ContentsError> {
        let len = word & !AS_IT_IS;
        if len == 0 || len > self.head.block {
            return Err(ContentsError::Damaged("a block of data has a length that none can have"));
        }
        let mut bytes = vec![0; len as usize];
        self.read(at, &mut bytes)?;
        if word & AS_IT_IS == 0 { self.head.packed.unpack(&bytes, self.head.block as usize) } else { Ok(bytes) }
    }

    fn tails(&self, index: u32) -> Result<Rc<Vec<u8>>, ContentsError> {
        let fragment = self.fragment(index)?;
        if let Some(block) = self.fragments.borrow().get(&fragment.start) {
            return Ok(Rc::clone(block));
        }
        let block = Rc::new(self.block(fragment.start, fragment.word)?);
        let mut held = self.fragments.borrow_mut();
        if held.len() >= HELD {
            held.clear();
        }
        held.insert(fragment.start, Rc::clone(&block));
        Ok(block)
    }
}
