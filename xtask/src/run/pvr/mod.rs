//! `bench pvr`: how long the workstation's tool takes for what a person waits for, beside the program that does the bulk of it.
//!
//! ```text
//!   /usr of this machine ──▶ eight layers ──▶ registry ──▶ counting proxy ──▶ pvr app add      in turns with
//!                      └───▶ the same files in a directory ──────────────────▶ mksquashfs      the same options
//!   a repository of 2 GB, committed ──▶ pvr status
//!   a device of the host board      ──▶ pvr clone, pvr post
//! ```

mod material;
mod peak;
mod proxy;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use serde_json::{Value, json};

use super::Telling;
use super::figures::{Figure, Goal, Most, Peer, Report, Wishes, quantile};
use super::live::Live;
use super::registry::Registry;
use super::scene::Scene;
use super::story::show::Show;
use crate::term::Out;
use crate::{cargo, setup};
use peak::Peak;
use proxy::Proxy;

/// How long pvr takes.
#[derive(Parser)]
#[command(name = "cargo xtask bench pvr")]
struct Options {
    /// How many imports of an image, and as many runs of mksquashfs in turns with them
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How large the image is, unpacked, in MB
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(50..=4000))]
    megabytes: u64,
    /// How often each short command is run
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1000))]
    times: u32,
    /// Only the image, and no repository of 2 GB and no device
    #[arg(long)]
    image: bool,
    #[command(flatten)]
    wishes: Wishes,
}

/// How both are told to pack: what `pvr app add` does where nobody says otherwise.
const PACKING: [&str; 2] = ["-comp", "xz"];

/// How much longer than the writer of squashfs alone.
const IMPORT: Most = Most::Ratio(1.1);

const MEMORY: Goal = Goal { figure: "peak memory of pvr, first import", unit: "MB", recorded: None, most: 300.0 };
const SECOND: Goal = Goal { figure: "import of an unchanged image", unit: "ms", recorded: None, most: 1000.0 };
const MANIFESTS: Goal = Goal { figure: "requests for manifests, of that", unit: "", recorded: None, most: 1.0 };
const BLOBS: Goal = Goal { figure: "requests for blobs, of that", unit: "", recorded: None, most: 0.0 };
const STATUS: Goal = Goal { figure: "status of 2 GB, unchanged", unit: "ms", recorded: None, most: 100.0 };
const TO_AND_FRO: Goal = Goal { figure: "clone and post, unchanged", unit: "ms", recorded: None, most: 200.0 };

/// The repository: so many files of so many megabytes.
const LARGE: (u32, usize) = (16, 128);

/// The coarsest clock of a file system, and a bit: before that nobody can tell whether a file changes again.
const QUIET: Duration = Duration::from_secs(4);

/// `args` begin with the name of this command.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let options = Options::parse_from(args);
    let out = options.wishes.out();
    setup::ensure(out)?;
    let pvr = build(out)?;
    // First: what it makes durable would wait for the gigabytes that the others write.
    let device = if options.image { None } else { Some(to_and_fro(&pvr, options.times, out)?) };
    let mut scene = Scene::open("bench-pvr")?;
    let mut figures = Vec::new();
    let imports = imports(&mut scene, &pvr, &options, &mut figures)?;
    let more = json!({
        "rounds": options.rounds, "megabytes": options.megabytes, "imports_ms": imports.ours,
        "mksquashfs_ms": imports.theirs, "tree_peak_mb": imports.tree, "packed_mb": imports.travels,
    });
    if !options.image {
        figures.push(STATUS.figure(status(&scene, &pvr, options.times, out)?));
    }
    scene.stop()?;
    figures.extend(device.map(|time| TO_AND_FRO.figure(time)));
    Report::new("pvr", "What a person waits for", figures, more).built("release profile (`pvr`)").tell(&options.wishes)
}

