//! Ports of a device on the loopback of the host: TCP, forwarded into the network namespace of each boot.
//!
//! ```text
//!   127.0.0.1:HOSTPORT of the host ◀─▶ a thread that is in both worlds ◀─▶ 127.0.0.1:DEVPORT of the device
//! ```
//!
//! The port of the host is bound while a boot runs; in between a connection is refused, as by a machine that is off. No
//! thread of an earlier boot holds its namespace: the connections are closed with it.

use std::fs::File;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::fd::AsFd;
use rustix::process::Pid;
use rustix::thread::LinkNameSpaceType;

/// Connections of one port at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 64;

/// How often a listener looks whether it shall end.
const LOOK: Duration = Duration::from_millis(20);

/// One port of the host and the port of the device that it leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Port {
    pub(crate) host: u16,
    pub(crate) device: u16,
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, device) = text.split_once(':').unwrap_or((text, text));
        let port = |text: &str| match text.parse() {
            Ok(0) | Err(_) => Err(format!("{text:?} is no port: expected [HOSTPORT:]DEVPORT, 1 to 65535")),
            Ok(port) => Ok(port),
        };
        Ok(Self { host: port(host)?, device: port(device)? })
    }
}

/// Whether the ports of the host are free, before anything is booted.
pub(crate) fn check(ports: &[Port]) -> Result<()> {
    ports.iter().try_for_each(|port| bind(*port).map(drop))
}

fn bind(port: Port) -> Result<TcpListener> {
    let Port { host, device } = port;
    TcpListener::bind((Ipv4Addr::LOCALHOST, host))
        .with_context(|| format!("cannot publish port {device} of the device on 127.0.0.1:{host}"))
}

/// The streams of one port that are open, both ends of each connection.
type Open = Arc<Mutex<Vec<(u64, TcpStream, TcpStream)>>>;

/// The ports of one boot; closed with it.
pub(crate) struct Published {
    stop: Arc<AtomicBool>,
    listeners: Vec<(JoinHandle<()>, Open)>,
}

impl Published {
    /// Opens the ports for the boot whose PID 1 this is.
    pub(crate) fn open(ports: &[Port], pid1: Pid) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut published = Self { stop: stop.clone(), listeners: Vec::new() };
        let path = format!("/proc/{}/ns/net", pid1.as_raw_nonzero());
        for port in ports {
            let listener = bind(*port)?;
            listener.set_nonblocking(true)?;
            let network = File::open(&path).with_context(|| format!("cannot open {path}"))?;
            let (port, open, stop) = (*port, Open::default(), stop.clone());
            let seen = open.clone();
            published.listeners.push((thread::spawn(move || listen(&listener, port, &network, &seen, &stop)), open));
        }
        Ok(published)
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for (listener, open) in self.listeners.drain(..) {
            // One that panicked has ended as well.
            let _ = listener.join();
            for (_, host, device) in open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                close(&host, &device);
            }
        }
    }
}

fn close(host: &TcpStream, device: &TcpStream) {
    // Not connected any more is closed too.
    let _ = host.shutdown(Shutdown::Both);
    let _ = device.shutdown(Shutdown::Both);
}

fn listen(listener: &TcpListener, port: Port, network: &File, open: &Open, stop: &AtomicBool) {
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((host, _)) => {
                next += 1;
                let (number, open) = (next, open.clone());
                let Ok(network) = network.try_clone() else { continue };
                // Refused inside, or too many: the caller sees a connection that ends.
                thread::spawn(move || drop(connect(host, port, network, number, &open)));
            }
            Err(_) => thread::sleep(LOOK),
        }
    }
}

fn connect(host: TcpStream, port: Port, network: File, number: u64, open: &Open) -> std::io::Result<()> {
    host.set_nonblocking(false)?;
    rustix::thread::move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
    drop(network);
    let device = TcpStream::connect((Ipv4Addr::LOCALHOST, port.device))?;
    {
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= CONNECTIONS_MAX {
            return Ok(());
        }
        open.push((number, host.try_clone()?, device.try_clone()?));
    }
    let (from_host, to_device) = (host.try_clone()?, device.try_clone()?);
    let sending = thread::spawn(move || copy(&from_host, &to_device));
    copy(&device, &host);
    // The answer has ended; a caller that goes on asking shall not keep a namespace alive.
    close(&host, &device);
    let _ = sending.join();
    open.lock().unwrap_or_else(PoisonError::into_inner).retain(|(open, ..)| *open != number);
    Ok(())
}

/// One direction, until it ends; then the other side hears that nothing more comes.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    // A connection that breaks has ended.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_the_same_port_on_both_sides() {
        assert_eq!("12368".parse(), Ok(Port { host: 12368, device: 12368 }));
        assert_eq!("8080:80".parse(), Ok(Port { host: 8080, device: 80 }));
        for wrong in ["", "0", "80:", "1:2:3", "70000", "http"] {
            assert!(wrong.parse::<Port>().is_err(), "{wrong}");
        }
    }
}
