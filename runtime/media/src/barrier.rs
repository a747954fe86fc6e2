//! The barrier: what makes files visible to a reader that replays no file system journal.
//!
//! ```text
//!   write, fsync        data at home      metadata in the journal     a bootloader sees the old file
//!   barrier             data at home      metadata at home            a bootloader sees the new file
//! ```
//!
//! | file system | means | since |
//! |---|---|---|
//! | ext3, ext4 with a journal | `EXT4_IOC_CHECKPOINT` | Linux 5.14 |
//! | the same, and ext2 | `FIFREEZE`, then `FITHAW` | Linux 2.6.29 |
//! | ext4 without a journal, FAT | `syncfs`, then `fsync` of the directory | |
//! | any other | none: [`Fault::NoBarrier`] | |
//!
//! The `fsync` behind the `syncfs` is not for the data: FAT flushes the cache of the device in no other call.

use rustix::fd::AsFd;
use rustix::io::Errno;

use crate::error::{Fault, os};
use crate::sys::{self, Checkpoint};

const EXT: u64 = 0xEF53;
const FAT: u64 = 0x4D44;

/// How a file system brings everything home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Means {
    /// The file system's own order to empty its journal. Nobody has to wait longer than for a commit.
    Checkpoint,
    /// Freezing, which empties the journal too; until the thaw every other writer of this file system waits.
    Freeze,
    /// There is no journal: what is written is at home.
    WriteThrough,
}

impl Means {
    /// Finds out what the file system of this directory offers. Changes nothing.
    ///
    /// # Errors
    /// [`Fault::NoBarrier`] if there is nothing; or the kernel does not say (asking needs `CAP_SYS_ADMIN`).
    pub fn of(directory: impl AsFd) -> Result<Self, Fault> {
        let status = rustix::fs::fstatfs(&directory).map_err(os("fstatfs"))?;
        // The field is signed, and as wide as a word.
        match u64::try_from(status.f_type).unwrap_or(u64::MAX) {
            EXT => match sys::checkpoint(&directory, Checkpoint::Ask) {
                Ok(()) => Ok(Self::Checkpoint),
                Err(Errno::NODEV) => Ok(Self::WriteThrough),
                Err(Errno::NOTTY) => Ok(Self::Freeze),
                Err(errno) => Err(os("EXT4_IOC_CHECKPOINT")(errno)),
            },
            FAT => Ok(Self::WriteThrough),
            magic => Err(Fault::NoBarrier(magic)),
        }
    }

    /// Brings home what was synced before, data and names, and flushes the device.
    ///
    /// # Errors
    /// Nothing may be assumed to be visible. If `FITHAW` is what failed, the file system is still frozen.
    pub fn apply(self, directory: impl AsFd) -> Result<(), Fault> {
        match self {
            Self::Checkpoint => sys::checkpoint(directory, Checkpoint::Do).map_err(os("EXT4_IOC_CHECKPOINT")),
            Self::Freeze => {
                match sys::freeze(&directory) {
                    Ok(()) => {}
                    Err(Errno::BUSY) => return Err(Fault::Frozen),
                    Err(errno) => return Err(os("FIFREEZE")(errno)),
                }
                rustix::io::retry_on_intr(|| sys::thaw(&directory)).map_err(os("FITHAW"))
            }
            Self::WriteThrough => {
                rustix::fs::syncfs(&directory).map_err(os("syncfs"))?;
                rustix::fs::fsync(directory).map_err(os("fsync"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn where_no_barrier_is_known_none_is_claimed() {
        // procfs: a file system that no bootloader reads.
        let proc = File::open("/proc").unwrap();
        assert_eq!(Means::of(&proc), Err(Fault::NoBarrier(0x9FA0)));
    }
}
