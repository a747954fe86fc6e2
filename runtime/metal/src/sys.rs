//! The ioctls that rustix does not wrap, and nothing else: each takes a descriptor and tells what the kernel said.

use std::ffi::c_void;
use std::os::raw::c_int;

use rustix::fd::AsFd;
use rustix::io::Result;
use rustix::ioctl::{Getter, Ioctl, IoctlOutput, Opcode, Setter, Updater, ioctl, opcode};

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

/// `struct mtd_info_user` of `mtd/mtd-abi.h`. What has an underscore is told better elsewhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct MtdInfo {
    _kind: u8,
    _flags: u32,
    /// The lower half, where it has more than 32 bits.
    pub(crate) size: u32,
    pub(crate) erase_size: u32,
    pub(crate) write_size: u32,
    _oob_size: u32,
    _padding: u64,
}

/// `MEMGETINFO` of `mtd/mtd-abi.h`, as are the others behind it.
const MTD_INFO: Opcode = opcode::read::<MtdInfo>(b'M', 1);

/// What an MTD device says of itself.
pub(crate) fn mtd_info(fd: impl AsFd) -> Result<MtdInfo> {
    // SAFETY: the kernel writes one such structure, of which every bit pattern is a value, and keeps nothing.
    unsafe { ioctl(fd, Getter::<MTD_INFO, MtdInfo>::new()) }
}

/// `MEMERASE64`, with a `struct erase_info_user64`.
const MTD_ERASE: Opcode = opcode::write::<[u64; 2]>(b'M', 20);

/// Erases so many bytes from this one on, and waits until it is done.
pub(crate) fn mtd_erase(fd: impl AsFd, start: u64, length: u64) -> Result<()> {
    // SAFETY: the kernel reads two `u64`, which live as long as the call, and keeps nothing.
    unsafe { ioctl(fd, Setter::<MTD_ERASE, [u64; 2]>::new([start, length])) }
}

/// `MEMUNLOCK`, with a `struct erase_info_user`.
const MTD_UNLOCK: Opcode = opcode::write::<[u32; 2]>(b'M', 6);

/// Lets a range be written.
pub(crate) fn mtd_unlock(fd: impl AsFd, start: u32, length: u32) -> Result<()> {
    // SAFETY: the kernel reads two `u32`, which live as long as the call, and keeps nothing.
    unsafe { ioctl(fd, Setter::<MTD_UNLOCK, [u32; 2]>::new([start, length])) }
}

/// `MEMGETBADBLOCK`, whose answer is what the call returns.
struct BadBlock(i64);

// SAFETY: the opcode takes a pointer to one `i64`, which the kernel reads and never writes, and keeps nothing.
unsafe impl Ioctl for BadBlock {
    type Output = bool;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        opcode::write::<i64>(b'M', 11)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(answer: IoctlOutput, _: *mut c_void) -> Result<bool> {
        Ok(answer != 0)
    }
}

/// Whether the erase block at this byte is marked as bad. Where there are no such marks, none is.
pub(crate) fn mtd_is_bad(fd: impl AsFd, at: i64) -> Result<bool> {
    // SAFETY: as the trait is implemented above.
    unsafe { ioctl(fd, BadBlock(at)) }
}

/// `struct mmc_ioc_cmd` of `linux/mmc/ioctl.h`.
#[repr(C)]
#[derive(Default)]
struct MmcCommand {
    write: c_int,
    application: c_int,
    opcode: u32,
    argument: u32,
    response: [u32; 4],
    flags: u32,
    block_size: u32,
    blocks: u32,
    sleep_min: u32,
    sleep_max: u32,
    data_timeout: u32,
    timeout: u32,
    padding: u32,
    data: u64,
}

/// `MMC_IOC_CMD` of `linux/mmc/ioctl.h`: for the node of a whole eMMC, and `CAP_SYS_RAWIO`.
const MMC_COMMAND: Opcode = opcode::read_write::<MmcCommand>(179, 0);

/// Flags of `linux/mmc/core.h`, for the native bus and for SPI: an answer `R1` with a block of data.
const R1_WITH_DATA: u32 = 1 | 1 << 2 | 1 << 4 | 1 << 7 | 1 << 5;

/// An answer `R1b`, after which the eMMC may be busy.
const R1_BUSY: u32 = 1 | 1 << 2 | 1 << 4 | 1 << 3 | 1 << 7 | 1 << 10;

/// `SEND_EXT_CSD`: reads the registers of an eMMC.
pub(crate) fn ext_csd(disk: impl AsFd) -> Result<[u8; 512]> {
    let mut register = [0; 512];
    let data = register.as_mut_ptr().expose_provenance() as u64;
    let mut command =
        MmcCommand { opcode: 8, flags: R1_WITH_DATA, block_size: 512, blocks: 1, data, ..MmcCommand::default() };
    // SAFETY: the kernel reads and writes one structure, which has its shape, and writes one block of 512 bytes to where
    // that points; both live as long as the call, and it keeps nothing.
    unsafe { ioctl(disk, Updater::<MMC_COMMAND, MmcCommand>::new(&mut command)) }?;
    Ok(register)
}

/// `SWITCH`: writes one byte of those registers. That it was taken is only known by reading it.
pub(crate) fn write_ext_csd(disk: impl AsFd, index: u8, value: u8) -> Result<()> {
    /// Access `Write Byte`, and the command set that every eMMC has.
    const WRITE_BYTE: u32 = 0b11 << 24 | 1;
    let argument = WRITE_BYTE | u32::from(index) << 16 | u32::from(value) << 8;
    let mut command = MmcCommand { write: 1, opcode: 6, argument, flags: R1_BUSY, ..MmcCommand::default() };
    // SAFETY: the kernel reads and writes one structure, which has its shape and no data, lives as long as the call, and
    // it keeps nothing.
    unsafe { ioctl(disk, Updater::<MMC_COMMAND, MmcCommand>::new(&mut command)) }
}

const _: () = assert!(size_of::<MmcCommand>() == 72);
