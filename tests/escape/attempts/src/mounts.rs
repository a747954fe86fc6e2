//! Mounts, roots, and what leads out of one.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::path::Path;

use crate::sys::{Arg, call};
use crate::{Attempt, End, Told, Tried};

pub(crate) const ALL: &[Attempt] = &[
    ("mount-tmpfs", |_| mount("none", "/tmp", "tmpfs", 0, "")),
    ("mount-proc-anew", |_| anew("proc", "sys/kernel/core_pattern")),
    ("mount-sys-anew", |_| anew("sysfs", "kernel/mm/transparent_hugepage/enabled")),
    ("mount-cgroup-anew", cgroup),
    ("mount-in-user-namespace", in_user_namespace),
    ("mount-overlay", overlay),
    ("remount-proc-sys", remount),
    ("unmount-mask", unmount_mask),
    ("fsopen", |_| Ok(call(libc::SYS_fsopen, [Arg::S(c"tmpfs"), Arg::N(0)]).map(drop)?)),
    ("open-tree", open_tree),
    ("mount-setattr", setattr),
    ("pivot-root", pivot),
    ("chroot-and-descriptor", chroot_and_descriptor),
    ("chroot-twice", chroot_twice),
    ("leaked-descriptor", leaked),
    ("link-in-volume", link),
];

fn text(text: &str) -> Result<CString, End> {
    CString::new(text).map_err(|_| End::Wrong("a NUL".into()))
}

pub(crate) fn mount(source: &str, target: &str, kind: &str, flags: u64, options: &str) -> Tried {
    let (source, target, kind, options) = (text(source)?, text(target)?, text(kind)?, text(options)?);
    let flags = i64::try_from(flags).unwrap_or(0);
    let args = [Arg::S(&source), Arg::S(&target), Arg::S(&kind), Arg::N(flags), Arg::S(&options)];
    Ok(call(libc::SYS_mount, args).map(drop)?)
}

/// Opens a file to write, and does not.
pub(crate) fn writable(path: impl AsRef<Path>) -> Tried {
    let path = path.as_ref();
    match OpenOptions::new().write(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Err(End::Absent(format!("no {}", path.display()))),
        Err(error) => Err(error.into()),
    }
}

/// A new instance of a file system of the kernel, without what is hidden of the other one.
fn anew(kind: &str, file: &str) -> Tried {
    mount(kind, "/tmp", kind, 0, "")?;
    writable(format!("/tmp/{file}"))
}

/// A tree of groups of the first generation has a program of the device's that it runs when a group is empty.
fn cgroup(_: &Told) -> Tried {
    let mut end = Err(End::Absent("no controller of the first generation".into()));
    for controllers in ["memory", "pids", "cpuset", "freezer", "devices", "blkio", "none,name=systemd"] {
        end = mount("cgroup", "/tmp", "cgroup", 0, controllers);
        if end.is_ok() {
            break;
        }
    }
    end?;
    OpenOptions::new().write(true).open("/tmp/release_agent")?;
    Ok(())
}

const NEW_USER: i64 = libc::CLONE_NEWUSER as i64;
const NEW_MOUNT: i64 = libc::CLONE_NEWNS as i64;

fn in_user_namespace(_: &Told) -> Tried {
    call(libc::SYS_unshare, [Arg::N(NEW_USER | NEW_MOUNT)])?;
    mount("none", "/tmp", "tmpfs", 0, "")
}

fn overlay(_: &Told) -> Tried {
    let dirs = ["/dev/shm/l", "/dev/shm/u", "/dev/shm/w"];
    dirs.iter().try_for_each(fs::create_dir)?;
    mount("overlay", "/tmp", "overlay", 0, "lowerdir=/dev/shm/l,upperdir=/dev/shm/u,workdir=/dev/shm/w")
}

fn remount(_: &Told) -> Tried {
    mount("none", "/proc/sys", "none", libc::MS_REMOUNT | libc::MS_BIND, "")?;
    writable("/proc/sys/kernel/core_pattern")
}

fn unmount_mask(_: &Told) -> Tried {
    call(libc::SYS_umount2, [Arg::S(c"/proc/keys"), Arg::N(libc::MNT_DETACH.into())])?;
    crate::files::tells("/proc/keys")
}

fn open_tree(_: &Told) -> Tried {
    // OPEN_TREE_CLONE
    Ok(call(libc::SYS_open_tree, [Arg::N(libc::AT_FDCWD.into()), Arg::S(c"/"), Arg::N(1)]).map(drop)?)
}

fn setattr(_: &Told) -> Tried {
    // struct mount_attr: what is set, what is cleared (MOUNT_ATTR_RDONLY), propagation, user namespace
    let attr: Vec<u8> = [0_u64, 1, 0, 0].iter().flat_map(|one| one.to_ne_bytes()).collect();
    let args = [Arg::N(libc::AT_FDCWD.into()), Arg::S(c"/proc/sys"), Arg::N(0), Arg::R(&attr), Arg::N(32)];
    call(libc::SYS_mount_setattr, args)?;
    writable("/proc/sys/kernel/core_pattern")
}

fn pivot(_: &Told) -> Tried {
    fs::create_dir("/run/old")?;
    Ok(call(libc::SYS_pivot_root, [Arg::S(c"/run"), Arg::S(c"/run/old")]).map(drop)?)
}

/// What only the device has, by the path that it has there.
fn secret(told: &Told, below: &str) -> Tried {
    match File::open(format!("{below}{}/marker", told.text("secret")?)) {
        Ok(_) => Ok(()),
        Err(error) => Err(End::Nothing(format!("still inside: {error}"))),
    }
}

fn up() -> Result<(), End> {
    for _ in 0..64 {
        std::env::set_current_dir("..")?;
    }
    Ok(std::os::unix::fs::chroot(".")?)
}

fn chroot_and_descriptor(told: &Told) -> Tried {
    let out = File::open("/")?;
    fs::create_dir_all("/run/in")?;
    std::os::unix::fs::chroot("/run/in")?;
    call(libc::SYS_fchdir, [Arg::N(out.as_raw_fd().into())])?;
    up()?;
    secret(told, "")
}

fn chroot_twice(told: &Told) -> Tried {
    fs::create_dir_all("/run/in")?;
    std::os::unix::fs::chroot("/run/in")?;
    up()?;
    secret(told, "")
}

fn leaked(told: &Told) -> Tried {
    for fd in 3..1024 {
        if call(libc::SYS_fchdir, [Arg::N(fd)]).is_ok() && Path::new("marker").exists() {
            return Ok(());
        }
    }
    told.text("secret").map(drop)?;
    Err(End::Nothing("no directory of the device is open".into()))
}

fn link(_: &Told) -> Tried {
    match File::open("/srv/marker") {
        Ok(_) => Ok(()),
        Err(error) => Err(End::Nothing(format!("the link ends in the volume: {error}"))),
    }
}
