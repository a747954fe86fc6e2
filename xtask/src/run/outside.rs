//! Somebody outside of a device who connects to a published port of it, again and again.
//!
//! ```text
//!   198.51.100.2 ── a link ── 198.51.100.1 of the device:PORT ─▶ a container in a pool
//! ```
//!
//! Each connection is one request and its answer. Counted is who was refused: an error of connecting, of whatever kind. What
//! breaks later is the affair of the container, which may end its connections as it likes.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use net::route::Setup;
use net::{Cidr, Inside, Name, Namespace, Route};
use rustix::fd::AsFd as _;
use rustix::process::Pid;

use super::live::Live;

/// How many connect at a time.
const CLIENTS: usize = 4;

/// Between two connections of one of them.
const PAUSE: Duration = Duration::from_millis(10);

/// Longer than any container of a story needs until it listens, and than TCP needs to try again by then.
const PATIENCE: Duration = Duration::from_secs(20);

const DEVICE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// Somebody outside.
pub(super) struct Outside(Namespace);

/// What became of all connections.
#[derive(Default)]
pub(super) struct Tally {
    /// There was somebody at the other end.
    pub(super) made: usize,
    /// There was an error instead.
    pub(super) refused: usize,
    /// What the first of them was.
    pub(super) first: Option<String>,
    /// The longest that somebody waited for the other end.
    pub(super) longest: Duration,
}

impl Outside {
    /// Beside the device in its present boot, with a link to it that goes with this value.
    pub(super) fn of(device: &Live) -> Result<Self> {
        let pid = i32::try_from(device.pid1).ok().and_then(Pid::from_raw).context("no number of a process")?;
        let (there, own) = (Namespace::of(pid)?, Namespace::new()?);
        let (link, inside) = ("outside0".parse::<Name>()?, "eth0".parse::<Name>()?);
        let mut route = Route::open_in(there.as_fd())?;
        route.veth(&link, None, &Inside { namespace: own.as_fd(), name: &inside, mac: None, mtu: None })?;
        for (route, link, address) in
            [(&mut route, &link, DEVICE), (&mut Route::open_in(own.as_fd())?, &inside, CLIENT)]
        {
            let address = [Cidr::new(address.into(), 24).context("no prefix")?];
            route.configure(link, &Setup { addresses: &address, defaults: &[] })?;
        }
        Ok(Self(own))
    }

    /// Connects to a port of the device for as long as something takes.
    pub(super) fn connect<T>(&self, port: u16, during: impl FnOnce() -> Result<T>) -> Result<(T, Tally)> {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..CLIENTS).map(|_| scope.spawn(|| self.0.run(|| repeat((DEVICE, port).into(), &over)))).collect();
            let done = during();
            over.store(true, Ordering::Relaxed);
            let mut all = Tally::default();
            for client in clients {
                let tally = client.join().map_err(|_| anyhow!("a thread that connects has panicked"))??;
                all.made += tally.made;
                all.refused += tally.refused;
                all.longest = all.longest.max(tally.longest);
                all.first = all.first.or(tally.first);
            }
            Ok((done?, all))
        })
    }
}

fn repeat(to: SocketAddr, over: &AtomicBool) -> Tally {
    let mut tally = Tally::default();
    while !over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let connected = TcpStream::connect_timeout(&to, PATIENCE);
        tally.longest = tally.longest.max(begin.elapsed());
        match connected {
            Ok(stream) => {
                tally.made += 1;
                // The container may go while it answers.
                let _ = ask(stream);
            }
            Err(error) => {
                tally.refused += 1;
                tally.first.get_or_insert_with(|| error.to_string());
            }
        }
        std::thread::sleep(PAUSE);
    }
    tally
}

/// To the end, so that it is the server who closes first.
fn ask(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}
