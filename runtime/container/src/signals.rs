//! Signals of PID 1 as something to read: nothing runs in a handler.

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

use crate::sys;

/// What a signal says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// A child has ended, perhaps more than one.
    Child,
    /// Somebody wants another boot: `SIGINT`, which is the kernel's word for Ctrl-Alt-Del.
    Restart,
    /// Somebody wants an end: `SIGTERM`.
    End,
}

/// Bytes of a `struct signalfd_siginfo`.
const RECORD: usize = 128;

/// A descriptor that is readable when there is a signal. To be opened before the first thread, since every thread has
/// to block these signals.
///
/// # Errors
/// The kernel refuses.
pub fn open() -> Result<OwnedFd, Errno> {
    sys::signal_descriptor(&[libc::SIGCHLD, libc::SIGINT, libc::SIGTERM])
}

/// What a process hears that has a terminal, or stands for one.
pub const OF_A_TERMINAL: &[i32] = &[libc::SIGINT, libc::SIGTERM, libc::SIGQUIT, HANG_UP, WINDOW_CHANGED];

/// The terminal is gone.
pub const HANG_UP: i32 = libc::SIGHUP;

/// The terminal has another size.
pub const WINDOW_CHANGED: i32 = libc::SIGWINCH;

/// The same for other signals.
///
/// # Errors
/// The kernel refuses.
pub fn open_for(signals: &[i32]) -> Result<OwnedFd, Errno> {
    sys::signal_descriptor(signals)
}

/// The next signal, or `None` if there is none now. Never waits.
///
/// # Errors
/// The descriptor is no longer usable.
pub fn next(fd: impl AsFd) -> Result<Option<Told>, Errno> {
    Ok(number(fd)?.map(|number| match number {
        libc::SIGINT => Told::Restart,
        libc::SIGTERM => Told::End,
        _ => Told::Child,
    }))
}

/// The number of the next signal, or `None` if there is none now. Never waits.
///
/// # Errors
/// The descriptor is no longer usable.
pub fn number(fd: impl AsFd) -> Result<Option<i32>, Errno> {
    let mut record = [0; RECORD];
    match rustix::io::read(fd, &mut record) {
        Ok(_) => {}
        Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    let [a, b, c, d, ..] = record;
    Ok(Some(i32::from_ne_bytes([a, b, c, d])))
}
