//! What this process gives up before it reads the first byte of anybody.
//!
//! | given up | so that an attacker in here |
//! |---|---|
//! | user, group, groups, capabilities, ambient and bounding set | is nobody to the kernel, and stays so |
//! | new privileges, core files, being traced | gains nothing by executing, crashing or attaching |
//! | memory and descriptors beyond a bound | cannot starve the device |
//! | system calls beyond those of [`filter`] | can open, connect, execute and fork nothing |
//!
//! What is left is to ask PID 1 on the sockets it was given. Each step must succeed: a helper that could not be confined
//! does not run.

mod filter;

use std::io;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior, set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::sys;

/// The user that the helper becomes. No file of a device belongs to it, and no container is given it.
pub const USER: u32 = 4711;
/// Its group.
pub const GROUP: u32 = 4711;

/// Address space in bytes. One state at a time is parsed here (2 MiB of text, some 5 MiB of tree); the rest is stacks and
/// what an allocator reserves for a second thread.
const MEMORY: u64 = 256 * 1024 * 1024;
/// Open descriptors: the places of `serve`, and a listener for each container.
const DESCRIPTORS: u64 = 512;

/// Confines the calling process, which has one thread only at this time.
///
/// # Errors
/// The first step that failed, by its name.
pub(crate) fn confine() -> io::Result<()> {
    let bound = |resource, value| {
        named("limit resources", setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) }))
    };
    bound(Resource::As, MEMORY)?;
    bound(Resource::Nofile, DESCRIPTORS)?;
    bound(Resource::Core, 0)?;
    named("refuse new privileges", set_no_new_privs(true))?;
    named("clear the ambient set", clear_ambient_capability_set())?;
    named("empty the bounding set", empty_bounding_set())?;
    let (user, group) = (Uid::from_raw(USER), Gid::from_raw(GROUP));
    named("leave all groups", set_thread_groups(&[]))?;
    named("change the group", set_thread_res_gid(group, group, group))?;
    named("change the user", set_thread_res_uid(user, user, user))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    named("drop all capabilities", set_capabilities(None, none))?;
    named("be no longer traced", set_dumpable_behavior(DumpableBehavior::NotDumpable))?;
    // After the change of the user, which resets it.
    named("end with PID 1", set_parent_process_death_signal(Some(Signal::KILL)))?;
    named("filter system calls", sys::install_filter(&filter::program()))
}

/// Up to the last capability that this kernel knows, not that this program does.
fn empty_bounding_set() -> Result<(), Errno> {
    for bit in 0..64 {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit)) {
            Ok(()) => {}
            Err(Errno::INVAL) if bit > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn named(step: &str, result: Result<(), Errno>) -> io::Result<()> {
    result.map_err(|error| io::Error::other(format!("cannot {step}: {error}; start it as root, from PID 1")))
}
