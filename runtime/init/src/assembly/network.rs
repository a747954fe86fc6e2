//! Which container has which interfaces, addresses and published ports: worked out for a whole revision, before anything
//! of it is touched.
//!
//! | of two containers | |
//! |---|---|
//! | one address, one Ethernet address, one published port | refused, both are named |
//! | one pool | each knows the other by its name, in `/etc/hosts` |
//! | two pools | nothing |
//!
//! The address of a container is a part of its assembly: one whose address has to change is started anew, as is one
//! whose program has changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use formats::leases::{Claim, Leases};
use formats::network::{Pool, Port, Reach};

use super::Assembled;
use super::error::{AssemblyError, Refusal};
use super::wires;

/// What a container has of pools.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// Its interfaces; the way to everything else is by the first one that has a gateway.
    pub interfaces: Vec<Interface>,
    /// What it publishes, at the first of its addresses that is on a bridge.
    pub ports: Vec<Port>,
    /// What it wants to be called besides its name.
    pub hostname: Option<String>,
}

/// An interface of a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Its name in there.
    pub name: String,
    /// The pool that it is in.
    pub pool: Pool,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its Ethernet address.
    pub mac: [u8; 6],
}

impl Attachment {
    /// Where its published ports lead.
    #[must_use]
    pub fn published(&self) -> Option<Ipv4Addr> {
        self.on_bridge().map(|interface| interface.address)
    }

    /// The same for IPv6, if the pool has that.
    #[must_use]
    pub fn published6(&self) -> Option<Ipv6Addr> {
        self.on_bridge().and_then(Interface::address6)
    }

    fn on_bridge(&self) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| matches!(interface.pool.reach, Reach::Bridge(_)))
    }
}

impl Interface {
    /// Its address of IPv6, if the pool has some.
    #[must_use]
    pub fn address6(&self) -> Option<Ipv6Addr> {
        self.pool.subnet6.map(|subnet| subnet.host(self.address))
    }
}

/// Gives every container its addresses, and says who has which from now on.
pub(super) fn settle(pools: &[Pool], containers: &mut [Assembled], before: &Leases) -> Result<Leases, AssemblyError> {
    // Who starts nothing needs nothing.
    let wanted = |one: &Assembled| {
        let network = one.manifest.network.as_ref().filter(|_| one.program.is_some());
        network.map(|network| network.interfaces.clone()).unwrap_or_default()
    };
    let rows: Vec<_> = containers
        .iter()
        .flat_map(|one| {
            wanted(one).into_iter().chain(wires::reserved(pools, one)).map(|interface| (one.clone(), interface))
        })
        .collect();
    for ((one, interface), others) in rows.iter().zip((1..).map(|from| rows.get(from..).unwrap_or_default())) {
        if others.iter().any(|(other, its)| other.name == one.name && its.pool == interface.pool) {
            let why = "a container has one address of a pool, also by being on its bridge; leave the other out";
            return Err(wires::refused(one, Refusal::Contradiction(why)));
        }
    }
    let claims: Vec<_> = rows
        .iter()
        .map(|(one, interface)| Claim { pool: &interface.pool, container: one.name.as_str(), fixed: interface.ip })
        .collect();
    let leases = before.settle(pools, &claims).map_err(|refused| match rows.get(refused.claim) {
        Some((one, interface)) if wanted(one).is_empty() => {
            wires::refused(one, Refusal::Address(Box::new((interface.pool.clone(), refused.why))))
        }
        Some((one, interface)) => {
            let member = if interface.ip.is_some() { "network.ip" } else { "network.pool" };
            AssemblyError::member(
                &one.manifest,
                member,
                Refusal::Address(Box::new((interface.pool.clone(), refused.why))),
            )
        }
        None => AssemblyError::refused("device.json", super::Where::Member("network.pools".into()), Refusal::Pool),
    })?;
    let (mut macs, mut ports) = (BTreeMap::new(), Vec::new());
    for one in containers {
        let name = one.name.to_string();
        let mut interfaces = Vec::new();
        for interface in wanted(one) {
            let pool = pools.iter().find(|pool| pool.name == interface.pool);
            let (Some(pool), Some(address)) = (pool, leases.get(&interface.pool, &name)) else { continue };
            let [a, b, c, d] = address.octets();
            let mac = interface.mac.unwrap_or([2, 0, a, b, c, d]);
            if let Some(other) = macs.insert((interface.pool, mac), name.clone()) {
                return Err(AssemblyError::member(&one.manifest, "network.mac", Refusal::Mac(other)));
            }
            interfaces.push(Interface { name: interface.name, pool: pool.clone(), address, mac });
        }
        let hostname = one.manifest.network.as_ref().and_then(|network| network.hostname.clone());
        let attachment = Attachment { interfaces, ports: one.manifest.ports.clone(), hostname };
        if one.program.is_some() && !attachment.ports.is_empty() {
            if attachment.published().is_none() {
                return Err(AssemblyError::member(&one.manifest, "ports", Refusal::NotPublished));
            }
            for port in &attachment.ports {
                let taken = ports.iter().find(|(other, _): &&(Port, String)| other.collides(port));
                if let Some((other, by)) = taken {
                    let why = Refusal::Published(Box::new([port.to_string(), other.to_string(), by.clone()]));
                    return Err(AssemblyError::member(&one.manifest, "ports", why));
                }
            }
            ports.extend(attachment.ports.iter().map(|port| (*port, name.clone())));
        }
        one.network = (!attachment.interfaces.is_empty()).then_some(attachment);
    }
    Ok(leases)
}

/// What a container finds in `/etc/hosts`: itself, and all that share a pool with it.
pub(super) fn hosts(of: &Assembled, containers: &[Assembled]) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    let Some(own) = &of.network else { return text };
    let shares = |pool: &Pool| own.interfaces.iter().any(|interface| interface.pool.name == pool.name);
    let others = containers.iter().filter(|one| one.name != of.name);
    for one in std::iter::once(of).chain(others) {
        let Some(network) = &one.network else { continue };
        for interface in network.interfaces.iter().filter(|interface| shares(&interface.pool)) {
            let extra = network.hostname.as_ref().filter(|host| *host != one.name.as_str());
            let extra = extra.map(|host| format!(" {host}")).unwrap_or_default();
            for address in [Some(IpAddr::V4(interface.address)), interface.address6().map(IpAddr::V6)].iter().flatten()
            {
                // Writing to a string does not fail.
                let _ = writeln!(text, "{address} {}{extra}", one.name);
            }
        }
    }
    text
}
