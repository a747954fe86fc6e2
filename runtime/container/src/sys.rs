//! The system calls that have no safe wrapper: `clone3` with its child, seccomp, mount attributes, the loop driver.
//!
//! The only file of the crate with `unsafe` in it. Between `clone3` and `execve` the child may call only what is safe
//! in a signal handler, because another thread of PID 1 may have held any lock at that moment: [`child`] uses memory
//! that was prepared before and makes system calls, nothing else.
#![expect(unsafe_code, reason = "raw system calls; each block states why it is sound")]

use std::ffi::{CStr, CString};
use std::net::Ipv4Addr;
use std::os::raw::{c_char, c_int, c_long, c_uint, c_void};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::ptr;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::ioctl;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

use crate::failure::{EXIT_CODE, FRAME_MAX, Failure, Step};

/// Where the stage finds its launch.
const LAUNCH_FD: RawFd = 3;
/// Where the stage reports a failure.
const ERROR_FD: RawFd = 4;
/// Where a stage finds what only some of them have: [`Start::fifth`].
const FIFTH_FD: RawFd = 5;
/// Descriptors that are given to a child must lie from here on, so that none is overwritten while they are put in
/// place.
pub(crate) const FIRST_FREE_FD: RawFd = 16;

/// What a child needs. All descriptors are at least [`FIRST_FREE_FD`].
pub(crate) struct Start<'a> {
    /// `CLONE_NEW…`
    pub(crate) namespaces: u64,
    /// `None`: where the parent is.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    pub(crate) program: &'a CStr,
    /// At most seven.
    pub(crate) args: &'a [&'a CStr],
    pub(crate) input: BorrowedFd<'a>,
    pub(crate) output: BorrowedFd<'a>,
    /// Where its error output goes.
    pub(crate) errors: BorrowedFd<'a>,
    pub(crate) launch: BorrowedFd<'a>,
    pub(crate) error: BorrowedFd<'a>,
    /// For a program that enters, the first process of the container; for a container with users of its own, the way to say
    /// which process becomes it. Nobody is both.
    pub(crate) fifth: Option<BorrowedFd<'a>>,
}

/// `struct clone_args` up to the cgroup (Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// The size of the kernel's set of signals, in bytes. `struct sigaction` is at most four words; zeros are the default.
const SIGNAL_SET: usize = 8;

