//! The console of a container that is a system, from outside: the controlling end of a terminal that the container has as
//! its input, its outputs and `/dev/console`.
//!
//! ```text
//!   PID 1 ◀── socket, descriptor 0 of the stage ── controlling end │ terminal in the container's own /dev/pts
//! ```
//!
//! It never becomes the controlling terminal of the process that holds it: nothing here opens one without `O_NOCTTY`.

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;

use crate::passing;

/// Takes the controlling end from [`Spawned::console`](crate::Spawned). `None`: there will be none, for the stage has
/// failed.
///
/// # Errors
/// `EAGAIN` where the socket does not wait and there is none yet; or nothing that this program has sent.
pub fn take(socket: impl AsFd) -> Result<Option<OwnedFd>, Errno> {
    Ok(passing::take(socket)?.map(|(_, terminal)| terminal))
}

/// Opens the other end, that of the container, once more. As long as somebody has it, what is written later arrives; a
/// terminal that was hung up is one again.
///
/// # Errors
/// The kernel refuses.
pub fn other_end(controlling: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    rustix::pty::ioctl_tiocgptpeer(controlling, flags)
}
