//! The factory state of the demonstration device, made with `pvr` as a product is: files, `add`, `commit` (which signs),
//! `deploy`.
//!
//! ```text
//!   device.json            the four groups, and the product that the state fits
//!   bsp/                   kernel and initramfs; on a host the initramfs is the program `cairn`
//!   heart/                 group root: says every second that it lives
//!   link/                  in a virtual machine, group root: brings up the network
//!   shell/                 in a virtual machine, group platform: a shell that manages the device, on its serial line
//!   ready/                 group platform: counts as started when it says so, through pv-ctrl
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::image::contents;
use super::image::tree::Tree;
use super::scene::Scene;
use super::tools::{self, Tools, quiet, squashfs};

/// The product line of the device; with its board it is what a state must fit.
pub(crate) const LINE: &str = "first-light";

/// Seconds for which the goals of a trial must hold here. A product takes longer; a person who watches does not.
pub(crate) const COMMIT_DELAY: u32 = 2;

const HEART: &str = "#!/bin/sh
trap 'exit 0' TERM
beats=0
while :; do
    beats=$((beats + 1))
    echo \"beat $beats\"
    sleep 1 &
    wait $!
done
";

const READY: &str = "#!/bin/sh
trap 'exit 0' TERM
echo 'getting ready'
until pvcontrol signal ready; do
    sleep 1
done
echo 'ready'
while :; do
    sleep 60 &
    wait $!
done
";

