//! A device on this machine that has three apps from its factory on, whose storage is memory: booted again and again, until
//! all three run.
//!
//! ```text
//!   jump into PID 1 ─▶ … ─▶ an app's first program runs ─▶ the third one does
//!   └ told by the stand-in    └ told by that program, before anything else it does
//! ```
//!
//! The images are made by `pvr app add`. Each holds a BusyBox, the program that tells the time (`mark.c`), and the name of its
//! app, so that no two are the same file. What is the [first program](First) matters: to unpack a large one takes the kernel
//! longer than everything else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::statfs;
use serde_json::{Value, json};

use super::factory::{COMMIT_DELAY, Factory, LINE};
use super::image::contents::{self, PATH};
use super::image::oci::{Image, Layer};
use super::image::tree::Tree;
use super::scene::Scene;
use super::tools::{self, Tools, quiet};
use crate::arch::Arch;
use crate::cargo;
use crate::term::Out;

const APPS: [&str; 3] = ["alpha", "beta", "gamma"];

/// What a shell does then.
const SLEEPS: &str = "#!/bin/sh\ntrap 'exit 0' TERM\nwhile :; do sleep 1000 & wait; done\n";

/// What a shell is for that comes first.
const SHELL: &str = "#!/bin/sh\nexec /bin/mark /bin/sleeps\n";

const MARK: &str = include_str!("mark.c");

/// What stands before the time in their logs.
const RUNS_AT: &str = "runs at ";

/// The name of the stand-in in the scene.
const NAME: &str = "device";

/// A file system in memory that every machine has.
const MEMORY: &str = "/dev/shm";
const TMPFS: u32 = 0x0102_1994;

/// Longer than a boot takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The calls that wait for a medium.
const SYNCS: &str = "trace=fsync,fdatasync,sync_file_range,syncfs,sync,msync";

/// The first program of each app, and how its image is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// The one that tells the time and does nothing more, in an image as `pvr app add` makes it for everybody. Not even a shell
    /// afterwards: unpacking that would keep a processor from whoever has not started yet.
    Mark,
    /// A shell of BusyBox, which becomes that one; packed the same.
    Shell,
    /// The same, packed by another compressor.
    ShellInZstd,
}

impl First {
    fn command(self) -> Value {
        match self {
            Self::Mark => json!(["/bin/mark"]),
            Self::Shell | Self::ShellInZstd => json!(["/bin/shell"]),
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Mark | Self::Shell => &[],
            Self::ShellInZstd => &["--format-options=-comp zstd"],
        }
    }
}

/// What a boot is for. Counting slows it down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Milliseconds until the last app runs.
    Timed,
    /// How often the device waits for its medium, until they run.
    Counted,
}

/// See the module.
pub(super) struct Boots<'t> {
    scene: Scene,
    tools: &'t Tools,
    factory: Factory,
    dir: PathBuf,
}

impl<'t> Boots<'t> {
    /// Everything up to a device.
    pub(super) fn prepare(first: First, tools: &'t Tools) -> Result<Self> {
        let scene = Scene::open("bench-start")?;
        let memory = statfs(MEMORY).with_context(|| format!("cannot look at {MEMORY}"))?;
        ensure!(memory.f_type as u32 == TMPFS, "{MEMORY} is no tmpfs: mount one there, for a storage that is memory");
        let mark = mark_program(&scene)?;
        let tree = contents::base(&contents::busybox()?)?.file("bin/mark", 0o755, mark);
        let shared = Layer::new(&tree.file("bin/sleeps", 0o755, SLEEPS).file("bin/shell", 0o755, SHELL))?;
        let arch = Arch::host()?;
        for name in APPS {
            let own = Layer::new(&Tree::default().file("etc/app", 0o644, name))?;
            let config = json!({ "Cmd": first.command(), "Env": [PATH] });
            let image = Image::new(&[shared.clone(), own], &config, arch);
            image.write_layout(&scene.place(&format!("images/{name}"))?, name)?;
        }
        let factory = Factory::with(&scene, tools, |repo| {
            APPS.iter().try_for_each(|name| {
                let image = format!("oci:{}", scene.path(&format!("images/{name}")).display());
                let mut pvr = tools::pvr(&tools.pvr, &scene.path("keys"), repo);
                pvr.args(["app", "add", name, "--from", &image, "--platform", &arch.platform(), "--group", "app"]);
                pvr.args(first.arguments());
                quiet(&mut pvr)
            })
        })?;
        // One for each target directory, whose scene is locked: nobody else's is removed.
        let own = cargo::target_directory()?.display().to_string().replace('/', "-");
        Ok(Self { scene, tools, factory, dir: PathBuf::from(format!("{MEMORY}/cairn-bench-start{own}")) })
    }

