//! What every world stands on: a directory, an image with BusyBox in it, and a group of cgroups.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use container::cgroup::{Instance, Trees};
use container::reaper;

use crate::{PATIENCE, Result};

/// See the module. When it is dropped, processes, groups and files are gone; mounts are its user's.
pub struct Ground {
    /// Part of every path and group of it, and of nothing else on this machine.
    pub name: String,
    /// Its files: the image is the directory `image` in it.
    pub dir: PathBuf,
    /// Where its groups are.
    pub instance: Instance,
}

impl Ground {
    /// Makes it; the programs of the image are links to BusyBox.
    ///
    /// # Errors
    /// What is missing on this machine, and what to do.
    pub fn new(kind: &str, applets: &[&str]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            return Err("needs root, for namespaces, mounts and cgroups: run it as root".into());
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        let busybox = busybox.ok_or("needs /bin/busybox, linked statically: run `cargo xtask setup`")?;
        let name = format!("cairn-{kind}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&name);
        let instance = Instance::open(&Trees::detect()?, &name)?;
        let ground = Self { name, dir, instance };
        let image = ground.dir.join("image");
        for below in ["bin", "dev", "etc", "proc", "srv", "sys", "tmp"] {
            fs::create_dir_all(image.join(below))?;
        }
        fs::copy(busybox, image.join("bin/busybox"))?;
        for applet in applets {
            symlink("busybox", image.join("bin").join(applet))?;
        }
        Ok(ground)
    }

    /// A path in its directory, as a configuration has it.
    #[must_use]
    pub fn path(&self, below: &str) -> String {
        self.dir.join(below).display().to_string()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // What a failed test has left; what this cannot end is found by the invariant.
        let _ = self.instance.sweep(PATIENCE);
        while let Ok(Some(_)) = reaper::next() {}
        let _ = self.instance.clone().remove();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Runs a program of this machine, and gives what it said.
///
/// # Errors
/// It is not installed, or it failed: with what it said.
pub fn host(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .output()
        .map_err(|error| format!("{program}: {error}; run `cargo xtask setup`"))?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(text) } else { Err(format!("{program} {args:?}: {text}").into()) }
}
