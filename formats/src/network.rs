//! Networks of containers, as documents state them: pools of the device, what a container has in them, published ports.
//!
//! ```text
//!   device.json    "network": {"pools": {"NAME": {"type": "bridge", "bridge": "br0", "subnet": "10.0.3.0/24",
//!                                                 "subnet6": "fd00:3::/64", "gateway": "10.0.3.1", "nat": true}}}
//!   run.json       "network": {"pool": "NAME", "ip": "10.0.3.9", "mac": "02:00:0a:00:03:09", "hostname": "web"}
//!                  "network": {"interfaces": [{"name": "eth0", "pool": "NAME", "ip": …, "mac": …}]}
//!                  "ports":   ["8080:80", "53:53/udp", "127.0.0.1:8443:443"]        DEVICE:CONTAINER
//! ```
//!
//! Older runtimes leave out a pool with an error in it, and start its containers on the network of the device. Here a
//! pool is right, or the revision is refused: who loses a network by a slip of the pen would gain the device's.
//!
//! API: [`Pool`], [`Network`], [`Port`], [`Subnet`]. Which addresses containers get is not decided here.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::document::{Doubt, Item, Members, Read, Warning, Wrong, shown};
use crate::words::words;

/// The most interfaces of one container.
pub const INTERFACES_MAX: usize = 8;

/// The most ports that one container publishes.
pub const PORTS_MAX: usize = 64;

/// The most pools of a revision.
pub const POOLS_MAX: usize = 32;

words! {
    /// How a pool reaches its containers.
    pub enum PoolKind {
        /// A bridge of the device.
        Bridge = "bridge",
        /// Below an interface of the device.
        Macvlan = "macvlan",
    }
}

words! {
    /// What a published port speaks.
    pub enum Protocol {
        /// Streams.
        Tcp = "tcp",
        /// Datagrams.
        Udp = "udp",
    }
}

/// A network that containers get addresses from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// How it reaches its containers.
    pub reach: Reach,
    /// Its addresses.
    pub subnet: Subnet,
    /// Those of IPv6, of a bridge that has some.
    pub subnet6: Option<Subnet6>,
    /// Where packets for elsewhere go. For a bridge the address of the device on it, which it always has.
    pub gateway: Option<Ipv4Addr>,
    /// Whether its containers reach out behind the device's address.
    pub nat: bool,
}

/// How a pool reaches its containers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    /// A bridge of the device, which is made for it.
    Bridge(String),
    /// Beside the device, on this interface of it.
    Macvlan(String),
}

/// The addresses that share a prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Subnet {
    base: u32,
    prefix: u8,
}

/// Addresses of IPv6 that share a prefix. Whoever has an address of IPv4 in the pool has one in here that ends with it, so
/// that nobody has to remember who has which.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Subnet6 {
    base: u128,
    prefix: u8,
}

/// The network of a container.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Network {
    /// Its interfaces in pools; none is the network of the device.
    pub interfaces: Vec<PoolInterface>,
    /// Its host name.
    pub hostname: Option<String>,
}

/// An interface of a container in a pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolInterface {
    /// Its name in the container.
    pub name: String,
    /// The pool.
    pub pool: String,
    /// A fixed address.
    pub ip: Option<Ipv4Addr>,
    /// A fixed hardware address.
    pub mac: Option<[u8; 6]>,
}

/// A port of the device that leads to one of a container.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Port {
    /// The address of the device that it is published at; `None` is every one.
    pub address: Option<Ipv4Addr>,
    /// Its number on the device.
    pub device: u16,
    /// Its number in the container.
    pub container: u16,
    /// What it speaks.
    pub protocol: Protocol,
}

impl Subnet {
    /// The longest prefix: two addresses are left, one of them the gateway's.
    pub const PREFIX_MAX: u8 = 30;

    /// The shortest prefix.
    pub const PREFIX_MIN: u8 = 8;

