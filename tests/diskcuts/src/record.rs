//! The story that is cut: a device leaves the factory, takes an update in place, then one that needs a reboot, and
//! collects what it does not need any more. Every request to its disk is logged.
//!
//! ```text
//!   0            as the image has it
//!   locals/one   one container more, with a large file of its own; started in place
//!   locals/two   another kernel and initramfs, without that file; by reboot; then the trail of one is collected
//! ```

use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use formats::object::ObjectId;
use machine::{Disk as Drive, Kind, Machine, Plan};
use statemachine::ids::RevisionId;

use crate::card::Commands;
use crate::console::{Console, Part};
use crate::disk::Disk;
use crate::known::{Known, Revisions};
use crate::log::Log;
use crate::nbd::Shared;
use crate::promise::{POSTING, STAGE};
use crate::relay;

/// The port of the endpoint for `pvr` in the device.
const ENDPOINT: u16 = 12368;

/// What a step may take: a boot under emulation on a busy machine.
const STEP: Duration = Duration::from_secs(150);

/// Longer than a file system waits before it writes what nobody waits for (5 s), and some.
const SETTLED: Duration = Duration::from_secs(8);

/// The revisions of the story.
const NAMES: [&str; 3] = ["0", "locals/one", "locals/two"];

/// What a story is told with.
pub(crate) struct Props {
    pub(crate) kind: Kind,
    pub(crate) image: PathBuf,
    pub(crate) pvr: PathBuf,
    /// The configuration of `pvr` with the key that the device trusts.
    pub(crate) keys: PathBuf,
    pub(crate) packages: Option<PathBuf>,
}

/// A story that was told.
pub(crate) struct Story {
    pub(crate) base: Disk,
    pub(crate) log: Log,
    pub(crate) revisions: Revisions,
}

impl Story {
    /// The one that is kept in a directory.
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        let at = |name: &str| {
            let path = dir.join(name);
            File::open(&path).with_context(|| format!("cannot read {}; is a story kept there?", path.display()))
        };
        let log = Log::load(BufReader::new(at("log")?)).context("cannot read the log")?;
        let base = Disk::open(&dir.join("disk")).context("cannot read the disk")?;
        Ok(Self { base, log, revisions: revisions(dir)? })
    }
}

/// The revisions that are kept.
fn revisions(dir: &Path) -> Result<Revisions> {
    let pool = dir.join("repo/.pvr/objects");
    let object = |id: ObjectId| fs::read(pool.join(id.to_string())).with_context(|| format!("cannot read object {id}"));
    let known = (0..).zip(NAMES).map(|(number, name)| {
        let id = RevisionId::parse(name).map_err(|why| anyhow::anyhow!("{name}: {why:?}"))?;
        let state = fs::read(kept_state(dir, number)).with_context(|| format!("cannot read the state of {name}"))?;
        Known::new(&id, state, object)
    });
    Ok(Revisions(known.collect::<Result<_>>()?))
}

fn kept_state(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("state-{number}.json"))
}

/// Tells the story and keeps it in `dir`, in place of the one that was there. `say` hears how far it is.
pub(crate) fn record(props: &Props, dir: &Path, say: impl Fn(&str)) -> Result<Story> {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let base = Disk::open(&props.image).with_context(|| format!("cannot read {}", props.image.display()))?;
    base.save(0, base.size(), &dir.join("disk")).context("cannot keep the disk")?;
    let mut teller = Teller::new(props, dir, &base)?;
    let told = teller.tell(&say);
    let log = teller.end()?;
    let file = File::create(dir.join("log")).context("cannot keep the log")?;
    log.save(BufWriter::new(file)).context("cannot keep the log")?;
    told.with_context(|| format!("the console is in {}", dir.join("console.log").display()))?;
    Ok(Story { base, log, revisions: revisions(dir)? })
}

struct Teller<'p> {
    props: &'p Props,
    dir: PathBuf,
    shared: Shared,
    part: Part,
    machine: Machine,
    /// If its disk is a card.
    commands: Option<Commands>,
}

