//! What was committed here, when and by whom: a log beside the committed state, and the states of then.
//!
//! ```text
//!   .pvr/history            a line for each change of the committed state, the newest last; only ever appended to
//!   .pvr/states/SHA256      the states that it names, packed with zstd; the newest [`STATES`] of them
//! ```
//!
//! Other tools do not know these files and leave them alone, so a change that one of them makes is not in the log: the next
//! entry then has a parent that no entry has. The log is written when the committed state is in place. It tells of what was
//! done and decides nothing: one that cannot be written is a warning and no reason to undo a commit.
//!
//! Objects are not kept for a state of then. Whether it can be had again depends on the pool: see
//! [`back`].

mod back;
mod entry;
mod log;
mod states;

use formats::object::ObjectId;

pub use back::{Returned, back};
pub use entry::{Entry, EntryError, PATHS_MAX, parse};

use crate::error::{Error, Result};
use crate::remote::get::difference;
use crate::repo::Repo;
use crate::state::State;

/// How many states are kept.
pub const STATES: usize = 200;

/// The shortest beginning of a hash that names a state.
const SHORT: usize = 4;

/// What is done to the committed state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deed<'d> {
    /// The command.
    pub(crate) command: &'d str,
    /// What a person says about it, or where the state comes from.
    pub(crate) message: &'d str,
    /// The fingerprint of the key that has signed.
    pub(crate) signer: Option<&'d str>,
}

/// The hash of a state, which is its name everywhere.
#[must_use]
pub fn name(state: &State) -> ObjectId {
    ObjectId::of(state.canonical().as_bytes())
}

/// Notes that the committed state was `before` and is `after`. The caller holds the lock. Returns what a person should hear
/// about if that fails.
pub(crate) fn note(repo: &Repo, deed: Deed<'_>, before: Option<&State>, after: &State) -> Option<String> {
    let noted = (|| {
        // The one that a repository begins with is worth nothing.
        let before = before.filter(|state| state.files().next().is_some());
        let changes = difference(&before.cloned().unwrap_or_default(), after);
        let paths = |letter: char, keys: Vec<String>| keys.into_iter().map(move |key| format!("{letter} {key}"));
        let all = paths('A', changes.added).chain(paths('C', changes.changed)).chain(paths('D', changes.removed));
        let mut all: Vec<String> = all.filter(|line| line != "A #spec").collect();
        let more = all.len().saturating_sub(PATHS_MAX);
        all.truncate(PATHS_MAX);
        let entry = Entry {
            state: name(after),
            parent: before.map(name),
            time: repo.moment(),
            command: deed.command.into(),
            message: deed.message.into(),
            signer: deed.signer.map(str::to_owned),
            paths: all,
            more: more as u64,
        };
        for state in before.into_iter().chain([after]) {
            states::keep(repo, state)?;
        }
        log::append(repo, &entry)?;
        states::prune(repo, STATES, &log::read(repo)?)
    })();
    noted.err().map(|error: Error| format!("the history was not written: {error}"))
}

/// The entries, the newest first.
///
/// # Errors
/// The log cannot be read, or a line in it is none.
pub fn entries(repo: &Repo) -> Result<Vec<Entry>> {
    let mut entries = log::read(repo)?;
    entries.reverse();
    Ok(entries)
}

/// The state that `~N` (the N-th newest entry, from 0) or the beginning of a hash means.
///
/// # Errors
/// It means none, or several.
pub fn find(repo: &Repo, text: &str) -> Result<ObjectId> {
    let entries = entries(repo)?;
    let unknown = |why: &str| Error::user(format!("{text:?} {why}")).hint("`pvr history` lists what there is");
    if let Some(number) = text.strip_prefix('~') {
        let number: usize = number.parse().map_err(|_| unknown("is no entry: ~0 is the newest, ~1 the one before"))?;
        let count = entries.len();
        return match entries.get(number) {
            Some(entry) => Ok(entry.state),
            None => Err(unknown(&format!("is no entry: the history has {count}"))),
        };
    }
    if text.len() < SHORT || text.len() > ObjectId::TEXT_LEN || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(unknown("is no state: ~N, or at least four digits of its hash"));
    }
    let text = text.to_ascii_lowercase();
    let mut found: Vec<ObjectId> = Vec::new();
    for id in entries.iter().flat_map(|entry| [Some(entry.state), entry.parent]).flatten() {
        if id.to_string().starts_with(&text) && !found.contains(&id) {
            found.push(id);
        }
    }
    match found.as_slice() {
        [] => Err(unknown("is no state of this history")),
        [one] => Ok(*one),
        several => {
            let several: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(unknown(&format!("is the beginning of several: {}", several.join(", "))))
        }
    }
}

/// A state of then.
///
/// # Errors
/// It is not kept any more, or was damaged.
pub fn state(repo: &Repo, id: ObjectId) -> Result<State> {
    let committed = repo.committed()?;
    if name(&committed) == id { Ok(committed) } else { states::read(repo, id) }
}
