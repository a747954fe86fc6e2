//! The terminal that a container speaks through: its console.
//!
//! It is made when nothing of the container runs yet, in a `/dev/pts` that nobody has seen, so what is opened is what was
//! mounted. Its other end goes to PID 1, and none of it stays here. It is nobody's controlling terminal: whoever logs
//! people in on it takes it for a session of its own.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};

use super::mounts::{clone_tree, put};
use super::target;
use crate::failure::{Failure, Step, at};
use crate::{console, passing};

const PTMX: &str = "pts/ptmx";

const CONSOLE: &str = "console";

/// Makes it the console of the `/dev` that is given, sends the other end to PID 1, and gives the one to speak through.
pub(super) fn console(dev: &OwnedFd) -> Result<OwnedFd, Failure> {
    let step = || at(Step::Terminal, PTMX);
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let own = rustix::fs::openat(dev, PTMX, flags, Mode::empty()).map_err(step())?;
    rustix::pty::unlockpt(&own).map_err(step())?;
    let other = console::other_end(&own).map_err(step())?;
    let made = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(dev, CONSOLE, made, Mode::from_raw_mode(0o600)).map_err(at(Step::Dev, CONSOLE))?;
    let place = target::find(dev, CONSOLE).map_err(at(Step::Dev, CONSOLE))?;
    clone_tree(&other, "", false).and_then(|tree| put(tree, place)).map_err(at(Step::Dev, CONSOLE))?;
    passing::pass(rustix::stdio::stdin(), 0, own.as_fd()).map_err(step())?;
    Ok(other)
}

/// Makes a terminal the input and the outputs of this process.
pub(super) fn speak_through(terminal: &OwnedFd) -> Result<(), Failure> {
    let step = || at(Step::Terminal, CONSOLE);
    rustix::stdio::dup2_stdin(terminal).map_err(step())?;
    rustix::stdio::dup2_stdout(terminal).map_err(step())?;
    rustix::stdio::dup2_stderr(terminal).map_err(step())
}
