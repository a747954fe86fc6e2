//! Networks of containers, made and taken down: bridges of pools, the interface of each container, and one table of
//! rules for what runs.
//!
//! ```text
//!   held ─▶ bridges of its pools ─▶ its interfaces, made in its namespace ─▶ addresses, router ─▶ rules ─▶ let go
//!   (its first process is there and waits)                                              its program starts
//! ```
//!
//! An interface goes with the network namespace of its container, so that nothing is left of one that ended in
//! whatever way. Bridges of pools stay for as long as the revision that runs has them. The rules are a function of the
//! containers that are up, and are replaced as a whole.
//!
//! **Published ports** of a container that is replaced are held, from before it is asked to end until the next one had the time
//! to listen: whoever connects gets no answer, or that of the next one, and is not refused.
//!
//! ```text
//!   hold_ports ─▶ [Unanswered] ─▶ disconnect, connect ─▶ [Tolerant] ─▶ release_ports
//! ```
//!
//! ```text
//!   RUN/network/NAME/hosts        the container's /etc/hosts, written again in place when others come and go
//!                    hostname     its /etc/hostname
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use container::Spawned;
use formats::leases::Leases;
use formats::network::{self, Pool, Protocol, Reach};
use formats::object::sha256;
use metal::modprobe::{Modprobe, Running};
use net::nft::{self, Attempts, Ruleset};
use net::route::{Setup, Way};
use net::{Cidr, Inside, Mac, Macvlan, Name, Namespace, Route, kernel, sysctl};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd as _;
use rustix::io::Errno;
use store::dir::Dir;

use super::wires::Wired;
use super::{Engine, EngineError, mounts};
use crate::assembly::{Assembled, Assembly, Attachment, Interface};

/// Where the storage keeps who has which address.
const DIRECTORY: &str = "config";
/// The list.
pub(crate) const LEASES: &str = "config/leases";

/// What stands now.
#[derive(Debug, Default)]
pub(super) struct Networks {
    /// The pools of the revision that runs.
    pools: Vec<Pool>,
    /// What is in `/etc/hosts` of its containers.
    hosts: BTreeMap<String, String>,
    /// The containers that are up, or about to be.
    up: BTreeMap<String, Attachment>,
    /// The bridges that were made here.
    bridges: Vec<Name>,
    /// Whether the device passed on packets of others before there were pools; `None` before that was asked.
    transit: Option<bool>,
    /// The same for IPv6, before there were pools with that.
    transit6: Option<bool>,
    /// Where modules are looked for, as long as nobody needed some.
    modules: Option<Modprobe<Running>>,
    /// What the kernel was told last, and nothing since then.
    rules: Option<Ruleset>,
    /// The ports at which nobody is to be refused, as they were published last.
    held: Vec<nft::Port>,
    /// The containers that are up and whose ports are held because they leave.
    leaving: BTreeSet<String>,
    /// What containers have that are in no pool.
    pub(super) wired: BTreeMap<String, Wired>,
}

impl Engine {
    /// The same, which loads what its first network needs from the modules of the base system: nobody does so for PID 1.
    #[must_use]
    pub fn with_modules(self, modules: Modprobe<Running>) -> Self {
        self.networks().modules = Some(modules);
        self
    }

