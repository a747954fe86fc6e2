//! The five operations of an OCI runtime, on the engine of PID 1.
//!
//! ```text
//!   create ─▶ held in its group and namespaces ── start ──▶ running ── its end ──▶ stopped ── delete ──▶ gone
//!             │ config.json is not read again               └ mounts, rights, hooks, exec
//!             └ translate ─▶ lxc.container.conf ─▶ Assembly ─▶ Engine::hold
//! ```
//!
//! What a configuration cannot say or the engine refuses is an error of `create`. What only the stage of the container finds
//! out (the source of a mount that is missing, a program that is none) is one of `start`, and the container has stopped
//! then. Like PID 1 this process is the parent of all containers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use container::failure::Failure;
use container::{Held, reaper};
use formats::path::ContainerName;
use formats::state::Revision;
use harness::PATIENCE;
use init::assembly::{Assembled, Assembly, Settings};
use init::engine::{Engine, Mounts, Running};
use rustix::fs::OFlags;
use rustix::process::Signal;
use serde_json::json;
use statemachine::container::Outcome;
use statemachine::ids::RevisionId;
use store::volumes::VolumeKeys;

use crate::document::Document;
use crate::spec::{State, Status, VERSION};
use crate::translate::{FILTER, Translated};

/// The format of the revision that a bundle becomes.
const SPEC: &str = "pantavisor-service-system@1";
const CONFIG: &str = "lxc.container.conf";
const IMAGE: &str = "root.squashfs";
/// Nothing is staged, so nobody looks whether it is that of a file.
const HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Between two looks at what has ended.
const MOMENT: Duration = Duration::from_millis(2);

/// See the module.
pub(crate) struct Front {
    engine: Engine,
    containers: BTreeMap<String, Container>,
}

struct Container {
    bundle: PathBuf,
    annotations: BTreeMap<String, String>,
    running: Running,
    held: Option<Held>,
    outcome: Option<Outcome>,
}

