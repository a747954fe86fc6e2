//! The world of one test: a device in a directory, and a revision under construction.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use container::Spawned;
use formats::leases::Leases;
use formats::state::Revision;
use harness::{Ground, Result, Run, host};
use init::assembly::{Assembled, Assembly, Settings};
use init::engine::{Engine, Mounts, Paths, Running};
use statemachine::ids::RevisionId;
use store::volumes::VolumeKeys;

/// The programs of the image.
const APPLETS: &[&str] = &[
    "cat", "cut", "echo", "find", "grep", "httpd", "id", "ip", "ln", "ls", "mkdir", "mknod", "nc", "readlink", "rm",
    "sed", "sh", "sleep", "sort", "test", "touch", "wget",
];

/// The manifest of the container `web`, with the members of a test.
const MANIFEST: &str =
    r#"{"name":"web","type":"lxc","config":"lxc.container.conf","group":"app","root-volume":"root.squashfs"MORE}"#;

/// A root overlay in memory.
pub(crate) const BOOT: &str = r#","storage":{"lxc-overlay":{"persistence":"boot"}}"#;

/// See the module.
pub(crate) struct World {
    pub(crate) ground: Ground,
    pub(crate) engine: Engine,
    /// Inline values and files of the revision.
    entries: Mutex<BTreeMap<String, String>>,
    /// Who has which address.
    pub(crate) leases: Mutex<Leases>,
}

impl harness::World for World {
    fn new() -> Result<Self> {
        let ground = Ground::new("engine", APPLETS)?;
        fs::write(ground.dir.join("image/etc/origin"), "image\n")?;
        fs::write(ground.dir.join("image/srv/old"), "old\n")?;
        let engine = Engine::new(Paths::under(&ground.dir.join("device")), ground.instance.clone());
        let world = Self { ground, engine, entries: Mutex::default(), leases: Mutex::default() };
        let squashfs = world.file("web/root.squashfs", "")?.display().to_string();
        fs::remove_file(&squashfs)?;
        host("mksquashfs", &[&world.ground.path("image"), &squashfs, "-quiet", "-no-progress"])?;
        Ok(world)
    }

    fn ground(&self) -> &Ground {
        &self.ground
    }
}

impl World {
    /// Another engine for the same device: the next life of PID 1.
    pub(crate) fn reborn(&self) -> Engine {
        Engine::new(self.engine.paths().clone(), self.ground.instance.clone())
    }

    /// A file of the revision, in its trail.
    pub(crate) fn file(&self, key: &str, content: &str) -> Result<PathBuf> {
        let path = self.engine.paths().trail(&id()).join(key);
        fs::create_dir_all(path.parent().ok_or("no parent")?)?;
        fs::write(&path, content)?;
        lock(&self.entries).insert(key.to_owned(), format!("{:?}", "0".repeat(64)));
        Ok(path)
    }

    /// A value of the state.
    pub(crate) fn inline(&self, key: &str, value: &str) {
        lock(&self.entries).insert(key.to_owned(), value.to_owned());
    }

    /// Assembles the container `web`: further members of its manifest, a script, further lines of its configuration.
    pub(crate) fn assemble(&self, members: &str, script: &str, lines: &str) -> Result<Assembled> {
        self.assemble_whole(members, &config("web", script, lines))
    }

    /// Assembles the container `web`: further members of its manifest, and its configuration.
    pub(crate) fn assemble_whole(&self, members: &str, config: &str) -> Result<Assembled> {
        let assembly = self.assemble_all(&[("web", members, config)])?;
        assembly.get("web").cloned().ok_or_else(|| "not assembled".into())
    }

