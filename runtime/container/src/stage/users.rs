//! Users of a container's own: one stage becomes two processes.
//!
//! ```text
//!   builder: rights of the device                heir: in the user namespace, and in all that belong to it
//!   ──────────────────────────────               ─────────────────────────────────────────────────────────
//!   clone3 ───── child of PID 1 too ───────────▶ waits
//!   uid_map, gid_map; tells PID 1 of the heir
//!   waits, if held, until PID 1 lets go
//!   follows into its namespaces, builds the root
//!   limits; the root ─────── socket ───────────▶ is root of its own; copies the mounts; keys, rights, exec
//! ```
//!
//! A user namespace takes away what it takes to build: device nodes, block devices, overlays of foreign files. So the
//! builder does all of that, as for any container, in a mount namespace of the device. The heir's is a copy of it, whose
//! mounts the kernel does not let it take apart or make writable (`mount_namespaces(7)`, *restrictions*), whatever rights the
//! container has.
//!
//! Files of images and volumes have the ids of inside on their disks: the builder mounts them through the map of the user
//! namespace. So a range says nothing about data, and another one costs nothing.

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};
use rustix::thread::ThreadNameSpaceType;

use super::{process, terminal};
use crate::failure::{EXIT_CODE, Failure, Step, at};
use crate::launch::{Launch, Namespaces, Output, Process, Range, Users};
use crate::sys::{self, Half, MountAttr, Parent};
use crate::{passing, spawn};

/// `MOUNT_ATTR_IDMAP`
const IDMAP: u64 = 0x0010_0000;

/// What this process is, after [`divide`].
pub(super) enum Divided {
    /// The only one: the users are those of the device.
    No,
    /// The one that builds.
    Builder(Heir),
    /// The one that waits.
    Heir(Heritage),
}

/// The process that becomes the container, as the builder sees it.
pub(super) struct Heir {
    pid: Pid,
    pidfd: OwnedFd,
    /// Its user namespace.
    namespace: OwnedFd,
    users: Users,
    /// Whether it has process ids of its own.
    pids: bool,
    way: OwnedFd,
}

/// What the heir waits for.
pub(super) struct Heritage {
    way: OwnedFd,
}

/// Makes two of one, if the launch asks for users.
pub(super) fn divide(launch: &Launch, report: Option<OwnedFd>) -> Result<Divided, Failure> {
    let Some(users) = &launch.users else { return Ok(Divided::No) };
    let failed = |what| at(Step::Users, what);
    let report = report.ok_or_else(|| Failure::new(Step::Users, "(socket)", Errno::BADF))?;
    let (own, its) = passing::pair().map_err(failed("(socket)"))?;
    let mut namespaces = spawn::clone_flags(launch.namespaces) | flag(libc::CLONE_NEWUSER);
    if launch.namespaces.cgroup {
        // It begins where this process is: in the group of the container.
        namespaces |= flag(libc::CLONE_NEWCGROUP);
    }
    let (pid, pidfd) = match sys::divide(namespaces, Parent::Same).map_err(failed("(user namespace)"))? {
        Half::New => return Ok(Divided::Heir(Heritage { way: its })),
        Half::Old(pid, pidfd) => (pid, pidfd),
    };
    // What fails from here on ends the heir too: nobody holds the other end any more.
    let dir = format!("/proc/{}", pid.as_raw_pid());
    for (file, ranges) in [("uid_map", &users.uids), ("gid_map", &users.gids)] {
        super::write(Step::Users, &format!("{dir}/{file}"), &lines(ranges))?;
    }
    let namespace = rustix::fs::open(format!("{dir}/ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(failed("(user namespace)"))?;
    // Its outputs are files as well, which it opens anew as `/dev/stderr` or `/dev/console`.
    for output in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let (uid, gid) = root(users)?;
        rustix::fs::fchown(output, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(failed("(output)"))?;
    }
    // Last, so that whoever is told of an heir need not fear for it.
    passing::pass(report, pid.as_raw_pid(), pidfd.as_fd()).map_err(failed("(process)"))?;
    let pids = launch.namespaces.pid;
    Ok(Divided::Builder(Heir { pid, pidfd, namespace, users: users.clone(), pids, way: own }))
}

fn flag(flag: libc::c_int) -> u64 {
    u64::from(flag.unsigned_abs())
}

fn lines(ranges: &[Range]) -> String {
    ranges.iter().map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count)).collect()
}

/// Who root of the container is on the device.
fn root(users: &Users) -> Result<(u32, u32), Failure> {
    users.uid(0).zip(users.gid(0)).ok_or_else(|| Failure::new(Step::Users, "(root)", Errno::INVAL))
}

impl Heir {
    /// Joins those of its namespaces that what is mounted, set or named from here on belongs to.
    pub(super) fn follow(&self, own: Namespaces) -> Result<(), Failure> {
        let kinds = [
            (own.net, ThreadNameSpaceType::NETWORK),
            (own.uts, ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME),
            (own.ipc, ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION),
            (own.cgroup, ThreadNameSpaceType::CONTROL_GROUP),
        ];
        let all =
            kinds.into_iter().filter(|(own, _)| *own).fold(ThreadNameSpaceType::empty(), |all, (_, one)| all | one);
        if all.is_empty() {
            return Ok(());
        }
        rustix::thread::move_into_thread_name_spaces(self.pidfd.as_fd(), all)
            .map_err(at(Step::Namespace, "(of its users)"))
    }

