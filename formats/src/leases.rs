//! Who has which address in a pool: the list that a device keeps, and how it grows.
//!
//! ```text
//!   cairn-leases 1
//!   POOL CONTAINER ADDRESS          one line each, sorted
//! ```
//!
//! [`Leases::settle`] is a pure function of the list before, the pools and the containers of a revision:
//!
//! 1. An address that a revision fixes is that container's, whoever had it before.
//! 2. A container keeps the address that it had, also over a revision in which it was missing.
//! 3. A new one gets the first above the gateway that nobody has; addresses of containers that are gone come last.
//!
//! So no two containers of a pool ever have one address, and a list that is lost costs no more than addresses that
//! change. It is read with bounds, and one bad line makes all of it worthless: nobody edits it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};
use core::net::Ipv4Addr;

use crate::network::Pool;

/// The first line.
const HEAD: &str = "cairn-leases 1\n";

/// The most leases of a list. Containers that are gone are forgotten above that.
pub const LEASES_MAX: usize = 1024;

/// The longest list in bytes: names are parts of paths.
pub const LIST_MAX: usize = HEAD.len() + LEASES_MAX * (2 * 256 + 16);

/// The list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Leases(BTreeMap<(String, String), Ipv4Addr>);

/// A container that wants an address in a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim<'a> {
    /// The pool.
    pub pool: &'a str,
    /// The container.
    pub container: &'a str,
    /// The address that the revision gives it.
    pub fixed: Option<Ipv4Addr>,
}

/// Why a claim cannot be met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoAddress {
    /// Which of the claims.
    pub claim: usize,
    /// Why not.
    pub why: Why,
}

/// Why an address cannot be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Why {
    /// No host of the pool can have it.
    Outside(Ipv4Addr),
    /// It is the gateway's.
    Gateway(Ipv4Addr),
    /// The revision gives it to this container as well.
    Taken(Ipv4Addr, String),
    /// Every address of the pool is another container's.
    Full,
}

/// Why bytes are no list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeasesError {
    /// They do not begin as a list of this version, or are too many.
    Head,
    /// This line is not understood, or not in its place.
    Line(usize),
}

impl Leases {
    /// The address of a container in a pool.
    #[must_use]
    pub fn get(&self, pool: &str, container: &str) -> Option<Ipv4Addr> {
        self.0.iter().find(|((in_pool, name), _)| in_pool == pool && name == container).map(|(_, address)| *address)
    }

