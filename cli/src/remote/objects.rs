//! Objects between the pool and a remote, side by side.
//!
//! What comes is hashed on the way and gets its name only if it has the right bytes; when the way breaks, it goes on
//! where it broke, also in the next run. What goes is checked first, so that a damaged pool is found here and not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use formats::object::ObjectId;

use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::http::{Client, PAUSES, host, network, nonsense, page};
use crate::remote::info::Info;
use crate::remote::record::{Announced, Record};
use crate::remote::side_by_side::each;
use crate::repo::Pool;
use crate::repo::incoming::Incoming;
use crate::repo::pool::hash_file;
use crate::state::{State, object_id};
use crate::watch::{Unwatched, Watch};

/// Bytes that are read from the network at once.
const PIECE: usize = 64 * 1024;

/// The objects of a state, each with one key that needs it.
#[must_use]
pub fn of(state: &State, takes: impl Fn(&str) -> bool) -> BTreeMap<ObjectId, String> {
    let objects = state.files().filter(|(key, _)| takes(key) && state.is_object(key));
    objects.filter_map(|(key, value)| Some((object_id(value)?, key.to_owned()))).collect()
}

/// Fetches what the pool does not have. Returns how many were fetched.
///
/// # Errors
/// One that could not be had; those that came are kept.
pub fn fetch(
    client: &Client,
    info: &Info,
    wanted: &BTreeMap<ObjectId, String>,
    pool: &Pool,
    watch: &dyn Watch,
) -> Result<usize> {
    let missing = missing(wanted, pool, watch)?;
    let records = each(&missing, watch, |(id, key), watch| Record::get(client, info, *id, key, watch))?;
    let items: Vec<_> = missing.iter().zip(records).collect();
    watch.begin("fetching", items.iter().filter_map(|(_, record)| record.size).sum());
    let done = each(&items, watch, |((id, key), record), watch| fetch_one(client, record, *id, key, pool, watch));
    watch.end();
    done?;
    Incoming::sweep(pool);
    pool.sync()?;
    Ok(missing.len())
}

/// The objects that are not there, or not right; those that are not right are removed.
pub(crate) fn missing<'w>(
    wanted: &'w BTreeMap<ObjectId, String>,
    pool: &Pool,
    watch: &dyn Watch,
) -> Result<Vec<(ObjectId, &'w str)>> {
    let size = |id: &ObjectId| fs::metadata(pool.path(*id)).map(|metadata| metadata.len()).ok();
    watch.begin("checking", wanted.keys().filter_map(size).sum());
    let mut missing = Vec::new();
    for (id, key) in wanted {
        let path = pool.path(*id);
        if path.is_file() && hash_file(&path, watch)?.0 == *id {
            continue;
        }
        if path.exists() {
            fs::remove_file(&path).context("remove", &path)?;
        }
        missing.push((*id, key.as_str()));
    }
    watch.end();
    Ok(missing)
}

fn fetch_one(client: &Client, record: &Record, id: ObjectId, key: &str, pool: &Pool, watch: &dyn Watch) -> Result<()> {
    let url = record.get.as_deref();
    let url = url.ok_or_else(|| nonsense(&format!("the record of {key}"), "it does not say where the object is"))?;
    let Some(mut incoming) = Incoming::open(pool, id)? else { return Ok(()) };
    watch.advance(incoming.len());
    let mut began_anew = incoming.is_empty();
    loop {
        fetch_rest(client, url, record, &mut incoming, watch)?;
        if incoming.finish()? {
            return Ok(());
        }
        // What an earlier run left may have been wrong.
        if began_anew {
            return Err(Error {
                kind: ErrorKind::Device,
                message: format!("{} sent other bytes for {key} than its state says (object {id})", host(url)),
                hint: Some(
                    "nothing was changed; run the command again, and if it stays so, the device's storage is damaged"
                        .into(),
                ),
            });
        }
        began_anew = true;
    }
}

