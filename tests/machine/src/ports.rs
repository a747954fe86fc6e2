//! Ports of loopback that lead into a guest.
//!
//! Promise: a port stays the machine's from its plan to its end, also while it is off. A socket that is bound and does
//! not listen keeps the kernel from giving it to anybody else; QEMU binds beside it, because both allow that.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt};

use crate::error::{Error, Result};

pub(crate) struct Port {
    pub(crate) guest: u16,
    pub(crate) host: u16,
    _held: OwnedFd,
}

impl Port {
    /// A port for that of the guest: this one if nobody has it, else any.
    pub(crate) fn hold(guest: u16, wanted: Option<u16>) -> Result<Self> {
        let held = wanted.and_then(|wanted| bound(wanted).ok()).map_or_else(|| bound(0), Ok);
        let (held, host) = held.map_err(|error| Error::Plan(format!("no free port on loopback: {error}")))?;
        Ok(Self { guest, host, _held: held })
    }

    /// An option of QEMU's user network.
    pub(crate) fn option(&self) -> String {
        format!(",hostfwd=tcp:127.0.0.1:{}-:{}", self.host, self.guest)
    }
}

fn bound(port: u16) -> rustix::io::Result<(OwnedFd, u16)> {
    let held = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&held, true)?;
    bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    let address: SocketAddr = getsockname(&held)?.try_into()?;
    Ok((held, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_held_port_can_be_listened_at_and_one_that_somebody_has_is_not_taken() {
        let port = Port::hold(80, None).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port.host)).unwrap();
        let other = Port::hold(80, Some(listener.local_addr().unwrap().port())).unwrap();
        assert_ne!(other.host, port.host);
        assert_eq!(other.option(), format!(",hostfwd=tcp:127.0.0.1:{}-:80", other.host));
    }
}
