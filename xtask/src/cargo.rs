//! Cargo as this workspace uses it: where the root is, how a command is run, and what `cargo metadata` says.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::term::Out;
use crate::tied::tied;
use crate::vendor;

/// This program, even if cargo has put another in its place since it was started.
pub(crate) const THIS: &str = "/proc/self/exe";

/// The directory of the workspace.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Where everything that is built goes: that of a vendor, for the tool of one.
pub(crate) fn target_directory() -> Result<&'static Path> {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    if DIRECTORY.get().is_none() {
        // Two threads that come here at once find the same.
        let _ = DIRECTORY.set(of_workspace(vendor::root().unwrap_or(root()))?);
    }
    DIRECTORY.get().map(PathBuf::as_path).context("no target directory")
}

fn of_workspace(root: &Path) -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Answer {
        target_directory: PathBuf,
    }
    let mut command = with_args(["metadata", "--format-version=1", "--no-deps"]);
    let answer: Answer = serde_json::from_slice(&answer(command.current_dir(root))?)
        .context("cannot read the answer of `cargo metadata`")?;
    Ok(answer.target_directory)
}

fn with_args<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    command
}

/// A cargo command in the root, with the cargo that runs us.
pub(crate) fn command<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = with_args(args);
    // Our own workspace would build in a place of its own, and nobody would look there.
    if let (Some(_), Ok(target)) = (vendor::root(), target_directory()) {
        command.env("CARGO_TARGET_DIR", target);
    }
    command
}

/// What a command says.
fn answer(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("cannot run `{}`", shown(command)))?;
    if !output.status.success() {
        bail!("`{}` failed:\n{}", shown(command), String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    command.get_args().fold(program, |line, arg| format!("{line} {}", arg.to_string_lossy()))
}

/// Runs a command with its output in sight. What it starts ends with us.
pub(crate) fn status(command: &mut Command, out: Out) -> Result<ExitStatus> {
    // A test is another program than this one is.
    let status = match cfg!(test) {
        true => command.stdout(out.stdio()).status(),
        false => tied(command).stdout(out.stdio()).status(),
    };
    status.with_context(|| format!("cannot run `{}`", shown(command)))
}

/// Runs a command with its output in sight; not to succeed is an error.
pub(crate) fn must(command: &mut Command, out: Out) -> Result<()> {
    let status = status(command, out)?;
    if !status.success() {
        bail!("`{}`: {status}", shown(command));
    }
    Ok(())
}

/// What `cargo metadata` says, as far as we read it.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    pub(crate) resolve: Resolve,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) metadata: Option<serde_json::Value>,
}

/// A dependency as its manifest declares it.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` (normal), `dev` or `build`.
    pub(crate) kind: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) deps: Vec<NodeDep>,
}

#[derive(Deserialize)]
pub(crate) struct NodeDep {
    pub(crate) pkg: String,
    pub(crate) dep_kinds: Vec<DepKind>,
}

#[derive(Deserialize)]
pub(crate) struct DepKind {
    pub(crate) kind: Option<String>,
}

impl Metadata {
    /// Asks cargo, for the platform that devices have.
    pub(crate) fn read() -> Result<Self> {
        let mut command = command(["metadata", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu"]);
        serde_json::from_slice(&answer(&mut command)?).context("cannot read the answer of `cargo metadata`")
    }

    /// The crates of this workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }
}

impl Package {
    /// The directory below the root, with forward slashes: `tests/sim`.
    pub(crate) fn dir(&self) -> String {
        let dir = self.manifest_path.parent().unwrap_or(&self.manifest_path);
        dir.strip_prefix(root()).unwrap_or(dir).to_string_lossy().replace('\\', "/")
    }
}
