//! The ioctls that rustix does not wrap, and nothing else: each takes a descriptor and tells what the kernel said.

use std::os::raw::c_int;

use rustix::fd::AsFd;
use rustix::io::Result;
use rustix::ioctl::{Getter, Opcode, Setter, Updater, ioctl, opcode};

/// `WDIOC_SETTIMEOUT` of `linux/watchdog.h`.
const SET_TIMEOUT: Opcode = opcode::read_write::<c_int>(b'W', 6);

/// Asks for a time in seconds, and says which one the watchdog has taken.
pub(crate) fn set_timeout(fd: impl AsFd, seconds: c_int) -> Result<c_int> {
    let mut seconds = seconds;
    // SAFETY: the kernel reads and writes one `int` behind the pointer, which lives as long as the call, and keeps
    // nothing.
    unsafe { ioctl(fd, Updater::<SET_TIMEOUT, c_int>::new(&mut seconds)) }?;
    Ok(seconds)
}

/// `WDIOC_GETBOOTSTATUS` of `linux/watchdog.h`.
const BOOT_STATUS: Opcode = opcode::read::<c_int>(b'W', 2);

/// What a watchdog knows about the boot before: bits `WDIOF_…`.
pub(crate) fn boot_status(fd: impl AsFd) -> Result<c_int> {
    // SAFETY: the kernel writes one `int` and keeps nothing.
    unsafe { ioctl(fd, Getter::<BOOT_STATUS, c_int>::new()) }
}

/// `struct blkpg_partition` of `linux/blkpg.h`.
#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    number: c_int,
    names: [u8; 128],
}

/// `struct blkpg_ioctl_arg` of `linux/blkpg.h`.
#[repr(C)]
struct BlkpgArg {
    operation: c_int,
    flags: c_int,
    length: c_int,
    data: *const BlkpgPartition,
}

/// `BLKPG` of `linux/blkpg.h`.
const BLKPG: Opcode = opcode::none(0x12, 105);

/// `BLKPG_RESIZE_PARTITION`.
const RESIZE_PARTITION: c_int = 3;

/// Tells the kernel how large a partition of this disk is, also while it is mounted. In bytes.
pub(crate) fn resize_partition(disk: impl AsFd, number: c_int, start: i64, length: i64) -> Result<()> {
    let partition = BlkpgPartition { start, length, number, names: [0; 128] };
    let size = size_of::<BlkpgPartition>() as c_int;
    let arg = BlkpgArg { operation: RESIZE_PARTITION, flags: 0, length: size, data: &raw const partition };
    // SAFETY: the kernel reads both structures, which have its shape and live as long as the call, and keeps nothing.
    unsafe { ioctl(disk, Setter::<BLKPG, BlkpgArg>::new(arg)) }
}

/// `EXT4_IOC_RESIZE_FS` of the kernel's `fs/ext4/ext4.h`.
const RESIZE_FS: Opcode = opcode::write::<u64>(b'f', 16);

/// Makes a mounted ext4 larger, up to so many blocks.
pub(crate) fn resize_ext4(directory: impl AsFd, blocks: u64) -> Result<()> {
    // SAFETY: the kernel reads one `u64`, which lives as long as the call, and keeps nothing.
    unsafe { ioctl(directory, Setter::<RESIZE_FS, u64>::new(blocks)) }
}

/// `RNDADDENTROPY` of `linux/random.h`: encoded there as if it took two numbers.
const ADD_ENTROPY: Opcode = opcode::write::<[c_int; 2]>(b'R', 3);

/// `struct rand_pool_info` with its bytes behind it.
#[repr(C)]
struct PoolInfo {
    bits: c_int,
    size: c_int,
    bytes: [u8; 32],
}

/// Mixes bytes into the pool of random numbers, and has it count that many bits of them as unknown to everybody.
pub(crate) fn add_entropy(fd: impl AsFd, bytes: [u8; 32], bits: c_int) -> Result<()> {
    let info = PoolInfo { bits, size: 32, bytes };
    // SAFETY: the kernel reads two `int` and then as many bytes as the second says, which is the length of the array
    // behind it, and keeps nothing.
    unsafe { ioctl(fd, Setter::<ADD_ENTROPY, PoolInfo>::new(info)) }
}
