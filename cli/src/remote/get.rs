//! `pvr get` and `pvr merge`: the committed state takes over that of a remote, or parts of it. The work tree stays.
//!
//! | | with the parts that are named |
//! |---|---|
//! | get | ours go, theirs come; a part that they do not have is gone |
//! | get, nothing deleted | theirs come over ours key by key; what they do not have stays |
//! | merge | theirs are laid over ours member by member (RFC 7386): `null` removes, what they do not have stays |
//!
//! What would be lost stops it, unless it is forced: a key that would change and that was committed here since the last
//! time both sides were equal, or whose file has changes that are not committed.

use formats::json::Json;

use crate::compare::{Status, compare, read};
use crate::error::{Error, Result};
use crate::history::{self, Deed};
use crate::http::Client;
use crate::remote::address::{Address, Place};
use crate::remote::objects;
use crate::remote::origin::{Origin, doubts};
use crate::remote::selector::{Selector, is_in};
use crate::repo::durable::Prepared;
use crate::repo::{Remembered, Repo};
use crate::state::State;
use crate::watch::Watch;

/// How theirs becomes ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// Theirs instead of ours.
    Replace,
    /// Theirs over ours, member by member.
    Merge,
    /// Theirs over ours, key by key; what they do not have stays.
    Keep,
}

/// What came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Got {
    /// Keys that were not there.
    pub added: Vec<String>,
    /// Keys with other values.
    pub changed: Vec<String>,
    /// Keys that are gone.
    pub removed: Vec<String>,
    /// Objects that were fetched.
    pub objects: usize,
    /// What a person should hear about.
    pub warnings: Vec<String>,
}

