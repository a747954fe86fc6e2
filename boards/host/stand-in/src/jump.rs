//! The jump: from the bootloader into PID 1 of a machine made of namespaces.
//!
//! ```text
//!   stand-in ──clone3(pid, mnt, uts, ipc, net)──▶ cairn-host __become ──exec──▶ /cairn init cairn.role=…
//!      │  joins it to the cgroups, says "go" ─────────▲   │
//!      ◀── a line: when; then end of file: executed ──────┤
//!      ◀── anything else: why not ────────────────────────┘
//! ```
//!
//! No process stands between: the stand-in is the parent of PID 1, and the kernel tells it how PID 1 has ended.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::cgroup::Group;
use crate::sys;

/// The number of the descriptor that PID 1 writes its trace to.
pub(crate) const TRACE_FD: i32 = 3;
const STATUS_FD: i32 = 4;
const GO_FD: i32 = 5;
const PROGRAM_FD: i32 = 6;
const STORAGE_FD: i32 = 7;

/// What stands before the moment, on the line that the child says last before it executes the program.
const JUMPS_AT: &str = "jumps at ";

/// What the child says then when it was the program that could not be executed.
const NOT_EXECUTABLE: &str = "exec: ";

/// What a machine starts with.
pub(crate) struct Machine<'a> {
    pub(crate) plan: Plan,
    pub(crate) group: &'a Group,
    pub(crate) program: File,
    pub(crate) storage: OwnedFd,
    pub(crate) console: OwnedFd,
    pub(crate) trace: Option<OwnedFd>,
}

/// What the child is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Where its root is put together.
    pub(crate) root: PathBuf,
    /// The keys that it trusts.
    pub(crate) trust: PathBuf,
    /// The text of `/etc/cairn/conf`.
    pub(crate) conf: String,
    /// What takes the place of a kernel's command line.
    pub(crate) words: Vec<String>,
}

/// How a jump went.
pub(crate) enum Jump {
    /// PID 1 runs its program; and when it was about to, in nanoseconds of `CLOCK_MONOTONIC`.
    Up(Pid, u64),
    /// The program cannot be executed.
    NotStarted(String),
}

/// Starts a machine.
pub(crate) fn jump(machine: Machine<'_>) -> Result<Jump> {
    let (status, status_end) = pipe()?;
    let (go_end, go) = pipe()?;
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let plan = CString::new(serde_json::to_string(&machine.plan)?)?;
    // Out of the way of the numbers that they get in the child.
    let high = |fd: &dyn Fn() -> rustix::io::Result<OwnedFd>| fd().context("cannot duplicate a descriptor");
    let up = |fd: rustix::fd::BorrowedFd<'_>| high(&|| rustix::io::fcntl_dupfd_cloexec(fd, sys::FIRST_FREE_FD));
    let console = up(machine.console.as_fd())?;
    let trace = machine.trace.as_ref().map(|trace| up(trace.as_fd())).transpose()?;
    let given = [up(null.as_fd())?, up(status_end.as_fd())?, up(go_end.as_fd())?, up(machine.program.as_fd())?];
    let [null, said, asked, program] = &given;
    let storage = up(machine.storage.as_fd())?;
    let fds = [
        Some(null.as_fd()),
        Some(console.as_fd()),
        Some(console.as_fd()),
        trace.as_ref().map(|trace| trace.as_fd()),
        Some(said.as_fd()),
        Some(asked.as_fd()),
        Some(program.as_fd()),
        Some(storage.as_fd()),
    ];
    let pid = sys::clone_and_exec(c"/proc/self/exe", &[c"cairn-host", c"__become", &plan], &fds)
        .context("cannot make the namespaces of the device")?;
    // Only the child may hold these ends, or their end would never come.
    drop((status_end, go_end, console, trace, given, storage));
    drop((machine.console, machine.trace, machine.storage));
    let answer = start(machine.group, pid, go, status).and_then(|said| answer(pid, &said));
    if !matches!(answer, Ok(Jump::Up(..))) {
        reap(pid);
    }
    answer
}

/// What the child has said until its program was executed, or until it gave up.
fn answer(pid: Pid, said: &str) -> Result<Jump> {
    let jumped = said.strip_prefix(JUMPS_AT).and_then(|said| said.split_once('\n'));
    let Some((at, said)) = jumped else { bail!("the device cannot be started: {said}") };
    match said.strip_prefix(NOT_EXECUTABLE) {
        Some(why) => Ok(Jump::NotStarted(why.to_owned())),
        None if said.is_empty() => Ok(Jump::Up(pid, at.parse().context("the device does not say when it starts")?)),
        None => bail!("the device cannot be started: {said}"),
    }
}

