//! Directories: names in runs that share the block of their inodes.
//!
//! ```text
//!   run:   names - 1:32  block of inodes:32  number:32 │ names
//!   name:  offset in that block:16  number:16, signed  kind:16  length - 1:16  bytes
//! ```

use super::Squashfs;
use super::inode::{Inode, Node};
use crate::contents::error::ContentsError;
use crate::contents::image::Each;
use crate::contents::medium::Medium;

/// Names of one run, at most.
const RUN_MAX: u32 = 256;

/// Bytes of a name, at most.
const NAME_MAX: u16 = 256;

/// A directory says three bytes more than it has, for `.` and `..`, which are not there.
const UNSEEN: u32 = 3;

impl<M: Medium> Squashfs<M> {
    pub(super) fn read_directory(&self, inode: &Inode<'_, M>, each: &mut Each<'_>) -> Result<(), ContentsError> {
        let Node::Directory(directory) = inode.node else {
            return Err(ContentsError::Damaged("a directory is none"));
        };
        let place = self.head.directory_table.checked_add(directory.block.into());
        let place = place.ok_or(ContentsError::Damaged("a directory is nowhere"))?;
        let mut at = self.at(place, directory.offset);
        let mut left = directory.len.saturating_sub(UNSEEN);
        let mut pay = |bytes: u32| {
            let rest = left.checked_sub(bytes).ok_or(ContentsError::Damaged("a directory ends within a name"));
            rest.map(|rest| {
                left = rest;
                rest > 0
            })
        };
        let mut goes_on = directory.len > UNSEEN;
        while goes_on {
            let (count, block, _number) = (at.u32()?, at.u32()?, at.u32()?);
            pay(12)?;
            if count >= RUN_MAX {
                return Err(ContentsError::Damaged("a run of names is longer than any can be"));
            }
            for _ in 0..=count {
                let (offset, _number, _kind, len) = (at.u16()?, at.i16()?, at.u16()?, at.u16()?);
                if len >= NAME_MAX {
                    return Err(ContentsError::Damaged("a name is longer than 256 bytes"));
                }
                let name = at.take(usize::from(len) + 1)?;
                goes_on = pay(8 + u32::from(len) + 1)?;
                each(&name, u64::from(block) << 16 | u64::from(offset))?;
            }
        }
        Ok(())
    }
}
