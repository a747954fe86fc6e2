//! The factory state of the demonstration device, made with `pvr` as a product is: files, `add`, `commit` (which signs),
//! `deploy`.
//!
//! ```text
//!   device.json            the four groups, and the product that the state fits
//!   bsp/                   kernel and initramfs; on a host the initramfs is the program `cairn`
//!   heart/                 group root: says every second that it lives
//!   ready/                 group platform: counts as started when it says so, through pv-ctrl
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::image::contents;
use super::image::tree::Tree;
use super::scene::Scene;
use super::tools::{Tools, quiet, squashfs};

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

/// A state on its way into a device.
pub(crate) struct Factory {
    /// `objects/` and `trails/0`.
    pub(crate) storage: PathBuf,
    /// The public half of the key that signed it.
    pub(crate) trust: PathBuf,
    /// The configuration of `pvr`, with that key.
    pub(crate) keys: PathBuf,
}

impl Factory {
    pub(crate) fn make(scene: &Scene, tools: &Tools) -> Result<Self> {
        let (repo, keys, storage) = (scene.place("factory")?, scene.place("keys")?, scene.place("storage/trails")?);
        let pvr = |args: &[&str]| quiet(tools.pvr(&keys, &repo).args(args));
        pvr(&["init"])?;
        write(&repo, "device.json", &device())?;
        fs::create_dir(repo.join("bsp"))?;
        write(&repo, "bsp/run.json", &json!({ "linux": "kernel.img", "initrd": "pantavisor" }))?;
        fs::write(repo.join("bsp/kernel.img"), "The host's own kernel runs; another text here is another base.\n")?;
        fs::copy(&tools.cairn, repo.join("bsp/pantavisor")).context("cannot copy the program of the device")?;
        let base = contents::base()?;
        let control = fs::read(&tools.cairn)?;
        container(scene, &repo, "heart", "root", "STARTED", &base.clone().file("bin/heart", 0o755, HEART))?;
        let ready = base.file("bin/ready", 0o755, READY).file("bin/pvcontrol", 0o755, control);
        container(scene, &repo, "ready", "platform", "READY", &ready)?;
        pvr(&["add", "."])?;
        pvr(&["commit", "-m", "factory"])?;
        pvr(&["deploy", &storage.join("0").to_string_lossy()])?;
        Ok(Self { storage: scene.path("storage"), trust: keys.join("pvs/pub.default.pem"), keys })
    }
}

/// A container whose first process is `/bin/NAME`.
fn container(scene: &Scene, repo: &Path, name: &str, group: &str, goal: &str, tree: &Tree) -> Result<()> {
    let (root, dir) = (scene.place(&format!("roots/{name}"))?, repo.join(name));
    tree.write(&root)?;
    fs::create_dir(&dir)?;
    squashfs(&root, &dir.join("root.squashfs"))?;
    let run = json!({
        "#spec": "service-manifest-run@1", "name": name, "type": "lxc", "config": "lxc.container.conf", "group": group,
        "status_goal": goal, "root-volume": "root.squashfs", "volumes": [], "roles": [],
        "storage": { "lxc-overlay": { "persistence": "boot" } },
        "drivers": { "required": [], "optional": [], "manual": [] },
    });
    write(repo, &format!("{name}/run.json"), &run)?;
    fs::write(dir.join("lxc.container.conf"), configuration(name))?;
    Ok(())
}

/// What `pvr app add` writes for an app without wishes, as far as these two need it.
fn configuration(name: &str) -> String {
    format!(
        "lxc.tty.max = 8\n\
         lxc.pty.max = 1024\n\
         lxc.rootfs.path = overlayfs:/volumes/{name}/root.squashfs:/volumes/{name}/lxc-overlay/upper\n\
         lxc.init.cmd = /bin/{name}\n\
         lxc.environment = PATH=/bin\n\
         lxc.namespace.keep = user  net  ipc\n\
         lxc.mount.auto = proc  sys:ro  cgroup\n\
         lxc.mount.entry = tmpfs run tmpfs rw,nodev,relatime,create=dir,mode=755 0 0\n\
         lxc.cap.keep = none\n\
         lxc.no_new_privs = 1\n"
    )
}

/// The four default groups. An app has less time and fewer chances than on a product, for the same reason as above.
fn device() -> Value {
    let system = |name: &str, goal: &str| json!({ "name": name, "status_goal": goal, "restart_policy": "system", "timeout": 30 });
    let app = json!({
        "name": "app", "status_goal": "STARTED", "restart_policy": "container", "timeout": 10,
        "auto_recovery": {
            "policy": "on-failure", "max_retries": 2, "retry_delay": 1, "backoff_factor": 2,
            "stable_timeout": COMMIT_DELAY, "backoff_policy": "never",
        },
    });
    let groups = [system("data", "MOUNTED"), system("root", "STARTED"), system("platform", "STARTED"), app];
    json!({ "groups": groups, "compatible": [format!("host/{LINE}")] })
}

fn write(repo: &Path, path: &str, value: &Value) -> Result<()> {
    fs::write(repo.join(path), format!("{value:#}\n")).with_context(|| format!("cannot write {path}"))
}