/// As a person has it: release.
fn build(out: Out) -> Result<PathBuf> {
    let arguments = ["build", "--quiet", "--release", "--package", "cairn-cli", "--bin", "pvr"];
    cargo::must(&mut cargo::command(arguments), out)?;
    Ok(cargo::target_directory()?.join("release/pvr"))
}

/// The program in a directory, with keys and a cache of this run and nothing of the person's.
struct Bench<'a> {
    pvr: &'a Path,
    scene: &'a Scene,
}

impl Bench<'_> {
    fn command(&self, dir: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(self.pvr);
        command.args(args).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null());
        command.env("PVR_CONFIG_DIR", self.scene.path("keys")).env("PVR_CACHE_DIR", self.scene.path("cache"));
        command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1").env_remove("PVR_MIRRORS");
        command
    }

    /// Runs it to its end; how long that took in milliseconds, and the most memory.
    fn run(&self, dir: &Path, args: &[&str]) -> Result<(f64, Peak)> {
        self.scene.go_on()?;
        timed(&mut self.command(dir, args), self.scene)
    }
}

/// Runs a program; what it says is in the error if it fails.
fn timed(command: &mut Command, scene: &Scene) -> Result<(f64, Peak)> {
    let said = scene.path("logs/said");
    command.stderr(fs::File::create(&said)?);
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot run `{}`", cargo::shown(command)))?;
    let peak = peak::watch(child.id());
    let status = child.wait()?;
    let time = start.elapsed().as_secs_f64() * 1e3;
    let peak = peak.end()?;
    if !status.success() {
        let text = fs::read_to_string(&said).unwrap_or_default();
        bail!("`{}`: {status}: {}", cargo::shown(command), text.trim());
    }
    Ok((time, peak))
}

/// What was measured of imports.
struct Imports {
    ours: Vec<f64>,
    theirs: Vec<f64>,
    /// The most memory of all processes together, in MB.
    tree: f64,
    /// What travels, in MB.
    travels: f64,
}

