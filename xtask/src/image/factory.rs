//! The device that an image of ours is: the base system of the board and a few containers, made with `pvr` as a product is.
//!
//! ```text
//!   target/boards/keys/                        the key that signs; made once, so that the same tree gives the same image
//!   target/boards/BOARD/factory/HASH/storage/  objects/ trails/0/, by the files of the state
//! ```
//!
//! A signature has chance in it, so a state that was signed once is kept, and found again by what went into it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::arch::Arch;
use crate::bsp::{self, Bsp, Conf, Wish};
use crate::build::Profile;
use crate::run::factory::{self, COMMIT_DELAY, Factory, LINE, Parts};
use crate::run::image::contents;
use crate::term::Out;
use crate::{cargo, packages, tree};

/// A change of how a state is made, that its files do not show.
const EDITION: &str = "cairn factory state 1";

pub(crate) struct Made {
    /// What the storage holds.
    pub(crate) storage: PathBuf,
    /// The base system, for the recovery partition too.
    pub(super) bsp: Bsp,
    /// Its settings.
    pub(crate) conf: Conf,
    /// The configuration of `pvr`, with the key that signed it.
    pub(crate) keys: PathBuf,
    /// The public half of that key.
    pub(crate) trust: PathBuf,
    /// The program `pvr`.
    pub(crate) pvr: PathBuf,
    /// A busybox for its containers.
    pub(crate) busybox: PathBuf,
}

/// What it is, apart from its board.
pub(super) struct Kind<'a> {
    pub(super) recipe: &'a str,
    pub(super) profile: Option<Profile>,
    /// Settings over those of every demonstration.
    pub(super) conf: &'a Conf,
}

/// Makes it, or finds it. `work` is a directory for passing files.
pub(super) fn make(board: &str, kind: &Kind<'_>, work: &Path, out: Out) -> Result<Made> {
    let Kind { recipe, profile, .. } = *kind;
    let pvr = pvr(out)?;
    let keys = cargo::target_directory()?.join("boards/keys");
    let empty = work.join("key");
    fs::create_dir_all(&empty)?;
    let trust = factory::key(&pvr, &keys, &empty)?;
    // Behind the network of QEMU, `pvr` is somebody on the network: it has to be paired.
    let conf = Conf::default().set("line", LINE).set("endpoint", "0.0.0.0:12368");
    let conf = conf.set("commit_delay", &COMMIT_DELAY.to_string()).with(kind.conf);
    let trusted = [trust];
    let bsp = bsp::make(&Wish { recipe, profile, ..Wish::new(board, &conf, &trusted) }, out)?;
    let [trust] = trusted;
    let (program, busybox) = (bsp::target(board)?.join("cairn"), busybox(bsp::arch(board)?, out)?);
    let serial = Some(serial(&bsp.command_line)?);
    let parts = Parts { board, pvr: &pvr, keys: keys.clone(), program: &program, busybox: &busybox, serial };
    let fill = |repo: &Path| {
        for file in tree::files(&bsp.dir.join("bsp"))? {
            let name = file.file_name().context("a file without a name")?;
            fs::copy(&file, repo.join("bsp").join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
        }
        Ok(())
    };
    let laid = factory::lay_out(&parts, &work.join("state"), fill)?;
    let mut made_of = blake3::Hasher::new_derive_key(EDITION);
    for path in tree::files(&laid)? {
        let name = path.strip_prefix(&laid).unwrap_or(&path);
        // What `pvr` keeps for itself.
        if !name.starts_with(".pvr") {
            let bytes = super::read(&path)?;
            made_of.update(name.as_os_str().as_encoded_bytes()).update(&[0]).update(blake3::hash(&bytes).as_bytes());
        }
    }
    let place = bsp::target(board)?.join("factory").join(made_of.finalize().to_hex().as_str());
    let place = packages::once(&place, |new| Factory::of(&parts, new, fill).map(drop))?;
    Ok(Made { storage: place.join("storage"), bsp, conf, keys, trust, pvr, busybox })
}

/// The serial line that is the console of this kernel.
fn serial(command_line: &str) -> Result<&str> {
    let mut consoles = command_line.split_ascii_whitespace().filter_map(|word| word.strip_prefix("console="));
    let console = consoles.next_back().context("the recipe of the board names no console= for its kernel")?;
    Ok(console.split_once(',').map_or(console, |(name, _)| name))
}

/// The workstation's tool of this tree.
fn pvr(out: Out) -> Result<PathBuf> {
    cargo::must(&mut cargo::command(["build", "--quiet", "--package", "cairn-cli", "--bins"]), out)?;
    Ok(cargo::target_directory()?.join("debug/pvr"))
}

/// A busybox of this architecture.
fn busybox(arch: Arch, out: Out) -> Result<PathBuf> {
    if Arch::host().is_ok_and(|host| host == arch) {
        return contents::busybox();
    }
    let dirs = packages::fetch(arch.debian(), &["busybox-static"], out)?;
    Ok(dirs.first().context("no package was fetched")?.join("bin/busybox"))
}