    /// Makes the networks of a revision that is to run from now on: its bridges, what its containers call each other,
    /// and the list of who has which address, if that is another one.
    ///
    /// Gives what a person should know. A container whose pool is not there is told so when it starts.
    pub fn settle(&self, assembly: &Assembly) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut networks = self.networks();
        networks.pools.clone_from(&assembly.pools);
        networks.hosts = assembly.hosts();
        for (name, text) in &networks.hosts {
            // Of those that run; the others get theirs when they start.
            let path = self.of_network(name).join("hosts");
            if let Err(error) = rewrite(&path, text) {
                warnings.push(EngineError::file("write", &path)(error).to_string());
            }
        }
        // Nobody will listen at the others.
        let publishes = |held: &nft::Port| assembly.containers.iter().any(|one| publishes(one, held));
        networks.held.retain(publishes);
        let wired = |one: &Assembled| one.program.as_ref().is_some_and(|program| !program.wires.is_empty());
        if !assembly.pools.is_empty() || assembly.containers.iter().any(wired) {
            warnings.extend(networks.load_modules());
        }
        for pool in &assembly.pools {
            if let Err(error) = networks.bring_up(pool) {
                warnings.push(format!("pool {}: {error}", pool.name));
            }
        }
        warnings.extend(networks.take_down_others().err().map(|error| error.to_string()));
        warnings.extend(networks.rules().err().map(|error| error.to_string()));
        drop(networks);
        warnings.extend(self.keep(&assembly.leases));
        warnings
    }

    /// From now on nobody is refused at the ports that these containers publish, whatever becomes of them: they are about to
    /// leave for others. Ports that are held already stay so.
    ///
    /// # Errors
    /// The kernel takes no such rules; who connects may be refused.
    pub fn hold_ports(&self, names: &[String]) -> Result<(), EngineError> {
        let mut networks = self.networks();
        for name in names {
            let Some(ports) = networks.up.get(name).map(|up| ports(up).collect::<Vec<_>>()) else { continue };
            networks.held.retain(|held| !ports.iter().any(|port| port.meets(held)));
            networks.held.extend(ports);
            networks.leaving.insert(name.clone());
        }
        Ok(networks.rules()?)
    }

    /// Whoever listens at a port that was held has had the time to: from now on nobody who refuses is covered up for.
    ///
    /// # Errors
    /// The kernel takes no such rules.
    pub fn release_ports(&self) -> Result<(), EngineError> {
        let mut networks = self.networks();
        networks.held.clear();
        networks.leaving.clear();
        Ok(networks.rules()?)
    }

    /// Keeps the list, if it is not what is kept. One that cannot be read is put aside first.
    fn keep(&self, leases: &Leases) -> Vec<String> {
        let path = self.paths.storage.join(LEASES);
        let mut warnings = Vec::new();
        match self.kept() {
            Ok(kept) if kept.as_ref().unwrap_or(&Leases::default()) == leases => return warnings,
            Ok(_) => {}
            Err(why) => {
                let mut text = format!("{}: {why}; containers may have other addresses than before", path.display());
                if !self.read_only {
                    let aside = path.with_extension("damaged");
                    match fs::rename(&path, &aside) {
                        Ok(()) => text += &format!("; what it says is in {} now", aside.display()),
                        // Better an old list that nobody understands than none, and a warning at each boot.
                        Err(error) => return vec![format!("{text}; it stays as it is: {error}")],
                    }
                }
                warnings.push(text);
            }
        }
        if !self.read_only {
            let kept = Dir::open(&self.paths.storage).and_then(|dir| {
                dir.make_durably(DIRECTORY)?;
                dir.replace(LEASES, leases.to_text().as_bytes())
            });
            let lost = |error| format!("addresses of containers may be others after the next boot: {error}");
            warnings.extend(kept.map_err(lost).err());
        }
        warnings
    }

    /// The list that is kept, if there is one.
    fn kept(&self) -> Result<Option<Leases>, String> {
        let dir = Dir::open(&self.paths.storage).map_err(|error| error.to_string())?;
        let kept = dir.read_if_any(LEASES, formats::leases::LIST_MAX).map_err(|error| error.to_string())?;
        kept.map(|bytes| Leases::parse(&bytes).map_err(|error| error.to_string())).transpose()
    }

    /// What the container finds in its `/etc` about networks: places of the device.
    pub(super) fn network_files(&self, assembled: &Assembled) -> Result<PathBuf, EngineError> {
        let name = assembled.name.as_str();
        let dir = self.of_network(name);
        mounts::make_dir(&dir)?;
        let networks = self.networks();
        let alone = || crate::assembly::hosts_of_one(assembled);
        let hosts = networks.hosts.get(name).cloned().unwrap_or_else(alone);
        let launch = assembled.program.as_ref().map(|program| &program.launch);
        let host = launch.and_then(|launch| launch.hostname.as_deref()).unwrap_or(name);
        for (file, text) in [("hosts", hosts), ("hostname", format!("{host}\n"))] {
            let path = dir.join(file);
            fs::write(&path, text).map_err(EngineError::file("write", &path))?;
        }
        Ok(dir)
    }

    /// Makes what a container is going to be connected to.
    pub(super) fn prepare(&self, network: &Attachment) -> Result<(), EngineError> {
        let mut networks = self.networks();
        for interface in &network.interfaces {
            networks.bring_up(&interface.pool)?;
        }
        Ok(())
    }

    /// Connects a container that is held.
    pub(super) fn connect(&self, name: &str, to: &Attachment, held: &Spawned) -> Result<(), EngineError> {
        let mut networks = self.networks();
        let namespace = namespace_of(name, held)?;
        let (mut here, mut there) = (Route::open()?, Route::open_in(namespace.as_fd())?);
        let (mut way_out, mut way_out6) = (true, true);
        for (index, interface) in to.interfaces.iter().enumerate() {
            make(&mut here, &outside(name, index)?, interface, &namespace)?;
            let pool = &interface.pool;
            let gateway = pool.gateway.filter(|_| way_out).map(|gateway| Way::By(gateway.into()));
            way_out &= gateway.is_none();
            let gateway6 = gateway6(pool).filter(|_| way_out6).map(|gateway| Way::By(gateway.into()));
            way_out6 &= gateway6.is_none();
            let addresses = addresses(pool, interface.address)?;
            let ways: Vec<Way> = gateway.into_iter().chain(gateway6).collect();
            let setup = Setup { addresses: &addresses, defaults: &ways };
            let interface = interface.name.parse::<Name>()?;
            once_free(|| there.configure(&interface, &setup))?;
        }
        networks.up.insert(name.to_owned(), to.clone());
        networks.rules().map_err(EngineError::from)
    }

    /// Takes a container out of its networks.
    pub(super) fn disconnect(&self, name: &str) -> Result<(), EngineError> {
        let mut networks = self.networks();
        networks.leaving.remove(name);
        let left = networks.up.remove(name).map_or(Ok(()), |was| networks.leave(name, &was));
        // Also where a rule or a link stays: the next start makes them anew, and what a container has in files it has once.
        mounts::clear(&self.of_network(name)).and(left)
    }

    fn of_network(&self, name: &str) -> PathBuf {
        self.paths.run.join("network").join(name)
    }

    /// Calls that have to do with networks come from one thread, so that nobody waits here.
    pub(super) fn networks(&self) -> std::sync::MutexGuard<'_, Networks> {
        self.networks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Networks {
    /// Takes away what a container had, and nobody has any more.
    fn leave(&mut self, name: &str, was: &Attachment) -> Result<(), EngineError> {
        // Its namespace takes them with it, a moment later; another start must not wait for that.
        let mut here = Route::open()?;
        for (index, _) in was.interfaces.iter().enumerate() {
            here.remove(&outside(name, index)?)?;
        }
        self.rules()?;
        self.take_down_others()?;
        // Or whoever goes on sending would for ever be led to where nobody is. Rules come first: they decide about the
        // next packet of each.
        let bridged = was.interfaces.iter().filter(|one| matches!(one.pool.reach, Reach::Bridge(_)));
        let mut all = bridged.flat_map(|one| [Some(one.address.into()), one.address6().map(IpAddr::V6)]).flatten();
        Ok(all.try_for_each(nft::forget)?)
    }

    /// Before the first network: all that networks can need, so that none of a later revision finds it missing.
    fn load_modules(&mut self) -> Vec<String> {
        let Some(mut modules) = self.modules.take() else { return Vec::new() };
        let all = [kernel::BRIDGED, kernel::MACVLAN, kernel::VLAN].concat();
        modules.load_known(&all).iter().map(ToString::to_string).collect()
    }

    /// Makes a pool's bridge what it is to be. It may be there already.
    fn bring_up(&mut self, pool: &Pool) -> Result<(), net::Error> {
        let (Reach::Bridge(bridge), Some(gateway)) = (&pool.reach, pool.gateway) else { return Ok(()) };
        let bridge = bridge.parse::<Name>()?;
        let (mut here, all) = (Route::open()?, addresses(pool, gateway)?);
        if here.find(&bridge)?.is_none() {
            // There is nobody on it yet who could announce himself.
            here.bridge(&bridge, None, &[])?;
        }
        match pool.subnet6 {
            Some(_) => sysctl::with_ipv6(&bridge)?,
            None => sysctl::without_ipv6(&bridge)?,
        }
        here.bridge(&bridge, None, &all)?;
        if !self.bridges.contains(&bridge) {
            sysctl::reach_from_loopback(&bridge)?;
            self.bridges.push(bridge);
        }
        // Closed before it is open: from the next line on the device passes on what these rules let through.
        if self.transit.is_none() {
            let transit6 = self.transit6.unwrap_or(true);
            self.follow(Ruleset { isolated: true, transit6, ..Ruleset::default() })?;
            self.transit = Some(sysctl::forward()?);
        }
        if self.transit6.is_none() && pool.subnet6.is_some() {
            let closed = || Ruleset { isolated: true, transit: self.transit.unwrap_or(false), ..Ruleset::default() };
            let rules = self.rules.clone().unwrap_or_else(closed);
            self.follow(Ruleset { transit6: false, ..rules })?;
            self.transit6 = Some(sysctl::forward6()?);
        }
        Ok(())
    }

    /// The pools that are bridges and stand.
    fn standing(&self) -> impl Iterator<Item = &Pool> {
        let used = self.up.values().flat_map(|up| &up.interfaces).map(|interface| &interface.pool);
        let all = used.chain(&self.pools);
        let mut seen: Vec<&str> = Vec::new();
        all.filter(move |pool| {
            let Reach::Bridge(bridge) = &pool.reach else { return false };
            let new = !seen.contains(&bridge.as_str());
            if new {
                seen.push(bridge);
            }
            new
        })
    }

    /// Removes bridges that were made for a pool which nobody has any more.
    fn take_down_others(&mut self) -> Result<(), net::Error> {
        let stands: Vec<String> = self
            .standing()
            .filter_map(|pool| if let Reach::Bridge(bridge) = &pool.reach { Some(bridge.clone()) } else { None })
            .collect();
        let (stay, go) = std::mem::take(&mut self.bridges)
            .into_iter()
            .partition(|bridge: &Name| stands.iter().any(|name| name == bridge.as_str()));
        self.bridges = stay;
        let go: Vec<Name> = go;
        if go.is_empty() {
            return Ok(());
        }
        let mut here = Route::open()?;
        go.iter().try_for_each(|bridge| here.remove(bridge))
    }

    /// Has the kernel follow what is up.
    fn rules(&mut self) -> Result<(), net::Error> {
        let mut pools = Vec::new();
        for pool in self.standing() {
            let Reach::Bridge(bridge) = &pool.reach else { continue };
            pools.push(nft::Pool {
                bridge: bridge.parse::<Name>()?,
                subnets: subnets(pool)?,
                nat: pool.nat,
                routed: false,
            });
        }
        // Nothing was changed for a kind of IP of which there was no pool.
        let transit6 = self.transit6.unwrap_or(true);
        match self.transit {
            // A device that never had a pool need not be able to have one.
            None if pools.is_empty() => return Ok(()),
            Some(true) if pools.is_empty() && transit6 => {
                self.rules = None;
                return nft::remove();
            }
            // Forwarding stays on, and the device passed on nothing before it had pools: nor does it after.
            _ => {}
        }
        let mut ports = Vec::new();
        for (name, up) in &self.up {
            ports.extend(self::ports(up).map(|port| nft::Port {
                attempts: match self.held.iter().any(|held| held.meets(&port)) {
                    true if self.leaving.contains(name) => Attempts::Unanswered,
                    true => Attempts::Tolerant,
                    false => Attempts::Led,
                },
                ..port
            }));
        }
        for held in &self.held {
            let stands = |pool: &nft::Pool| pool.subnets.iter().any(|subnet| subnet.contains(held.to.ip()));
            if pools.iter().any(stands) && !ports.iter().any(|port| port.meets(held)) {
                ports.push(nft::Port { attempts: Attempts::Unanswered, ..*held });
            }
        }
        // Whether it leads nowhere because its container leaves, or has left, makes no other rules.
        ports.sort_unstable();
        self.follow(Ruleset { pools, ports, isolated: true, transit: self.transit.unwrap_or(false), transit6 })
    }

    /// Has the kernel follow these rules, if it does not already: another table costs it some milliseconds.
    fn follow(&mut self, rules: Ruleset) -> Result<(), net::Error> {
        if self.rules.as_ref() == Some(&rules) {
            return Ok(());
        }
        self.rules = None;
        nft::replace(&rules)?;
        self.rules = Some(rules);
        Ok(())
    }
}

