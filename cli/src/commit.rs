//! `pvr commit`: the work tree becomes the committed state, signed, or nothing changes.
//!
//! ```text
//!   compare ─▶ sign ─▶ check ─▶ objects into the pool ─▶ temporaries of every file ─▶ renames, `.pvr/json` last
//!   └──── in memory: an error leaves no trace ───┘  └─ an error leaves unused objects ┘
//! ```
//!
//! The renames before the last are those of signatures. If power is cut between them, signatures of the new state lie in
//! the work tree of the old one; the next commit takes or replaces them.

use std::fs;

use formats::date::date;
use formats::document::Warning;
use formats::json::Json;

use crate::add::add;
use crate::check::{check, check_configurations};
use crate::compare::{Change, Comparison, Content, Status, compare};
use crate::error::{Context as _, Error, Result};
use crate::history::{self, Deed};
use crate::repo::durable::{self, Prepared};
use crate::repo::{Repo, Staged};
use crate::rights;
use crate::sign::auto::{self, Step};
use crate::sign::keys::DeveloperKey;
use crate::state::State;
use crate::watch::Watch;
use crate::worktree::place;

/// The document by which a device knows a checkpoint.
const CHECKPOINT: &str = "checkpoint.json";

/// The message of a commit without one.
pub const NO_MESSAGE: &str = "** No commit message **";

/// What a commit did, for a person to read.
#[derive(Clone, PartialEq, Debug)]
pub struct Committed {
    /// What went in, as lines.
    pub lines: Vec<String>,
    /// What containers may do from now on that they could not before, and the reverse.
    pub rights: Vec<String>,
    /// What was signed.
    pub steps: Vec<Step>,
    /// What a person should hear about.
    pub warnings: Vec<String>,
    /// SHA-256 of the new state; none if there was nothing to commit.
    pub digest: Option<String>,
}

/// Commits. Without a key nothing is signed, and signatures that no longer fit stay as they are.
///
/// # Errors
/// A file cannot be read, a device would refuse the state, or a signature of somebody else's no longer fits; nothing has
/// changed then.
pub fn commit(repo: &Repo, message: &str, key: Option<&DeveloperKey>, watch: &dyn Watch) -> Result<Committed> {
    let _lock = repo.lock()?;
    let committed = repo.committed()?;
    let comparison = compare(repo, watch)?;
    let mut state = comparison.applied_to(&committed);
    let revision = state.revision()?;
    let warnings: Vec<Warning> = check(&revision)?;
    check_configurations(&revision, repo.root())?;
    let mut warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    warnings.extend(comparison.skipped.iter().map(|path| format!("{path}: links and special files are not committed")));
    let steps = match key {
        Some(key) => auto::sign(&mut state, key)?,
        None => {
            warnings.extend(auto::gaps(&revision)?);
            Vec::new()
        }
    };
    // What was signed is what a device gets: look at it once more.
    let signed = state.revision()?;
    let staged = repo.staged_path();
    if state.canonical() == committed.canonical() {
        Staged::clear(&staged)?;
        return Ok(Committed { lines: Vec::new(), rights: Vec::new(), steps: Vec::new(), warnings, digest: None });
    }
    let rights = rights::changes(repo, &committed, &signed);
    store_objects(repo, &comparison, watch)?;
    publish(repo, &state, &steps, message)?;
    let signer = key.map(DeveloperKey::fingerprint);
    let deed = Deed { command: "commit", message, signer: signer.as_deref() };
    warnings.extend(history::note(repo, deed, Some(&committed), &state));
    Staged::clear(&staged)?;
    let lines = comparison.changes.iter().filter_map(line).collect();
    Ok(Committed { lines, rights, steps, warnings, digest: Some(signed.digest().to_string()) })
}

/// Commits with a mark that a device takes for a checkpoint: a document with the `moment`, in seconds since 1970.
///
/// # Errors
/// Those of [`commit`]; the mark is then what it was.
pub fn commit_checkpoint(
    repo: &Repo,
    moment: u64,
    message: &str,
    key: Option<&DeveloperKey>,
    watch: &dyn Watch,
) -> Result<Committed> {
    let path = repo.root().join(CHECKPOINT);
    let (before, staged) = (fs::read(&path).ok(), fs::read(repo.staged_path()).ok());
    let text = Json::object().with("major", date(moment)).canonical();
    durable::replace(&path, text.as_bytes(), 0o644)?;
    let done =
        add(repo, repo.root(), &[CHECKPOINT.into()], false, watch).and_then(|_| commit(repo, message, key, watch));
    if done.is_err() {
        // The error that explains is the first one.
        let _ = match before {
            Some(before) => durable::replace(&path, &before, 0o644),
            None => fs::remove_file(&path).context("remove", &path),
        };
        let _ = match staged {
            Some(staged) => durable::replace(&repo.staged_path(), &staged, 0o644),
            None => Staged::clear(&repo.staged_path()),
        };
    }
    done
}

fn store_objects(repo: &Repo, comparison: &Comparison, watch: &dyn Watch) -> Result<()> {
    let changed = comparison.changes.iter().filter_map(|change| match change.content {
        Some(Content::Object { id, len }) => Some((&change.path, id, len)),
        _ => None,
    });
    // Those that are as committed too: a pool may have lost them, and here they are.
    let all: Vec<_> = changed.chain(comparison.unchanged.iter().map(|(path, id, len)| (path, *id, *len))).collect();
    watch.begin("storing", all.iter().map(|(_, _, len)| len).sum());
    for (path, id, len) in all {
        repo.pool().store(&repo.root().join(path), id, len, watch)?;
    }
    watch.end();
    repo.pool().sync()
}

/// Writes everything beside its place first, so that a full disk is found before the first rename.
fn publish(repo: &Repo, state: &State, steps: &[Step], message: &str) -> Result<()> {
    let books = repo.books();
    let mut files = Vec::new();
    for key in steps.iter().filter(|step| !step.is_removal()).map(Step::key) {
        let value = state.get(key).ok_or_else(|| Error::internal(format!("{key} was signed and is not there")))?;
        let path = place(repo.root(), key)?;
        files.push(Prepared::new(books, &path, value.canonical().as_bytes(), 0o644)?);
    }
    files.push(Prepared::new(books, &books.join("commitmsg"), message.as_bytes(), 0o644)?);
    let json = Prepared::new(books, &books.join("json"), state.canonical().as_bytes(), 0o644)?;
    files.into_iter().try_for_each(Prepared::publish)?;
    json.publish()?;
    // Only now are they in no state: gone too early, they could not be had back.
    for key in steps.iter().filter(|step| step.is_removal()).map(Step::key) {
        let _ = fs::remove_file(repo.root().join(key));
    }
    Ok(())
}

fn line(change: &Change) -> Option<String> {
    let path = &change.path;
    match (change.status, &change.content) {
        (Status::Deleted, _) => Some(format!("Removing {path}")),
        (Status::Added, Some(Content::Inline(_))) => Some(format!("Adding inline {path}")),
        (Status::Added, Some(Content::Object { id, .. })) => Some(format!("Adding raw {path} with sha {id}")),
        (Status::Changed, Some(Content::Inline(_))) => Some(format!("Committing (inline): {path}")),
        (Status::Changed, Some(Content::Object { .. })) => Some(format!("Committing (raw): {path}")),
        (Status::Untracked, _) | (Status::Added | Status::Changed, None) => None,
    }
}
