//! `test escape`: ways out of a container, each with its guard and without it (`tests/escape`).

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::cargo;
use crate::setup;
use crate::sizes::TARGET;
use crate::term::Out;

/// What a container runs: static, because an image has nothing else in it.
const ATTEMPTS: &str = "cairn-tests-escape-attempts";

fn command(only: Option<&str>, json: bool, out: Out) -> Result<Command> {
    if !setup::is_root() {
        bail!("containers have namespaces, mounts and cgroups: run it as root");
    }
    let mut build = cargo::command(["build", "--quiet", "--target", TARGET, "--package", ATTEMPTS]);
    cargo::must(build.env("RUSTFLAGS", "-C target-feature=+crt-static"), out)?;
    let program = cargo::target_directory()?.join(TARGET).join("debug/attempt");
    let mut command = cargo::command(["run", "--quiet", "--package", "cairn-tests-escape", "--", "--program"]);
    command.arg(program).args(only.iter().flat_map(|prefix| ["--only", prefix])).args(json.then_some("--json"));
    Ok(command)
}

/// In sight, with its own table or its own JSON.
pub(crate) fn run(only: Option<&str>, json: bool) -> Result<ExitCode> {
    let out = if json { Out::Stderr } else { Out::Stdout };
    let status = cargo::status(&mut command(only, json, out)?, Out::Stdout)?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As a stage of `test`.
pub(crate) fn check(out: Out) -> Result<()> {
    cargo::must(&mut command(None, false, out)?, out)
}
