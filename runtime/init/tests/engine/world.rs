//! The world of one test: a device in a directory, a revision under construction, and the reaper.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use container::cgroup::{Instance, Trees};
use container::failure::Failure;
use container::reaper;
use formats::state::Revision;
use init::engine::{Engine, Mounts, Paths, Running};
use init::plan::{Plan, Planned, Settings};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use statemachine::container::Outcome;
use statemachine::ids::RevisionId;
use store::volumes::VolumeKeys;

/// What a test says when it fails.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Longer than any test takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The programs of the image.
const APPLETS: &[&str] = &["cat", "echo", "ls", "mkdir", "mknod", "sh", "sleep", "test", "touch"];

/// The manifest of the container `web`, with the members of a test.
const MANIFEST: &str =
    r#"{"name":"web","type":"lxc","config":"lxc.container.conf","group":"app","root-volume":"root.squashfs"MORE}"#;

/// A root overlay in memory.
pub(crate) const BOOT: &str = r#","storage":{"lxc-overlay":{"persistence":"boot"}}"#;

/// See the module.
pub(crate) struct World {
    pub(crate) dir: PathBuf,
    pub(crate) engine: Engine,
    instance: Instance,
    name: String,
    /// Inline values and files of the revision.
    entries: RefCell<BTreeMap<String, String>>,
}

/// What became of a container.
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    pub(crate) log: String,
    pub(crate) failure: Option<Failure>,
}

impl World {
    pub(crate) fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return Err("needs root, for namespaces, mounts and cgroups: run it as root".into());
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        let busybox = busybox.ok_or("needs /bin/busybox, linked statically: run `cargo xtask setup`")?;
        let name = format!("cairn-engine-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&name);
        let image = dir.join("image");
        for below in ["bin", "dev", "etc", "proc", "srv", "sys", "tmp"] {
            fs::create_dir_all(image.join(below))?;
        }
        fs::write(image.join("etc/origin"), "image\n")?;
        fs::write(image.join("srv/old"), "old\n")?;
        fs::copy(busybox, image.join("bin/busybox"))?;
        for applet in APPLETS {
            symlink("busybox", image.join("bin").join(applet))?;
        }
        let instance = Instance::open(&Trees::detect()?, &name)?;
        let engine = Engine::new(Paths::under(&dir.join("device")), instance.clone());
        let world = Self { dir, engine, instance, name, entries: RefCell::default() };
        let squashfs = world.file("web/root.squashfs", "")?.display().to_string();
        fs::remove_file(&squashfs)?;
        host("mksquashfs", &[&image.display().to_string(), &squashfs, "-quiet", "-no-progress"])?;
        Ok(world)
    }

    /// Another engine for the same device: the next life of PID 1.
    pub(crate) fn reborn(&self) -> Engine {
        Engine::new(self.engine.paths().clone(), self.instance.clone())
    }

    /// A file of the revision, in its trail.
    pub(crate) fn file(&self, key: &str, content: &str) -> Result<PathBuf> {
        let path = self.engine.paths().trail(&id()).join(key);
        fs::create_dir_all(path.parent().ok_or("no parent")?)?;
        fs::write(&path, content)?;
        self.entries.borrow_mut().insert(key.to_owned(), format!("{:?}", "0".repeat(64)));
        Ok(path)
    }

    /// Plans the container `web`: further members of its manifest, a script, further lines of its configuration.
    pub(crate) fn plan(&self, members: &str, script: &str, lines: &str) -> Result<Planned> {
        self.plan_whole(
            members,
            &format!(
                "lxc.tty.max = 8\n\
             lxc.pty.max = 1024\n\
             lxc.cgroup.devices.allow = a\n\
             lxc.rootfs.path = overlayfs:/volumes/web/root.squashfs:/volumes/web/lxc-overlay/upper\n\
             lxc.init.cmd = /bin/sh -c \"{script}\"\n\
             lxc.namespace.keep = user  net  ipc\n\
             lxc.mount.auto = proc  sys:rw  cgroup\n\
             lxc.mount.entry = /etc/resolv.conf etc/resolv.conf none bind,rw,create=file 0 0\n\
             lxc.mount.entry = tmpfs run tmpfs rw,nodev,relatime,create=dir,mode=755 0 0\n{lines}"
            ),
        )
    }

