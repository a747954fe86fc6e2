//! The last part of the stage: limits, user, capabilities, filter, exec. Each step takes rights away that the steps
//! before it needed, so their order is fixed.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Pid, Resource as Kernel, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::failure::{Failure, Step, at};
use crate::launch::{Capabilities, Output, Process, Resource};
use crate::sys;

/// Becomes the container.
pub(super) fn become_it(process: &Process) -> Result<Infallible, Failure> {
    settle(process)?;
    prepare(process)?;
    Err(execute(process))
}

/// Takes away every right but those of the container's program, which comes next. Its limits are set before: who has users
/// of its own may not raise any.
pub(super) fn settle(process: &Process) -> Result<(), Failure> {
    if process.output == Output::Discard {
        let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        discard(null.map_err(at(Step::Exec, "/dev/null"))?).map_err(at(Step::Exec, "/dev/null"))?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // Without the promise to gain nothing, only a process that still may do everything can load a filter.
    let filter = process.seccomp.as_deref();
    if let (Some(filter), false) = (filter, process.no_new_privs) {
        sys::load_filter(filter).map_err(at(Step::Seccomp, ""))?;
    }
    take_on(process)?;
    // As the user that it is for: a directory that user may not enter is an error here, not a surprise later.
    rustix::process::chdir(process.cwd.as_str()).map_err(at(Step::Cwd, &process.cwd))?;
    if process.no_new_privs {
        rustix::thread::set_no_new_privs(true).map_err(at(Step::Capabilities, "(no new privileges)"))?;
        if let Some(filter) = filter {
            sys::load_filter(filter).map_err(at(Step::Seccomp, ""))?;
        }
    }
    Ok(())
}

/// Runs the programs that come before the container's, each to its end.
fn prepare(process: &Process) -> Result<(), Failure> {
    for hook in &process.hooks {
        let program = hook.first().map(String::as_str).unwrap_or_default();
        let ended = command(hook, process).status().map_err(|error| super::failed(Step::Exec, program, &error))?;
        if !ended.success() {
            // A signal as a shell tells it.
            let code = ended.code().or(ended.signal().map(|signal| 128 + signal)).unwrap_or_default();
            return Err(Failure::new(Step::Hook, program, Errno::from_raw_os_error(code)));
        }
    }
    Ok(())
}

/// Becomes the container's program, or says why not.
pub(super) fn execute(process: &Process) -> Failure {
    let program = process.argv.first().map(String::as_str).unwrap_or_default();
    match exact(program, process) {
        Ok(mut command) => super::failed(Step::Exec, program, &command.exec()),
        Err(failure) => failure,
    }
}

/// A program that has to be one of the machine's, unless it is a bare name, which is looked for along `PATH`.
fn exact(program: &str, process: &Process) -> Result<Command, Failure> {
    let mut command = command(&process.argv, process);
    if program.contains('/') {
        let text = |text: String| CString::new(text).map_err(|_| Failure::new(Step::Exec, program, Errno::INVAL));
        let args = process.argv.iter().cloned().map(text).collect::<Result<_, _>>()?;
        let env = process.env.iter().map(|(name, value)| text(format!("{name}={value}"))).collect::<Result<_, _>>()?;
        sys::execute_exactly(&mut command, text(program.to_owned())?, args, env);
    }
    Ok(command)
}

/// A program with the environment of the container. Its start also empties the signal mask and lets SIGPIPE end it again,
/// which our own runtime had changed.
fn command(argv: &[String], process: &Process) -> Command {
    let mut command = Command::new(argv.first().map(String::as_str).unwrap_or_default());
    command.args(argv.iter().skip(1)).env_clear().envs(process.env.iter().map(|(name, value)| (name, value)));
    command
}

/// Sets the limits of a process, or of this one.
pub(super) fn limit(process: &Process, pid: Option<Pid>) -> Result<(), Failure> {
    for limit in &process.limits {
        let value = rustix::process::Rlimit { current: limit.soft, maximum: limit.hard };
        rustix::process::prlimit(pid, kernel(limit.resource), value)
            .map_err(at(Step::Limit, &format!("{:?}", limit.resource)))?;
    }
    Ok(())
}

fn discard(null: impl rustix::fd::AsFd) -> Result<(), Errno> {
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}

/// User, groups and capabilities.
fn take_on(process: &Process) -> Result<(), Failure> {
    let Capabilities { bounding, ambient } = process.capabilities;
    let caps = || at(Step::Capabilities, "");
    for number in 0..64_u32 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::capability_is_in_bounding_set(one) {
            Ok(true) if bounding & one.bits() == 0 => {
                rustix::thread::remove_capability_from_bounding_set(one).map_err(caps())?;
            }
            Ok(_) => {}
            // The kernel's last one was before.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(caps()(errno)),
        }
    }
    let user = Uid::from_raw(process.uid);
    let group = Gid::from_raw(process.gid);
    let groups: Vec<_> = process.groups.iter().copied().map(Gid::from_raw).collect();
    let ids = || at(Step::Ids, "");
    // Else the change of user takes away what the next step gives back.
    rustix::thread::set_keep_capabilities(true).map_err(caps())?;
    rustix::thread::set_thread_groups(&groups).map_err(ids())?;
    rustix::thread::set_thread_res_gid(group, group, group).map_err(ids())?;
    rustix::thread::set_thread_res_uid(user, user, user).map_err(ids())?;
    rustix::thread::set_keep_capabilities(false).map_err(caps())?;
    let own = rustix::thread::capabilities(None).map_err(caps())?.permitted;
    let kept = CapabilitySet::from_bits_retain(bounding) & own;
    // What an exec hands on without the file asking for it.
    let inherited = CapabilitySet::from_bits_retain(ambient);
    // Effective ones that this process has left, so that it can still enter and execute what only root may.
    let sets = CapabilitySets {
        effective: if process.uid == 0 { kept } else { inherited },
        permitted: if process.uid == 0 { kept } else { inherited },
        inheritable: inherited,
    };
    rustix::thread::set_capabilities(None, sets).map_err(caps())?;
    rustix::thread::clear_ambient_capability_set().map_err(caps())?;
    for number in 0..64_u32 {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if inherited.contains(one) {
            rustix::thread::configure_capability_in_ambient_set(one, true).map_err(caps())?;
        }
    }
    Ok(())
}

fn kernel(resource: Resource) -> Kernel {
    match resource {
        Resource::AddressSpace => Kernel::As,
        Resource::Core => Kernel::Core,
        Resource::Cpu => Kernel::Cpu,
        Resource::Data => Kernel::Data,
        Resource::FileSize => Kernel::Fsize,
        Resource::Locks => Kernel::Locks,
        Resource::LockedMemory => Kernel::Memlock,
        Resource::MessageQueues => Kernel::Msgqueue,
        Resource::Nice => Kernel::Nice,
        Resource::OpenFiles => Kernel::Nofile,
        Resource::Processes => Kernel::Nproc,
        Resource::Resident => Kernel::Rss,
        Resource::RealTime => Kernel::Rttime,
        Resource::RealTimePriority => Kernel::Rtprio,
        Resource::Signals => Kernel::Sigpending,
        Resource::Stack => Kernel::Stack,
    }
}
