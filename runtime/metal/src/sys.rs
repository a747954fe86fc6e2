//! The ioctl that rustix does not wrap, and nothing else: it takes a descriptor and tells what the kernel said.

use std::os::raw::c_int;

use rustix::fd::AsFd;
use rustix::io::Result;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

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