    /// Plans the container `web`: further members of its manifest, and its configuration.
    pub(crate) fn plan_whole(&self, members: &str, config: &str) -> Result<Planned> {
        self.file("web/lxc.container.conf", config)?;
        let manifest = MANIFEST.replace("MORE", members);
        let entries = self.entries.borrow();
        let files: String = entries.iter().map(|(key, value)| format!(",{key:?}:{value}")).collect();
        let state = format!(r##"{{"#spec":"pantavisor-service-system@1","web/run.json":{manifest}{files}}}"##);
        let revision = Revision::parse(state.as_bytes())?;
        let trail = self.engine.paths().trail(&id());
        let plan = Plan::of(&revision, &Settings::default(), |key| fs::read(trail.join(key)).ok())?;
        plan.get("web").cloned().ok_or_else(|| "not planned".into())
    }

    pub(crate) fn mount(&self, planned: &Planned) -> Result<Mounts> {
        Ok(self.engine.mount(planned, &id(), &VolumeKeys::default())?)
    }

    pub(crate) fn start(&self, planned: &Planned) -> Result<Running> {
        Ok(self.engine.start(planned, &self.mount(planned)?)?)
    }

    /// Runs a container to its end and takes it down.
    pub(crate) fn run(&self, planned: &Planned) -> Result<Run> {
        let running = self.start(planned)?;
        let run = wait(running)?;
        self.engine.unmount("web")?;
        Ok(run)
    }

    /// What a script prints that ends well.
    pub(crate) fn output(&self, members: &str, script: &str, lines: &str) -> Result<String> {
        let run = self.run(&self.plan(members, script, lines)?)?;
        match (run.failure, run.outcome) {
            (None, Outcome::Code(0)) => Ok(run.log),
            (failure, outcome) => Err(format!("{outcome:?}, {failure:?}, log: {}", run.log).into()),
        }
    }

    /// What is mounted below the runtime directory of this device.
    pub(crate) fn mounted(&self) -> Result<Vec<String>> {
        let table = fs::read_to_string("/proc/self/mounts")?;
        let places = table.lines().filter_map(|line| line.split(' ').nth(1));
        Ok(places.filter(|place| place.contains(&self.name)).map(str::to_owned).collect())
    }

    /// What to look for when all is over.
    pub(crate) fn traces(&self) -> String {
        self.name.clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What a failed test has left; what this cannot end is found by the invariant.
        let _ = self.engine.sweep();
        while let Ok(Some(_)) = reaper::next() {}
        let _ = self.instance.clone().remove();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The revision of every test.
pub(crate) fn id() -> RevisionId {
    RevisionId::factory()
}

/// Waits for the end of a container.
pub(crate) fn wait(running: Running) -> Result<Run> {
    let failure = Failure::read(&running.error)?;
    let timeout = Timespec { tv_sec: PATIENCE.as_secs().try_into()?, tv_nsec: 0 };
    if poll(&mut [PollFd::new(&running.pidfd, PollFlags::IN)], Some(&timeout))? == 0 {
        return Err(format!("the container runs for longer than {PATIENCE:?}").into());
    }
    let outcome = loop {
        match reaper::next()? {
            Some((pid, outcome)) if pid == running.pid => break outcome,
            Some(_) => {}
            None => return Err("the end of the container was told to somebody else".into()),
        }
    };
    let mut log = String::new();
    File::from(running.log).read_to_string(&mut log)?;
    Ok(Run { outcome, log, failure })
}

/// Reads a log until it says `word`: the container is that far.
pub(crate) fn read_until(running: &Running, word: &str) -> Result<String> {
    let mut text = String::new();
    while !text.contains(word) {
        let mut bytes = [0; 4096];
        let timeout = Timespec { tv_sec: PATIENCE.as_secs().try_into()?, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(&running.log, PollFlags::IN)], Some(&timeout))?;
        let count = if ready == 0 { 0 } else { rustix::io::read(&running.log, &mut bytes)? };
        if count == 0 {
            return Err(format!("the log ends without {word:?}: {text:?}, {:?}", Failure::read(&running.error)).into());
        }
        text.push_str(&String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()));
    }
    Ok(text)
}

/// Runs a program of the host, and says what it said if it fails.
pub(crate) fn host(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .map_err(|error| format!("{program}: {error}; run `cargo xtask setup`"))?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(text) } else { Err(format!("{program} {args:?}: {text}").into()) }
}

/// How many descriptors are open.
pub(crate) fn descriptors() -> Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

/// Files behind loop devices of this host.
fn loop_files() -> Result<Vec<String>> {
    let mut files = Vec::new();
    for device in fs::read_dir("/sys/block")? {
        // A device that is free has no such file.
        if let Ok(file) = fs::read_to_string(device?.path().join("loop/backing_file")) {
            files.push(file.trim().to_owned());
        }
    }
    Ok(files)
}

/// No mount, loop device, group, process, descriptor or file of a test is left when it is over.
pub(crate) fn invariant_nothing_is_left(name: &str, before: usize) -> Result {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    assert!(!mounts.contains(name), "left mounted:\n{mounts}");
    assert!(!loop_files()?.iter().any(|file| file.contains(name)), "a loop device is left");
    let trees = host("find", &["/sys/fs/cgroup", "-maxdepth", "3", "-name", name])?;
    assert_eq!(trees, "", "groups are left");
    let child = rustix::process::wait(rustix::process::WaitOptions::NOHANG).map(drop);
    assert_eq!(child, Err(rustix::io::Errno::CHILD), "a process is left");
    assert_eq!(descriptors()?, before, "descriptors are left");
    assert!(!std::env::temp_dir().join(name).exists(), "files are left");
    Ok(())
}
