//! The device's network as far as PID 1 has to do with it: its loopback always, its first wired link in recovery.
//!
//! ```text
//!   /sys/class/net/NAME/   type 1 (Ethernet) · device (not virtual) · no wireless, no phy80211      a wired link
//!                          ifindex: the lowest is the first
//! ```
//!
//! Anything else about a network is the business of a container.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::sys;

/// Where the kernel lists interfaces.
pub const INTERFACES: &str = "/sys/class/net";

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// As the kernel calls it.
    pub name: String,
    /// The order in which the kernel has found them.
    pub index: u32,
    /// Its Ethernet address.
    pub hardware: [u8; 6],
}

/// Brings an interface of this network namespace up.
///
/// # Errors
/// There is none of this name, or the process may not.
pub fn bring_up(name: &str) -> Result<(), Errno> {
    let up = u16::try_from(libc::IFF_UP).map_err(|_| Errno::INVAL)?;
    sys::interface_set_flags(any()?.as_fd(), name.as_bytes(), up)
}

/// The wired link with the lowest index among the interfaces in a directory like [`INTERFACES`].
#[must_use]
pub fn first_wired(interfaces: &Path) -> Option<Link> {
    let entries = fs::read_dir(interfaces).ok()?.flatten();
    entries.filter_map(|entry| wired(&entry.path())).min_by_key(|link| link.index)
}

fn wired(dir: &Path) -> Option<Link> {
    let text = |name: &str| fs::read_to_string(dir.join(name)).ok();
    let has = |name: &str| dir.join(name).exists();
    if text("type")?.trim() != "1" || !has("device") || has("wireless") || has("phy80211") {
        return None;
    }
    let mut hardware = [0; 6];
    let address = text("address")?;
    let mut bytes = address.trim().split(':');
    for byte in &mut hardware {
        *byte = u8::from_str_radix(bytes.next()?, 16).ok()?;
    }
    let name = dir.file_name()?.to_str()?.to_owned();
    Some(Link { name, index: text("ifindex")?.trim().parse().ok()?, hardware })
}

/// Gives an interface its one IPv4 address; the one before is gone, and routes with it.
///
/// # Errors
/// There is none of this name, or the process may not.
pub fn set_address(name: &str, address: Ipv4Addr, mask: Ipv4Addr) -> Result<(), Errno> {
    sys::interface_set_address(any()?.as_fd(), name.as_bytes(), address, Some(mask))
}

/// Takes the IPv4 address of an interface away, and its routes.
///
/// # Errors
/// There is none of this name, or the process may not.
pub fn clear_address(name: &str) -> Result<(), Errno> {
    sys::interface_set_address(any()?.as_fd(), name.as_bytes(), Ipv4Addr::UNSPECIFIED, None)
}

/// Leads to all other networks by way of a router that is a neighbour.
///
/// # Errors
/// It is none, or the process may not.
pub fn set_router(router: Ipv4Addr) -> Result<(), Errno> {
    match sys::add_default_route(any()?.as_fd(), router) {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

/// From now on a socket sends and receives on this interface alone, which needs no address for that.
///
/// # Errors
/// There is none of this name, or the process may not.
pub fn bind_to(socket: impl AsFd, name: &str) -> Result<(), Errno> {
    sys::bind_to_interface(socket.as_fd(), name.as_bytes())
}

/// A socket to speak of interfaces with.
fn any() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_an_error() {
        assert_eq!(bring_up("none such"), Err(Errno::NODEV));
        assert_eq!(bring_up("a name that is far too long"), Err(Errno::NAMETOOLONG));
        assert!(set_address("none such", [10, 0, 0, 1].into(), [255, 0, 0, 0].into()).is_err());
        assert!(clear_address("a name that is far too long").is_err());
    }

    #[test]
    fn the_first_wired_link_is_the_one_that_the_kernel_found_first_whatever_its_name() {
        let root = std::env::temp_dir().join(format!("links-{}", std::process::id()));
        let link = |name: &str, index: u32, files: &[&str], kind: &str| {
            let dir = root.join(name);
            fs::create_dir_all(&dir).unwrap();
            files.iter().for_each(|file| fs::create_dir(dir.join(file)).unwrap());
            for (file, text) in [("type", kind), ("ifindex", &index.to_string()), ("address", "52:54:00:00:00:0a\n")] {
                fs::write(dir.join(file), text).unwrap();
            }
        };
        assert_eq!(first_wired(&root), None);
        link("lo", 1, &[], "772\n");
        link("bridge", 2, &[], "1\n");
        link("wlan0", 3, &["device", "wireless", "phy80211"], "1\n");
        link("can0", 4, &["device"], "280\n");
        assert_eq!(first_wired(&root), None);
        link("aa", 10, &["device"], "1\n");
        link("zz", 9, &["device"], "1\n");
        let first = Link { name: "zz".into(), index: 9, hardware: [0x52, 0x54, 0, 0, 0, 10] };
        assert_eq!(first_wired(&root), Some(first));
        fs::remove_dir_all(&root).unwrap();
    }
}
