//! The interfaces that `lxc.net` gives a container: what all lines of one number come to.
//!
//! ```text
//!   lxc.net.0.type = veth      ┐
//!   lxc.net.0.link = br0       ├─▶ Wire { name: eth0, origin: Bridge { bridge: br0, … }, up, … }
//!   lxc.net.0.flags = up       ┘
//!   lxc.net.1.type = phys      ┐
//!   lxc.net.1.link = can0      ┴─▶ Wire { name: can0, origin: Phys { link: can0 }, … }
//! ```
//!
//! Where a key may stand once, its last line counts; addresses add up. What LXC would not start, or start with less than the
//! lines say, is refused here with the member that is the matter.
//!
//! API: [`of`] and [`network`] for who makes them, [`origins`] for who asks what is granted.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use super::{FilesError, Gateway, Item, LinkKind, LxcError, LxcWrong, MacvlanMode, NetItem, Said};

/// The most interfaces of one container.
pub const WIRES_MAX: usize = 8;
/// The most addresses of one interface.
pub const ADDRESSES_MAX: usize = 16;

/// The network that a configuration asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Network {
    /// It says nothing of one.
    Unsaid,
    /// That of the device.
    Shared,
    /// Loopback and nothing else.
    Empty,
    /// Loopback, and these.
    Wires(Vec<Wire>),
}

/// An interface of a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wire {
    /// What it is called in there.
    pub name: String,
    /// What of the device it is, or is on.
    pub origin: Origin,
    /// Its Ethernet address; `None`: the kernel gives it one, or it keeps its own.
    pub mac: Option<[u8; 6]>,
    /// The longest packet, in bytes; `None`: that of where it is from.
    pub mtu: Option<u32>,
    /// Whether it is brought up.
    pub up: bool,
    /// Its addresses, with the lengths of their prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The ways to everything else; one of each kind of IP at most.
    pub ways: Vec<Way>,
}

/// What of the device an interface is, or is on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// A pair, whose other end is a port of this bridge.
    Bridge {
        /// The bridge.
        bridge: String,
        /// What the other end is called on the device, if that was said.
        outside: Option<String>,
    },
    /// An interface with an Ethernet address of its own on the wire of another.
    Macvlan {
        /// The other.
        parent: String,
        /// With whom it speaks there.
        mode: MacvlanMode,
    },
    /// What is marked with a number on the wire of another.
    Vlan {
        /// The other.
        parent: String,
        /// The number.
        id: u16,
    },
    /// An interface of the device, which has it no longer.
    Phys {
        /// What the device calls it.
        link: String,
    },
}

/// A way to everything else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// By a router.
    By(IpAddr),
    /// Everybody is on the wire, for IPv4 or for IPv6.
    Wire {
        /// Which.
        six: bool,
    },
    /// By the address of this kind that the device has there.
    Device {
        /// Which.
        six: bool,
    },
}

/// Why there is no network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireWrong {
    /// The number of the interface.
    pub index: u8,
    /// The member of its lines that is the matter, or that is missing.
    pub member: &'static str,
    /// Why.
    pub why: &'static str,
}

/// All lines of one number.
#[derive(Default)]
struct Lines<'a> {
    kind: Option<LinkKind>,
    link: Option<&'a str>,
    up: bool,
    name: Option<&'a str>,
    mac: Option<[u8; 6]>,
    mtu: Option<u32>,
    pair: Option<&'a str>,
    bridged: bool,
    mode: Option<MacvlanMode>,
    vlan: Option<u16>,
    addresses: Vec<(IpAddr, u8)>,
    four: Option<Gateway>,
    six: Option<Gateway>,
}

