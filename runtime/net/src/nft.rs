//! One table of nftables, `inet cairn`, which says what pools of containers may do. It is replaced as a whole in one
//! transaction: at any moment the kernel has the old one or the new one, and nothing of both. Connections that stand go
//! on. Other tables are left alone, those of a container that manages the device's network for instance.
//!
//! ```text
//!   a connection                                                 is
//!   ────────────                                                 ──
//!   within a pool                                                let through
//!   from a pool to the outside                                   let through, under the device's address if `nat`
//!   to a published port: from outside, a pool or the device      led to the container, if it came to an address of the
//!                                                                device (`fib daddr type local`); to one on 127.0.0.1
//!                                                                only from the device
//!   from a pool to another pool                                  dropped, if `isolated`
//!   from outside to a pool                                       dropped, unless `routed`
//!   from outside to outside                                      let through if `transit`, or `transit6`
//!   from a pool to the device's loopback                         dropped
//! ```
//!
//! While the container of a published port is replaced, nobody is refused, see [`Attempts`].
//!
//! The device itself is outside of no pool: it reaches every container, and every container its addresses.

mod batch;
mod encode;
mod forget;
mod rules;

use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

use crate::Error;
use crate::names::{Cidr, Name};
use crate::route::error;

pub use batch::{remove, replace};
pub use forget::forget;

/// The table.
pub const TABLE: &str = "cairn";
/// What the kernel has to have, for messages and for manuals.
pub const NEEDS: &str = "CONFIG_NF_TABLES_INET, CONFIG_NF_CONNTRACK, CONFIG_NFT_CT, CONFIG_NFT_NAT, CONFIG_NFT_MASQ and CONFIG_NFT_FIB_INET";

/// The most pools.
pub const POOLS_MAX: usize = 64;
/// The most subnets of one pool.
pub const SUBNETS_MAX: usize = 8;
/// The most published ports.
pub const PORTS_MAX: usize = 1024;

/// What pools may do.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Ruleset {
    /// The pools that are bridges. Others have no place in here.
    pub pools: Vec<Pool>,
    /// The published ports.
    pub ports: Vec<Port>,
    /// Whether a pool is closed to the others.
    pub isolated: bool,
    /// Whether the device passes on what neither comes from a pool nor goes to one. A device that did not before it had
    /// pools does not because of them: see [`crate::sysctl::forward`].
    pub transit: bool,
    /// The same for IPv6: see [`crate::sysctl::forward6`].
    pub transit6: bool,
}

/// A bridge with containers behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    /// The bridge.
    pub bridge: Name,
    /// Its networks.
    pub subnets: Vec<Cidr>,
    /// Whether what leaves has the device's address.
    pub nat: bool,
    /// Whether who is outside and knows a way may open connections to any container in it.
    pub routed: bool,
}

/// What ports are of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the device that is one of a container.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Port {
    /// Of which protocol.
    pub protocol: Protocol,
    /// The address of the device; `None`: each that it has, of the kind of the container's.
    pub on: Option<IpAddr>,
    /// The port of the device.
    pub port: u16,
    /// Where it leads.
    pub to: SocketAddr,
    /// What becomes of attempts to connect to it.
    pub attempts: Attempts,
}

/// What becomes of attempts to connect to a published port. Whoever gets no answer tries again by itself, as TCP does
/// after a second; whoever is refused does not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub enum Attempts {
    /// They are led to the container, and have its answer.
    #[default]
    Led,
    /// They are led to the container, but that it refuses them is not passed on: it may not listen yet. Connections that
    /// stand are ended by whoever ends them.
    Tolerant,
    /// They are not answered: the container is leaving, or not there.
    Unanswered,
}

impl Ruleset {
    /// Whether it says one thing, within bounds.
    ///
    /// # Errors
    /// Which pool or port is the matter.
    pub fn check(&self) -> Result<(), Error> {
        let no = |object: &dyn std::fmt::Display, detail: String| {
            Err(Error { detail, ..error(object, "have it", "", Errno::INVAL.into()) })
        };
        if self.pools.len() > POOLS_MAX || self.ports.len() > PORTS_MAX {
            return no(&"networks", format!("there may be {POOLS_MAX} pools and {PORTS_MAX} published ports"));
        }
        for (at, pool) in self.pools.iter().enumerate() {
            let object = format!("pool {}", pool.bridge);
            if pool.subnets.len() > SUBNETS_MAX {
                return no(&object, format!("it may have {SUBNETS_MAX} subnets"));
            }
            for other in self.pools.iter().take(at) {
                if other.bridge == pool.bridge {
                    return no(&object, "it is there twice".into());
                }
                let meets = |mine: &Cidr| {
                    other.subnets.iter().any(|its| mine.contains(its.address()) || its.contains(mine.address()))
                };
                if let Some(subnet) = pool.subnets.iter().find(|mine| meets(mine)) {
                    return no(&object, format!("{subnet} has addresses of pool {}", other.bridge));
                }
            }
        }
        for (at, port) in self.ports.iter().enumerate() {
            let wrong = if port.port == 0 || port.to.port() == 0 {
                "0 is no port"
            } else if port.on.is_some_and(|on| on.is_ipv4() != port.to.is_ipv4()) {
                "the device's address and the container's are of two kinds of IP"
            } else if port.on.is_some_and(|on| on.is_ipv6() && on.is_loopback()) {
                "::1 leads nowhere else; 127.0.0.1 can be published"
            } else if port.on.is_some_and(|on| on.is_unspecified()) {
                "no address stands for all of them"
            } else if !self.pools.iter().any(|pool| pool.subnets.iter().any(|subnet| subnet.contains(port.to.ip()))) {
                "the container's address is of no pool"
            } else if self.ports.iter().take(at).any(|other| other.meets(port)) {
                "it is published twice"
            } else {
                continue;
            };
            return no(port, wrong.into());
        }
        Ok(())
    }
}

impl Port {
    /// Whether the two claim one port of one address.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        let same =
            self.protocol == other.protocol && self.port == other.port && self.to.is_ipv4() == other.to.is_ipv4();
        same && (self.on.is_none() || other.on.is_none() || self.on == other.on)
    }
}

impl Protocol {
    /// As in `53/udp`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let protocol = self.protocol.name();
        match self.on {
            Some(on) => write!(f, "port {protocol} {} to {}", SocketAddr::new(on, self.port), self.to),
            None => write!(f, "port {protocol} {} to {}", self.port, self.to),
        }
    }
}