/// The network that QEMU gives a guest without being asked, with fixed addresses, so that no client of DHCP is needed.
const LINK: &str = "#!/bin/sh
trap 'exit 0' TERM
ip link set lo up
for device in /sys/class/net/e*; do
    [ -e \"$device\" ] || continue
    device=${device##*/}
    ip link set \"$device\" up
    ip addr add 10.0.2.15/24 dev \"$device\"
    ip route add default via 10.0.2.2
    echo \"$device is up\"
done
while :; do
    sleep 60 &
    wait $!
done
";

/// A session of its own with that line as its terminal, so that Ctrl-C ends a command and not the container.
const SHELL: &str = "#!/bin/sh
trap 'exit 0' TERM
export HOME=/root TERM=vt100 PS1='device# '
cd /root
while :; do
    setsid -c sh -i </dev/serial >/dev/serial 2>&1 &
    wait $!
    sleep 1
done
";

/// A state on its way into a device.
pub(crate) struct Factory {
    /// `objects/` and `trails/0`.
    pub(crate) storage: PathBuf,
    /// The public half of the key that signed it.
    pub(crate) trust: PathBuf,
    /// The configuration of `pvr`, with that key.
    pub(crate) keys: PathBuf,
}

/// What differs between boards.
pub(crate) struct Parts<'a> {
    pub(crate) board: &'a str,
    /// The program `pvr`.
    pub(crate) pvr: &'a Path,
    /// Its configuration; a key that is there is used.
    pub(crate) keys: PathBuf,
    /// The program of this device, for the tool inside of a container.
    pub(crate) program: &'a Path,
    /// A busybox of its architecture.
    pub(crate) busybox: &'a Path,
    /// The serial line of a virtual machine, as its kernel calls it: there containers bring up the network and serve a
    /// shell.
    pub(crate) serial: Option<&'a str>,
}

impl Factory {
    /// The one of a device on this machine.
    pub(crate) fn make(scene: &Scene, tools: &Tools) -> Result<Self> {
        let busybox = contents::busybox()?;
        Self::of(&host(scene, tools, &busybox)?, &scene.path(""), |repo| host_bsp(tools, repo))
    }

    /// The one of a device on this machine, with other containers: `fill` puts them into the repository.
    pub(crate) fn with(scene: &Scene, tools: &Tools, fill: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let (dir, busybox) = (scene.path(""), contents::busybox()?);
        let parts = host(scene, tools, &busybox)?;
        let repo = begin(&parts, &dir, |repo| host_bsp(tools, repo))?;
        fill(&repo)?;
        Self::commit(&parts, &dir, &repo)
    }

    /// The one of any board, made in `dir`, where what was there before is in the way. `bsp` fills `bsp/` of the
    /// repository.
    pub(crate) fn of(parts: &Parts<'_>, dir: &Path, bsp: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        Self::commit(parts, dir, &lay_out(parts, dir, bsp)?)
    }

    fn commit(parts: &Parts<'_>, dir: &Path, repo: &Path) -> Result<Self> {
        let storage = dir.join("storage");
        fs::create_dir_all(storage.join("trails")).with_context(|| format!("cannot create {}", storage.display()))?;
        let pvr = |args: &[&str]| quiet(tools::pvr(parts.pvr, &parts.keys, repo).args(args));
        pvr(&["add", "."])?;
        pvr(&["commit", "-m", "factory"])?;
        pvr(&["deploy", &storage.join("trails/0").to_string_lossy()])?;
        Ok(Self { storage, trust: public(&parts.keys), keys: parts.keys.clone() })
    }
}

/// What a device on this machine is made of.
fn host<'a>(scene: &Scene, tools: &'a Tools, busybox: &'a Path) -> Result<Parts<'a>> {
    let keys = scene.place("keys")?;
    Ok(Parts { board: "host", pvr: &tools.pvr, keys, program: &tools.cairn, busybox, serial: None })
}

fn host_bsp(tools: &Tools, repo: &Path) -> Result<()> {
    write(repo, "bsp/run.json", &json!({ "linux": "kernel.img", "initrd": "pantavisor" }))?;
    let kernel = "The host's own kernel runs; another text here is another base.\n";
    fs::write(repo.join("bsp/kernel.img"), kernel)?;
    fs::copy(&tools.cairn, repo.join("bsp/pantavisor")).context("cannot copy the program of the device")?;
    Ok(())
}

/// A repository with nothing but the device and its base in it.
fn begin(parts: &Parts<'_>, dir: &Path, bsp: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let repo = place(dir, "factory")?;
    quiet(tools::pvr(parts.pvr, &parts.keys, &repo).arg("init"))?;
    write(&repo, "device.json", &device(parts.board))?;
    fs::create_dir_all(repo.join("bsp"))?;
    bsp(&repo)?;
    Ok(repo)
}

fn place(dir: &Path, below: &str) -> Result<PathBuf> {
    let path = dir.join(below);
    fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}

/// All that it is made of, not yet committed; where that lies.
pub(crate) fn lay_out(parts: &Parts<'_>, dir: &Path, bsp: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let (repo, roots) = (begin(parts, dir, bsp)?, place(dir, "roots")?);
    let base = contents::base(parts.busybox)?;
    let tool = base.clone().file("bin/pvcontrol", 0o755, fs::read(parts.program)?);
    let make = |app: &App<'_>, tree| container(&roots, &repo, app, &tree);
    make(&App::new("heart", "root"), base.clone().file("bin/heart", 0o755, HEART))?;
    if let Some(serial) = parts.serial {
        make(&App { keeps: "net_admin", ..App::new("link", "root") }, base.file("bin/link", 0o755, LINK))?;
        let entry = format!("lxc.mount.entry = /dev/{serial} dev/serial none bind,create=file 0 0\n");
        // Whoever sits at this line may look at the whole device: `cairn selftest board`.
        let shell = App {
            role: Some("mgmt"),
            shares: "  pid",
            keeps: "sys_chroot sys_ptrace",
            ..App::new("shell", "platform")
        };
        let tree = tool.clone().file("bin/shell", 0o755, SHELL).link("bin/cairn", "pvcontrol");
        make(&App { more: &entry, ..shell }, tree)?;
    }
    make(&App { goal: "READY", ..App::new("ready", "platform") }, tool.file("bin/ready", 0o755, READY))?;
    Ok(repo)
}

/// The public half of the key in a configuration of `pvr`.
fn public(keys: &Path) -> PathBuf {
    keys.join("pvs/pub.default.pem")
}

/// The same, made if there is none: a base system holds the key that signs it, so the key has to be there first, and
/// what makes one is a commit. `work` is an empty directory for that.
pub(crate) fn key(pvr: &Path, keys: &Path, work: &Path) -> Result<PathBuf> {
    let public = public(keys);
    if !public.exists() {
        fs::create_dir_all(keys).with_context(|| format!("cannot create {}", keys.display()))?;
        let pvr = |args: &[&str]| quiet(tools::pvr(pvr, keys, work).args(args));
        pvr(&["init"])?;
        write(work, "device.json", &device("host"))?;
        pvr(&["add", "."])?;
        pvr(&["commit", "-m", "key"])?;
    }
    Ok(public)
}

/// A container whose first process is `/bin/NAME`.
struct App<'a> {
    name: &'a str,
    group: &'a str,
    goal: &'a str,
    /// The capabilities that it keeps.
    keeps: &'a str,
    role: Option<&'a str>,
    /// Namespaces of the device that it has, beside those of every app.
    shares: &'a str,
    /// Further lines of its configuration.
    more: &'a str,
}