    /// The subnet of an address; `None` if the prefix is out of bounds or the address is not its first.
    #[must_use]
    pub fn new(base: Ipv4Addr, prefix: u8) -> Option<Self> {
        let whole = (Self::PREFIX_MIN..=Self::PREFIX_MAX).contains(&prefix);
        let subnet = Self { base: base.to_bits(), prefix };
        (whole && subnet.base & !subnet.mask() == 0).then_some(subnet)
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32_u32.saturating_sub(self.prefix.into())).unwrap_or(0)
    }

    /// Its first address, which is no host's.
    #[must_use]
    pub fn base(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base)
    }

    /// How many bits its addresses share.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The first address that a host can have.
    #[must_use]
    pub fn first(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base | 1)
    }

    /// The last address that a host can have.
    #[must_use]
    pub fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits((self.base | !self.mask()) & !1)
    }

    /// Whether a host of it can have this address.
    #[must_use]
    pub fn has_host(self, address: Ipv4Addr) -> bool {
        (self.first()..=self.last()).contains(&address)
    }

    /// Whether any address is in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        let mask = self.mask() & other.mask();
        self.base & mask == other.base & mask
    }
}

impl Subnet6 {
    /// The longest prefix: it leaves room for an address of IPv4.
    pub const PREFIX_MAX: u8 = 96;

    /// The shortest prefix: that of all addresses of local networks.
    pub const PREFIX_MIN: u8 = 7;

    /// The subnet of an address; `None` if the prefix is out of bounds or the address is not its first.
    #[must_use]
    pub fn new(base: Ipv6Addr, prefix: u8) -> Option<Self> {
        let whole = (Self::PREFIX_MIN..=Self::PREFIX_MAX).contains(&prefix);
        let subnet = Self { base: base.to_bits(), prefix };
        (whole && subnet.base & !subnet.mask() == 0).then_some(subnet)
    }

    fn mask(self) -> u128 {
        u128::MAX.checked_shl(128_u32.saturating_sub(self.prefix.into())).unwrap_or(0)
    }

    /// Its first address.
    #[must_use]
    pub fn base(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.base)
    }

    /// How many bits its addresses share.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The address of whoever has this one of IPv4.
    #[must_use]
    pub fn host(self, address: Ipv4Addr) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.base | u128::from(address.to_bits()))
    }

    /// Whether any address is in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        let mask = self.mask() & other.mask();
        self.base & mask == other.base & mask
    }
}

impl Port {
    /// Reads `[ADDRESS:]DEVICE:CONTAINER[/tcp|/udp]`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, protocol) = match text.split_once('/') {
            Some((rest, word)) => (rest, Protocol::parse(word)?),
            None => (text, Protocol::Tcp),
        };
        let (rest, container) = rest.rsplit_once(':')?;
        let (address, device) = match rest.rsplit_once(':') {
            Some((address, device)) => (Some(address.parse().ok()?), device),
            None => (None, rest),
        };
        Some(Self {
            // Every address, said in the words of sockets.
            address: address.filter(|address: &Ipv4Addr| !address.is_unspecified()),
            device: number(device)?,
            container: number(container)?,
            protocol,
        })
    }

    /// Whether a packet could be for both.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        let same = match (self.address, other.address) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        same && self.device == other.device && self.protocol == other.protocol
    }
}

/// The number of a port: not 0, and nothing but digits.
fn number(text: &str) -> Option<u16> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| plain && *number != 0)
}

/// The ports of `run.json`.
pub(crate) fn ports(item: &Item<'_, '_>) -> Read<Vec<Port>> {
    let items = item.items()?;
    if items.len() > PORTS_MAX {
        return Err(item.error(Wrong::TooMany { limit: PORTS_MAX }));
    }
    let mut ports: Vec<Port> = Vec::new();
    for item in items {
        let text = item.text()?;
        let wanted = "DEVICE:CONTAINER, like \"8080:80\", \"53:53/udp\" or \"127.0.0.1:8080:80\"";
        let port = Port::parse(text).ok_or_else(|| item.error(Wrong::Form { found: shown(text), wanted }))?;
        if let Some(other) = ports.iter().find(|other| other.collides(&port)) {
            return Err(item.error(Wrong::Overlaps(alloc::format!("{other}"))));
        }
        ports.push(port);
    }
    Ok(ports)
}