/// Fetches from where it is to the end, as often as the way breaks and something came.
fn fetch_rest(client: &Client, url: &str, record: &Record, incoming: &mut Incoming, watch: &dyn Watch) -> Result<()> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let before = incoming.len();
        if before > 0 && Some(before) == record.size {
            return Ok(());
        }
        let error = match fetch_once(client, url, record, incoming, watch) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind != ErrorKind::Network => return Err(error),
            Err(error) => error,
        };
        if incoming.len() > before {
            pauses = PAUSES.into_iter();
        }
        match pauses.next() {
            Some(pause) => client.pause(pause),
            None => return Err(error),
        }
    }
}

fn fetch_once(client: &Client, url: &str, record: &Record, incoming: &mut Incoming, watch: &dyn Watch) -> Result<()> {
    let mut stream = client.open(url, incoming.len(), watch)?;
    if stream.is_page && record.size.is_some() && stream.total != record.size {
        return Err(Error { kind: ErrorKind::Device, ..page(url) });
    }
    if stream.start != incoming.len() {
        // It begins where it wants to, which is the beginning for a server that knows no ranges.
        incoming.restart()?;
        if stream.start != 0 {
            return Err(nonsense(url, "it sent another part than was asked for"));
        }
    }
    let wanted = record.size.or(stream.total);
    let mut buffer = vec![0; PIECE];
    loop {
        let length = stream.next(&mut buffer)?;
        if length == 0 {
            break;
        }
        if let Some(wanted) = wanted.filter(|wanted| incoming.len() + length as u64 > *wanted) {
            incoming.restart()?;
            let error = nonsense(url, format_args!("it is longer than the {wanted} bytes that were announced"));
            return Err(Error { kind: ErrorKind::Device, ..error });
        }
        incoming.write(buffer.get(..length).unwrap_or_default())?;
        watch.advance(length as u64);
    }
    match wanted.filter(|wanted| incoming.len() < *wanted) {
        None => Ok(()),
        Some(wanted) => {
            let message = format!("{} broke off after {} of {wanted} bytes", host(url), incoming.len());
            Err(network(message).hint("run the command again; what has come is kept"))
        }
    }
}

/// Sends the objects that the remote does not have. Returns how many were sent.
///
/// # Errors
/// One is missing or damaged here, or is not wanted there.
pub fn send(
    client: &Client,
    info: &Info,
    objects: &BTreeMap<ObjectId, String>,
    there: &BTreeSet<ObjectId>,
    pool: &Pool,
    watch: &dyn Watch,
) -> Result<usize> {
    let new: Vec<_> = objects.iter().filter(|(id, _)| !there.contains(id)).collect();
    let sizes: Vec<u64> =
        new.iter().map(|(id, _)| fs::metadata(pool.path(**id)).map_or(0, |metadata| metadata.len())).collect();
    watch.begin("checking", sizes.iter().sum());
    let checked = new.iter().try_for_each(|(id, key)| pool.check(**id, key, watch));
    watch.end();
    checked?;
    let items: Vec<_> = new.into_iter().zip(sizes).collect();
    watch.begin("sending", items.iter().map(|(_, size)| size).sum());
    let sent = each(&items, watch, |((id, key), size), watch| {
        match Record::announce(client, info, **id, key, *size, watch)? {
            Announced::Present => {
                watch.advance(*size);
                Ok(false)
            }
            Announced::Wanted(url) => {
                let reply = client.put_file(&url, &pool.path(**id), watch)?;
                if reply.status != 409 {
                    reply.success(&format!("{key} was sent"))?;
                }
                Ok(true)
            }
        }
    });
    watch.end();
    Ok(sent?.into_iter().filter(|sent| *sent).count())
}

/// Takes over what the pool does not have from the pool of another repository.
///
/// # Errors
/// One is missing or damaged there, or cannot be written here.
pub fn adopt(from: &Pool, wanted: &BTreeMap<ObjectId, String>, pool: &Pool) -> Result<usize> {
    let before = wanted.keys().filter(|id| !pool.path(**id).is_file()).count();
    for (id, key) in wanted {
        pool.adopt(from, *id, key, &Unwatched)?;
    }
    pool.sync()?;
    Ok(before)
}
