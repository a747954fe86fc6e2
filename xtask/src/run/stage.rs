//! The world of a story: a scene, a device in it, and the variables of its scripts.

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

pub(crate) struct Stage<'a> {
    scene: &'a Scene,
    device: &'a Device,
    start: Instant,
    log: Log,
    variables: BTreeMap<String, String>,
    script: Option<Script>,
    scripts: u32,
}

/// A script that runs.
struct Script {
    child: Child,
    output: PathBuf,
}

impl<'a> Stage<'a> {
    /// `start` is when the run began, `booted` how many milliseconds later the stand-in did.
    pub(crate) fn new(
        scene: &'a Scene,
        device: &'a Device,
        start: Instant,
        booted: u64,
        variables: BTreeMap<String, String>,
    ) -> Result<Self> {
        scene.place("work")?;
        let log = Log::new(device.events.clone(), booted);
        Ok(Self { scene, device, start, log, variables, script: None, scripts: 0 })
    }
}

impl World for Stage<'_> {
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
        self.log.news()
    }

    fn strike(&mut self, blow: Blow) -> Result<()> {
        self.device.kill(blow == Blow::Cut)
    }

    fn rest(&mut self) -> Result<()> {
        self.scene.go_on()?;
        std::thread::sleep(LOOK);
        Ok(())
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