    /// All of them: pool, container and address.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, Ipv4Addr)> {
        self.0.iter().map(|((pool, container), address)| (pool.as_str(), container.as_str(), *address))
    }

    /// The list for the containers of a revision. `self` is the one before. Claims for pools that are not in the list
    /// get nothing.
    ///
    /// # Errors
    /// The first claim that cannot be met.
    pub fn settle(&self, pools: &[Pool], claims: &[Claim<'_>]) -> Result<Self, NoAddress> {
        let pool = |name: &str| pools.iter().find(|pool| pool.name == name);
        let mut taken: BTreeMap<(&str, Ipv4Addr), &str> = BTreeMap::new();
        let mut settled = BTreeMap::new();
        let mut open = Vec::new();
        for (index, claim) in claims.iter().enumerate() {
            let Some(of) = pool(claim.pool) else { continue };
            let Some(address) = claim.fixed else {
                open.push((index, claim, of));
                continue;
            };
            let refused = |why| Err(NoAddress { claim: index, why });
            if !of.subnet.has_host(address) {
                return refused(Why::Outside(address));
            }
            if of.gateway == Some(address) {
                return refused(Why::Gateway(address));
            }
            if let Some(by) = taken.insert((claim.pool, address), claim.container) {
                return refused(Why::Taken(address, by.into()));
            }
            settled.insert((claim.pool.into(), claim.container.into()), address);
        }
        // In the order of names: that of a text that is written anew must not matter.
        open.sort_by_key(|(_, claim, _)| (claim.pool, claim.container));
        open.retain(|(_, claim, of)| {
            let Some(had) = self.get(claim.pool, claim.container) else { return true };
            let fine = of.subnet.has_host(had) && of.gateway != Some(had) && !taken.contains_key(&(claim.pool, had));
            if fine {
                taken.insert((claim.pool, had), claim.container);
                settled.insert((claim.pool.into(), claim.container.into()), had);
            }
            !fine
        });
        let remembered: BTreeSet<(&str, Ipv4Addr)> = self.iter().map(|(pool, _, address)| (pool, address)).collect();
        for (index, claim, of) in open {
            let free =
                |address: &Ipv4Addr| of.gateway != Some(*address) && !taken.contains_key(&(claim.pool, *address));
            let fresh = |address: &Ipv4Addr| free(address) && !remembered.contains(&(claim.pool, *address));
            // As far as a list of so many can go on.
            let found = addresses(of).find(fresh).or_else(|| addresses(of).find(free));
            let Some(address) = found else { return Err(NoAddress { claim: index, why: Why::Full }) };
            taken.insert((claim.pool, address), claim.container);
            settled.insert((claim.pool.into(), claim.container.into()), address);
        }
        // Who is gone may come back to the same address, as long as nobody else needs it.
        for ((of, container), address) in &self.0 {
            let free = !taken.contains_key(&(of.as_str(), *address));
            let key = (of.clone(), container.clone());
            if free && settled.len() < LEASES_MAX && !settled.contains_key(&key) {
                taken.insert((of, *address), container);
                settled.insert(key, *address);
            }
        }
        Ok(Self(settled))
    }

    /// Reads a list.
    ///
    /// # Errors
    /// [`LeasesError`] names the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, LeasesError> {
        let text = core::str::from_utf8(bytes).ok().filter(|text| text.len() <= LIST_MAX).ok_or(LeasesError::Head)?;
        let lines = text.strip_prefix(HEAD).ok_or(LeasesError::Head)?;
        let mut leases: BTreeMap<(String, String), Ipv4Addr> = BTreeMap::new();
        for (index, line) in lines.split_inclusive('\n').enumerate() {
            let wrong = LeasesError::Line(index + 2);
            let (key, address) = line.strip_suffix('\n').and_then(lease).ok_or(wrong)?;
            if leases.len() == LEASES_MAX || leases.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(wrong);
            }
            leases.insert(key, address);
        }
        Ok(Self(leases))
    }

    /// The text of the list, which reads back as the same.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::from(HEAD);
        for (pool, container, address) in self.iter() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{pool} {container} {address}");
        }
        text
    }
}

/// Every address of a pool in the order of giving: above its gateway, then below.
fn addresses(pool: &Pool) -> impl Iterator<Item = Ipv4Addr> {
    let (first, last) = (pool.subnet.first().to_bits(), pool.subnet.last().to_bits());
    let start = pool.gateway.map_or(first, |gateway| gateway.to_bits().saturating_add(1));
    (start..=last).chain(first..start.min(last.saturating_add(1))).map(Ipv4Addr::from_bits)
}

fn lease(line: &str) -> Option<((String, String), Ipv4Addr)> {
    let mut words = line.split(' ');
    let (pool, container, address) = (words.next()?, words.next()?, words.next()?);
    let name = |word: &str| crate::path::component(word).is_ok() && !word.chars().any(char::is_whitespace);
    // One address has one text.
    let address = address.parse().ok().filter(|parsed: &Ipv4Addr| alloc::format!("{parsed}") == address)?;
    (words.next().is_none() && name(pool) && name(container)).then(|| ((pool.into(), container.into()), address))
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside(address) => write!(f, "{address} is no address of a host in its subnet"),
            Self::Gateway(address) => write!(f, "{address} is the address of its gateway"),
            Self::Taken(address, by) => write!(f, "{address} is also that of {by}; give one of them another"),
            Self::Full => f.write_str("every address is another container's; give it a larger subnet"),
        }
    }
}

impl fmt::Display for LeasesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("it is no list of leases of this version"),
            Self::Line(line) => write!(f, "line {line} is not understood"),
        }
    }
}

