//! The network of a device in recovery, where no container brings one up: its first wired link, and an address on it.
//!
//! ```text
//!   recovery_address=dhcp            what a server gives; meanwhile, and if there is none, what IPv6 makes by itself
//!                   =ADDRESS/PREFIX  this one; … via ADDRESS: with a way to other networks
//!                   =off             no network, and the endpoint is where it always is
//! ```
//!
//! The endpoint listens on every address then, and so lets in who is paired: [`crate::pairing`]. A task of the loop does
//! all of it. Nothing here fails the boot: a link that comes late is waited for, and one that goes is looked for again.

mod client;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use container::network::{self, INTERFACES, Link};
use formats::dhcp::{self, ANSWER_MAX, Lease, Party};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::rand::{GetRandomFlags, getrandom};
use smol::{Async, LocalExecutor, Timer, future};

use self::client::Client;
use crate::clock::Clock;
use crate::voice::Voice;

/// The name in the log.
const RECOVERY: &str = "recovery";

/// How often a link is looked for that is not there.
const LOOK: Duration = Duration::from_secs(2);

/// Where the address of a device in recovery comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Addressing {
    /// A server on the link.
    #[default]
    Dhcp,
    /// The settings.
    Fixed {
        /// The address.
        address: Ipv4Addr,
        /// How many bits of it name the network.
        prefix: u8,
        /// The way to other networks.
        router: Option<Ipv4Addr>,
    },
    /// There is none.
    Off,
}

impl Addressing {
    /// Reads `dhcp`, `off`, or `ADDRESS/PREFIX`, the last with ` via ADDRESS` or without. `None`: it is none of these, or
    /// no host can have such an address.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "dhcp" => return Some(Self::Dhcp),
            "off" => return Some(Self::Off),
            _ => {}
        }
        let (own, router) = match text.split_once(" via ") {
            Some((own, router)) => (own, Some(router.parse().ok()?)),
            None => (text, None),
        };
        let (address, prefix) = own.split_once('/')?;
        let (address, prefix) = (address.parse().ok()?, prefix.parse().ok()?);
        let reachable = router.is_none_or(|router| router != address && dhcp::is_beside(router, address, prefix));
        (dhcp::is_host(address, prefix) && reachable).then_some(Self::Fixed { address, prefix, router })
    }
}

/// Where the endpoint listens in recovery: on every address, whichever the device gets.
#[must_use]
pub fn everywhere(endpoint: SocketAddr) -> SocketAddr {
    let has_ipv6 = socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None).is_ok();
    let any = if has_ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    SocketAddr::new(any, endpoint.port())
}

/// Has a task bring the first wired link up and keep an address on it, for as long as the loop goes round.
pub fn serve(tasks: &LocalExecutor<'static>, addressing: Addressing, log: Rc<Voice>) {
    tasks.spawn(async move { connect(addressing, &log).await }).detach();
}

async fn connect(addressing: Addressing, log: &Voice) {
    loop {
        let link = first_link(log).await;
        let up = network::bring_up(&link.name).map_err(io::Error::from);
        let ended = match (up, addressing) {
            (Err(error), _) => error,
            (Ok(()), Addressing::Off) => return,
            (Ok(()), Addressing::Fixed { address, prefix, router }) => match set(&link, address, prefix, router, log) {
                Ok(()) => return,
                Err(error) => error,
            },
            (Ok(()), Addressing::Dhcp) => match lease(&link, log).await {
                Ok(never) => match never {},
                Err(error) => error,
            },
        };
        log.warn(RECOVERY, &format_args!("{}: {ended}", link.name));
        Timer::after(LOOK).await;
    }
}

async fn first_link(log: &Voice) -> Link {
    let mut said = false;
    loop {
        if let Some(link) = network::first_wired(Path::new(INTERFACES)) {
            return link;
        }
        if !said {
            log.warn(RECOVERY, &"no wired network link; this device can be reached when there is one");
            said = true;
        }
        Timer::after(LOOK).await;
    }
}

