//! `pvr reset --to`: a state of the history becomes the committed one again.
//!
//! ```text
//!   nothing to lose? ─▶ every object in the pool? ─▶ `.pvr/json` ─▶ its files come ─▶ files that it does not have go
//!   └────────── an error has changed nothing ────────────┘           └─ what is cut off here, `pvr reset` does ─┘
//! ```

use std::fs;

use formats::object::ObjectId;

use super::{Deed, name, note, state};
use crate::compare::{Status, compare, read};
use crate::error::{Error, Result};
use crate::repo::durable::Prepared;
use crate::repo::{Repo, Staged};
use crate::reset::{Options, bring_all, remove};
use crate::state::{State, object_id};
use crate::watch::{Unwatched, Watch};

/// What was done to go back to a state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Returned {
    /// Files that were written.
    pub written: Vec<String>,
    /// Files that the state does not have.
    pub removed: Vec<String>,
    /// What a person should hear about.
    pub warnings: Vec<String>,
}

/// Makes a state of the history the committed one, and the files those of it. Files that nobody has added stay.
///
/// # Errors
/// It is not kept, the work tree has changes, objects of it are not in the pool, or a file is in the way; nothing has changed
/// then.
pub fn back(repo: &Repo, id: ObjectId, options: Options, watch: &dyn Watch) -> Result<Returned> {
    let _lock = repo.lock()?;
    let (committed, state) = (repo.committed()?, state(repo, id)?);
    state.revision()?;
    nothing_is_lost(repo, &state, watch)?;
    all_there(repo, &state, watch)?;
    let books = repo.books();
    Prepared::new(books, &books.join("json"), state.canonical().as_bytes(), 0o644)?.publish()?;
    let mut done = Returned::default();
    if name(&committed) != id {
        let deed = Deed { command: "reset", message: "", signer: None };
        done.warnings.extend(note(repo, deed, Some(&committed), &state));
    }
    done.written = bring_all(repo, &state, options)?;
    for (key, _) in committed.files().filter(|(key, _)| state.get(key).is_none()) {
        remove(repo.root(), key)?;
        done.removed.push(key.to_owned());
    }
    Staged::clear(&repo.staged_path())?;
    Ok(done)
}

/// Refuses if a file of the work tree is neither committed nor what the state has.
fn nothing_is_lost(repo: &Repo, state: &State, watch: &dyn Watch) -> Result<()> {
    let mut lost = Vec::new();
    for change in compare(repo, watch)?.changes {
        let is_in_the_way = match (change.status, state.get(&change.path)) {
            (Status::Untracked, None) => {
                state.files().any(|(key, _)| is_below(key, &change.path) || is_below(&change.path, key))
            }
            (Status::Untracked, Some(value)) => {
                let found = read(repo.root(), &change.path, state.is_object(&change.path), &Unwatched)?;
                found.to_json().canonical() != value.canonical()
            }
            _ => true,
        };
        lost.extend(is_in_the_way.then_some(change.path));
    }
    refuse(&lost, "what is not committed would be lost", "commit it, or `pvr reset` without --to takes it back")
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Refuses if objects of the state are not in the pool, or not right there.
fn all_there(repo: &Repo, state: &State, watch: &dyn Watch) -> Result<()> {
    let objects: Vec<_> = state
        .files()
        .filter(|(key, _)| state.is_object(key))
        .filter_map(|(key, value)| Some((key, object_id(value)?)))
        .collect();
    let size = |id: ObjectId| fs::metadata(repo.pool().path(id)).map_or(0, |metadata| metadata.len());
    watch.begin("checking", objects.iter().map(|(_, id)| size(*id)).sum());
    let gone: Vec<String> = objects
        .into_iter()
        .filter(|(key, id)| repo.pool().check(*id, key, watch).is_err())
        .map(|(key, id)| format!("{key} ({id})"))
        .collect();
    watch.end();
    let hint = "get them from a device, a bundle or a repository that has that state: `pvr get PLACE`";
    refuse(&gone, "objects of this state are not in the pool, or damaged there", hint)
}

fn refuse(names: &[String], what: &str, hint: &str) -> Result<()> {
    const NAMED: usize = 8;
    if names.is_empty() {
        return Ok(());
    }
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    Err(Error::user(format!("{what}: {}{more}", named.join(", "))).hint(hint))
}
