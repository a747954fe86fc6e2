//! What a program needs when it has nothing: a first instruction, a last one, an end for panics, and the four memory
//! functions that the compiler calls by name. The only unsafe code of this crate.

use core::arch::{asm, global_asm};
use core::panic::PanicInfo;

// The kernel leaves the stack aligned to 16 bytes, and a call is what makes it look as a function expects.
#[cfg(target_arch = "x86_64")]
global_asm!(".globl _start", "_start:", "xor ebp, ebp", "call {main}", "ud2", main = sym main);
#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start:", "mov x29, #0", "bl {main}", "brk #1", main = sym main);

extern "C" fn main() -> ! {
    exit(crate::walk::walk().err().unwrap_or(0))
}

#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    exit(101)
}

fn exit(code: u8) -> ! {
    // SAFETY: exit_group takes one number, touches no memory of ours and does not come back.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("syscall", in("rax") 231, in("rdi") u64::from(code), options(noreturn, nostack));
        #[cfg(target_arch = "aarch64")]
        asm!("svc 0", in("x8") 94, in("x0") u64::from(code), options(noreturn, nostack));
    }
}

// Volatile, byte by byte: the optimiser would turn a plain loop into a call of the very function it stands in.

/// # Safety
/// As in C: both ranges are valid and do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller promises `length` bytes at both ends; offsets stay below `length`.
    (0..length).for_each(|at| unsafe { to.add(at).write_volatile(from.add(at).read_volatile()) });
    to
}

/// # Safety
/// As in C: both ranges are valid.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: as `memcpy`; going backwards when `to` lies above `from` reads each byte before it is overwritten.
    let copy = |at| unsafe { to.add(at).write_volatile(from.add(at).read_volatile()) };
    if to.cast_const() > from {
        (0..length).rev().for_each(copy)
    } else {
        (0..length).for_each(copy)
    }
    to
}

/// # Safety
/// As in C: the range is valid.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    // SAFETY: the caller promises `length` bytes; offsets stay below `length`. C takes the low byte.
    (0..length).for_each(|at| unsafe { to.add(at).write_volatile(byte as u8) });
    to
}

/// # Safety
/// As in C: both ranges are valid.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    for at in 0..length {
        // SAFETY: the caller promises `length` bytes in both; `at` is below it.
        let (one, other) = unsafe { (one.add(at).read_volatile(), other.add(at).read_volatile()) };
        if one != other {
            return i32::from(one) - i32::from(other);
        }
    }
    0
}

/// # Safety
/// As `memcmp`; only equal or not is asked.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    // SAFETY: the same promise.
    unsafe { memcmp(one, other, length) }
}
