//! `pvr reset`: the files of the committed state, as they were. Files that are not in it stay, unless the tree is to be clean.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use formats::json::Json;

use crate::compare::{Content, read};
use crate::error::{Context as _, Error, Result};
use crate::repo::durable::{create, temporary_in};
use crate::repo::pool::Out;
use crate::repo::{Repo, Staged};
use crate::state::{State, object_id};
use crate::watch::{Unwatched, Watch};
use crate::worktree::{place, scan};

/// How files are brought back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Objects are read-only hard links into the pool. Implies `canonical`.
    pub hardlink: bool,
    /// Inline files get the canonical text, not the indented one.
    pub canonical: bool,
    /// Files that are not in the state go, and directories that have nothing in them then.
    pub clean: bool,
}

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Done {
    /// Paths that were written.
    pub written: Vec<String>,
    /// Paths that were removed.
    pub removed: Vec<String>,
}

/// Brings the files of the committed state back, and forgets what is staged.
///
/// # Errors
/// An object is missing or damaged, which is found before the first file is written; or a file cannot be written.
pub fn reset(repo: &Repo, options: Options, watch: &dyn Watch) -> Result<Done> {
    let _lock = repo.lock()?;
    let state = repo.committed()?;
    state.revision()?;
    for (key, value) in state.files().filter(|(key, _)| state.is_object(key)) {
        let id = object_id(value).ok_or_else(|| Error::user(format!("{key}: its value names no object")))?;
        repo.pool().check(id, key, watch)?;
    }
    let mut done = Done { written: bring_all(repo, &state, options)?, removed: Vec::new() };
    if options.clean {
        done.removed = clean(repo.root(), &state)?;
    }
    Staged::clear(&repo.staged_path())?;
    Ok(done)
}

/// Brings every file of a state whose objects were checked. Returns the paths that were written.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn bring_all(repo: &Repo, state: &State, options: Options) -> Result<Vec<String>> {
    let mut written = Vec::new();
    for (key, value) in state.files() {
        let path = place(repo.root(), key)?;
        if !is_there(repo, state, key, value, &path, options)? {
            bring(repo, key, value, &path, options)?;
            written.push(key.to_owned());
        }
    }
    Ok(written)
}

/// Removes a file, and the directories that have nothing in them then.
///
/// # Errors
/// It cannot be removed.
pub(crate) fn remove(root: &Path, path: &str) -> Result<()> {
    let file = root.join(path);
    fs::remove_file(&file).context("remove", &file)?;
    for above in Path::new(path).ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
        // One with something in it stays, and so do those that it is in.
        if fs::remove_dir(root.join(above)).is_err() {
            break;
        }
    }
    Ok(())
}

/// Removes the files that are not in the state. Links and special files can be in none, and are left.
fn clean(root: &Path, state: &State) -> Result<Vec<String>> {
    let extra: Vec<String> = scan(root)?.files.into_keys().filter(|path| state.get(path).is_none()).collect();
    extra.iter().try_for_each(|path| remove(root, path))?;
    Ok(extra)
}

/// Whether a file is already what it would become, so that it keeps its time.
fn is_there(repo: &Repo, state: &State, key: &str, value: &Json, path: &Path, options: Options) -> Result<bool> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        found => found.context("look at", path)?,
    };
    if metadata.is_dir() {
        return Err(Error::user(format!("{} is in the way: it must be a file", path.display())).hint("move it away"));
    }
    if !metadata.is_file() {
        return Ok(false);
    }
    let Some(id) = object_id(value).filter(|_| state.is_object(key)) else {
        return Ok(fs::read(path).is_ok_and(|bytes| bytes == inline(value, options).as_bytes()));
    };
    let same_file = fs::metadata(repo.pool().path(id))
        .is_ok_and(|object| (object.ino(), object.dev()) == (metadata.ino(), metadata.dev()));
    if same_file != options.hardlink {
        return Ok(false);
    }
    let found = read(repo.root(), key, true, &Unwatched)?;
    Ok(matches!(found, Content::Object { id: found, .. } if found == id))
}

fn bring(repo: &Repo, key: &str, value: &Json, path: &Path, options: Options) -> Result<()> {
    // Beside the books, not beside the file: what a crash leaves there is swept, and never tracked.
    let temporary = temporary_in(repo.books());
    match object_id(value) {
        Some(id) => {
            let out = if options.hardlink { Out::Link } else { Out::Copy };
            repo.pool().bring(id, key, &temporary, out, &Unwatched)?;
        }
        None => {
            let file = create(&temporary, 0o644)?;
            std::io::Write::write_all(&mut &file, inline(value, options).as_bytes()).context("write", path)?;
        }
    }
    let renamed = fs::rename(&temporary, path).context("replace", path);
    // A rename of one link of a file onto another link of it does nothing, and leaves both.
    let _ = fs::remove_file(&temporary);
    renamed
}

/// The text of an inline file.
fn inline(value: &Json, options: Options) -> String {
    if options.canonical || options.hardlink { value.canonical() } else { value.pretty() }
}
