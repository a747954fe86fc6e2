//! Watching a container from its start to its end, with patience that is not endless.

use std::fs::File;
use std::io::Read;

use container::failure::Failure;
use container::{Spawned, reaper};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use statemachine::container::Outcome;

use crate::{PATIENCE, Result};

/// What became of a container.
pub struct Run {
    /// How its first process ended.
    pub outcome: Outcome,
    /// What it wrote.
    pub log: String,
    /// The step before its own program that failed.
    pub failure: Option<Failure>,
}

impl Run {
    /// What it wrote, if all went well.
    ///
    /// # Errors
    /// It did not end with the code 0.
    pub fn output(self) -> Result<String> {
        match (self.failure, self.outcome) {
            (None, Outcome::Code(0)) => Ok(self.log),
            (failure, outcome) => Err(format!("{outcome:?}, {failure:?}, log: {}", self.log).into()),
        }
    }
}

/// Waits for the end of a container.
///
/// # Errors
/// It does not end, or its end was told to somebody else.
pub fn wait(spawned: Spawned) -> Result<Run> {
    let failure = Failure::read(&spawned.error)?;
    if !is_ready(&spawned.pidfd)? {
        return Err(format!("the container runs for longer than {PATIENCE:?}").into());
    }
    let outcome = loop {
        match reaper::next()? {
            Some((pid, outcome)) if pid == spawned.pid => break outcome,
            Some(_) => {}
            None => return Err("the end of the container was told to somebody else".into()),
        }
    };
    let mut log = String::new();
    File::from(spawned.log).read_to_string(&mut log)?;
    Ok(Run { outcome, log, failure })
}

/// Reads the log of a container until it says `word`: it is that far.
///
/// # Errors
/// It never says so: with its log, and what its stage reports.
pub fn read_until(log: &OwnedFd, error: &OwnedFd, word: &str) -> Result<String> {
    let mut text = String::new();
    while !text.contains(word) {
        let mut bytes = [0; 4096];
        let count = if is_ready(log)? { rustix::io::read(log, &mut bytes)? } else { 0 };
        if count == 0 {
            return Err(format!("the log ends without {word:?}: {text:?}, {:?}", Failure::read(error)).into());
        }
        text.push_str(&String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()));
    }
    Ok(text)
}

/// Whether there is something to be read, or the end of it, within the patience of a test.
///
/// # Errors
/// The kernel refuses to wait.
pub fn is_ready(fd: impl AsFd) -> Result<bool> {
    let timeout = Timespec { tv_sec: PATIENCE.as_secs().try_into()?, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout))? > 0)
}
