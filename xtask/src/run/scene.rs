//! One run's directory and everything that it has started: nothing of it stays behind by accident.
//!
//! ```text
//!   target/first-light/lock             held while a run works
//!                      left.json        what runs now: written before and removed after; `--stop` reads it
//!                      logs/            what each program said
//! ```
//!
//! Promises: a scene that is dropped stops what it has started, the device first, unless it was told to keep it. Ctrl-C
//! and a termination end a wait with an error, so that the scene is dropped; a second one ends at once. After a kill,
//! the next run or `--stop` does it, and a process is known by its start time too, so no other is hit.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::cargo;

/// How often a wait looks: shorter than a person notices, and too rare to cost anything.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// How long a program may take to end when asked.
const GRACE: Duration = Duration::from_secs(5);

/// What a run has started and not stopped.
#[derive(Default, Serialize, Deserialize)]
struct Left {
    /// A device: `cairn-host` and its directory.
    device: Option<(PathBuf, PathBuf)>,
    processes: Vec<Process>,
}

#[derive(Serialize, Deserialize)]
struct Process {
    name: String,
    pid: i32,
    /// In ticks since the machine started, as the kernel says it.
    since: u64,
}

/// Somebody has asked this command to end.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

pub(crate) struct Scene {
    dir: PathBuf,
    left: Left,
    /// Those of them that we have started ourselves.
    children: Vec<Child>,
    kept: bool,
    interrupted: Arc<AtomicBool>,
    _lock: File,
}

impl Scene {
    /// Opens the scene of this name, empty: whatever an earlier run has left is stopped and removed.
    pub(crate) fn open(name: &str) -> Result<Self> {
        let mut scene = Self::attach(name)?;
        scene.stop()?;
        for entry in fs::read_dir(&scene.dir)? {
            let path = entry?.path();
            let removed = match path.file_name().is_some_and(|name| name == "lock") {
                true => continue,
                false if path.is_dir() => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
        scene.place("logs")?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // The order matters: the second signal finds the flag that the first one has set.
            flag::register_conditional_shutdown(signal, 1, Arc::clone(&scene.interrupted))?;
            flag::register(signal, Arc::clone(&scene.interrupted))?;
        }
        Ok(scene)
    }

    /// The scene of this name as it is.
    fn attach(name: &str) -> Result<Self> {
        let dir = cargo::target_directory()?.join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let lock = File::create(dir.join("lock"))?;
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("another run works in {}: wait for it, or end it with Ctrl-C", dir.display());
        }
        let left = match fs::read(dir.join("left.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).context("cannot read left.json of an earlier run")?,
            Err(_) => Left::default(),
        };
        Ok(Self { dir, left, children: Vec::new(), kept: true, interrupted: Arc::default(), _lock: lock })
    }

    /// Stops what a run of this name has left. `false`: nothing was.
    pub(crate) fn stop_left(name: &str) -> Result<bool> {
        let mut scene = Self::attach(name)?;
        let any = scene.left.device.is_some() || !scene.left.processes.is_empty();
        scene.stop()?;
        Ok(any)
    }

    /// A path below the directory of the scene.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.join(below)
    }

