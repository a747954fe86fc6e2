//! What the kernel is told about networks through `/proc/sys/net`, in the namespace of the calling thread.

use std::fs;
use std::path::Path;

use rustix::io::Errno;

use crate::Error;
use crate::names::Name;

/// What `br_netfilter` shows to tables, if a kernel has that: packets that never leave their bridge.
const SWITCHED: [&str; 3] = ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables"];

/// Has the kernel pass on what is not for the device itself, for IPv4 and, if it has that, for IPv6. Gives what was set
/// for IPv4 before: whether the device did so anyhow, which is what [`crate::nft::Ruleset::transit`] wants to know.
///
/// What stays within a bridge is left to that bridge. Otherwise a container that calls itself by a published port would
/// not be answered: a bridge sends nothing back to the port that it came from.
///
/// # Errors
/// `/proc` is not there or may not be written to.
pub fn forward() -> Result<bool, Error> {
    let four = Path::new("/proc/sys/net/ipv4/ip_forward");
    let before = read(four)?;
    if !before {
        write(four, true)?;
    }
    let six = Path::new("/proc/sys/net/ipv6/conf/all/forwarding");
    if six.exists() && !read(six)? {
        write(six, true)?;
    }
    for name in SWITCHED {
        let path = Path::new("/proc/sys/net/bridge").join(name);
        if path.exists() && read(&path)? {
            write(&path, false)?;
        }
    }
    Ok(before)
}

/// Lets the device itself reach containers behind a bridge through ports that are published on its loopback. Only for a
/// bridge that [`crate::nft::Ruleset::pools`] names: its table keeps the loopback closed to those containers.
///
/// # Errors
/// There is no such bridge, or `/proc` may not be written to.
pub fn reach_from_loopback(bridge: &Name) -> Result<(), Error> {
    write(&Path::new("/proc/sys/net/ipv4/conf").join(bridge.as_str()).join("route_localnet"), true)
}

fn read(path: &Path) -> Result<bool, Error> {
    let text = fs::read(path).map_err(|error| wrong(path, "read it", &error))?;
    Ok(text.first().is_some_and(|digit| *digit != b'0'))
}

fn write(path: &Path, on: bool) -> Result<(), Error> {
    fs::write(path, if on { "1" } else { "0" }).map_err(|error| wrong(path, "write to it", &error))
}

fn wrong(path: &Path, doing: &'static str, error: &std::io::Error) -> Error {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    let needs = if errno == Errno::NOENT { "CONFIG_INET and CONFIG_SYSCTL" } else { "" };
    Error { object: path.display().to_string(), doing, errno, detail: String::new(), needs }
}
