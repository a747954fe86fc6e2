//! A device in a directory, a container that `pvr app add` has made for it, and one start of it for each attempt.
//!
//! ```text
//!   program ─▶ image ─▶ pvr app add ─▶ run.json, configuration, filter, squashfs
//!                                          │ guards taken out, line by line
//!                                          ▼
//!                                Assembly ─▶ Engine: mount, start, wait, unmount
//! ```

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, bail};
use cli::app::{Options, Volume};
use cli::image::reference::Reference;
use cli::image::squashfs::Times;
use cli::repo::Repo;
use container::Spawned;
use formats::state::Revision;
use harness::Ground;
use init::assembly::{Assembled, Assembly, Settings};
use init::engine::{Engine, Paths, Running};
use rustix::fs::{CWD, RenameFlags};
use statemachine::container::Outcome;
use statemachine::ids::RevisionId;
use store::volumes::VolumeKeys;

use crate::guard::{Config, Guard};
use crate::image;
use crate::table::{Case, OWN_NETWORK, Setting};

/// The format of the revision.
const SPEC: &str = "pantavisor-service-system@1";

/// Starts while the names of a volume change all the time.
const SWAPS: usize = 24;

/// How one attempt ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Done,
    Refused(String),
    /// There is nothing of the kind on this machine.
    Absent(String),
    /// It says nothing about the guards.
    Wrong(String),
}

/// See the module.
pub(crate) struct World {
    ground: Ground,
    engine: Engine,
    program: PathBuf,
    config: String,
    revision: Revision,
    /// What attempts are told.
    told: Vec<String>,
    disk: Option<String>,
    victim: RefCell<Option<Child>>,
    peer: RefCell<Option<Running>>,
    secret: PathBuf,
    /// The directory of the device that is left open for whoever is started carelessly.
    _open: fs::File,
}

impl World {
    /// Makes it of the program that attempts.
    pub(crate) fn new(program: &Path) -> Result<Self> {
        let ground = Ground::new("escape", &[]).map_err(|error| anyhow!("{error}"))?;
        let secret = ground.dir.join("secret");
        fs::create_dir(&secret)?;
        fs::write(secret.join("marker"), "")?;
        image::write(&ground.dir.join("layout"), program)?;
        let work = ground.dir.join("work");
        let repo = Repo::init(&work, None, SPEC)?;
        let engine = Engine::new(Paths::under(&ground.dir.join("device")), ground.instance.clone());
        let trail = engine.paths().trail(&id());
        let mut state = format!("{{\"#spec\":\"{SPEC}\"");
        for name in ["web", "peer"] {
            cli::app::add(&repo, &options(name, &ground.path("layout"))?, &cli::watch::Unwatched)?;
            fs::create_dir_all(trail.join(name))?;
            for file in ["lxc.container.conf", "seccomp.bpf", "root.squashfs"] {
                fs::copy(work.join(name).join(file), trail.join(name).join(file))
                    .with_context(|| format!("pvr app add has made no {file}"))?;
                state += &format!(",\"{name}/{file}\":\"{}\"", "0".repeat(64));
            }
            state += &format!(",\"{name}/run.json\":{}", fs::read_to_string(work.join(name).join("run.json"))?);
        }
        state.push('}');
        let revision = Revision::parse(state.as_bytes())?;
        let config = fs::read_to_string(trail.join("web/lxc.container.conf"))?;
        let open = fs::File::open(&secret)?;
        rustix::io::fcntl_setfd(&open, rustix::io::FdFlags::empty())?;
        let world = Self {
            told: vec![],
            disk: None,
            program: program.to_owned(),
            victim: RefCell::new(None),
            peer: RefCell::new(None),
            _open: open,
            ground,
            engine,
            config,
            revision,
            secret,
        };
        world.furnish()
    }