impl Got {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// Takes the state of a remote over.
///
/// # Errors
/// It cannot be had, makes no state together with ours, or something would be lost; nothing has changed then, but for
/// objects in the pool.
pub fn get(repo: &Repo, client: &Client, address: &Address, how: How, force: bool, watch: &dyn Watch) -> Result<Got> {
    let _lock = repo.lock()?;
    let (committed, base) = (repo.committed()?, repo.base()?);
    let origin = Origin::open(client, &address.place, watch)?;
    let source = origin.state(watch)?;
    let selector = &address.selector;
    if let Some(part) = selector.parts().find(|part| !has(&source, part) && !has(&committed, part)) {
        return Err(Error::user(format!(
            "neither {} nor this repository has a part {part:?}",
            address.place.to_text()
        ))
        .hint("a part is a key of the state or a directory; `pvr json` lists ours"));
    }
    let result = match how {
        How::Replace => overlay(&committed, &source, selector),
        How::Merge => merged(&committed, &source, selector),
        How::Keep => laid_over(&committed, &source, selector),
    };
    result.revision()?;
    if !force {
        let lost = lost(repo, &committed, &base, &result, watch)?;
        if let Some(error) = refusal(&lost) {
            return Err(error);
        }
    }
    let mut got = difference(&committed, &result);
    got.warnings = doubts(&result)?;
    got.objects = origin.bring(&objects::of(&result, |key| selector.takes(key)), repo.pool(), watch)?;
    let books = repo.books();
    if matches!(address.place, Place::Bundle(_)) {
        // What comes from a file is as much ours as what was edited here: no device has it in use.
        Prepared::new(books, &books.join("json"), result.canonical().as_bytes(), 0o644)?.publish()?;
        note(repo, "import", address, &committed, &result, &mut got);
        return Ok(got);
    }
    let base = overlay(&base, &source, selector);
    let base = Prepared::new(books, &books.join("base"), base.canonical().as_bytes(), 0o644)?;
    Prepared::new(books, &books.join("json"), result.canonical().as_bytes(), 0o644)?.publish()?;
    base.publish()?;
    note(repo, if how == How::Merge { "merge" } else { "get" }, address, &committed, &result, &mut got);
    let known = repo.remembered()?;
    let place = || Some(address.place.to_text());
    repo.remember(&Remembered {
        get: Some(address.to_text()),
        post: known.post.or_else(place),
        put: known.put.or_else(place),
    })?;
    Ok(got)
}

fn note(repo: &Repo, command: &str, address: &Address, committed: &State, result: &State, got: &mut Got) {
    if !got.is_nothing() {
        let deed = Deed { command, message: &address.to_text(), signer: None };
        got.warnings.extend(history::note(repo, deed, Some(committed), result));
    }
}

pub(crate) fn has(state: &State, part: &str) -> bool {
    state.files().any(|(key, _)| is_in(key, part))
}

/// Theirs instead of ours in the parts that are meant.
#[must_use]
pub fn overlay(ours: &State, theirs: &State, selector: &Selector) -> State {
    let mut result = State::default();
    for (key, value) in ours.iter().filter(|(key, _)| !selector.covers(key) && !selector.excludes(key)) {
        result.set(key, value.clone());
    }
    for (key, value) in theirs.iter().filter(|(key, _)| selector.takes(key)) {
        result.set(key, value.clone());
    }
    result
}

/// The keys of theirs that are meant, over ours. Nothing of ours goes, but what is kept out.
#[must_use]
pub fn laid_over(ours: &State, theirs: &State, selector: &Selector) -> State {
    let mut result = State::default();
    for (key, value) in ours.iter().filter(|(key, _)| !selector.excludes(key)) {
        result.set(key, value.clone());
    }
    for (key, value) in theirs.iter().filter(|(key, _)| selector.takes(key)) {
        result.set(key, value.clone());
    }
    result
}

/// Theirs over ours in the parts that are meant.
fn merged(ours: &State, theirs: &State, selector: &Selector) -> State {
    let mut result = State::default();
    for (key, value) in ours.iter().filter(|(key, _)| !selector.excludes(key)) {
        result.set(key, value.clone());
    }
    for (key, patch) in theirs.iter().filter(|(key, _)| selector.takes(key)) {
        match patch {
            Json::Null => result.remove(key),
            patch => result.set(key, patched(ours.get(key), patch)),
        }
    }
    result
}

/// A value with a merge patch applied.
fn patched(old: Option<&Json>, patch: &Json) -> Json {
    let Json::Object(members) = patch else { return patch.clone() };
    let mut new = match old {
        Some(old @ Json::Object(_)) => old.clone(),
        _ => Json::object(),
    };
    for (name, value) in members {
        match value {
            Json::Null => drop(new.remove(name)),
            value => {
                let value = patched(new.get(name), value);
                new.set(name, value);
            }
        }
    }
    new
}

fn same(left: Option<&Json>, right: Option<&Json>) -> bool {
    match (left, right) {
        (None, None) => true,
        (Some(left), Some(right)) => left.canonical() == right.canonical(),
        _ => false,
    }
}

/// The keys of which something of ours would be lost.
fn lost(repo: &Repo, committed: &State, base: &State, result: &State, watch: &dyn Watch) -> Result<Vec<String>> {
    let changes = |key: &str| key != "#spec" && !same(committed.get(key), result.get(key));
    let ours = |key: &str| !same(committed.get(key), base.get(key));
    let keys = committed.iter().chain(result.iter().filter(|(key, _)| committed.get(key).is_none()));
    let mut lost: Vec<String> =
        keys.filter(|(key, _)| changes(key) && ours(key)).map(|(key, _)| key.to_owned()).collect();
    for change in compare(repo, watch)?.changes {
        let path = change.path.as_str();
        if !changes(path) || lost.iter().any(|key| key == path) {
            continue;
        }
        let now = match (change.status, change.content) {
            (Status::Untracked, _) if result.get(path).is_some() => {
                Some(read(repo.root(), path, result.is_object(path), watch)?.to_json())
            }
            (Status::Untracked, _) => continue,
            (_, content) => content.map(|content| content.to_json()),
        };
        if !same(now.as_ref(), result.get(path)) {
            lost.push(change.path);
        }
    }
    lost.sort();
    Ok(lost)
}

fn refusal(lost: &[String]) -> Option<Error> {
    const NAMED: usize = 8;
    if lost.is_empty() {
        return None;
    }
    let named: Vec<_> = lost.iter().take(NAMED).map(String::as_str).collect();
    let more = lost.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!("what was changed here would be lost: {}{more}", named.join(", "));
    Some(
        Error::user(message).hint(
            "commit and `pvr post` it first; or `pvr reset` what is not committed; or --force, which takes theirs",
        ),
    )
}

pub(crate) fn difference(old: &State, new: &State) -> Got {
    let mut got = Got::default();
    for (key, value) in new.iter() {
        match old.get(key) {
            None => got.added.push(key.into()),
            Some(before) if before.canonical() != value.canonical() => got.changed.push(key.into()),
            Some(_) => {}
        }
    }
    got.removed = old.iter().filter(|(key, _)| new.get(key).is_none()).map(|(key, _)| key.into()).collect();
    got
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn state(text: &str) -> State {
        State::parse(text.as_bytes(), Path::new("json")).unwrap()
    }

    fn selector(text: &str) -> Selector {
        Selector::parse(text).unwrap()
    }

    const OURS: &str =
        r##"{"#spec":"a","app/x":"1","app/y":"1","app2/x":"1","web/s.json":{"a":{"b":1,"c":2},"d":[1]}}"##;
    const THEIRS: &str =
        r##"{"#spec":"b","app/x":"2","new/x":"2","web/s.json":{"a":{"b":null,"e":3},"d":[2],"f":null}}"##;

    #[test]
    fn get_replaces_what_is_named_and_nothing_beside_it() {
        let get = |parts| overlay(&state(OURS), &state(THEIRS), &selector(parts)).canonical();
        assert_eq!(get(""), state(THEIRS).canonical());
        assert_eq!(
            get("app"),
            state(&OURS.replace(r#""app/x":"1","app/y":"1""#, r#""app/x":"2""#)).canonical(),
            "app2 is another part, and app/y is gone because they have none"
        );
        assert_eq!(get("-web,-new"), r##"{"#spec":"b","app/x":"2"}"##);
    }

    #[test]
    fn merge_lays_theirs_over_ours_and_null_removes() {
        let merge = |parts| merged(&state(OURS), &state(THEIRS), &selector(parts)).canonical();
        assert_eq!(
            merge("web"),
            r##"{"#spec":"a","app/x":"1","app/y":"1","app2/x":"1","web/s.json":{"a":{"c":2,"e":3},"d":[2]}}"##
        );
        assert_eq!(merge("-web,-app"), r##"{"#spec":"b","app2/x":"1","new/x":"2"}"##);
    }

    #[test]
    fn a_long_list_of_losses_is_cut() {
        let lost: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
        assert!(refusal(&lost).unwrap().message.ends_with("k7 and 12 more"));
        assert!(refusal(&[]).is_none());
    }
}
