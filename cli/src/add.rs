//! `pvr add`: files that are not in the committed state yet are staged.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use formats::glob::{Dialect, Pattern};

use crate::compare::{Content, read};
use crate::error::{Context as _, Error, Result};
use crate::repo::pool::hash_file;
use crate::repo::{Repo, StagedFile};
use crate::watch::Watch;
use crate::worktree::{Files, scan};

/// What was staged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Added {
    /// The paths.
    pub paths: Vec<String>,
    /// Links and special files below what was named, which no state can have.
    pub skipped: Vec<String>,
}

/// Stages what `what` names: files, directories, or patterns (`*` stays within a directory, `X/**` is all below X).
/// Nothing names everything. Paths are relative to `cwd`, patterns to the root.
///
/// With `raw` a `.json` file becomes an object.
///
/// # Errors
/// A name that nothing has, or a file that cannot be in a state; nothing is staged then.
pub fn add(repo: &Repo, cwd: &Path, what: &[String], raw: bool, watch: &dyn Watch) -> Result<Added> {
    let _lock = repo.lock()?;
    let (committed, mut staged) = (repo.committed()?, repo.staged()?);
    let found = scan(repo.root())?;
    let chosen = choose(repo, cwd, what, &found)?;
    let new = |path: &&String| {
        let becomes_raw = raw && path.ends_with(".json") && !committed.is_object(path);
        committed.get(path).is_none() || becomes_raw
    };
    let mut added = Added { paths: chosen.iter().filter(new).cloned().collect(), skipped: Vec::new() };
    if what.is_empty() {
        added.skipped = found.skipped;
    }
    watch.begin("hashing", added.paths.iter().filter_map(|path| found.files.get(path)).sum());
    for path in &added.paths {
        let id = match read(repo.root(), path, raw, watch)? {
            Content::Object { id, .. } => id,
            Content::Inline(_) => hash_file(&repo.root().join(path), &crate::watch::Unwatched)?.0,
        };
        staged.0.insert(path.clone(), StagedFile { force_object: raw, sha: id.to_string() });
    }
    watch.end();
    if !added.paths.is_empty() {
        staged.save(&repo.staged_path())?;
    }
    Ok(added)
}

fn choose(repo: &Repo, cwd: &Path, what: &[String], found: &Files) -> Result<BTreeSet<String>> {
    if what.is_empty() {
        return Ok(found.files.keys().cloned().collect());
    }
    let mut chosen = BTreeSet::new();
    for name in what {
        let before = chosen.len();
        let mut take = |paths: &mut dyn Iterator<Item = &String>| {
            let mut any = false;
            paths.for_each(|path| {
                any = true;
                chosen.insert(path.clone());
            });
            any
        };
        let path = below(repo.root(), cwd, name)?;
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let mut here = found.files.keys().filter(|file| **file == path || file.starts_with(&prefix));
        if take(&mut here) {
            continue;
        }
        let pattern = Pattern::parse(name).map_err(|why| Error::user(format!("the pattern {name:?}: {why}")))?;
        let mut matching = found.files.keys().filter(|file| pattern.matches(file, Dialect::Device));
        if !take(&mut matching) && chosen.len() == before {
            let link = found.skipped.contains(&path);
            return Err(match link {
                true => Error::user(format!("{path} is a link or a special file")).hint("a state has plain files only"),
                false => Error::user(format!("nothing here is called {name:?}"))
                    .hint("name a file, a directory, or a pattern such as 'web/**' (in quotes)"),
            });
        }
    }
    Ok(chosen)
}

/// The path of a name relative to the root, by its text alone, because links are not followed. Empty is the root.
fn below(root: &Path, cwd: &Path, name: &str) -> Result<String> {
    let root = root.canonicalize().context("enter", root)?;
    let cwd = cwd.canonicalize().context("enter", cwd)?;
    let mut path = PathBuf::new();
    for component in cwd.join(name).components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    let outside = || Error::user(format!("{name} is outside of the repository {}", root.display()));
    let inside = path.strip_prefix(&root).map_err(|_| outside())?;
    inside.to_str().map(str::to_owned).ok_or_else(outside)
}
