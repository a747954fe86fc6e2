//! Starts a program in a container that runs, beside its own: with the rights of the container, and with no others.
//!
//! ```text
//!   PID 1                        first child, in the group             second child, of PID 1 too
//!   ─────                        ───────────────────────────           ──────────────────────────
//!   Entry ─▶ sealed ─▶ clone3 ─▶ role `stage`: groups, namespaces,
//!     ▲                          limits, user, capabilities, filter
//!     │                          (terminal) ─▶ clone ────────────────▶ exec of the program
//!     └────── Report ◀────────── pid of the second, exit               failure, else closed by exec
//!
//!   fd of the first   0, 1, 2   pipes of the caller, or in 0 the socket that the terminal is sent to
//!                     3, 4, 5   entry, report, pidfd of the container's first process
//! ```
//!
//! Promises:
//! * The first child is born in the group, so that nothing of it survives the end of the container. It is no process of the
//!   container's process namespace: a container that may trace cannot reach it while it has rights that are to be given up.
//! * The second is made when they are gone. No path of the container is looked up before.
//! * A program in a container is given pipes that its caller has made, or a terminal of the container itself. A file, a
//!   device or a terminal of the device would be a way out: `/proc/self/fd` opens it once more.
//!
//! Both children are the reaper's. The pidfd says which container it is: if that has ended, nothing is entered.

use std::fs;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, sockopt};
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, pipe_with};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::cgroup::Group;
use crate::error::cannot;
use crate::failure::{BadFrame, FRAME_MAX, Failure};
use crate::launch::{LAUNCH_MAX, LaunchError, Process, absolute, count};
use crate::spawn::{ENTER, ROLE, SpawnError, sealed};
use crate::sys;

/// What is to be started, and as what: everything of the container's own program but what is executed and where it starts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Directories of v1 cgroups to join; the v2 group is where the process is born.
    pub cgroups: Vec<String>,
    /// What is executed, and with which rights.
    pub process: Process,
    /// With a terminal of the container's own `/dev/pts`, which is sent to the caller.
    pub terminal: bool,
    /// Whether the container has a user namespace of its own. [`enter`] finds out.
    pub user: bool,
}

/// What the caller has given. Nothing else may be handed to a container, see the module.
#[derive(Debug)]
pub enum Streams {
    /// Ends of pipes.
    Pipes {
        /// To be read.
        input: OwnedFd,
        /// To be written.
        output: OwnedFd,
        /// To be written.
        errors: OwnedFd,
    },
    /// A UNIX socket, to which the controlling end of the terminal is sent with one byte.
    Terminal(OwnedFd),
}

impl Streams {
    /// Whether they are what they have to be. Never waits, whatever they are.
    #[must_use]
    pub fn are_harmless(&self) -> bool {
        match self {
            Self::Pipes { input, output, errors } => [input, output, errors].into_iter().all(is_pipe),
            Self::Terminal(socket) => is_local(socket),
        }
    }
}

/// Whether a descriptor is a pipe. Never waits.
#[must_use]
pub fn is_pipe(fd: &OwnedFd) -> bool {
    fcntl_getpipe_size(fd).is_ok()
}

/// Whether a descriptor is a UNIX socket. Never waits.
#[must_use]
pub fn is_local(fd: &OwnedFd) -> bool {
    sockopt::socket_domain(fd) == Ok(AddressFamily::UNIX)
}

/// A program on its way into a container.
#[derive(Debug)]
pub struct Entered {
    /// The first child.
    pub pid: Pid,
    /// End of file when all is said, see [`Report`].
    pub report: OwnedFd,
}

/// What became of it, once its pipe is at the end.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// The second child, if there ever was one.
    pub pid: Option<Pid>,
    /// Why the program is not executed. Neither this nor a pid: the first child was ended from outside.
    pub failure: Option<Failure>,
}

/// Before the pid in a report: no step of a failure has this number.
const PID: u8 = 0xff;

/// The most bytes of a report.
pub const REPORT_MAX: usize = FRAME_MAX + 5;

impl Report {
    /// The part of a report that is a pid, least significant byte first.
    pub(crate) fn of(pid: Pid) -> [u8; 5] {
        let [a, b, c, d] = pid.as_raw_nonzero().get().to_le_bytes();
        [PID, a, b, c, d]
    }

    /// Reads a report: a pid, a failure, both in either order, or nothing.
    ///
    /// # Errors
    /// The bytes are no report of this program.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, BadFrame> {
        let mut report = Self::default();
        while !bytes.is_empty() {
            if let [PID, a, b, c, d, rest @ ..] = bytes {
                // Of a negative number rustix makes no pid, and panics where it is debugged.
                let number = Some(i32::from_le_bytes([*a, *b, *c, *d])).filter(|number| *number > 0);
                let earlier = report.pid.replace(number.and_then(Pid::from_raw).ok_or(BadFrame)?);
                if earlier.is_some() {
                    return Err(BadFrame);
                }
                bytes = rest;
                continue;
            }
            let (failure, rest) = postcard::take_from_bytes::<Failure>(bytes).map_err(|_| BadFrame)?;
            if report.failure.replace(failure).is_some() {
                return Err(BadFrame);
            }
            bytes = rest;
        }
        Ok(report)
    }
}