    /// What attempts reach for.
    fn furnish(mut self) -> Result<Self> {
        // For a mere chroot.
        let image = self.ground.dir.join("image");
        fs::copy(&self.program, image.join("attempt"))?;
        fs::create_dir_all(image.join("run"))?;
        let mut victim = Command::new(&self.program)
            .args(["device", &format!("name={}", self.ground.name), &format!("secret={}", self.secret.display())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(victim.stdout.take().context("no output")?).read_line(&mut line)?;
        self.victim.replace(Some(victim));
        if !line.starts_with("victim=") {
            bail!("what attempts reach for cannot be made on this machine: {}", line.trim());
        }
        self.told.extend(line.split_whitespace().map(str::to_owned));
        self.told.push(format!("secret={}", self.secret.display()));
        self.told.push(format!("init={}", std::process::id()));
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let by_namespaces = mounts.lines().any(|line| line.contains(" cgroup2 ") && line.contains("nsdelegate"));
        self.told.push(format!("nsdelegate={}", if by_namespaces { "yes" } else { "no" }));
        let partitions = fs::read_to_string("/proc/partitions")?;
        // The last one is there on every machine that these tests run on, whose images need it; it may be free.
        for line in partitions.lines().skip(2).chain(["7 0 0 loop0"]) {
            if let [major, minor, _, name] = line.split_whitespace().collect::<Vec<_>>().as_slice()
                && fs::File::open(Path::new("/dev").join(name)).is_ok()
            {
                self.told.extend([format!("disk={name}"), format!("major={major}"), format!("minor={minor}")]);
                self.disk = Some((*name).to_owned());
                break;
            }
        }
        let running = self.begin("peer", &[], &[Guard::Own("pid")], &["wait".to_owned()])?;
        harness::read_until(&running.log, &running.error, "up").map_err(|error| anyhow!("{error}"))?;
        self.told.push(format!("peer={}", running.pid));
        self.peer.replace(Some(running));
        Ok(self)
    }

    /// What its traces on this machine contain.
    pub(crate) fn name(&self) -> String {
        self.ground.name.clone()
    }

    /// One start, with these guards taken away.
    pub(crate) fn run(&self, case: &Case, removed: &[Guard]) -> Result<End> {
        let mut words = vec![case.attempt().to_owned()];
        words.extend(self.told.iter().cloned());
        if removed.contains(&Guard::Stage) {
            let mut command = Command::new(&self.program);
            let output = command.arg("in-chroot").arg(self.ground.dir.join("image")).args(&words).output()?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            return Ok(end(output.status.code().map_or(Outcome::Signal(0), Outcome::Code), &said));
        }
        self.lay_links(case)?;
        if !case.with.contains(&Setting::Swapped) {
            return self.once(case, removed, &words);
        }
        let volume = self.volume();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let swap = || {
                while !over.load(Ordering::Relaxed) {
                    let (one, other) = (volume.join("x"), volume.join("y"));
                    let _ = rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
                }
            };
            let swapping = scope.spawn(swap);
            let mut last = Ok(End::Wrong("never started".into()));
            for _ in 0..SWAPS {
                last = self.once(case, removed, &words);
                if !matches!(last, Ok(End::Refused(_))) {
                    break;
                }
            }
            over.store(true, Ordering::Relaxed);
            swapping.join().map_err(|_| anyhow!("the swapping thread panicked"))?;
            last
        })
    }

    fn volume(&self) -> PathBuf {
        self.engine.paths().storage.join("disks/perm/web/docker--data")
    }

    /// A link to the secret directory, and what it leads to within the volume: a directory of the same path, empty.
    fn lay_links(&self, case: &Case) -> Result<()> {
        let volume = self.volume();
        if !case.guards.contains(&Guard::Beneath) {
            return Ok(());
        }
        let _ = fs::remove_dir_all(&volume);
        fs::create_dir_all(volume.join(self.secret.strip_prefix("/")?))?;
        symlink(&self.secret, volume.join("x"))?;
        Ok(fs::create_dir(volume.join("y"))?)
    }

    fn once(&self, case: &Case, removed: &[Guard], words: &[String]) -> Result<End> {
        let running = self.begin("web", case.with, removed, words)?;
        let Running { pid, pidfd, log, error, console, group: _, missed: _ } = running;
        let run = harness::wait(Spawned { pid, pidfd, log, error, console }).map_err(|error| anyhow!("{error}"))?;
        self.engine.unmount("web")?;
        if let Some(failure) = run.failure {
            let links = case.guards.contains(&Guard::Beneath);
            let why = format!("not started: {failure}");
            return Ok(if links { End::Refused(why) } else { End::Wrong(why) });
        }
        Ok(end(run.outcome, &run.log))
    }

