//! Processes of the device and of other containers.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;

use crate::mounts::writable;
use crate::sys::{Arg, call};
use crate::{Attempt, End, Told, Tried};

pub(crate) const ALL: &[Attempt] = &[
    ("signal-device", |told| signal(told.number("victim")?)),
    ("signal-pid-one", |told| signal(told.number("init")?)),
    ("signal-by-descriptor", by_descriptor),
    ("ptrace-device", |told| seize(told.number("victim")?)),
    ("read-memory", read_memory),
    ("write-memory", |told| of(told, "mem", |path| writable(path))),
    ("read-environment", |told| of(told, "environ", |path| Ok(fs::read(path).map(drop)?))),
    ("root-of-device", |told| of(told, "root", |path| marker(&format!("{path}{}", told.text("secret")?)))),
    ("directory-of-device", |told| of(told, "cwd", marker)),
    ("descriptor-of-device", |told| of(told, "fd/0", |path| Ok(File::open(path).map(drop)?))),
    ("program-of-device", |told| of(told, "exe", |path| Ok(File::open(path).map(drop)?))),
    ("out-of-memory-score-of-device", |told| of(told, "oom_score_adj", |path| writable(path))),
    ("namespace-of-device", |told| of(told, "ns/mnt", enter)),
    ("namespaces-by-descriptor", enter_by_descriptor),
    ("take-descriptor", take),
    ("compare-with-device", compare),
    ("bind-device-to-processor", bind),
    ("priority-of-device", priority),
    ("limits-of-device", limits),
    ("root-of-other-container", |told| Ok(fs::read_dir(format!("/proc/{}/root", told.number("peer")?)).map(drop)?)),
];

fn signal(pid: i64) -> Tried {
    // One that nobody waits for, and that ends nobody.
    Ok(call(libc::SYS_kill, [Arg::N(pid), Arg::N(libc::SIGURG.into())]).map(drop)?)
}

/// A descriptor of the process of the device.
fn pidfd(told: &Told) -> Result<i64, End> {
    Ok(call(libc::SYS_pidfd_open, [Arg::N(told.number("victim")?), Arg::N(0)])?)
}

fn by_descriptor(told: &Told) -> Tried {
    let args = [Arg::N(pidfd(told)?), Arg::N(libc::SIGURG.into()), Arg::N(0), Arg::N(0)];
    Ok(call(libc::SYS_pidfd_send_signal, args).map(drop)?)
}

fn seize(pid: i64) -> Tried {
    let args = [Arg::N(libc::PTRACE_SEIZE.into()), Arg::N(pid), Arg::N(0), Arg::N(0)];
    Ok(call(libc::SYS_ptrace, args).map(drop)?)
}

/// From an address that nothing is at: who may not read is told so first.
fn read_memory(told: &Told) -> Tried {
    let mut bytes = [0_u8; 8];
    let vector = |base: i64| [base.to_ne_bytes(), 8_i64.to_ne_bytes()].concat();
    let (local, remote) = (vector(bytes.as_mut_ptr() as i64), vector(8));
    let args = [Arg::N(told.number("victim")?), Arg::R(&local), Arg::N(1), Arg::R(&remote), Arg::N(1), Arg::N(0)];
    match call(libc::SYS_process_vm_readv, args) {
        Ok(_) | Err(libc::EFAULT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// A file of the process of the device in `/proc`.
fn of(told: &Told, file: &str, attempt: impl FnOnce(&str) -> Tried) -> Tried {
    let dir = format!("/proc/{}", told.number("victim")?);
    if !fs::exists(&dir)? {
        return Err(End::Nothing("no process of the device is in sight".into()));
    }
    attempt(&format!("{dir}/{file}"))
}

fn marker(dir: &str) -> Tried {
    Ok(File::open(format!("{dir}/marker")).map(drop)?)
}

fn enter(path: &str) -> Tried {
    let namespace = File::open(path)?;
    let args = [Arg::N(namespace.as_raw_fd().into()), Arg::N(libc::CLONE_NEWNS.into())];
    Ok(call(libc::SYS_setns, args).map(drop)?)
}

fn enter_by_descriptor(told: &Told) -> Tried {
    Ok(call(libc::SYS_setns, [Arg::N(pidfd(told)?), Arg::N(libc::CLONE_NEWNS.into())]).map(drop)?)
}

fn take(told: &Told) -> Tried {
    Ok(call(libc::SYS_pidfd_getfd, [Arg::N(pidfd(told)?), Arg::N(0), Arg::N(0)]).map(drop)?)
}

fn compare(told: &Told) -> Tried {
    let victim = told.number("victim")?;
    // KCMP_VM
    Ok(call(libc::SYS_kcmp, [Arg::N(victim), Arg::N(victim), Arg::N(1), Arg::N(0), Arg::N(0)]).map(drop)?)
}

/// To those that it may run on already.
fn bind(told: &Told) -> Tried {
    let victim = told.number("victim")?;
    let mut mask = [0; 128];
    let len = call(libc::SYS_sched_getaffinity, [Arg::N(victim), Arg::N(128), Arg::W(&mut mask)])?;
    Ok(call(libc::SYS_sched_setaffinity, [Arg::N(victim), Arg::N(len), Arg::R(&mask)]).map(drop)?)
}

/// To what it is; the kernel answers with 20 minus the niceness.
fn priority(told: &Told) -> Tried {
    let victim = told.number("victim")?;
    let now = 20 - call(libc::SYS_getpriority, [Arg::N(0), Arg::N(victim)])?;
    Ok(call(libc::SYS_setpriority, [Arg::N(0), Arg::N(victim), Arg::N(now)]).map(drop)?)
}

/// Asked for, not changed: who may do the one may do the other.
fn limits(told: &Told) -> Tried {
    let args = [Arg::N(told.number("victim")?), Arg::N(7), Arg::N(0), Arg::W(&mut [0; 16])];
    Ok(call(libc::SYS_prlimit64, args).map(drop)?)
}
