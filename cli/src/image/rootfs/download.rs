//! A tar from a server: whole, bounded, and of the digest that was asked for.
//!
//! Without a digest only https is good enough, or a server on this machine: what comes becomes programs of a device.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};

use ring::digest::{Context, SHA256};

use super::super::digest::{Digest, digest};
use super::super::registry::Url;
use super::Place;
use crate::error::{Error, ErrorKind, Result};
use crate::http::Client;
use crate::watch::Watch;

/// How often a download goes on that broke off. Each time more has to have come.
const TRIES: u32 = 16;

/// Reads an address.
pub(super) fn parse(text: &str) -> Result<Place> {
    let wrong = |why: &str| Error::user(format!("{text:?} is no place of a root file system: {why}"));
    let (url, fragment) = text.split_once('#').map_or((text, None), |(url, fragment)| (url, Some(fragment)));
    let digest = match fragment {
        None => None,
        Some(fragment) => {
            let digest = fragment.strip_prefix("sha256=").and_then(|hex| Digest::parse(&format!("sha256:{hex}")));
            Some(digest.ok_or_else(|| wrong("after `#` stands sha256= and 64 digits"))?)
        }
    };
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let server = Url::parse(&format!("{scheme}://{host}"))
        .ok_or_else(|| wrong("write https://HOST[:PORT]/PATH; names and passwords have no place in it"))?;
    if digest.is_none() && !server.is_safe() {
        return Err(Error::user(format!("{url}: anybody on the way could give other files"))
            .hint("use https, or say what must come: URL#sha256=HEX"));
    }
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(wrong("there is a blank in it"));
    }
    Ok(Place::Url { url: url.to_owned(), digest })
}

/// Downloads it to the beginning of a file.
pub(super) fn fetch(
    client: &Client,
    url: &str,
    wanted: Option<Digest>,
    to: &mut File,
    limit: u64,
    watch: &dyn Watch,
) -> Result<()> {
    let full = |error: std::io::Error| {
        Error::user(format!("cannot write to a temporary file: {error}")).hint("make room, or set TMPDIR")
    };
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 128 * 1024];
    let mut have = 0;
    watch.begin("downloading", 0);
    for attempt in 1.. {
        let mut stream = client.open(url, have, watch)?;
        if stream.is_page {
            return Err(Error::user(format!("{url}: this is a web page and no tar"))
                .hint("name the file itself; in a network with a sign-in page, sign in first"));
        }
        if stream.start != have {
            // It cannot go on in the middle, so it is read from the beginning again.
            (context, have) = (Context::new(&SHA256), 0);
            to.seek(SeekFrom::Start(0)).and_then(|_| to.set_len(0)).map_err(full)?;
        }
        let (before, total) = (have, stream.total);
        let broken = loop {
            match stream.next(&mut buffer) {
                Ok(0) if total.is_none_or(|total| have >= total) => break None,
                Ok(0) => break Some(short(url, have, total)),
                Ok(len) => {
                    have += len as u64;
                    if have > limit {
                        return Err(Error::user(format!("{url}: it has more than {limit} bytes"))
                            .hint("if that is right, allow more: --max-bytes"));
                    }
                    let bytes = buffer.get(..len).unwrap_or_default();
                    context.update(bytes);
                    to.write_all(bytes).map_err(full)?;
                    watch.advance(len as u64);
                }
                Err(error) => break Some(error),
            }
        };
        match broken {
            None => break,
            Some(error) if attempt >= TRIES || have == before => return Err(error),
            Some(_) => {}
        }
    }
    watch.end();
    let found = digest(context);
    match wanted {
        Some(wanted) if wanted != found => Err(Error {
            kind: ErrorKind::Network,
            message: format!("{url}: {wanted} came as other bytes ({found})"),
            hint: Some(
                "it was changed since, or is damaged on the way; look at the file before you take its digest".into(),
            ),
        }),
        _ => Ok(()),
    }
}

fn short(url: &str, have: u64, total: Option<u64>) -> Error {
    let message = format!("{url}: it ends after {have} of {} bytes", total.unwrap_or_default());
    Error { kind: ErrorKind::Network, message, hint: None }
}
