//! What differs between the committed state and the work tree.
//!
//! | | |
//! |---|---|
//! | `A` | staged by `add`, or a signature (those belong to what they sign and need no `add`) |
//! | `C` | committed, and other bytes now |
//! | `D` | committed, and gone |
//! | `?` | neither committed nor staged: a commit leaves it alone |
//!
//! A `.json` file is inline, and compared as a value and not as text, unless it was added as raw or is an object in the
//! committed state. Every other file is an object and compared by its hash.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use formats::json::{self, Json, Limits};
use formats::object::ObjectId;

use crate::error::{Context as _, Error, Result};
use crate::repo::Repo;
use crate::repo::known::Known;
use crate::repo::pool::hash_file;
use crate::state::{State, object_id};
use crate::watch::Watch;
use crate::worktree::scan;

/// How one path differs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Status {
    /// New, and to be committed.
    Added,
    /// Changed.
    Changed,
    /// Gone.
    Deleted,
    /// New, and not staged.
    Untracked,
}

/// What a file of the work tree is in a state.
#[derive(Clone, PartialEq, Debug)]
pub enum Content {
    /// A value.
    Inline(Json),
    /// An object.
    Object {
        /// Its name.
        id: ObjectId,
        /// Its length in bytes.
        len: u64,
    },
}

/// One path that differs.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    /// The path.
    pub path: String,
    /// How it differs.
    pub status: Status,
    /// What it is now, if it is to be committed and is not gone.
    pub content: Option<Content>,
}

/// The work tree beside the committed state.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Comparison {
    /// What differs, by path.
    pub changes: Vec<Change>,
    /// The objects of the work tree that are as committed, with their lengths.
    pub unchanged: Vec<(String, ObjectId, u64)>,
    /// Links and special files, which no state can have.
    pub skipped: Vec<String>,
}

impl Status {
    /// The letter.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Changed => 'C',
            Self::Deleted => 'D',
            Self::Untracked => '?',
        }
    }
}

impl Content {
    /// The value in a state.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Inline(value) => value.clone(),
            Self::Object { id, .. } => id.to_string().into(),
        }
    }
}

impl Comparison {
    /// The state as it would be committed, before it is signed.
    #[must_use]
    pub fn applied_to(&self, committed: &State) -> State {
        let mut state = committed.clone();
        for change in &self.changes {
            match (change.status, &change.content) {
                (Status::Deleted, _) => state.remove(&change.path),
                (Status::Added | Status::Changed, Some(content)) => state.set(&change.path, content.to_json()),
                (Status::Added | Status::Changed, None) | (Status::Untracked, _) => {}
            }
        }
        state
    }
}

/// Compares a repository with its work tree.
///
/// # Errors
/// A file cannot be read, or an inline one is not JSON.
pub fn compare(repo: &Repo, watch: &dyn Watch) -> Result<Comparison> {
    let (committed, staged) = (repo.committed()?, repo.staged()?);
    let found = scan(repo.root())?;
    let taken = |path: &str| committed.get(path).is_some() || staged.0.contains_key(path) || is_signature(path);
    watch.begin("hashing", found.files.iter().filter(|(path, _)| taken(path)).map(|(_, len)| len).sum());
    let mut known = Known::load(repo.books());
    let mut comparison = Comparison { skipped: found.skipped, ..Comparison::default() };
    for path in found.files.keys() {
        let mut differs = |status, content| {
            comparison.changes.push(Change { path: path.clone(), status, content });
        };
        if !taken(path) {
            differs(Status::Untracked, None);
            continue;
        }
        let force = staged.0.get(path).is_some_and(|file| file.force_object);
        let content = read_known(repo.root(), path, force || committed.is_object(path), &mut known, watch)?;
        match (committed.get(path), &content) {
            (None, _) => differs(Status::Added, Some(content)),
            (Some(old), Content::Object { id, len }) if object_id(old) == Some(*id) => {
                comparison.unchanged.push((path.clone(), *id, *len));
            }
            // Equal values may be spelled differently.
            (Some(old), Content::Inline(new)) if old.canonical() == new.canonical() => {}
            (Some(_), _) => differs(Status::Changed, Some(content)),
        }
    }
    watch.end();
    // Looking is for those who may not write here, too.
    let _ = known.save();
    for (path, _) in committed.files().filter(|(path, _)| !found.files.contains_key(*path)) {
        comparison.changes.push(Change { path: path.into(), status: Status::Deleted, content: None });
    }
    comparison.changes.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(comparison)
}

/// Whether a path holds a signature: those are committed without being staged.
#[must_use]
pub fn is_signature(path: &str) -> bool {
    path.starts_with("_sigs/") && path.ends_with(".json")
}

/// Reads a file of the work tree as what it is in a state, unless it is an object that has not changed since it was read.
fn read_known(root: &Path, path: &str, is_object: bool, known: &mut Known, watch: &dyn Watch) -> Result<Content> {
    if !is_object && path.ends_with(".json") {
        return read(root, path, is_object, watch);
    }
    let file = root.join(path);
    let look = || fs::symlink_metadata(&file).context("look at", &file);
    let (before, began) = (look()?, SystemTime::now());
    if let Some(id) = known.find(path, &before) {
        watch.advance(before.len());
        return Ok(Content::Object { id, len: before.len() });
    }
    let content = read(root, path, is_object, watch)?;
    if let Content::Object { id, .. } = content {
        known.note(path, &before, &look()?, id, began);
    }
    Ok(content)
}

/// Reads a file of the work tree as what it is in a state.
///
/// # Errors
/// It cannot be read, or is to be inline and is not JSON.
pub fn read(root: &Path, path: &str, is_object: bool, watch: &dyn Watch) -> Result<Content> {
    let file = root.join(path);
    if is_object || !path.ends_with(".json") {
        let (id, len) = hash_file(&file, watch)?;
        return Ok(Content::Object { id, len });
    }
    let raw = || format!("`pvr add --raw {path}` makes it a file whose content does not matter");
    let wrong = |what: String| Error::user(format!("{path}: {what}"));
    let len = fs::metadata(&file).context("read", &file)?.len();
    if len > Limits::STATE.bytes as u64 {
        return Err(wrong(format!("{len} bytes are too many for inline JSON")).hint(raw()));
    }
    let bytes = fs::read(&file).context("read", &file)?;
    watch.advance(len);
    let value = json::parse(&bytes, Limits::STATE).map_err(|error| {
        wrong(error.to_string()).hint(format!("put it right; or, if it is not for devices to read, {}", raw()))
    })?;
    if value
        .as_str()
        .is_some_and(|text| text.len() == ObjectId::TEXT_LEN && text.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return Err(
            wrong("a string of 64 hexadecimal digits would be taken for the name of an object".into()).hint(raw())
        );
    }
    Ok(Content::Inline(value.to_json()))
}
