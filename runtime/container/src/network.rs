//! What containers need of the device's network: its loopback.

use rustix::fd::AsFd as _;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::sys;

/// Brings an interface of this network namespace up.
///
/// # Errors
/// There is none of this name, or the process may not.
pub fn bring_up(name: &str) -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let up = u16::try_from(libc::IFF_UP).map_err(|_| Errno::INVAL)?;
    sys::interface_set_flags(socket.as_fd(), name.as_bytes(), up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        assert_eq!(bring_up("none such"), Err(Errno::NODEV));
        assert_eq!(bring_up("a name that is far too long"), Err(Errno::NAMETOOLONG));
    }
}