/// What all lines come to.
///
/// # Errors
/// [`WireWrong`] names the interface and the member.
pub fn network<'a>(items: impl Iterator<Item = &'a Item>) -> Result<Network, WireWrong> {
    let lines = gather(items);
    let (mut shared, mut empty, mut wanted) = (None, false, Vec::new());
    for (index, lines) in &lines {
        match lines.kind {
            None => return wrong(*index, "type", "is missing; say none, empty, veth, phys, macvlan or vlan"),
            Some(kind @ (LinkKind::None | LinkKind::Empty)) => {
                if let Some(member) = lines.members().next() {
                    return wrong(*index, member, "is for an interface, and `none` and `empty` have none");
                }
                empty |= kind == LinkKind::Empty;
                shared = shared.or((kind == LinkKind::None).then_some(*index));
            }
            Some(kind) => wanted.push((*index, kind, lines)),
        }
    }
    if let Some(index) = shared.filter(|_| empty || !wanted.is_empty()) {
        let why = "`none`, which is the device's network, and a network of its own exclude each other; remove one";
        return wrong(index, "type", why);
    }
    if let Some((index, ..)) = wanted.get(WIRES_MAX) {
        return wrong(*index, "type", "is one interface too many; a container has 8 at most");
    }
    let said: Vec<&str> = wanted.iter().filter_map(|(_, kind, lines)| lines.called(*kind)).collect();
    let mut wires: Vec<Wire> = Vec::new();
    for (index, kind, lines) in wanted {
        let is_free = |name: &String| !said.contains(&name.as_str()) && wires.iter().all(|other| other.name != *name);
        let name = match lines.called(kind) {
            Some(name) => String::from(name),
            // As the kernel counts them. There are more numbers than interfaces.
            None => (0..=u8::MAX).map(|at| format!("eth{at}")).find(is_free).unwrap_or_default(),
        };
        if wires.iter().any(|other| other.name == name) {
            let member = if lines.name.is_some() { "name" } else { "link" };
            return wrong(index, member, "another interface of the container is called so; say `name` of one of them");
        }
        let wire = lines.wire(index, kind, name)?;
        for (six, member) in [(false, "ipv4.gateway"), (true, "ipv6.gateway")] {
            let leads = |wire: &Wire| wire.ways.iter().any(|way| way.is_six() == six);
            if leads(&wire) && wires.iter().any(leads) {
                return wrong(
                    index,
                    member,
                    "another interface leads to everything else already; leave one of them out",
                );
            }
        }
        wires.push(wire);
    }
    Ok(match (wires.is_empty(), shared, empty) {
        (false, ..) => Network::Wires(wires),
        (true, Some(_), _) => Network::Shared,
        (true, None, true) => Network::Empty,
        (true, None, false) => Network::Unsaid,
    })
}

/// The same of the lines of a container, with the place of what is wrong. A member that is missing is missed where another
/// line of its interface stands.
///
/// # Errors
/// [`FilesError::Wrong`]
pub fn of(lines: &[Said]) -> Result<Network, FilesError> {
    network(lines.iter().map(|line| &line.item)).map_err(|WireWrong { index, member, why }| {
        let of = |said: &&Said, wanted: Option<&str>| match &said.item {
            Item::Net { index: its, item } => *its == index && wanted.is_none_or(|wanted| wanted == item.member()),
            _ => false,
        };
        let found = lines.iter().rfind(|said| of(said, Some(member))).or(lines.iter().find(|said| of(said, None)));
        let (document, line) = found.map_or(("", 0), |said| (&*said.document, said.number));
        let why = LxcError { line, key: format!("lxc.net.{index}.{member}"), wrong: LxcWrong::Refused(why) };
        FilesError::Wrong { document: String::from(document), why: Box::new(why) }
    })
}

/// What of the device the interfaces of a configuration are, or are on; also of one that [`network`] refuses.
pub fn origins<'a>(items: impl Iterator<Item = &'a Item>) -> Vec<Origin> {
    gather(items).values().filter_map(|lines| lines.origin(lines.kind?).ok()).collect()
}

/// Whether a configuration asks for the network of the device by its lines about one.
pub fn shares<'a>(items: impl Iterator<Item = &'a Item>) -> bool {
    gather(items).values().any(|lines| lines.kind == Some(LinkKind::None))
}

fn gather<'a>(items: impl Iterator<Item = &'a Item>) -> BTreeMap<u8, Lines<'a>> {
    let mut all: BTreeMap<u8, Lines<'a>> = BTreeMap::new();
    for item in items {
        let Item::Net { index, item } = item else { continue };
        let lines = all.entry(*index).or_default();
        match item {
            NetItem::Kind(kind) => lines.kind = Some(*kind),
            NetItem::Link(name) => lines.link = Some(name),
            NetItem::Up => lines.up = true,
            NetItem::Name(name) => lines.name = Some(name),
            NetItem::HardwareAddress(mac) => lines.mac = Some(*mac),
            NetItem::Mtu(mtu) => lines.mtu = Some(*mtu),
            NetItem::VethPair(name) => lines.pair = Some(name),
            NetItem::VethBridge => lines.bridged = true,
            NetItem::MacvlanMode(mode) => lines.mode = Some(*mode),
            NetItem::VlanId(id) => lines.vlan = Some(*id),
            NetItem::Ipv4Address(address, prefix, _) => lines.addresses.push(((*address).into(), *prefix)),
            NetItem::Ipv6Address(address, prefix) => lines.addresses.push(((*address).into(), *prefix)),
            NetItem::Ipv4Gateway(gateway) => lines.four = Some(*gateway),
            NetItem::Ipv6Gateway(gateway) => lines.six = Some(*gateway),
        }
    }
    all
}

