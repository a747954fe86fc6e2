//! The role of the child: becomes the container, step by step, and executes its program.
//!
//! ```text
//!   launch ─▶ cgroups ─▶ own namespaces ─▶ sources opened ─▶ root assembled ─▶ /dev /proc /sys, mounts, masks
//!                                        └ while only the device is in sight ┘
//!        ─▶ exports ─▶ pivot ─▶ limits ─▶ user, groups, capabilities, seccomp ─▶ exec
//! ```
//!
//! With users of its own, the stage is two processes from the second step on. The one that PID 1 has started keeps the
//! rights of the device and builds; its *heir*, in the user namespace, waits, takes over what was built, and executes
//! (`users.rs`). PID 1 is the parent of both.
//!
//! Promises:
//! * No path of the device is looked up once the root of the container is in place, and no path of the container is
//!   looked up but beneath that root (`target.rs`): a symbolic link in an image leads nowhere else.
//! * Nothing it mounts is seen by the device but what the launch exports (`exports.rs`).
//! * The first step that fails is the last: it is reported as a [`Failure`] and the process exits with
//!   [`EXIT_CODE`]. No step is passed over but the optional mounts of the launch.
//!
//! One thread, started by [`spawn`](mod@crate::spawn) in a cgroup and all namespaces but that of cgroups.

mod enter;
mod exports;
mod kernel;
mod mounts;
mod process;
mod root;
mod target;
mod terminal;
mod users;

use std::fs::File;
use std::io::Read;
use std::process::ExitCode;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags};

use crate::failure::{EXIT_CODE, FRAME_MAX, Failure, Step, at};
use crate::launch::{LAUNCH_MAX, Launch};
use crate::{spawn, sys};
use users::{Divided, Heir};

/// The main of the role. Returns only if something failed, or if another process has become the container. To be called
/// first thing in the process, and once.
#[must_use]
pub fn main() -> ExitCode {
    let code = u8::try_from(EXIT_CODE).map_or(ExitCode::FAILURE, ExitCode::from);
    // Not started by `spawn`, so there is nobody to tell why; 2 is the code for a wrong call.
    let Some(inherited) = sys::inherited() else { return ExitCode::from(2) };
    if std::env::args_os().next_back().is_some_and(|last| last == spawn::ENTER) {
        return enter::main(inherited, code);
    }
    let sys::Inherited { launch, error, fifth } = inherited;
    let Err(failure) = run(launch, &error, fifth) else { return ExitCode::SUCCESS };
    // If PID 1 does not listen any more there is nobody left to tell.
    let _ = rustix::io::write(error, failure.encode(&mut [0; FRAME_MAX]));
    code
}

/// `Ok` says that the work of this process is done, and another one goes on.
fn run(launch: OwnedFd, channel: &OwnedFd, way: Option<OwnedFd>) -> Result<(), Failure> {
    let launch = read(launch)?;
    if launch.users.is_none() {
        wait(channel)?;
    }
    join(&launch.cgroups, launch.process.oom_score_adj)?;
    let heir = match users::divide(&launch, way)? {
        Divided::No => None,
        Divided::Builder(heir) => Some(heir),
        Divided::Heir(heritage) => return heritage.enter(&launch.process),
    };
    if heir.is_some() {
        // What is held are the namespaces of the heir, which PID 1 knows by now.
        wait(channel)?;
    }
    let heir = heir.as_ref();
    let showcase = exports::Showcase::find(&launch)?;
    separate(&launch, heir)?;
    let showcase = showcase.map(exports::Showcase::settle).transpose()?;
    let nodes = kernel::open_nodes(&launch)?;
    let mut sources = mounts::open_sources(&launch.mounts, showcase.as_ref(), heir)?;
    // Whatever is made from here on is the container's, and belongs to its root.
    heir.map_or(Ok(()), Heir::make_files_as_its_root)?;
    mounts::make_sources(&launch.mounts, &mut sources, heir)?;
    let root = root::assemble(&launch.root, heir)?;
    let console = kernel::mount(&launch, nodes, &root, heir)?;
    mounts::attach(&launch.mounts, sources, &root, showcase.as_ref())?;
    kernel::hide(&launch, &root)?;
    mounts::harden(&launch.hardened, &root)?;
    exports::show(&launch.exports, &root, showcase.as_ref())?;
    drop(showcase);
    pivot(&root)?;
    drop(root);
    match heir {
        Some(heir) => heir.bequeath(&launch.process, console.as_ref()),
        None => {
            console.as_ref().map_or(Ok(()), terminal::speak_through)?;
            process::limit(&launch.process, None)?;
            process::become_it(&launch.process).map(|never| match never {})
        }
    }
}

