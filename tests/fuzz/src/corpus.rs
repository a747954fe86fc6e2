//! Where mutations begin: bytes that are right, or once were wrong in an instructive way.

use std::io;
use std::path::{Path, PathBuf};

/// The files in `tests/formats/golden` and those in `corpus/NAME` of this crate, in the order of their paths, and the
/// empty input. A target without a directory of its own has only the shared ones.
///
/// # Errors
/// If a directory that exists cannot be read.
pub fn seeds(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = files_in(&here.join("../formats/golden"))?;
    files.extend(files_in(&here.join("corpus").join(target))?);
    let mut seeds = vec![Vec::new()];
    for file in files {
        seeds.push(std::fs::read(file)?);
    }
    Ok(seeds)
}

fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
