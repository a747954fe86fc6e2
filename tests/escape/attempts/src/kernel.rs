//! Calls that reach for the kernel, past everything that is mounted.

use crate::sys::{Arg, call, clone_child, clone3_child};
use crate::{Attempt, End, Told, Tried};

pub(crate) const ALL: &[Attempt] = &[
    ("unshare-user", |_| unshare(libc::CLONE_NEWUSER)),
    ("unshare-mount", |_| unshare(libc::CLONE_NEWNS)),
    ("unshare-network", |_| unshare(libc::CLONE_NEWNET)),
    ("clone-user", |_| Ok(clone_child(libc::CLONE_NEWUSER)?)),
    ("clone-mount", |_| Ok(clone_child(libc::CLONE_NEWNS)?)),
    ("clone3-user", |_| Ok(clone3_child(libc::CLONE_NEWUSER)?)),
    ("setns-own", setns),
    ("sethostname", |_| done(call(libc::SYS_sethostname, [Arg::S(c"escaped"), Arg::N(7)]))),
    ("reboot", reboot),
    ("kexec-load", |_| passed(call(libc::SYS_kexec_load, [Arg::N(0), Arg::N(17), Arg::N(0), Arg::N(0)]), libc::EINVAL)),
    ("init-module", init_module),
    ("finit-module", |_| passed(call(libc::SYS_finit_module, [Arg::N(-1), Arg::S(c""), Arg::N(0)]), libc::EBADF)),
    ("delete-module", |_| passed(call(libc::SYS_delete_module, [Arg::S(c"no-such-module"), Arg::N(0)]), libc::ENOENT)),
    ("set-timezone", timezone),
    ("adjust-clock", adjust),
    ("swapon", |_| passed(call(libc::SYS_swapon, [Arg::S(c"/no-such-file"), Arg::N(0)]), libc::ENOENT)),
    ("swapoff", |_| passed(call(libc::SYS_swapoff, [Arg::S(c"/no-such-file")]), libc::ENOENT)),
    ("acct", |_| passed(call(libc::SYS_acct, [Arg::S(c"/no-such-file")]), libc::ENOENT)),
    // Q_SYNC of every file system.
    ("quotactl", |_| done(call(libc::SYS_quotactl, [Arg::N(0x80_0001 << 8), Arg::N(0), Arg::N(0), Arg::N(0)]))),
    ("iopl", iopl),
    ("bpf-map", bpf),
    ("perf-of-kernel", |_| perf(false)),
    ("perf-of-itself", |_| perf(true)),
    ("userfaultfd", |_| done(call(libc::SYS_userfaultfd, [Arg::N(1)]))),
    ("userfaultfd-of-kernel", |_| done(call(libc::SYS_userfaultfd, [Arg::N(0)]))),
    ("io-uring", io_uring),
    ("add-key", add_key),
    ("keyring-of-user", |_| done(call(libc::SYS_keyctl, [Arg::N(0), Arg::N(-4), Arg::N(1)]))),
    ("request-key", request_key),
    ("open-by-handle", handle),
    ("fanotify-content", |_| done(call(libc::SYS_fanotify_init, [Arg::N(0x4), Arg::N(0)]))),
    ("fanotify-names", |_| done(call(libc::SYS_fanotify_init, [Arg::N(0x200), Arg::N(0)]))),
    ("syslog-read-all", read_log),
    ("syslog-unread", |_| done(call(libc::SYS_syslog, [Arg::N(9), Arg::N(0), Arg::N(0)]))),
    ("vhangup", |_| done(call(libc::SYS_vhangup, []))),
    ("personality", |_| done(call(libc::SYS_personality, [Arg::N(0x0004_0000)]))),
    ("memory-policy", |_| done(call(libc::SYS_set_mempolicy, [Arg::N(0), Arg::N(0), Arg::N(0)]))),
    ("migrate-pages", |_| done(call(libc::SYS_migrate_pages, [Arg::N(0), Arg::N(64), Arg::R(&NODE), Arg::R(&NODE)]))),
    ("wake-alarm", |_| done(call(libc::SYS_timerfd_create, [Arg::N(libc::CLOCK_REALTIME_ALARM.into()), Arg::N(0)]))),
    #[cfg(target_arch = "x86_64")]
    ("x32-call", |_| done(call(0x4000_0000 | libc::SYS_getpid, []))),
    #[cfg(target_arch = "x86_64")]
    ("i386-unshare", |_| i386(310, [libc::CLONE_NEWUSER.cast_unsigned(), 0, 0, 0])),
    #[cfg(target_arch = "x86_64")]
    ("i386-keyctl", |_| i386(288, [0, (-4_i32).cast_unsigned(), 1, 0])),
    #[cfg(target_arch = "x86_64")]
    ("i386-io-uring", i386_io_uring),
    #[cfg(target_arch = "x86_64")]
    ("i386-mount", i386_mount),
    #[cfg(target_arch = "x86_64")]
    ("i386-socketcall-vsock", i386_vsock),
];

