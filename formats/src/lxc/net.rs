//! `lxc.net.N.…`: the lines about interfaces of a container. What all of one number come to is in [`wire`](super::wire).

use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{LxcWrong, wrong};
use crate::network::{is_link, parse_address, parse_hardware_address};
use crate::words::words;

words! {
    /// What kind of interface it is.
    pub enum LinkKind {
        /// The network of the device, shared.
        None = "none",
        /// Nothing but loopback.
        Empty = "empty",
        /// A pair, one end on a bridge.
        Veth = "veth",
        /// An interface of the device, moved.
        Phys = "phys",
        /// An interface on top of one of the device.
        Macvlan = "macvlan",
        /// What is marked with a number on the wire of one of the device.
        Vlan = "vlan",
    }
}

words! {
    /// Who on one parent speaks to whom.
    pub enum MacvlanMode {
        /// Nobody to nobody.
        Private = "private",
        /// Everybody, by way of the switch.
        Vepa = "vepa",
        /// Everybody, directly.
        Bridge = "bridge",
        /// There is one only.
        Passthru = "passthru",
    }
}

/// What a line says of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetItem {
    /// `type`
    Kind(LinkKind),
    /// `link`: the bridge or interface of the device.
    Link(String),
    /// `flags = up`, the only flag there is.
    Up,
    /// `name`: what it is called in the container.
    Name(String),
    /// `hwaddr`
    HardwareAddress([u8; 6]),
    /// `mtu`: the longest packet, in bytes.
    Mtu(u32),
    /// `veth.pair`: what the other end is called on the device.
    VethPair(String),
    /// `veth.mode = bridge`, the only one there is.
    VethBridge,
    /// `macvlan.mode`
    MacvlanMode(MacvlanMode),
    /// `vlan.id`
    VlanId(u16),
    /// `ipv4.address`: with the length of its prefix, and the address that means everybody where the line says it.
    Ipv4Address(Ipv4Addr, u8, Option<Ipv4Addr>),
    /// `ipv4.gateway`
    Ipv4Gateway(Gateway),
    /// `ipv6.address`: with the length of its prefix.
    Ipv6Address(Ipv6Addr, u8),
    /// `ipv6.gateway`
    Ipv6Gateway(Gateway),
}

/// Where packets for elsewhere go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gateway {
    /// To the address of the link on the device.
    Auto,
    /// Everybody is on the wire.
    Device,
    /// To this address.
    Address(IpAddr),
}

/// The prefix of an address of IPv6 that is said without one, as LXC has it.
const PREFIX6: u8 = 64;

impl NetItem {
    /// Reads the value of a member; `None` for a member that is not known.
    pub(super) fn read(member: &str, value: &str) -> Option<Result<Self, LxcWrong>> {
        let link = || is_link(value).then(|| String::from(value));
        // As it is written again.
        let plain = || value.bytes().all(|digit| digit.is_ascii_digit()) && !value.starts_with('0');
        let gateway = |address: Option<IpAddr>| match value {
            "auto" => Some(Gateway::Auto),
            "dev" => Some(Gateway::Device),
            _ => address.map(Gateway::Address),
        };
        let (found, wanted) = match member {
            "type" => (LinkKind::parse(value).map(Self::Kind), "none, empty, veth, phys, macvlan or vlan"),
            "link" => (link().map(Self::Link), LINK),
            "name" => (link().map(Self::Name), LINK),
            "flags" => ((value == "up").then_some(Self::Up), "up"),
            "hwaddr" => (
                parse_hardware_address(value).filter(is_of_one).map(Self::HardwareAddress),
                "the address of one interface, like 02:00:0a:00:03:07",
            ),
            "mtu" => (
                value.parse().ok().filter(|mtu| plain() && (68..=65535).contains(mtu)).map(Self::Mtu),
                "a number of bytes from 68 to 65535",
            ),
            "veth.pair" => (link().map(Self::VethPair), LINK),
            "veth.mode" => (
                (value == "bridge").then_some(Self::VethBridge),
                "bridge: the device is the router of pools only, see docs/networks.md",
            ),
            "macvlan.mode" => (MacvlanMode::parse(value).map(Self::MacvlanMode), "private, vepa, bridge or passthru"),
            "vlan.id" => (
                value.parse().ok().filter(|id| plain() && (1..=4094).contains(id)).map(Self::VlanId),
                "a number from 1 to 4094",
            ),
            "ipv4.address" => (address4(value), "an address with its prefix, like 10.0.3.7/24"),
            "ipv4.gateway" => (
                gateway(value.parse().ok().filter(is_host4).map(IpAddr::V4)).map(Self::Ipv4Gateway),
                "auto, dev or the address of a router",
            ),
            "ipv6.address" => (address6(value), "an address like fd00::7/64"),
            "ipv6.gateway" => (
                gateway(value.parse().ok().filter(is_host6).map(IpAddr::V6)).map(Self::Ipv6Gateway),
                "auto, dev or the address of a router",
            ),
            _ => return None,
        };
        Some(found.ok_or_else(|| wrong(value, wanted)))
    }

