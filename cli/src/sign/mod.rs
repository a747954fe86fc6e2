//! Signatures: the developer's key, what a commit signs, and `pvr sig`.

pub mod auto;
pub mod certificate;
pub mod claimed;
pub mod keys;
mod list;
mod verdicts;

use std::fs;

use formats::glob::Dialect;
use formats::json::Json;
use formats::path;
use formats::signature::Signature;
use formats::state::Revision;

pub use list::{Listing, list};
pub use verdicts::{Row, Verdicts, verdicts};

use crate::error::{Error, Result};
use crate::repo::{Repo, durable};
use crate::worktree::place;
use keys::DeveloperKey;

/// What `sig add` is to sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Choice {
    /// A part of the state, with its overlay unless told otherwise.
    Part {
        /// The first component of its paths, and the name of the signature.
        name: String,
        /// Whether `_config/<name>` is signed with it.
        with_config: bool,
    },
    /// Whatever the patterns say.
    Raw {
        /// The name of the signature.
        name: String,
        /// What it signs.
        include: Vec<String>,
        /// What of that it does not.
        exclude: Vec<String>,
    },
}

/// Signs a choice of the committed state; `with_payload` puts what is signed into the document. Returns the key of the
/// signature, and its document.
///
/// # Errors
/// The name cannot be a file, or the patterns select nothing.
pub fn add(repo: &Repo, choice: &Choice, key: &DeveloperKey, with_payload: bool) -> Result<(String, Json)> {
    let (name, include, exclude) = match choice {
        Choice::Part { name, with_config } => {
            let (include, exclude) = auto::part_patterns(name, *with_config);
            (name, include, exclude)
        }
        Choice::Raw { name, include, exclude } => (name, include.clone(), exclude.clone()),
    };
    path::component(name).map_err(|why| Error::user(format!("the name {name:?}: {why}")))?;
    let revision = repo.committed()?.revision()?;
    let path = format!("_sigs/{name}.json");
    let document = auto::sign_one(&revision, key, &include, &exclude)?;
    let document = if with_payload { payload(&revision, &path, document)? } else { document };
    Ok((path, document))
}

/// A signature with what it is over beside it, which no device reads: it builds the same from the state.
fn payload(revision: &Revision, path: &str, document: Json) -> Result<Json> {
    let ours = |error: &dyn std::fmt::Display| Error::internal(format!("our own signature: {error}"));
    let signature = Signature::parse(path, &document.canonical()).map_err(|error| ours(&error))?;
    // What was signed is read alike in either dialect, or it would not have been signed.
    let input = signature.input(revision, &signature.select(revision, Dialect::Device));
    let input = String::from_utf8(input).map_err(|error| ours(&error))?;
    let (_, payload) = input.split_once('.').ok_or_else(|| ours(&"it signs nothing"))?;
    Ok(document.with("payload", payload))
}

/// Takes signatures out of the work tree. Returns their keys.
///
/// # Errors
/// One of them is not there; then none is taken out. Or one cannot be removed.
pub fn remove(repo: &Repo, names: &[String]) -> Result<Vec<String>> {
    let _lock = repo.lock()?;
    let paths: Vec<String> = names.iter().map(|name| full(name)).collect();
    for path in &paths {
        path::key(path).map_err(|why| Error::user(format!("the name {path:?}: {why}")))?;
        if !crate::compare::is_signature(path) || !repo.root().join(path).is_file() {
            return Err(Error::user(format!("there is no signature {path} in the work tree"))
                .hint("`pvr sig verify` lists those of the committed state"));
        }
    }
    for path in &paths {
        let file = repo.root().join(path);
        fs::remove_file(&file).map_err(|error| Error::io("remove", &file, &error))?;
    }
    Ok(paths)
}

/// Puts a signature into the work tree, to be committed.
///
/// # Errors
/// It cannot be written.
pub fn write(repo: &Repo, key: &str, document: &Json) -> Result<()> {
    let _lock = repo.lock()?;
    let path = place(repo.root(), key)?;
    durable::Prepared::new(repo.books(), &path, document.canonical().as_bytes(), 0o644)?.publish()
}

/// Makes signatures of the work tree again over the committed state, with their own patterns and this key: those that
/// are named, or all. Returns their keys.
///
/// # Errors
/// One of them is not there or cannot be read; nothing is written then.
pub fn up(repo: &Repo, names: &[String], key: &DeveloperKey) -> Result<Vec<String>> {
    let revision = repo.committed()?.revision()?;
    let found = crate::worktree::scan(repo.root())?.files;
    let mut chosen: Vec<String> = names.iter().map(|name| full(name)).collect();
    if chosen.is_empty() {
        chosen = found.into_keys().filter(|path| crate::compare::is_signature(path)).collect();
    }
    let mut documents = Vec::new();
    for name in chosen {
        let path = repo.root().join(&name);
        let text = fs::read_to_string(&path).map_err(|error| Error::io("read", &path, &error))?;
        let old = Signature::parse(&name, &text).map_err(|error| Error::user(error.to_string()))?;
        let list =
            |patterns: &[formats::glob::Pattern]| patterns.iter().map(|p| p.as_str().to_owned()).collect::<Vec<_>>();
        let document = auto::sign_one(&revision, key, &list(&old.include), &list(&old.exclude))
            .map_err(|error| Error { message: format!("{name}: {}", error.message), ..error })?;
        documents.push((name, document));
    }
    documents.iter().try_for_each(|(name, document)| write(repo, name, document))?;
    Ok(documents.into_iter().map(|(name, _)| name).collect())
}

/// The key of a signature that is named without its directory or suffix.
fn full(name: &str) -> String {
    if name.ends_with(".json") { name.to_owned() } else { format!("_sigs/{name}.json") }
}
