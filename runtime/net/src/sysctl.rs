//! What the kernel is told about networks through `/proc/sys/net`, in the namespace of the calling thread.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::Error;
use crate::names::Name;

/// Where the settings of a kind of IP lie, a directory for each link.
const FOUR: &str = "/proc/sys/net/ipv4/conf";
const SIX: &str = "/proc/sys/net/ipv6/conf";

/// What `br_netfilter` shows to tables, if a kernel has that: packets that never leave their bridge.
const SWITCHED: [&str; 3] = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"];

/// Has the kernel pass on what is not for the device itself, for IPv4. Gives whether it did so before, which is what
/// [`crate::nft::Ruleset::transit`] wants to know.
///
/// What stays within a bridge is left to that bridge. Otherwise a container that calls itself by a published port would
/// not be answered: a bridge sends nothing back to the port that it came from.
///
/// # Errors
/// `/proc` is not there or may not be written to.
pub fn forward() -> Result<bool, Error> {
    let four = Path::new("/proc/sys/net/ipv4/ip_forward");
    let before = read(four)? != 0;
    if !before {
        write(four, 1)?;
    }
    for name in SWITCHED {
        let path = Path::new("/proc/sys/net/bridge").join(name);
        if path.exists() && read(&path)? != 0 {
            write(&path, 0)?;
        }
    }
    Ok(before)
}

/// The same for IPv6, for pools that have networks of it. The device itself goes on to take its address and its router
/// from those who announce them, which a kernel that passes packets on does on request only.
///
/// # Errors
/// The kernel has no IPv6, or as for [`forward`].
pub fn forward6() -> Result<bool, Error> {
    let all = Path::new(SIX).join("all/forwarding");
    let before = read(&all)? != 0;
    if !before {
        for link in links(SIX)? {
            let announced = link.join("accept_ra");
            // 1 is what 2 is while nothing is passed on. A link that has gone meanwhile needs neither.
            if read(&announced) == Ok(1) {
                write(&announced, 2)?;
            }
        }
        write(&all, 1)?;
    }
    Ok(before)
}

/// Lets the device itself reach containers behind a bridge through ports that are published on its loopback. Only for a
/// bridge that [`crate::nft::Ruleset::pools`] names: its table keeps the loopback closed to those containers.
///
/// # Errors
/// There is no such bridge, or `/proc` may not be written to.
pub fn reach_from_loopback(bridge: &Name) -> Result<(), Error> {
    write(&Path::new(FOUR).join(bridge.as_str()).join("route_localnet"), 1)
}

/// Takes IPv6 off a link of the device, with the address that the kernel gives each link for itself (`fe80::`): who is
/// behind a bridge could otherwise announce itself as the router of the device, which believes that of every link. A kernel
/// without IPv6 has nothing to take off.
///
/// # Errors
/// `/proc` may not be written to.
pub fn without_ipv6(link: &Name) -> Result<(), Error> {
    let switch = Path::new(SIX).join(link.as_str()).join("disable_ipv6");
    if switch.exists() { write(&switch, 1) } else { Ok(()) }
}

/// Lets a link have IPv6, and believe nobody on it who announces himself as a router or knows a better way.
///
/// # Errors
/// The kernel has no IPv6, there is no such link, or `/proc` may not be written to.
pub fn with_ipv6(link: &Name) -> Result<(), Error> {
    let settings = Path::new(SIX).join(link.as_str());
    ["accept_ra", "accept_redirects", "disable_ipv6"].iter().try_for_each(|name| write(&settings.join(name), 0))
}

fn links(directory: &str) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(directory).map_err(|error| wrong(Path::new(directory), "list it", &error))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// The first digit, which is the whole of what is set here.
fn read(path: &Path) -> Result<u8, Error> {
    let text = fs::read(path).map_err(|error| wrong(path, "read it", &error))?;
    let digit = text.first().and_then(|digit| digit.checked_sub(b'0'));
    digit.ok_or_else(|| refused(path, "read it", Errno::INVAL))
}

fn write(path: &Path, value: u8) -> Result<(), Error> {
    fs::write(path, [b'0'.saturating_add(value)]).map_err(|error| wrong(path, "write to it", &error))
}

fn wrong(path: &Path, doing: &'static str, error: &std::io::Error) -> Error {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    let needs = if errno == Errno::NOENT { "this setting: CONFIG_SYSCTL, and CONFIG_INET or CONFIG_IPV6" } else { "" };
    Error { needs, ..refused(path, doing, errno) }
}

fn refused(path: &Path, doing: &'static str, errno: Errno) -> Error {
    Error { object: path.display().to_string(), doing, errno, detail: String::new(), needs: "" }
}
