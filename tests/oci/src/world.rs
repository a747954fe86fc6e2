//! Bundles in a directory, and containers of them.
//!
//! The plain bundle is BusyBox with namespaces of its own, the capabilities that most programs get by with, and the file
//! systems that the specification wants in every container. Each case changes it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use harness::Ground;
use init::engine::{Engine, Paths};
use serde_json::{Value, json};
use statemachine::container::Outcome;

use crate::front::Front;
use crate::table::{Change, PLAIN};

/// What scripts use.
const APPLETS: &[&str] = &[
    "awk", "cat", "chmod", "echo", "grep", "head", "hostname", "id", "kill", "ls", "mkdir", "mount", "mv", "pwd",
    "readlink", "sed", "sh", "sleep", "stat", "test", "touch", "tr", "true", "umask", "uname", "wc",
];

/// What a container does that is to be looked at from outside.
pub(crate) const STAYS: &str = "echo up; exec sleep 600";

/// See the module.
pub(crate) struct World {
    ground: Ground,
    /// What operations are called on.
    pub(crate) front: Front,
    count: u32,
}

/// What a container has shown.
pub(crate) struct Seen {
    /// What it wrote.
    pub(crate) log: String,
    /// How it ended.
    pub(crate) outcome: Outcome,
}

impl Seen {
    /// Whether it wrote this line.
    pub(crate) fn says(&self, line: &str) -> bool {
        self.log.lines().any(|one| one.trim() == line)
    }

    /// The rest of the line that begins so.
    pub(crate) fn of(&self, begin: &str) -> Option<&str> {
        self.log.lines().find_map(|line| line.strip_prefix(begin)).map(str::trim)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log: String = self.log.chars().take(600).collect();
        write!(f, "{:?}, after {log:?}", self.outcome)
    }
}

