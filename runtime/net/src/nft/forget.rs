//! Connections that are led to a container which is no more.
//!
//! Rules decide about the first packet of a connection only. Whoever goes on sending, as clients of UDP do, would for
//! ever be led to where a port was published before.
//!
//! ```text
//!   list all connections ──▶ those with the address at one of four ends ──▶ delete each by how it began, and its number
//! ```

use std::net::IpAddr;

use rustix::io::Errno;
use rustix::net::netlink;

use crate::Error;
use crate::route::{error, octets};
use crate::socket::{Refusal, Socket};
use crate::wire::{Malformed, Writer, attributes};

/// `IPCTNL_MSG_CT_GET`, `IPCTNL_MSG_CT_DELETE` of their subsystem.
const LIST: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
/// `CTA_…`: how it began and how it is answered, its number, and which of several spaces of addresses it is of.
const BEGUN: u16 = 1;
const ANSWERED: u16 = 2;
const NUMBER: u16 = 12;
const ZONE: u16 = 18;
/// `CTA_TUPLE_IP`, in which addresses are `CTA_IP_…`.
const ENDS: u16 = 1;

/// The most connections that are forgotten at a time. A table has room for more, of which a container may have all.
const BATCH: usize = 1024;
/// How often is looked again, in case they come faster than they go.
const ROUNDS: usize = 256;

const NEEDS: &str = "CONFIG_NF_CT_NETLINK";

/// Forgets all connections of an address, in the namespace of the calling thread. For a container whose address or whose
/// published ports are another's from now on; called after the rules have changed.
///
/// # Errors
/// The kernel cannot list its connections, or they come faster than they go.
pub fn forget(address: IpAddr) -> Result<(), Error> {
    let wrong = |refusal: Refusal| {
        // The subsystem is a module of its own.
        let errno = if refusal.errno == Errno::INVAL { Errno::OPNOTSUPP } else { refusal.errno };
        error(format_args!("connections of {address}"), "forget them", NEEDS, Refusal { errno, ..refusal })
    };
    let mut socket = Socket::open(Some(netlink::NETFILTER)).map_err(|errno| wrong(errno.into()))?;
    for _ in 0..ROUNDS {
        let mut found = Vec::new();
        let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let head = [family as u8, 0, 0, 0];
        let listed = socket.look(LIST, &head, &mut |payload| {
            if found.len() < BATCH {
                found.extend(connection(payload, address)?);
            }
            Ok(())
        });
        let changed = matches!(listed, Err(Refusal { errno: Errno::INTR, .. }));
        if !changed {
            listed.map_err(wrong)?;
        }
        for connection in &found {
            let gone = socket.order(DELETE, 0, &mut |writer| {
                writer.raw(&head);
                writer.raw(connection);
            });
            match gone {
                // Over by itself in between.
                Err(Refusal { errno: Errno::NOENT, .. }) | Ok(()) => {}
                Err(refusal) => return Err(wrong(refusal)),
            }
        }
        if found.len() < BATCH && !changed {
            return Ok(());
        }
    }
    Err(wrong(Errno::BUSY.into()))
}

/// The attributes that name a connection, if the address is one of its ends.
fn connection(payload: &[u8], address: IpAddr) -> Result<Option<Vec<u8>>, Malformed> {
    let (_, rest) = payload.split_first_chunk::<4>().ok_or(Malformed)?;
    let mut named = Writer::new();
    let mut is_its = false;
    for attribute in attributes(rest) {
        let (kind, value) = attribute?;
        if matches!(kind, BEGUN | ANSWERED) {
            is_its |= has(value, address)?;
        }
        if matches!(kind, BEGUN | NUMBER | ZONE) {
            named.attribute(kind, value);
        }
    }
    Ok(is_its.then(|| named.finish()).flatten())
}

fn has(tuple: &[u8], address: IpAddr) -> Result<bool, Malformed> {
    for attribute in attributes(tuple) {
        if let (ENDS, ends) = attribute? {
            for end in attributes(ends) {
                if octets(end?.1) == Some(address) {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}
