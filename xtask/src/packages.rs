//! Debian packages that are unpacked below the target directory and never installed: programs that an image is made of
//! or that serve for a moment, and that would come as services of the host otherwise.
//!
//! ```text
//!   target/packages/nginx/usr/sbin/nginx            one directory per package, complete or not there
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cargo;
use crate::term::Out;

/// The directory of all packages.
fn dir() -> Result<PathBuf> {
    Ok(cargo::target_directory()?.join("packages"))
}

/// A program of a package: unpacked by us, or installed on the host. `None`: `cargo xtask setup` has not run.
pub(crate) fn program(package: &str, path: &str) -> Option<PathBuf> {
    let installed = Path::new("/").join(path);
    let unpacked = dir().ok()?.join(package).join(path);
    [unpacked, installed].into_iter().find(|program| program.is_file())
}

/// The same, or an error that says what to do.
pub(crate) fn need(package: &str, path: &str) -> Result<PathBuf> {
    program(package, path).with_context(|| format!("{package} is missing: run `cargo xtask setup`"))
}

/// Fetches these packages from the distribution and unpacks them.
pub(crate) fn unpack(packages: &[&str], out: Out) -> Result<()> {
    let dir = dir()?;
    for package in packages {
        let (new, place) = (dir.join(format!("{package}.new")), dir.join(package));
        for left in [&new, &place] {
            if left.exists() {
                fs::remove_dir_all(left).with_context(|| format!("cannot remove {}", left.display()))?;
            }
        }
        fs::create_dir_all(&new).with_context(|| format!("cannot create {}", new.display()))?;
        // The user that apt would download as may not enter our directories.
        let mut download = Command::new("apt-get");
        download.args(["-o", "APT::Sandbox::User=root", "--quiet", "download", package]).current_dir(&new);
        cargo::must(&mut download, out)?;
        let archive = fs::read_dir(&new)?.filter_map(Result::ok).map(|entry| entry.path());
        let Some(archive) = archive.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "deb")) else {
            bail!("`apt-get download {package}` left no package in {}", new.display());
        };
        cargo::must(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&new), out)?;
        fs::remove_file(&archive)?;
        fs::rename(&new, &place).with_context(|| format!("cannot create {}", place.display()))?;
    }
    Ok(())
}
