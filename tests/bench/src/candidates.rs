//! Who is measured, and how each is asked for one container.

use std::ffi::CStr;
use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use container::cgroup::{Instance, Trees};
use container::launch::{
    Capabilities, Dev, Namespaces, Output, ProcMode, Process, Root, SysMode, TARGETS_MASKED, TARGETS_READ_ONLY,
};
use container::{Launch, spawn};
use harness::Ground;
use serde_json::json;

use crate::floor;

/// What every container runs.
pub(crate) const PROGRAM: &CStr = c"/bin/true";

/// The namespaces of a container of ours, in the words of `unshare(1)`. Its first process is a child of that command, which
/// waits for it.
const UNSHARE: [&str; 7] = ["--mount", "--pid", "--fork", "--net", "--uts", "--ipc", "--cgroup"];

/// Rounds before the first that counts.
const WARM_UP: u32 = 3;

/// One root, and what each peer wants to be told about it.
pub(crate) struct World {
    ground: Ground,
}

/// One of those that are measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Candidate {
    /// The commands `unshare` and `chroot`, with the namespaces that a container of ours has.
    Unshare,
    /// A container of ours, started and reaped by a process that lives on, as PID 1 does.
    Request,
    /// [`floor`], within this process.
    Bare,
    /// [`floor`], as a process of its own.
    BareProcess,
    /// A container of ours, as a process of its own.
    CairnProcess,
    /// `crun run`
    Crun,
    /// `runc run`
    Runc,
    /// `lxc-start --foreground`
    Lxc,
}

impl Candidate {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Unshare,
        Self::Request,
        Self::Bare,
        Self::BareProcess,
        Self::CairnProcess,
        Self::Crun,
        Self::Runc,
        Self::Lxc,
    ];

    /// What it is called in a table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unshare => "unshare",
            Self::Request => "cairn",
            Self::Bare => "bare clone",
            Self::BareProcess => "bare clone (process)",
            Self::CairnProcess => "cairn (process)",
            Self::Crun => "crun",
            Self::Runc => "runc",
            Self::Lxc => "lxc-start",
        }
    }
}

impl World {
    /// Makes the root and the files of the peers.
    pub(crate) fn new() -> Result<Self> {
        let ground = Ground::new("bench", &["true"]).map_err(|error| anyhow::anyhow!("{error}"))?;
        let world = Self { ground };
        fs::create_dir_all(world.ground.path("image/dev/mqueue"))?;
        let bundle = world.ground.path("bundle");
        fs::create_dir_all(&bundle)?;
        fs::write(format!("{bundle}/config.json"), world.oci().to_string())?;
        fs::create_dir_all(world.ground.path("lxc"))?;
        let root = world.ground.path("image");
        let lxc = format!(
            "lxc.rootfs.path = dir:{root}\nlxc.rootfs.options = ro\nlxc.init.cmd = /bin/true\nlxc.net.0.type = empty\n\
             lxc.mount.auto = proc:mixed sys:ro\nlxc.apparmor.profile = unconfined\n"
        );
        fs::write(world.ground.path("lxc.conf"), lxc)?;
        Ok(world)
    }

