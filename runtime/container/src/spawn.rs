//! Starts the stage of a container: a child of this process, born in its cgroup and its namespaces.
//!
//! ```text
//!   fd of the child   0          1, 2            3                   4                     every other
//!                     /dev/null  pipe: the log   launch, sealed memfd  pipe: the failure     closed by exec
//! ```
//!
//! One whose output is a terminal has a socket as 0, which that comes by; the terminal then takes the place of 0, 1 and 2.
//!
//! With users of its own, the process that becomes the container is another one, and descriptor 5 tells of it: see
//! [`stage`](crate::stage).
//!
//! There is no moment at which the process exists outside its cgroup, so nothing of it survives `cgroup.kill`. The
//! parent waits for nothing here but for that word, which comes before any mount. End of file on `error` says that the
//! container's own program was executed; a [`Failure`](crate::failure::Failure) says which step was not. Exit code and
//! end are the [reaper](crate::reaper)'s.
//!
//! The program is `/proc/self/exe`: in an initramfs there may be no other. A container cannot write to it through its
//! own `/proc`, because PID 1 executes that very file (`ETXTBSY`).
//!
//! A container that is *held* has a socket where others have the pipe for its failure, and waits for a byte from there.
//! With users of its own, its namespaces are those of that other process, so that is known first.

use std::ffi::{CStr, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

use crate::SystemError;
use crate::error::cannot;
use crate::launch::{Launch, LaunchError, Namespaces, Output};
use crate::{passing, sys};

/// The role that the child is executed as; a program that calls [`spawn`] must lead it to [`stage::main`].
///
/// [`stage::main`]: crate::stage::main
pub const ROLE: &str = "stage";

/// The last argument of a stage that enters a container instead of becoming one.
pub(crate) const ENTER: &str = "enter";

/// A container on its way.
#[derive(Debug)]
pub struct Spawned {
    /// Its first process, as seen from here. Valid until the reaper has told its end.
    pub pid: Pid,
    /// The same process, for signals without doubt about whom they reach.
    pub pidfd: OwnedFd,
    /// What it writes to its outputs.
    pub log: OwnedFd,
    /// End of file, or the failure of the stage.
    pub error: OwnedFd,
    /// Where the other end of its terminal comes from, if it has one: see [`console`](crate::console).
    pub console: Option<OwnedFd>,
}

/// What a container waits for that is held. If it is dropped, the container waits until it is killed.
#[derive(Debug)]
pub struct Held(OwnedFd);

/// The word that a held container goes on by. Of more than one there is none.
pub(crate) const GO: u8 = 1;

/// What says in the arguments of the stage that it is held.
pub(crate) const HELD: &CStr = c"held";

impl Held {
    /// Lets the container become what it is to be. One that has ended meanwhile is no error: its end says why.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn release(self) -> Result<(), SystemError> {
        match rustix::net::send(&self.0, &[GO], SendFlags::NOSIGNAL) {
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(cannot("let go of", "a container")(errno)),
        }
    }
}

/// Why no process exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SpawnError {
    /// The launch cannot be followed.
    Launch(LaunchError),
    /// The kernel said no.
    System(SystemError),
}

/// Starts a container in `cgroup`, a directory of the v2 tree.
///
/// # Errors
/// Then no process was left behind.
pub fn spawn(launch: &Launch, cgroup: BorrowedFd<'_>) -> Result<Spawned, SpawnError> {
    let channel = pipe_with(PipeFlags::CLOEXEC).map_err(start("make a pipe for"))?;
    Ok(stage(launch, cgroup, &[c"cairn", c"stage"], channel)?.0)
}