const fn wrong<T>(index: u8, member: &'static str, why: &'static str) -> Result<T, WireWrong> {
    Err(WireWrong { index, member, why })
}

impl<'a> Lines<'a> {
    /// What was said beside type and flags.
    fn members(&self) -> impl Iterator<Item = &'static str> {
        let four = |(address, _): &(IpAddr, u8)| address.is_ipv4();
        let of_types = [
            self.pair.map(|_| "veth.pair"),
            self.bridged.then_some("veth.mode"),
            self.mode.map(|_| "macvlan.mode"),
            self.vlan.map(|_| "vlan.id"),
        ];
        let of_all = [
            self.link.map(|_| "link"),
            self.name.map(|_| "name"),
            self.mac.map(|_| "hwaddr"),
            self.mtu.map(|_| "mtu"),
            self.addresses.iter().any(four).then_some("ipv4.address"),
            (!self.addresses.iter().all(four)).then_some("ipv6.address"),
            self.four.map(|_| "ipv4.gateway"),
            self.six.map(|_| "ipv6.gateway"),
        ];
        of_types.into_iter().chain(of_all).flatten()
    }

    /// What the interface is called, unless by the kernel.
    fn called(&self, kind: LinkKind) -> Option<&'a str> {
        self.name.or(self.link.filter(|_| kind == LinkKind::Phys))
    }

    /// What it is, or is on; or else which member is missing.
    fn origin(&self, kind: LinkKind) -> Result<Origin, (&'static str, &'static str)> {
        let link = |why| self.link.map(String::from).ok_or(("link", why));
        let parent = || link("is missing; name the interface of the device whose wire it is on");
        Ok(match kind {
            LinkKind::Veth => Origin::Bridge {
                bridge: link("is missing; name the bridge of the device that it is on")?,
                outside: self.pair.map(String::from),
            },
            // As LXC has it where nothing is said.
            LinkKind::Macvlan => Origin::Macvlan { parent: parent()?, mode: self.mode.unwrap_or(MacvlanMode::Private) },
            LinkKind::Vlan => {
                let id = self.vlan.ok_or(("vlan.id", "is missing; say which number, from 1 to 4094"))?;
                Origin::Vlan { parent: parent()?, id }
            }
            LinkKind::Phys => Origin::Phys { link: link("is missing; name the interface that the device gives away")? },
            LinkKind::None | LinkKind::Empty => return Err(("type", "has no interface")),
        })
    }

    fn wire(&self, index: u8, kind: LinkKind, name: String) -> Result<Wire, WireWrong> {
        let of_type = |member: &&'static str| {
            member.split_once('.').is_some_and(|(of, _)| LinkKind::parse(of).is_some_and(|of| of != kind))
        };
        if let Some(member) = self.members().find(of_type) {
            return wrong(index, member, "is for another type of interface; leave it out");
        }
        let origin = self.origin(kind).or_else(|(member, why)| wrong(index, member, why))?;
        if self.addresses.len() > ADDRESSES_MAX {
            return wrong(index, "ipv4.address", "is one address too many; an interface has 16 at most");
        }
        let mut addresses: Vec<(IpAddr, u8)> = Vec::new();
        for one in &self.addresses {
            if addresses.iter().any(|(address, _)| *address == one.0) {
                let member = if one.0.is_ipv4() { "ipv4.address" } else { "ipv6.address" };
                return wrong(index, member, "says one address twice; leave one of the lines out");
            }
            addresses.push(*one);
        }
        let mut ways = Vec::new();
        for (gateway, six, member) in [(self.four, false, "ipv4.gateway"), (self.six, true, "ipv6.gateway")] {
            let Some(gateway) = gateway else { continue };
            if !self.up {
                return wrong(index, member, "leads nowhere by an interface that is down; add `flags = up`");
            }
            ways.push(match gateway {
                Gateway::Address(address) => Way::By(address),
                Gateway::Device => Way::Wire { six },
                Gateway::Auto if matches!(kind, LinkKind::Veth | LinkKind::Macvlan) => Way::Device { six },
                Gateway::Auto => {
                    return wrong(index, member, "auto is for veth and macvlan; write the address of the router");
                }
            });
        }
        Ok(Wire { name, origin, mac: self.mac, mtu: self.mtu, up: self.up, addresses, ways })
    }
}

