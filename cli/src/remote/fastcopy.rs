//! `pvr fastcopy`: a state, or parts of one, from one place to another, without a repository in between.
//!
//! ```text
//!   source ──parts──▶ renamed ──laid into──▶ the state of the destination ─▶ checked ─▶ objects that it lacks ─▶ state
//!   bsp, web/x        bsp2, web/x                                             └── nothing was sent until here
//! ```
//!
//! An object travels only if the destination wants it: one that it has is named and not moved, so between two trails of
//! one server nothing travels but the state. What must travel between two servers passes through a file without a name.
//! A device or a trail gets a new revision; the committed state of a repository on this machine is replaced.

use std::collections::{BTreeMap, BTreeSet};

use formats::object::ObjectId;
use formats::path;

use crate::error::{Context as _, Error, Result};
use crate::http::Client;
use crate::remote::address::{Address, Place};
use crate::remote::get::{self, Got, difference, laid_over, overlay};
use crate::remote::info::Info;
use crate::remote::objects;
use crate::remote::origin::{self, Origin};
use crate::remote::post::{self, Posted, Request, acceptable};
use crate::remote::record::{Announced, Record};
use crate::remote::selector::is_in;
use crate::remote::side_by_side::each;
use crate::remote::{Selector, put};
use crate::repo::durable::Prepared;
use crate::repo::{Pool, Repo};
use crate::state::State;
use crate::watch::Watch;

/// How a state is copied.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Options {
    /// Whether what the source does not have stays.
    pub merge: bool,
    /// How a new revision is posted.
    pub post: post::Options,
}

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copied {
    /// What differs at the destination now.
    pub changes: Got,
    /// The new revision, if the destination has revisions.
    pub posted: Option<Posted>,
}

/// Which parts go where: each of the source beside what it is called at the destination.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Renamed(Vec<(String, String)>);

/// A place with a client of its own: who speaks to one shows the tokens of that one only.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Who speaks to it.
    pub client: &'a Client,
    /// Where it is.
    pub address: &'a Address,
}

/// Copies a state, or parts of it.
///
/// # Errors
/// The parts do not fit, one of the places cannot be used, or devices would refuse the result; the destination has then
/// at most further objects.
pub fn fastcopy(from: End<'_>, to: End<'_>, options: &Options, watch: &dyn Watch) -> Result<Copied> {
    if let Place::Bundle(path) = &to.address.place {
        return Err(put::not_a_place(path));
    }
    if from.address.place == to.address.place && from.address.selector == to.address.selector {
        return Err(Error::user("source and destination are the same").hint("name another place, or other parts"));
    }
    let renamed = Renamed::of(&from.address.selector, &to.address.selector)?;
    let origin = Origin::open(from.client, &from.address.place, watch)?;
    let source = origin.state(watch)?;
    let selected = &from.address.selector;
    if let Some(part) = selected.parts().find(|part| !get::has(&source, part)) {
        return Err(Error::user(format!("{} has no part {part:?}", from.address.place.to_text()))
            .hint("a part is a key of the state or a directory; `pvr json` lists what a repository has"));
    }
    let given = renamed.apply(&source, selected)?;
    let into = renamed.places(selected);
    match &to.address.place {
        Place::Bundle(path) => Err(put::not_a_place(path)),
        Place::Directory(directory) => {
            let other = Repo::at(directory)?;
            let _lock = other.lock()?;
            let before = other.committed()?;
            let after = result(&before, &given, &into, options.merge);
            let mut changes = difference(&before, &after);
            changes.warnings = acceptable(&after)?;
            changes.objects =
                origin.bring(&objects::of(&after, |key| given.get(key).is_some()), other.pool(), watch)?;
            let (books, text) = (other.books(), after.canonical());
            Prepared::new(books, &books.join("json"), text.as_bytes(), 0o644)?.publish()?;
            Ok(Copied { changes, posted: None })
        }
        Place::Url(url) => {
            let info = Info::discover(to.client, url, watch)?;
            let there = origin::state_if_any(to.client, &info, watch)?;
            let spec = source.get("#spec").and_then(|spec| spec.as_str()).unwrap_or_default();
            let before = there.unwrap_or_else(|| State::new(spec));
            let after = result(&before, &given, &into, options.merge);
            let mut changes = difference(&before, &after);
            let mut warnings = acceptable(&after)?;
            let message = options.post.message.clone();
            let message = message.unwrap_or_else(|| format!("copied from {}", from.address.to_text()));
            let request = Request::new(&info, &after, &message, &options.post, &mut warnings)?;
            let known = if options.post.force { BTreeSet::new() } else { ids(&before) };
            let wanted = objects::of(&after, |key| given.get(key).is_some());
            changes.objects = carry(&origin, to.client, &info, &wanted, &known, watch)?;
            let posted = request.send(to.client, info, &after, warnings, watch)?;
            Ok(Copied { changes, posted: Some(posted) })
        }
    }
}

