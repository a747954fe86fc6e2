//! Interfaces that `lxc.net` gives a container: made while it is held, and taken away when it has ended.
//!
//! ```text
//!   held ─▶ Bridge   a pair, one end in its namespace        ended ─▶ the end on the device goes, and the other with it
//!           Macvlan, Vlan   made in its namespace                     removed there
//!           Phys     lent to its namespace                            taken back, with the name and address it had
//! ```
//!
//! The namespace is kept open until then. So a container that has ended in whatever way, and whatever it called them, leaves none
//! of them behind, and the kernel never has to choose a name for what comes back. If PID 1 ends first, the kernel brings
//! hardware back, and [`come_home`](Route::come_home) of the next life gives it its name.

use container::Spawned;
use formats::lxc::MacvlanMode;
use formats::lxc::wire::{Origin, Way as Said, Wire};
use net::route::{Home, Setup, Way};
use net::{Cidr, Inside, Mac, Macvlan, Name, Namespace, Route};
use rustix::fd::AsFd as _;
use rustix::io::Errno;

use super::network::{once_free, outside};
use super::{Engine, EngineError, network};

/// What a container has of the device.
#[derive(Debug)]
pub(super) struct Wired {
    namespace: Namespace,
    ends: Vec<End>,
}

/// What goes when it has ended.
#[derive(Debug)]
enum End {
    /// A link on the device.
    Outside(Name),
    /// A link in its namespace, by its number there.
    Inside(u32),
    /// A link of the device, by its number there, and what it is at home.
    Lent(u32, Home),
}

impl Engine {
    /// Gives a container that is held its interfaces. What was made when one fails is taken away by the next
    /// [`unwire`](Self::unwire).
    pub(super) fn wire(&self, name: &str, wires: &[Wire], held: &Spawned) -> Result<(), EngineError> {
        if wires.is_empty() {
            return Ok(());
        }
        self.unwire(name)?;
        let mut networks = self.networks();
        let namespace = network::namespace_of(name, held)?;
        let (mut here, mut there) = (Route::open()?, Route::open_in(namespace.as_fd())?);
        let wired = networks.wired.entry(name.to_owned()).or_insert(Wired { namespace, ends: Vec::new() });
        for (index, wire) in wires.iter().enumerate() {
            let end = make(&mut here, &mut there, &wired.namespace, outside(name, index)?, wire)?;
            wired.ends.push(end);
            configure(&mut here, &mut there, wire)?;
        }
        Ok(())
    }

    /// Takes away what a container had of the device, and brings home what is the device's.
    pub(super) fn unwire(&self, name: &str) -> Result<(), EngineError> {
        let Some(Wired { namespace, ends }) = self.networks().wired.remove(name) else { return Ok(()) };
        let (own, mut here, mut there) = (Namespace::own()?, Route::open()?, Route::open_in(namespace.as_fd())?);
        let mut done = Ok(());
        for end in ends {
            let one = match end {
                End::Outside(link) => here.remove(&link),
                End::Inside(index) => there.remove_by_index(index),
                End::Lent(index, home) => match there.take_back(index, &home, own.as_fd(), &mut here) {
                    // The container put it into a namespace that ended with it: then the kernel has brought it here.
                    Err(gone) if gone.errno == Errno::NODEV => here.come_home().and_then(|()| {
                        let home = here.find(&home.name)?;
                        home.map(drop).ok_or(gone)
                    }),
                    done => done,
                },
            };
            done = done.and(one);
        }
        Ok(done?)
    }

    /// Gives hardware its name back that an earlier life has lent.
    pub(super) fn bring_home(&self) -> Result<(), EngineError> {
        Ok(Route::open()?.come_home()?)
    }
}

/// Makes an interface.
fn make(
    here: &mut Route,
    there: &mut Route,
    namespace: &Namespace,
    unsaid: Name,
    wire: &Wire,
) -> Result<End, net::Error> {
    let name = wire.name.parse::<Name>()?;
    let link = wire.origin.link().parse::<Name>()?;
    let inside = Inside { namespace: namespace.as_fd(), name: &name, mac: wire.mac.and_then(Mac::new), mtu: wire.mtu };
    match &wire.origin {
        Origin::Bridge { outside, .. } => {
            let end = match outside {
                Some(said) => said.parse()?,
                // Of an earlier life: nobody else calls a link so.
                None => here.remove(&unsaid).map(|()| unsaid)?,
            };
            // A name that was said may be that of a link of somebody else, which stays.
            once_free(|| here.veth(&end, Some(&link), &inside))?;
            return Ok(End::Outside(end));
        }
        Origin::Macvlan { mode, .. } => {
            let mode = match mode {
                MacvlanMode::Private => Macvlan::Private,
                MacvlanMode::Vepa => Macvlan::Vepa,
                MacvlanMode::Bridge => Macvlan::Bridge,
                MacvlanMode::Passthru => Macvlan::Passthru,
            };
            once_free(|| here.macvlan(&link, mode, &inside))?;
        }
        Origin::Vlan { id, .. } => once_free(|| here.vlan(&link, *id, &inside))?,
        Origin::Phys { .. } => {
            if here.find(&link)?.is_none() {
                // Of a life of PID 1 that has ended a moment ago.
                here.come_home()?;
            }
            let (index, home) = here.lend(&link, &inside, there)?;
            return Ok(End::Lent(index, home));
        }
    }
    let index = there.find(&name)?.map(|link| link.index).ok_or_else(|| gone(&name))?;
    Ok(End::Inside(index))
}

/// Gives it addresses and ways, and brings it up if it is to be.
fn configure(here: &mut Route, there: &mut Route, wire: &Wire) -> Result<(), net::Error> {
    let name = wire.name.parse::<Name>()?;
    let addresses: Vec<Cidr> =
        wire.addresses.iter().filter_map(|(address, prefix)| Cidr::new(*address, *prefix)).collect();
    if !wire.up {
        return there.assign(&name, &addresses);
    }
    let mut defaults = Vec::new();
    for way in &wire.ways {
        defaults.push(match way {
            Said::By(router) => Way::By(*router),
            Said::Wire { six: false } => Way::Link4,
            Said::Wire { six: true } => Way::Link6,
            Said::Device { six } => Way::By(of_device(here, &wire.origin, *six)?),
        });
    }
    once_free(|| there.configure(&name, &Setup { addresses: &addresses, defaults: &defaults }))
}

/// The first address that the device has where the interface is on.
fn of_device(here: &mut Route, origin: &Origin, six: bool) -> Result<std::net::IpAddr, net::Error> {
    let link = origin.link().parse::<Name>()?;
    let found = here.addresses_of(&link)?.into_iter().map(Cidr::address).find(|address| address.is_ipv6() == six);
    found.ok_or_else(|| net::Error {
        object: format!("link {link}"),
        doing: "be the way to everything else",
        errno: Errno::ADDRNOTAVAIL,
        detail: format!("the device has no address of IPv{} there", if six { 6 } else { 4 }),
        needs: "",
    })
}

fn gone(name: &Name) -> net::Error {
    let detail = "the container has ended meanwhile".to_owned();
    net::Error {
        object: format!("link {name}"),
        doing: "find it in its container",
        errno: Errno::NODEV,
        detail,
        needs: "",
    }
}
