//! Links that are made, given away and removed.

use std::fmt::Display;

use rustix::io::Errno;

use super::{
    CREATE, DELETE_LINK, EXCLUSIVE, INFO_DATA, INFO_KIND, Inside, LINK_INFO, LINK_MAC, LINK_MASTER, LINK_MTU,
    LINK_NAME, LINK_NAMESPACE, LINK_PARENT, Macvlan, NEW_LINK, Route, UP, error, link_head, number_of,
};
use crate::Error;
use crate::names::{Cidr, Mac, Name};
use crate::wire::Writer;

/// `VETH_INFO_PEER`, `IFLA_MACVLAN_MODE`, `IFLA_VLAN_ID`.
const PEER: u16 = 1;
const MODE: u16 = 1;
const VLAN: u16 = 1;

/// What a link is called in a container until it has its name.
const PASSING: &str = "cairn-new";

/// The largest number of a VLAN; 0 and 4095 mean something else.
pub(super) const VLAN_MAX: u16 = 4094;

impl Route {
    /// A bridge of this name with these addresses and no others, up. It may be there already. Its Ethernet address does
    /// not change while ports come and go: `mac`, or that which it had when this was first called.
    ///
    /// # Errors
    /// A link of this name is no bridge, an address is another link's, or the kernel has no bridges.
    pub fn bridge(&mut self, name: &Name, mac: Option<Mac>, addresses: &[Cidr]) -> Result<(), Error> {
        let object = format!("bridge {name}");
        let (doing, needs) = ("make it", "CONFIG_BRIDGE");
        if self.find(name)?.is_none() {
            self.order((NEW_LINK, CREATE | EXCLUSIVE), &object, doing, needs, &mut |writer| {
                writer.raw(&link_head(0, 0));
                writer.text(LINK_NAME, name.as_str());
                info(writer, "bridge", &mut |_| {});
            })?;
        }
        let link = self.known("bridge", name, doing)?;
        if link.kind != "bridge" {
            let kind = if link.kind.is_empty() { "hardware" } else { &link.kind };
            let detail = format!("a link of this name is there and is {kind}; remove it, or name the bridge otherwise");
            return Err(Error { detail, ..error(object, doing, "", Errno::EXIST.into()) });
        }
        // Said once, it stays; otherwise it would be the lowest of the ports, and neighbours would not find it again.
        let mac = mac.map(Mac::octets).or(link.mac);
        self.order((NEW_LINK, 0), &object, "bring it up", needs, &mut |writer| {
            writer.raw(&link_head(link.index, UP));
            if let Some(mac) = mac {
                writer.attribute(LINK_MAC, &mac);
            }
        })?;
        self.set_addresses(&object, name, link.index, addresses)
    }

    /// Removes a link, and with it its other end and its addresses. There may be none.
    ///
    /// # Errors
    /// It is hardware, or the process may not.
    pub fn remove(&mut self, name: &Name) -> Result<(), Error> {
        let object = format!("link {name}");
        let removed = self.order((DELETE_LINK, 0), &object, "remove it", "", &mut |writer| {
            writer.raw(&link_head(0, 0));
            writer.text(LINK_NAME, name.as_str());
        });
        match removed {
            Err(Error { errno: Errno::NODEV, .. }) => Ok(()),
            other => other,
        }
    }

    /// The same by its number, which it keeps whatever it is called.
    ///
    /// # Errors
    /// It is hardware, or the process may not.
    pub fn remove_by_index(&mut self, index: u32) -> Result<(), Error> {
        let object = format!("link number {index}");
        let removed = self.order((DELETE_LINK, 0), &object, "remove it", "", &mut |writer| {
            writer.raw(&link_head(index, 0));
        });
        match removed {
            Err(Error { errno: Errno::NODEV, .. }) => Ok(()),
            other => other,
        }
    }

    /// A pair of links: `outside` here, up and a port of the bridge, the other in a container. When either goes, so does
    /// the other; a namespace that ends takes its links with it, but a moment later, so that who wants the name again
    /// [removes](Self::remove) it first.
    ///
    /// # Errors
    /// A link has one of these names already, or there is no such bridge.
    pub fn veth(&mut self, outside: &Name, bridge: Option<&Name>, inside: &Inside<'_>) -> Result<(), Error> {
        let doing = "make it";
        let master = bridge.map(|bridge| self.known("bridge", bridge, "connect a container to it")).transpose()?;
        if let Some(other) = master.as_ref().filter(|master| master.kind != "bridge") {
            let kind = if other.kind.is_empty() { "hardware" } else { &other.kind };
            let detail = format!("it is no bridge, but {kind}");
            let object = format!("link {}", other.name);
            return Err(Error { detail, ..error(object, "connect a container to it", "", Errno::INVAL.into()) });
        }
        self.order(
            (NEW_LINK, CREATE | EXCLUSIVE),
            &pair("veth", outside, inside),
            doing,
            "CONFIG_VETH",
            &mut |writer| {
                writer.raw(&link_head(0, UP));
                writer.text(LINK_NAME, outside.as_str());
                if let Some(mtu) = inside.mtu {
                    writer.attribute(LINK_MTU, &mtu.to_ne_bytes());
                }
                if let Some(master) = &master {
                    writer.attribute(LINK_MASTER, &master.index.to_ne_bytes());
                }
                info(writer, "veth", &mut |writer| {
                    let peer = writer.list(PEER);
                    writer.raw(&link_head(0, 0));
                    end(writer, inside);
                    writer.close(peer);
                });
            },
        )
    }