fn result(before: &State, given: &State, into: &Selector, merge: bool) -> State {
    if merge { laid_over(before, given, into) } else { overlay(before, given, into) }
}

fn ids(state: &State) -> BTreeSet<ObjectId> {
    objects::of(state, |_| true).into_keys().collect()
}

impl Renamed {
    fn of(from: &Selector, to: &Selector) -> Result<Self> {
        if let Some(part) = to.excluded().next() {
            return Err(Error::user(format!("the destination has -{part}, and nothing is kept out there"))
                .hint("write -PART behind the source"));
        }
        let (from, to): (Vec<_>, Vec<_>) = (from.parts().collect(), to.parts().collect());
        if !to.is_empty() && from.len() != to.len() {
            let message = format!("{} parts of the source cannot become {} of the destination", from.len(), to.len());
            return Err(Error::user(message).hint("name as many parts behind both, or none behind the destination"));
        }
        let names = if to.is_empty() { from.clone() } else { to };
        for (number, name) in names.iter().enumerate() {
            if let Some(other) = names.iter().take(number).find(|other| is_in(name, other) || is_in(other, name)) {
                return Err(Error::user(format!(
                    "the parts {other} and {name} of the destination are in each other's way"
                )));
            }
        }
        Ok(Self(from.into_iter().zip(names).map(|(from, to)| (from.to_owned(), to.to_owned())).collect()))
    }

    /// What is taken of the source, called as at the destination.
    fn apply(&self, source: &State, selector: &Selector) -> Result<State> {
        let mut given = State::default();
        for (key, value) in source.iter().filter(|(key, _)| selector.takes(key)) {
            let named = match self.0.iter().find(|(from, _)| is_in(key, from)) {
                Some((from, to)) => format!("{to}{}", key.strip_prefix(from.as_str()).unwrap_or_default()),
                None => key.to_owned(),
            };
            path::key(&named).map_err(|why| Error::user(format!("the key {named:?} cannot be used: {why}")))?;
            if given.get(&named).is_some() {
                return Err(Error::user(format!("two parts of the source would both be {named}")));
            }
            given.set(&named, value.clone());
        }
        Ok(given)
    }

    /// The parts of the destination that are replaced. What is kept out is gone afterwards, as with `get`.
    fn places(&self, selector: &Selector) -> Selector {
        let renamed = |part: &str| match self.0.iter().find(|(from, _)| is_in(part, from)) {
            Some((from, to)) => format!("{to}{}", part.strip_prefix(from.as_str()).unwrap_or_default()),
            None => part.to_owned(),
        };
        selector.map(renamed)
    }
}

