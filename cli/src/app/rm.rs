//! `pvr app rm`: a container with all that belongs to it: its directory, its signature, and the files that are laid
//! over its root.
//!
//! Everything is renamed out of the work tree before anything is deleted, and what was committed comes back with
//! `pvr reset` until the next commit.

use std::fs;
use std::path::Path;

use super::build::Build;
use super::info::existing;
use crate::error::{Context as _, Result};
use crate::repo::Repo;

/// Removes a container; returns what is gone. With `keep_config`, `_config/NAME` stays.
///
/// # Errors
/// There is none of this name, or something cannot be moved.
pub fn remove(repo: &Repo, name: &str, keep_config: bool) -> Result<Vec<String>> {
    existing(repo, name)?;
    let trash = Build::new(repo.books())?;
    let _lock = repo.lock()?;
    let mut gone = vec![name.to_owned(), format!("_sigs/{name}.json")];
    if !keep_config {
        gone.push(format!("_config/{name}"));
    }
    gone.retain(|path| repo.root().join(path).symlink_metadata().is_ok());
    for (number, path) in gone.iter().enumerate() {
        let from = repo.root().join(path);
        fs::rename(&from, trash.path().join(number.to_string())).context("remove", &from)?;
        if let Some(parent) = Path::new(path).parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // A directory with nothing left in it is no part of a state; one with something stays.
            let _ = fs::remove_dir(repo.root().join(parent));
        }
    }
    let mut staged = repo.staged()?;
    let before = staged.0.len();
    staged.0.retain(|path, _| !gone.iter().any(|gone| path == gone || path.starts_with(&format!("{gone}/"))));
    if staged.0.len() != before {
        staged.save(&repo.staged_path())?;
    }
    Ok(gone)
}
