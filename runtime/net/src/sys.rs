//! The system calls that have no safe wrapper: options of netlink sockets, and a namespace of a thread's own.
//!
//! The only file of the crate with `unsafe` in it.
#![expect(unsafe_code, reason = "raw system calls; each block states why it is sound")]

use std::os::raw::c_int;

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

/// Has answers of a netlink socket carry words (`NETLINK_EXT_ACK`), and not the whole request (`NETLINK_CAP_ACK`).
pub(crate) fn netlink_options(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
        let on: c_int = 1;
        // SAFETY: the kernel reads one integer, which lives until the call returns.
        let done = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_NETLINK,
                option,
                (&raw const on).cast(),
                size_of::<c_int>() as libc::socklen_t,
            )
        };
        if done != 0 {
            return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
        }
    }
    Ok(())
}

/// Gives the calling thread a network namespace of its own.
pub(crate) fn unshare_network() -> Result<(), Errno> {
    // SAFETY: no file descriptor table is unshared, which is what the call warns of.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
}