    /// Assembles containers of one image: name, further members of the manifest, configuration.
    pub(crate) fn assemble_all(&self, containers: &[(&str, &str, &str)]) -> Result<Assembly> {
        let trail = self.engine.paths().trail(&id());
        let mut manifests = String::new();
        for (name, members, config) in containers {
            self.file(&format!("{name}/lxc.container.conf"), config)?;
            let image = trail.join(name).join("root.squashfs");
            if !image.exists() {
                self.file(&format!("{name}/root.squashfs"), "")?;
                fs::copy(trail.join("web/root.squashfs"), image)?;
            }
            let manifest = MANIFEST.replace("MORE", members).replace("\"web\"", &format!("{name:?}"));
            manifests += &format!(",\"{name}/run.json\":{manifest}");
        }
        let entries = lock(&self.entries);
        let files: String = entries.iter().map(|(key, value)| format!(",{key:?}:{value}")).collect();
        let state = format!(r##"{{"#spec":"pantavisor-service-system@1"{manifests}{files}}}"##);
        let revision = Revision::parse(state.as_bytes())?;
        let settings = Settings { leases: lock(&self.leases).clone(), ..Settings::default() };
        Ok(Assembly::of(&revision, &settings, |key| fs::read(trail.join(key)).ok())?)
    }

    pub(crate) fn mount(&self, assembled: &Assembled) -> Result<Mounts> {
        Ok(self.engine.mount(assembled, &id(), &VolumeKeys::default())?)
    }

    pub(crate) fn start(&self, assembled: &Assembled) -> Result<Running> {
        Ok(self.engine.start(assembled, &self.mount(assembled)?)?)
    }

    /// Runs a container to its end and takes it down.
    pub(crate) fn run(&self, assembled: &Assembled) -> Result<Run> {
        let running = self.start(assembled)?;
        let run = wait(running)?;
        self.engine.unmount("web")?;
        Ok(run)
    }

    /// What a script prints that ends well.
    pub(crate) fn output(&self, members: &str, script: &str, lines: &str) -> Result<String> {
        self.run(&self.assemble(members, script, lines)?)?.output()
    }

    /// What is mounted below the runtime directory of this device.
    pub(crate) fn mounted(&self) -> Result<Vec<String>> {
        let table = fs::read_to_string("/proc/self/mounts")?;
        let places = table.lines().filter_map(|line| line.split(' ').nth(1));
        Ok(places.filter(|place| place.contains(&self.ground.name)).map(str::to_owned).collect())
    }
}

/// What a template writes for a container that runs a script, and further lines.
pub(crate) fn config(name: &str, script: &str, lines: &str) -> String {
    format!(
        "lxc.tty.max = 8\n\
         lxc.pty.max = 1024\n\
         lxc.cgroup.devices.allow = a\n\
         lxc.rootfs.path = overlayfs:/volumes/{name}/root.squashfs:/volumes/{name}/lxc-overlay/upper\n\
         lxc.init.cmd = /bin/sh -c \"{script}\"\n\
         lxc.namespace.keep = user  net  ipc\n\
         lxc.mount.auto = proc  sys:rw  cgroup\n\
         lxc.mount.entry = /etc/resolv.conf etc/resolv.conf none bind,rw,create=file 0 0\n\
         lxc.mount.entry = tmpfs run tmpfs rw,nodev,relatime,create=dir,mode=755 0 0\n{lines}"
    )
}

impl Drop for World {
    fn drop(&mut self) {
        // What a failed test has left mounted; the ground takes the rest away.
        let _ = self.engine.sweep();
    }
}

/// What a test that panicked has left is not read.
pub(crate) fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The revision of every test.
pub(crate) fn id() -> RevisionId {
    RevisionId::factory()
}

/// Waits for the end of a container.
pub(crate) fn wait(running: Running) -> Result<Run> {
    let Running { pid, pidfd, log, error, console, group: _, missed: _ } = running;
    harness::wait(Spawned { pid, pidfd, log, error, console })
}

/// The contents of a log until it says `word`: the container is that far.
pub(crate) fn read_until(running: &Running, word: &str) -> Result<String> {
    harness::read_until(&running.log, &running.error, word)
}
