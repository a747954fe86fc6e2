//! The only waiter. Nothing else in the process waits for a child, because a second waiter would take the exit status
//! away from the first.
//!
//! PID 1 calls [`next`] until it says `None`, each time it was told of `SIGCHLD`. A pid that nobody knows is an orphan
//! that ended, and is dropped by the caller. A process and its exit code are told exactly once.

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};
use statemachine::container::Outcome;

/// A child that has ended, or `None` if none has. Never waits.
///
/// # Errors
/// The kernel refuses to tell, which it has no reason to.
pub fn next() -> Result<Option<(Pid, Outcome)>, Errno> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => match outcome(status) {
                Some(outcome) => return Ok(Some((pid, outcome))),
                // Stopped or continued: not asked for, and no end.
                None => continue,
            },
            Ok(None) | Err(Errno::CHILD) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// The same end, as the memory of the container tells it: a kill in a group in which the kernel has killed for lack of
/// memory ([`Group::memory_kills`](crate::cgroup::Group::memory_kills)) is called by its reason.
#[must_use]
pub fn with_memory_kills(outcome: Outcome, kills: u64) -> Outcome {
    match outcome {
        Outcome::Signal(signal) if kills > 0 && signal == rustix::process::Signal::KILL.as_raw() => {
            Outcome::OutOfMemory
        }
        other => other,
    }
}

/// The same end, as that of the first process of a namespace of its own. `reboot(2)` in there ends it, and the kernel tells
/// by the signal what was asked for (`reboot_pid_ns`). A signal that only somebody sends does not reach such a process
/// unless it handles it, so these two mean nothing else.
#[must_use]
pub fn with_own_processes(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Signal(signal) if signal == rustix::process::Signal::HUP.as_raw() => Outcome::AskedReboot,
        Outcome::Signal(signal) if signal == rustix::process::Signal::INT.as_raw() => Outcome::AskedPowerOff,
        other => other,
    }
}

fn outcome(status: WaitStatus) -> Option<Outcome> {
    status.exit_status().map(Outcome::Code).or_else(|| status.terminating_signal().map(Outcome::Signal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_kill_is_blamed_on_memory() {
        assert_eq!(with_memory_kills(Outcome::Signal(9), 1), Outcome::OutOfMemory);
        assert_eq!(with_memory_kills(Outcome::Signal(9), 0), Outcome::Signal(9));
        assert_eq!(with_memory_kills(Outcome::Signal(11), 1), Outcome::Signal(11));
        assert_eq!(with_memory_kills(Outcome::Code(1), 1), Outcome::Code(1));
    }
}
