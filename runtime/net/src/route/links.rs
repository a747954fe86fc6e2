//! Which links there are, and what addresses they have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use super::{
    INFO_KIND, LINK_INFO, LINK_MAC, LINK_MASTER, LINK_MTU, LINK_NAME, LINK_WANTED, LIST_ADDRESSES, LIST_LINKS, Link,
    Route, error, link_head,
};
use crate::Error;
use crate::names::{Cidr, Name};
use crate::socket::Refusal;
use crate::wire::{Malformed, Writer, attributes, text};

/// The most links of one namespace that are looked at.
pub const LINKS_MAX: usize = 4096;
/// The most addresses of one link.
const ADDRESSES_MAX: usize = 256;

/// `RTEXT_FILTER_SKIP_STATS`: counters are most of what a link is described with.
const WITHOUT_COUNTERS: u32 = 1 << 3;
/// `IFA_ADDRESS`, `IFA_LOCAL`: the latter is the link's own where the former is the other end's.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;

impl Route {
    /// All links of the namespace, in the order of their numbers.
    ///
    /// # Errors
    /// There are more than [`LINKS_MAX`], or no memory is left.
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let mut head = Writer::new();
        described(&mut head, None);
        let head = head.finish().unwrap_or_default();
        let links = self.socket.list(LIST_LINKS, &head, LINKS_MAX, &|payload| link(payload).map(Some));
        links.map_err(|refusal| error("links", "list them", "CONFIG_NET", refusal))
    }

    /// The link of this name.
    ///
    /// # Errors
    /// No memory is left.
    pub fn find(&mut self, name: &Name) -> Result<Option<Link>, Error> {
        self.look(&format_args!("link {name}"), &mut |writer| described(writer, Some(name)))
    }

    /// The link of this number.
    ///
    /// # Errors
    /// No memory is left.
    pub fn by_index(&mut self, index: u32) -> Result<Option<Link>, Error> {
        self.look(&format_args!("link number {index}"), &mut |writer| {
            writer.raw(&link_head(index, 0));
            writer.attribute(LINK_WANTED, &WITHOUT_COUNTERS.to_ne_bytes());
        })
    }

    fn look(
        &mut self,
        object: &dyn std::fmt::Display,
        fill: &mut dyn FnMut(&mut Writer),
    ) -> Result<Option<Link>, Error> {
        let mut found = None;
        let asked = self.socket.ask(LIST_LINKS, fill, &mut |payload| {
            found = Some(link(payload)?);
            Ok(())
        });
        match asked {
            Err(Refusal { errno: Errno::NODEV, .. }) => Ok(None),
            asked => asked.map(|()| found).map_err(|refusal| error(object, "look for it", "CONFIG_NET", refusal)),
        }
    }

    /// The link of this name, which has to be there.
    pub(super) fn known(&mut self, kind: &str, name: &Name, doing: &'static str) -> Result<Link, Error> {
        self.find(name)?.ok_or_else(|| error(format_args!("{kind} {name}"), doing, "", Errno::NODEV.into()))
    }

    /// The addresses of a link, without those that the kernel gives each link for itself (`fe80::`).
    ///
    /// # Errors
    /// There is none of this name, or as for [`Self::links`].
    pub fn addresses_of(&mut self, name: &Name) -> Result<Vec<Cidr>, Error> {
        let index = self.known("link", name, "list its addresses")?.index;
        // `struct ifaddrmsg`: of any family, of any link; the kernel need not know how to choose.
        let listed = self.socket.list(LIST_ADDRESSES, &[0; 8], ADDRESSES_MAX, &|payload| {
            Ok(address(payload)?.filter(|(link, _)| *link == index).map(|(_, address)| address))
        });
        let mut found = listed
            .map_err(|refusal| error(format_args!("link {name}"), "list its addresses", "CONFIG_INET", refusal))?;
        found.retain(|cidr| !matches!(cidr.address(), IpAddr::V6(address) if address.is_unicast_link_local()));
        Ok(found)
    }
}

/// Which link, or all, and how much of it.
fn described(writer: &mut Writer, name: Option<&Name>) {
    writer.raw(&link_head(0, 0));
    if let Some(name) = name {
        writer.text(LINK_NAME, name.as_str());
    }
    writer.attribute(LINK_WANTED, &WITHOUT_COUNTERS.to_ne_bytes());
}

/// A link, from what a message says about it.
///
/// # Errors
/// The message is malformed.
pub fn link(payload: &[u8]) -> Result<Link, Malformed> {
    let (head, rest) = payload.split_first_chunk::<16>().ok_or(Malformed)?;
    let [_, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *head;
    let mut link = Link {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        name: String::new(),
        kind: String::new(),
        flags: u32::from_ne_bytes([f0, f1, f2, f3]),
        mac: None,
        master: None,
        mtu: 0,
        alias: String::new(),
    };
    for attribute in attributes(rest) {
        match attribute? {
            (LINK_NAME, value) => link.name = text(value).into(),
            // Of a tunnel, for instance, it has another length.
            (LINK_MAC, value) => link.mac = value.try_into().ok(),
            (super::home::LINK_ALIAS, value) => link.alias = text(value).into(),
            (LINK_MTU, value) => link.mtu = number(value)?,
            (LINK_MASTER, value) => link.master = Some(number(value)?),
            (LINK_INFO, value) => {
                for attribute in attributes(value) {
                    if let (INFO_KIND, value) = attribute? {
                        link.kind = text(value).into();
                    }
                }
            }
            _ => {}
        }
    }
    Ok(link)
}

/// The number of a link and an address of it, from what a message says; none of a family other than IP.
///
/// # Errors
/// The message is malformed.
pub fn address(payload: &[u8]) -> Result<Option<(u32, Cidr)>, Malformed> {
    let (head, rest) = payload.split_first_chunk::<8>().ok_or(Malformed)?;
    let [_, prefix, _, _, index @ ..] = *head;
    let (mut any, mut own) = (None, None);
    for attribute in attributes(rest) {
        match attribute? {
            (ADDRESS, value) => any = octets(value),
            (LOCAL, value) => own = octets(value),
            _ => {}
        }
    }
    let found = own.or(any).map(|address| Cidr::new(address, prefix).ok_or(Malformed)).transpose()?;
    Ok(found.map(|cidr| (u32::from_ne_bytes(index), cidr)))
}

/// An address, from its bytes.
pub(crate) fn octets(value: &[u8]) -> Option<IpAddr> {
    let four = value.try_into().map(|bytes: [u8; 4]| IpAddr::from(Ipv4Addr::from(bytes)));
    four.or_else(|_| value.try_into().map(|bytes: [u8; 16]| IpAddr::from(Ipv6Addr::from(bytes)))).ok()
}

fn number(value: &[u8]) -> Result<u32, Malformed> {
    Ok(u32::from_ne_bytes(value.try_into().map_err(|_| Malformed)?))
}