impl Front {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, containers: BTreeMap::new() }
    }

    /// Makes a container of a bundle, up to where its program would be started.
    ///
    /// # Errors
    /// The id is taken or no name, the bundle is none, or says what the engine cannot do. Nothing is left then.
    pub(crate) fn create(&mut self, id: &str, bundle: &Path) -> Result<()> {
        let name = ContainerName::parse(id).map_err(|why| anyhow!("{id:?} is no name for a container: {why}"))?;
        ensure!(!self.containers.contains_key(id), "{id}: there is a container of this name");
        let bundle = fs::canonicalize(bundle).with_context(|| format!("no bundle at {}", bundle.display()))?;
        let made = self.make(&name, &bundle);
        if made.is_err() {
            // The first error is the one that explains.
            let _ = self.clear(id);
        }
        self.containers.insert(id.to_owned(), made?);
        Ok(())
    }

    fn make(&self, name: &ContainerName, bundle: &Path) -> Result<Container> {
        let id = name.as_str();
        let translated = Translated::of(Document::read(bundle)?, id, bundle)?;
        let assembled = self.assemble(id, &translated)?;
        pack(&translated.root, &self.trail(id).join(IMAGE))?;
        let mounts: Mounts = self.engine.mount(&assembled, &revision(), &VolumeKeys::default())?;
        let (running, held) = self.engine.hold(&assembled, &mounts)?;
        let annotations = translated.annotations;
        let container = Container { bundle: bundle.to_owned(), annotations, running, held, outcome: None };
        if container.held.is_none() {
            let why = Failure::read(&container.running.error)?.map(|failure| failure.to_string());
            bail!("{id} was not made: {}", why.unwrap_or_else(|| "it ended".into()));
        }
        Ok(container)
    }

    /// The same way from a configuration that a revision takes on a device.
    fn assemble(&self, id: &str, translated: &Translated) -> Result<Assembled> {
        let trail = self.trail(id);
        fs::create_dir_all(&trail)?;
        fs::write(trail.join(CONFIG), translated.text())?;
        if let Some(filter) = &translated.filter {
            fs::write(trail.join(FILTER), filter)?;
        }
        let run = json!({
            "#spec": "service-manifest-run@1", "name": id, "type": "lxc", "config": CONFIG, "root-volume": IMAGE,
            "volumes": [], "storage": { "lxc-overlay": { "persistence": "boot" } }, "automodfw": "no",
        });
        let mut state = serde_json::Map::new();
        state.insert("#spec".to_owned(), SPEC.into());
        for file in [CONFIG, IMAGE].into_iter().chain(translated.filter.as_ref().map(|_| FILTER)) {
            state.insert(format!("{id}/{file}"), HASH.into());
        }
        state.insert(format!("{id}/run.json"), run);
        let revision = Revision::parse(serde_json::to_string(&state)?.as_bytes())?;
        let assembly = Assembly::of(&revision, &Settings::default(), |file| {
            fs::read(trail.join(file.strip_prefix(id)?.strip_prefix('/')?)).ok()
        })?;
        if let Some(warning) = assembly.warnings.iter().find(|warning| warning.contains("has no effect")) {
            bail!("{warning}");
        }
        let mut assembled = assembly.get(id).cloned().context("the revision has no such container")?;
        let launch = &mut assembled.program.as_mut().context("the revision starts nothing")?.launch;
        launch.masked.extend(translated.masked.iter().cloned());
        launch.read_only.extend(translated.read_only.iter().cloned());
        launch.encode()?;
        Ok(assembled)
    }

    fn trail(&self, id: &str) -> PathBuf {
        self.engine.paths().trail(&revision()).join(id)
    }

    /// Lets a container go on that was created.
    ///
    /// # Errors
    /// It is not in that state, or its program could not be started: it has stopped then.
    pub(crate) fn start(&mut self, id: &str) -> Result<()> {
        let state = self.status(id)?;
        let container = self.container(id)?;
        let held = container.held.take().filter(|_| state == Status::Created);
        held.with_context(|| format!("{id}: a container is started once; it is {state}"))?.release()?;
        let failure = Failure::read(&container.running.error)?;
        let Some(failure) = failure else { return Ok(()) };
        self.wait(id)?;
        bail!("{id}: {failure}")
    }

    /// What there is to know.
    ///
    /// # Errors
    /// There is no such container.
    pub(crate) fn state(&mut self, id: &str) -> Result<State> {
        let status = self.status(id)?;
        let container = self.container(id)?;
        Ok(State {
            oci_version: VERSION,
            id: id.to_owned(),
            status,
            pid: (status != Status::Stopped).then(|| container.running.pid.as_raw_pid()),
            bundle: container.bundle.clone(),
            annotations: container.annotations.clone(),
        })
    }

    /// Sends a signal to the first process.
    ///
    /// # Errors
    /// There is no such container, or it has stopped.
    pub(crate) fn kill(&mut self, id: &str, signal: Signal) -> Result<()> {
        let state = self.status(id)?;
        ensure!(state != Status::Stopped, "{id}: it is {state}, and takes no signal");
        Ok(rustix::process::pidfd_send_signal(&self.container(id)?.running.pidfd, signal)?)
    }

    /// Takes away what `create` has made.
    ///
    /// # Errors
    /// There is no such container, or it has not stopped.
    pub(crate) fn delete(&mut self, id: &str) -> Result<()> {
        let state = self.status(id)?;
        ensure!(state == Status::Stopped, "{id}: it is {state}; only what has stopped is deleted");
        self.clear(id)?;
        self.containers.remove(id);
        Ok(())
    }

    /// Waits for the end of a container.
    ///
    /// # Errors
    /// It does not end.
    pub(crate) fn wait(&mut self, id: &str) -> Result<Outcome> {
        let begin = Instant::now();
        loop {
            self.reap()?;
            match self.container(id)?.outcome {
                Some(outcome) => return Ok(outcome),
                None if begin.elapsed() > PATIENCE => bail!("{id} runs for longer than {PATIENCE:?}"),
                None => std::thread::sleep(MOMENT),
            }
        }
    }

    /// The container as the engine has it.
    pub(crate) fn running(&self, id: &str) -> Result<&Running> {
        Ok(&self.containers.get(id).with_context(|| format!("{id}: there is no such container"))?.running)
    }

    /// All that a container has written, after its end.
    pub(crate) fn log(&self, id: &str) -> Result<String> {
        let log = &self.running(id)?.log;
        rustix::fs::fcntl_setfl(log, OFlags::NONBLOCK)?;
        let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = rustix::io::read(log, &mut bytes) {
            all.extend_from_slice(bytes.get(..count).unwrap_or_default());
        }
        Ok(String::from_utf8_lossy(&all).into_owned())
    }

    /// Ends and deletes all containers.
    pub(crate) fn clean(&mut self) -> Result<()> {
        for id in self.containers.keys().cloned().collect::<Vec<_>>() {
            self.engine.kill(&id)?;
            self.wait(&id)?;
            self.delete(&id)?;
        }
        Ok(self.engine.sweep()?)
    }

    fn container(&mut self, id: &str) -> Result<&mut Container> {
        self.containers.get_mut(id).with_context(|| format!("{id}: there is no such container"))
    }

    fn status(&mut self, id: &str) -> Result<Status> {
        self.reap()?;
        let container = self.container(id)?;
        Ok(match (&container.outcome, &container.held) {
            (Some(_), _) => Status::Stopped,
            (None, Some(_)) => Status::Created,
            (None, None) => Status::Running,
        })
    }

    fn reap(&mut self) -> Result<()> {
        while let Some((pid, outcome)) = reaper::next()? {
            // Others are the builders of containers with users of their own.
            let of = |container: &&mut Container| container.running.pid == pid && container.outcome.is_none();
            if let Some(container) = self.containers.values_mut().find(of) {
                container.outcome = Some(outcome);
            }
        }
        Ok(())
    }

    fn clear(&mut self, id: &str) -> Result<()> {
        self.engine.unmount(id)?;
        self.engine.forget(id)?;
        self.reap()?;
        match fs::remove_dir_all(self.trail(id)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => Ok(done?),
        }
    }
}

fn revision() -> RevisionId {
    RevisionId::factory()
}

/// A root is an image here, as in every revision.
fn pack(root: &Path, image: &Path) -> Result<()> {
    let root = fs::canonicalize(root)?;
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path that is no text");
    let plain = ["-noappend", "-no-progress", "-quiet", "-noI", "-noD", "-noF", "-noX", "-no-xattrs"];
    let paths = [text(&root)?, text(image)?];
    let args: Vec<&str> = paths.iter().map(String::as_str).chain(plain).collect();
    harness::host("mksquashfs", &args).map_err(|error| anyhow!("{error}"))?;
    Ok(())
}
