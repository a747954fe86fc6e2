//! The last partition and its ext4 as large as their disk: an image is made for the smallest one.
//!
//! ```text
//!   table on the disk ──▶ the kernel's partition ──▶ file system, in steps while it is mounted
//! ```
//!
//! Each of the three asks the one before how large it may be, so a power cut between them is made good by the next boot,
//! and where all agree nothing is written. What is there already keeps its place.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use boards_api::media::Sectors;
use rustix::io::Errno;

use crate::disks::Device;
use crate::gpt::{self, GptError};
use crate::sys;

/// A file system grows by as much in one step: each has inode tables to write, and the watchdog wants to be fed.
const STEP: u64 = 2 << 30;

/// Less than that is no room: tables and file systems count in larger units.
const LEAST: u64 = 1 << 20;

/// Why something stays as large as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GrowError<E> {
    /// The partition table.
    Table(GptError<E>),
    /// The device is not a partition, or its kernel does not tell where it starts.
    NoPartition(String),
    /// The kernel does not take the new size of the partition; the next boot does.
    Partition(Errno),
    /// What is mounted is no ext4 that says how large it is.
    NoExt4,
    /// The kernel does not make the file system larger.
    Ext4(Errno),
}

impl<E: fmt::Display> fmt::Display for GrowError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(error) => error.fmt(f),
            Self::NoPartition(device) => write!(f, "{device} is no partition whose place is known"),
            Self::Partition(errno) => write!(f, "the kernel keeps the old size of the partition for now: {errno}"),
            Self::NoExt4 => f.write_str("it holds no ext4"),
            Self::Ext4(errno) => write!(f, "the file system keeps its size: {errno}"),
        }
    }
}

impl<E: std::error::Error> std::error::Error for GrowError<E> {}

/// Makes the partition as large as `disk` lets it be, in the table and for the kernel. Tells how many bytes it has then.
///
/// # Errors
/// [`GrowError`]; nothing is lost by any of them.
pub fn partition<S: Sectors>(disk: &mut S, node: &Path, device: &Device) -> Result<u64, GrowError<S::Error>> {
    let unknown = || GrowError::NoPartition(device.name.clone());
    let part = device.part.as_ref().ok_or_else(unknown)?;
    let bytes = gpt::grow_last(disk, part.number).map_err(GrowError::Table)?;
    if bytes <= device.size {
        return Ok(device.size);
    }
    let start = part.start.ok_or_else(unknown)?;
    let (Ok(number), Ok(start), Ok(length)) = (i32::try_from(part.number), i64::try_from(start), i64::try_from(bytes))
    else {
        return Err(unknown());
    };
    let node = File::open(node).map_err(|error| GrowError::Partition(errno(&error)))?;
    sys::resize_partition(&node, number, start, length).map_err(GrowError::Partition)?;
    Ok(bytes)
}

/// Makes the mounted ext4 as large as its partition of so many bytes; `pause` is called between steps. Tells how many
/// bytes it had and has, if that is not the same.
///
/// # Errors
/// [`GrowError::NoExt4`] and [`GrowError::Ext4`].
pub fn ext4<E>(
    node: &Path,
    mounted: &Path,
    bytes: u64,
    pause: &mut dyn FnMut(),
) -> Result<Option<(u64, u64)>, GrowError<E>> {
    let (block, blocks) = geometry(node).ok_or(GrowError::NoExt4)?;
    let before = blocks.saturating_mul(block);
    if bytes < before.saturating_add(LEAST) {
        return Ok(None);
    }
    let directory = File::open(mounted).map_err(|error| GrowError::Ext4(errno(&error)))?;
    let mut reached = before;
    while reached < bytes {
        reached = reached.saturating_add(STEP).min(bytes);
        sys::resize_ext4(&directory, reached / block).map_err(GrowError::Ext4)?;
        pause();
    }
    Ok(Some((before, bytes)))
}

fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

/// Bytes of a block, and how many there are, as a superblock says that is 1024 bytes from the start. The kernel keeps
/// that up to date while it is mounted.
fn geometry(node: &Path) -> Option<(u64, u64)> {
    let mut bytes = [0; 512];
    File::open(node).ok()?.read_exact_at(&mut bytes, 1024).ok()?;
    decode(&bytes)
}

/// The first half of the superblock has all that is asked for. Source: `Documentation/filesystems/ext4/super.rst`.
fn decode(bytes: &[u8; 512]) -> Option<(u64, u64)> {
    const MAGIC: u16 = 0xEF53;
    const HAS_64_BITS: u32 = 0x80;
    let le32 = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let magic = u16::from_le_bytes(*bytes.get(56..)?.first_chunk()?);
    let shift = le32(24)?;
    // Blocks have 1 KiB to 64 KiB.
    if magic != MAGIC || shift > 6 {
        return None;
    }
    let high = if le32(96)? & HAS_64_BITS == 0 { 0 } else { le32(336)? };
    Some((1024 << shift, u64::from(high) << 32 | u64::from(le32(4)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock() -> [u8; 512] {
        let mut bytes = [0; 512];
        bytes[4..8].copy_from_slice(&0x1234_5678_u32.to_le_bytes());
        bytes[24] = 2;
        bytes[56..58].copy_from_slice(&[0x53, 0xEF]);
        bytes[336] = 3;
        bytes
    }

    #[test]
    fn a_superblock_says_its_blocks_and_the_high_half_only_where_it_counts() {
        let mut bytes = superblock();
        assert_eq!(decode(&bytes), Some((4096, 0x1234_5678)));
        bytes[96] = 0x80;
        assert_eq!(decode(&bytes), Some((4096, 0x3_1234_5678)));
    }

    #[test]
    fn what_is_no_superblock_has_no_size() {
        for (at, value) in [(56, 0), (24, 7), (27, 1)] {
            let mut bytes = superblock();
            bytes[at] = value;
            assert_eq!(decode(&bytes), None, "byte {at}");
        }
    }

    #[test]
    fn a_file_system_that_fits_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let node = dir.path().join("node");
        let mut bytes = vec![0; 1024];
        let mut block = superblock();
        block[4..8].copy_from_slice(&256_u32.to_le_bytes());
        bytes.extend(block);
        std::fs::write(&node, bytes).unwrap();
        let never = dir.path().join("nothing is mounted here");
        for size in [1 << 20, (1 << 20) + 4096, 1000] {
            assert_eq!(ext4::<Errno>(&node, &never, size, &mut || panic!("a step")), Ok(None));
        }
        assert_eq!(ext4::<Errno>(&node, &never, 2 << 20, &mut || ()), Err(GrowError::Ext4(Errno::NOENT)));
        assert_eq!(ext4::<Errno>(&never, &never, 2 << 20, &mut || ()), Err(GrowError::NoExt4));
    }
}