impl<'a> App<'a> {
    fn new(name: &'a str, group: &'a str) -> Self {
        Self { name, group, goal: "STARTED", keeps: "none", role: None, shares: "", more: "" }
    }
}

fn container(roots: &Path, repo: &Path, app: &App<'_>, tree: &Tree) -> Result<()> {
    let App { name, group, goal, .. } = app;
    let (root, dir) = (roots.join(name), repo.join(name));
    fs::create_dir_all(&root)?;
    tree.write(&root)?;
    fs::create_dir(&dir)?;
    squashfs(&root, &dir.join("root.squashfs"))?;
    let run = json!({
        "#spec": "service-manifest-run@1", "name": name, "type": "lxc", "config": "lxc.container.conf", "group": group,
        "status_goal": goal, "root-volume": "root.squashfs", "volumes": [],
        "roles": app.role.into_iter().collect::<Vec<_>>(),
        "storage": { "lxc-overlay": { "persistence": "boot" } },
        "drivers": { "required": [], "optional": [], "manual": [] },
    });
    write(repo, &format!("{name}/run.json"), &run)?;
    fs::write(dir.join("lxc.container.conf"), configuration(app))?;
    Ok(())
}

/// What `pvr app add` writes for an app without wishes, as far as these need it.
fn configuration(app: &App<'_>) -> String {
    let App { name, keeps, shares, more, .. } = app;
    format!(
        "lxc.tty.max = 8\n\
         lxc.pty.max = 1024\n\
         lxc.rootfs.path = overlayfs:/volumes/{name}/root.squashfs:/volumes/{name}/lxc-overlay/upper\n\
         lxc.init.cmd = /bin/{name}\n\
         lxc.environment = PATH=/bin\n\
         lxc.namespace.keep = user  net  ipc{shares}\n\
         lxc.mount.auto = proc  sys:ro  cgroup\n\
         lxc.mount.entry = tmpfs run tmpfs rw,nodev,relatime,create=dir,mode=755 0 0\n\
         {more}\
         lxc.cap.keep = {keeps}\n\
         lxc.no_new_privs = 1\n"
    )
}

/// The four default groups. An app has less time and fewer chances than on a product, for the same reason as above.
fn device(board: &str) -> Value {
    let system = |name: &str, goal: &str| json!({ "name": name, "status_goal": goal, "restart_policy": "system", "timeout": 30 });
    let app = json!({
        "name": "app", "status_goal": "STARTED", "restart_policy": "container", "timeout": 10,
        "auto_recovery": {
            "policy": "on-failure", "max_retries": 2, "retry_delay": 1, "backoff_factor": 2,
            "stable_timeout": COMMIT_DELAY, "backoff_policy": "never",
        },
    });
    let groups = [system("data", "MOUNTED"), system("root", "STARTED"), system("platform", "STARTED"), app];
    json!({ "groups": groups, "compatible": [format!("{board}/{LINE}")] })
}

fn write(repo: &Path, path: &str, value: &Value) -> Result<()> {
    fs::write(repo.join(path), format!("{value:#}\n")).with_context(|| format!("cannot write {path}"))
}