    /// Files of the device that have ids of the container on their disk are its users' in this mount, which is attached to
    /// nothing yet.
    pub(super) fn map(&self, tree: &OwnedFd, recursive: bool) -> Result<(), Errno> {
        let userns_fd = self.namespace.as_raw_fd().unsigned_abs().into();
        sys::mount_setattr(tree, recursive, MountAttr { set: IDMAP, userns_fd, ..MountAttr::default() })
    }

    /// Does something as root of the container is on the device, with no other rights.
    pub(super) fn as_its_root<T>(&self, work: impl FnOnce() -> T) -> Result<T, Failure> {
        let act_as = |uid| rustix::thread::set_thread_res_uid(Uid::ROOT, uid, Uid::ROOT);
        let (uid, _) = root(&self.users)?;
        act_as(Uid::from_raw(uid)).map_err(at(Step::Users, "(root)"))?;
        let done = work();
        act_as(Uid::ROOT).map_err(at(Step::Users, "(root)"))?;
        Ok(done)
    }

    /// Makes whatever this process makes from here on belong to root of the container.
    pub(super) fn make_files_as_its_root(&self) -> Result<(), Failure> {
        let (uid, gid) = root(&self.users)?;
        let failed = || at(Step::Users, "(files)");
        sys::make_files_as(uid, gid).map_err(failed())?;
        // The kernel takes it for a step down, and this process needs what it is allowed.
        let mut rights = rustix::thread::capabilities(None).map_err(failed())?;
        rights.effective = rights.permitted;
        rustix::thread::set_capabilities(None, rights).map_err(failed())
    }

    /// Gives a file to root of the container.
    pub(super) fn give(&self, file: &OwnedFd) -> Result<(), Errno> {
        let ids = self.users.uid(0).zip(self.users.gid(0));
        let (uid, gid) = ids.ok_or(Errno::INVAL)?;
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(file, "", uid, gid, AtFlags::EMPTY_PATH)
    }

    /// The group of the device that a group of the container is.
    pub(super) fn gid(&self, inside: u32) -> Option<u32> {
        self.users.gid(inside)
    }

    /// An option of a file system that names an id of the container, as this process has to say it.
    pub(super) fn option(&self, option: &str) -> Result<String, Errno> {
        let id = |text: &str| text.parse().map_err(|_| Errno::INVAL);
        let known = match option.split_once('=') {
            Some(("uid", text)) => self.users.uid(id(text)?).map(|id| format!("uid={id}")),
            Some(("gid", text)) => self.users.gid(id(text)?).map(|id| format!("gid={id}")),
            _ => Some(option.to_owned()),
        };
        known.ok_or(Errno::INVAL)
    }

    /// Makes a mount that tells of the process ids of whoever makes it.
    pub(super) fn among_its_pids(&self, make: impl FnOnce() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
        if !self.pids {
            return make();
        }
        // The child has the same descriptors, and puts the mount in the place of this one.
        let mut place = rustix::io::fcntl_dupfd_cloexec(&self.namespace, 0)?;
        rustix::thread::move_into_thread_name_spaces(self.pidfd.as_fd(), ThreadNameSpaceType::PROCESS_ID)?;
        let child = match sys::divide(0, Parent::Caller)? {
            Half::Old(child, _) => child,
            Half::New => {
                let put = |tree: OwnedFd| rustix::io::dup3(tree, &mut place, rustix::io::DupFlags::CLOEXEC);
                let code = make().and_then(put).err().map_or(0, Errno::raw_os_error);
                sys::exit(code)
            }
        };
        let ended = loop {
            match rustix::process::waitpid(Some(child), WaitOptions::empty()) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        match ended.and_then(|(_, status)| status.exit_status()) {
            Some(0) => Ok(place),
            code => Err(code.map_or(Errno::INTR, Errno::from_raw_os_error)),
        }
    }

    /// Hands over what was built: this process sees it as `/`.
    pub(super) fn bequeath(&self, process: &Process, terminal: Option<&OwnedFd>) -> Result<(), Failure> {
        // The heir may not raise any.
        process::limit(process, Some(self.pid))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let hand = || passing::pass(&self.way, 0, rustix::fs::openat(CWD, "/", flags, Mode::empty())?.as_fd());
        hand().map_err(at(Step::Users, "(root)"))?;
        let terminal = terminal.map_or(Ok(()), |terminal| passing::pass(&self.way, 0, terminal.as_fd()));
        terminal.map_err(at(Step::Users, "(terminal)"))
    }
}

impl Heritage {
    /// Waits for it, and becomes the container.
    pub(super) fn enter(self, process: &Process) -> Result<(), Failure> {
        let failed = |what| at(Step::Users, what);
        let Some((_, root)) = passing::take(&self.way).map_err(failed("(socket)"))? else {
            // The builder says why.
            sys::exit(EXIT_CODE)
        };
        if process.output == Output::Terminal {
            let terminal = passing::take(&self.way).map_err(failed("(terminal)"))?;
            let Some((_, terminal)) = terminal else { sys::exit(EXIT_CODE) };
            terminal::speak_through(&terminal)?;
        }
        let (user, group) = (Uid::ROOT, Gid::ROOT);
        rustix::thread::set_thread_res_gid(group, group, group).map_err(failed("(group)"))?;
        rustix::thread::set_thread_res_uid(user, user, user).map_err(failed("(user)"))?;
        rustix::process::setsid().map_err(failed("(session)"))?;
        rustix::process::fchdir(&root).map_err(failed("(root)"))?;
        rustix::process::chroot(".").map_err(failed("(root)"))?;
        rustix::process::chdir("/").map_err(failed("(root)"))?;
        drop(root);
        sys::unshare_mounts().map_err(failed("(mounts)"))?;
        super::leave_keys()?;
        process::become_it(process).map(|never| match never {})
    }
}
