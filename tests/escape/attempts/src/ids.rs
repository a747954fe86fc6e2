//! Rights that a process takes for itself, and what it may use up.

use std::fs;

use crate::mounts::writable;
use crate::sys::{Arg, call};
use crate::{Attempt, End, Told, Tried};

pub(crate) const ALL: &[Attempt] = &[
    ("set-user-id-program", set_user_id),
    ("capability-back", capability_back),
    ("run-before-others", |_| Ok(call(libc::SYS_setpriority, [Arg::N(0), Arg::N(0), Arg::N(-5)]).map(drop)?)),
    ("run-in-real-time", real_time),
    ("disk-before-others", |_| Ok(call(libc::SYS_ioprio_set, [Arg::N(1), Arg::N(0), Arg::N(1 << 13 | 4)]).map(drop)?)),
    ("raise-limit", raise_limit),
    ("lock-memory", lock_memory),
    ("never-killed-for-memory", never_killed),
    ("unchangeable-file", unchangeable),
    ("queue-of-device", |told| {
        let name = std::ffi::CString::new(told.text("queue")?).map_err(|_| End::Wrong("a NUL".into()))?;
        Ok(call(libc::SYS_mq_open, [Arg::S(&name), Arg::N(libc::O_RDONLY.into()), Arg::N(0), Arg::N(0)]).map(drop)?)
    }),
    ("shared-memory-of-device", |told| {
        Ok(call(libc::SYS_shmget, [Arg::N(told.number("shm")?), Arg::N(0), Arg::N(0)]).map(drop)?)
    }),
    ("more-tasks-than-allowed", tasks),
    ("more-memory-than-allowed", memory),
];

fn set_user_id(_: &Told) -> Tried {
    let status = std::process::Command::new("/set-user-id").arg("is-root").status()?;
    if status.success() { Ok(()) } else { Err(End::Nothing("its program is not root".into())) }
}

/// `CAP_SYS_ADMIN`, into all sets that it may hold.
fn capability_back(_: &Told) -> Tried {
    const SYS_ADMIN: u32 = 1 << 21;
    let head = [0x2008_0522_u32.to_ne_bytes(), [0; 4]];
    let mut sets = [0; 24];
    call(libc::SYS_capget, [Arg::R(head.as_flattened()), Arg::W(&mut sets)])?;
    for at in [0, 4] {
        let Some(set) = sets.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<4>) else { continue };
        *set = (u32::from_ne_bytes(*set) | SYS_ADMIN).to_ne_bytes();
    }
    Ok(call(libc::SYS_capset, [Arg::R(head.as_flattened()), Arg::R(&sets)]).map(drop)?)
}

fn real_time(_: &Told) -> Tried {
    // SCHED_FIFO, priority 1
    let args = [Arg::N(0), Arg::N(1), Arg::R(&1_u32.to_ne_bytes())];
    Ok(call(libc::SYS_sched_setscheduler, args).map(drop)?)
}

/// Of open files, beyond what cannot be raised.
fn raise_limit(_: &Told) -> Tried {
    let mut limit = [0; 16];
    call(libc::SYS_prlimit64, [Arg::N(0), Arg::N(7), Arg::N(0), Arg::W(&mut limit)])?;
    let (Some(soft), Some(hard)) = (limit.first_chunk::<8>(), limit.last_chunk::<8>()) else { return Ok(()) };
    let raised = [*soft, (u64::from_ne_bytes(*hard) + 1).to_ne_bytes()];
    Ok(call(libc::SYS_prlimit64, [Arg::N(0), Arg::N(7), Arg::R(raised.as_flattened()), Arg::N(0)]).map(drop)?)
}

fn lock_memory(_: &Told) -> Tried {
    let bytes = vec![1_u8; 16 << 20];
    let len = i64::try_from(bytes.len()).unwrap_or(0);
    Ok(call(libc::SYS_mlock, [Arg::R(&bytes), Arg::N(len)]).map(drop)?)
}

fn never_killed(_: &Told) -> Tried {
    writable("/proc/self/oom_score_adj")?;
    Ok(fs::write("/proc/self/oom_score_adj", "-1000")?)
}

/// A file that not even root may take away; it is made an ordinary one again.
fn unchangeable(_: &Told) -> Tried {
    use std::os::fd::AsRawFd as _;
    const SET_FLAGS: i64 = 0x4008_6602;
    let path = "/data/kept";
    let file = fs::File::create(path)?;
    let set = |flags: u32| {
        call(libc::SYS_ioctl, [Arg::N(file.as_raw_fd().into()), Arg::N(SET_FLAGS), Arg::R(&flags.to_ne_bytes())])
    };
    let end = set(0x10);
    let back = set(0);
    fs::remove_file(path)?;
    match (end, back) {
        (Err(libc::ENOTTY | libc::EOPNOTSUPP), _) => Err(End::Absent("this file system has no such flag".into())),
        (end, _) => Ok(end.map(drop)?),
    }
}

/// Somewhat more than the template allows, and far fewer than any machine has.
pub(crate) fn tasks(_: &Told) -> Tried {
    for _ in 0..1200 {
        std::thread::Builder::new().stack_size(16 << 10).spawn(std::thread::park)?;
    }
    Ok(())
}

/// Sixty-four megabytes, each page of them.
fn memory(_: &Told) -> Tried {
    if fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1) {
        return Err(End::Absent("this machine swaps, and the limit is of memory".into()));
    }
    let bytes = vec![1_u8; 64 << 20];
    if bytes.iter().step_by(4096).all(|one| *one == 1) { Ok(()) } else { Err(End::Wrong("memory forgets".into())) }
}
