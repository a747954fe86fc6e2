//! Directories with everything below them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// All files below a directory, sorted.
pub(crate) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        match entry?.path() {
            path if path.is_dir() => files.extend(self::files(&path)?),
            path => files.push(path),
        }
    }
    files.sort();
    Ok(files)
}
