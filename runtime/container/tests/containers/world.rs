//! The world of one test: its ground, with a writable layer for the image.

use std::fs;
use std::path::PathBuf;

use container::cgroup::Group;
use container::launch::{Capabilities, Dev, Launch, Namespaces, Output, ProcMode, Process, Root, Writable};
use container::{Spawned, spawn};
use harness::{Ground, PATIENCE, Result, Run, wait};
use rustix::fd::AsFd;

/// The programs of the image.
const APPLETS: &[&str] = &[
    "cat", "chmod", "chown", "cp", "dd", "echo", "env", "grep", "head", "hostname", "id", "ip", "ls", "mkdir", "mknod",
    "mount", "nproc", "pwd", "readlink", "rm", "setsid", "sh", "sleep", "stat", "stty", "tail", "test", "touch",
    "true", "tty", "umount", "uname", "wc",
];

/// See the module.
pub(crate) struct World {
    pub(crate) ground: Ground,
}

impl harness::World for World {
    fn new() -> Result<Self> {
        let ground = Ground::new("test", APPLETS)?;
        fs::create_dir_all(ground.dir.join("upper"))?;
        fs::create_dir_all(ground.dir.join("work"))?;
        Ok(Self { ground })
    }

    fn ground(&self) -> &Ground {
        &self.ground
    }
}

impl World {
    /// A file in the directory of the world.
    pub(crate) fn file(&self, below: &str, text: &str) -> Result<PathBuf> {
        let path = self.ground.dir.join(below);
        fs::create_dir_all(path.parent().ok_or("no parent")?)?;
        fs::write(&path, text)?;
        Ok(path)
    }

    /// A confined container that runs a script on a writable overlay of the image.
    pub(crate) fn launch(&self, script: &str) -> Launch {
        Launch {
            hostname: Some("box".into()),
            namespaces: Namespaces::OWN,
            users: None,
            cgroups: vec![],
            root: Root {
                layers: vec![self.ground.path("image")],
                writable: Some(Writable { upper: self.ground.path("upper"), work: self.ground.path("work") }),
                devices: false,
            },
            dev: Some(Dev { ptys: 16, shm: 1 << 20, size: 1 << 19 }),
            nodes: None,
            proc: Some(ProcMode::Mixed),
            sys: None,
            cgroup: None,
            mounts: vec![],
            showcase: None,
            exports: vec![],
            masked: vec![],
            read_only: vec![],
            hardened: vec![],
            sysctls: vec![],
            process: Process {
                hooks: vec![],
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
        let group = self.ground.instance.create("one")?;
        Ok((self.start_in(launch, &group)?, group))
    }

    pub(crate) fn start_in(&self, launch: &Launch, group: &Group) -> Result<Spawned> {
        let mut launch = launch.clone();
        launch.cgroups = group.joined().map(|dir| dir.display().to_string()).collect();
        Ok(spawn(&launch, group.open()?.as_fd())?)
    }

    /// Runs a container to its end.
    pub(crate) fn run(&self, launch: &Launch) -> Result<Run> {
        let (spawned, group) = self.start(launch)?;
        let run = wait(spawned)?;
        group.end(PATIENCE)?;
        Ok(run)
    }

    /// What a script prints that ends well.
    pub(crate) fn output(&self, launch: &Launch) -> Result<String> {
        self.run(launch)?.output()
    }
}

/// The contents of a log until it says `word`: the container is that far.
pub(crate) fn read_until(spawned: &Spawned, word: &str) -> Result<String> {
    harness::read_until(&spawned.log, &spawned.error, word)
}
