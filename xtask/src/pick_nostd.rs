//! `pick-nostd`: the boot decision on a microcontroller, compared with this machine's for every cell of a table.
//!
//! Builds `boards/examples/pick-nostd` twice: for a Cortex-M3, with `core` built anew by the distribution's compiler
//! ([`toolchain`]), and for this machine; then starts the second, which runs the first under QEMU and does the rest.
//! Nothing is installed: compiler and linker are packages that are unpacked below the target directory.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Result;
use serde_json::json;

use crate::Json;
use crate::build::toolchain;
use crate::cargo;
use crate::packages::{self, Set};
use crate::term::Out;

const PACKAGE: &str = "cairn-example-pick-nostd";
const PROGRAM: &str = "pick-nostd";
const TARGET: &str = "thumbv7m-none-eabi";

/// As small as the device's program, with its names kept: they are the texts of its log.
const PROFILE: &str = "nostd";

/// The linker for Arm without an operating system.
fn linker() -> Set {
    let name = "binutils-arm-none-eabi";
    Set { name: name.into(), packages: vec![name.into()], ours: vec!["arm-none-eabi".into()] }
}

pub(crate) fn run(options: Json) -> Result<ExitCode> {
    let compared = build(options.out()).and_then(|program| {
        let mut host = host(&program);
        if options.json {
            host.arg("--json");
        }
        cargo::status(&mut host, Out::Stdout)
    });
    match compared {
        Ok(status) => Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Err(error) => {
            if options.json {
                println!("{:#}", json!({ "command": PROGRAM, "passed": false, "error": format!("{error:#}") }));
            }
            Err(error)
        }
    }
}

/// The same, as a stage of `test`.
pub(crate) fn check(out: Out) -> Result<()> {
    cargo::must(&mut host(&build(out)?), out)
}

/// Builds the program of the microcontroller, and says where it is.
fn build(out: Out) -> Result<PathBuf> {
    let linker = packages::set(&linker(), out)?.join("usr/bin/arm-none-eabi-ld");
    let target = cargo::target_directory()?.join("small");
    let mut command = toolchain::command("core", out)?;
    command.args(["--quiet", "--profile", PROFILE, "--target", TARGET, "--package", PACKAGE]);
    command.arg("--target-dir").arg(&target);
    command.env("CARGO_TARGET_THUMBV7M_NONE_EABI_LINKER", linker);
    command.env("CARGO_TARGET_THUMBV7M_NONE_EABI_RUSTFLAGS", "-Clinker-flavor=ld");
    cargo::must(&mut command, out)?;
    Ok(target.join(TARGET).join(PROFILE).join(PROGRAM))
}

/// The program of this machine, about to run the other one.
fn host(program: &PathBuf) -> Command {
    let mut command = cargo::command(["run", "--quiet", "--package", PACKAGE, "--"]);
    command.arg(program);
    command
}
