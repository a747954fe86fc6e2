//! `mounts`: entries, and what every container of the engine has without one.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use formats::lxc::{Create, Item, MountEntry, MountOption};

use super::Translated;
use crate::document::Document;
use crate::spec::Mount;

/// What `lxc.autodev` mounts, and what a bundle may say of it: that is what it is in any case.
const OWN: &[(&str, &str, &[&str])] = &[
    ("/dev", "tmpfs", &["nosuid", "noexec", "strictatime", "mode=755"]),
    ("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
];

/// What LXC says of mounts that come later; a bind mount understands it, and a new file system has none.
const SPREAD: [&str; 8] = ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"];

pub(super) fn translate(document: &mut Document, all: &mut Translated, bundle: &Path) -> Result<()> {
    all.say("lxc.autodev", 1);
    for mount in document.take::<Vec<Mount>>("/mounts")?.unwrap_or_default() {
        one(&mount, all, bundle)?;
    }
    Ok(())
}

fn one(mount: &Mount, all: &mut Translated, bundle: &Path) -> Result<()> {
    let target = mount.destination.as_str();
    ensure!(target.starts_with('/'), "/mounts: {target:?} is no absolute path");
    ensure!(
        mount.uid_mappings.is_empty() && mount.gid_mappings.is_empty(),
        "/mounts: {target}: no key of LXC maps ids of one mount"
    );
    let fstype = mount.kind.as_deref().unwrap_or("none");
    let options: Vec<&str> = mount.options.iter().map(String::as_str).collect();
    if let Some((_, _, known)) = OWN.iter().find(|(path, kind, _)| (*path, *kind) == (target, fstype)) {
        for option in options {
            match option.strip_prefix("size=").map(size) {
                Some(Some(size)) if target == "/dev" => all.say("lxc.autodev.tmpfs.size", size),
                _ if known.contains(&option) => {}
                _ => bail!("/mounts: {target}: {option}: no key of LXC says this of it"),
            }
        }
        return Ok(());
    }
    // The tree that every group is in, whatever other trees the machine has.
    let fstype = if fstype == "cgroup" { "cgroup2" } else { fstype };
    let bind = options.iter().any(|option| matches!(*option, "bind" | "rbind"));
    if let Some(option) = options.iter().find(|option| !bind && SPREAD.contains(option)) {
        bail!("/mounts: {target}: {option}: a new file system is private, and no key of LXC says this of it");
    }
    let mut source = mount.source.clone().unwrap_or_else(|| fstype.into());
    if bind && source.is_relative() {
        source = bundle.join(source);
    }
    let create = if bind && !source.is_dir() { Create::File } else { Create::Dir };
    let text = |path: &Path| path.to_str().map(str::to_owned).context("/mounts: a source that is no text");
    let kernel = options.iter().map(|option| MountOption::Kernel((*option).to_owned()));
    all.item(&Item::Mount(MountEntry {
        source: text(&source)?,
        target: target.trim_matches('/').to_owned(),
        fstype: if bind { "none".to_owned() } else { fstype.to_owned() },
        options: kernel.chain([MountOption::Create(create)]).collect(),
    }));
    Ok(())
}

/// Bytes, as `tmpfs` reads them.
fn size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1024),
        None => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}
