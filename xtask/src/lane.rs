//! Stories told beside each other, and beside other stages: a story mostly waits for its device, and the model never waits.
//!
//! ```text
//!   setup ▸ unit tests ▸ … ▸ model ▸ mutants ▸ … ▸ tidy ▸ what the stories came to, one after the other
//!                             └── first story ▸ second story ▸ …
//! ```
//!
//! Each is told by a process of its own, exactly as a person has it told. What it says is kept in a file and shown when it
//! is over, so that two tellers never talk at once.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::cargo;

/// Stories on their way.
pub(crate) struct Lane(Receiver<Told>);

/// A story, and how it is told.
pub(crate) struct Teller {
    /// Also that of its log, so no `/` is in it.
    pub(crate) name: String,
    /// The arguments of this program.
    pub(crate) args: Vec<String>,
}

/// What became of one.
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) seconds: f64,
    /// What it has said.
    pub(crate) said: String,
    pub(crate) result: Result<()>,
}

impl Lane {
    /// Begins with the first of them, and tells so many at a time.
    pub(crate) fn start(stories: impl IntoIterator<Item = Teller>, at_a_time: usize) -> Result<Self> {
        let logs = cargo::target_directory()?.join("test-logs");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let (tell, told) = channel();
        let stories = Arc::new(Mutex::new(stories.into_iter().collect::<VecDeque<_>>()));
        for _ in 0..at_a_time {
            let (stories, tell, logs) = (Arc::clone(&stories), tell.clone(), logs.clone());
            let next = move || stories.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            thread::spawn(move || {
                while let Some(teller) = next() {
                    if tell.send(tell_one(Path::new(cargo::THIS), teller, &logs)).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self(told))
    }

    /// Waits for the next that is over. Of one at a time, they come in the order in which they were given.
    pub(crate) fn next(&self) -> Option<Told> {
        self.0.recv().ok()
    }
}

fn tell_one(program: &Path, Teller { name, args }: Teller, logs: &Path) -> Told {
    let start = Instant::now();
    let log = logs.join(format!("{name}.log"));
    let result = follow(program, &args, &log);
    let said = fs::read(&log).map(|said| String::from_utf8_lossy(&said).into_owned()).unwrap_or_default();
    Told { name, seconds: start.elapsed().as_secs_f64(), said, result }
}

fn follow(program: &Path, args: &[String], log: &Path) -> Result<()> {
    let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
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
        let tell = |program: &str| {
            let teller = Teller { name: "log".into(), args: vec!["no-such-story".into()] };
            tell_one(Path::new(program), teller, &dir)
        };
        let bad = tell("/bin/ls");
        let error = bad.result.unwrap_err();
        assert!(error.to_string().contains(&dir.join("log").display().to_string()), "{error}");
        assert!(bad.said.contains("no-such-story"));
        assert!(tell("/bin/echo").result.is_ok());
        fs::remove_dir_all(&dir).unwrap();
    }
}