/// The first node of memory, which every machine has.
const NODE: [u8; 8] = 1_u64.to_ne_bytes();

fn read_log(_: &Told) -> Tried {
    if std::fs::read_to_string("/proc/sys/kernel/dmesg_restrict").is_ok_and(|text| text.trim() != "0") {
        return Err(End::Absent("this machine keeps it from everybody without the capability".into()));
    }
    done(call(libc::SYS_syslog, [Arg::N(3), Arg::W(&mut [0; 4096]), Arg::N(4096)]))
}

/// A call that has to succeed.
fn done(result: Result<i64, i32>) -> Tried {
    Ok(result.map(drop)?)
}

/// A call that looks at the caller's rights first, and refuses its arguments afterwards.
fn passed(result: Result<i64, i32>, errno: i32) -> Tried {
    match result {
        Err(other) if other == errno => Ok(()),
        Err(other) => Err(other.into()),
        Ok(_) => Err(End::Wrong("it did what it must never do".into())),
    }
}

fn unshare(flags: i32) -> Tried {
    done(call(libc::SYS_unshare, [Arg::N(flags.into())]))
}

/// Into the very namespace that it is in.
fn setns(_: &Told) -> Tried {
    use std::os::fd::AsRawFd as _;
    let own = std::fs::File::open("/proc/self/ns/uts")?;
    done(call(libc::SYS_setns, [Arg::N(own.as_raw_fd().into()), Arg::N(libc::CLONE_NEWUTS.into())]))
}

/// With numbers that are not those of a reboot.
fn reboot(_: &Told) -> Tried {
    passed(call(libc::SYS_reboot, [Arg::N(1), Arg::N(2), Arg::N(3), Arg::N(0)]), libc::EINVAL)
}

fn init_module(_: &Told) -> Tried {
    passed(call(libc::SYS_init_module, [Arg::R(&[0x55; 64]), Arg::N(64), Arg::S(c"")]), libc::ENOEXEC)
}

/// To what it is: a zone without minutes, which moves no clock.
fn timezone(_: &Told) -> Tried {
    let mut zone = [0; 8];
    call(libc::SYS_gettimeofday, [Arg::N(0), Arg::W(&mut zone)])?;
    if zone != [0; 8] {
        return Err(End::Absent("this machine has a zone, which is left alone".into()));
    }
    done(call(libc::SYS_settimeofday, [Arg::N(0), Arg::R(&zone)]))
}

/// The length of a tick, to what it is.
fn adjust(_: &Told) -> Tried {
    const TICK: u32 = 0x4000;
    // struct timex: the first word says what is set.
    let mut timex = [0_u8; 208];
    call(libc::SYS_adjtimex, [Arg::W(&mut timex)])?;
    let Some(modes) = timex.first_chunk_mut() else { return Ok(()) };
    *modes = TICK.to_ne_bytes();
    done(call(libc::SYS_adjtimex, [Arg::W(&mut timex)]))
}

fn iopl(_: &Told) -> Tried {
    #[cfg(target_arch = "x86_64")]
    return done(call(libc::SYS_iopl, [Arg::N(3)]));
    #[cfg(not(target_arch = "x86_64"))]
    Err(End::Absent("no ports".into()))
}

