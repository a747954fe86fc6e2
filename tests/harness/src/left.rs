//! What a test may not leave behind.

use std::fs;

use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};

use crate::{Result, host};

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
    let groups = host("find", &["/sys/fs/cgroup", "-maxdepth", "3", "-name", name])?;
    if !groups.is_empty() {
        return Err(format!("groups are left:\n{groups}").into());
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
