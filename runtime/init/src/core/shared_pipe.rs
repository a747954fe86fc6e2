//! A few bytes for a pipe that somebody else has open, too.
//!
//! Whether a write waits is a property of the open file, which all share who have it. Whoever handed it over can make it wait
//! and fill it, and PID 1 would stand still. So a pipe of its own is filled, and moved over on the condition that
//! nothing is waited for, which is a property of the call.

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

/// Puts all bytes, at most a page of them, or tells why not.
///
/// # Errors
/// `EAGAIN`: it is full. Or nobody reads, or it is no pipe.
pub(super) fn put(to: impl AsFd, bytes: &[u8]) -> Result<(), Errno> {
    let (from, own) = pipe_with(PipeFlags::CLOEXEC)?;
    let length = rustix::io::write(&own, bytes)?;
    let moved = splice(&from, None, to, None, length, SpliceFlags::NONBLOCK)?;
    if moved < bytes.len() { Err(Errno::AGAIN) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{OFlags, fcntl_setfl};

    use super::*;

    #[test]
    fn what_fits_arrives_behind_what_is_there() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        rustix::io::write(&write, b"one ").unwrap();
        put(&write, b"two").unwrap();
        let mut bytes = [0; 16];
        // A pipe may keep pieces apart.
        let first = rustix::io::read(&read, &mut bytes).unwrap();
        let rest = if first < 7 { rustix::io::read(&read, &mut bytes[first..]).unwrap() } else { 0 };
        assert_eq!(&bytes[..first + rest], b"one two");
    }

    /// As somebody would make it who wants PID 1 to wait.
    #[test]
    fn a_full_pipe_that_waits_is_not_waited_for() {
        let (_read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        while rustix::io::write(&write, &[0; 4096]).is_ok() {}
        fcntl_setfl(&write, OFlags::empty()).unwrap();
        assert_eq!(put(&write, b"exit 0\n"), Err(Errno::AGAIN));
    }

    #[test]
    fn whoever_has_gone_is_told_of() {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        drop(read);
        assert_eq!(put(&write, b"exit 0\n"), Err(Errno::PIPE));
    }
}
