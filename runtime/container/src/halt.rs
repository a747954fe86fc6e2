//! How a container is asked to end: by the signal that its first process takes for that.
//!
//! | first process                           | signal        | because                                          |
//! |-----------------------------------------|---------------|--------------------------------------------------|
//! | of a container that names a signal      | that one      | its maker knows                                  |
//! | waits for `SIGRTMIN+3`                  | `SIGRTMIN+3`  | so systemd is told to halt a container           |
//! | handles `SIGPWR`, or waits for it       | `SIGPWR`      | so other inits are, by LXC too                   |
//! | is called `init`, handles no `SIGTERM`  | `SIGPWR`      | the init of BusyBox, to which that is a reboot   |
//! | any other                               | `SIGTERM`     | a program; without a handler it hears nothing    |
//!
//! To wait for a signal is to block it and to ask for it: systemd does that. Small inits of images that pass signals on
//! (tini, dumb-init) block all there are, `SIGALRM` among them, which no init waits for; what they start takes `SIGTERM`.
//! Who asks by `sigtimedwait`, as BusyBox does, is shown by the kernel as blocking nothing meanwhile: it is known by its name.
//!
//! The last row is the kernel's rule for the PID 1 of a namespace: what it does not handle does not reach it. Such a
//! container ends by [`Group::kill`](crate::cgroup::Group::kill), after its grace.

use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::Pid;

use crate::SystemError;
use crate::error::cannot;
use crate::sys;

/// 34 with every C library: the two below it belong to its threads.
const RTMIN_3: i32 = 37;
const PWR: i32 = 30;
const ALRM: i32 = 14;
const TERM: i32 = 15;

/// Asks the first process of a container to end, by the signal that the container names, if it does. One that has ended
/// was asked. Says by which signal.
///
/// # Errors
/// The kernel refuses the signal.
pub fn ask(pid: Pid, pidfd: impl AsFd, named: Option<u8>) -> Result<i32, SystemError> {
    let path = format!("/proc/{}/status", pid.as_raw_pid());
    // Gone, or nobody can look: then the signal is one that means the same to everybody.
    let found = || std::fs::read_to_string(&path).map_or(TERM, |status| signal(&status));
    let signal = named.map_or_else(found, i32::from);
    match sys::pidfd_send(pidfd, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(signal),
        Err(errno) => Err(cannot("ask for an end of the process of", path)(errno)),
    }
}

/// The signal for a process with this `/proc/PID/status`.
fn signal(status: &str) -> i32 {
    let set = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    };
    let has = |set: u64, signal: i32| set & (1 << (signal - 1)) != 0;
    let (blocked, handled) = (set("SigBlk:"), set("SigCgt:"));
    let waits = |signal| has(blocked, signal) && !has(blocked, ALRM);
    if waits(RTMIN_3) {
        RTMIN_3
    } else if waits(PWR) || has(handled, PWR) || status.starts_with("Name:\tinit\n") && !has(handled, TERM) {
        PWR
    } else {
        TERM
    }
}

/// Sends any signal to a child of this process that was not reaped yet, so that its number is still its own.
///
/// # Errors
/// There is no such signal, or no such process.
pub fn send(pid: Pid, signal: u8) -> Result<(), Errno> {
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    sys::pidfd_send(pidfd, signal.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_init_is_asked_in_its_own_language() {
        let status =
            |blocked: u64, caught: u64| format!("Name:\tweb\nSigBlk:\t{blocked:016x}\nSigCgt:\t{caught:016x}\n");
        assert_eq!(signal(&status(1 << 36, 1 << 29)), RTMIN_3);
        assert_eq!(signal(&status(0, 1 << 29)), PWR);
        assert_eq!(signal(&status(1 << 29, 0)), PWR);
        assert_eq!(signal(&status(0, 1 << 14)), TERM);
        assert_eq!(signal("unreadable"), TERM);
        let init = |caught: u64| format!("Name:\tinit\nSigBlk:\t{:016x}\nSigCgt:\t{caught:016x}\n", 0);
        assert_eq!((signal(&init(0)), signal(&init(1 << 14))), (PWR, TERM));
    }

    #[test]
    fn who_blocks_everything_waits_for_nothing_of_an_init() {
        assert_eq!(signal(&format!("SigBlk:\t{:016x}\nSigCgt:\t{:016x}\n", u64::MAX, 0)), TERM);
    }
}