    /// A link in a container with an Ethernet address of its own on the wire of `parent`.
    ///
    /// # Errors
    /// There is no such parent, it is taken as a whole, or a link in the container has this name already.
    pub fn macvlan(&mut self, parent: &Name, mode: Macvlan, inside: &Inside<'_>) -> Result<(), Error> {
        let mode: u32 = match mode {
            Macvlan::Private => 1,
            Macvlan::Vepa => 2,
            Macvlan::Bridge => 4,
            Macvlan::Passthru => 8,
        };
        self.child("macvlan", "CONFIG_MACVLAN", parent, inside, &mut |writer| {
            writer.attribute(MODE, &mode.to_ne_bytes())
        })
    }

    /// A link in a container for what is marked with this number on the wire of `parent`.
    ///
    /// # Errors
    /// The number is not 1 to 4094, there is no such parent, it has this number already, or a link in the container has
    /// this name already.
    pub fn vlan(&mut self, parent: &Name, id: u16, inside: &Inside<'_>) -> Result<(), Error> {
        if !(1..=VLAN_MAX).contains(&id) {
            let detail = format!("{id} is not a number from 1 to {VLAN_MAX}");
            return Err(Error { detail, ..error(pair("vlan", parent, inside), "make it", "", Errno::RANGE.into()) });
        }
        self.child("vlan", "CONFIG_VLAN_8021Q", parent, inside, &mut |writer| writer.attribute(VLAN, &id.to_ne_bytes()))
    }

    fn child(
        &mut self,
        kind: &'static str,
        needs: &'static str,
        parent: &Name,
        inside: &Inside<'_>,
        data: &mut dyn FnMut(&mut Writer),
    ) -> Result<(), Error> {
        let parent_index = self.known("link", parent, "be the parent of a container's")?.index;
        let object = pair(kind, parent, inside);
        let mut make = |route: &mut Self, inside: &Inside<'_>| {
            route.order((NEW_LINK, CREATE | EXCLUSIVE), &object, "make it", needs, &mut |writer| {
                writer.raw(&link_head(0, 0));
                end(writer, inside);
                writer.attribute(LINK_PARENT, &parent_index.to_ne_bytes());
                info(writer, kind, data);
            })
        };
        // Older kernels (6.1) look for the new name among the links of the device as well, whose own is often `eth0` too.
        if self.find(inside.name)?.is_none() {
            return make(self, inside);
        }
        let passing: Name = PASSING.parse()?;
        make(self, &Inside { name: &passing, ..*inside })?;
        let mut within = Self::open_in(inside.namespace)?;
        within.rename(&passing, inside.name).map_err(|refused| {
            // Best effort: what is reported is why there is none.
            let _ = within.remove(&passing);
            Error { object, doing: "make it", ..refused }
        })
    }

    /// Gives a link as it is to another namespace, where it is down, has another name, and has lost its addresses. Called
    /// on the [`Route`] of a container it takes hardware back, which otherwise keeps the name that it has there.
    ///
    /// # Errors
    /// There is none of this name, a link there has the other name already, or it cannot leave (as a bridge).
    pub fn give(&mut self, name: &Name, inside: &Inside<'_>) -> Result<(), Error> {
        let index = self.known("link", name, "give it to another namespace")?.index;
        let object = pair("link", name, inside);
        self.order((NEW_LINK, 0), &object, "give it to another namespace", "CONFIG_NET_NS", &mut |writer| {
            writer.raw(&link_head(index, 0));
            end(writer, inside);
        })
    }
}

/// How the end in a container is described.
fn end(writer: &mut Writer, inside: &Inside<'_>) {
    writer.text(LINK_NAME, inside.name.as_str());
    writer.attribute(LINK_NAMESPACE, &number_of(inside.namespace));
    if let Some(mac) = inside.mac {
        writer.attribute(LINK_MAC, &mac.octets());
    }
    if let Some(mtu) = inside.mtu {
        writer.attribute(LINK_MTU, &mtu.to_ne_bytes());
    }
}

/// What kind of link it is to be, and what that kind wants to know.
fn info(writer: &mut Writer, kind: &str, data: &mut dyn FnMut(&mut Writer)) {
    let open = writer.list(LINK_INFO);
    writer.text(INFO_KIND, kind);
    let inner = writer.list(INFO_DATA);
    data(writer);
    writer.close(inner);
    writer.close(open);
}

/// Both ends, as errors name them.
fn pair(kind: &str, outside: impl Display, inside: &Inside<'_>) -> String {
    format!("{kind} {outside}, {} in the container", inside.name)
}
