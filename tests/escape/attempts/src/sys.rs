//! System calls by their numbers. The only unsafe code of this program.
#![expect(unsafe_code, reason = "calls that no library would make")]

use std::ffi::CStr;

/// An argument of a call.
pub(crate) enum Arg<'a> {
    /// A number.
    N(i64),
    /// A text.
    S(&'a CStr),
    /// Bytes that the kernel reads.
    R(&'a [u8]),
    /// Bytes that the kernel writes to, and reads.
    W(&'a mut [u8]),
}

impl Arg<'_> {
    fn value(&mut self) -> i64 {
        match self {
            Self::N(number) => *number,
            Self::S(text) => text.as_ptr() as i64,
            Self::R(bytes) => bytes.as_ptr() as i64,
            Self::W(bytes) => bytes.as_mut_ptr() as i64,
        }
    }
}

/// One call.
pub(crate) fn call<const N: usize>(number: libc::c_long, args: [Arg<'_>; N]) -> Result<i64, i32> {
    let mut values = [0_i64; 6];
    let mut args = args;
    for (value, arg) in values.iter_mut().zip(&mut args) {
        *value = arg.value();
    }
    let [a, b, c, d, e, f] = values;
    // SAFETY: where the kernel writes to memory, the argument is a buffer of the caller that is long enough for that call;
    // no call here changes what memory is mapped, or makes a thread.
    let done = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if done < 0 { Err(errno()) } else { Ok(done) }
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)
}

/// `clone` with flags, and nothing shared: a child that ends at once.
pub(crate) fn clone_child(flags: libc::c_int) -> Result<(), i32> {
    // SAFETY: without a stack it is `fork`; the child does nothing but end, in this very function.
    let done = unsafe { libc::syscall(libc::SYS_clone, i64::from(flags | libc::SIGCHLD), 0, 0, 0, 0) };
    after(done)
}

/// The same through `clone3`.
pub(crate) fn clone3_child(flags: libc::c_int) -> Result<(), i32> {
    // flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls
    let args = [i64::from(flags), 0, 0, 0, i64::from(libc::SIGCHLD), 0, 0, 0];
    // SAFETY: the structure is 64 bytes long, as is said; else as above.
    let done = unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), size_of_val(&args)) };
    after(done)
}

fn after(done: i64) -> Result<(), i32> {
    match done {
        0 => {
            // SAFETY: the child ends without running what its parent has registered.
            unsafe { libc::_exit(0) }
        }
        pid if pid > 0 => {
            // SAFETY: no memory is passed.
            unsafe { libc::syscall(libc::SYS_wait4, pid, 0, 0, 0) };
            Ok(())
        }
        _ => Err(errno()),
    }
}

/// Who this process is.
pub(crate) fn effective_user() -> u32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// A call of the 32-bit system, from this program of 64 bits.
#[cfg(target_arch = "x86_64")]
pub(crate) fn call32(number: u32, args: [u32; 4]) -> Result<i32, i32> {
    let [b, c, d, s] = args;
    let done: i32;
    // SAFETY: the kernel saves all registers but `eax`; `rbx`, which the compiler keeps for itself, is put back. What it
    // writes to lies in a page of `low`.
    unsafe {
        core::arch::asm!(
            "xchg {b:r}, rbx",
            "int 0x80",
            "xchg {b:r}, rbx",
            b = inout(reg) u64::from(b) => _,
            inlateout("eax") number => done,
            in("ecx") c,
            in("edx") d,
            in("esi") s,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if done < 0 { Err(-done) } else { Ok(done) }
}

/// A copy of these bytes where 32 bits reach, for ever.
#[cfg(target_arch = "x86_64")]
pub(crate) fn low(bytes: &[u8]) -> Result<u32, i32> {
    const PAGE: usize = 4096;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    // SAFETY: a new mapping, wherever the kernel finds room.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(errno());
    }
    // SAFETY: the page is this function's own, and the bytes are fewer than it holds.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), page.cast(), bytes.len().min(PAGE)) };
    u32::try_from(page as usize).map_err(|_| libc::ERANGE)
}