/// The network of `run.json`.
pub(crate) fn network(item: &Item<'_, '_>, warnings: &mut Vec<Warning>) -> Read<Network> {
    let members = item.members()?;
    no_ipv6(&members)?;
    members.only(&["mode", "pool", "hostname", "ip", "mac", "interfaces"], warnings);
    let hostname = members.read("hostname", hostname)?;
    let mut interfaces = match (members.get("interfaces"), members.get("pool")) {
        (Some(list), None) => {
            for one in ["ip", "mac"] {
                if let Some(item) = members.get(one) {
                    return Err(item.error(Wrong::Cannot("belongs into one of the interfaces")));
                }
            }
            list_of(&list, warnings)?
        }
        (Some(list), Some(_)) => {
            return Err(list.error(Wrong::Cannot("and `pool` exclude each other; name the pool in an interface")));
        }
        (None, Some(_)) => alloc::vec![interface_of(&members, String::from("eth0"))?],
        (None, None) => Vec::new(),
    };
    if interfaces.is_empty() {
        for one in ["ip", "mac"] {
            if let Some(item) = members.get(one) {
                return Err(item.error(Wrong::Cannot("needs a pool that it is of; name one with `pool`")));
            }
        }
    }
    if let Some(mode) = members.get("mode") {
        match (mode.text()?, interfaces.is_empty()) {
            ("host", true) | ("pool", false) => {}
            ("host", false) => warnings.push(mode.warning(Doubt::NoEffect("a pool is named, and it wins"))),
            ("pool", true) => return Err(mode.error(Wrong::Unknown { what: "pool", name: String::new() })),
            (other, _) => return Err(mode.error(Wrong::Word { found: shown(other), allowed: &["host", "pool"] })),
        }
    }
    interfaces.shrink_to_fit();
    Ok(Network { interfaces, hostname })
}

fn list_of(list: &Item<'_, '_>, warnings: &mut Vec<Warning>) -> Read<Vec<PoolInterface>> {
    let items = list.items()?;
    if items.is_empty() {
        return Err(list.error(Wrong::Empty));
    }
    if items.len() > INTERFACES_MAX {
        return Err(list.error(Wrong::TooMany { limit: INTERFACES_MAX }));
    }
    let mut interfaces: Vec<PoolInterface> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let members = item.members()?;
        no_ipv6(&members)?;
        members.only(&["name", "pool", "ip", "mac"], warnings);
        let one = interface_of(&members, alloc::format!("eth{index}"))?;
        let taken = interfaces.iter().find_map(|other| match () {
            () if other.name == one.name => Some(&one.name),
            () if other.pool == one.pool => Some(&one.pool),
            () => None,
        });
        if let Some(taken) = taken {
            return Err(item.error(Wrong::Taken(taken.clone())));
        }
        interfaces.push(one);
    }
    Ok(interfaces)
}

fn interface_of(members: &Members<'_, '_>, name: String) -> Read<PoolInterface> {
    let ip = match members.get("ip") {
        None => None,
        // The pool says how long the prefix is; tools may repeat it.
        Some(item) => Some(address(&item)?.0),
    };
    Ok(PoolInterface {
        name: members.read("name", interface)?.unwrap_or(name),
        pool: members.need("pool")?.c_text()?,
        ip,
        mac: members.read("mac", hardware_address)?,
    })
}

/// A name for `/etc/hosts`, and for the kernel.
fn hostname(item: &Item<'_, '_>) -> Read<String> {
    let text = item.text()?;
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !part.starts_with('-')
    };
    if text.len() <= 64 && text.split('.').all(label) {
        Ok(text.into())
    } else {
        Err(item.error(Wrong::Form { found: shown(text), wanted: "a host name of letters, digits and `-`" }))
    }
}