    /// A directory below it, made if it is not there.
    pub(crate) fn place(&self, below: &str) -> Result<PathBuf> {
        let path = self.path(below);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// From now on everything stays when the scene is dropped.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }

    /// Starts a program that runs beside us; what it says goes to a log. The result is that log.
    pub(crate) fn start(&mut self, name: &str, command: &mut Command) -> Result<PathBuf> {
        let log = self.path(&format!("logs/{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        // A group of its own: Ctrl-C is for us, and we end it in order.
        command.process_group(0).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot run `{}`", cargo::shown(command)))?;
        let pid = i32::try_from(child.id())?;
        let since = since(pid).with_context(|| format!("{name} has ended at once: see {}", log.display()))?;
        self.kept = false;
        self.left.processes.push(Process { name: name.to_owned(), pid, since });
        self.children.push(child);
        self.record()?;
        Ok(log)
    }

    /// From now on this device is stopped before everything else.
    pub(crate) fn has_device(&mut self, program: &Path, dir: &Path) -> Result<()> {
        self.kept = false;
        self.left.device = Some((program.to_owned(), dir.to_owned()));
        self.record()
    }

    /// Whether a program that was started still runs.
    pub(crate) fn runs(&self, name: &str) -> bool {
        self.left.processes.iter().any(|process| process.name == name && process.is_alive())
    }

    /// The process of a program that was started and still runs.
    pub(crate) fn pid(&self, name: &str) -> Option<i32> {
        let process = self.left.processes.iter().find(|process| process.name == name && process.is_alive())?;
        Some(process.pid)
    }

    /// Waits until the question has an answer.
    pub(crate) fn wait<T>(&self, what: &str, time: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let start = Instant::now();
        loop {
            if let Some(answer) = ask()? {
                return Ok(answer);
            }
            self.go_on()?;
            if start.elapsed() > time {
                bail!("waited {} s for {what}", time.as_secs());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// An error as soon as somebody wants an end.
    pub(crate) fn go_on(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Interrupted.into());
        }
        Ok(())
    }

    /// Stops everything, the device first.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let mut wrong = Vec::new();
        if let Some((program, dir)) = self.left.device.take() {
            let stopped = Command::new(&program).arg("stop").arg(&dir).stdin(Stdio::null()).output();
            match stopped {
                Ok(output) if output.status.success() => {}
                // A device that is not running, or not even made, is stopped.
                Ok(_) if !dir.join("state").exists() => {}
                Ok(output) => wrong.push(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
                Err(error) => wrong.push(format!("cannot run {}: {error}", program.display())),
            }
        }
        for process in self.left.processes.drain(..).rev() {
            if let Err(error) = process.end() {
                wrong.push(format!("cannot end {} ({}): {error:#}", process.name, process.pid));
            }
        }
        if !wrong.is_empty() {
            bail!("{}", wrong.join("; "));
        }
        for mut child in self.children.drain(..) {
            child.wait()?;
        }
        match fs::remove_file(self.path("left.json")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn record(&self) -> Result<()> {
        let (new, place) = (self.path("left.json.new"), self.path("left.json"));
        fs::write(&new, serde_json::to_vec(&self.left)?)?;
        fs::rename(&new, &place).with_context(|| format!("cannot write {}", place.display()))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = self.stop()
        {
            eprintln!("error: {error:#}");
        }
    }
}

impl Process {
    fn is_alive(&self) -> bool {
        since(self.pid) == Some(self.since)
    }

    /// Asks, waits, insists.
    fn end(&self) -> Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(()) };
        for signal in [Signal::TERM, Signal::KILL] {
            if !self.is_alive() {
                return Ok(());
            }
            rustix::process::kill_process(pid, signal)?;
            let start = Instant::now();
            while self.is_alive() && start.elapsed() < GRACE {
                std::thread::sleep(LOOK);
            }
        }
        if self.is_alive() { bail!("it does not end") } else { Ok(()) }
    }
}

/// When a process was started; `None` for one that has ended, waited for or not.
fn since(pid: i32) -> Option<u64> {
    let mut text = String::new();
    File::open(format!("/proc/{pid}/stat")).ok()?.read_to_string(&mut text).ok()?;
    // The name before it is in parentheses and may hold anything, so the last one counts (proc_pid_stat(5)).
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if state == "Z" { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_and_an_ended_one_is_none() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let process = Process { name: "sleep".into(), pid, since: since(pid).unwrap() };
        assert!(process.is_alive());
        assert!(!Process { since: process.since + 1, name: "other".into(), pid }.is_alive());
        process.end().unwrap();
        assert!(!process.is_alive(), "although nobody has waited for it");
        child.wait().unwrap();
    }
}