/// Waits, if this container is held, until it may go on.
fn wait(channel: &OwnedFd) -> Result<(), Failure> {
    if std::env::args_os().nth(2).is_none_or(|word| word.as_encoded_bytes() != spawn::HELD.to_bytes()) {
        return Ok(());
    }
    let failed = |errno| Failure::new(Step::Namespace, "(network)", errno);
    let mut word = [0];
    match rustix::io::retry_on_intr(|| rustix::io::read(channel, &mut word)).map_err(failed)? {
        1 if word == [spawn::GO] => Ok(()),
        // Whoever was to connect it is gone.
        _ => Err(failed(Errno::PIPE)),
    }
}

fn read(memory: OwnedFd) -> Result<Launch, Failure> {
    Launch::decode(&sealed(memory)?).map_err(|_| Failure::new(Step::Launch, "", Errno::BADMSG))
}

/// What PID 1 has written, and nobody can have changed.
fn sealed(memory: OwnedFd) -> Result<Vec<u8>, Failure> {
    let seals = rustix::fs::fcntl_get_seals(&memory).map_err(at(Step::Launch, ""))?;
    if !seals.contains(spawn::seals()) {
        return Err(Failure::new(Step::Launch, "", Errno::PERM));
    }
    // The writer has left the position at the end.
    rustix::fs::seek(&memory, rustix::fs::SeekFrom::Start(0)).map_err(at(Step::Launch, ""))?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(LAUNCH_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::from(memory).take(limit).read_to_end(&mut bytes).map_err(|error| failed(Step::Launch, "", &error))?;
    Ok(bytes)
}

/// Joins the v1 cgroups, and is as readily ended as they say when memory runs out.
fn join(cgroups: &[String], oom_score_adj: i16) -> Result<(), Failure> {
    for dir in cgroups {
        // This process has one thread. To move that by itself is all of it, and for that the kernel does not hold up every
        // fork of the machine, which takes it a grace period of RCU: ten milliseconds and more.
        write(Step::Cgroup, &format!("{dir}/tasks"), "0")?;
    }
    write(Step::Cgroup, "/proc/self/oom_score_adj", &oom_score_adj.to_string())
}

/// Keys of the device (of encrypted disks, say) are found through the session of the process that loaded them.
fn leave_keys() -> Result<(), Failure> {
    match sys::new_session_keyring() {
        // A kernel without keys has none to protect.
        Ok(()) | Err(Errno::NOSYS) => Ok(()),
        Err(errno) => Err(Failure::new(Step::Namespace, "(keys)", errno)),
    }
}

fn separate(launch: &Launch, heir: Option<&Heir>) -> Result<(), Failure> {
    if let Some(heir) = heir {
        heir.follow(launch.namespaces)?;
    } else if launch.namespaces.cgroup {
        // Only now: the namespace begins where the process is.
        sys::unshare_cgroup().map_err(at(Step::Namespace, "(cgroup namespace)"))?;
    }
    if launch.namespaces.net {
        // A network of its own begins without even a way to itself.
        crate::network::bring_up("lo").map_err(at(Step::Namespace, "lo"))?;
    }
    if heir.is_none() {
        leave_keys()?;
    }
    if let Some(name) = &launch.hostname {
        rustix::system::sethostname(name.as_bytes()).map_err(at(Step::Namespace, name))?;
    }
    // Each of these files is that of the namespace of whoever opens it.
    for (name, value) in &launch.sysctls {
        let set = || write(Step::Sysctl, &format!("/proc/sys/{name}"), value);
        match (set(), heir) {
            // Some ask for root of whom the namespace belongs to, and for nobody else.
            (Err(failure), Some(heir)) if failure.errno == Errno::ACCESS.raw_os_error() => heir.as_its_root(set)??,
            (done, _) => done?,
        }
    }
    // What the device mounts later may still come in, where a launch says so; nothing goes out.
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).map_err(at(Step::Namespace, "/"))
}

/// Makes the assembled root the root of the process, and lets go of that of the device.
fn pivot(root: &OwnedFd) -> Result<(), Failure> {
    let step = || at(Step::Pivot, "/");
    rustix::process::fchdir(root).map_err(step())?;
    match rustix::process::pivot_root(".", ".") {
        // The old root now lies on top of the new one, which is still the current directory.
        Ok(()) => rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(step())?,
        // On an initramfs: its root cannot be moved away. It holds nothing but this program; what is mounted on it is
        // let go, and the new root covers it.
        Err(Errno::INVAL) => root::cover(root)?,
        Err(errno) => return Err(at(Step::Pivot, "/")(errno)),
    }
    rustix::process::chdir("/").map_err(step())
}

/// One write to a file of the kernel.
fn write(step: Step, path: &str, value: &str) -> Result<(), Failure> {
    std::fs::write(path, value).map_err(|error| failed(step, path, &error))
}

/// The failure of a call of the standard library.
fn failed(step: Step, path: &str, error: &std::io::Error) -> Failure {
    Failure::new(step, path, Errno::from_io_error(error).unwrap_or(Errno::IO))
}