/// Has the destination take what it wants of these objects. Returns how many travelled.
fn carry(
    origin: &Origin<'_>,
    client: &Client,
    info: &Info,
    wanted: &BTreeMap<ObjectId, String>,
    known: &BTreeSet<ObjectId>,
    watch: &dyn Watch,
) -> Result<usize> {
    let scratch = || tempfile::tempdir().context("make a directory in", &std::env::temp_dir());
    match origin {
        Origin::Repository(repo) => objects::send(client, info, wanted, known, repo.pool(), watch),
        Origin::Bundle(bundle) => {
            let scratch = scratch()?;
            let pool = Pool::at(scratch.path().to_owned());
            let missing = wanted.iter().filter(|(id, _)| !known.contains(id)).map(|(id, key)| (*id, key.clone()));
            bundle.bring(&missing.collect(), &pool, watch)?;
            objects::send(client, info, wanted, known, &pool, watch)
        }
        Origin::Remote { client: asked, info: whence } => {
            let missing: Vec<_> = wanted.iter().filter(|(id, _)| !known.contains(id)).collect();
            let records = each(&missing, watch, |(id, key), watch| Record::get(asked, whence, **id, key, watch))?;
            let items: Vec<_> = missing.into_iter().zip(records).collect();
            watch.begin("sending", items.iter().filter_map(|(_, record)| record.size).sum());
            let moved = each(&items, watch, |((id, key), record), watch| {
                let one = BTreeMap::from([(**id, (*key).clone())]);
                if let Some(size) = record.size {
                    match Record::announce(client, info, **id, key, size, watch)? {
                        Announced::Present => {
                            watch.advance(size);
                            return Ok(false);
                        }
                        Announced::Wanted(_) => {}
                    }
                }
                // Where it is to go is asked once more when it is here: such addresses are good for minutes.
                let scratch = scratch()?;
                let pool = Pool::at(scratch.path().to_owned());
                objects::fetch(asked, whence, &one, &pool, &crate::watch::Unwatched)?;
                let sent = objects::send(client, info, &one, &BTreeSet::new(), &pool, &crate::watch::Unwatched)?;
                watch.advance(record.size.unwrap_or_default());
                Ok(sent > 0)
            });
            watch.end();
            Ok(moved?.into_iter().filter(|moved| *moved).count())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const A: &str = r##"{"#spec":"a","bsp/k":"1","bsp/x":"1","web/a.json":{"v":1},"web2/a.json":{"v":1}}"##;
    const B: &str = r##"{"#spec":"b","bsp/k":"2","bsp/y":"2","db/a.json":{"v":2},"web/a.json":{"v":2,"w":2}}"##;

    fn state(text: &str) -> State {
        State::parse(text.as_bytes(), Path::new("json")).unwrap()
    }

    fn copied(from: &str, to: &str, merge: bool) -> Result<String> {
        let (from, to) = (Selector::parse(from).unwrap(), Selector::parse(to).unwrap());
        let renamed = Renamed::of(&from, &to)?;
        let given = renamed.apply(&state(A), &from)?;
        Ok(result(&state(B), &given, &renamed.places(&from), merge).canonical())
    }

    #[test]
    fn without_parts_the_destination_becomes_the_source() {
        assert_eq!(copied("", "", false).unwrap(), A);
    }

    #[test]
    fn a_part_is_replaced_and_its_neighbours_are_not() {
        let wanted = r##"{"#spec":"b","bsp/k":"1","bsp/x":"1","db/a.json":{"v":2},"web/a.json":{"v":2,"w":2}}"##;
        assert_eq!(copied("bsp", "bsp", false).unwrap(), wanted);
        assert_eq!(copied("bsp", "", false).unwrap(), wanted);
    }

    #[test]
    fn a_part_is_copied_under_another_name() {
        assert_eq!(
            copied("web", "db", false).unwrap(),
            r##"{"#spec":"b","bsp/k":"2","bsp/y":"2","db/a.json":{"v":1},"web/a.json":{"v":2,"w":2}}"##
        );
        assert_eq!(
            copied("bsp,-bsp/x", "new", false).unwrap(),
            r##"{"#spec":"b","bsp/k":"2","bsp/y":"2","db/a.json":{"v":2},"new/k":"1","web/a.json":{"v":2,"w":2}}"##
        );
    }

    #[test]
    fn merging_deletes_nothing_and_replaces_values_whole() {
        assert_eq!(
            copied("", "", true).unwrap(),
            r##"{"#spec":"a","bsp/k":"1","bsp/x":"1","bsp/y":"2","db/a.json":{"v":2},"web/a.json":{"v":1},"web2/a.json":{"v":1}}"##
        );
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        for (from, to) in [("", "bsp"), ("bsp,web", "bsp"), ("bsp", "-bsp"), ("bsp,web", "x,x/y")] {
            assert!(copied(from, to, false).is_err(), "{from} to {to}");
        }
    }
}