/// The network namespace of a container that is held.
pub(super) fn namespace_of(name: &str, held: &Spawned) -> Result<Namespace, EngineError> {
    let namespace = Namespace::of(held.pid)?;
    // What has ended might have left its number to somebody else.
    let mut ended = [PollFd::new(&held.pidfd, PollFlags::IN)];
    if poll(&mut ended, Some(&Timespec::default())) != Ok(0) {
        return Err(EngineError::Unheld(name.to_owned()));
    }
    Ok(namespace)
}

/// What a container publishes while it runs.
fn ports(up: &Attachment) -> impl Iterator<Item = nft::Port> {
    let published = up.published().into_iter().flat_map(|to| up.ports.iter().map(move |port| rule(port, to.into())));
    // An address that is named is one of IPv4.
    let everywhere = |to: Ipv6Addr| {
        let all = up.ports.iter().filter(|port| port.address.is_none());
        all.map(move |port| rule(port, to.into()))
    };
    published.chain(up.published6().into_iter().flat_map(everywhere))
}

/// Whether a container of a revision will publish this port.
fn publishes(one: &Assembled, port: &nft::Port) -> bool {
    one.network.iter().flat_map(ports).any(|own| own.meets(port))
}

fn rule(port: &network::Port, to: IpAddr) -> nft::Port {
    nft::Port {
        protocol: match port.protocol {
            Protocol::Tcp => nft::Protocol::Tcp,
            Protocol::Udp => nft::Protocol::Udp,
        },
        on: port.address.map(IpAddr::V4),
        port: port.device,
        to: SocketAddr::new(to, port.container),
        attempts: Attempts::Led,
    }
}