    /// Starts a container with what `pvr app add` has made, changed.
    fn begin(&self, name: &str, with: &[Setting], removed: &[Guard], words: &[String]) -> Result<Running> {
        let assembled = self.assemble(name, with, removed, words)?;
        let mounts = self.engine.mount(&assembled, &id(), &VolumeKeys::default())?;
        Ok(self.engine.start(&assembled, &mounts)?)
    }

    fn assemble(&self, name: &str, with: &[Setting], removed: &[Guard], words: &[String]) -> Result<Assembled> {
        let mut config = Config::new(&self.config.replace("/volumes/web/", &format!("/volumes/{name}/")));
        config
            .replace("lxc.init.cmd = /attempt", &format!("lxc.init.cmd = /attempt {}", words.join(" ")))
            .map_err(wrong)?;
        for setting in with {
            match setting {
                // A list of its own instead of the template's.
                Setting::Add(line) if line.starts_with("lxc.cap.keep") => {
                    config.drop("lxc.cap.keep").map_err(wrong)?;
                    config.add(line);
                }
                Setting::Add(line) => config.add(line),
                Setting::Replace(from, to) => config.replace(from, to).map_err(wrong)?,
                Setting::OwnNetwork => {
                    config.replace("lxc.namespace.keep = user net", "lxc.namespace.keep = user").map_err(wrong)?;
                    config.add("lxc.net.0.type = empty");
                }
                Setting::Swapped => {}
            }
        }
        // Without the line that says so the network would still be its own.
        if with.contains(&Setting::OwnNetwork) && removed.contains(&OWN_NETWORK) {
            config.replace("lxc.namespace.keep = user", "lxc.namespace.keep = user net").map_err(wrong)?;
        }
        let disk = self.disk.as_deref().unwrap_or("none");
        for guard in removed {
            guard.remove(&mut config, |line| line.replace("DISK", disk)).map_err(wrong)?;
        }
        let trail = self.engine.paths().trail(&id());
        let key = format!("{name}/lxc.container.conf");
        let read =
            |file: &str| if file == key { Some(config.text().into_bytes()) } else { fs::read(trail.join(file)).ok() };
        let assembly = Assembly::of(&self.revision, &Settings::default(), read)?;
        let mut assembled = assembly.get(name).cloned().context("not assembled")?;
        if let Some(program) = &mut assembled.program {
            removed.iter().for_each(|guard| guard.open(program));
        }
        Ok(assembled)
    }
}

fn wrong(why: String) -> anyhow::Error {
    anyhow!(why)
}

fn id() -> RevisionId {
    RevisionId::factory()
}

fn options(name: &str, layout: &str) -> Result<Options> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(Options {
        name: Some(name.to_owned()),
        volumes: vec![Volume::parse("/data:permanent")?],
        // Nobody keeps it.
        format_options: Some("-comp gzip".to_owned()),
        ..Options::new(Reference::parse(&format!("oci:{layout}"))?, Times { made: None, now: now.try_into()? })
    })
}

/// What the program has said.
fn end(outcome: Outcome, log: &str) -> End {
    let last = log.lines().last().unwrap_or("nothing").to_owned();
    match outcome {
        Outcome::Code(0) => End::Done,
        Outcome::Code(10) => End::Refused(last),
        Outcome::Code(20) => End::Absent(last),
        Outcome::OutOfMemory => End::Refused("killed for its memory".into()),
        // Whom a filter kills, and whom a lack of memory kills on kernels that do not tell why.
        Outcome::Signal(31) => End::Refused("killed by the filter".into()),
        Outcome::Signal(9) => End::Refused("killed".into()),
        other => End::Wrong(format!("{other:?}: {last}")),
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut victim) = self.victim.take() {
            // The end of its input is its own end, after it has taken away what it has made.
            drop(victim.stdin.take());
            let _ = victim.wait();
        }
        let _ = self.engine.kill("peer");
        if let Some(Running { pid, pidfd, log, error, console, group: _, missed: _ }) = self.peer.take() {
            let _ = harness::wait(Spawned { pid, pidfd, log, error, console });
        }
        for name in ["web", "peer"] {
            let _ = self.engine.kill(name);
            let _ = self.engine.unmount(name);
            let _ = self.engine.forget(name);
        }
        let _ = self.engine.sweep();
    }
}
