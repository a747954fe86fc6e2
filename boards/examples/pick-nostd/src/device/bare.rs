//! What a program needs when it has nothing: vectors, a first instruction, an end for panics, and the four calls to the
//! machine around it. The only unsafe code of this package.
//!
//! ```text
//!   flash       ┌──────────────────┐
//!               │ top of the stack │
//!           + 4 │ reset            │  clears .bss, calls main
//!           + 8 │ fault            │  × 14: whatever happens is the end
//!               └──────────────────┘
//! ```
//!
//! Calls are those of *Semihosting for AArch32 and AArch64* (Arm): a breakpoint with the number 0xab, an operation in r0,
//! its argument in r1. A machine without a debugger around it stops there.

use core::arch::{asm, global_asm};
use core::ffi::CStr;
use core::panic::PanicInfo;

use super::log;

const SYS_OPEN: usize = 0x01;
const SYS_WRITE: usize = 0x05;
const SYS_GET_CMDLINE: usize = 0x15;
const SYS_EXIT: usize = 0x18;

/// The console of the host, to be opened like a file.
const CONSOLE: &CStr = c":tt";
/// The mode `w` of `fopen`.
const TO_WRITE: usize = 4;

/// Reasons of an exit: the program has come to its end, or it has not.
const APPLICATION_EXIT: usize = 0x2_0026;
const RUN_TIME_ERROR: usize = 0x2_0023;

global_asm!(
    ".section .vectors, \"a\", %progbits",
    ".word __stack_top",
    ".word reset",
    ".rept 14",
    ".word {fault}",
    ".endr",
    ".section .text.reset, \"ax\", %progbits",
    ".global reset",
    ".type reset, %function",
    ".thumb_func",
    "reset:",
    "ldr r0, =__bss_start",
    "ldr r1, =__bss_end",
    "movs r2, #0",
    "1: cmp r0, r1",
    "bhs 2f",
    "str r2, [r0], #4",
    "b 1b",
    "2: bl {main}",
    "udf #0",
    ".pool",
    fault = sym fault,
    main = sym main,
);

extern "C" fn main() -> ! {
    super::main()
}

extern "C" fn fault() -> ! {
    exit(false)
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    log::flush();
    exit(false)
}

#[defmt::global_logger]
struct Log;

// SAFETY: defmt asks that only one context logs at a time. There is one: see `OneThread`.
unsafe impl defmt::Logger for Log {
    fn acquire() {
        log::start();
    }

    unsafe fn flush() {
        log::flush();
    }

    unsafe fn release() {
        log::end();
    }

    unsafe fn write(data: &[u8]) {
        log::write(data);
    }
}

/// A value that one thread of execution uses.
pub(super) struct OneThread<T>(T);

// SAFETY: there is one: one core, no interrupt is ever enabled, and a fault does not come back to what it interrupted.
unsafe impl<T> Sync for OneThread<T> {}

impl<T> OneThread<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(value)
    }

    pub(super) fn get(&self) -> &T {
        &self.0
    }
}

/// Calls the machine around us.
///
/// # Safety
/// The argument is what that operation takes, and the memory that it names may be used as the operation uses it.
unsafe fn call(operation: usize, argument: usize) -> usize {
    let result;
    // SAFETY: the caller promises the argument; other registers stay as they are.
    unsafe { asm!("bkpt #0xab", inlateout("r0") operation => result, in("r1") argument, options(nostack)) };
    result
}

/// The console of the host, or the file that it has made of it.
pub(super) struct Console(usize);

impl Console {
    pub(super) fn open() -> Self {
        let name = [CONSOLE.as_ptr().expose_provenance(), TO_WRITE, CONSOLE.count_bytes()];
        // SAFETY: name, mode and length without the zero, as SYS_OPEN takes them; they live until it returns.
        Self(unsafe { call(SYS_OPEN, name.as_ptr().expose_provenance()) })
    }

    pub(super) fn write(&self, bytes: &[u8]) {
        let what = [self.0, bytes.as_ptr().expose_provenance(), bytes.len()];
        // SAFETY: handle, place and length, as SYS_WRITE takes them; it only reads. It returns how many bytes are left:
        // the host sees them missing.
        unsafe { call(SYS_WRITE, what.as_ptr().expose_provenance()) };
    }
}

/// The number that this program was started with, if it was.
pub(super) fn argument() -> Option<u32> {
    let mut line = [0_u8; 64];
    let mut place = [line.as_mut_ptr().expose_provenance(), line.len()];
    // SAFETY: place and size, as SYS_GET_CMDLINE takes them; it writes a text and its zero there, and the length here.
    unsafe { call(SYS_GET_CMDLINE, place.as_mut_ptr().expose_provenance()) };
    let line = CStr::from_bytes_until_nul(&line).ok()?.to_str().ok()?;
    line.split_ascii_whitespace().last()?.parse().ok()
}

/// Ends the machine.
pub(super) fn exit(well: bool) -> ! {
    let reason = if well { APPLICATION_EXIT } else { RUN_TIME_ERROR };
    // SAFETY: on 32 bits SYS_EXIT takes the reason itself.
    unsafe { call(SYS_EXIT, reason) };
    // A host that does not obey leaves us here, and notices.
    loop {
        core::hint::spin_loop();
    }
}
