//! `lxc.net.N.…`: the interfaces of a container.

use alloc::string::String;
use core::fmt;
use core::net::Ipv4Addr;

use super::{LxcWrong, wrong};
use crate::network::{is_interface, parse_address, parse_hardware_address};
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
    /// `macvlan.mode`
    MacvlanMode(MacvlanMode),
    /// `vlan.id`
    VlanId(u16),
    /// `ipv4.address`
    Ipv4Address(Ipv4),
    /// `ipv4.gateway`
    Ipv4Gateway(Gateway),
}

/// Where an address comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ipv4 {
    /// The device chooses.
    Auto,
    /// The container asks a server.
    Dhcp,
    /// This one, with the length of its prefix if given.
    Static(Ipv4Addr, Option<u8>),
}

/// Where packets for elsewhere go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gateway {
    /// To the address of the link.
    Auto,
    /// To this address.
    Address(Ipv4Addr),
}

impl NetItem {
    /// Reads the value of a member; `None` for a member that is not known.
    pub(super) fn read(member: &str, value: &str) -> Option<Result<Self, LxcWrong>> {
        let interface = || is_interface(value).then(|| String::from(value));
        // As it is written again.
        let plain = || value.bytes().all(|digit| digit.is_ascii_digit()) && !value.starts_with('0');
        let (found, wanted) = match member {
            "type" => (LinkKind::parse(value).map(Self::Kind), "none, empty, veth, phys, macvlan or vlan"),
            "link" => (interface().map(Self::Link), "the name of an interface"),
            "name" => (interface().map(Self::Name), "the name of an interface"),
            "flags" => ((value == "up").then_some(Self::Up), "up"),
            "hwaddr" => (parse_hardware_address(value).map(Self::HardwareAddress), "six pairs of digits with colons"),
            "mtu" => (
                value.parse().ok().filter(|mtu| plain() && (68..=65535).contains(mtu)).map(Self::Mtu),
                "a number of bytes from 68 to 65535",
            ),
            "macvlan.mode" => (MacvlanMode::parse(value).map(Self::MacvlanMode), "private, vepa, bridge or passthru"),
            "vlan.id" => (
                value.parse().ok().filter(|id| plain() && (1..=4094).contains(id)).map(Self::VlanId),
                "a number from 1 to 4094",
            ),
            "ipv4.address" => (
                match value {
                    "auto" => Some(Self::Ipv4Address(Ipv4::Auto)),
                    "dhcp" => Some(Self::Ipv4Address(Ipv4::Dhcp)),
                    other => {
                        parse_address(other).map(|(address, prefix)| Self::Ipv4Address(Ipv4::Static(address, prefix)))
                    }
                },
                "auto, dhcp or an address like 10.0.3.7/24",
            ),
            "ipv4.gateway" => (
                match value {
                    "auto" => Some(Self::Ipv4Gateway(Gateway::Auto)),
                    other => other.parse().ok().map(|address| Self::Ipv4Gateway(Gateway::Address(address))),
                },
                "auto or an address",
            ),
            _ => return None,
        };
        Some(found.ok_or_else(|| wrong(value, wanted)))
    }
}

impl fmt::Display for NetItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "type = {kind}"),
            Self::Link(name) => write!(f, "link = {name}"),
            Self::Up => f.write_str("flags = up"),
            Self::Name(name) => write!(f, "name = {name}"),
            Self::HardwareAddress([a, b, c, d, e, g]) => {
                write!(f, "hwaddr = {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
            }
            Self::Mtu(mtu) => write!(f, "mtu = {mtu}"),
            Self::MacvlanMode(mode) => write!(f, "macvlan.mode = {mode}"),
            Self::VlanId(id) => write!(f, "vlan.id = {id}"),
            Self::Ipv4Address(Ipv4::Auto) => f.write_str("ipv4.address = auto"),
            Self::Ipv4Address(Ipv4::Dhcp) => f.write_str("ipv4.address = dhcp"),
            Self::Ipv4Address(Ipv4::Static(address, None)) => write!(f, "ipv4.address = {address}"),
            Self::Ipv4Address(Ipv4::Static(address, Some(prefix))) => write!(f, "ipv4.address = {address}/{prefix}"),
            Self::Ipv4Gateway(Gateway::Auto) => f.write_str("ipv4.gateway = auto"),
            Self::Ipv4Gateway(Gateway::Address(address)) => write!(f, "ipv4.gateway = {address}"),
        }
    }
}