/// An array of one number.
fn bpf(_: &Told) -> Tried {
    let mut attr = [0; 128];
    let words = [2_u32, 4, 4, 1].map(u32::to_ne_bytes);
    attr.iter_mut().zip(words.as_flattened()).for_each(|(to, from)| *to = *from);
    done(call(libc::SYS_bpf, [Arg::N(0), Arg::R(&attr), Arg::N(128)]))
}

/// The clock of the processor as an event, with or without what the kernel does.
fn perf(itself: bool) -> Tried {
    const ONLY_ITSELF: u64 = 1 << 5 | 1 << 6;
    let mut attr = [0; 128];
    let kind = [1_u32.to_ne_bytes(), 128_u32.to_ne_bytes()];
    attr.iter_mut().zip(kind.as_flattened()).for_each(|(to, from)| *to = *from);
    let flags = if itself { ONLY_ITSELF } else { 0 };
    attr.iter_mut().skip(40).zip(flags.to_ne_bytes()).for_each(|(to, from)| *to = from);
    done(call(libc::SYS_perf_event_open, [Arg::R(&attr), Arg::N(0), Arg::N(-1), Arg::N(-1), Arg::N(0)]))
}

fn io_uring(_: &Told) -> Tried {
    done(call(libc::SYS_io_uring_setup, [Arg::N(1), Arg::W(&mut [0; 120])]))
}

const USER_KEYRING: i64 = -4;

/// All containers and the device have user 0, and so one keyring of that user.
fn add_key(_: &Told) -> Tried {
    let args = [Arg::S(c"user"), Arg::S(c"cairn-escape"), Arg::R(b"x"), Arg::N(1), Arg::N(USER_KEYRING)];
    let key = call(libc::SYS_add_key, args)?;
    // KEYCTL_UNLINK
    let _ = call(libc::SYS_keyctl, [Arg::N(9), Arg::N(key), Arg::N(USER_KEYRING)]);
    Ok(())
}

fn request_key(_: &Told) -> Tried {
    let args = [Arg::S(c"user"), Arg::S(c"cairn-no-such-key"), Arg::N(0), Arg::N(0)];
    passed(call(libc::SYS_request_key, args), libc::ENOKEY)
}

/// A file by its number instead of its name: numbers are those of the whole file system.
fn handle(_: &Told) -> Tried {
    use std::os::fd::AsRawFd as _;
    let mut handle = [0_u8; 8 + 128];
    handle.iter_mut().zip(128_u32.to_ne_bytes()).for_each(|(to, from)| *to = from);
    let at = Arg::N(libc::AT_FDCWD.into());
    call(libc::SYS_name_to_handle_at, [at, Arg::S(c"/data"), Arg::W(&mut handle), Arg::W(&mut [0; 4]), Arg::N(0)])?;
    let mount = std::fs::File::open("/data")?;
    let args = [Arg::N(mount.as_raw_fd().into()), Arg::W(&mut handle), Arg::N(libc::O_RDONLY.into())];
    done(call(libc::SYS_open_by_handle_at, args))
}

#[cfg(target_arch = "x86_64")]
fn i386(number: u32, args: [u32; 4]) -> Tried {
    Ok(crate::sys::call32(number, args).map(drop)?)
}

#[cfg(target_arch = "x86_64")]
fn i386_io_uring(_: &Told) -> Tried {
    i386(425, [1, crate::sys::low(&[0; 120])?, 0, 0])
}

#[cfg(target_arch = "x86_64")]
fn i386_mount(_: &Told) -> Tried {
    let (kind, target) = (crate::sys::low(b"tmpfs\0")?, crate::sys::low(b"/tmp\0")?);
    i386(21, [kind, target, kind, 0])
}

/// `socketcall`, whose arguments no filter sees: SYS_SOCKET of the family that reaches the machine's host.
#[cfg(target_arch = "x86_64")]
fn i386_vsock(_: &Told) -> Tried {
    let args = [libc::AF_VSOCK, libc::SOCK_STREAM, 0].map(i32::to_ne_bytes);
    i386(102, [1, crate::sys::low(args.as_flattened())?, 0, 0])
}