impl core::error::Error for LeasesError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Reach, Subnet};
    use alloc::format;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn pool(name: &str, base: [u8; 4], prefix: u8) -> Pool {
        let subnet = Subnet::new(base.into(), prefix).unwrap();
        let reach = Reach::Bridge(format!("br-{name}"));
        Pool { name: name.into(), reach, subnet, subnet6: None, gateway: Some(subnet.first()), nat: false }
    }

    fn claim<'a>(container: &'a str, fixed: Option<[u8; 4]>) -> Claim<'a> {
        Claim { pool: "n", container, fixed: fixed.map(Ipv4Addr::from) }
    }

    fn last(leases: &Leases, container: &str) -> u8 {
        leases.get("n", container).unwrap().octets()[3]
    }

    fn small() -> [Pool; 1] {
        [pool("n", [10, 0, 3, 0], 24)]
    }

    #[test]
    fn addresses_are_given_in_the_order_of_names_above_the_gateway() {
        let one = Leases::default().settle(&small(), &[claim("b", None), claim("a", None)]).unwrap();
        assert_eq!((last(&one, "a"), last(&one, "b")), (2, 3));
        let high = [Pool { gateway: Some([10, 0, 3, 253].into()), ..pool("n", [10, 0, 3, 0], 24) }];
        let one = Leases::default().settle(&high, &[claim("a", None), claim("b", None)]).unwrap();
        assert_eq!((last(&one, "a"), last(&one, "b")), (254, 1));
    }

    #[test]
    fn a_container_keeps_its_address_whoever_comes_or_goes() {
        let first = Leases::default().settle(&small(), &[claim("m", None), claim("z", None)]).unwrap();
        let more = first.settle(&small(), &[claim("a", None), claim("z", None)]).unwrap();
        assert_eq!((last(&more, "z"), last(&more, "a")), (3, 4), "that of `m` is remembered");
        let back = more.settle(&small(), &[claim("m", None), claim("z", None)]).unwrap();
        assert_eq!((last(&back, "m"), last(&back, "z")), (2, 3));
    }

    #[test]
    fn a_fixed_address_is_the_containers_every_time_and_another_makes_room() {
        let nines = [claim("a", Some([10, 0, 3, 2])), claim("b", None)];
        let first = Leases::default().settle(&small(), &[claim("b", None)]).unwrap();
        assert_eq!(last(&first, "b"), 2);
        let fixed = first.settle(&small(), &nines).unwrap();
        assert_eq!((last(&fixed, "a"), last(&fixed, "b")), (2, 3));
        assert_eq!(fixed.settle(&small(), &nines), Ok(fixed.clone()), "its own lease is no obstacle");
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_the_reason() {
        let why = |claims: &[Claim<'_>]| {
            let error = Leases::default().settle(&small(), claims).unwrap_err();
            (error.claim, error.why.to_string())
        };
        let (at, text) = why(&[claim("a", Some([10, 0, 3, 9])), claim("b", Some([10, 0, 3, 9]))]);
        assert_eq!((at, text.as_str()), (1, "10.0.3.9 is also that of a; give one of them another"));
        assert!(why(&[claim("a", Some([10, 0, 4, 9]))]).1.contains("no address of a host"));
        assert!(why(&[claim("a", Some([10, 0, 3, 255]))]).1.contains("no address of a host"));
        assert!(why(&[claim("a", Some([10, 0, 3, 1]))]).1.contains("gateway"));
    }

    #[test]
    fn a_full_pool_takes_from_who_is_gone_and_then_refuses() {
        let tiny = [pool("n", [10, 0, 3, 0], 29)];
        let names = ["a", "b", "c", "d", "e"];
        let all: Vec<_> = names.iter().map(|name| claim(name, None)).collect();
        let full = Leases::default().settle(&tiny, &all).unwrap();
        let mut others = all.clone();
        others[2] = claim("x", None);
        let next = full.settle(&tiny, &others).unwrap();
        assert_eq!((last(&next, "x"), next.get("n", "c")), (last(&full, "c"), None));
        others.push(claim("y", None));
        assert_eq!(full.settle(&tiny, &others), Err(NoAddress { claim: 5, why: Why::Full }));
    }

    #[test]
    fn a_lease_that_no_longer_fits_its_pool_is_not_kept() {
        let first = Leases::default().settle(&small(), &[claim("a", None)]).unwrap();
        let moved = first.settle(&[pool("n", [10, 9, 0, 0], 16)], &[claim("a", None)]).unwrap();
        assert_eq!(moved.get("n", "a"), Some([10, 9, 0, 2].into()));
        let gate = [Pool { gateway: Some([10, 0, 3, 2].into()), ..pool("n", [10, 0, 3, 0], 24) }];
        assert_eq!(last(&first.settle(&gate, &[claim("a", None)]).unwrap(), "a"), 3);
    }

    #[test]
    fn one_bad_line_and_the_list_is_none() {
        for bad in
            ["x", "n a\n", "n a 10.0.0.2", "n a 010.0.0.2\n", "n  a 10.0.0.2\n", "n a 10.0.0.2 \n", "n ../a 10.0.0.2\n"]
        {
            assert_eq!(Leases::parse(format!("{HEAD}{bad}").as_bytes()), Err(LeasesError::Line(2)), "{bad:?}");
        }
        let twice = format!("{HEAD}n a 10.0.0.2\nn a 10.0.0.3\n");
        assert_eq!(Leases::parse(twice.as_bytes()), Err(LeasesError::Line(3)));
        assert_eq!(Leases::parse(b"cairn-leases 2\n"), Err(LeasesError::Head));
        assert_eq!(Leases::parse(HEAD.as_bytes()), Ok(Leases::default()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// Whatever revisions follow each other: nobody shares an address, each lies in its pool, who stays keeps it unless
        /// it is fixed or fixed to another, and the same again changes nothing.
        #[test]
        fn no_row_of_revisions_makes_two_containers_share_an_address(
            revisions in prop::collection::vec(prop::collection::vec((0_u8..12, 0_u8..2, prop::option::of(0_u8..16)), 0..12), 1..6)
        ) {
            let pools = [pool("n0", [10, 0, 3, 0], 28), pool("n1", [10, 0, 4, 16], 28)];
            let mut leases = Leases::default();
            for revision in revisions {
                let mut rows: BTreeMap<(String, String), Option<Ipv4Addr>> = BTreeMap::new();
                for (name, of, fixed) in revision {
                    let base = pools[usize::from(of)].subnet.base().to_bits();
                    let fixed = fixed.map(|last| Ipv4Addr::from_bits(base | u32::from(last)));
                    rows.insert((format!("n{of}"), format!("c{name}")), fixed);
                }
                let claims: Vec<_> =
                    rows.iter().map(|((pool, container), fixed)| Claim { pool, container, fixed: *fixed }).collect();
                let next = match leases.settle(&pools, &claims) {
                    Ok(next) => next,
                    Err(refused) => {
                        // Only what the revision itself says can be refused: 12 containers fit.
                        prop_assert!(claims[refused.claim].fixed.is_some());
                        continue;
                    }
                };
                let mut seen = BTreeSet::new();
                for (pool, _, address) in next.iter() {
                    prop_assert!(seen.insert((pool, address)));
                }
                for claim in &claims {
                    let got = next.get(claim.pool, claim.container).unwrap();
                    let of = pools.iter().find(|one| one.name == claim.pool).unwrap();
                    prop_assert!(of.subnet.has_host(got) && of.gateway != Some(got));
                    prop_assert!(claim.fixed.is_none_or(|fixed| fixed == got));
                    let had = leases.get(claim.pool, claim.container);
                    let claimed = |address| claims.iter().any(|one| one.pool == claim.pool && one.fixed == Some(address));
                    if let (None, Some(had)) = (claim.fixed, had) && !claimed(had) {
                        prop_assert_eq!(had, got);
                    }
                }
                prop_assert_eq!(next.settle(&pools, &claims), Ok(next.clone()));
                prop_assert_eq!(Leases::parse(next.to_text().as_bytes()), Ok(next.clone()));
                leases = next;
            }
        }
    }
}