    /// What stands behind the number in the key.
    #[must_use]
    pub fn member(&self) -> &'static str {
        match self {
            Self::Kind(_) => "type",
            Self::Link(_) => "link",
            Self::Up => "flags",
            Self::Name(_) => "name",
            Self::HardwareAddress(_) => "hwaddr",
            Self::Mtu(_) => "mtu",
            Self::VethPair(_) => "veth.pair",
            Self::VethBridge => "veth.mode",
            Self::MacvlanMode(_) => "macvlan.mode",
            Self::VlanId(_) => "vlan.id",
            Self::Ipv4Address(..) => "ipv4.address",
            Self::Ipv4Gateway(_) => "ipv4.gateway",
            Self::Ipv6Address(..) => "ipv6.address",
            Self::Ipv6Gateway(_) => "ipv6.gateway",
        }
    }
}

const LINK: &str = "the name of an interface";

/// The lowest bit of the first byte is for groups.
fn is_of_one(address: &[u8; 6]) -> bool {
    let [first, ..] = address;
    first & 1 == 0 && *address != [0; 6]
}

fn is_host4(address: &Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    (1..224).contains(&first) && first != 127
}

fn is_host6(address: &Ipv6Addr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast() && address.to_ipv4_mapped().is_none()
}

/// `10.0.3.7/24`, and behind it what means everybody, if that is what its prefix says.
fn address4(value: &str) -> Option<NetItem> {
    let (address, everybody) = match value.split_once([' ', '\t']) {
        Some((address, rest)) => (address, Some(rest.trim_start().parse().ok()?)),
        None => (value, None),
    };
    let (address, Some(prefix @ 1..)) = parse_address(address).filter(|(address, _)| is_host4(address))? else {
        return None;
    };
    let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    let (first, last) = (address.to_bits() & !host, address.to_bits() | host);
    // A network of two addresses has neither, and one of one has nobody else.
    let is_nobodys = prefix < 31 && [first, last].contains(&address.to_bits());
    let fits = everybody.is_none_or(|everybody: Ipv4Addr| prefix < 31 && everybody.to_bits() == last);
    (!is_nobodys && fits).then_some(NetItem::Ipv4Address(address, prefix, everybody))
}

fn address6(value: &str) -> Option<NetItem> {
    let (address, prefix) = match value.split_once('/') {
        None => (value, PREFIX6),
        Some((address, prefix)) => {
            let plain = prefix.bytes().all(|digit| digit.is_ascii_digit()) && !prefix.starts_with('0');
            (address, prefix.parse().ok().filter(|prefix| plain && (1..=128).contains(prefix))?)
        }
    };
    let address = address.parse().ok().filter(is_host6)?;
    Some(NetItem::Ipv6Address(address, prefix))
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Device => f.write_str("dev"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for NetItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = ", self.member())?;
        match self {
            Self::Kind(kind) => kind.fmt(f),
            Self::Link(name) | Self::Name(name) | Self::VethPair(name) => f.write_str(name),
            Self::Up => f.write_str("up"),
            Self::HardwareAddress([a, b, c, d, e, g]) => write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"),
            Self::Mtu(mtu) => mtu.fmt(f),
            Self::VethBridge => f.write_str("bridge"),
            Self::MacvlanMode(mode) => mode.fmt(f),
            Self::VlanId(id) => id.fmt(f),
            Self::Ipv4Address(address, prefix, None) => write!(f, "{address}/{prefix}"),
            Self::Ipv4Address(address, prefix, Some(everybody)) => write!(f, "{address}/{prefix} {everybody}"),
            Self::Ipv6Address(address, prefix) => write!(f, "{address}/{prefix}"),
            Self::Ipv4Gateway(gateway) | Self::Ipv6Gateway(gateway) => gateway.fmt(f),
        }
    }
}