    /// A new device in place of the one before.
    pub(super) fn renew(&mut self) -> Result<()> {
        self.discard()?;
        let mut create = Command::new(&self.tools.host);
        create.arg("create").arg(&self.dir).arg("--storage").arg(&self.factory.storage);
        create.arg("--trust").arg(&self.factory.trust).args(["--line", LINE]);
        quiet(create.args(["--commit-delay", &COMMIT_DELAY.to_string()]))
    }

    fn discard(&self) -> Result<()> {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.dir.display()))
            }
            _ => Ok(()),
        }
    }

    /// Boots it for the first time and once more, so often; milliseconds of each.
    pub(super) fn boot_often(&mut self, often: u32, out: Out) -> Result<(Vec<f64>, Vec<f64>)> {
        let (mut first, mut later) = (Vec::new(), Vec::new());
        for number in 0..often {
            self.renew()?;
            first.push(self.boot(Turn::Timed)?);
            later.push(self.boot(Turn::Timed)?);
            out.line(format!("boots: {} of {}", 2 * (number + 1), 2 * often));
        }
        Ok((first, later))
    }

    /// Boots it until all apps run, and ends it.
    pub(super) fn boot(&mut self, turn: Turn) -> Result<f64> {
        let (events, trace) = (self.scene.path("events.jsonl"), self.scene.path("logs/syncs.txt"));
        if events.exists() {
            fs::remove_file(&events)?;
        }
        let mut run = match turn {
            Turn::Timed => Command::new(&self.tools.host),
            Turn::Counted => {
                let mut strace = Command::new("strace");
                strace.args(["-f", "-qq", "-e", SYNCS, "-e", "signal=none", "-o"]).arg(&trace).arg(&self.tools.host);
                strace
            }
        };
        run.arg("run")
            .arg(&self.dir)
            .arg("--once")
            .arg("--events")
            .arg(&events)
            .arg("--recovery")
            .arg(&self.tools.cairn);
        self.scene.has_device(&self.tools.host, &self.dir)?;
        let log = self.scene.start(NAME, &mut run)?;
        let read = || fs::read_to_string(&events).unwrap_or_default();
        let (pid1, jumped) = self.wait("the jump into PID 1", &log, || Ok(jump(&read())))?;
        let last = self.wait("three containers", &log, || {
            if is_up(&read()) { last_mark(Path::new(&format!("/proc/{pid1}/root/storage/logs"))) } else { Ok(None) }
        })?;
        if turn == Turn::Timed {
            self.tool("stop", &[])?;
            #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a boot")]
            return Ok(last.saturating_sub(jumped) as f64 / 1e6);
        }
        // The stand-in is a bootloader and a disk, and waits for a medium, too.
        let others = tasks(self.stand_in()?)?;
        // An end in order would write more.
        self.tool("kill", &["--power-cut"])?;
        self.scene.wait("the end of the boot", PATIENCE, || Ok((!self.scene.runs(NAME)).then_some(())))?;
        let calls = fs::read_to_string(&trace).with_context(|| format!("cannot read {}", trace.display()))?;
        Ok(count(&calls, &others))
    }

    /// Nothing of it is left.
    pub(super) fn end(mut self) -> Result<()> {
        self.scene.stop()?;
        self.discard()
    }

    fn wait<T>(&self, what: &str, log: &Path, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        self.scene.wait(what, PATIENCE, || {
            if !self.scene.runs(NAME) {
                bail!("the stand-in has ended:\n{}", fs::read_to_string(log)?.trim_end());
            }
            ask()
        })
    }

    fn tool(&self, verb: &str, args: &[&str]) -> Result<()> {
        quiet(Command::new(&self.tools.host).arg(verb).arg(&self.dir).args(args))
    }

    fn stand_in(&self) -> Result<u64> {
        let output = Command::new(&self.tools.host).arg("status").arg(&self.dir).arg("--json").output()?;
        let status: Value = serde_json::from_slice(&output.stdout).context("the stand-in does not say what runs")?;
        status.get("stand_in").and_then(Value::as_u64).context("the stand-in does not run")
    }
}

