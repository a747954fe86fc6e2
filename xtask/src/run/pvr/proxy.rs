//! A door in front of a registry on loopback, that counts who asks for what.
//!
//! Requests of somebody who reads have no bodies, so every line that begins with a method is one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};

/// How often was asked for what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Count {
    pub(super) manifests: u32,
    pub(super) blobs: u32,
}

impl Count {
    /// What has come since then.
    pub(super) fn since(self, before: &Self) -> Self {
        Self { manifests: self.manifests - before.manifests, blobs: self.blobs - before.blobs }
    }

    fn see(&mut self, line: &str) {
        let path = line.strip_prefix("GET ").or_else(|| line.strip_prefix("HEAD ")).unwrap_or_default();
        self.manifests += u32::from(path.contains("/manifests/"));
        self.blobs += u32::from(path.contains("/blobs/"));
    }
}

/// It is there until this program ends.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    count: Arc<Mutex<Count>>,
}

impl Proxy {
    /// Before a server at `http://HOST:PORT`.
    pub(super) fn before(url: &str) -> Result<Self> {
        let server: SocketAddr = url.trim_start_matches("http://").parse().context("no address of a registry")?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let count: Arc<Mutex<Count>> = Arc::default();
        let counted = count.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let count = counted.clone();
                // What breaks is seen by the one who asks.
                std::thread::spawn(move || pass(&client, server, &count));
            }
        });
        Ok(Self { address, count })
    }

    pub(super) fn count(&self) -> Count {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pass(client: &TcpStream, server: SocketAddr, count: &Mutex<Count>) -> std::io::Result<()> {
    let server = TcpStream::connect(server)?;
    let (mut answers, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let back = std::thread::spawn(move || {
        let done = std::io::copy(&mut answers, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
        done
    });
    let mut lines = BufReader::new(client.try_clone()?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        count.lock().unwrap_or_else(PoisonError::into_inner).see(&String::from_utf8_lossy(&line));
        (&server).write_all(&line)?;
        line.clear();
    }
    server.shutdown(Shutdown::Write)?;
    // Its end is that of the connection.
    let _ = back.join();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_and_blobs_are_counted_apart() {
        let mut count = Count::default();
        for line in ["GET /v2/a/manifests/latest HTTP/1.1", "Accept: /blobs/", "HEAD /v2/a/blobs/x HTTP/1.1", ""] {
            count.see(line);
        }
        assert_eq!(count, Count { manifests: 1, blobs: 1 });
        assert_eq!(count.since(&Count { manifests: 1, blobs: 0 }), Count { manifests: 0, blobs: 1 });
    }
}
