//! The programs of this tree that a run uses, built from it as it is.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::term::Out;
use crate::vendor::Program;
use crate::{cargo, setup, sizes};

pub(crate) struct Tools {
    /// The program of a device, static.
    pub(crate) cairn: PathBuf,
    /// The workstation's tool.
    pub(crate) pvr: PathBuf,
    /// The stand-in for a bootloader and a machine.
    pub(crate) host: PathBuf,
}

impl Tools {
    /// Builds them.
    pub(crate) fn build(out: Out) -> Result<Self> {
        if !setup::is_root() {
            bail!("a device on this machine has namespaces, mounts and cgroups of its own: run it as root");
        }
        let cairn = sizes::build(&Program::ours(), out)?;
        let packages = ["build", "--quiet", "--package", "cairn-cli", "--package", "cairn-host", "--bins"];
        cargo::must(&mut cargo::command(packages), out)?;
        let built = cargo::target_directory()?.join("debug");
        Ok(Self { cairn, pvr: built.join("pvr"), host: built.join("cairn-host") })
    }
}

/// The program `pvr` in a directory, with keys of this run and none of the person's, and without a cache.
pub(crate) fn pvr(program: &Path, keys: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).env("PVR_CONFIG_DIR", keys).env("PVR_CACHE_MAX", "0");
    command
}

/// Runs a program that has nothing to say; what it says is in the error if it fails.
pub(crate) fn quiet(command: &mut Command) -> Result<()> {
    let shown = cargo::shown(command);
    let output = command.output().with_context(|| format!("cannot run `{shown}`: is `cargo xtask setup` done?"))?;
    if !output.status.success() {
        bail!("`{shown}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The image of a directory, the same for the same content.
pub(crate) fn squashfs(dir: &Path, image: &Path) -> Result<()> {
    let arguments =
        ["-noappend", "-quiet", "-no-progress", "-all-root", "-comp", "gzip", "-all-time", "0", "-mkfs-time", "0"];
    quiet(Command::new("mksquashfs").args([dir, image]).args(arguments.map(OsStr::new)))
}
