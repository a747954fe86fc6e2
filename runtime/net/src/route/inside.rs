//! Addresses and routes, and the state of links.

use std::net::{IpAddr, Ipv4Addr};

use rustix::io::Errno;

use super::{CREATE, DELETE_ADDRESS, NEW_ADDRESS, NEW_LINK, NEW_ROUTE, REPLACE, Route, Setup, UP, Way, link_head};
use crate::Error;
use crate::names::{Cidr, Name};
use crate::wire::Writer;

/// `IFA_…`
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const BROADCAST: u16 = 4;
/// `IFA_F_NODAD`: nobody else has it, which is known and need not be asked for a second long.
const NOT_ASKED: u8 = 2;

/// `RTA_…`
const BY_LINK: u16 = 4;
const GATEWAY: u16 = 5;
/// `RT_TABLE_MAIN`, `RTPROT_STATIC`, `RTN_UNICAST`, `RT_SCOPE_LINK`.
const MAIN: u8 = 254;
const STATIC: u8 = 4;
const UNICAST: u8 = 1;
const SCOPE_LINK: u8 = 253;
/// `RTNH_F_ONLINK`: the router is a neighbour, whatever the addresses say.
const ON_LINK: u32 = 4;

impl Route {
    /// Brings a link up.
    ///
    /// # Errors
    /// There is none of this name, or its driver refuses.
    pub fn up(&mut self, name: &Name) -> Result<(), Error> {
        let index = self.known("link", name, "bring it up")?.index;
        self.up_by(&format!("link {name}"), index)
    }

    fn up_by(&mut self, object: &str, index: u32) -> Result<(), Error> {
        self.order((NEW_LINK, 0), &object, "bring it up", "", &mut |writer| writer.raw(&link_head(index, UP)))
    }

    /// Gives a link these addresses and no others, brings it up, and leads to everything else by way of it. What stands
    /// already is no error.
    ///
    /// # Errors
    /// There is none of this name, or the kernel has none of a family that is asked for.
    pub fn configure(&mut self, name: &Name, setup: &Setup<'_>) -> Result<(), Error> {
        let object = format!("link {name}");
        let index = self.known("link", name, "give it addresses")?.index;
        self.set_addresses(&object, name, index, setup.addresses)?;
        // Routes are of links that are up.
        self.up_by(&object, index)?;
        setup.defaults.iter().try_for_each(|way| self.set_default(&object, index, *way))
    }

    /// Gives a link these addresses and no others, and leaves it up or down as it is.
    ///
    /// # Errors
    /// As for [`Self::configure`].
    pub fn assign(&mut self, name: &Name, addresses: &[Cidr]) -> Result<(), Error> {
        let index = self.known("link", name, "give it addresses")?.index;
        self.set_addresses(&format!("link {name}"), name, index, addresses)
    }

    pub(super) fn set_addresses(
        &mut self,
        object: &str,
        name: &Name,
        index: u32,
        wanted: &[Cidr],
    ) -> Result<(), Error> {
        let mut present = self.addresses_of(name)?;
        let before = present.len();
        for address in present.iter().filter(|address| !wanted.contains(address)) {
            self.address((DELETE_ADDRESS, 0), object, "take an address away", index, *address)?;
        }
        present.retain(|address| wanted.contains(address));
        if present.len() != before {
            // With the first address of a network the kernel takes all others of it away.
            present = self.addresses_of(name)?;
        }
        for address in wanted.iter().filter(|address| !present.contains(address)) {
            self.address((NEW_ADDRESS, CREATE | REPLACE), object, "give it an address", index, *address)?;
        }
        Ok(())
    }

    fn address(
        &mut self,
        kind: (u16, u16),
        object: &str,
        doing: &'static str,
        index: u32,
        cidr: Cidr,
    ) -> Result<(), Error> {
        let [i0, i1, i2, i3] = index.to_ne_bytes();
        let (family, flags) = if cidr.address().is_ipv4() { (libc::AF_INET, 0) } else { (libc::AF_INET6, NOT_ASKED) };
        let done = self.order(kind, &object, doing, option(cidr.address()), &mut |writer| {
            // `struct ifaddrmsg`
            writer.raw(&[family as u8, cidr.prefix(), flags, 0, i0, i1, i2, i3]);
            address_attribute(writer, LOCAL, cidr.address());
            address_attribute(writer, ADDRESS, cidr.address());
            if let Some(last) = broadcast(cidr) {
                writer.attribute(BROADCAST, &last.octets());
            }
        });
        done.map_err(|error| Error { object: format!("{object}, address {cidr}"), ..error })
    }

    fn set_default(&mut self, object: &str, index: u32, way: Way) -> Result<(), Error> {
        let added = self.route(object, index, way, 0);
        match (way, added) {
            // A router outside of the networks of the link, as those have whose container has a /32.
            (Way::By(_), Err(Error { errno: Errno::NETUNREACH | Errno::HOSTUNREACH, .. })) => {
                self.route(object, index, way, ON_LINK)
            }
            (_, added) => added,
        }
    }

    fn route(&mut self, object: &str, index: u32, way: Way, flags: u32) -> Result<(), Error> {
        let (any, by) = match way {
            Way::By(router) => (router, Some(router)),
            Way::Link4 => (Ipv4Addr::UNSPECIFIED.into(), None),
            Way::Link6 => (std::net::Ipv6Addr::UNSPECIFIED.into(), None),
        };
        let family = if any.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let scope = if by.is_some() { 0 } else { SCOPE_LINK };
        let done = self.order(
            (NEW_ROUTE, CREATE | REPLACE),
            &object,
            "lead to everything else by it",
            option(any),
            &mut |writer| {
                // `struct rtmsg`
                writer.raw(&[family as u8, 0, 0, 0, MAIN, STATIC, scope, UNICAST]);
                writer.raw(&flags.to_ne_bytes());
                if let Some(by) = by {
                    address_attribute(writer, GATEWAY, by);
                }
                writer.attribute(BY_LINK, &index.to_ne_bytes());
            },
        );
        done.map_err(|error| match by {
            Some(by) => Error { object: format!("{object}, router {by}"), ..error },
            None => error,
        })
    }

    /// Gives a link that is down another name.
    ///
    /// # Errors
    /// There is none of this name, or another has the new one.
    pub fn rename(&mut self, name: &Name, new: &Name) -> Result<(), Error> {
        let index = self.known("link", name, "rename it")?.index;
        self.order((NEW_LINK, 0), &format_args!("link {name}"), "rename it", "", &mut |writer| {
            writer.raw(&link_head(index, 0));
            writer.text(super::LINK_NAME, new.as_str());
        })
        .map_err(|refused| Error { object: format!("link {name}, then {new}"), ..refused })
    }
}

fn address_attribute(writer: &mut Writer, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(address) => writer.attribute(kind, &address.octets()),
        IpAddr::V6(address) => writer.attribute(kind, &address.octets()),
    }
}

/// The address that means everybody of a network, if that has one: the last of a network of four or more.
fn broadcast(cidr: Cidr) -> Option<Ipv4Addr> {
    match (cidr.address(), cidr.mask()) {
        (IpAddr::V4(address), IpAddr::V4(mask)) if cidr.prefix() <= 30 => Some(address | !mask),
        _ => None,
    }
}

fn option(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "CONFIG_INET" } else { "CONFIG_IPV6" }
}
