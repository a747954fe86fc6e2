//! The system calls that have no safe wrapper: `clone3` with its child, signals as values, and ioctls of the loop driver
//! and of ext4.
//!
//! The only file of the crate with `unsafe` in it. Between `clone3` and `execve` the child may call only what is safe in
//! a signal handler, because another thread may have held any lock at that moment: [`child`] uses memory that was
//! prepared before and makes system calls, nothing else.
#![expect(unsafe_code, reason = "raw system calls; each block states why it is sound")]

use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::ioctl;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// Descriptors that are given to a child lie from here on, so that none is overwritten while they are put in place.
pub(crate) const FIRST_FREE_FD: RawFd = 32;

/// The exit code of a child that could not execute anything.
const NOT_EXECUTED: c_int = 126;

/// `struct clone_args` of Linux 5.3.
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
}

/// Starts a child as the first process of new namespaces, which executes `program` with `args` (at most seven). It has
/// the descriptors of `fds`, in this order from 0 on; all of them are at least [`FIRST_FREE_FD`].
pub(crate) fn clone_and_exec(program: &CStr, args: &[&CStr], fds: &[Option<BorrowedFd<'_>>]) -> Result<Pid, Errno> {
    let mut argv: [*const c_char; 8] = [ptr::null(); 8];
    // The last pointer stays null, whatever there is to be passed.
    for (pointer, arg) in argv.iter_mut().take(7).zip(args) {
        *pointer = arg.as_ptr();
    }
    let namespaces =
        libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWNET;
    let mut clone = CloneArgs {
        flags: u64::from(namespaces.unsigned_abs()),
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    // SAFETY: `clone` is what the kernel documents, of the given size. Memory is not shared (no CLONE_VM), so that the
    // child works on a copy of this stack and returns from the call like `fork` does; it never leaves `child`.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut clone, size_of::<CloneArgs>()) };
    if pid == 0 {
        child(program, &argv, fds);
    }
    // A pid fits into an `i32` and is not zero here.
    i32::try_from(checked(pid)?).ok().and_then(Pid::from_raw).ok_or(Errno::INVAL)
}

/// The child, on a copy of the parent's memory.
fn child(program: &CStr, argv: &[*const c_char; 8], fds: &[Option<BorrowedFd<'_>>]) -> ! {
    // SAFETY: only calls that are safe in a signal handler. The descriptors are open, and none of them is among the
    // targets (see FIRST_FREE_FD). `argv` ends with a null pointer, and all strings live in the copied memory of the
    // parent.
    unsafe {
        for (to, from) in (0..).zip(fds) {
            match from {
                Some(from) if libc::dup2(from.as_raw_fd(), to) < 0 => libc::_exit(NOT_EXECUTED),
                Some(_) => {}
                None => drop(libc::close(to)),
            }
        }
        libc::setsid();
        let env: [*const c_char; 1] = [ptr::null()];
        libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr());
        libc::_exit(NOT_EXECUTED)
    }
}

/// Takes a descriptor that the parent of this process has put at this number. `None`: nothing is open there.
///
/// To be called once for each number, before anything else is opened.
pub(crate) fn inherited(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: setting a flag of a descriptor number; the answer says whether it is open.
    let is_open = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
    // SAFETY: it is open, and nothing else in the process owns it: the process has just begun.
    is_open.then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Marks all descriptors from this number on as closed by the next exec.
pub(crate) fn close_on_exec_from(fd: RawFd) -> Result<(), Errno> {
    let first = fd.unsigned_abs();
    // SAFETY: flags of descriptors change, no descriptor is closed.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    checked(done).map(drop)
}

/// Gives this process a cgroup namespace whose root is where it is now.
pub(crate) fn unshare_cgroup() -> Result<(), Errno> {
    // SAFETY: no file descriptor table is unshared, which is what the call warns of.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) }
}

/// Signals as a kernel gives them to its first process: none blocked, none ignored.
pub(crate) fn default_signals() {
    // SAFETY: the zeroed words are a `struct sigaction` of the kernel with the default action; `set` is initialised by
    // `sigemptyset`. Not through the C library, which keeps two signals for itself. The kernel refuses the two that
    // nobody can set, which does not matter.
    unsafe {
        let default = [0_u64; 4];
        for signal in 1..=64 {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null::<u64>(), size_of::<u64>());
        }
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), ptr::null_mut());
    }
}

/// Signals that this process takes as values instead of being interrupted by them.
pub(crate) struct Signals(libc::sigset_t);

impl Signals {
    /// Blocks them, for this thread and all that it starts.
    pub(crate) fn take(signals: &[c_int]) -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set before it is used, and the numbers are constants of the C library.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), *signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
            Self(set.assume_init())
        }
    }

    /// The next one, or `None` after that time.
    pub(crate) fn next(&self, within: Duration) -> Option<c_int> {
        let time = libc::timespec {
            tv_sec: within.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: within.subsec_nanos().into(),
        };
        // SAFETY: the set is initialised, nothing is written, and the time lives until the call returns.
        let signal = unsafe { libc::sigtimedwait(&raw const self.0, ptr::null_mut(), &raw const time) };
        (signal > 0).then_some(signal)
    }
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
    /// The whole file of this descriptor.
    pub(crate) fn of(file: BorrowedFd<'_>, flags: u32) -> Self {
        // SAFETY: all fields are integers or arrays of them, for which zero is a value.
        let mut config: Self = unsafe { std::mem::zeroed() };
        config.file = file.as_raw_fd().unsigned_abs();
        config.flags = flags;
        config
    }
}

const LOOP_CONFIGURE: ioctl::Opcode = 0x4C0A;
const LOOP_CTL_GET_FREE: ioctl::Opcode = 0x4C82;
const FIBMAP: ioctl::Opcode = 1;
const FIGETBSZ: ioctl::Opcode = 2;
const FS_IOC_SHUTDOWN: ioctl::Opcode = ioctl::opcode::read::<u32>(b'X', 125);
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`
const NO_LOG_FLUSH: u32 = 2;

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

/// Where the first block of a file lies on its device, in bytes. Zero: it has none.
pub(crate) fn first_block(file: impl AsFd) -> Result<u64, Errno> {
    let (mut size, mut block): (c_int, c_int) = (0, 0);
    // SAFETY: both calls read and write one `int`, which lives longer than they take.
    unsafe {
        ioctl::ioctl(&file, ioctl::Updater::<FIGETBSZ, c_int>::new(&mut size))?;
        ioctl::ioctl(&file, ioctl::Updater::<FIBMAP, c_int>::new(&mut block))?;
    }
    Ok(u64::from(size.unsigned_abs()) * u64::from(block.unsigned_abs()))
}

/// Cuts a file system off from its device: nothing that is not there yet will ever be.
pub(crate) fn shut_down(file: impl AsFd) -> Result<(), Errno> {
    // SAFETY: the call reads one `u32`.
    unsafe { ioctl::ioctl(file, ioctl::Setter::<FS_IOC_SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }
}

fn checked(answer: c_long) -> Result<c_long, Errno> {
    let last = || Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
    if answer < 0 { Err(last()) } else { Ok(answer) }
}
