//! Plants faults in the machine, one at a time, and explores: an explorer that finds none of them proves nothing.
//!
//! A fault is a small change of the machine's source, made in a copy. The copy is built with this explorer and run; it
//! must report a broken rule. A fault whose text no longer stands in the source is itself an error, so the list cannot
//! rot.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// One planted fault.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// A short name.
    pub(crate) name: String,
    /// What an engineer might have got wrong.
    #[serde(rename = "because")]
    pub(crate) _because: String,
    /// File below `statemachine/src`.
    file: String,
    /// Text that stands there once.
    find: String,
    /// What it becomes.
    replace: String,
}

/// How a fault was found.
#[derive(Serialize)]
pub(crate) struct Caught {
    pub(crate) name: String,
    /// The rule that broke; `None`: the fault survived.
    pub(crate) rule: Option<String>,
    pub(crate) firmware: Option<String>,
    pub(crate) view: Option<String>,
    /// Moves of the counter-example.
    pub(crate) length: Option<usize>,
    pub(crate) seconds: f64,
}

/// What an explorer with `--json --stop` says of one exploration.
#[derive(Deserialize)]
struct Said {
    firmware: String,
    view: String,
    findings: Vec<SaidFinding>,
}

#[derive(Deserialize)]
struct SaidFinding {
    rule: String,
    length: usize,
}

/// The list, from the file beside this source.
pub(crate) fn faults() -> Result<Vec<Fault>> {
    serde_json::from_str(include_str!("../faults.json")).context("tests/model/faults.json")
}

/// A copy of the machine and its explorer that faults are planted in.
pub(crate) struct Nursery {
    root: PathBuf,
    source: PathBuf,
}

impl Nursery {
    /// Copies what the explorer is built from.
    pub(crate) fn new(repository: &Path) -> Result<Self> {
        let root = repository.join("target/mutants/workspace");
        if root.exists() {
            fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
        }
        for part in ["statemachine", "tests/model"] {
            copy(&repository.join(part), &root.join(part))?;
        }
        fs::copy(repository.join("Cargo.lock"), root.join("Cargo.lock")).context("copy Cargo.lock")?;
        let manifest = fs::read_to_string(repository.join("Cargo.toml")).context("read Cargo.toml")?;
        fs::write(root.join("Cargo.toml"), only_members(&manifest, &["statemachine", "tests/model"])?)
            .context("write Cargo.toml")?;
        Ok(Self { root, source: repository.join("statemachine/src") })
    }

    /// Plants a fault, explores, and takes the fault out again.
    pub(crate) fn try_fault(&self, fault: &Fault) -> Result<Caught> {
        let start = Instant::now();
        let original = fs::read_to_string(self.source.join(&fault.file))
            .with_context(|| format!("fault `{}`: read {}", fault.name, fault.file))?;
        let places = original.matches(&fault.find).count();
        ensure!(places == 1, "fault `{}`: its text stands {places} times in {}, not once", fault.name, fault.file);
        let planted = self.root.join("statemachine/src").join(&fault.file);
        fs::write(&planted, original.replacen(&fault.find, &fault.replace, 1)).context("plant the fault")?;
        let outcome = self.explore(&fault.name);
        fs::write(&planted, original).context("take the fault out")?;
        let found = outcome?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(match found {
            None => Caught { name: fault.name.clone(), rule: None, firmware: None, view: None, length: None, seconds },
            Some((said, finding)) => Caught {
                name: fault.name.clone(),
                rule: Some(finding.rule),
                firmware: Some(said.0),
                view: Some(said.1),
                length: Some(finding.length),
                seconds,
            },
        })
    }

    fn explore(&self, name: &str) -> Result<Option<((String, String), SaidFinding)>> {
        let build = Command::new(env!("CARGO"))
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", self.root.with_file_name("build"))
            .env("RUSTFLAGS", "--cap-lints allow")
            .args(["build", "--quiet", "--offline", "--profile", "mutants", "--package", "cairn-tests-model"])
            .output()
            .context("run cargo")?;
        if !build.status.success() {
            bail!("fault `{name}` does not build:\n{}", String::from_utf8_lossy(&build.stderr));
        }
        let explorer = self.root.with_file_name("build").join("mutants/cairn-tests-model");
        let mut run = Command::new(explorer)
            .args(["explore", "--fast", "--stop", "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .context("explore")?;
        let lines = BufReader::new(run.stdout.take().context("the explorer's output")?).lines();
        for line in lines {
            let said: Said = serde_json::from_str(&line?).context("the explorer's output")?;
            if let Some(finding) = said.findings.into_iter().next() {
                // The other searches have nothing to add.
                run.kill().context("stop the explorer")?;
                run.wait().context("stop the explorer")?;
                return Ok(Some(((said.firmware, said.view), finding)));
            }
        }
        ensure!(run.wait()?.success(), "fault `{name}`: the explorer failed without a finding");
        Ok(None)
    }
}

/// The workspace manifest with fewer members.
fn only_members(manifest: &str, members: &[&str]) -> Result<String> {
    let list = members.iter().map(|member| format!("    {member:?},\n")).collect::<String>();
    let mut out = String::new();
    let mut rest = manifest;
    for key in ["\nmembers = [", "\ndefault-members = ["] {
        let start = rest.find(key).with_context(|| format!("no `{}` in Cargo.toml", key.trim()))? + key.len();
        let end = rest[start..].find(']').context("a member list without end")? + start;
        out.push_str(&rest[..start]);
        out.push('\n');
        out.push_str(&list);
        rest = &rest[end..];
    }
    out.push_str(rest);
    Ok(out)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}