fn imports(scene: &mut Scene, pvr: &Path, options: &Options, figures: &mut Vec<Figure>) -> Result<Imports> {
    let out = options.wishes.out();
    out.line(format!("an image of {} MB of this machine's /usr, in {} layers", options.megabytes, material::LAYERS));
    let registry = Registry::start(scene)?;
    let flat = scene.place("flat")?;
    let travels = material::offer(&registry, &flat, options.megabytes * 1_000_000)?;
    let proxy = Proxy::before(&registry.url)?;
    let bench = Bench { pvr, scene };
    let repo = scene.place("repo")?;
    bench.run(&repo, &["init"])?;
    let from = format!("{}/{}", proxy.address, material::NAME);
    let add = ["app", "add", "web", "--force", "--from", &from];
    let (mut ours, mut theirs, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    let target = scene.path("flat.squashfs");
    for round in 0..options.rounds {
        let mut first = || -> Result<()> {
            clear(&scene.path("cache"))?;
            let (time, peak) = bench.run(&repo, &add)?;
            out.line(format!("import: {:.1} s", time / 1e3));
            ours.push(time);
            peaks.push(peak);
            Ok(())
        };
        let mut other = || -> Result<()> {
            scene.go_on()?;
            let mut command = Command::new("mksquashfs");
            command.args([&flat, &target]).args(PACKING).args(["-noappend", "-quiet", "-no-progress", "-all-root"]);
            let (time, _) = timed(command.stdout(Stdio::null()), scene)?;
            out.line(format!("mksquashfs: {:.1} s", time / 1e3));
            theirs.push(time);
            Ok(())
        };
        // Whoever comes first finds a machine that has rested.
        if round.is_multiple_of(2) {
            first()?;
            other()?;
        } else {
            other()?;
            first()?;
        }
    }
    let peer = Peer { name: "mksquashfs", value: quantile(&theirs, 50) };
    figures.push(Figure {
        name: "first import of an image",
        unit: "ms",
        cairn: quantile(&ours, 50),
        peer: Some(peer),
        goal: Some(IMPORT),
    });
    let most = |of: fn(&Peak) -> f64| peaks.iter().map(of).fold(f64::NAN, f64::max);
    let tree = most(|peak| peak.tree);
    figures.push(MEMORY.figure(most(|peak| peak.own)));
    figures.push(Figure { name: "the same with all its processes", unit: "MB", cairn: tree, peer: None, goal: None });
    let before = proxy.count();
    let again: Result<Vec<f64>> = (0..options.times).map(|_| Ok(bench.run(&repo, &add)?.0)).collect();
    let asked = proxy.count().since(&before);
    figures.push(SECOND.figure(quantile(&again?, 50)));
    let each = |count: u32| f64::from(count) / f64::from(options.times);
    figures.push(MANIFESTS.figure(each(asked.manifests)));
    figures.push(BLOBS.figure(each(asked.blobs)));
    Ok(Imports { ours, theirs, tree, travels })
}

/// Empties a directory, or makes one.
fn clear(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Of a repository of 2 GB in which nothing has changed since it was looked at.
fn status(scene: &Scene, pvr: &Path, times: u32, out: Out) -> Result<f64> {
    let (files, megabytes) = LARGE;
    out.line(format!("a repository of {files} files with {megabytes} MB each"));
    let (bench, repo) = (Bench { pvr, scene }, scene.place("large")?);
    bench.run(&repo, &["init"])?;
    for number in 0..files {
        scene.go_on()?;
        let path = repo.join(format!("disk/part-{number:02}"));
        fs::create_dir_all(path.parent().unwrap_or(&repo))?;
        fs::write(&path, material::noise(number.into(), megabytes << 20))?;
    }
    bench.run(&repo, &["add"])?;
    bench.run(&repo, &["commit", "-m", "large"])?;
    std::thread::sleep(QUIET);
    let (first, _) = bench.run(&repo, &["status"])?;
    out.line(format!("the first status: {first:.0} ms"));
    let samples: Result<Vec<f64>> = (0..times).map(|_| Ok(bench.run(&repo, &["status"])?.0)).collect();
    // It holds twice as much as anything else here.
    fs::remove_dir_all(&repo)?;
    Ok(quantile(&samples?, 50))
}

/// Of what a device runs, and nothing new back to it.
fn to_and_fro(pvr: &Path, times: u32, out: Out) -> Result<f64> {
    let mut telling = Telling::begin("bench-pvr-device", "bench/three-containers", None, Show::Timeline(out))?;
    telling.tell()?;
    let url = format!("http://{}/cgi-bin", telling.device.endpoint);
    let scene = &telling.scene;
    let (bench, dir) = (Bench { pvr, scene }, scene.place("measured")?);
    let keys = telling.variables.get("PVR_CONFIG_DIR").context("the run has no keys")?;
    let (program, place) = telling.device.place();
    let live = Live::of(program, place)?;
    let default =
        || -> Result<Value> { Ok(live.ask("GET", "/device", "")?.get("default").cloned().unwrap_or_default()) };
    let mut samples = Vec::new();
    for number in 0..times {
        let name = format!("device-{number}");
        let before = default()?;
        let mut time = 0.0;
        for (dir, args) in
            [(dir.clone(), vec!["clone", &url, &name]), (dir.join(&name), vec!["post", "-m", "as it is"])]
        {
            let mut command = bench.command(&dir, &args);
            time += timed(command.env("PVR_CONFIG_DIR", keys), scene)?.0;
        }
        samples.push(time);
        // One at a time: until it has proven itself, the device asks the next one to wait.
        live.wait("the device to take what it was given", || Ok(default()? != before))?;
    }
    ensure!(samples.len() == usize::try_from(times)?, "a sample is missing");
    telling.scene.stop()?;
    Ok(quantile(&samples, 50))
}
