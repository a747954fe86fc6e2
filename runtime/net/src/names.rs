//! What links are called and how they are addressed, checked once.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use rustix::io::Errno;

use crate::Error;

/// The longest name of a link, in bytes: `IFNAMSIZ` without its NUL.
pub const NAME_MAX: usize = 15;

/// The name of a link, as the kernel accepts it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name(String);

impl Name {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    /// 1 to [`NAME_MAX`] visible characters of ASCII without `/` and `:`, and without `%`, which asks the kernel for a
    /// number. Neither `.` nor `..`, and not `all` or `default`, which mean every link where settings are kept.
    fn from_str(text: &str) -> Result<Self, Error> {
        let is_known = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%');
        let is_good = (1..=NAME_MAX).contains(&text.len())
            && text.bytes().all(is_known)
            && !matches!(text, "." | ".." | "all" | "default");
        if is_good {
            return Ok(Self(text.into()));
        }
        let detail = "1 to 15 letters, digits and signs other than / : % are one; . .. all default are none";
        Err(wrong("link", text, "have this name", detail))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The Ethernet address of one link: no group's, and not zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mac([u8; 6]);

impl Mac {
    /// `None` if no link may have it.
    #[must_use]
    pub fn new(bytes: [u8; 6]) -> Option<Self> {
        let [first, ..] = bytes;
        (first & 1 == 0 && bytes != [0; 6]).then_some(Self(bytes))
    }

    /// Its six bytes.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for Mac {
    type Err = Error;

    /// Six bytes of two hexadecimal digits each, with `:` between them.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = || {
            let mut bytes = [0; 6];
            let mut digits = text.split(':');
            for byte in &mut bytes {
                let two =
                    digits.next().filter(|two| two.len() == 2 && two.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
                *byte = u8::from_str_radix(two, 16).ok()?;
            }
            digits.next().is_none().then_some(bytes)
        };
        let detail = "02:00:00:00:00:01 is one; group addresses and zero are none";
        bytes().and_then(Self::new).ok_or_else(|| wrong("Ethernet address", text, "give it to a link", detail))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An address and how many of its bits, from the left, the whole network has in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// `None` if the address has fewer bits.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        (prefix <= bits(address)).then_some(Self { address, prefix })
    }

    /// The address.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// The bits in common.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// The network that the address is of: the bits that are not in common are zero.
    #[must_use]
    pub fn network(self) -> Self {
        Self { address: and(self.address, self.mask()), ..self }
    }

    /// Ones for the bits in common, zeros for the others.
    #[must_use]
    pub fn mask(self) -> IpAddr {
        let host = u32::from(bits(self.address).saturating_sub(self.prefix));
        match self.address {
            IpAddr::V4(_) => Ipv4Addr::from_bits(u32::MAX.checked_shl(host).unwrap_or(0)).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(u128::MAX.checked_shl(host).unwrap_or(0)).into(),
        }
    }

    /// Whether an address is of this network.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && and(address, self.mask()) == self.network().address
    }
}

impl FromStr for Cidr {
    type Err = Error;

    /// `ADDRESS/BITS`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = || {
            let (address, prefix) = text.split_once('/')?;
            let is_number = !prefix.is_empty() && prefix.bytes().all(|digit| digit.is_ascii_digit());
            Self::new(address.parse().ok()?, is_number.then(|| prefix.parse().ok())??)
        };
        parts().ok_or_else(|| wrong("network address", text, "use it", "10.0.3.1/24 is one, and fd00::1/64"))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

const fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn and(address: IpAddr, mask: IpAddr) -> IpAddr {
    match (address, mask) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => (address & mask).into(),
        (IpAddr::V6(address), IpAddr::V6(mask)) => (address & mask).into(),
        // A mask is always of the kind of its address.
        _ => address,
    }
}

fn wrong(kind: &str, text: &str, doing: &'static str, detail: &str) -> Error {
    // Of a text that nobody checked yet, no more than a line.
    let text: String = text.chars().take(64).collect();
    Error { object: format!("{kind} {text:?}"), doing, errno: Errno::INVAL, detail: detail.into(), needs: "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_the_kernel_would_change_or_take_for_every_link_is_none() {
        for good in ["eth0", "lxcbr0", "a", "fifteen-bytes-x", "br-1.2", "@x"] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in ["", "sixteen-bytes-xx", "a b", "a/b", "eth0:1", "eth%d", ".", "..", "all", "default", "ä", "a\n"] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_ethernet_address_is_that_of_one_link_and_is_shown_as_it_is_written() {
        let mac: Mac = "02:Aa:00:00:00:1f".parse().unwrap();
        assert_eq!((mac.octets(), mac.to_string()), ([2, 0xaa, 0, 0, 0, 0x1f], "02:aa:00:00:00:1f".into()));
        for bad in [
            "",
            "01:00:00:00:00:01",
            "00:00:00:00:00:00",
            "2:0:0:0:0:1",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "+2:00:00:00:00:01",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_network_is_its_first_bits_and_has_what_begins_with_them() {
        let pool: Cidr = "10.0.3.77/24".parse().unwrap();
        assert_eq!(
            (pool.network().to_string(), pool.mask().to_string()),
            ("10.0.3.0/24".into(), "255.255.255.0".into())
        );
        assert!(pool.contains([10, 0, 3, 1].into()) && !pool.contains([10, 0, 4, 1].into()));
        assert!(!pool.contains("::ffff:10.0.3.1".parse().unwrap()));
        let whole: Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(whole.contains([8, 8, 8, 8].into()));
        let six: Cidr = "fd00:1::5/64".parse().unwrap();
        assert_eq!(six.network().to_string(), "fd00:1::/64");
        assert!(six.contains("fd00:1::ffff".parse().unwrap()) && !six.contains("fd00:2::1".parse().unwrap()));
        for bad in ["10.0.3.1", "10.0.3.1/33", "10.0.3.1/+1", "10.0.3.1/", "10.0.3/24", "fd00::/129", "10.0.3.1/24/1"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}
