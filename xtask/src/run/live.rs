//! A device that runs on this machine, from outside: its own socket, its processes, its groups.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// Longer than a start or an update takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a question is repeated: an answer is a few packets.
const LOOK: Duration = Duration::from_millis(2);

/// A device that runs, from outside.
pub(super) struct Live {
    /// PID 1, as this machine counts.
    pub(super) pid1: u32,
    /// Its group in the v2 tree, as this machine has it.
    pub(super) group: PathBuf,
    /// The number of the file system that its storage is.
    pub(super) storage: String,
}

impl Live {
    /// What the stand-in says of a device in this directory.
    pub(super) fn of(program: &Path, dir: &Path) -> Result<Self> {
        let output = Command::new(program).arg("status").arg(dir).arg("--json").output()?;
        let status: Value = serde_json::from_slice(&output.stdout).context("the stand-in does not say what runs")?;
        let pid1 = status.get("pid1").and_then(Value::as_u64).context("no device runs")?.try_into()?;
        let group = status.get("cgroup").and_then(Value::as_str).context("the device has no group")?.into();
        let mounts = fs::read_to_string(format!("/proc/{pid1}/mountinfo"))?;
        let storage = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| fields.get(4) == Some(&"/storage"))
            .and_then(|fields| fields.get(2).map(|number| (*number).to_owned()))
            .context("the device has no storage mounted")?;
        Ok(Self { pid1, group, storage })
    }

    /// One request, and the body of its answer.
    pub(super) fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let socket = format!("/proc/{}/root/run/pantavisor/pv/pv-ctrl", self.pid1);
        let mut stream = UnixStream::connect(&socket).with_context(|| format!("cannot reach {socket}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without an end of its head")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        ensure!(status.starts_with('2'), "{method} {path}: {status}: {body}");
        if body.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(body)?) }
    }

    /// The first process of a container that is up.
    pub(super) fn process(&self, name: &str) -> Result<Option<u64>> {
        let all = self.ask("GET", "/containers", "")?;
        let one = all.as_array().into_iter().flatten().find(|one| one["name"] == name);
        let one = one.with_context(|| format!("the device has no container {name}"))?;
        Ok(if one["status"] == "STARTED" { one.get("pid").and_then(Value::as_u64) } else { None })
    }

    /// Asks until it is so.
    pub(super) fn wait(&self, what: &str, mut is: impl FnMut() -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        while !is()? {
            ensure!(start.elapsed() < PATIENCE, "waited {} s for {what}", PATIENCE.as_secs());
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Starts a container anew, until it is up again.
    pub(super) fn restart(&self, name: &str) -> Result<()> {
        let old = self.process(name)?;
        self.ask("PUT", &format!("/containers/{name}"), r#"{"action":"restart"}"#)?;
        self.wait(&format!("another start of {name}"), || {
            let new = self.process(name)?;
            Ok(new.is_some() && new != old)
        })
    }

    /// The revision that came with this message, and the one that is the default now.
    pub(super) fn revisions(&self, message: &str) -> Result<[String; 2]> {
        let device = self.ask("GET", "/device", "")?;
        let now = device
            .get("default")
            .and_then(Value::as_str)
            .context("the device does not say what its default is")?
            .to_owned();
        let steps = self.ask("GET", "/steps", "")?;
        let step = steps
            .as_array()
            .into_iter()
            .flatten()
            .find(|step| step.get("commitmsg").is_some_and(|text| text == message));
        let other = step
            .and_then(|step| step.get("name").and_then(Value::as_str))
            .context("the device has not that revision")?;
        Ok([other.to_owned(), now])
    }

    /// To another revision, in which one container is another, until that is the default. How long it took from the
    /// command that was taken to the new first process.
    pub(super) fn update(&self, revision: &str, changed: &str) -> Result<Duration> {
        let old = self.process(changed)?;
        let command = json!({ "op": "LOCAL_RUN", "payload": revision }).to_string();
        let mut begin = Instant::now();
        self.wait("the device to take a command", || {
            begin = Instant::now();
            Ok(self.ask("POST", "/commands", &command).is_ok())
        })?;
        self.wait(&format!("the new {changed}"), || {
            let new = self.process(changed)?;
            Ok(new.is_some() && new != old)
        })?;
        let took = begin.elapsed();
        self.wait(&format!("the commit of {revision}"), || {
            let device = self.ask("GET", "/device", "")?;
            Ok(["default", "revision"].iter().all(|name| device.get(name).is_some_and(|value| value == revision)))
        })?;
        Ok(took)
    }

    /// All groups of the device, in every tree that this machine has.
    pub(super) fn groups(&self, visit: &mut dyn FnMut(&Path)) {
        let instance = self.group.iter().find(|part| part.to_string_lossy().starts_with("cairn-host-"));
        if let Some(instance) = instance {
            below(Path::new("/sys/fs/cgroup"), false, &instance.to_string_lossy(), visit);
        }
    }
}

/// Visits the directories below one whose name is that of the instance, and that one.
fn below(dir: &Path, is_own: bool, instance: &str, visit: &mut dyn FnMut(&Path)) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for group in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let is_own = is_own || group.file_name().to_string_lossy() == instance;
        if is_own {
            visit(&group.path());
        }
        below(&group.path(), is_own, instance, visit);
    }
}