fn set(link: &Link, address: Ipv4Addr, prefix: u8, router: Option<Ipv4Addr>, log: &Voice) -> io::Result<()> {
    network::set_address(&link.name, address, dhcp::mask(prefix))?;
    log.info(RECOVERY, &format_args!("{} is {address}/{prefix}", link.name));
    if let Some(router) = router {
        network::set_router(router)?;
    }
    Ok(())
}

/// Gets an address and keeps it. It comes back if the link is not to be had.
async fn lease(link: &Link, log: &Voice) -> io::Result<Infallible> {
    let socket = open(&link.name)?;
    let party = Party { xid: transaction(link), hardware: link.hardware };
    let clock = Clock::start();
    let mut client = Client::new(clock.now());
    // One byte more than an answer may have, so that a longer one is seen to be longer.
    let mut bytes = [0; ANSWER_MAX + 1];
    log.info(RECOVERY, &format_args!("{} asks for an address", link.name));
    loop {
        // Whoever floods the link does not stop the loop that this is a task of.
        future::yield_now().await;
        let wait = Duration::from_millis(client.deadline().until(clock.now()).0);
        let heard = future::or(async { Some(socket.recv(&mut bytes).await) }, async {
            Timer::after(wait).await;
            None
        });
        let turn = match heard.await.transpose()? {
            None => client.elapse(clock.now()),
            Some(length) => match dhcp::answer(party, bytes.get(..length).unwrap_or_default()) {
                Ok(answer) => client.hear(answer, clock.now()),
                // Of others, and of whoever wants to disturb.
                Err(_) => continue,
            },
        };
        match turn.set {
            Some(Some(Lease { address, prefix, router, .. })) => set(link, address, prefix, router, log)?,
            Some(None) => {
                log.warn(RECOVERY, &format_args!("{} has lost its address", link.name));
                network::clear_address(&link.name)?;
            }
            None => {}
        }
        if let Some((ask, to)) = turn.send {
            // Without a cable nothing is sent; the next time comes.
            let _ = socket.send_to(&dhcp::ask(party, ask), SocketAddr::from((to, dhcp::SERVER))).await;
        }
    }
}

/// A socket that hears and reaches everybody on a link, before that has an address.
fn open(name: &str) -> io::Result<Async<UdpSocket>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    network::bind_to(&socket, name)?;
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, dhcp::CLIENT)))?;
    let socket = UdpSocket::from(socket);
    socket.set_broadcast(true)?;
    Async::new(socket)
}

/// A number that no other client of the link is likely to have.
fn transaction(link: &Link) -> u32 {
    let mut bytes = [0; 4];
    match getrandom(&mut bytes, GetRandomFlags::NONBLOCK) {
        Ok(4) => u32::from_ne_bytes(bytes),
        // The kernel has no random numbers yet. Nothing depends on it but who listens to whom.
        _ => link.hardware.iter().fold(0, |sum, byte| (sum << 8) ^ u32::from(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_address_is_one_that_a_host_can_have_and_its_router_a_neighbour() {
        assert_eq!(Addressing::parse("dhcp"), Some(Addressing::Dhcp));
        assert_eq!(Addressing::parse("off"), Some(Addressing::Off));
        let (address, router) = ([10, 0, 2, 15].into(), Some([10, 0, 2, 2].into()));
        assert_eq!(Addressing::parse("10.0.2.15/24"), Some(Addressing::Fixed { address, prefix: 24, router: None }));
        let fixed = Some(Addressing::Fixed { address, prefix: 24, router });
        assert_eq!(Addressing::parse("10.0.2.15/24 via 10.0.2.2"), fixed);
        for wrong in [
            "",
            "DHCP",
            "10.0.2.15",
            "10.0.2.15/",
            "10.0.2.15/31",
            "10.0.2.0/24",
            "10.0.2.255/24",
            "127.0.0.1/8",
            "10.0.2.15/24 via",
            "10.0.2.15/24 via 10.0.3.2",
            "10.0.2.15/24 via 10.0.2.15",
            "fe80::1/64",
        ] {
            assert_eq!(Addressing::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn in_recovery_the_endpoint_listens_where_nobody_is_let_in_unpaired() {
        let everywhere = everywhere("127.0.0.1:80".parse().unwrap());
        assert!(everywhere.ip().is_unspecified() && everywhere.port() == 80);
    }
}
