//! Stands between `pvr` and a device, and tells the log what the device has answered.
//!
//! ```text
//!   pvr ──▶ relay ──▶ device         PUT …/objects/ID/bytes, POST …/post
//!       ◀──       ◀──                200: told to the log, then passed on
//! ```
//!
//! It reads heads and passes everything on as it is. What it tells comes before `pvr` hears of it and after the device
//! has said it, so what is told was promised.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::nbd::Shared;
use crate::promise::{OBJECT, TRAIL};

/// The longest head of a message.
const HEAD_MAX: usize = 64 << 10;

/// Relays what comes to a port of its own, which is the result, to another port of loopback, for as long as this process
/// lives.
pub(crate) fn start(to: u16, log: &Shared) -> io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let (own, log) = (listener.local_addr()?.port(), log.clone());
    thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let log = log.clone();
            thread::spawn(move || {
                if let Ok(device) = TcpStream::connect(("127.0.0.1", to)) {
                    relay(client, device, &log);
                }
            });
        }
    });
    Ok(own)
}

/// Until one of them ends.
fn relay(client: TcpStream, device: TcpStream, log: &Shared) {
    let asked = Arc::new(Mutex::new(VecDeque::new()));
    let (Ok(from_client), Ok(to_device)) = (client.try_clone(), device.try_clone()) else { return };
    let noted = Arc::clone(&asked);
    let up = thread::spawn(move || {
        let note = |head: &str| noted.lock().unwrap_or_else(PoisonError::into_inner).push_back(line(head));
        // A connection that breaks ends both directions; who has broken it finds out by himself.
        let _ = pass(from_client, &to_device, note);
        let _ = to_device.shutdown(Shutdown::Both);
    });
    let hear = |head: &str| {
        let status = line(head).split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).unwrap_or_default();
        // An answer that goes on.
        if (100..200).contains(&status) {
            return;
        }
        let request = asked.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or_default();
        if (200..300).contains(&status)
            && let Some(promise) = promised(&request)
        {
            log.tell(&promise);
        }
    };
    let _ = pass(device, &client, hear);
    let _ = client.shutdown(Shutdown::Both);
    let _ = up.join();
}

/// What success on a request promises.
fn promised(request: &str) -> Option<String> {
    let mut words = request.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let mut parts = path.rsplit('/');
    match (method, parts.next()?, parts.next()?) {
        ("PUT", "bytes", id) => Some(format!("{OBJECT}{id}")),
        ("POST", "post", _) => Some(TRAIL.to_owned()),
        _ => None,
    }
}

fn line(head: &str) -> String {
    head.lines().next().unwrap_or_default().to_owned()
}

/// Passes messages on and shows their heads.
fn pass(mut from: impl Read, mut to: impl Write, mut head: impl FnMut(&str)) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let (mut text, mut body) = (Vec::new(), 0_u64);
    loop {
        let length = from.read(&mut buffer)?;
        let bytes = buffer.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let skipped = usize::try_from(body).unwrap_or(usize::MAX).min(rest.len());
            body -= skipped as u64;
            rest = rest.get(skipped..).unwrap_or_default();
            let Some((byte, more)) = rest.split_first() else { break };
            text.push(*byte);
            rest = more;
            if text.ends_with(b"\r\n\r\n") {
                let whole = String::from_utf8_lossy(&text).into_owned();
                body = content_length(&whole);
                head(&whole);
                text.clear();
            } else if text.len() > HEAD_MAX {
                return Err(io::Error::other("a head without an end"));
            }
        }
        to.write_all(bytes)?;
    }
}

/// Bytes that follow a head. A device and `pvr` send none in pieces.
fn content_length(head: &str) -> u64 {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_between_bodies_whatever_the_pieces() {
        let body = "PUT /not/a/request/bytes HTTP/1.1\r\n\r\n";
        let text = format!(
            "PUT /a/x/bytes HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}POST /post HTTP/1.1\r\n\r\n",
            body.len()
        );
        for size in [1, 7, 1000] {
            let (mut heads, mut passed) = (Vec::new(), Vec::new());
            let mut from = text.as_bytes().chunks(size).map(Vec::from).collect::<VecDeque<_>>();
            let pieces = std::iter::from_fn(|| from.pop_front());
            for piece in pieces.collect::<Vec<_>>().concat().chunks(size) {
                passed.extend_from_slice(piece);
            }
            let mut out = Vec::new();
            pass(&passed[..], &mut out, |head| heads.push(line(head))).unwrap();
            assert_eq!(heads, ["PUT /a/x/bytes HTTP/1.1", "POST /post HTTP/1.1"]);
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn only_what_makes_something_durable_is_a_promise() {
        assert_eq!(promised("PUT /cgi-bin/pvr/objects/3f/bytes HTTP/1.1"), Some("object 3f".into()));
        assert_eq!(promised("POST /cgi-bin/pvr/post HTTP/1.1"), Some("trail ".into()));
        assert_eq!(promised("POST /cgi-bin/pvr/objects/ HTTP/1.1"), None);
        assert_eq!(promised("GET /cgi-bin/pvr/objects/3f/bytes HTTP/1.1"), None);
    }
}
