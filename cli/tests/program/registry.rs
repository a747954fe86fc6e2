//! A registry in this process, that can go wrong in all the ways registries do.
#![expect(clippy::indexing_slicing, reason = "a test that is wrong about a length fails")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::images::Layout;

/// How it goes wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Wants a token, and for the token a name and a password.
    Token,
    /// Wants a name and a password.
    Basic,
    /// Answers a page.
    Html,
    /// Answers 503 twice, then well.
    Busy,
    /// Closes every blob after some bytes; goes on where it is asked to if `ranges`.
    BreaksOff {
        ranges: bool,
    },
    /// Closes every blob after the same bytes.
    Stuck,
    /// Gives other bytes of the same length.
    Wrong,
    /// Sends elsewhere for a token, without TLS.
    Lures,
    /// Answers 429 once, and says when to come again.
    Limited {
        seconds: u32,
    },
    /// Breaks off each layer once, then answers nothing more of it: as a machine that is switched off.
    Dies,
}

/// A registry that serves one layout under every name.
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    pub(crate) fn serve(layout: Layout, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (layout, log) = (Arc::new(layout), asked.clone());
        // It ends with the process: a test is over long before that.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (layout, log) = (layout.clone(), log.clone());
                thread::spawn(move || answer(stream, address, &layout, fault, &log));
            }
        });
        Self { address, asked }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(stream: TcpStream, address: SocketAddr, layout: &Layout, fault: Fault, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| {
        headers.iter().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let authorization = header("authorization").map(|(_, value)| value.to_owned()).unwrap_or_default();
    let range = header("range").map(|(_, value)| value.to_owned()).unwrap_or_default();
    let if_range = header("if-range").map(|(_, value)| format!(" {value}")).unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let earlier =
        log.lock().unwrap().iter().filter(|line| **line == path || line.starts_with(&format!("{path} "))).count();
    log.lock().unwrap().push(format!("{path} {range}{if_range}").trim_end().to_owned());
    // name:secret
    let known = authorization == "Basic bmFtZTpzZWNyZXQ=";
    let say = |status: &str, more: &str, len: usize, body: &[u8]| {
        let head = format!("HTTP/1.1 {status}\r\n{more}Content-Length: {len}\r\nConnection: close\r\n\r\n");
        // The other side may have gone away already; that is its right.
        let _ = (&stream).write_all(head.as_bytes()).and_then(|()| (&stream).write_all(body));
    };
    if path.starts_with("/token") {
        let body = br#"{"token":"T0ken"}"#;
        return if known && path.contains("service=here") && path.contains("scope=repository%3A") {
            say("200 OK", "", body.len(), body)
        } else {
            say("401 Unauthorized", "", 0, b"")
        };
    }
    let challenge = match fault {
        Fault::Token if authorization != "Bearer T0ken" => format!(
            "WWW-Authenticate: Bearer realm=\"http://{address}/token\",service=\"here\",scope=\"repository:a/b:pull,x\"\r\n"
        ),
        Fault::Basic if !known => "WWW-Authenticate: Basic realm=\"x\"\r\n".to_owned(),
        Fault::Lures => "WWW-Authenticate: Bearer realm=\"http://192.0.2.1/token\"\r\n".to_owned(),
        _ => String::new(),
    };
    if !challenge.is_empty() {
        return say("401 Unauthorized", &challenge, 0, b"");
    }
    if fault == Fault::Html {
        let page = b"<!DOCTYPE html><p>sign in";
        return say("200 OK", "Content-Type: text/html\r\n", page.len(), page);
    }
    if fault == Fault::Busy && earlier < 2 {
        return say("503 Service Unavailable", "", 0, b"");
    }
    if let Fault::Limited { seconds } = fault
        && earlier < 1
    {
        return say("429 Too Many Requests", &format!("Retry-After: {seconds}\r\n"), 0, b"");
    }
    let what = path.rsplit('/').next().unwrap_or_default();
    if what == "none" {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        return say("404 Not Found", "", body.len(), body);
    }
    if what == "latest" {
        let index = std::fs::read(layout.0.join("index.json")).unwrap();
        return say("200 OK", "Content-Type: application/vnd.oci.image.index.v1+json\r\n", index.len(), &index);
    }
    if what.ends_with(".sig") {
        return match std::fs::read(layout.0.join(what)) {
            Ok(document) => say("200 OK", "", document.len(), &document),
            Err(_) => say("404 Not Found", "", 0, b""),
        };
    }
    let Some(mut body) = layout.read(what) else { return say("404 Not Found", "", 0, b"") };
    if !path.contains("/blobs/") || body.len() < 400 {
        return say("200 OK", "", body.len(), &body);
    }
    let from: usize =
        range.strip_prefix("bytes=").and_then(|it| it.strip_suffix('-')).map_or(0, |it| it.parse().unwrap());
    match fault {
        Fault::BreaksOff { ranges: true } => {
            let rest = &body[from..];
            let some = rest.len().min(body.len() / 3 + 1);
            let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
            let of = format!("ETag: \"{what}\"\r\nContent-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len());
            say(status, &of, rest.len(), &rest[..some]);
        }
        Fault::Dies if body.len() > 4000 => {
            say("200 OK", "", body.len(), if earlier == 0 { &body[..body.len() / 2] } else { b"" })
        }
        // Each time a bit more, and always from the beginning.
        Fault::BreaksOff { ranges: false } => {
            say("200 OK", "", body.len(), &body[..body.len().min((earlier + 1) * 200)])
        }
        Fault::Stuck => say("200 OK", "", body.len(), &body[..100]),
        Fault::Wrong => {
            body[50] ^= 1;
            say("200 OK", "", body.len(), &body);
        }
        _ => say("200 OK", "", body.len(), &body),
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    // What is still on its way must be taken, or closing would throw away what was sent.
    let _ = (&stream).take(1 << 16).read_to_end(&mut Vec::new());
}