/// How long an interface is waited for that is about to go, and how often it is looked: the kernel takes tens of milliseconds.
const MOMENT: std::time::Duration = std::time::Duration::from_millis(10);
const MOMENTS: usize = 50;

/// Makes an interface in the namespace of its container.
fn make(here: &mut Route, outside: &Name, interface: &Interface, namespace: &Namespace) -> Result<(), EngineError> {
    let name = interface.name.parse::<Name>()?;
    let inside = Inside { namespace: namespace.as_fd(), name: &name, mac: Mac::new(interface.mac), mtu: None };
    match &interface.pool.reach {
        Reach::Bridge(bridge) => {
            // Of an earlier life of the container, or of PID 1.
            here.remove(outside)?;
            here.veth(outside, Some(&bridge.parse::<Name>()?), &inside)?;
        }
        Reach::Macvlan(parent) => here.macvlan(&parent.parse::<Name>()?, Macvlan::Bridge, &inside)?,
    }
    Ok(())
}

/// Two interfaces of one wire cannot both be up with one Ethernet address, or have one number, and no two links one name. That of
/// the container's earlier life is gone with its namespace, which the kernel takes apart a moment after the last process has
/// ended, and nobody can hasten.
pub(super) fn once_free(mut configure: impl FnMut() -> Result<(), net::Error>) -> Result<(), net::Error> {
    for _ in 0..MOMENTS {
        match configure() {
            Err(error) if matches!(error.errno, Errno::ADDRINUSE | Errno::EXIST) => std::thread::sleep(MOMENT),
            done => return done,
        }
    }
    configure()
}

