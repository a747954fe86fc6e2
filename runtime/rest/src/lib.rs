//! What a process that comes to rest gives back to the kernel.
//!
//! A device works for a moment and rests for days. What the work took is free again inside of the process then, but only the
//! process knows: to the kernel these are pages with something in them, which no other program can have.
//!
//! * **The heap.** The C library keeps freed memory for later, and with many threads it keeps a heap for each. PID 1 has one heap
//!   for all threads, since these wait for media and never for each other; free pages in the middle of it are given back.
//! * **The stack.** Below the innermost call of a thread nothing is alive. What deep work has touched there stays touched.
//! * **The program.** What a boot or an update has executed stays mapped. Let go of, a page is mapped again at its next use, sixteen at a
//!   time, in a few microseconds. Where the program lies on a disk the kernel may now use those pages for something else first; in an
//!   initramfs they are in memory whatever is mapped, and only tables of pages are won.
//!
//! Heap and stack come back as zeros when they are needed, one page at a time. musl (`small` programs) has one heap anyway, and gives back
//! what it frees by itself.
//!
//! API: [`share_one_heap`] first of all, [`give_back`] and [`give_back_program`] when work is over
//! ([why](../../../docs/decisions/0028-what-is-over-is-given-back.md)).

mod sys;

use std::marker::PhantomData;

/// Has all threads share one heap. Only what is called before the first thread is sure to count.
pub fn share_one_heap() {
    sys::share_one_heap();
}

/// The stack of the thread that has made this.
#[derive(Clone, Copy, Debug)]
pub struct Stack {
    lowest: usize,
    /// Of this thread: it is not sent to another.
    own: PhantomData<*const ()>,
}

impl Stack {
    /// That of this thread. `None`: the C library does not know where it ends, as where there is no `/proc`. Then it stays as it is.
    #[must_use]
    pub fn of_this_thread() -> Option<Self> {
        sys::lowest_of_stack().map(|lowest| Self { lowest, own: PhantomData })
    }

    /// Gives back what lies below the caller.
    pub fn give_back(self) {
        sys::give_back_below_caller(self.lowest);
    }
}

/// Lets go of the pages of this program, which come back as they are needed.
pub fn give_back_program() {
    sys::give_back_program();
}

/// Gives back what is free in the heap, and what is not used of this thread's stack.
pub fn give_back(stack: Option<Stack>) {
    sys::trim_heap();
    if let Some(stack) = stack {
        stack.give_back();
    }
}
