//! What a process that comes to rest gives back to the kernel.
//!
//! A device works for a moment and rests for days. What the work took is free again inside of the process then, but only the
//! process knows: to the kernel these are pages with something in them, which no other program can have.
//!
//! * **The heap.** The C library keeps freed memory for later, and with many threads it keeps a heap for each. PID 1 has one heap
//!   for all threads, since these wait for media and never for each other; free pages in the middle of it are given back.
//!   For each thread it also keeps some freed pieces of each small size, 200 KB of them in PID 1, and never gives those back. Only who
//!   starts the program can have it otherwise, so PID 1 begins by starting itself.
//! * **The stack.** Below the innermost call of a thread nothing is alive. What deep work has touched there stays touched.
//! * **The program.** What a boot or an update has executed stays mapped. Let go of, a page is mapped again at its next use, sixteen at a
//!   time, in a few microseconds. Where the program lies on a disk the kernel may now use those pages for something else first; in an
//!   initramfs they are in memory whatever is mapped, and only tables of pages are won.
//!
//! Heap and stack come back as zeros when they are needed, one page at a time. musl (`small` programs) has one heap anyway, and gives back
//! what it frees by itself.
//!
//! API: [`begin_without_caches`] and [`share_one_heap`] first of all, [`give_back`] and [`give_back_program`] when work is over
//! ([why](../../../docs/decisions/0028-what-is-over-is-given-back.md)).

mod sys;

use std::env;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// The variable, with its value, that has a program of glibc keep no freed memory for each thread. Others do not know it.
pub const WITHOUT_CACHES: &CStr = c"GLIBC_TUNABLES=glibc.malloc.tcache_count=0";

/// Executes this program anew with [`WITHOUT_CACHES`], unless it was begun with such a variable. Before the first thread: those
/// would end. Where it cannot be executed, it goes on as it is, with some more memory.
pub fn begin_without_caches() {
    let setting = WITHOUT_CACHES.to_str().ok().and_then(|setting| setting.split_once('='));
    let Some((name, value)) = setting.filter(|_| cfg!(target_env = "gnu")) else { return };
    let mut args = env::args_os();
    let program = args.next().filter(|program| Path::new(program).is_absolute());
    if let Some(program) = program.filter(|_| env::var_os(name).is_none()) {
        // It only returns if it fails.
        let _ = Command::new(program).args(args).env(name, value).exec();
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_begun_so_goes_on() {
        let (name, value) = WITHOUT_CACHES.to_str().unwrap().split_once('=').unwrap();
        // Executed anew by its absolute name, this very test would run with the variable and return from here.
        let program = env::current_exe().unwrap();
        let mut again = Command::new(program);
        again.args(["--exact", "tests::it_is_begun_anew_once", "--ignored"]).env_remove(name);
        assert!(again.status().unwrap().success());
        assert!(value.ends_with("=0"));
    }

    #[test]
    #[ignore = "executes the process of the tests: the one above starts it alone"]
    fn it_is_begun_anew_once() {
        let name = "GLIBC_TUNABLES";
        if env::var_os(name).is_none() {
            begin_without_caches();
        }
        assert_eq!(env::var_os(name).is_some(), cfg!(target_env = "gnu"));
    }
}