/// The same for a container that waits in its namespaces, before anything else, until it is let go: for what can only be
/// made in there from outside. `None` where it has failed before it was in there, which it says like any other failure.
///
/// # Errors
/// Then no process was left behind.
pub fn spawn_held(launch: &Launch, cgroup: BorrowedFd<'_>) -> Result<(Spawned, Option<Held>), SpawnError> {
    let failed = start("make a channel for");
    let ours = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = ours.map_err(failed)?;
    let held = rustix::io::fcntl_dupfd_cloexec(&ours, 0).map_err(start("prepare a descriptor for"))?;
    let (spawned, is_inside) = stage(launch, cgroup, &[c"cairn", c"stage", HELD], (ours, theirs))?;
    Ok((spawned, is_inside.then_some(Held(held))))
}

fn start(doing: &'static str) -> impl FnOnce(Errno) -> SpawnError {
    move |errno| SpawnError::System(cannot(doing, "a container")(errno))
}

/// `error` is our end and theirs of what a failure is told by. With the process goes whether it is in its namespaces.
fn stage(
    launch: &Launch,
    cgroup: BorrowedFd<'_>,
    args: &[&CStr],
    (error, report): (OwnedFd, OwnedFd),
) -> Result<(Spawned, bool), SpawnError> {
    let mounts = u64::from(libc::CLONE_NEWNS.unsigned_abs());
    let bytes = launch.encode().map_err(SpawnError::Launch)?;
    let sealed = sealed(&bytes).map_err(cannot("seal the launch in", "memory")).map_err(SpawnError::System)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(cannot("open", "/dev/null"))
        .map_err(SpawnError::System)?;
    let (log, output) = pipe_with(PipeFlags::CLOEXEC).map_err(start("make a pipe for"))?;
    let terminal = launch.process.output == Output::Terminal;
    let console = terminal.then(passing::pair).transpose().map_err(start("make a socket for"))?;
    let (console, first) = console.map_or((None, null), |(own, its)| (Some(own), its));
    let high = |fd: &OwnedFd| {
        rustix::io::fcntl_dupfd_cloexec(fd, sys::FIRST_FREE_FD).map_err(start("prepare a descriptor for"))
    };
    let (input, output, report, sealed) = (high(&first)?, high(&output)?, high(&report)?, high(&sealed)?);
    let way = launch.users.is_some().then(passing::pair).transpose().map_err(start("make a socket for"))?;
    let heir = way.as_ref().map(|(_, its)| high(its)).transpose()?;
    let (pid, pidfd) = sys::clone_and_exec(&sys::Start {
        namespaces: match launch.users {
            None => mounts | clone_flags(launch.namespaces),
            // The others belong to the users of the container, which are not there yet.
            Some(_) => mounts,
        },
        cgroup: Some(cgroup),
        program: c"/proc/self/exe",
        args,
        input: input.as_fd(),
        output: output.as_fd(),
        errors: output.as_fd(),
        launch: sealed.as_fd(),
        error: report.as_fd(),
        fifth: heir.as_ref().map(AsFd::as_fd),
    })
    .map_err(start("start the process of"))?;
    // Of what the child has, only the child shall hold the other end.
    drop((heir, report, output, input, first));
    let mut spawned = Spawned { pid, pidfd, log, error, console };
    let Some((own, its)) = way else { return Ok((spawned, true)) };
    drop(its);
    match inherits(&own) {
        Ok(Some(heir)) => {
            (spawned.pid, spawned.pidfd) = heir;
            Ok((spawned, true))
        }
        // It has failed before there was another process, and says so itself.
        Ok(None) => Ok((spawned, false)),
        Err(errno) => {
            // It is in its cgroup, with whatever it may have started.
            let _ = sys::pidfd_send(&spawned.pidfd, libc::SIGKILL);
            Err(start("learn the process of")(errno))
        }
    }
}