/// The pools of `device.json`.
pub(crate) fn pools(item: &Item<'_, '_>, warnings: &mut Vec<Warning>) -> Read<Vec<Pool>> {
    let members = item.members()?;
    let mut pools: Vec<Pool> = Vec::new();
    for (name, item) in members.iter() {
        crate::path::component(name).map_err(|why| item.error(Wrong::Path(why)))?;
        // It stands in a line of its own file.
        if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(item.error(Wrong::Form { found: shown(name), wanted: "a name without blanks" }));
        }
        let pool = pool(name, &item, warnings)?;
        if let Some(other) = pools.iter().find(|other| other.subnet.overlaps(pool.subnet)) {
            let member = item.members()?.need("subnet")?;
            return Err(member.error(Wrong::Overlaps(alloc::format!("that of pool {}", other.name))));
        }
        let six = |other: &&Pool| other.subnet6.zip(pool.subnet6).is_some_and(|(one, other)| one.overlaps(other));
        if let Some(other) = pools.iter().find(six) {
            let member = item.members()?.need("subnet6")?;
            return Err(member.error(Wrong::Overlaps(alloc::format!("that of pool {}", other.name))));
        }
        if let Reach::Bridge(bridge) = &pool.reach
            && let Some(other) = pools.iter().find(|other| other.reach == pool.reach)
        {
            let member = item.members()?.need("bridge")?;
            return Err(member.error(Wrong::Taken(alloc::format!("{bridge} (by pool {})", other.name))));
        }
        pools.push(pool);
    }
    if pools.len() > POOLS_MAX { Err(item.error(Wrong::TooMany { limit: POOLS_MAX })) } else { Ok(pools) }
}

fn pool(name: &str, item: &Item<'_, '_>, warnings: &mut Vec<Warning>) -> Read<Pool> {
    let members = item.members()?;
    no_ipv6(&members)?;
    members.only(&["type", "bridge", "parent", "subnet", "subnet6", "gateway", "nat"], warnings);
    let said = members.need("subnet")?;
    let subnet = subnet(&said)?;
    let kind = members.need("type")?.word()?;
    let unused = match kind {
        PoolKind::Bridge => "parent",
        PoolKind::Macvlan => "bridge",
    };
    if let Some(item) = members.get(unused) {
        return Err(item.error(Wrong::Cannot("is for the other type of pool; leave it out")));
    }
    let nat = members.read("nat", Item::flag)?.unwrap_or(false);
    let gateway = match members.get("gateway") {
        Some(item) => {
            let (gateway, _) = address(&item)?;
            if !subnet.has_host(gateway) {
                let wanted = "an address that a host of the subnet can have";
                return Err(item.error(Wrong::Form { found: alloc::format!("{gateway}"), wanted }));
            }
            Some(gateway)
        }
        None if kind == PoolKind::Bridge => Some(subnet.first()),
        None => None,
    };
    let reach = match kind {
        PoolKind::Bridge => Reach::Bridge(members.need("bridge").and_then(|item| interface(&item))?),
        PoolKind::Macvlan => Reach::Macvlan(members.need("parent").and_then(|item| interface(&item))?),
    };
    if nat && kind == PoolKind::Macvlan {
        let why = "is for bridges: containers of a macvlan do not reach out through the device; leave it out";
        return Err(members.need("nat")?.error(Wrong::Cannot(why)));
    }
    let subnet6 = members.read("subnet6", subnet6)?;
    if subnet6.is_some() && kind == PoolKind::Macvlan {
        let why = "is for bridges: who is on the wire says which addresses of IPv6 there are; leave it out";
        return Err(members.need("subnet6")?.error(Wrong::Cannot(why)));
    }
    Ok(Pool { name: name.into(), reach, subnet, subnet6, gateway, nat })
}

fn subnet6(item: &Item<'_, '_>) -> Read<Subnet6> {
    let text = item.text()?;
    let parts = || {
        let (address, prefix) = text.split_once('/')?;
        let plain = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        Some((address.parse::<Ipv6Addr>().ok()?, prefix.parse().ok().filter(|_| plain)?))
    };
    let wrong = |wanted| item.error(Wrong::Form { found: shown(text), wanted });
    let (base, prefix) = parts().ok_or_else(|| wrong("a subnet like fd00:3::/64"))?;
    let subnet = Subnet6::new(base, prefix);
    let subnet = subnet.ok_or_else(|| wrong("a subnet: a prefix of 7 to 96, and the bits behind it 0"))?;
    let [first, ..] = base.segments();
    // Unique local, or of the world.
    if first & 0xfe00 == 0xfc00 || first & 0xe000 == 0x2000 {
        return Ok(subnet);
    }
    Err(wrong("a subnet that hosts can have addresses of: in fc00::/7, or in 2000::/3"))
}

