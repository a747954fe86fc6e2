//! The two things that have no safe wrapper: the descriptor that this process is started with, and the filter of its
//! system calls. The only file of the crate with `unsafe` in it.
#![expect(unsafe_code, reason = "a descriptor by its number and a raw prctl; each block states why it is sound")]

use std::io;

use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::net::{SocketType, sockopt};

/// Where PID 1 leaves its end of the channel.
const CHANNEL: RawFd = 3;

/// Takes the channel.
///
/// # Errors
/// If there is none, or something else in its place.
pub(crate) fn channel() -> io::Result<OwnedFd> {
    let wrong = |error: &str| io::Error::other(format!("descriptor {CHANNEL} is not the channel to PID 1: {error}"));
    // SAFETY: only looked at, and for this call only; a number without a descriptor is an error of that call.
    let found = sockopt::socket_type(unsafe { BorrowedFd::borrow_raw(CHANNEL) });
    match found {
        // SAFETY: it is open, as was just seen. This is called once, first of all, so nobody else has taken it.
        Ok(SocketType::SEQPACKET) => Ok(unsafe { OwnedFd::from_raw_fd(CHANNEL) }),
        Ok(_) => Err(wrong("it is another kind of socket")),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

/// Filters the system calls of this thread and of all that it starts, for ever.
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> Result<(), Errno> {
    let len = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    // The kernel only reads it, though the type says otherwise.
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program and its instructions live until the call returns, which copies them; the length is theirs.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0) };
    if done == 0 { Ok(()) } else { Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)) }
}