impl Entry {
    /// The bytes of the entry.
    ///
    /// # Errors
    /// It contradicts itself or is too large.
    pub fn encode(&self) -> Result<Vec<u8>, LaunchError> {
        self.check()?;
        let bytes = postcard::to_allocvec(self).map_err(|_| LaunchError::Bytes)?;
        if bytes.len() > LAUNCH_MAX { Err(LaunchError::Size(bytes.len())) } else { Ok(bytes) }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// As for encoding, or the bytes are not exactly one entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, LaunchError> {
        match postcard::take_from_bytes::<Self>(bytes) {
            Ok((entry, [])) if bytes.len() <= LAUNCH_MAX => entry.check().map(|()| entry),
            _ => Err(LaunchError::Bytes),
        }
    }

    fn check(&self) -> Result<(), LaunchError> {
        count("cgroups", &self.cgroups)?;
        self.cgroups.iter().try_for_each(|dir| absolute(dir))?;
        self.process.check()
    }
}

/// Starts a program in the container whose first process is `init`, and whose processes are in `group`.
///
/// # Errors
/// Then no process was left behind.
pub fn enter(
    entry: &Entry,
    group: &Group,
    init: (Pid, BorrowedFd<'_>),
    streams: Streams,
) -> Result<Entered, SpawnError> {
    let (pid, pidfd) = init;
    let start = |doing: &'static str| move |errno| SpawnError::System(cannot(doing, "a program in a container")(errno));
    let user = user_of(&format!("/proc/{}", pid.as_raw_pid()))? != user_of("/proc/self")?;
    let bytes = Entry { user, ..entry.clone() }.encode().map_err(SpawnError::Launch)?;
    let sealed = sealed(&bytes).map_err(start("seal the description of"))?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(cannot("open", "/dev/null"))
        .map_err(SpawnError::System)?;
    let (report, told) = pipe_with(PipeFlags::CLOEXEC).map_err(start("make a pipe for"))?;
    let high = |fd: BorrowedFd<'_>| {
        rustix::io::fcntl_dupfd_cloexec(fd, sys::FIRST_FREE_FD).map_err(start("prepare a descriptor for"))
    };
    let (input, output, errors) = match &streams {
        Streams::Pipes { input, output, errors } => (input, output, errors),
        Streams::Terminal(socket) => (socket, &null, &null),
    };
    let (input, output, errors) = (high(input.as_fd())?, high(output.as_fd())?, high(errors.as_fd())?);
    let (sealed, told, init) = (high(sealed.as_fd())?, high(told.as_fd())?, high(pidfd)?);
    let begin = |cgroup: &OwnedFd| {
        sys::clone_and_exec(&sys::Start {
            namespaces: 0,
            cgroup: Some(cgroup.as_fd()),
            program: c"/proc/self/exe",
            args: &[c"cairn", c"stage", c"enter"],
            input: input.as_fd(),
            output: output.as_fd(),
            errors: errors.as_fd(),
            launch: sealed.as_fd(),
            error: told.as_fd(),
            fifth: Some(init.as_fd()),
        })
    };
    let begun = match begin(&group.open().map_err(SpawnError::System)?) {
        // A container that has divided its group among groups of its own can have no process beside them.
        Err(Errno::BUSY) => begin(&group.of_member(pid).map_err(SpawnError::System)?),
        other => other,
    };
    // The pidfd of the first child is of no use: what matters of it is its report, and its end is the reaper's.
    let (pid, _) = begun.map_err(start("start"))?;
    Ok(Entered { pid, report })
}

const _: () = {
    // What `args` says above.
    assert!(matches!(ROLE.as_bytes(), b"stage") && matches!(ENTER.as_bytes(), b"enter"));
};

/// The user namespace of a process.
fn user_of(process: &str) -> Result<std::path::PathBuf, SpawnError> {
    let path = Path::new(process).join("ns/user");
    fs::read_link(&path).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        SpawnError::System(cannot("find the user namespace", &path)(errno))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Step, at};

    #[test]
    fn a_report_is_read_in_whatever_order_its_parts_came() {
        let failure = at(Step::Exec, "/bin/x")(Errno::NOENT);
        let mut frame = [0; FRAME_MAX];
        let frame = failure.encode(&mut frame);
        let pid = Pid::from_raw(70_000);
        let said = Report::of(pid.unwrap());
        let both = Report { pid, failure: Some(failure.clone()) };
        assert_eq!(Report::decode(&[frame, &said].concat()), Ok(both.clone()));
        assert_eq!(Report::decode(&[&said, frame].concat()), Ok(both));
        assert_eq!(Report::decode(&said), Ok(Report { pid, failure: None }));
        assert_eq!(Report::decode(frame), Ok(Report { pid: None, failure: Some(failure) }));
        assert_eq!(Report::decode(&[]), Ok(Report::default()));
    }

    #[test]
    fn what_is_no_report_is_refused() {
        let said = Report::of(Pid::from_raw(7).unwrap());
        for bytes in [&said[..4], &[PID, 0, 0, 0, 0], &[PID, 0xff, 0xff, 0xff, 0xff], &[0xfe; 9]] {
            assert_eq!(Report::decode(bytes), Err(BadFrame), "{bytes:?}");
        }
        assert_eq!(Report::decode(&[said, said].concat()), Err(BadFrame));
    }
}