fn start(group: &Group, pid: Pid, go: OwnedFd, status: OwnedFd) -> Result<String> {
    group.join(pid)?;
    File::from(go).write_all(b"g").context("the first process of the device has died")?;
    let mut said = String::new();
    File::from(status).read_to_string(&mut said).context("cannot hear from the device")?;
    Ok(said)
}

fn reap(pid: Pid) {
    // It has ended, or has to.
    let _ = rustix::process::kill_process(pid, Signal::KILL);
    let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")
}

/// The child: puts the root together and becomes PID 1's program. Returns only what went wrong.
pub(crate) fn r#become(plan: &str) -> std::process::ExitCode {
    let taken = [STATUS_FD, GO_FD, PROGRAM_FD, STORAGE_FD].map(sys::inherited);
    let [Some(status), Some(go), Some(program), Some(storage)] = taken else {
        eprintln!("__become is for cairn-host itself");
        return std::process::ExitCode::FAILURE;
    };
    let mut status = File::from(status);
    let error = match prepare(plan, go, program, storage) {
        Ok(plan) => execute(&plan, &mut status),
        Err(error) => error,
    };
    // Nobody is left to hear of a second failure.
    let _ = write!(status, "{error:#}");
    std::process::ExitCode::FAILURE
}

fn prepare(plan: &str, go: OwnedFd, program: OwnedFd, storage: OwnedFd) -> Result<Plan> {
    sys::close_on_exec_from(STATUS_FD).context("cannot mark descriptors")?;
    // The machine has no power without its stand-in.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).context("cannot ask for a death signal")?;
    let plan: Plan = serde_json::from_str(plan).context("cannot read the plan")?;
    let mut word = [0];
    File::from(go).read_exact(&mut word).context("the stand-in has died")?;
    sys::unshare_cgroup().context("cannot make a cgroup namespace")?;
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).context("cannot make mounts private")?;
    root(&plan, &program, &storage).context("cannot put the root together")?;
    enter(&plan.root).context("cannot change into the new root")?;
    sys::default_signals();
    Ok(plan)
}

/// A fresh tmpfs with what an initramfs and a boot partition hold.
fn root(plan: &Plan, program: &OwnedFd, storage: &OwnedFd) -> Result<()> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "source", "rootfs")?;
    rustix::mount::fsconfig_set_string(&context, "mode", "0755")?;
    rustix::mount::fsconfig_create(&context)?;
    let tmpfs = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    attach(&tmpfs, &plan.root)?;
    for directory in ["dev", "proc", "sys", "run", "tmp", "storage", "etc/cairn/trust"] {
        fs::create_dir_all(plan.root.join(directory))?;
    }
    fs::write(plan.root.join("etc/cairn/conf"), &plan.conf)?;
    for key in fs::read_dir(&plan.trust)? {
        let key = key?;
        fs::copy(key.path(), plan.root.join("etc/cairn/trust").join(key.file_name()))?;
    }
    let to = plan.root.join("cairn");
    let mut bytes = Vec::new();
    let mut program = File::from(program.try_clone()?);
    std::io::Seek::rewind(&mut program)?;
    program.read_to_end(&mut bytes)?;
    fs::write(&to, bytes)?;
    fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    attach(storage, &plan.root.join("storage"))
}

fn attach(mount: &OwnedFd, at: &Path) -> Result<()> {
    rustix::mount::move_mount(mount, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .with_context(|| format!("cannot mount on {}", at.display()))
}

/// Makes it the root and lets the old one go.
fn enter(root: &Path) -> rustix::io::Result<()> {
    rustix::process::chdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

fn execute(plan: &Plan, status: &mut File) -> anyhow::Error {
    use std::os::unix::process::CommandExt;
    let mut command = std::process::Command::new("/cairn");
    // What a kernel gives its first process.
    command.arg("init").args(&plan.words).env_clear().env("HOME", "/").env("TERM", "linux");
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // In one piece, so that it is all there or nothing.
    let line = format!("{JUMPS_AT}{}{:09}\n", now.tv_sec, now.tv_nsec);
    if let Err(error) = status.write_all(line.as_bytes()) {
        return anyhow::Error::new(error).context("cannot say when it starts");
    }
    let error = command.exec();
    anyhow::anyhow!("{NOT_EXECUTABLE}{error}")
}
