//! `build`: the one program of a device, for the architecture of a board.
//!
//! Promises: what it leaves in `target/boards/BOARD/cairn` is static, stripped, of the right machine, and has run once:
//! on this machine, or in an emulator of one process.
//!
//! | profile | made by | C library |
//! |---|---|---|
//! | `stock` | the toolchain that builds everything else; this machine's architecture only | glibc |
//! | `small` | the distribution's compiler, which can build the standard library anew ([`toolchain`]) | musl ([`musl`]) |

mod musl;
pub(crate) mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use object::{Object as _, ObjectSymbol as _};
use serde_json::json;

use crate::arch::Arch;
use crate::term::{Out, green};
use crate::vendor::Program;
use crate::{Json, bsp, cargo, packages, sizes};

#[derive(Args)]
pub(crate) struct Options {
    /// The board, as in bsp-containers/
    #[arg(long)]
    board: String,
    /// How; without it `stock` where this machine's toolchain can, else `small`
    #[arg(long)]
    profile: Option<Profile>,
    #[command(flatten)]
    json: Json,
}

/// How a program is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Profile {
    /// The machine's own toolchain, glibc
    Stock,
    /// The distribution's compiler, its standard library rebuilt for size, musl
    Small,
}

impl Profile {
    /// The quickest that can make programs of this architecture here.
    pub(crate) fn of(arch: Arch) -> Self {
        if arch == Arch::X86_64 && Arch::host().is_ok_and(|host| host == arch) { Self::Stock } else { Self::Small }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Small => "small",
        }
    }
}

/// A program that has passed.
pub(crate) struct Built {
    /// The file.
    pub(crate) path: PathBuf,
    /// Its bytes.
    pub(crate) size: u64,
    /// What it says of itself.
    pub(crate) says: String,
}

pub(crate) fn run(options: Options) -> Result<ExitCode> {
    let out = options.json.out();
    let start = Instant::now();
    let arch = bsp::arch(&options.board)?;
    let profile = options.profile.unwrap_or(Profile::of(arch));
    let built = build(&options.board, profile, out)?;
    if options.json.json {
        println!(
            "{:#}",
            json!({
                "command": "build", "passed": true, "board": options.board, "architecture": arch.name(),
                "profile": profile.name(), "path": built.path, "size": built.size, "says": built.says,
                "seconds": start.elapsed().as_secs_f64(),
            })
        );
    }
    out.line(built.says.trim_end());
    let what = format!("{}: {} bytes, {}, {}, static", built.path.display(), built.size, arch.name(), profile.name());
    out.line(green(out, &what));
    Ok(ExitCode::SUCCESS)
}

/// What the linker is told for every program of a device: nothing in it unwinds, and what would be needed for that weighs as
/// much as a seventh of the rest.
pub(crate) fn link_arguments() -> [String; 2] {
    let script = cargo::root().join("xtask/src/build/device.ld");
    ["-Clink-arg=-Wl,--no-eh-frame-hdr".to_owned(), format!("-Clink-arg=-T{}", script.display())]
}

/// Builds the program of a board.
pub(crate) fn build(board: &str, profile: Profile, out: Out) -> Result<Built> {
    let arch = bsp::arch(board)?;
    let program = match profile {
        Profile::Stock if Profile::of(arch) == Profile::Stock => sizes::build(&Program::of_board(board), out)?,
        Profile::Stock => bail!("this machine's toolchain makes no programs for {}: --profile small", arch.name()),
        Profile::Small => toolchain::build(&Program::of_board(board), arch, out)?,
    };
    let path = bsp::target(board)?.join("cairn");
    replace(&accept(&program, arch)?, &path)?;
    let size = fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
    Ok(Built { says: say(&path, arch, out)?, size, path })
}

/// A program that an initramfs for this architecture can hold.
pub(crate) fn accept(program: &Path, arch: Arch) -> Result<PathBuf> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    check(&bytes, arch).with_context(|| format!("{} is of no use on {}", program.display(), arch.name()))?;
    Ok(program.to_owned())
}

/// What an initramfs that holds nothing else can run.
fn check(bytes: &[u8], arch: Arch) -> Result<()> {
    let file = object::File::parse(bytes).context("it is no program")?;
    if file.architecture() != arch.elf() {
        bail!("it is for {:?}", file.architecture());
    }
    let interpreter = match &file {
        object::File::Elf32(elf) => has_interpreter(elf.elf_header(), bytes)?,
        object::File::Elf64(elf) => has_interpreter(elf.elf_header(), bytes)?,
        _ => bail!("it is no ELF file"),
    };
    if interpreter || !file.imports()?.is_empty() {
        bail!("it is not static");
    }
    if file.symbols().any(|symbol| symbol.is_definition()) {
        bail!("it is not stripped");
    }
    Ok(())
}

fn has_interpreter<H: object::read::elf::FileHeader>(header: &H, bytes: &[u8]) -> Result<bool> {
    use object::read::elf::ProgramHeader as _;
    let endian = header.endian()?;
    Ok(header.program_headers(endian, bytes)?.iter().any(|part| part.p_type(endian) == object::elf::PT_INTERP))
}

/// Runs it once: here, or under an emulator of its architecture.
fn say(program: &Path, arch: Arch, out: Out) -> Result<String> {
    let mut command = if Arch::host()? == arch {
        Command::new(program)
    } else {
        let mut command = Command::new(emulator(arch, out)?);
        command.arg(program);
        command
    };
    let output = command.arg("buildinfo").output().with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("`{}`: {}: {}", cargo::shown(&command), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The emulator of one process for an architecture.
fn emulator(arch: Arch, out: Out) -> Result<PathBuf> {
    let path = Path::new("usr/bin").join(arch.emulator());
    let installed = Path::new("/").join(&path);
    if installed.is_file() {
        return Ok(installed);
    }
    let host = Arch::host()?.debian();
    let trees = packages::fetch(host, &["qemu-user-static"], out)?;
    let found = trees.into_iter().map(|tree| tree.join(&path)).find(|program| program.is_file());
    found.with_context(|| format!("qemu-user-static has no {}", arch.emulator()))
}

/// Puts a copy of a file in place, at once.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension("new");
    fs::copy(from, &new).with_context(|| format!("cannot copy {}", from.display()))?;
    fs::rename(&new, to).with_context(|| format!("cannot create {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_machine_that_needs_libraries_is_refused() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let arch = Arch::host().unwrap();
        assert_eq!(check(&own, arch).unwrap_err().to_string(), "it is not static");
        let other = Arch::ALL.into_iter().find(|other| *other != arch).unwrap();
        assert!(check(&own, other).unwrap_err().to_string().starts_with("it is for "));
        assert!(check(b"#!/bin/sh", arch).is_err());
    }
}
