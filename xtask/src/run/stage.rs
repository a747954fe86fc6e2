//! The world of a story: a scene, a device in it, and the variables of its scripts.
//!
//! A device is whatever can be watched and hit: one that a stand-in boots on this machine, or a board.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};

use super::device::Device;
use super::scene::{LOOK, Scene};
use super::story::event::{Event, Log};
use super::story::play::{Blow, Ended, World};

/// A device, as a story sees it.
pub(crate) trait Rig {
    /// Events since the last call.
    fn news(&mut self) -> Result<Vec<Event>>;
    /// Hits it.
    fn strike(&mut self, blow: Blow) -> Result<()>;
    /// Does what it does while time passes, if that needs us.
    fn turn(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A device that a stand-in boots.
pub(crate) struct StandIn<'a> {
    device: &'a Device,
    log: Log,
}

impl<'a> StandIn<'a> {
    /// `booted` is how many milliseconds after the run the stand-in began.
    pub(crate) fn new(device: &'a Device, booted: u64) -> Self {
        Self { device, log: Log::new(device.events.clone(), booted) }
    }
}

impl Rig for StandIn<'_> {
    fn news(&mut self) -> Result<Vec<Event>> {
        self.log.news()
    }

    fn strike(&mut self, blow: Blow) -> Result<()> {
        self.device.kill(blow == Blow::Cut)
    }
}

pub(crate) struct Stage<'a, R> {
    scene: &'a Scene,
    rig: R,
    start: Instant,
    variables: BTreeMap<String, String>,
    script: Option<Script>,
    scripts: u32,
}

/// A script that runs.
struct Script {
    child: Child,
    output: PathBuf,
}

impl<'a, R: Rig> Stage<'a, R> {
    /// `start` is when the run began.
    pub(crate) fn new(scene: &'a Scene, rig: R, start: Instant, variables: BTreeMap<String, String>) -> Result<Self> {
        scene.place("work")?;
        Ok(Self { scene, rig, start, variables, script: None, scripts: 0 })
    }

    /// The device.
    pub(crate) fn rig(&mut self) -> &mut R {
        &mut self.rig
    }

    /// Ends the script that runs, if one does, and everything that it has started.
    pub(crate) fn abandon(&mut self) {
        self.script = None;
    }

    /// The device, when the story is over. A script that still runs ends.
    pub(crate) fn into_rig(self) -> R {
        self.rig
    }
}

impl<R: Rig> World for Stage<'_, R> {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    fn begin(&mut self, script: &str, dir: Option<&str>) -> Result<()> {
        self.scripts += 1;
        let output = self.scene.path(&format!("logs/script-{:02}.log", self.scripts));
        let file = File::create(&output).with_context(|| format!("cannot create {}", output.display()))?;
        let dir = self.scene.path("work").join(dir.unwrap_or_default());
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", script]).current_dir(&dir).envs(&self.variables);
        command.process_group(0).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot run a script in {}", dir.display()))?;
        self.script = Some(Script { child, output });
        Ok(())
    }

    fn ended(&mut self) -> Result<Option<Ended>> {
        let Some(script) = &mut self.script else { bail!("no script runs") };
        let Some(status) = script.child.try_wait()? else { return Ok(None) };
        let output = String::from_utf8_lossy(&fs::read(&script.output)?).into_owned();
        self.script = None;
        Ok(Some(Ended { success: status.success(), output }))
    }

    fn events(&mut self) -> Result<Vec<Event>> {
        self.rig.news()
    }

    fn strike(&mut self, blow: Blow) -> Result<()> {
        self.rig.strike(blow)
    }

    fn rest(&mut self) -> Result<()> {
        self.scene.go_on()?;
        std::thread::sleep(LOOK);
        self.rig.turn()
    }
}

impl Drop for Script {
    /// A script that is given up takes everything with it that it has started.
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (Ok(None), Some(group)) = (self.child.try_wait(), group) {
            // It may end by itself in this moment; then there is nothing to kill.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
