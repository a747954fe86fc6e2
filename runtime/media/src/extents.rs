//! Whether a file can be overwritten in place: all of its blocks exist, are written, and are its own.
//!
//! Otherwise the file system changes metadata when data is written (allocates, marks an extent as written, copies), and
//! a reader that does not replay its journal finds the old bytes, or none.

use rustix::fd::AsFd;
use rustix::io::Errno;

use crate::error::{Fault, os};
use crate::sys;

// `FIEMAP_EXTENT_*` of `linux/fiemap.h`: what an overwrite would change.
const UNKNOWN: u32 = 0x0002;
const DELALLOC: u32 = 0x0004;
const ENCODED: u32 = 0x0008;
const INLINE: u32 = 0x0200;
const TAIL: u32 = 0x0400;
const UNWRITTEN: u32 = 0x0800;
const SHARED: u32 = 0x2000;
const MOVING: u32 = UNKNOWN | DELALLOC | ENCODED | INLINE | TAIL | UNWRITTEN | SHARED;

/// Refuses a file of `length` bytes, for which `blocks` of 512 are counted, if writing it would change metadata.
///
/// FAT tells no extents; it also has no holes, so there the count of blocks is enough.
pub(crate) fn stay(fd: impl AsFd, length: u64, blocks: u64) -> Result<(), Fault> {
    if blocks.saturating_mul(512) < length {
        return Err(Fault::Blocks);
    }
    let extents = match sys::extents(fd, length) {
        Ok(extents) => extents,
        Err(Errno::NOTTY | Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(os("FS_IOC_FIEMAP")(errno)),
    };
    let mut end = 0;
    for extent in extents {
        if extent.logical > end || extent.flags & MOVING != 0 {
            return Err(Fault::Blocks);
        }
        end = extent.logical.saturating_add(extent.length);
    }
    if end < length { Err(Fault::Blocks) } else { Ok(()) }
}