fn subnet(item: &Item<'_, '_>) -> Read<Subnet> {
    let found = || Ok(shown(item.text()?));
    let wrong = |wanted| Ok::<_, crate::document::DocumentError>(item.error(Wrong::Form { found: found()?, wanted }));
    let (address, prefix) = address(item)?;
    let Some(prefix) = prefix else { return Err(wrong("a subnet like 10.0.3.0/24")?) };
    if !(Subnet::PREFIX_MIN..=Subnet::PREFIX_MAX).contains(&prefix) {
        return Err(wrong(
            "a subnet with a prefix of 8 to 30: with less than four addresses there is no container in it",
        )?);
    }
    let Some(subnet) = Subnet::new(address, prefix) else {
        return Err(wrong("a subnet: the bits behind its prefix are not 0")?);
    };
    if address.is_loopback() || address.is_multicast() || address.is_unspecified() || address.octets()[0] >= 224 {
        return Err(wrong("a subnet that hosts can have addresses of")?);
    }
    Ok(subnet)
}

/// `10.0.3.7` or `10.0.3.7/24`.
fn address(item: &Item<'_, '_>) -> Read<(Ipv4Addr, Option<u8>)> {
    let text = item.text()?;
    parse_address(text).ok_or_else(|| {
        let six = text.split('/').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
        let four = "an address like 10.0.3.7 or 10.0.3.7/24";
        let wanted = if six { "an address of IPv4; for those of IPv6 a pool has `subnet6`" } else { four };
        item.error(Wrong::Form { found: shown(text), wanted })
    })
}

/// Members for what is worked out: passed over, they would be addresses that nobody has.
fn no_ipv6(members: &Members<'_, '_>) -> Read<()> {
    match ["gateway6", "ip6", "ipv6"].into_iter().find_map(|name| members.get(name)) {
        Some(item) => {
            let why =
                "is worked out: an address of IPv6 is the `subnet6` of the pool and the one of IPv4; leave it out";
            Err(item.error(Wrong::Cannot(why)))
        }
        None => Ok(()),
    }
}

/// An address with or without a prefix length.
pub(crate) fn parse_address(text: &str) -> Option<(Ipv4Addr, Option<u8>)> {
    match text.split_once('/') {
        None => Some((text.parse().ok()?, None)),
        Some((address, prefix)) => {
            let plain = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
            let prefix = prefix.parse().ok().filter(|prefix| plain && *prefix <= 32)?;
            Some((address.parse().ok()?, Some(prefix)))
        }
    }
}

fn hardware_address(item: &Item<'_, '_>) -> Read<[u8; 6]> {
    let text = item.text()?;
    let wrong = |wanted| item.error(Wrong::Form { found: shown(text), wanted });
    let address = parse_hardware_address(text).ok_or_else(|| wrong("an address like 02:00:0a:00:03:07"))?;
    // The lowest bit of the first byte is for groups.
    let [first, ..] = address;
    if first & 1 == 1 || address == [0; 6] { Err(wrong("the address of one interface")) } else { Ok(address) }
}

/// Six pairs of hexadecimal digits with colons between.
pub(crate) fn parse_hardware_address(text: &str) -> Option<[u8; 6]> {
    let mut parts = text.split(':');
    let mut address = [0; 6];
    for byte in &mut address {
        let part =
            parts.next().filter(|part| part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(address)
}

/// Whether kernels take it for the name of an interface: 1 to 15 bytes without `/`, `:` or blanks.
fn is_interface(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && !text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
        && !matches!(text, "." | "..")
}

/// Whether it is the name of one interface other than the loopback. The kernel counts up names with a `%d` in them, and keeps
/// two for settings of all.
pub(crate) fn is_link(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%');
    is_interface(text) && plain && !matches!(text, "lo" | "all" | "default")
}

fn interface(item: &Item<'_, '_>) -> Read<String> {
    let text = item.text()?;
    if is_link(text) {
        Ok(text.into())
    } else {
        Err(item.error(Wrong::Form { found: shown(text), wanted: "the name of a network interface" }))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix)
    }
}

impl fmt::Display for Subnet6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.address {
            write!(f, "{address}:")?;
        }
        write!(f, "{}:{}", self.device, self.container)?;
        if self.protocol == Protocol::Tcp { Ok(()) } else { write!(f, "/{}", self.protocol) }
    }
}

#[cfg(test)]
mod tests;
