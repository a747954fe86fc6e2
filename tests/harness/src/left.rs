//! What a test may not leave behind.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};

use crate::Result;

/// How deep the groups of tests lie, from where the kernel shows them.
const DEEPEST: u32 = 4;

/// How many descriptors are open.
pub(crate) fn descriptors() -> Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

/// Files behind loop devices of this machine.
///
/// # Errors
/// The kernel does not list its devices.
pub fn loop_files() -> Result<Vec<String>> {
    let mut files = Vec::new();
    for device in fs::read_dir("/sys/block")? {
        // A device that is free has no such file.
        if let Ok(file) = fs::read_to_string(device?.path().join("loop/backing_file")) {
            files.push(file.trim().to_owned());
        }
    }
    Ok(files)
}

/// Control groups of this machine, in every tree, whose path ends so. Other tests make and remove theirs meanwhile, so one
/// that is gone when it is looked into is passed over.
#[must_use]
pub fn groups(ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    below(Path::new("/sys/fs/cgroup"), DEEPEST, &mut |group| {
        if group.ends_with(ending) {
            found.push(group.to_owned());
        }
    });
    found
}

fn below(dir: &Path, levels: u32, visit: &mut dyn FnMut(&Path)) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for group in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        visit(&group.path());
        if levels > 1 {
            below(&group.path(), levels - 1, visit);
        }
    }
}

/// No mount, loop device, group, process, descriptor or file of a test is left when it is over. `before` is the number
/// of descriptors that were open before it.
///
/// # Errors
/// What is left.
pub fn invariant_nothing_is_left(name: &str, before: usize) -> Result {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    if mounts.contains(name) {
        return Err(format!("left mounted:\n{mounts}").into());
    }
    if let Some(file) = loop_files()?.iter().find(|file| file.contains(name)) {
        return Err(format!("a loop device is left, of {file}").into());
    }
    let groups = groups(name);
    if !groups.is_empty() {
        return Err(format!("groups are left: {groups:?}").into());
    }
    let child = wait(WaitOptions::NOHANG);
    if !matches!(child, Err(Errno::CHILD)) {
        return Err(format!("a process is left: {child:?}").into());
    }
    let after = descriptors()?;
    if after != before {
        return Err(format!("descriptors are left: {before} were open before, {after} are now").into());
    }
    let files = std::env::temp_dir().join(name);
    if files.exists() {
        return Err(format!("files are left: {}", files.display()).into());
    }
    Ok(())
}
