//! `nostd`: proof that the state machine needs neither `std` nor an allocator nor a C library.
//!
//! `tests/nostd` is linked with nothing but `core`, statically and without start files, and run. The linker proves what
//! is absent; the symbol table is looked at too, so that the proof does not hang on one flag.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::Json;
use crate::cargo;
use crate::elf::Elf;
use crate::term::Out;

const PACKAGE: &str = "cairn-tests-nostd";

pub(crate) fn run(options: Json) -> Result<ExitCode> {
    let result = check(options.out());
    if options.json {
        let error = result.as_ref().err().map(|error| format!("{error:#}"));
        println!("{}", json!({ "command": "nostd", "passed": error.is_none(), "error": error }));
    }
    result.map(|()| ExitCode::SUCCESS)
}

/// Builds it, looks at it, runs it.
pub(crate) fn check(out: Out) -> Result<()> {
    let build = ["build", "--quiet", "--profile=nostd", "--package", PACKAGE, "--features=freestanding"];
    cargo::must(&mut cargo::command(build), out)?;
    let program = cargo::target_directory()?.join("nostd").join(PACKAGE);
    let bytes = std::fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    let elf = Elf::parse(&bytes)?;
    if elf.dynamic {
        bail!("{} needs an interpreter or a library", program.display());
    }
    if elf.symbols.is_empty() {
        bail!("{} has no symbols, so nothing can be said about them", program.display());
    }
    if let Some(symbol) = elf.symbols.iter().find(|symbol| is_of_std(symbol)) {
        bail!("{symbol} is linked: the state machine must need neither std nor an allocator");
    }
    cargo::must(&mut Command::new(&program), out)?;
    let symbols = elf.symbols.len();
    out.line(format!("nostd: {} bytes of code, {symbols} symbols, none of std or alloc; it ran", elf.text));
    Ok(())
}

/// Both ways in which rustc writes names: `_ZN3std…` and `_R…Cs<hash>_3std…`.
fn is_of_std(symbol: &str) -> bool {
    let marks =
        ["_ZN3std", "_ZN5alloc", "_3std", "_5alloc", "__rust_alloc", "__rust_dealloc", "__rust_realloc", "malloc"];
    marks.iter().any(|mark| symbol.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_std_and_alloc_are_told_from_those_of_core() {
        for name in ["_ZN3std2io5stdio6_print17h0123456789abcdefE", "_RNvCs9ltgdHTiPiY_5alloc3fmt", "__rust_alloc"] {
            assert!(is_of_std(name), "{name}");
        }
        for name in ["_ZN4core5alloc6layout17h0123456789abcdefE", "_RNvNtCs1_4core5alloc6layout", "memcpy"] {
            assert!(!is_of_std(name), "{name}");
        }
    }
}
