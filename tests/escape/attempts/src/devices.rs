//! Device nodes: those of the device, and those that a container makes.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

use crate::sys::{Arg, call};
use crate::{Attempt, End, Told, Tried};

pub(crate) const ALL: &[Attempt] = &[
    ("disk-of-device", |told| {
        let disk = format!("/dev/{}", told.text("disk")?);
        if fs::exists(&disk)? {
            Ok(File::open(disk).map(drop)?)
        } else {
            Err(End::Nothing("no disk is in /dev".into()))
        }
    }),
    ("kernel-log-of-device", |_| {
        if fs::exists("/dev/kmsg")? {
            Ok(OpenOptions::new().write(true).open("/dev/kmsg").map(drop)?)
        } else {
            Err(End::Nothing("no kmsg is in /dev".into()))
        }
    }),
    ("terminal-of-device", terminal),
    ("node-of-disk", |told| node("/dev/escaped", libc::S_IFBLK, told.number("major")?, told.number("minor")?)),
    ("node-of-disk-in-root", |told| node("/escaped", libc::S_IFBLK, told.number("major")?, told.number("minor")?)),
    ("node-of-disk-by-rules", |told| node("/dev/escaped", libc::S_IFBLK, told.number("major")?, told.number("minor")?)),
    ("node-of-kernel-log", |_| node("/dev/escaped", libc::S_IFCHR, 1, 11)),
    ("node-of-loop-control", |_| node("/dev/escaped", libc::S_IFCHR, 10, 237)),
    ("node-of-kernel-memory", |_| node("/dev/escaped", libc::S_IFCHR, 1, 1)),
];

/// Makes a node, opens it, and takes it away again.
fn node(path: &str, kind: u32, major: i64, minor: i64) -> Tried {
    let text = std::ffi::CString::new(path).map_err(|_| End::Wrong("a NUL".into()))?;
    // As the kernel writes small numbers; larger ones spread over more bits.
    let number = (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12);
    call(
        libc::SYS_mknodat,
        [Arg::N(libc::AT_FDCWD.into()), Arg::S(&text), Arg::N(i64::from(kind | 0o600)), Arg::N(number)],
    )?;
    // What a log of the kernel says is for few; to write into it is for all.
    let opened = if (major, minor) == (1, 11) { OpenOptions::new().write(true).open(path) } else { File::open(path) };
    fs::remove_file(path)?;
    Ok(opened.map(drop)?)
}

/// A terminal of the device becomes its own, and what it types is read by whoever is at it.
fn terminal(told: &Told) -> Tried {
    let path = told.text("terminal")?;
    let opened = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(path);
    let Ok(terminal) = opened else { return Err(End::Nothing("no terminal of the device is in /dev/pts".into())) };
    let fd = Arg::N(terminal.as_raw_fd().into());
    let _ = call(libc::SYS_setsid, []);
    call(libc::SYS_ioctl, [Arg::N(terminal.as_raw_fd().into()), Arg::N(0x540e), Arg::N(0)])?;
    // TIOCSTI
    Ok(call(libc::SYS_ioctl, [fd, Arg::N(0x5412), Arg::R(b"x")]).map(drop)?)
}