/// `CLONE_CLEAR_SIGHAND` and `CLONE_INTO_CGROUP`, which are too wide for the constants of `clone(2)`.
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Starts a child of this process in its cgroup and namespaces, which executes `start.program`.
pub(crate) fn clone_and_exec(start: &Start<'_>) -> Result<(Pid, OwnedFd), Errno> {
    let mut argv: [*const c_char; 8] = [ptr::null(); 8];
    // The last pointer stays null, whatever there is to be passed.
    for (pointer, arg) in argv.iter_mut().take(7).zip(start.args) {
        *pointer = arg.as_ptr();
    }
    let mut pidfd: c_int = -1;
    let mut args = CloneArgs {
        // Handlers of the parent must not run in the child.
        flags: start.namespaces | libc::CLONE_PIDFD as u64 | CLONE_CLEAR_SIGHAND,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = start.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` is what the kernel documents, of the given size. Memory is not shared (no CLONE_VM), so that the
    // child works on a copy of this stack and returns from the call like `fork` does; it never leaves `child`.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    if pid == 0 {
        child(start, &argv);
    }
    let pid = checked(pid)?;
    // SAFETY: the kernel has stored a new descriptor, close-on-exec, which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // A pid fits into an `i32` and is not zero here.
    Ok((i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::INVAL)?, pidfd))
}

/// The child, on a copy of the parent's memory.
fn child(start: &Start<'_>, argv: &[*const c_char; 8]) -> ! {
    let fail = || -> ! {
        let failure = Failure { step: Step::Begin, path: String::new(), errno: last_error().raw_os_error() };
        let mut frame = [0; FRAME_MAX];
        let frame = failure.encode(&mut frame);
        // SAFETY: the frame is initialised memory of that length. `_exit` runs no code of the parent.
        unsafe {
            libc::write(start.error.as_raw_fd(), frame.as_ptr().cast(), frame.len());
            libc::_exit(EXIT_CODE)
        }
    };
    // SAFETY: only calls that are safe in a signal handler; `set` is initialised by `sigemptyset`. The descriptors are
    // open, and none of them is among the targets (see FIRST_FREE_FD). `argv` ends with a null pointer, and all
    // strings live in the copied memory of the parent.
    unsafe {
        // Ignored signals stay ignored across an exec. Not through the C library, which keeps two for itself and would
        // leave those as they are. The kernel refuses the two that nobody can set, which does not matter.
        let default = [0_u64; 4];
        for signal in 1..=64 {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null::<u64>(), SIGNAL_SET);
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        if libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut()) < 0 || libc::setsid() < 0 {
            fail();
        }
        let own = [(start.input, 0), (start.output, 1), (start.errors, 2), (start.launch, LAUNCH_FD)];
        for (from, to) in own.into_iter().chain([(start.error, ERROR_FD)]).chain(start.fifth.map(|fd| (fd, FIFTH_FD))) {
            if libc::dup2(from.as_raw_fd(), to) < 0 {
                fail();
            }
        }
        // Whatever else is open here without close-on-exec, by whose mistake ever, is not for containers.
        let last = if start.fifth.is_some() { FIFTH_FD } else { ERROR_FD };
        let rest = last as c_uint + 1;
        if libc::syscall(libc::SYS_close_range, rest, c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) < 0 {
            fail();
        }
        // For the helper that stays; a stage clears it.
        let env: [*const c_char; 2] = [rest::WITHOUT_CACHES.as_ptr(), ptr::null()];
        libc::execve(start.program.as_ptr(), argv.as_ptr(), env.as_ptr());
    }
    fail()
}

/// What [`clone_and_exec`] has left for the stage, close-on-exec from here on.
pub(crate) struct Inherited {
    pub(crate) launch: OwnedFd,
    pub(crate) error: OwnedFd,
    pub(crate) fifth: Option<OwnedFd>,
}

/// `None` if this process was started by somebody else.
///
/// To be called once, first thing.
pub(crate) fn inherited() -> Option<Inherited> {
    Some(Inherited { launch: take(LAUNCH_FD)?, error: take(ERROR_FD)?, fifth: take(FIFTH_FD) })
}

/// To be called once for each number.
fn take(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: setting a flag of a descriptor number; the answer says whether it is open.
    let is_open = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
    // SAFETY: it is open, and nothing else in the process owns it: the role `stage` has just begun.
    is_open.then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What [`divide`] has made of the one process that called it.
pub(crate) enum Half {
    /// The one that called, with the other one's number and descriptor.
    Old(Pid, OwnedFd),
    /// The new one, with a copy of everything.
    New,
}

/// Whose child the new half is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parent {
    /// The caller's. Both have the same descriptors, and what one of them opens or closes, it does for both.
    Caller,
    /// That of the caller, which is told its end as that of the caller.
    Same,
}

/// Divides this process in two, as `fork` does. For the stage alone, which has one thread. By `clone3`, as only that has
/// room for every namespace beside a signal; no filter of system calls is loaded yet.
pub(crate) fn divide(namespaces: u64, parent: Parent) -> Result<Half, Errno> {
    let mut pidfd: c_int = -1;
    let (flags, exit_signal) = match parent {
        Parent::Caller => (libc::CLONE_FILES, libc::SIGCHLD),
        Parent::Same => (libc::CLONE_PARENT, 0),
    };
    let mut args = CloneArgs {
        flags: namespaces | libc::CLONE_PIDFD as u64 | flags as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: exit_signal as u64,
        ..CloneArgs::default()
    };
    // SAFETY: `args` is what the kernel documents, up to the cgroup, which is not asked for. Memory is not shared (no
    // CLONE_VM), and there is no other thread that could have held a lock: the new half goes on as after `fork`.
    let pid = checked(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Half::New);
    }
    // SAFETY: the kernel has stored a new descriptor, close-on-exec, which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Half::Old(i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::INVAL)?, pidfd))
}

/// Ends this process without a word, and without running what the other half would run once more.
pub(crate) fn exit(code: c_int) -> ! {
    // SAFETY: it runs no code of this process.
    unsafe { libc::_exit(code) }
}

/// From here on, files that this thread makes belong to these ids of the device.
pub(crate) fn make_files_as(uid: u32, gid: u32) -> Result<(), Errno> {
    // The calls tell only who it was before; no id is the last number, so asking for it changes nothing.
    // SAFETY: no memory is passed.
    let now = unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
        (libc::setfsuid(u32::MAX), libc::setfsgid(u32::MAX))
    };
    if (now.0.cast_unsigned(), now.1.cast_unsigned()) == (uid, gid) { Ok(()) } else { Err(Errno::PERM) }
}

/// Gives this process mounts of its own, which begin as those that it has seen.
pub(crate) fn unshare_mounts() -> Result<(), Errno> {
    // SAFETY: no file descriptor table is unshared, which is what the call warns of.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
}

/// Becomes two: the other is a child of *our parent*, and the first of us in the process namespace that was joined. `None`
/// is the other. For a process of one thread.
pub(crate) fn clone_sibling() -> Result<Option<Pid>, Errno> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // `clone` and not `clone3`: filters of system calls see its flags, and therefore allow it.
    // SAFETY: without CLONE_VM the child has a copy of all memory, so both may go on as they are; it has no second thread
    // that could have held a lock. The pointers are null, in whatever order an architecture has them.
    let pid = checked(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })?;
    Ok(i32::try_from(pid).ok().and_then(Pid::from_raw))
}

/// Gives this process a cgroup namespace whose root is where it is now.
pub(crate) fn unshare_cgroup() -> Result<(), Errno> {
    // SAFETY: no file descriptor table is unshared, which is what the call warns of.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) }
}

/// Leaves the keys of the session that this process was started in.
pub(crate) fn new_session_keyring() -> Result<(), Errno> {
    // SAFETY: no memory is passed; the null pointer asks for a keyring without a name.
    let done = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<c_char>()) };
    checked(done).map(|_| ())
}

/// `struct mount_attr` (Linux 5.12).
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct MountAttr {
    /// `MOUNT_ATTR_…` to set.
    pub(crate) set: u64,
    /// `MOUNT_ATTR_…` to clear; done first.
    pub(crate) clear: u64,
    /// `MS_PRIVATE` or `MS_SLAVE`, or 0 for no change.
    pub(crate) propagation: u64,
    pub(crate) userns_fd: u64,
}

/// Changes the mount that `mount` is the root of, or also all below it.
pub(crate) fn mount_setattr(mount: impl AsFd, recursive: bool, attr: MountAttr) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let fd = mount.as_fd().as_raw_fd();
    let size = size_of::<MountAttr>();
    // SAFETY: the path is an empty C string, and `attr` is what the kernel documents, of the given size.
    let done = unsafe { libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, &raw const attr, size) };
    checked(done).map(|_| ())
}

/// Sends any signal, also a real-time one, which has no name in the safe wrapper.
pub(crate) fn pidfd_send(pidfd: impl AsFd, signal: c_int) -> Result<(), Errno> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: the null pointer asks for the default information; no other memory is passed.
    let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, ptr::null::<c_void>(), 0) };
    checked(done).map(|_| ())
}

/// Has `command` end in `execve(2)` of this very file. Some C libraries try a shell on what the kernel refuses as no program,
/// which then fails for reasons of its own.
pub(crate) fn execute_exactly(command: &mut Command, program: CString, args: Vec<CString>, env: Vec<CString>) {
    let list = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>();
    let execute = move || {
        let (args, env) = (list(&args), list(&env));
        // SAFETY: each text ends with a zero and each list with a null pointer, and all of them live until the call
        // returns, which it does only if it fails.
        unsafe { libc::execve(program.as_ptr(), args.as_ptr(), env.as_ptr()) };
        Err(std::io::Error::last_os_error())
    };
    // SAFETY: the command is executed in this process and not in a fork of it, so the closure may allocate.
    unsafe { command.pre_exec(execute) };
}

/// Lets the kernel judge every further system call of this thread by `filter`, a row of `struct sock_filter`.
pub(crate) fn load_filter(filter: &[u8]) -> Result<(), Errno> {
    let instruction = |bytes: &[u8; 8]| {
        let [a, b, jt, jf, k @ ..] = *bytes;
        libc::sock_filter { code: u16::from_ne_bytes([a, b]), jt, jf, k: u32::from_ne_bytes(k) }
    };
    let mut program: Vec<_> = filter.as_chunks::<8>().0.iter().map(instruction).collect();
    let len = program.len().try_into().map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: `program` points to `len` instructions that live until the call returns; the kernel copies and checks
    // them.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    checked(done).map(|_| ())
}

const BPF_PROG_LOAD: c_int = 5;
const BPF_PROG_ATTACH: c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// What is attached further down is asked as well, instead of being refused or taking its place.
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;

/// `union bpf_attr` for `BPF_PROG_LOAD`, up to what every kernel has.
#[repr(C)]
struct ProgramAttr {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
}

/// Has the kernel check a program about device nodes. Programs go with their last descriptor or group.
pub(crate) fn load_device_program(program: &[[u8; 8]]) -> Result<OwnedFd, Errno> {
    let attr = ProgramAttr {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        instructions: program.as_ptr() as u64,
        // No function of the kernel is called, so none asks for it.
        license: c"".as_ptr() as u64,
    };
    // SAFETY: `attr` points to `count` instructions and a string, all of which live until the call returns.
    let fd = checked(unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attr, size_of_val(&attr)) })?;
    // SAFETY: the descriptor is new, close-on-exec, and nobody else's. Descriptors fit into an `i32`.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Has the kernel ask `program` for every process in `group` and below.
pub(crate) fn attach_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let attr: [u32; 4] =
        [group.as_raw_fd().unsigned_abs(), program.as_raw_fd().unsigned_abs(), BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI];
    // SAFETY: `attr` is what the kernel documents for this command, of the given size, and holds no pointer.
    let done = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attr, size_of_val(&attr)) };
    checked(done).map(|_| ())
}

/// `struct loop_config` (Linux 5.8) with its `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct LoopConfig {
    file: u32,
    block_size: u32,
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    /// `LO_FLAGS_…`
    flags: u32,
    /// For people who look at `/sys/block`; ends with a NUL.
    name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopConfig>() == 304);

impl LoopConfig {
    /// The file of this descriptor, from its first byte to its last. Of the name, what fits is kept.
    pub(crate) fn of(file: BorrowedFd<'_>, block_size: u32, flags: u32, name: &[u8]) -> Self {
        // SAFETY: all fields are integers or arrays of them, for which zero is a value.
        let mut config: Self = unsafe { std::mem::zeroed() };
        config.file = file.as_raw_fd().unsigned_abs();
        config.block_size = block_size;
        config.flags = flags;
        // The last byte stays NUL.
        let room = config.name.len() - 1;
        for (to, from) in config.name.iter_mut().take(room).zip(name) {
            *to = *from;
        }
        config
    }
}

const LOOP_CONFIGURE: ioctl::Opcode = 0x4C0A;
const LOOP_CTL_GET_FREE: ioctl::Opcode = 0x4C82;

/// `LOOP_CTL_GET_FREE` takes nothing and returns the number as the value of the call.
struct GetFree;

// SAFETY: the opcode belongs to the call, which reads and writes no memory of ours.
unsafe impl ioctl::Ioctl for GetFree {
    type Output = c_int;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> ioctl::Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        ptr::null_mut()
    }

    unsafe fn output_from_ptr(number: ioctl::IoctlOutput, _: *mut c_void) -> rustix::io::Result<c_int> {
        Ok(number)
    }
}

/// The number of a loop device that was free a moment ago.
pub(crate) fn loop_get_free(control: impl AsFd) -> Result<c_int, Errno> {
    // SAFETY: see `GetFree`. On anything but the loop driver the call is refused.
    unsafe { ioctl::ioctl(control, GetFree) }
}

/// Makes the loop device what `config` says.
pub(crate) fn loop_configure(device: impl AsFd, config: LoopConfig) -> Result<(), Errno> {
    // SAFETY: LOOP_CONFIGURE reads a `struct loop_config`, which `LoopConfig` is.
    unsafe { ioctl::ioctl(device, ioctl::Setter::<LOOP_CONFIGURE, LoopConfig>::new(config)) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn checked(answer: c_long) -> Result<c_long, Errno> {
    if answer < 0 { Err(last_error()) } else { Ok(answer) }
}

/// `struct ifreq`: a name, and what the call makes of the rest.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    rest: [u8; 24],
}

impl InterfaceRequest {
    fn of(name: &[u8]) -> Result<Self, Errno> {
        let mut request = Self { name: [0; libc::IFNAMSIZ], rest: [0; 24] };
        // One byte stays zero, as the kernel wants it.
        if name.len() >= request.name.len() {
            return Err(Errno::NAMETOOLONG);
        }
        request.name.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        Ok(request)
    }
}

/// Sets flags of a network interface, beside those that it has.
pub(crate) fn interface_set_flags(socket: BorrowedFd<'_>, name: &[u8], flags: u16) -> Result<(), Errno> {
    let mut request = InterfaceRequest::of(name)?;
    // SAFETY: both calls read and write one `struct ifreq`, which is at most 40 bytes and lives on this stack.
    let done = unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request) == 0 && {
            let [low, high, ..] = &mut request.rest;
            [*low, *high] = (u16::from_ne_bytes([*low, *high]) | flags).to_ne_bytes();
            libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request) == 0
        }
    };
    if done { Ok(()) } else { Err(last_error()) }
}

