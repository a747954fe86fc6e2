//! Programs that are as small as they get: the distribution's compiler, with the standard library built for size too.
//!
//! Promises: every tool is a package of the distribution, unpacked below the target directory; nothing is installed, and
//! no toolchain comes from anywhere else. The crates of the standard library come from the registry that all others
//! come from, as its lock file says.
//!
//! The compiler is the one that the distribution keeps for browsers: new enough, and with the library's sources beside
//! it. To build those, cargo has to be told that it may use what is not stable (`RUSTC_BOOTSTRAP`).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::musl;
use crate::arch::Arch;
use crate::cargo;
use crate::packages::{self, Set};
use crate::sizes;
use crate::term::Out;
use crate::vendor::Program;

/// Compiler, cargo and the sources of the standard library.
fn rust() -> Set {
    Set {
        name: "rust".into(),
        packages: ["rustc-web", "cargo-web", "rust-web-src"].map(String::from).into(),
        ours: vec!["-web".into()],
    }
}

/// The C compiler and linker for an architecture that is not this machine's.
fn cross(arch: Arch) -> Set {
    Set {
        name: format!("cross-{}", arch.name()),
        packages: vec![format!("gcc-{}", arch.gnu())],
        ours: vec!["-cross".into(), arch.gnu().into()],
    }
}

/// Its C compiler and what belongs to it, for an architecture.
fn tools(arch: Arch, out: Out) -> Result<musl::Tools> {
    let cross = (arch != Arch::host()?).then(|| packages::set(&cross(arch), out)).transpose()?;
    let musl_tree = packages::fetch(arch.debian(), &["musl-dev"], out)?;
    let musl_tree = musl_tree.first().context("musl-dev was not fetched")?;
    let dir = cargo::target_directory()?.join("small/tools").join(arch.name());
    musl::Tools::write(arch, cross.as_deref(), musl_tree, &dir, out)
}

/// A C compiler for an architecture: programs of it are static with `-static`, and know musl's headers and no others.
pub(crate) fn cc(arch: Arch, out: Out) -> Result<PathBuf> {
    Ok(tools(arch, out)?.cc)
}

/// Builds the program for an architecture, and says where it is.
pub(super) fn build(program: &Program, arch: Arch, out: Out) -> Result<PathBuf> {
    let (tools, target) = (tools(arch, out)?, cargo::target_directory()?.join("small"));
    let name = arch.musl();
    let [upper, lower] = [name.to_uppercase(), name.to_owned()].map(|name| name.replace('-', "_"));
    let flags = flags(&tools.libraries, super::link_arguments());
    let mut command = command("std,panic_abort", out)?;
    command.args(["--release", "--target", name, "--package", program.package]);
    command.arg("-Zbuild-std-features=optimize_for_size");
    command.current_dir(program.root).arg("--target-dir").arg(&target);
    command.env(format!("CARGO_TARGET_{upper}_LINKER"), &tools.cc);
    command.env(sizes::FLAGS, flags);
    command.env(format!("CC_{lower}"), &tools.cc).env(format!("AR_{lower}"), &tools.ar);
    cargo::must(&mut command, out)?;
    Ok(target.join(name).join("release").join(program.package))
}

/// What the compiler is told, each word apart: a directory may have a blank in its name.
fn flags(libraries: &Path, more: [String; 2]) -> String {
    let own = ["-Ctarget-feature=+crt-static", "-Clink-self-contained=no"].map(str::to_owned);
    let libraries = format!("-L{}", libraries.display());
    [&own[..], &[libraries], &more].concat().join(sizes::BETWEEN)
}

/// `cargo build`, with these crates of the standard library built anew.
pub(crate) fn command(crates: &str, out: Out) -> Result<Command> {
    let rust = packages::set(&rust(), out)?;
    let mut command = Command::new(rust.join("usr/bin/cargo"));
    command.current_dir(cargo::root()).arg("build").arg(format!("-Zbuild-std={crates}"));
    // The toolchain that runs us is another one, and says so in the environment.
    for leftover in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN", "CARGO"] {
        command.env_remove(leftover);
    }
    command.env("LD_LIBRARY_PATH", libraries(&rust));
    command.env("RUSTC", rust.join("usr/bin/rustc")).env("RUSTDOC", rust.join("usr/bin/rustdoc"));
    command.env("RUSTC_BOOTSTRAP", "1");
    Ok(command)
}

/// Where the libraries of an unpacked tree lie.
pub(crate) fn libraries(tree: &Path) -> PathBuf {
    let host = Arch::host().map_or("", Arch::gnu);
    tree.join("usr/lib").join(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_a_blank_in_its_name_is_one_word() {
        let more = ["-Clink-arg=-T/a b/device.ld".to_owned(), "-Clink-arg=x".to_owned()];
        let flags = flags(Path::new("/a b/lib"), more);
        let words: Vec<&str> = flags.split(sizes::BETWEEN).collect();
        assert_eq!(words[2..], ["-L/a b/lib", "-Clink-arg=-T/a b/device.ld", "-Clink-arg=x"]);
        // As cargo has it: <https://doc.rust-lang.org/cargo/reference/environment-variables.html>.
        assert_eq!((sizes::FLAGS, sizes::BETWEEN), ("CARGO_ENCODED_RUSTFLAGS", "\u{1f}"));
    }
}
