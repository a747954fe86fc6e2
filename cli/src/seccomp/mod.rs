//! Filters of system calls, compiled on the workstation so that a device has nothing to do but to check and load them.
//!
//! ```text
//!   policy: names, arguments ─┐        (our default, or a profile in LXC's language)
//!                             ├─▶ what becomes of each number ──▶ a tree of comparisons ──▶ formats::seccomp::Filter
//!   table: name = number  ────┘      (one table per architecture)
//! ```
//!
//! Promise: the same policy and the same capabilities give the same bytes, on every workstation. A filter serves a whole
//! family of machines, so that an image for 32-bit ARM runs on a 32-bit device and on a 64-bit one.

mod compile;
mod policy;
mod profile;
mod table;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use formats::lxc::Capability;
use formats::seccomp::{Arch, Filter, STEP_BYTES, STEPS_MAX};

pub use compile::CompileError;
pub use profile::{ProfileError, Wrong};

use crate::error::{Context as _, Error, Result};

/// The architectures that a filter for an image of one must know, its own first: what runs the image may be the 64-bit
/// machine of the family, whose programs start those of the image.
const fn family(arch: Arch) -> &'static [Arch] {
    match arch {
        Arch::X86_64 | Arch::I386 => &[Arch::X86_64, Arch::I386],
        Arch::Aarch64 | Arch::Arm => &[Arch::Aarch64, Arch::Arm],
        Arch::Riscv64 => &[Arch::Riscv64],
    }
}

/// The architecture of images that call it `name`, with any of its variants; `None` if no table of calls is here for it.
#[must_use]
pub fn arch(name: &str) -> Option<Arch> {
    Some(match name {
        "amd64" => Arch::X86_64,
        "386" => Arch::I386,
        "arm64" => Arch::Aarch64,
        "arm" => Arch::Arm,
        "riscv64" => Arch::Riscv64,
        _ => return None,
    })
}

/// The filter that a container of an image has which says nothing about one: what Docker would allow it, and a bit less.
///
/// # Errors
/// It does not fit into a filter.
pub fn confined(arch: Arch, keeps: &[Capability]) -> std::result::Result<Filter, CompileError> {
    compile::compile(&policy::confined(arch, keeps), family(arch))
}

/// The filter that a text in LXC's language says, version 2.
///
/// # Errors
/// The text is not in it, with the line; or it says more than a filter can.
pub fn of_profile(text: &[u8], arch: Arch) -> Result<Filter> {
    let policy = profile::parse(text).map_err(|why| Error::user(why.to_string()))?;
    compile::compile(&policy, family(arch)).map_err(|why| Error::user(why.to_string()))
}

/// The same of a file.
///
/// # Errors
/// As [`of_profile`], with the file's name; or it cannot be read.
pub fn of_file(path: &Path, arch: Arch) -> Result<Filter> {
    let mut text = Vec::new();
    let limit = profile::BYTES_MAX as u64 + 1;
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text)).context("read", path)?;
    of_profile(&text, arch)
        .map_err(|error| Error { message: format!("{}: {}", path.display(), error.message), ..error })
}

/// Reads a compiled filter, as a device does.
///
/// # Errors
/// It cannot be read, or the kernel would refuse it.
pub fn read(path: &Path) -> Result<Filter> {
    // One byte more than a filter may have is enough for its reader to refuse it.
    let limit = (STEPS_MAX * STEP_BYTES) as u64 + 1;
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).context("read", path)?;
    Filter::parse(&bytes).map_err(|error| Error::user(format!("{}: {error}", path.display())))
}

/// Writes a compiled filter, over what is there.
///
/// # Errors
/// It cannot be written.
pub fn write(filter: &Filter, path: &Path) -> Result<()> {
    std::fs::write(path, filter.to_bytes()).context("write", path)
}