impl World {
    pub(crate) fn new() -> Result<Self> {
        let ground = Ground::new("oci", APPLETS).map_err(|error| anyhow!("{error}"))?;
        let image = ground.dir.join("image");
        for dir in ["data", "masked", "mnt", "run"] {
            fs::create_dir(image.join(dir))?;
        }
        fs::write(image.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n")?;
        fs::write(image.join("masked/file"), "seen\n")?;
        fs::write(image.join("data/file"), "seen\n")?;
        let engine = Engine::new(Paths::under(&ground.dir.join("device")), ground.instance.clone());
        Ok(Self { front: Front::new(engine), ground, count: 0 })
    }

    /// What its traces on this machine contain.
    pub(crate) fn name(&self) -> String {
        self.ground.name.clone()
    }

    /// Writes a bundle.
    pub(crate) fn bundle(&mut self, change: Change, script: &str) -> Result<PathBuf> {
        let mut config = plain(script);
        change(&mut config);
        self.write(&config.to_string())
    }

    /// Writes a bundle with this configuration.
    pub(crate) fn write(&mut self, config: &str) -> Result<PathBuf> {
        self.count += 1;
        let dir = self.ground.dir.join(format!("bundles/{}", self.count));
        fs::create_dir_all(&dir)?;
        symlink(self.ground.dir.join("image"), dir.join("rootfs"))?;
        let shared = dir.join("shared");
        fs::create_dir(&shared)?;
        fs::write(shared.join("file"), "shared\n")?;
        fs::write(dir.join("config.json"), config)?;
        Ok(dir)
    }

    /// A name that no container has.
    pub(crate) fn id(&mut self) -> String {
        self.count += 1;
        format!("c{}", self.count)
    }

    /// Makes and starts a container.
    pub(crate) fn start(&mut self, change: Change, script: &str) -> Result<String> {
        let (bundle, id) = (self.bundle(change, script)?, self.id());
        self.front.create(&id, &bundle)?;
        self.front.start(&id)?;
        Ok(id)
    }

    /// The same, and waits until it says `up`.
    pub(crate) fn start_and_wait(&mut self, change: Change, script: &str) -> Result<String> {
        let id = self.start(change, script)?;
        let running = self.front.running(&id)?;
        harness::read_until(&running.log, &running.error, "up").map_err(|error| anyhow!("{error}"))?;
        Ok(id)
    }

    /// The whole life of a container.
    pub(crate) fn run(&mut self, change: Change, script: &str) -> Result<Seen> {
        let id = self.start(change, script)?;
        self.end(&id)
    }

    /// The end of one that ends by itself.
    pub(crate) fn end(&mut self, id: &str) -> Result<Seen> {
        let outcome = self.front.wait(id)?;
        let seen = Seen { log: self.front.log(id)?, outcome };
        self.front.delete(id)?;
        Ok(seen)
    }

    /// Why no container is made of a bundle; `None` if one is.
    pub(crate) fn try_to_create(&mut self, change: Change) -> Result<Option<String>> {
        let (bundle, id) = (self.bundle(change, "true")?, self.id());
        match self.front.create(&id, &bundle) {
            Err(error) => {
                if self.front.state(&id).is_ok() {
                    bail!("{id} is there although it was not made");
                }
                Ok(Some(format!("{error:#}")))
            }
            Ok(()) => {
                self.clean()?;
                Ok(None)
            }
        }
    }

    /// Files of the group of a container that runs, in all trees.
    pub(crate) fn group(&mut self, change: Change, files: &[(&str, &str)]) -> Result<Vec<(String, String)>> {
        let id = self.start_and_wait(change, STAYS)?;
        let mut found = Vec::new();
        for dir in self.groups(&id) {
            for (file, _) in files {
                if let Ok(value) = fs::read_to_string(dir.join(file)) {
                    found.push(((*file).to_owned(), value.trim().to_owned()));
                }
            }
        }
        self.clean()?;
        Ok(found)
    }

    /// The groups of a container, in all trees.
    pub(crate) fn groups(&self, id: &str) -> Vec<PathBuf> {
        harness::groups(&format!("{}/{id}", self.ground.name))
    }

    /// Whether any group of this machine has one of these files.
    pub(crate) fn kernel_has(files: &[(&str, &str)]) -> bool {
        let names: BTreeSet<&str> = files.iter().map(|(file, _)| *file).collect();
        let mut dirs = vec![PathBuf::from("/sys/fs/cgroup")];
        for _ in 0..3 {
            let below = |dir: &PathBuf| -> Vec<PathBuf> {
                fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
            };
            let next: Vec<PathBuf> = dirs.iter().flat_map(below).filter(|path| path.is_dir()).collect();
            if dirs.iter().any(|dir| names.iter().any(|name| dir.join(name).exists())) {
                return true;
            }
            dirs = next;
        }
        false
    }

    /// Ends what a case has left running.
    pub(crate) fn clean(&mut self) -> Result<()> {
        self.front.clean()
    }

    /// A bundle whose container stays.
    pub(crate) fn stays(&mut self) -> Result<String> {
        self.start_and_wait(PLAIN, STAYS)
    }
}

/// Sets a member by its JSON pointer; what is missing on the way to it is made.
pub(crate) fn put(config: &mut Value, pointer: &str, value: Value) {
    let mut at = config;
    for name in pointer.split('/').skip(1) {
        if let Value::Array(list) = at {
            let Some(item) = name.parse::<usize>().ok().and_then(|index| list.get_mut(index)) else { return };
            at = item;
        } else {
            if !at.is_object() {
                *at = json!({});
            }
            at = &mut at[name];
        }
    }
    *at = value;
}

/// Adds to a list by its JSON pointer, which may be missing.
pub(crate) fn add(config: &mut Value, pointer: &str, value: Value) {
    match config.pointer_mut(pointer).and_then(Value::as_array_mut) {
        Some(list) => list.push(value),
        None => put(config, pointer, json!([value])),
    }
}

/// Takes a namespace from the list of its own.
pub(crate) fn share(config: &mut Value, kind: &str) {
    if let Some(list) = config.pointer_mut("/linux/namespaces").and_then(Value::as_array_mut) {
        list.retain(|one| one["type"] != kind);
    }
}

/// The plain bundle.
fn plain(script: &str) -> Value {
    let capabilities = json!(["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"]);
    let own = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
    json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs", "readonly": true },
        "process": {
            "cwd": "/", "args": ["/bin/sh", "-c", script], "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 },
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
        ],
        "linux": { "namespaces": own.map(|kind| json!({ "type": kind })) },
    })
}

impl Drop for World {
    fn drop(&mut self) {
        // What cannot be ended is found by the invariant.
        let _ = self.front.clean();
    }
}

/// Runs the bundle of a person from its making to its end, and shows what it writes.
pub(crate) fn run_bundle(bundle: &Path) -> Result<Outcome> {
    let mut world = World::new()?;
    let id = world.id();
    world.front.create(&id, bundle).with_context(|| format!("cannot make a container of {}", bundle.display()))?;
    eprintln!("{}", serde_json::to_string(&world.front.state(&id)?)?);
    world.front.start(&id)?;
    let outcome = world.front.wait(&id)?;
    print!("{}", world.front.log(&id)?);
    world.front.delete(&id)?;
    Ok(outcome)
}