impl<'p> Teller<'p> {
    fn new(props: &'p Props, dir: &Path, base: &Disk) -> Result<Self> {
        let shared = Shared::new(base.clone(), Some(Log::default()));
        // A path of a socket is short, and that of a directory may not be.
        let socket = std::env::temp_dir().join(format!("cairn-diskcuts-{}.disk", std::process::id()));
        let _ = fs::remove_file(&socket);
        shared.serve_at(&socket).with_context(|| format!("cannot serve a disk at {}", socket.display()))?;
        let part = Part::new("factory".into());
        let mut console = Console::new(shared.clone(), Arc::clone(&part));
        shared.tell(&format!("{STAGE}factory: firmware"));
        let plan = plan(props.kind, props.packages.as_deref(), &socket)
            .log(dir.join("console.log"))
            .forward(ENDPOINT)
            .listen(move |bytes| console.hear(bytes));
        let commands = if props.kind.has_write_cache() { None } else { Some(Commands::new()?) };
        let plan = if let Some(commands) = &commands { commands.traced(plan) } else { plan };
        let machine = plan.build()?;
        Ok(Self { props, dir: dir.to_owned(), shared, part, machine, commands })
    }

    fn tell(&mut self, say: &impl Fn(&str)) -> Result<()> {
        say("the first boot");
        self.machine.start()?;
        self.machine.expect("-> Idle", STEP)?;
        let relay = relay::start(self.machine.port(ENDPOINT)?, &self.shared).context("cannot relay")?;
        let code = self.code()?;
        let keys = self.dir.join("keys");
        copy_tree(&self.props.keys, &keys)?;
        self.pvr(&["login", &format!("http://127.0.0.1:{relay}"), "--code", &code], &self.dir)?;
        let repo = self.dir.join("repo");
        self.pvr(&["clone", &format!("http://127.0.0.1:{relay}/cgi-bin"), "repo"], &self.dir)?;
        self.keep(0)?;

        say("an update in place");
        one_more_container(&repo)?;
        self.update(1, "in place")?;
        self.machine.expect("-> Idle", STEP)?;
        std::thread::sleep(Duration::from_secs(2));

        say("an update by reboot");
        another_base(&repo, &self.known(0)?)?;
        self.update(2, "by reboot")?;
        self.machine.expect("[update]: leaving", STEP)?;
        self.machine.expect_through_resets(&["-> Idle"], STEP)?;
        std::thread::sleep(SETTLED);

        say("collecting");
        self.shared.tell(&format!("{STAGE}by reboot: collecting"));
        self.machine.send("")?;
        self.machine.expect("device# ", STEP)?;
        self.machine.send("pvcontrol storage gc")?;
        self.machine.expect("bytes collected", STEP)?;
        std::thread::sleep(SETTLED);
        Ok(())
    }

    /// Switches off; all that was asked of the disk.
    fn end(mut self) -> Result<Log> {
        if self.machine.is_on() {
            self.machine.power_cut()?;
        }
        let log = self.shared.lock().log.take().context("the log is gone")?;
        match &self.commands {
            Some(commands) => commands.gather(log),
            None => Ok(log),
        }
    }

    /// A code for pairing, from the shell of the device.
    fn code(&mut self) -> Result<String> {
        self.machine.send("")?;
        self.machine.expect("device# ", STEP)?;
        self.machine.send("pvcontrol pair")?;
        let said = self.machine.expect("valid for", STEP)?.before;
        let is_code = |word: &&str| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let code = said.split_ascii_whitespace().rev().find(is_code);
        code.map(str::to_owned).with_context(|| format!("the device gives no code: {said:?}"))
    }

