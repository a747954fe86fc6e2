//! Interfaces that configurations ask for (`lxc.net`), held against each other and against the pools of the revision.
//!
//! | of two containers | |
//! |---|---|
//! | one interface of the device, which one of them takes as a whole | refused, both are named |
//! | one VLAN of an interface, one name on the device, one address of either kind on one wire | refused, both are named |
//!
//! Who is on the bridge of a pool without being in the pool has its addresses of that pool as if they were fixed there.

use std::net::IpAddr;

use formats::lxc::wire::{Origin, Wire};
use formats::network::{Pool, PoolInterface, Reach};

use super::Assembled;
use super::error::{AssemblyError, Refusal, Where};

/// Refuses what cannot be on one device.
pub(super) fn check(pools: &[Pool], containers: &[Assembled]) -> Result<(), AssemblyError> {
    let mut had: Vec<(&Assembled, &Wire)> = Vec::new();
    for one in containers {
        for wire in wires(one) {
            let beside_pool = pools.iter().find_map(|pool| of_pool(wire, pool));
            let meets =
                |(other, its): &(&Assembled, &Wire)| meet(wire, its).map(|what| format!("{what} {}", other.name));
            if let Some(why) = beside_pool.or_else(|| had.iter().find_map(meets)) {
                return Err(refused(one, Refusal::Wire(why)));
            }
            had.push((one, wire));
        }
    }
    Ok(())
}

/// What a container has of pools by being on their bridges: each fixed address that it has there.
pub(super) fn reserved(pools: &[Pool], one: &Assembled) -> Vec<PoolInterface> {
    let mut all = Vec::new();
    for wire in wires(one) {
        let on = |pool: &&Pool| matches!((&pool.reach, &wire.origin), (Reach::Bridge(bridge), Origin::Bridge { bridge: link, .. }) if bridge == link);
        let Some(pool) = pools.iter().find(on) else { continue };
        for (address, _) in &wire.addresses {
            let IpAddr::V4(ip) = *address else { continue };
            all.push(PoolInterface { name: wire.name.clone(), pool: pool.name.clone(), ip: Some(ip), mac: wire.mac });
        }
    }
    all
}

/// An error about the interfaces of a container.
pub(super) fn refused(one: &Assembled, why: Refusal) -> AssemblyError {
    let file = one.manifest.config.as_deref().unwrap_or("run.json");
    AssemblyError::refused(format!("{}/{file}", one.name), Where::Member("lxc.net".into()), why)
}

fn wires(one: &Assembled) -> &[Wire] {
    one.program.as_ref().map_or(&[], |program| &program.wires)
}

/// What an interface may not have since a pool has it.
fn of_pool(wire: &Wire, pool: &Pool) -> Option<String> {
    let link = wire.origin.link();
    match &pool.reach {
        Reach::Macvlan(parent) if parent == link && wire.origin.is_whole() => {
            Some(format!("all of {link} is not to be had: it is the parent of the pool {}", pool.name))
        }
        Reach::Bridge(bridge) if bridge == link && !matches!(wire.origin, Origin::Bridge { .. }) => {
            Some(format!("{link} is the bridge of the pool {}, where only a veth can be", pool.name))
        }
        Reach::Bridge(taken) | Reach::Macvlan(taken) if outside(wire) == Some(taken) => {
            Some(format!("{taken} on the device is what the pool {} is on", pool.name))
        }
        _ => None,
    }
}

/// What two interfaces cannot both have.
fn meet(one: &Wire, other: &Wire) -> Option<String> {
    let (link, its) = (one.origin.link(), other.origin.link());
    for (name, taken) in [(outside(one), [Some(its), outside(other)]), (outside(other), [Some(link), None])] {
        if let Some(name) = name.filter(|name| taken.contains(&Some(*name))) {
            return Some(format!("{name} on the device is also asked for by"));
        }
    }
    if link != its {
        return None;
    }
    if one.origin.is_whole() || other.origin.is_whole() {
        return Some(format!("{link}, of which one container would have all, is also asked for by"));
    }
    let vlan = |wire: &Wire| if let Origin::Vlan { id, .. } = wire.origin { Some(id) } else { None };
    match (vlan(one), vlan(other)) {
        (Some(id), Some(its)) if id == its => return Some(format!("VLAN {id} of {link} is also that of")),
        // What is marked is another network.
        (None, None) => {}
        _ => return None,
    }
    if one.mac.is_some() && one.mac == other.mac {
        return Some(format!("the Ethernet address of {} on {link} is also that of", one.name));
    }
    let both = one.addresses.iter().find(|(address, _)| other.addresses.iter().any(|(its, _)| its == address));
    both.map(|(address, _)| format!("{address} on {link} is also that of"))
}

/// What its other end is called on the device, if that was said.
fn outside(wire: &Wire) -> Option<&str> {
    if let Origin::Bridge { outside, .. } = &wire.origin { outside.as_deref() } else { None }
}
