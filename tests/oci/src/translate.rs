//! From a `config.json` to what the engine is told of a container: lines of `lxc.container.conf`, and the little that has no
//! key and is the engine's all the same.
//!
//! ```text
//!   process.args, .cwd, .env, .user        lxc.init.*, lxc.environment
//!   process.capabilities, .rlimits, …      lxc.cap.*, lxc.prlimit.*, lxc.no_new_privs, lxc.proc.oom_score_adj
//!   linux.namespaces, uid- and gidMappings lxc.namespace.keep, lxc.idmap
//!   linux.resources                        lxc.cgroup.*, lxc.cgroup2.*
//!   linux.sysctl, .seccomp                 lxc.sysctl.*, lxc.seccomp.profile
//!   mounts                                 lxc.mount.entry, lxc.autodev
//!   linux.maskedPaths, .readonlyPaths      the launch: a configuration has fixed lists of these
//! ```
//!
//! What a bundle says and these cannot say is an error; so is what the engine refuses of them, in its own words.

mod linux;
mod mounts;
mod process;
mod resources;
mod seccomp;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::document::Document;
use crate::spec::Root;
use anyhow::{Context as _, Result, ensure};

/// The file of the compiled filter, beside the configuration.
pub(crate) const FILTER: &str = "seccomp.bpf";

/// What a bundle comes to.
#[derive(Default)]
pub(crate) struct Translated {
    lines: Vec<String>,
    /// Its root on the machine, perhaps relative to the bundle.
    pub(crate) root: PathBuf,
    /// Paths in the container that appear empty.
    pub(crate) masked: Vec<String>,
    /// Paths in the container that appear read-only.
    pub(crate) read_only: Vec<String>,
    /// A compiled filter.
    pub(crate) filter: Option<Vec<u8>>,
    /// What only names it.
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Translated {
    /// Translates all of a configuration. `id` names the container, `bundle` is where relative paths begin.
    pub(crate) fn of(mut document: Document, id: &str, bundle: &Path) -> Result<Self> {
        let mut all = Self::default();
        let root: Root = document.take("/root")?.context("/root: a container has one")?;
        all.root = bundle.join(&root.path);
        ensure!(all.root.is_dir(), "/root/path: {} is no directory", all.root.display());
        let image = format!("/volumes/{id}/root.squashfs");
        if root.readonly {
            all.say("lxc.rootfs.path", image);
        } else {
            all.say("lxc.rootfs.path", format!("overlayfs:{image}:/volumes/{id}/lxc-overlay/upper"));
        }
        all.annotations = document.take("/annotations")?.unwrap_or_default();
        process::translate(&mut document, &mut all)?;
        linux::translate(&mut document, &mut all)?;
        resources::translate(&mut document, &mut all)?;
        seccomp::translate(&mut document, &mut all)?;
        mounts::translate(&mut document, &mut all, bundle)?;
        document.finish()?;
        for line in &all.lines {
            ensure!(!line.contains(char::is_control), "{line:?}: no line of a configuration has control characters");
        }
        Ok(all)
    }

    /// The configuration.
    pub(crate) fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn say(&mut self, key: &str, value: impl Display) {
        self.lines.push(format!("{key} = {value}"));
    }

    /// A line in the words of the project's own writer.
    fn item(&mut self, item: &formats::lxc::Item) {
        self.lines.push(item.to_string());
    }
}