/// Starts a helper: this program in another role, in its cgroup, with all rights of its parent and namespaces of its
/// parent, from which it has to step down itself. Its descriptor 3 is `channel`; its output is a log like any other.
///
/// A [`Failure`](crate::failure::Failure) on `error` says that the program was not executed; the pipe is the helper's
/// descriptor 4 and stays open with it.
///
/// # Errors
/// A system call failed.
pub fn spawn_helper(role: &CStr, channel: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> Result<Spawned, SystemError> {
    let program = c"/proc/self/exe";
    plain(program, &[c"cairn", role], Some(channel), Some(cgroup), Path::new(OsStr::from_bytes(role.to_bytes())))
}

/// Starts another program, as a tool of this process: with its rights, in its namespaces and its cgroup, without an
/// environment and with nothing to read. Both of its outputs are `log`; `error` is as that of a helper.
///
/// # Errors
/// A system call failed.
pub fn spawn_tool(program: &CStr, args: &[&CStr]) -> Result<Spawned, SystemError> {
    plain(program, args, None, None, Path::new(OsStr::from_bytes(program.to_bytes())))
}

fn plain(
    program: &CStr,
    args: &[&CStr],
    channel: Option<BorrowedFd<'_>>,
    cgroup: Option<BorrowedFd<'_>>,
    what: &Path,
) -> Result<Spawned, SystemError> {
    let start = |doing: &'static str| cannot(doing, what);
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(cannot("open", "/dev/null"))?;
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(start("make a pipe for"));
    let ((log, output), (error, report)) = (pipe()?, pipe()?);
    let high = |fd: BorrowedFd<'_>| {
        rustix::io::fcntl_dupfd_cloexec(fd, sys::FIRST_FREE_FD).map_err(start("prepare a descriptor for"))
    };
    let (input, output, report) = (high(null.as_fd())?, high(output.as_fd())?, high(report.as_fd())?);
    let channel = high(channel.unwrap_or(null.as_fd()))?;
    let (pid, pidfd) = sys::clone_and_exec(&sys::Start {
        namespaces: 0,
        cgroup,
        program,
        args,
        input: input.as_fd(),
        output: output.as_fd(),
        errors: output.as_fd(),
        launch: channel.as_fd(),
        error: report.as_fd(),
        fifth: None,
    })
    .map_err(start("start"))?;
    Ok(Spawned { pid, pidfd, log, error, console: None })
}

/// How long a stage may take until there is a process in the container's namespaces: much longer than it takes on a busy
/// device, shorter than a watchdog.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// The process that becomes the container; `None` if there is none, and the stage says why.
fn inherits(way: &OwnedFd) -> Result<Option<(Pid, OwnedFd)>, Errno> {
    loop {
        match poll(&mut [PollFd::new(way, PollFlags::IN)], Some(&PATIENCE)) {
            Ok(0) => return Err(Errno::TIMEDOUT),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let Some((number, pidfd)) = passing::take(way)? else { return Ok(None) };
    Ok(Some((Pid::from_raw(number).ok_or(Errno::BADMSG)?, pidfd)))
}

/// Memory that nobody can change any more, at its beginning.
pub(crate) fn sealed(bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let memory = rustix::fs::memfd_create("launch", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = rustix::io::write(&memory, rest)?;
        rest = rest.get(count..).unwrap_or_default();
    }
    rustix::fs::fcntl_add_seals(&memory, seals())?;
    Ok(memory)
}

/// All of them.
pub(crate) fn seals() -> SealFlags {
    SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

/// Namespaces to be born in, but for that of mounts. The cgroup namespace is not among them: `clone3` would root it where
/// the *parent* is.
pub(crate) fn clone_flags(own: Namespaces) -> u64 {
    let flag = |own: bool, flag: i32| if own { flag } else { 0 };
    let flags = flag(own.pid, libc::CLONE_NEWPID)
        | flag(own.net, libc::CLONE_NEWNET)
        | flag(own.uts, libc::CLONE_NEWUTS)
        | flag(own.ipc, libc::CLONE_NEWIPC);
    u64::from(flags.unsigned_abs())
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Launch(error) => write!(f, "the container cannot be described: {error}"),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SpawnError {}