    /// Commits what the repository holds and posts it.
    fn update(&mut self, number: usize, part: &'static str) -> Result<()> {
        let repo = self.dir.join("repo");
        let name = NAMES.get(number).context("no such revision")?;
        self.pvr(&["add", "."], &repo)?;
        self.pvr(&["commit", "-m", name], &repo)?;
        self.keep(number)?;
        *self.part.lock().unwrap_or_else(PoisonError::into_inner) = part;
        self.shared.tell(&format!("{POSTING}{number}"));
        self.shared.tell(&format!("{STAGE}{part}: receiving"));
        self.pvr(&["post", "--rev", name], &repo)
    }

    /// Keeps the state that is committed.
    fn keep(&self, number: usize) -> Result<()> {
        let from = self.dir.join("repo/.pvr/json");
        fs::copy(&from, kept_state(&self.dir, number)).with_context(|| format!("cannot read {}", from.display()))?;
        Ok(())
    }

    fn known(&self, number: usize) -> Result<Known> {
        let state = fs::read(kept_state(&self.dir, number))?;
        let pool = self.dir.join("repo/.pvr/objects");
        Known::new(&RevisionId::factory(), state, |id| Ok(fs::read(pool.join(id.to_string()))?))
    }

    fn pvr(&self, args: &[&str], dir: &Path) -> Result<()> {
        let mut command = Command::new(&self.props.pvr);
        command.args(args).current_dir(dir).env("PVR_CONFIG_DIR", self.dir.join("keys")).env("PVR_CACHE_MAX", "0");
        let output = command.output().with_context(|| format!("cannot run {}", self.props.pvr.display()))?;
        if !output.status.success() {
            bail!("`pvr {}` failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

/// A machine of the board whose disk is served at a socket.
pub(crate) fn plan(kind: Kind, packages: Option<&Path>, socket: &Path) -> Plan {
    let plan = Plan::new(kind).disk(Drive::served_at(socket));
    let plan = if kind.has_watchdog() { plan.watchdog() } else { plan };
    match packages {
        Some(packages) => plan.packages(packages),
        None => plan,
    }
}

/// A copy of the container `heart` in the group of apps, and a file that only it has.
fn one_more_container(repo: &Path) -> Result<()> {
    let (from, to) = (repo.join("heart"), repo.join("extra"));
    copy_tree(&from, &to)?;
    let run = fs::read_to_string(from.join("run.json")).context("the device has no container heart")?;
    let mut run: serde_json::Value = serde_json::from_str(&run)?;
    let members = run.as_object_mut().context("a manifest that is no object")?;
    members.insert("name".into(), "extra".into());
    members.insert("group".into(), "app".into());
    fs::write(to.join("run.json"), format!("{run:#}\n"))?;
    let configuration = fs::read_to_string(from.join("lxc.container.conf"))?;
    fs::write(to.join("lxc.container.conf"), configuration.replace("/volumes/heart/", "/volumes/extra/"))?;
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::create_dir_all(repo.join("_config/extra"))?;
    Ok(fs::write(large_file(repo), large)?)
}

fn large_file(repo: &Path) -> PathBuf {
    repo.join("_config/extra/large")
}

/// A kernel and an initramfs that differ from those of before, and do the same.
fn another_base(repo: &Path, known: &Known) -> Result<()> {
    fs::remove_file(large_file(repo))?;
    for (name, path) in &known.boot {
        let path = repo.join(path);
        let mut bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        match *name {
            // Behind its end, where nobody looks.
            "pv-kernel.img" => bytes.extend_from_slice(b"another kernel, as far as its sum tells\n"),
            // The kernel unpacks one archive behind the other.
            "pv-initrd.img" => {
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                bytes.extend(archive("etc/cairn/another", b"one file more\n"));
            }
            _ => continue,
        }
        fs::write(&path, bytes)?;
    }
    Ok(())
}

/// A cpio archive (newc) with one file.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, mode, content) in [(name, 0o100_644, content), ("TRAILER!!!", 0, &[])] {
        let fields = [1, mode, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
        bytes.extend_from_slice(b"070701");
        fields.iter().for_each(|field| bytes.extend(format!("{field:08x}").bytes()));
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &place)?;
        } else {
            fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}