impl Way {
    /// Whether it is one of IPv6.
    #[must_use]
    pub const fn is_six(self) -> bool {
        match self {
            Self::By(address) => address.is_ipv6(),
            Self::Wire { six } | Self::Device { six } => six,
        }
    }
}

impl Origin {
    /// The interface of the device that it is, or is on.
    #[must_use]
    pub fn link(&self) -> &str {
        match self {
            Self::Bridge { bridge, .. } => bridge,
            Self::Macvlan { parent, .. } | Self::Vlan { parent, .. } => parent,
            Self::Phys { link } => link,
        }
    }

    /// Whether nobody else has anything of that interface: not the device either.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Phys { .. } | Self::Macvlan { mode: MacvlanMode::Passthru, .. })
    }
}

impl fmt::Display for WireWrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lxc.net.{}.{}: {}", self.index, self.member, self.why)
    }
}

impl core::error::Error for WireWrong {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lxc::Config;
    use alloc::string::ToString;
    use alloc::vec;

    fn of(text: &str) -> Result<Network, String> {
        let config = Config::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        network(config.items()).map_err(|wrong| wrong.to_string())
    }

    /// Lines about interfaces, without what they begin with.
    fn net(lines: &str) -> Result<Network, String> {
        of(&lines.split(';').map(|line| format!("lxc.net.{}\n", line.trim())).collect::<String>())
    }

    fn wires(lines: &str) -> Vec<Wire> {
        match net(lines) {
            Ok(Network::Wires(wires)) => wires,
            other => panic!("{lines}: {other:?}"),
        }
    }

    #[test]
    fn all_lines_of_one_number_are_one_interface() {
        let said = wires(
            "0.type = veth; 0.link = br0; 0.flags = up; 0.name = lan0; 0.hwaddr = 02:00:00:00:00:07; 0.mtu = 1400;
             0.ipv4.address = 10.0.3.7/24 10.0.3.255; 0.ipv4.address = 10.0.4.7/24; 0.ipv6.address = fd00::7;
             0.ipv4.gateway = 10.0.3.1; 0.ipv6.gateway = auto; 0.veth.pair = web0; 0.veth.mode = bridge",
        );
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let expected = Wire {
            name: "lan0".into(),
            origin: Origin::Bridge { bridge: "br0".into(), outside: Some("web0".into()) },
            mac: Some([2, 0, 0, 0, 0, 7]),
            mtu: Some(1400),
            up: true,
            addresses: vec![(address("10.0.3.7"), 24), (address("10.0.4.7"), 24), (address("fd00::7"), 64)],
            ways: vec![Way::By(address("10.0.3.1")), Way::Device { six: true }],
        };
        assert_eq!(said, [expected]);
        let origins: Vec<_> = wires(
            "0.type = macvlan; 0.link = a; 1.type = vlan; 1.link = a; 1.vlan.id = 7; 2.type = phys; 2.link = b;
             3.type = macvlan; 3.link = a; 3.macvlan.mode = bridge",
        )
        .into_iter()
        .map(|wire| wire.origin)
        .collect();
        let macvlan = |mode| Origin::Macvlan { parent: "a".into(), mode };
        let (vlan, phys) = (Origin::Vlan { parent: "a".into(), id: 7 }, Origin::Phys { link: "b".into() });
        assert_eq!(origins, [macvlan(MacvlanMode::Private), vlan, phys, macvlan(MacvlanMode::Bridge)]);
    }

    #[test]
    fn the_last_line_of_a_key_counts_and_other_networks_stay_what_they_were() {
        assert_eq!(of("lxc.tty.max = 1"), Ok(Network::Unsaid));
        assert_eq!(net("0.type = none; 0.flags = up"), Ok(Network::Shared));
        assert_eq!(net("0.type = none; 0.type = empty"), Ok(Network::Empty));
        assert_eq!(net("0.type = none; 1.type = none"), Ok(Network::Shared));
        assert_eq!(wires("0.type = empty; 0.type = phys; 0.link = a; 0.link = b")[0].origin.link(), "b");
        assert_eq!(wires("0.type = empty; 1.type = phys; 1.link = a").len(), 1);
    }