/// Sets the IPv4 address of a network interface and then its mask; without a mask, the address alone.
pub(crate) fn interface_set_address(
    socket: BorrowedFd<'_>,
    name: &[u8],
    address: Ipv4Addr,
    mask: Option<Ipv4Addr>,
) -> Result<(), Errno> {
    let set = |address: Ipv4Addr, request: &mut InterfaceRequest| {
        let from = inet(address);
        request.rest.iter_mut().zip(from).for_each(|(to, from)| *to = from);
    };
    let mut request = InterfaceRequest::of(name)?;
    set(address, &mut request);
    // SAFETY: both calls read one `struct ifreq`, which is at most 40 bytes and lives on this stack.
    let done = unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR as _, &raw mut request) == 0
            && mask.is_none_or(|mask| {
                set(mask, &mut request);
                libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFNETMASK as _, &raw mut request) == 0
            })
    };
    if done { Ok(()) } else { Err(last_error()) }
}

/// Adds a way to all other networks.
pub(crate) fn add_default_route(socket: BorrowedFd<'_>, router: Ipv4Addr) -> Result<(), Errno> {
    let address = |address| {
        // SAFETY: a family and bytes, for which any value is one.
        unsafe { std::mem::transmute::<[u8; 16], libc::sockaddr>(inet(address)) }
    };
    // SAFETY: integers, addresses and a pointer, for all of which zero is a value; a null device lets the kernel choose.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = address(Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = address(Ipv4Addr::UNSPECIFIED);
    route.rt_gateway = address(router);
    route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
    // SAFETY: the call reads one `struct rtentry`, which lives on this stack.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT as _, &raw mut route) };
    if done == 0 { Ok(()) } else { Err(last_error()) }
}

