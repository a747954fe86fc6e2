//! What the kernel says of devices that come and go, as a hint to look again.
//!
//! ```text
//!   NETLINK_KOBJECT_UEVENT ─▶ does it come or go, and has it a node? ─▶ Message::DevicesChanged
//! ```
//!
//! Nothing is taken from a message but that: what there is, `/sys` says. So one that is lost because many came at once is
//! missed by nobody, and one that somebody else has sent costs a look. Who comes in a row is looked at once.

use std::time::Duration;

use formats::mdev::{UEVENT_MAX, is_about_a_node};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use smol::channel::Sender;
use smol::{Async, LocalExecutor, Timer};

use crate::core::Message;

/// The group of what the kernel itself sends; another is that of udev.
const KERNEL: u32 = 1;

/// For how long others of a row may follow before anything is looked at.
const ROW: Duration = Duration::from_millis(50);

/// Where the messages arrive from now on. Never waits.
///
/// # Errors
/// The kernel has no such messages.
pub fn open() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
    bind(&socket, &SocketAddrNetlink::new(0, KERNEL))?;
    Ok(socket)
}

/// Begins to listen, for as long as the loop runs. Costs nothing while nothing comes or goes.
///
/// # Errors
/// As for [`open`].
pub fn listen(tasks: &LocalExecutor<'_>, tell: Sender<Message>) -> Result<(), Errno> {
    let socket = Async::new(open()?).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let task = tasks.spawn(async move {
        while socket.readable().await.is_ok() {
            let Ok(mut changed) = drain(&socket) else { break };
            if !changed {
                continue;
            }
            Timer::after(ROW).await;
            changed &= drain(&socket).is_ok();
            if !changed || tell.send(Message::DevicesChanged).await.is_err() {
                break;
            }
        }
    });
    task.detach();
    Ok(())
}

/// Takes all that has come; whether something of it is worth a look.
///
/// # Errors
/// Nothing will come any more.
pub fn drain(socket: impl AsFd) -> Result<bool, Errno> {
    let mut changed = false;
    let mut message = [0; UEVENT_MAX];
    loop {
        match recv(&socket, &mut message, RecvFlags::empty()) {
            Ok((length, _)) => changed |= is_about_a_node(message.get(..length).unwrap_or_default()),
            // More came than the kernel keeps.
            Err(Errno::NOBUFS) => changed = true,
            Err(Errno::AGAIN) => return Ok(changed),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
