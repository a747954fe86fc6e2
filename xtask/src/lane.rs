//! Stories told beside other stages: a story mostly waits for its device, and the model never waits.
//!
//! ```text
//!   setup ▸ unit tests ▸ … ▸ model ▸ mutants ▸ … ▸ tidy ▸ what the stories came to, one after the other
//!                             └── first story ▸ second story ▸ …
//! ```
//!
//! Each is told by a process of its own, exactly as `cargo xtask test NAME` tells it. What it says is kept in a file and
//! shown in its turn, so that two tellers never talk at once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::cargo;

/// Stories on their way.
pub(crate) struct Lane(Receiver<Told>);

/// What became of one.
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) seconds: f64,
    /// What it has said.
    pub(crate) said: String,
    pub(crate) result: Result<()>,
}

impl Lane {
    /// Begins with the first of them.
    pub(crate) fn start(stories: Vec<String>) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find the program that runs")?;
        let logs = cargo::target_directory()?.join("test-logs");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let (tell, told) = channel();
        thread::spawn(move || {
            for name in stories {
                let start = Instant::now();
                let log = logs.join(format!("{name}.log"));
                let result = tell_one(&program, &name, &log);
                let said = fs::read(&log).map(|said| String::from_utf8_lossy(&said).into_owned()).unwrap_or_default();
                let over = Told { name, seconds: start.elapsed().as_secs_f64(), said, result };
                if tell.send(over).is_err() {
                    return;
                }
            }
        });
        Ok(Self(told))
    }

    /// Waits for the next that is over, in the order in which they were given.
    pub(crate) fn next(&self) -> Option<Told> {
        self.0.recv().ok()
    }
}

fn tell_one(program: &PathBuf, name: &str, log: &Path) -> Result<()> {
    let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    let mut command = Command::new(program);
    command.args(["test", name]).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let status = command.status().with_context(|| format!("cannot run `{}`", cargo::shown(&command)))?;
    if !status.success() {
        bail!("the story failed; what it said: {}", log.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ends_badly_has_failed_and_what_was_said_is_kept() {
        let dir = std::env::temp_dir().join(format!("cairn-lane-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let log = dir.join("log");
        let error = tell_one(&PathBuf::from("/bin/ls"), "no-such-story", &log).unwrap_err();
        assert!(error.to_string().contains(&log.display().to_string()), "{error}");
        assert!(fs::read_to_string(&log).unwrap().contains("no-such-story"));
        assert!(tell_one(&PathBuf::from("/bin/echo"), "no-such-story", &log).is_ok());
        fs::remove_dir_all(&dir).unwrap();
    }
}
