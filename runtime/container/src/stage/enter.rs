//! The way of another program into a container that runs: see [`enter`](mod@crate::enter).

use std::convert::Infallible;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::process::ExitCode;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::DumpableBehavior;
use rustix::thread::ThreadNameSpaceType as Kind;

use super::{join, leave_keys, process, sealed, terminal};
use crate::console;
use crate::enter::{Entry, Report};
use crate::failure::{FRAME_MAX, Failure, Step, at};
use crate::sys::{self, Inherited};

/// Where terminals of a container are made: of its own instance, whatever `/dev/ptmx` leads to.
const PTMX: &str = "/dev/pts/ptmx";

/// The device number of every `ptmx`.
const PTMX_DEVICE: (u32, u32) = (5, 2);

/// All that a process can join but for the user namespace.
const ALL: Kind = Kind::MOUNT
    .union(Kind::PROCESS_ID)
    .union(Kind::NETWORK)
    .union(Kind::HOST_NAME_AND_NIS_DOMAIN_NAME)
    .union(Kind::INTER_PROCESS_COMMUNICATION)
    .union(Kind::CONTROL_GROUP);

/// The main of the role when a container is entered. `code` is that of a failure that was reported.
pub(super) fn main(inherited: Inherited, code: ExitCode) -> ExitCode {
    let Inherited { launch: entry, error: report, fifth: Some(init) } = inherited else { return ExitCode::from(2) };
    match run(entry, &report, init) {
        Ok(Done) => ExitCode::SUCCESS,
        Err(failure) => {
            // If PID 1 does not listen any more there is nobody left to tell.
            let _ = rustix::io::write(report, failure.encode(&mut [0; FRAME_MAX]));
            code
        }
    }
}

/// There is a second child, and PID 1 knows.
struct Done;

fn run(entry: OwnedFd, report: &OwnedFd, init: OwnedFd) -> Result<Done, Failure> {
    let Entry { cgroups, process, terminal, user } =
        Entry::decode(&sealed(entry)?).map_err(|_| Failure::new(Step::Launch, "", Errno::BADMSG))?;
    // While only the device is in sight.
    join(&cgroups, process.oom_score_adj)?;
    process::limit(&process, None)?;
    leave_keys()?;
    // Else who may trace in the container's users could take this process while it still is the device's root.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(at(Step::Enter, ""))?;
    let kinds = if user { ALL | Kind::USER } else { ALL };
    rustix::thread::move_into_thread_name_spaces(init.as_fd(), kinds).map_err(at(Step::Enter, ""))?;
    drop(init);
    process::settle(&process)?;
    // From here on this process can do what the container can do, and nothing else.
    let terminal = terminal.then(open_terminal).transpose()?;
    match sys::clone_sibling().map_err(at(Step::Enter, "with a process of its own"))? {
        Some(pid) => {
            // The end of the pipe tells, if this cannot be told.
            let _ = rustix::io::write(report, &Report::of(pid));
            Ok(Done)
        }
        None => become_it(terminal, &process).map(|never| match never {}),
    }
}

fn become_it(terminal: Option<OwnedFd>, program: &crate::launch::Process) -> Result<Infallible, Failure> {
    let step = || at(Step::Terminal, PTMX);
    rustix::process::setsid().map_err(step())?;
    if let Some(terminal) = terminal {
        rustix::process::ioctl_tiocsctty(&terminal).map_err(step())?;
        terminal::speak_through(&terminal)?;
    }
    Err(process::execute(program))
}

/// Makes a terminal, sends its controlling end to the caller, and gives the other.
fn open_terminal() -> Result<OwnedFd, Failure> {
    let step = || at(Step::Terminal, PTMX);
    // What the container has put there is opened as the container would: it may wait for nobody, and be nothing else.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let own = rustix::fs::open(PTMX, flags, Mode::empty()).map_err(step())?;
    let stat = rustix::fs::fstat(&own).map_err(step())?;
    let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || device != PTMX_DEVICE {
        return Err(step()(Errno::NOTTY));
    }
    rustix::fs::fcntl_setfl(&own, OFlags::RDWR).map_err(step())?;
    rustix::pty::unlockpt(&own).map_err(step())?;
    let other = console::other_end(&own).map_err(step())?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [own.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(step()(Errno::NOBUFS));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(rustix::stdio::stdin(), &[IoSlice::new(b"t")], &mut control, flags).map_err(step())?;
    Ok(other)
}
