//! The ioctls that rustix does not wrap, and nothing else: each takes a descriptor and tells what the kernel said.

use rustix::fd::AsFd;
use rustix::io::Result;
use rustix::ioctl::{NoArg, Opcode, Setter, Updater, ioctl, opcode};

/// `EXT4_IOC_CHECKPOINT` of `linux/ext4.h`, since Linux 5.14.
const CHECKPOINT: Opcode = opcode::write::<u32>(b'f', 43);
/// `FIFREEZE`, `FITHAW` and `FS_IOC_FIEMAP` of `linux/fs.h`; the first two ignore their argument.
const FREEZE: Opcode = opcode::read_write::<i32>(b'X', 119);
const THAW: Opcode = opcode::read_write::<i32>(b'X', 120);
const FIEMAP: Opcode = opcode::read_write::<MapHead>(b'f', 11);

/// What a checkpoint should do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Checkpoint {
    /// Only say whether it could be done (`EXT4_IOC_CHECKPOINT_FLAG_DRY_RUN`).
    Ask = 4,
    /// Commit what runs, write everything in the journal home, flush the device, empty the journal.
    Do = 0,
}

pub(crate) fn checkpoint(fd: impl AsFd, what: Checkpoint) -> Result<()> {
    // SAFETY: the kernel reads one `u32` of flags from the pointer, which lives as long as the call, and keeps nothing.
    unsafe { ioctl(fd, Setter::<CHECKPOINT, u32>::new(what as u32)) }
}

pub(crate) fn freeze(fd: impl AsFd) -> Result<()> {
    // SAFETY: the kernel ignores the argument.
    unsafe { ioctl(fd, NoArg::<FREEZE>::new()) }
}

pub(crate) fn thaw(fd: impl AsFd) -> Result<()> {
    // SAFETY: the kernel ignores the argument.
    unsafe { ioctl(fd, NoArg::<THAW>::new()) }
}

/// `struct fiemap` of `linux/fiemap.h` up to its extents.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct MapHead {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    room: u32,
    reserved: u32,
}

/// `struct fiemap_extent`: a piece of a file, in bytes.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Extent {
    pub(crate) logical: u64,
    pub(crate) physical: u64,
    pub(crate) length: u64,
    reserved64: [u64; 2],
    pub(crate) flags: u32,
    reserved: [u32; 3],
}

/// How many extents are asked for at once; a boot cell has one.
const EXTENTS: usize = 16;

#[repr(C)]
struct Map {
    head: MapHead,
    extents: [Extent; EXTENTS],
}

/// The extents of the first `length` bytes of a file, up to [`EXTENTS`] of them.
pub(crate) fn extents(fd: impl AsFd, length: u64) -> Result<Vec<Extent>> {
    let head = MapHead { length, room: EXTENTS as u32, ..MapHead::default() };
    let mut map = Map { head, extents: [Extent::default(); EXTENTS] };
    // SAFETY: `Map` is a `struct fiemap` with room for as many extents as its head says; the kernel writes no more
    // than that, and only plain integers.
    unsafe { ioctl(fd, Updater::<FIEMAP, Map>::new(&mut map)) }?;
    let mapped = usize::try_from(map.head.mapped).unwrap_or(EXTENTS).min(EXTENTS);
    Ok(map.extents.get(..mapped).unwrap_or_default().to_vec())
}

const _: () = assert!(size_of::<MapHead>() == 32 && size_of::<Extent>() == 56);
