//! Extended attributes: a table of sets, each with its names and values elsewhere in metadata.
//!
//! ```text
//!   at the table:  start of sets:64  count:32  unused:32 │ where the blocks of the table are
//!   in the table:  reference:64  attributes:32  bytes:32
//!   attribute:     prefix and where:16  length:16  name │ length:32  value, or a reference:64 to the length
//! ```

use std::collections::BTreeMap;

use super::Squashfs;
use super::superblock::NOWHERE;
use crate::contents::error::ContentsError;
use crate::contents::medium::Medium;

/// What Linux takes of one inode, and of one value.
const VALUE_MAX: u32 = 65536;

/// The longest name, without its prefix.
const NAME_MAX: u16 = 255;

/// Attributes of one inode, at most: more than a list of their names has room for.
const COUNT_MAX: u32 = 4096;

/// The value is elsewhere.
const ELSEWHERE: u16 = 0x100;

impl<M: Medium> Squashfs<M> {
    pub(super) fn read_xattrs(&self, index: u32) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ContentsError> {
        let table = self.head.xattr_table;
        if table == NOWHERE {
            return Err(ContentsError::Damaged("it has no table of attributes, and an inode has some"));
        }
        let mut head = [0; 16];
        self.read(table, &mut head)?;
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = head;
        let (sets, count) = (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u32::from_le_bytes([i, j, k, l]));
        if index >= count {
            return Err(ContentsError::Damaged("attributes are not in their table"));
        }
        // The head was read, so nothing overflows.
        let mut set = self.element(table + head.len() as u64, index.into(), 16)?;
        let (reference, attributes, _bytes) = (set.u64()?, set.u32()?, set.u32()?);
        if attributes > COUNT_MAX {
            return Err(ContentsError::Damaged("an inode has more attributes than Linux takes"));
        }
        let mut at = self.refer(sets, reference)?;
        let mut found = BTreeMap::new();
        let mut total = 0;
        for _ in 0..attributes {
            let (kind, len) = (at.u16()?, at.u16()?);
            let prefix: &[u8] = match kind & 0xff {
                0 => b"user.",
                1 => b"trusted.",
                2 => b"security.",
                _ => return Err(ContentsError::Damaged("an attribute is of a kind that does not exist")),
            };
            if len > NAME_MAX {
                return Err(ContentsError::Damaged("an attribute has a name that is longer than 255 bytes"));
            }
            let name = [prefix, &at.take(len.into())?].concat();
            let mut len = at.u32()?;
            let value = if kind & ELSEWHERE == 0 {
                at.take(bounded(len, &mut total)?)?
            } else {
                let reference = at.u64()?;
                let mut other = self.refer(sets, reference)?;
                len = other.u32()?;
                other.take(bounded(len, &mut total)?)?
            };
            found.insert(name, value);
        }
        Ok(found)
    }
}

/// A length that keeps all of one inode below what Linux takes.
fn bounded(len: u32, total: &mut u64) -> Result<usize, ContentsError> {
    *total += u64::from(len);
    // Linux bounds one value; a set of many large ones is no more than sixteen of them.
    if len > VALUE_MAX || *total > 16 * u64::from(VALUE_MAX) {
        return Err(ContentsError::Damaged("attributes are longer than Linux takes"));
    }
    Ok(len as usize)
}
