//! Calls of the C library about memory that have no safe wrapper. The only file of the crate with `unsafe` in it.
#![expect(unsafe_code, reason = "memory is given back by address; each block states why nobody uses it")]

use std::mem::MaybeUninit;
use std::ptr;

/// What the calls below the innermost function of ours may use while they give back the rest. They are thin wrappers of system
/// calls, with a few hundred bytes at most.
const LEFT: usize = 8 * 1024;

/// At most so much is given back of a stack: below the stack of a first thread, which grows, the kernel keeps twice as much free
/// of everything else.
const MOST: usize = 512 * 1024;

/// One heap for all threads.
pub(crate) fn share_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it changes how later requests are served, whatever was handed out before. Where it fails all is as it was.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives free pages of the heap back.
pub(crate) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: only what nobody has been given is let go; the C library locks its heap meanwhile.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// As the C library was told when the program began: this asks nobody, so it works where nothing may be asked any more.
fn page_size() -> usize {
    // SAFETY: it reads a constant.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).ok().filter(|size| size.is_power_of_two()).unwrap_or(64 * 1024)
}

unsafe extern "C" {
    /// Where the linker has put the first byte of the program, and the one after its code. Neither is a value.
    static __executable_start: u8;
    static etext: u8;
}

/// Lets go of the pages of the program that lie in its file as they are.
pub(crate) fn give_back_program() {
    let page = page_size();
    let from = (&raw const __executable_start).addr() & !(page - 1);
    // Beyond the last whole page there may be something else.
    let to = (&raw const etext).addr() & !(page - 1);
    if to > from {
        // SAFETY: up to the end of its code a program is mapped from its file, never written and the same for ever; what is let go is
        // mapped again when it is needed, this function first of all.
        unsafe {
            libc::madvise(ptr::with_exposed_provenance_mut(from), to - from, libc::MADV_DONTNEED);
        }
    }
}

/// The lowest address of this thread's stack.
pub(crate) fn lowest_of_stack() -> Option<usize> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: it is about this very thread, which lives, and fills in the attributes if it returns 0.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut lowest, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the attributes were filled in, both results are ours; they are not used once they are destroyed.
    let known = unsafe {
        let known = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut lowest, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        known
    };
    (known == 0 && size > 0).then(|| lowest.addr())
}

/// Gives back the stack of this thread from its lowest address up to a little below this call.
#[inline(never)]
pub(crate) fn give_back_below_caller(lowest: usize) {
    let here = 0_u8;
    let page = page_size();
    let to = (&raw const here).addr().saturating_sub(LEFT) & !(page - 1);
    let from = to.saturating_sub(MOST).max(lowest.next_multiple_of(page));
    if to > from {
        // SAFETY: all of it is stack of this thread below its innermost frames, in which nothing is alive. The frames of this call lie
        // above `to`. Where a part of it was never mapped (the stack of a first thread grows), there is nothing to give back.
        unsafe {
            libc::madvise(ptr::with_exposed_provenance_mut(from), to - from, libc::MADV_DONTNEED);
        }
    }
}
