//! `pvr remoteinfo`, `pvr stepinfo`: what a remote says about itself and about the revision of its state, as it says it.

use formats::json::{self, Json, Limits};

use crate::error::{Error, ErrorKind, Result};
use crate::http::{Client, Repeat, nonsense};
use crate::remote::address::{Address, Place};
use crate::remote::info::Info;
use crate::watch::Watch;

/// The document by which a remote is found.
///
/// # Errors
/// There is none, or nobody answers.
pub fn remote(client: &Client, address: &Address, watch: &dyn Watch) -> Result<Json> {
    Info::discover_whole(client, url(address)?, watch).map(|(_, document)| document)
}

/// The record of the revision that its state is of: when it came, by whom, how far it is.
///
/// # Errors
/// It has no such records, as devices do not, or nobody answers.
pub fn step(client: &Client, address: &Address, watch: &dyn Watch) -> Result<Json> {
    let info = Info::discover(client, url(address)?, watch)?;
    let none = || {
        let message = format!("{} keeps no record of its revisions", info.base);
        Error { kind: ErrorKind::Device, message, hint: None }
            .hint("a hub does; what a device does with a revision, `pvr post --wait` tells")
    };
    let url = info.record().ok_or_else(none)?;
    // The state is a member of it.
    let reply = client.get(url, 2 * Limits::STATE.bytes, Repeat::Harmless, watch)?;
    if matches!(reply.status, 400 | 404 | 405) {
        return Err(none());
    }
    let bytes = reply.success("it was asked for the record of its revision")?;
    let limits = Limits { bytes: 2 * Limits::STATE.bytes, ..Limits::STATE };
    json::parse(&bytes, limits).map(|value| value.to_json()).map_err(|error| nonsense(url, error))
}

fn url(address: &Address) -> Result<&str> {
    match &address.place {
        Place::Url(url) => Ok(url),
        Place::Directory(_) | Place::Bundle(_) => {
            Err(Error::user(address.place.described()).hint("`pvr json PLACE` shows what is committed there"))
        }
    }
}
