//! `pvr put`: the committed state replaces that of a repository. Devices take none this way; they take revisions.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::history::{self, Deed};
use crate::http::Client;
use crate::remote::address::{Address, Place};
use crate::remote::info::Info;
use crate::remote::objects;
use crate::remote::post::{presentable, send_objects};
use crate::repo::{Remembered, Repo, durable};
use crate::watch::Watch;

/// Puts the objects of the committed state and nothing else, for a state that comes later. Returns how many were sent.
///
/// # Errors
/// An object is missing here, or it is not wanted there.
pub fn put_objects(repo: &Repo, client: &Client, address: &Address, watch: &dyn Watch) -> Result<usize> {
    let _lock = repo.lock()?;
    let (state, _) = presentable(repo, address)?;
    match &address.place {
        Place::Directory(directory) => {
            let other = Repo::at(directory)?;
            let _other = other.lock()?;
            objects::adopt(repo.pool(), &objects::of(&state, |_| true), other.pool())
        }
        Place::Bundle(path) => Err(not_a_place(path)),
        Place::Url(url) => send_objects(repo, client, &Info::discover(client, url, watch)?, &state, false, watch),
    }
}

pub(crate) fn not_a_place(file: &Path) -> Error {
    Error::user(format!("{} is a file", file.display())).hint("`pvr export FILE` writes a bundle")
}

/// Puts the committed state; with `force` it offers objects that the state there names already. Returns how many objects
/// were sent, and what a person should hear about.
///
/// # Errors
/// Devices would refuse it, an object is missing here, or it is not wanted there.
pub fn put(
    repo: &Repo,
    client: &Client,
    address: &Address,
    force: bool,
    watch: &dyn Watch,
) -> Result<(usize, Vec<String>)> {
    let _lock = repo.lock()?;
    let (state, mut warnings) = presentable(repo, address)?;
    let sent = match &address.place {
        Place::Directory(directory) => {
            let other = Repo::at(directory)?;
            if other.root().canonicalize().ok() == repo.root().canonicalize().ok() {
                return Err(Error::user("a repository cannot be put into itself").hint("name another directory"));
            }
            let _other = other.lock()?;
            let sent = objects::adopt(repo.pool(), &objects::of(&state, |_| true), other.pool())?;
            let before = other.committed()?;
            durable::replace(&other.books().join("json"), state.canonical().as_bytes(), 0o644)?;
            let other = match repo.moment() {
                Some(moment) => other.at_moment(moment),
                None => other,
            };
            let whence = repo.root().display().to_string();
            let deed = Deed { command: "put", message: &whence, signer: None };
            if before.canonical() != state.canonical() {
                warnings.extend(history::note(&other, deed, Some(&before), &state));
            }
            sent
        }
        Place::Bundle(path) => {
            return Err(not_a_place(path));
        }
        Place::Url(url) => {
            let info = Info::discover(client, url, watch)?;
            let sent = send_objects(repo, client, &info, &state, force, watch)?;
            let reply = client.put(&info.state, "application/json", &state.canonical(), watch)?;
            if matches!(reply.status, 404 | 405) {
                let message = format!("{} does not let its state be replaced", info.base);
                return Err(
                    Error { kind: ErrorKind::Device, message, hint: None }.hint("a device takes revisions: `pvr post`")
                );
            }
            reply.success("its state was put")?;
            sent
        }
    };
    repo.set_base(&state)?;
    let known = repo.remembered()?;
    let place = || Some(address.place.to_text());
    repo.remember(&Remembered { get: known.get.or_else(place), post: known.post.or_else(place), put: place() })?;
    Ok((sent, warnings))
}
