//! Links, addresses and routes of one network namespace.
//!
//! A link that is made for a container appears in its namespace under its name there, in one step: nobody ever sees it
//! half-way. What is told again and stands already is no error where this says so.

mod home;
mod inside;
mod links;
mod make;

use std::os::raw::c_int;

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::net::Protocol;

use crate::Error;
use crate::names::{Cidr, Mac, Name};
use crate::namespace::run_in;
use crate::socket::{Refusal, Socket};
use crate::wire::Writer;

pub use home::Home;
pub(crate) use links::octets;
pub use links::{LINKS_MAX, address, link};

/// `NETLINK_ROUTE`, whose number is 0.
const ROUTE: Option<Protocol> = None;

/// `RTM_…`
const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const LIST_LINKS: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const LIST_ADDRESSES: u16 = 22;
const NEW_ROUTE: u16 = 24;

/// `NLM_F_REPLACE`, `NLM_F_EXCL`, `NLM_F_CREATE`.
const REPLACE: u16 = 0x100;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;

/// `IFLA_…`
const LINK_MAC: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_MTU: u16 = 4;
const LINK_PARENT: u16 = 5;
const LINK_MASTER: u16 = 10;
const LINK_INFO: u16 = 18;
const LINK_NAMESPACE: u16 = 28;
const LINK_WANTED: u16 = 29;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;

/// `IFF_UP`
pub const UP: u32 = 1;

/// A socket that asks for links, addresses and routes of one network namespace.
#[derive(Debug)]
pub struct Route {
    socket: Socket,
}

/// A link, as the kernel describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its number, which it keeps as long as it stays in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `bridge`, `veth`, …; empty for hardware and the loopback.
    pub kind: String,
    /// `IFF_…`
    pub flags: u32,
    /// Its Ethernet address, if it has one.
    pub mac: Option<[u8; 6]>,
    /// The number of the bridge that it is a port of.
    pub master: Option<u32>,
    /// The longest packet, in bytes.
    pub mtu: u32,
    /// What somebody has noted of it.
    pub alias: String,
}

impl Link {
    /// Whether it is up.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.flags & UP != 0
    }
}

/// The end of a link that is inside a container.
#[derive(Clone, Copy, Debug)]
pub struct Inside<'a> {
    /// The network namespace of the container.
    pub namespace: BorrowedFd<'a>,
    /// Its name there.
    pub name: &'a Name,
    /// Its Ethernet address; `None`: what the kernel gives it, another one each time.
    pub mac: Option<Mac>,
    /// The longest packet, in bytes; `None`: that of its parent, or 1500.
    pub mtu: Option<u32>,
}

/// Which of the links on one parent may speak to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Macvlan {
    /// None.
    Private,
    /// All, through the switch that the parent is connected to, if that reflects.
    Vepa,
    /// All, directly.
    Bridge,
    /// There is only one, which has the parent for itself.
    Passthru,
}

/// What a link inside a container is given.
#[derive(Clone, Copy, Default, Debug)]
pub struct Setup<'a> {
    /// Its addresses, with the prefixes of their networks.
    pub addresses: &'a [Cidr],
    /// The ways to everything else.
    pub defaults: &'a [Way],
}

/// A way to everything else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// By a router. It need not be in a network of the link.
    By(std::net::IpAddr),
    /// Everybody is on the link, for IPv4.
    Link4,
    /// Everybody is on the link, for IPv6.
    Link6,
}

impl Route {
    /// For the namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel has no netlink, or no descriptor is left.
    pub fn open() -> Result<Self, Error> {
        let socket =
            Socket::open(ROUTE).map_err(|errno| error("netlink", "open a socket", "CONFIG_NET", errno.into()))?;
        Ok(Self { socket })
    }

    /// For another namespace, by way of a thread that enters it and ends.
    ///
    /// # Errors
    /// As for [`Self::open`], or the process may not enter it.
    pub fn open_in(namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        let socket = run_in(namespace, || Socket::open(ROUTE))?;
        Ok(Self { socket })
    }

    /// Has the kernel do something to an object.
    fn order(
        &mut self,
        (kind, flags): (u16, u16),
        object: &dyn std::fmt::Display,
        doing: &'static str,
        needs: &'static str,
        fill: &mut dyn FnMut(&mut Writer),
    ) -> Result<(), Error> {
        self.socket.order(kind, flags, fill).map_err(|refusal| error(object, doing, needs, refusal))
    }
}

/// `needs` is for an answer that says that the kernel lacks something.
pub(crate) fn error(
    object: impl std::fmt::Display,
    doing: &'static str,
    needs: &'static str,
    refusal: Refusal,
) -> Error {
    let is_lack = matches!(refusal.errno, Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::NOSYS);
    let needs = if is_lack { needs } else { "" };
    Error { object: object.to_string(), doing, errno: refusal.errno, detail: refusal.words, needs }
}

/// `struct ifinfomsg`: a link by its number, or 0, and flags that it is to have beside those that it has.
fn link_head(index: u32, flags: u32) -> [u8; 16] {
    link_change(index, flags, flags)
}

/// The same, and flags that it is no longer to have: those of `change` that are not in `flags`.
fn link_change(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let [i0, i1, i2, i3] = index.to_ne_bytes();
    let [f0, f1, f2, f3] = flags.to_ne_bytes();
    let [c0, c1, c2, c3] = change.to_ne_bytes();
    // AF_UNSPEC, and no type.
    [0, 0, 0, 0, i0, i1, i2, i3, f0, f1, f2, f3, c0, c1, c2, c3]
}

/// A descriptor as the kernel wants it.
fn number_of(fd: BorrowedFd<'_>) -> [u8; 4] {
    let number: c_int = rustix::fd::AsRawFd::as_raw_fd(&fd);
    number.to_ne_bytes()
}
