//! Reading on in metadata: blocks of at most 8 KiB that follow each other, each with its packed length before it.
//!
//! ```text
//!   15 bits: length  1 bit: as it is │ so many bytes │ 15 bits: length …
//! ```

use std::rc::Rc;

use super::Squashfs;
use crate::contents::error::ContentsError;
use crate::contents::medium::Medium;

/// Bytes of a block.
pub(super) const BLOCK: usize = 8192;

/// Blocks that are held: those of a directory and its inodes are asked for again and again.
const HELD: usize = 256;

const AS_IT_IS: u16 = 0x8000;

/// A block, and where the next one is.
pub(super) struct Block {
    bytes: Vec<u8>,
    next: u64,
}

/// A place in metadata.
pub(super) struct Cursor<'a, M> {
    files: &'a Squashfs<M>,
    block: u64,
    offset: usize,
}

impl<M: Medium> Squashfs<M> {
    /// A reader at a place: the beginning of a block on the medium, and an offset in what comes out of it.
    pub(super) fn at(&self, block: u64, offset: u16) -> Cursor<'_, M> {
        Cursor { files: self, block, offset: usize::from(offset) }
    }

    /// The same for a reference to a table that begins at `base`.
    pub(super) fn refer(&self, base: u64, reference: u64) -> Result<Cursor<'_, M>, ContentsError> {
        let block = base.checked_add(reference >> 16).ok_or(ContentsError::Damaged("a reference leads nowhere"))?;
        Ok(self.at(block, (reference & 0xffff) as u16))
    }

    fn metadata(&self, at: u64) -> Result<Rc<Block>, ContentsError> {
        if let Some(block) = self.metadata.borrow().get(&at) {
            return Ok(Rc::clone(block));
        }
        let mut header = [0; 2];
        self.read(at, &mut header)?;
        let header = u16::from_le_bytes(header);
        let len = usize::from(header & !AS_IT_IS);
        if len == 0 || len > BLOCK {
            return Err(ContentsError::Damaged("a block of metadata has a length that none can have"));
        }
        let mut bytes = vec![0; len];
        self.read(at + 2, &mut bytes)?;
        if header & AS_IT_IS == 0 {
            bytes = self.head.packed.unpack(&bytes, BLOCK)?;
        }
        let block = Rc::new(Block { bytes, next: at + 2 + len as u64 });
        let mut held = self.metadata.borrow_mut();
        if held.len() >= HELD {
            held.clear();
        }
        held.insert(at, Rc::clone(&block));
        Ok(block)
    }

    /// Bytes of the medium that are the file system's.
    pub(super) fn read(&self, at: u64, buffer: &mut [u8]) -> Result<(), ContentsError> {
        let end = at.checked_add(buffer.len() as u64).filter(|end| *end <= self.head.end);
        end.ok_or(ContentsError::Damaged("something is said to lie behind its end"))?;
        Ok(self.medium.read_at(at, buffer)?)
    }
}

impl<M: Medium> Cursor<'_, M> {
    /// Fills the buffer and goes on behind it.
    pub(super) fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), ContentsError> {
        while !buffer.is_empty() {
            let block = self.files.metadata(self.block)?;
            let rest = block.bytes.get(self.offset..).ok_or(ContentsError::Damaged("a place is behind its block"))?;
            let len = rest.len().min(buffer.len());
            let (now, later) = buffer.split_at_mut(len);
            now.copy_from_slice(rest.get(..len).unwrap_or_default());
            buffer = later;
            self.offset += len;
            if self.offset == block.bytes.len() {
                (self.block, self.offset) = (block.next, 0);
            }
        }
        Ok(())
    }

    /// So many bytes. The caller has bounded them.
    pub(super) fn take(&mut self, len: usize) -> Result<Vec<u8>, ContentsError> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ContentsError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, ContentsError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, ContentsError> {
        self.array().map(i16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ContentsError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ContentsError> {
        self.array().map(u64::from_le_bytes)
    }
}
