//! `linux`, but for resources and the filter of system calls.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::Translated;
use crate::document::Document;
use crate::spec::{Device, IdMapping, Namespace};

pub(super) fn translate(document: &mut Document, all: &mut Translated) -> Result<()> {
    let users = namespaces(&document.take::<Vec<Namespace>>("/linux/namespaces")?.unwrap_or_default(), all)?;
    for (member, kind) in [("uidMappings", "u"), ("gidMappings", "g")] {
        let maps: Vec<IdMapping> = document.take(&format!("/linux/{member}"))?.unwrap_or_default();
        ensure!(users || maps.is_empty(), "/linux/{member}: there is no user namespace for it");
        ensure!(!users || !maps.is_empty(), "/linux/{member}: users of its own need one");
        for map in maps {
            all.say("lxc.idmap", format!("{kind} {} {} {}", map.container, map.host, map.size));
        }
    }
    let settings: BTreeMap<String, String> = document.take("/linux/sysctl")?.unwrap_or_default();
    for (name, value) in settings {
        all.say(&format!("lxc.sysctl.{name}"), value);
    }
    all.masked = document.take("/linux/maskedPaths")?.unwrap_or_default();
    all.read_only = document.take("/linux/readonlyPaths")?.unwrap_or_default();
    if let Some(path) = all.masked.iter().chain(&all.read_only).find(|path| !path.starts_with('/')) {
        anyhow::bail!("/linux: {path:?} is to be masked or read-only, and is no absolute path");
    }
    if let Some(propagation) = document.take::<String>("/linux/rootfsPropagation")? {
        let own = matches!(propagation.as_str(), "private" | "rprivate");
        ensure!(own, "/linux/rootfsPropagation: {propagation:?}: no key of LXC says this; a root is private");
    }
    if let Some(path) = document.take::<String>("/linux/cgroupsPath")? {
        all.say("lxc.cgroup.dir", path);
    }
    let mut seen = BTreeSet::new();
    for device in document.take::<Vec<Device>>("/linux/devices")?.unwrap_or_default() {
        ensure!(seen.insert(device.path.clone()), "/linux/devices: {} is there twice", device.path.display());
        node(&device, all)?;
    }
    Ok(())
}

/// The word of a configuration for a kind of namespace.
fn word(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "mount" => "mnt",
        "cgroup" => "cgroup",
        "uts" => "uts",
        "ipc" => "ipc",
        "user" => "user",
        "pid" => "pid",
        "network" => "net",
        _ => return None,
    })
}

/// Whether it has users of its own.
fn namespaces(own: &[Namespace], all: &mut Translated) -> Result<bool> {
    let mut seen = BTreeSet::new();
    for one in own {
        let kind =
            word(&one.kind).with_context(|| format!("/linux/namespaces: {}: no key of LXC says this", one.kind))?;
        ensure!(seen.insert(kind), "/linux/namespaces: {kind} is there twice");
        if let Some(path) = &one.path {
            all.say(&format!("lxc.namespace.share.{kind}"), path.display());
        }
    }
    let kept: Vec<_> =
        ["user", "mnt", "cgroup", "uts", "ipc", "pid", "net"].into_iter().filter(|kind| !seen.contains(kind)).collect();
    if !kept.is_empty() {
        all.say("lxc.namespace.keep", kept.join(" "));
    }
    Ok(seen.contains("user"))
}

/// A node of the machine, mounted where the bundle wants it. LXC has no other way than this one.
fn node(device: &Device, all: &mut Translated) -> Result<()> {
    let path = &device.path;
    let place = path.display();
    let host = std::fs::metadata(path).ok().filter(|node| {
        let kind = match device.kind.as_str() {
            "b" => node.file_type().is_block_device(),
            "c" | "u" => node.file_type().is_char_device(),
            _ => false,
        };
        let (major, minor) = (rustix::fs::major(node.rdev()), rustix::fs::minor(node.rdev()));
        kind && device.major.zip(device.minor) == Some((major, minor))
    });
    let host = host.with_context(|| {
        format!("/linux/devices: {place}: no key of LXC makes a node, and the machine has none like it there")
    })?;
    let as_it_is = device.file_mode.is_none_or(|mode| mode & 0o7777 == host.mode() & 0o7777)
        && device.uid.is_none_or(|uid| uid == host.uid())
        && device.gid.is_none_or(|gid| gid == host.gid());
    ensure!(as_it_is, "/linux/devices: {place}: no key of LXC changes mode or owner of a node");
    let target = path.strip_prefix("/dev").map(|rest| Path::new("dev").join(rest));
    let target = target.with_context(|| format!("/linux/devices: {place}: no key of LXC has nodes outside of /dev"))?;
    all.say("lxc.mount.entry", format!("{place} {} none bind,create=file 0 0", target.display()));
    Ok(())
}
