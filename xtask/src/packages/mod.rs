//! Debian packages that are unpacked below the target directory and never installed: programs that an image is made of
//! or that serve for a moment, and that would come as services of the host otherwise.
//!
//! ```text
//!   target/packages/nginx/usr/sbin/nginx              one directory per package, complete or not there
//!   target/packages/arm64/musl-dev/usr/lib/…          the same, of a named architecture
//!   target/packages/sets/rust/usr/bin/rustc           tools with all they need and this machine lacks, in one tree
//!   target/packages/locked/SHA256/boot/vmlinuz-…      packages that are pinned by their hash
//!   target/packages/python/spdx-tools/…               packages of Python at one version, with what they depend on
//! ```
//!
//! Any number of runs may want the same at once: each finds it whole, or waits for the one that fetches it.

pub(crate) mod apt;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use formats::object::ObjectId;
use rustix::fs::FlockOperation;

use crate::arch::Arch;
use crate::cargo;
use crate::term::Out;
use apt::Apt;

/// The directory of all packages.
fn dir() -> Result<PathBuf> {
    Ok(cargo::target_directory()?.join("packages"))
}

/// Waits until no other run holds this lock, and holds it until the value is dropped.
pub(crate) fn lock(dir: &Path) -> Result<File> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let path = dir.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive)
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// The lock of whoever adds packages that this machine lacks.
pub(crate) fn additions() -> Result<File> {
    lock(&dir()?)
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

/// Fetches these packages from the distribution and unpacks them, under the lock of [`additions`].
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

/// Packages of an architecture, as the distribution calls it, each unpacked in a directory of its own. What they depend
/// on is not fetched.
pub(crate) fn fetch(arch: &str, names: &[&str], out: Out) -> Result<Vec<PathBuf>> {
    let root = dir()?.join(arch);
    names
        .iter()
        .map(|name| {
            once(&root.join(name), |new| {
                let archives = Apt::open(arch, out)?.download(&[(*name).to_owned()], new, out)?;
                extract(&archives, new, out)
            })
        })
        .collect()
}

/// The directory of a package of Python, which is there if `cargo xtask setup` has run.
pub(crate) fn python_place(name: &str) -> Result<PathBuf> {
    Ok(dir()?.join("python").join(name))
}

/// Fetches a package of Python and what it depends on, under the lock of [`additions`].
pub(crate) fn python(name: &str, version: &str, out: Out) -> Result<()> {
    once(&python_place(name)?, |new| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
        pip.args(["--root-user-action", "ignore", "--target"]).arg(new).arg(format!("{name}=={version}"));
        cargo::must(&mut pip, out)
    })
    .map(drop)
}

/// Tools for this machine that are used and never installed.
pub(crate) struct Set {
    /// The name of their tree.
    pub(crate) name: String,
    /// The packages.
    pub(crate) packages: Vec<String>,
    /// Parts of names of packages that belong to these tools alone: they come into the tree even if installed.
    pub(crate) ours: Vec<String>,
}

/// The tree of a set, fetched when it is not there.
pub(crate) fn set(set: &Set, out: Out) -> Result<PathBuf> {
    once(&dir()?.join("sets").join(&set.name), |new| {
        let apt = Apt::open(Arch::host()?.debian(), out)?;
        apt.update(out)?;
        let [packages, ours] =
            [&set.packages, &set.ours].map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
        let archives = apt.download(&apt.closure(&packages, &ours)?, new, out)?;
        extract(&archives, new, out)
    })
}

/// A package at one version, known by its bytes.
pub(crate) struct Pinned<'a> {
    pub(crate) arch: Arch,
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    /// SHA-256 of the archive.
    pub(crate) sha256: ObjectId,
    /// Bytes of the archive.
    pub(crate) size: u64,
}

/// The tree of a pinned package.
///
/// # Errors
/// The distribution does not serve that version any more, or serves other bytes under its name.
pub(crate) fn pinned(package: &Pinned<'_>, out: Out) -> Result<PathBuf> {
    let Pinned { name, version, .. } = package;
    once(&dir()?.join("locked").join(package.sha256.to_string()), |new| {
        let apt = Apt::open(package.arch.debian(), out)?;
        let is_served = || Ok::<_, anyhow::Error>(apt.versions(name)?.iter().any(|served| served.version == *version));
        if !is_served()? {
            apt.update(out)?;
            if !is_served()? {
                bail!("the distribution serves no {name} {version}");
            }
        }
        let archives = apt.download(&[format!("{name}={version}")], new, out)?;
        for archive in &archives {
            let bytes = fs::read(archive).with_context(|| format!("cannot read {}", archive.display()))?;
            if bytes.len() as u64 != package.size || ObjectId::of(&bytes) != package.sha256 {
                bail!("{name} {version} as served has {} bytes, SHA-256 {}", bytes.len(), ObjectId::of(&bytes));
            }
        }
        extract(&archives, new, out)
    })
}

/// Makes a directory whole: in a place beside it first, so that what has its name is complete.
pub(crate) fn once(place: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    if place.exists() {
        return Ok(place.to_owned());
    }
    let new = place.with_file_name(format!(
        "{}.{}.new",
        place.file_name().unwrap_or_default().to_string_lossy(),
        std::process::id()
    ));
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| format!("cannot remove {}", new.display()))?;
    }
    fs::create_dir_all(&new).with_context(|| format!("cannot create {}", new.display()))?;
    if let Err(error) = make(&new) {
        // What is left is in nobody's way, and the first error is the one to tell.
        let _ = fs::remove_dir_all(&new);
        return Err(error);
    }
    match fs::rename(&new, place) {
        // Another run has made the same in the meantime.
        Err(_) if place.exists() => fs::remove_dir_all(&new)?,
        done => done.with_context(|| format!("cannot create {}", place.display()))?,
    }
    Ok(place.to_owned())
}

/// Unpacks archives over each other, and removes them.
fn extract(archives: &[PathBuf], into: &Path, out: Out) -> Result<()> {
    for archive in archives {
        cargo::must(Command::new("dpkg-deb").arg("--extract").arg(archive).arg(into), out)?;
        fs::remove_file(archive).with_context(|| format!("cannot remove {}", archive.display()))?;
    }
    Ok(())
}