    #[test]
    fn who_says_no_name_gets_the_first_that_nobody_has() {
        let names = |lines: &str| wires(lines).into_iter().map(|wire| wire.name).collect::<Vec<_>>();
        let veth = |index: u8| format!("{index}.type = veth; {index}.link = br0");
        assert_eq!(names(&format!("{}; {}", veth(0), veth(1))), ["eth0", "eth1"]);
        assert_eq!(names(&format!("{}; {}; 4.name = eth0", veth(2), veth(4))), ["eth1", "eth0"]);
        assert_eq!(names(&format!("{}; 1.type = phys; 1.link = eth0", veth(0))), ["eth1", "eth0"]);
        assert_eq!(names("0.type = phys; 0.link = can0; 0.name = bus"), ["bus"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_member() {
        for (lines, expected) in [
            ("0.flags = up", "0.type: is missing"),
            ("0.type = none; 0.link = a", "0.link: is for an interface"),
            ("0.type = empty; 0.ipv4.address = 10.0.0.2/24", "0.ipv4.address: is for an interface"),
            ("0.type = none; 1.type = phys; 1.link = a", "0.type: `none`, which is the device's network"),
            ("0.type = empty; 1.type = none", "1.type: `none`, which is the device's network"),
            ("0.type = veth", "0.link: is missing; name the bridge"),
            ("3.type = macvlan", "3.link: is missing; name the interface of the device whose wire"),
            ("0.type = phys", "0.link: is missing; name the interface that the device gives away"),
            ("0.type = vlan; 0.link = a", "0.vlan.id: is missing"),
            ("0.type = vlan; 0.vlan.id = 7", "0.link: is missing"),
            ("0.type = veth; 0.link = a; 0.vlan.id = 7", "0.vlan.id: is for another type"),
            ("0.type = phys; 0.link = a; 0.macvlan.mode = vepa", "0.macvlan.mode: is for another type"),
            ("0.type = vlan; 0.link = a; 0.vlan.id = 7; 0.veth.pair = b", "0.veth.pair: is for another type"),
            ("0.type = veth; 0.link = a; 0.ipv4.gateway = auto", "0.ipv4.gateway: leads nowhere"),
            ("0.type = phys; 0.link = a; 0.flags = up; 0.ipv6.gateway = auto", "0.ipv6.gateway: auto is for veth"),
            (
                "0.type = phys; 0.link = a; 1.type = veth; 1.link = b; 1.name = a",
                "1.name: another interface of the container is called so",
            ),
            (
                "0.type = veth; 0.link = b; 0.name = a; 1.type = phys; 1.link = a",
                "1.link: another interface of the container is called so",
            ),
            (
                "0.type = veth; 0.link = b; 0.ipv6.address = fd00::1/64; 0.ipv6.address = fd00::1/48",
                "0.ipv6.address: says one address twice",
            ),
            (
                "0.type = veth; 0.link = b; 0.flags = up; 0.ipv4.gateway = dev; 1.type = veth; 1.link = b; 1.flags = up;
                 1.ipv4.gateway = 10.0.0.1",
                "1.ipv4.gateway: another interface leads",
            ),
        ] {
            let error = net(lines).expect_err(lines);
            assert!(error.starts_with(&format!("lxc.net.{expected}")), "{lines}: {error}");
        }
        let many: Vec<_> = (0..9).map(|at| format!("{at}.type = veth; {at}.link = br0")).collect();
        assert!(net(&many.join(";")).unwrap_err().starts_with("lxc.net.8.type: is one interface too many"));
        let many: Vec<_> = (1..18).map(|at| format!("0.ipv4.address = 10.0.{at}.2/24")).collect();
        let many = format!("0.type = veth; 0.link = br0; {}", many.join(";"));
        assert!(net(&many).unwrap_err().starts_with("lxc.net.0.ipv4.address: is one address too many"));
    }

    #[test]
    fn what_is_granted_is_told_even_of_lines_that_are_refused() {
        let config = |text: &str| Config::parse(text.as_bytes()).unwrap();
        let both = config("lxc.net.0.type = none\nlxc.net.1.type = phys\nlxc.net.1.link = eth1\nlxc.net.2.flags = up");
        assert!(network(both.items()).is_err() && shares(both.items()));
        assert_eq!(origins(both.items()), [Origin::Phys { link: "eth1".into() }]);
        let passthru = config("lxc.net.0.type = macvlan\nlxc.net.0.link = a\nlxc.net.0.macvlan.mode = passthru");
        assert!(origins(passthru.items()).iter().all(|origin| origin.is_whole() && origin.link() == "a"));
    }
}