    /// The bundle of the OCI runtimes: what ours mounts, hides and lets go of, in their words.
    fn oci(&self) -> serde_json::Value {
        let mount = |destination: &str, kind: &str, options: &[&str]| {
            let source = if kind == "bind" { destination } else { kind };
            json!({ "destination": destination, "type": kind, "source": source, "options": options })
        };
        let plain = ["nosuid", "noexec", "nodev"];
        let namespaces: Vec<_> =
            ["pid", "network", "ipc", "uts", "mount", "cgroup"].iter().map(|kind| json!({ "type": kind })).collect();
        json!({
            "ociVersion": "1.0.0",
            "process": {
                "terminal": false, "user": { "uid": 0, "gid": 0 }, "args": ["/bin/true"], "cwd": "/",
                "env": ["PATH=/bin"], "noNewPrivileges": true,
                "capabilities": { "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] },
            },
            "root": { "path": self.ground.path("image"), "readonly": true },
            "hostname": "bench",
            "mounts": [
                mount("/proc", "proc", &[]),
                mount("/dev", "tmpfs", &["nosuid", "mode=755", "size=65536k"]),
                mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
                mount("/dev/shm", "tmpfs", &[plain.as_slice(), &["mode=1777", "size=65536k"]].concat()),
                mount("/sys", "sysfs", &[plain.as_slice(), &["ro"]].concat()),
            ],
            // No rules for devices: they would need more rights than a machine of tests always gives.
            "linux": {
                "resources": {}, "namespaces": namespaces, "maskedPaths": TARGETS_MASKED, "readonlyPaths": TARGETS_READ_ONLY,
            },
        })
    }

    fn sample(&self, candidate: Candidate, round: u32) -> Result<()> {
        let root = self.ground.path("image");
        let own = |verb: &str, args: &[&str]| -> Result<Command> {
            let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
            command.arg(verb).arg(&root).args(args);
            Ok(command)
        };
        let mut command = match candidate {
            Candidate::Bare => return floor::run(Path::new(&root)),
            Candidate::Request => return start(&self.ground.instance, Path::new(&root)),
            Candidate::Unshare => {
                let mut command = Command::new("unshare");
                command.args(UNSHARE).arg("chroot").arg(&root).arg("/bin/true");
                command
            }
            Candidate::BareProcess => own("floor", &[])?,
            Candidate::CairnProcess => own("one", &[&format!("{}-one", self.ground.name)])?,
            Candidate::Crun | Candidate::Runc => {
                let mut command = Command::new(candidate.name());
                command.args(["run", "--bundle", &self.ground.path("bundle")]);
                command.arg(format!("{}-{round}", self.ground.name));
                command
            }
            Candidate::Lxc => {
                let mut command = Command::new("lxc-start");
                command.args(["--foreground", "--name", &self.ground.name, "--lxcpath", &self.ground.path("lxc")]);
                command.args(["--rcfile", &self.ground.path("lxc.conf")]);
                command
            }
        };
        let output =
            command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", candidate.name()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} failed ({}): {}", candidate.name(), output.status, said.trim());
        Ok(())
    }
}

/// How long each sample of each took.
pub(crate) fn measure(world: &World, rounds: u32) -> Result<Vec<(Candidate, Vec<Duration>)>> {
    let mut samples: Vec<_> = Candidate::ALL.into_iter().map(|candidate| (candidate, Vec::new())).collect();
    for round in 0..WARM_UP + rounds {
        if round % 20 == 0 {
            eprintln!("round {round} of {}", WARM_UP + rounds);
        }
        for (candidate, taken) in &mut samples {
            let begin = Instant::now();
            world.sample(*candidate, round)?;
            taken.push(begin.elapsed());
        }
        samples.rotate_left(1);
    }
    for (_, taken) in &mut samples {
        taken.drain(..WARM_UP as usize);
    }
    samples.sort_by_key(|(candidate, _)| *candidate);
    Ok(samples)
}

/// One container, in a group of an instance of its own.
pub(crate) fn one(root: &Path, instance: &str) -> Result<()> {
    let instance = Instance::open(&Trees::detect()?, instance)?;
    start(&instance, root)?;
    Ok(instance.remove()?)
}

/// A fresh container from its group to the end of both.
fn start(instance: &Instance, root: &Path) -> Result<()> {
    let group = instance.create("bench")?;
    let launch = launch(root)?;
    let spawned = spawn(&launch, group.open()?.as_fd())?;
    let run = harness::wait(spawned).map_err(|error| anyhow::anyhow!("{error}"))?;
    if let Err(why) = run.output() {
        bail!("the container failed: {why}");
    }
    Ok(group.remove()?)
}

/// Confined as `pvr app add` would, in a network of its own.
fn launch(root: &Path) -> Result<Launch> {
    let text = |list: &[&str]| list.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    Ok(Launch {
        hostname: Some("bench".to_owned()),
        namespaces: Namespaces::OWN,
        users: None,
        cgroups: vec![],
        root: Root {
            layers: vec![root.to_str().context("the root has no plain path")?.to_owned()],
            writable: None,
            devices: false,
        },
        dev: Some(Dev { ptys: 1024, shm: 64 << 20, size: 500_000 }),
        nodes: None,
        proc: Some(ProcMode::Mixed),
        sys: Some(SysMode::ReadOnly),
        cgroup: None,
        mounts: vec![],
        showcase: None,
        exports: vec![],
        masked: text(TARGETS_MASKED),
        read_only: text(TARGETS_READ_ONLY),
        hardened: vec![],
        sysctls: vec![],
        process: Process {
            hooks: vec![],
            argv: vec!["/bin/true".to_owned()],
            env: vec![("PATH".to_owned(), "/bin".to_owned())],
            cwd: "/".to_owned(),
            uid: 0,
            gid: 0,
            groups: vec![],
            capabilities: Capabilities { bounding: 1 << 5, ambient: 0 },
            no_new_privs: true,
            limits: vec![],
            seccomp: None,
            oom_score_adj: 0,
            output: Output::Log,
        },
    })
}
