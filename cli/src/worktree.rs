//! The files beside `.pvr`: which there are, and how one gets there without leaving the tree.
//!
//! Everything is a file of the state but `.pvr`, `.pv`, symbolic links, empty directories and special files. Links are
//! not followed, in neither direction.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use formats::path::key;

use crate::error::{Context as _, Error, Result};

/// The files of a work tree.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Files {
    /// Path and length in bytes.
    pub files: BTreeMap<String, u64>,
    /// Paths that cannot be in a state: symbolic links and special files.
    pub skipped: Vec<String>,
}

/// Lists the files below `root`.
///
/// # Errors
/// A directory cannot be read, or a name cannot be in a state.
pub fn scan(root: &Path) -> Result<Files> {
    let mut found = Files::default();
    let mut open = vec![(root.to_owned(), String::new())];
    while let Some((directory, prefix)) = open.pop() {
        for entry in fs::read_dir(&directory).context("list", &directory)? {
            let entry = entry.context("list", &directory)?;
            let path = entry.path();
            let name = entry.file_name().into_string().map_err(|name| {
                Error::user(format!("the file name {name:?} in {} is not UTF-8", directory.display()))
                    .hint("rename it; a state is JSON, which has no other names")
            })?;
            if prefix.is_empty() && (name == ".pvr" || name == ".pv") {
                continue;
            }
            let relative = format!("{prefix}{name}");
            let kind = entry.file_type().context("look at", &path)?;
            if kind.is_dir() {
                open.push((path, format!("{relative}/")));
            } else if kind.is_file() {
                key(&relative).map_err(|why| {
                    Error::user(format!("the file {relative:?} cannot be in a state: {why}")).hint("rename it")
                })?;
                found.files.insert(relative, entry.metadata().context("look at", &path)?.len());
            } else {
                found.skipped.push(relative);
            }
        }
    }
    found.skipped.sort();
    Ok(found)
}

/// The path of a key below `root`, its directories made. The key was checked to be one.
///
/// # Errors
/// A component on the way is a symbolic link or a file, so the file would not be where the key says.
pub fn place(root: &Path, key: &str) -> Result<PathBuf> {
    let mut path = root.to_owned();
    let mut components = key.split('/').peekable();
    while let Some(component) = components.next() {
        path.push(component);
        if components.peek().is_none() {
            break;
        }
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                return Err(Error::user(format!("{} is in the way: it must be a directory", path.display()))
                    .hint("move it away; links are not followed, so that no file lands outside"));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir(&path).context("create", &path)?,
            Err(error) => return Err(Error::io("look at", &path, &error)),
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_seen_but_books_links_and_empty_directories() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        for directory in [".pvr/objects", ".pv", "web/.pvr", "empty"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for file in [".pvr/json", ".pv/done", ".hidden", "web/.pvr/x", "web/a b"] {
            fs::write(root.join(file), "1").unwrap();
        }
        std::os::unix::fs::symlink("/etc", root.join("web/link")).unwrap();
        let found = scan(root).unwrap();
        assert_eq!(found.files.keys().collect::<Vec<_>>(), [".hidden", "web/.pvr/x", "web/a b"]);
        assert_eq!(found.skipped, ["web/link"]);
    }

    #[test]
    fn a_name_that_no_state_can_have_is_an_error_and_not_a_gap() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("a\nb"), "").unwrap();
        assert!(scan(scratch.path()).unwrap_err().message.contains("a\\nb"));
    }

    #[test]
    fn nothing_is_placed_through_a_link() {
        let scratch = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), scratch.path().join("web")).unwrap();
        assert!(place(scratch.path(), "web/x").unwrap_err().message.contains("in the way"));
        assert_eq!(place(scratch.path(), "a/b/c").unwrap(), scratch.path().join("a/b/c"));
        assert!(scratch.path().join("a/b").is_dir());
    }
}
