//! The world of one test: a directory, an image with BusyBox in it, a group of cgroups, and the reaper.

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use container::cgroup::{Group, Instance, Trees};
use container::failure::Failure;
use container::launch::{Capabilities, Dev, Launch, Namespaces, Output, ProcMode, Process, Root, Writable};
use container::{Spawned, reaper, spawn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use statemachine::container::Outcome;

/// What a test says when it fails.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Longer than any test takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The programs of the image.
const APPLETS: &[&str] = &[
    "cat", "chmod", "dd", "echo", "env", "grep", "head", "hostname", "id", "ip", "ls", "mkdir", "mknod", "mount",
    "pwd", "readlink", "rm", "setsid", "sh", "sleep", "tail", "test", "touch", "true", "umount", "uname", "wc",
];

/// See the module.
pub(crate) struct World {
    pub(crate) dir: PathBuf,
    pub(crate) instance: Instance,
    name: String,
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
        let name = format!("cairn-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&name);
        let image = dir.join("image");
        for below in ["bin", "dev", "etc", "proc", "srv", "sys", "tmp"] {
            fs::create_dir_all(image.join(below))?;
        }
        fs::create_dir_all(dir.join("upper"))?;
        fs::create_dir_all(dir.join("work"))?;
        fs::copy(busybox, image.join("bin/busybox"))?;
        for applet in APPLETS {
            symlink("busybox", image.join("bin").join(applet))?;
        }
        let instance = Instance::open(&Trees::detect()?, &name)?;
        Ok(Self { dir, instance, name })
    }

    pub(crate) fn path(&self, below: &str) -> String {
        self.dir.join(below).display().to_string()
    }

    /// A directory of the world with a file in it.
    pub(crate) fn file(&self, below: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir.join(below);
        fs::create_dir_all(path.parent().ok_or("no parent")?)?;
        fs::write(&path, text)?;
        Ok(path)
    }

    /// A confined container that runs a script on a writable overlay of the image.
    pub(crate) fn launch(&self, script: &str) -> Launch {
        Launch {
            hostname: Some("box".into()),
            namespaces: Namespaces::OWN,
            cgroups: vec![],
            root: Root {
                layers: vec![self.path("image")],
                writable: Some(Writable { upper: self.path("upper"), work: self.path("work") }),
                devices: false,
            },
            dev: Some(Dev { ptys: 16, shm: 1 << 20 }),
            proc: Some(ProcMode::Mixed),
            sys: None,
            cgroup: None,
            mounts: vec![],
            masked: vec![],
            read_only: vec![],
            process: Process {
                argv: ["sh", "-c", script].map(String::from).into(),
                env: vec![("PATH".into(), "/bin".into())],
                cwd: "/".into(),
                uid: 0,
                gid: 0,
                groups: vec![],
                capabilities: Capabilities { bounding: u64::MAX, ambient: 0 },
                no_new_privs: false,
                limits: vec![],
                seccomp: None,
                oom_score_adj: 0,
                output: Output::Log,
            },
        }
    }

    /// Starts a container in a group of its own.
    pub(crate) fn start(&self, launch: &Launch) -> Result<(Spawned, Group)> {
        let group = self.instance.create("one")?;
        Ok((self.start_in(launch, &group)?, group))
    }

    pub(crate) fn start_in(&self, launch: &Launch, group: &Group) -> Result<Spawned> {
        let mut launch = launch.clone();
        launch.cgroups = group.joined().map(|dir| dir.display().to_string()).collect();
        Ok(spawn(&launch, group.open()?.as_fd())?)
    }

    /// Waits for the end of a container.
    pub(crate) fn wait(&self, spawned: Spawned) -> Result<Run> {
        let failure = Failure::read(&spawned.error)?;
        let timeout = Timespec { tv_sec: PATIENCE.as_secs().try_into()?, tv_nsec: 0 };
        if poll(&mut [PollFd::new(&spawned.pidfd, PollFlags::IN)], Some(&timeout))? == 0 {
            return Err(format!("the container runs for longer than {PATIENCE:?}").into());
        }
        let outcome = loop {
            match reaper::next()? {
                Some((pid, outcome)) if pid == spawned.pid => break outcome,
                Some(_) => {}
                None => return Err("the end of the container was told to somebody else".into()),
            }
        };
        let mut log = String::new();
        File::from(spawned.log).read_to_string(&mut log)?;
        Ok(Run { outcome, log, failure })
    }

    /// Runs a container to its end.
    pub(crate) fn run(&self, launch: &Launch) -> Result<Run> {
        let (spawned, group) = self.start(launch)?;
        let run = self.wait(spawned)?;
        group.end(PATIENCE)?;
        Ok(run)
    }

    /// What a script prints that ends well.
    pub(crate) fn output(&self, launch: &Launch) -> Result<String> {
        let run = self.run(launch)?;
        match (run.failure, run.outcome) {
            (None, Outcome::Code(0)) => Ok(run.log),
            (failure, outcome) => Err(format!("{outcome:?}, {failure:?}, log: {}", run.log).into()),
        }
    }

    /// What to look for when all is over.
    pub(crate) fn traces(&self) -> String {
        self.name.clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // What a failed test has left; what this cannot end is found by the invariant.
        let _ = self.instance.sweep(PATIENCE);
        while let Ok(Some(_)) = reaper::next() {}
        let _ = self.instance.clone().remove();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The contents of a log until it says `word`: the container is that far.
pub(crate) fn read_until(spawned: &Spawned, word: &str) -> Result<String> {
    let mut text = String::new();
    while !text.contains(word) {
        let mut bytes = [0; 4096];
        let timeout = Timespec { tv_sec: PATIENCE.as_secs().try_into()?, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(&spawned.log, PollFlags::IN)], Some(&timeout))?;
        let count = if ready == 0 { 0 } else { rustix::io::read(&spawned.log, &mut bytes)? };
        if count == 0 {
            return Err(format!("the log ends without {word:?}: {text:?}, {:?}", Failure::read(&spawned.error)).into());
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
pub(crate) fn loop_files() -> Result<Vec<String>> {
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