impl Drop for Boots<'_> {
    fn drop(&mut self) {
        // After a failure; what is left then is removed by the next run.
        let _ = self.scene.stop();
        let _ = self.discard();
    }
}

/// The program that tells the time.
fn mark_program(scene: &Scene) -> Result<Vec<u8>> {
    let (source, program) = (scene.path("mark.c"), scene.path("mark"));
    fs::write(&source, MARK).with_context(|| format!("cannot write {}", source.display()))?;
    let small =
        ["-Os", "-s", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-no-pie", "-fno-pie", "-o"];
    quiet(Command::new("cc").args(small).arg(&program).arg(&source))?;
    fs::read(&program).with_context(|| format!("cannot read {}", program.display()))
}

fn events(text: &str) -> impl Iterator<Item = Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok())
}

/// PID 1 as this machine counts, and when it was about to be executed, in nanoseconds.
fn jump(text: &str) -> Option<(u64, u64)> {
    let up = events(text).find(|event| event["event"] == "up")?;
    let number = |name| up.get(name).and_then(Value::as_u64);
    Some((number("pid1")?, number("jumped")?))
}

/// Whether all apps run their programs.
fn is_up(text: &str) -> bool {
    let started = |name| {
        let is = |event: &Value| event["event"] == "container" && event["name"] == name && event["status"] == "STARTED";
        events(text).any(|event| is(&event))
    };
    APPS.into_iter().all(started)
}

/// When the last of them began to, in nanoseconds; `None` as long as not every log says so.
fn last_mark(logs: &Path) -> Result<Option<u64>> {
    let revision = fs::read_dir(logs).with_context(|| format!("cannot read {}", logs.display()))?;
    let revisions = revision.flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    let mark = |name: &str| {
        let logs = revisions.iter().filter_map(|dir| fs::read_to_string(dir.join(name).join("console.log")).ok());
        logs.filter_map(|log| mark(&log)).max()
    };
    Ok(APPS.into_iter().map(mark).collect::<Option<Vec<_>>>().and_then(|marks| marks.into_iter().max()))
}

/// The last that a log has: a later boot writes to the same.
fn mark(log: &str) -> Option<u64> {
    log.lines().rev().find_map(|line| line.split_once(RUNS_AT)?.1.trim().parse().ok())
}

/// The threads of a process.
fn tasks(pid: u64) -> Result<Vec<String>> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).context("the stand-in has ended")?;
    Ok(tasks.flatten().map(|task| task.file_name().to_string_lossy().into_owned()).collect())
}

/// Calls of threads that are not among these. A call that was interrupted has two lines, and is one.
fn count(trace: &str, others: &[String]) -> f64 {
    let calls = trace.lines().filter_map(|line| line.split_once(' '));
    let counted = calls.filter(|(task, call)| {
        !others.iter().any(|other| other == task) && !call.trim_start().starts_with("<...") && call.contains('(')
    });
    counted.fold(0.0, |count, _| count + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_mark_of_a_log_counts() {
        assert_eq!(mark("1.2 runs at 100\nfoo\n3.4 runs at 250 \nbar\n"), Some(250));
        assert_eq!(mark("runs at\nruns at noon\n"), None);
    }

    #[test]
    fn three_are_up_when_the_third_is() {
        let started = |name: &str| format!("{{\"event\":\"container\",\"name\":\"{name}\",\"status\":\"STARTED\"}}\n");
        let two = started("alpha") + &started("gamma");
        assert!(!is_up(&two) && is_up(&(two + &started("beta"))));
        assert_eq!(jump("{\"event\":\"up\",\"pid1\":7,\"jumped\":9}\n"), Some((7, 9)));
    }

    #[test]
    fn a_sync_counts_once_and_not_if_it_is_of_the_stand_in() {
        let trace =
            "7 fsync(3) = 0\n8 fdatasync(4 <unfinished ...>\n8 <... fdatasync resumed>) = 0\n9   syncfs(5) = 0\n";
        assert!((count(trace, &["7".to_owned()]) - 2.0).abs() < 0.1);
    }
}
