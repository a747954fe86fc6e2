//! A C compiler that links against musl: the distribution's gcc, led to other headers, start files and libraries.
//!
//! ```text
//!   target/small/tools/aarch64/cc                 gcc with the arguments below
//!   target/small/tools/aarch64/musl.specs         what gcc calls the linker with
//!   target/small/tools/aarch64/lib/libunwind.a    what the standard library wants of one (`unwind.c`)
//! ```
//!
//! The wrapper that the distribution has for this does not know static programs that can lie anywhere (`-static-pie`):
//! what it makes asks for a loader that no initramfs of ours has.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::toolchain::libraries;
use crate::arch::Arch;
use crate::cargo;
use crate::term::Out;

const UNWIND: &str = include_str!("unwind.c");

/// The tools for one architecture.
pub(super) struct Tools {
    /// The compiler, which links too.
    pub(super) cc: PathBuf,
    /// The archiver.
    pub(super) ar: PathBuf,
    /// Where libraries lie that are searched besides those of musl.
    pub(super) libraries: PathBuf,
}

impl Tools {
    /// Writes them into a directory. `cross` is the tree of a cross compiler, `musl` that of the package `musl-dev`.
    pub(super) fn write(arch: Arch, cross: Option<&Path>, musl: &Path, dir: &Path, out: Out) -> Result<Self> {
        let bin = |name: &str| match cross {
            Some(tree) => tree.join("usr/bin").join(format!("{}-{name}", arch.gnu())),
            None => PathBuf::from(name),
        };
        let tools = Self { cc: dir.join("cc"), ar: dir.join("ar"), libraries: dir.join("lib") };
        fs::create_dir_all(&tools.libraries).with_context(|| format!("cannot create {}", dir.display()))?;
        let path = cross.map_or_else(String::new, |tree| libraries(tree).display().to_string());
        let headers = own_headers(&bin("gcc"), &path)?;
        let specs = dir.join("musl.specs");
        write(&specs, &specs_of(&musl.join("usr/lib").join(arch.musl_dir())))?;
        let include = musl.join("usr/include").join(arch.musl_dir());
        let environment = if path.is_empty() { String::new() } else { format!("LD_LIBRARY_PATH='{path}' ") };
        program(
            &tools.cc,
            &format!(
                "{environment}exec '{}' \"$@\" -nostdinc -isystem '{}' -isystem '{}' -specs '{}'",
                bin("gcc").display(),
                include.display(),
                headers.display(),
                specs.display()
            ),
        )?;
        program(&tools.ar, &format!("{environment}exec '{}' \"$@\"", bin("ar").display()))?;
        tools.unwind(out)?;
        Ok(tools)
    }

    /// Makes `libunwind.a`.
    fn unwind(&self, out: Out) -> Result<()> {
        let [source, object, library] = ["unwind.c", "unwind.o", "libunwind.a"].map(|name| self.libraries.join(name));
        if library.is_file() && fs::read_to_string(&source).is_ok_and(|old| old == UNWIND) {
            return Ok(());
        }
        // The source is written last, so that what has it is whole.
        let new = self.libraries.join("new.c");
        write(&new, UNWIND)?;
        cargo::must(
            Command::new(&self.cc).args(["-Os", "-Wall", "-Werror", "-c"]).arg(&new).arg("-o").arg(&object),
            out,
        )?;
        let _ = fs::remove_file(&library);
        cargo::must(Command::new(&self.ar).arg("rcsD").arg(&library).arg(&object), out)?;
        Ok(fs::rename(&new, &source)?)
    }
}

/// Where the compiler's own headers lie, which musl needs too (`stddef.h`).
fn own_headers(gcc: &Path, libraries: &str) -> Result<PathBuf> {
    let mut command = Command::new(gcc);
    command.arg("-print-file-name=include").env("LD_LIBRARY_PATH", libraries);
    let output = command.output().with_context(|| format!("cannot run {}", gcc.display()))?;
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if !path.is_dir() {
        bail!("{} does not say where its headers are", gcc.display());
    }
    Ok(path)
}

/// What gcc links with: <https://gcc.gnu.org/onlinedocs/gcc/Spec-Files.html>. Every name that is not here would bring in
/// a part of glibc.
fn specs_of(lib: &Path) -> String {
    // A blank is between words unless this stands before it.
    let lib = lib.display().to_string().replace(' ', "\\ ");
    format!(
        "*link:\n%{{static-pie:-static -pie --no-dynamic-linker -z text;:-static}} -nostdlib\n\n\
         *link_libgcc:\n-L{lib} %D\n\n\
         *libgcc:\nlibgcc.a%s\n\n\
         *startfile:\n%{{static-pie:{lib}/rcrt1.o;:{lib}/crt1.o}} {lib}/crti.o %{{static-pie:crtbeginS.o%s;:crtbeginT.o%s}}\n\n\
         *endfile:\n%{{static-pie:crtendS.o%s;:crtend.o%s}} {lib}/crtn.o\n\n\
         *esp_link:\n\n\n*esp_options:\n\n\n*esp_cpp_options:\n\n\n"
    )
}

fn program(path: &Path, text: &str) -> Result<()> {
    write(path, &format!("#!/bin/sh\n{text}\n"))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// A file that has this text already stays as old as it is: whoever compares times does nothing again.
fn write(path: &Path, text: &str) -> Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