/// What the other end of an interface is called on the device: names of containers are longer than those of links.
pub(super) fn outside(container: &str, index: usize) -> Result<Name, net::Error> {
    let [a, b, c, d, ..] = sha256(container.as_bytes());
    format!("cv{a:02x}{b:02x}{c:02x}{d:02x}-{index}").parse()
}

/// The addresses in a pool of whoever has this one, with the prefixes of their networks.
fn addresses(pool: &Pool, address: Ipv4Addr) -> Result<Vec<Cidr>, net::Error> {
    let mut all = vec![cidr(address.into(), pool.subnet.prefix(), pool)?];
    if let Some(subnet) = pool.subnet6 {
        all.push(cidr(subnet.host(address).into(), subnet.prefix(), pool)?);
    }
    Ok(all)
}

/// Its networks.
fn subnets(pool: &Pool) -> Result<Vec<Cidr>, net::Error> {
    let mut all = vec![cidr(pool.subnet.base().into(), pool.subnet.prefix(), pool)?];
    if let Some(subnet) = pool.subnet6 {
        all.push(cidr(subnet.base().into(), subnet.prefix(), pool)?);
    }
    Ok(all)
}

/// The address of the device by which its containers reach out by IPv6.
fn gateway6(pool: &Pool) -> Option<Ipv6Addr> {
    pool.subnet6.zip(pool.gateway).map(|(subnet, gateway)| subnet.host(gateway))
}

fn cidr(address: IpAddr, prefix: u8, pool: &Pool) -> Result<Cidr, net::Error> {
    Cidr::new(address, prefix).ok_or_else(|| net::Error {
        object: format!("pool {}", pool.name),
        doing: "use its subnet",
        errno: Errno::INVAL,
        detail: String::new(),
        needs: "",
    })
}

/// Writes another text to a file that may be mounted elsewhere, so that it stays the same file. One that is not there
/// is not made.
fn rewrite(path: &Path, text: &str) -> std::io::Result<()> {
    let file = match fs::File::options().write(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    file.write_all_at(text.as_bytes(), 0)?;
    file.set_len(text.len() as u64)
}
