//! `test oci-conformance`: the cases that OCI runtimes are validated with, on the engine (`tests/oci`).

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::cargo;
use crate::setup;
use crate::term::Out;

/// Its name as a stage.
pub(crate) const NAME: &str = "oci-conformance";

fn command(only: Option<&str>, json: bool) -> Result<Command> {
    if !setup::is_root() {
        bail!("containers have namespaces, mounts and cgroups: run it as root");
    }
    let mut command = cargo::command(["run", "--quiet", "--package", "cairn-tests-oci", "--"]);
    command.args(only.iter().flat_map(|prefix| ["--only", prefix])).args(json.then_some("--json"));
    Ok(command)
}

/// In sight, with its own table or its own JSON.
pub(crate) fn run(only: Option<&str>, json: bool) -> Result<ExitCode> {
    let status = cargo::status(&mut command(only, json)?, Out::Stdout)?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As a stage of `test`.
pub(crate) fn check(out: Out) -> Result<()> {
    cargo::must(&mut command(None, false)?, out)
}