/// The bytes of a `struct sockaddr_in` without a port.
fn inet(address: Ipv4Addr) -> [u8; 16] {
    // The number of the family fits into the two bytes that it has.
    let [low, high] = (libc::AF_INET as u16).to_ne_bytes();
    let [a, b, c, d] = address.octets();
    [low, high, 0, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// From now on a socket sends and receives on this network interface alone.
pub(crate) fn bind_to_interface(socket: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let length = name.len().try_into().map_err(|_| Errno::NAMETOOLONG)?;
    // SAFETY: the kernel reads `length` bytes of `name`, which live until the call returns.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_ptr().cast(), length)
    };
    if done == 0 { Ok(()) } else { Err(last_error()) }
}

/// Blocks these signals in the calling thread, and in those that it starts from now on, and gives a descriptor that
/// tells them.
pub(crate) fn signal_descriptor(signals: &[c_int]) -> Result<OwnedFd, Errno> {
    // SAFETY: `set` is initialised by `sigemptyset` before anything reads it. The descriptor is new and nobody else's.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        let error = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
        if error != 0 {
            return Err(Errno::from_raw_os_error(error));
        }
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
        if fd < 0 { Err(last_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// `reboot(2)` with one of its commands; `arg` is read by `LINUX_REBOOT_CMD_RESTART2` only.
pub(crate) fn reboot(command: c_int, arg: Option<&CStr>) -> Errno {
    let arg = arg.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: the magic numbers are those of the call; `arg` is null or a string that lives while it is read.
    unsafe {
        libc::syscall(libc::SYS_reboot, libc::LINUX_REBOOT_MAGIC1, libc::LINUX_REBOOT_MAGIC2, command, arg);
    }
    last_error()
}
