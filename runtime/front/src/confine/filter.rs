//! The system calls of this process, as a program for the kernel's filter.
//!
//! ```text
//!   another architecture ──▶ killed
//!   a listed call ─────────▶ allowed, some only with arguments that they need here
//!   clone3 ────────────────▶ ENOSYS: the C library falls back to `clone`, whose flags a filter can see
//!   anything else ─────────▶ EPERM
//! ```
//!
//! The rest is refused and not fatal: a C library of next year may try a new call first, and a device must not lose its
//! control socket over that. What an attacker would need (open, socket, connect, execve, ptrace, a new process, memory
//! that can be executed) fails either way.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO,
    SECCOMP_RET_KILL_PROCESS, c_long, sock_filter,
};

/// `AUDIT_ARCH_…` of what this program is built for.
const ARCHITECTURE: u32 = if cfg!(target_arch = "x86_64") {
    0xc000_003e
} else if cfg!(target_arch = "aarch64") {
    0xc000_00b7
} else if cfg!(target_arch = "riscv64") {
    0xc000_00f3
} else if cfg!(target_arch = "arm") {
    0x4000_0028
} else {
    panic!("name the architecture of this target in filter.rs, and its calls")
};

/// `FIONBIO`, the same number on all of them.
const FIONBIO: u32 = 0x5421;

/// Calls that are allowed whatever their arguments are.
const CALLS: &[c_long] = &[
    // Sockets that were given, and packets on them.
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // The clock, where it is not read without a call.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // The second thread, and the end.
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Calls under the names they have on some architectures only.
#[cfg(target_arch = "x86_64")]
const OTHERS: &[c_long] =
    &[libc::SYS_fcntl, libc::SYS_timerfd_settime, libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_rseq];
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
const OTHERS: &[c_long] = &[libc::SYS_fcntl, libc::SYS_timerfd_settime, libc::SYS_rseq];
/// The numbers from 403 on are those of calls with 64 bits of time, which 32-bit systems got with Linux 5.1.
#[cfg(target_arch = "arm")]
const OTHERS: &[c_long] = &[
    libc::SYS_fcntl64,
    // What others do with `recvfrom` and `sendto`.
    libc::SYS_recv,
    libc::SYS_send,
    libc::SYS_timerfd_settime,
    libc::SYS_epoll_wait,
    libc::SYS_poll,
    398, // rseq, which not every C library names there
    403, // clock_gettime64
    407, // clock_nanosleep_time64
    411, // timerfd_settime64
    414, // ppoll_time64
    422, // futex_time64
];

#[cfg(target_arch = "arm")]
const MMAP: c_long = libc::SYS_mmap2;
#[cfg(not(target_arch = "arm"))]
const MMAP: c_long = libc::SYS_mmap;

/// What an argument must be.
enum Must {
    Be(u32),
    HaveBit(u32),
    LackBit(u32),
}

/// Calls that are allowed with such an argument only (counted from 0).
const CONDITIONAL: &[(c_long, u32, Must)] = &[
    // Threads, no processes.
    (libc::SYS_clone, 0, Must::HaveBit(libc::CLONE_THREAD as u32)),
    // Memory that is never executed.
    (MMAP, 2, Must::LackBit(libc::PROT_EXEC as u32)),
    (libc::SYS_mprotect, 2, Must::LackBit(libc::PROT_EXEC as u32)),
    (libc::SYS_ioctl, 1, Must::Be(FIONBIO)),
    // The name of the second thread.
    (libc::SYS_prctl, 0, Must::Be(libc::PR_SET_NAME as u32)),
];

const ALLOW: u32 = SECCOMP_RET_ALLOW;
const REFUSE: u32 = SECCOMP_RET_ERRNO | libc::EPERM as u32;
const UNKNOWN: u32 = SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;

/// The low half of an argument; all supported architectures are little-endian.
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// The program.
pub(super) fn program() -> Vec<sock_filter> {
    let mut program = vec![load(ARCH), jump(BPF_JEQ, ARCHITECTURE, 1, 0), end(SECCOMP_RET_KILL_PROCESS), load(NUMBER)];
    for call in CALLS.iter().chain(OTHERS) {
        program.extend([equals(*call, 1), end(ALLOW)]);
    }
    program.extend([equals(libc::SYS_clone3, 1), end(UNKNOWN)]);
    for (call, index, must) in CONDITIONAL {
        let test = match must {
            Must::Be(value) => jump(BPF_JEQ, *value, 0, 1),
            Must::HaveBit(bit) => jump(BPF_JSET, *bit, 0, 1),
            Must::LackBit(bit) => jump(BPF_JSET, *bit, 1, 0),
        };
        program.extend([equals(*call, 4), load(argument(*index)), test, end(ALLOW), end(REFUSE)]);
    }
    program.push(end(REFUSE));
    program
}

/// Skips this many instructions if the call is another one.
fn equals(call: c_long, skip: u8) -> sock_filter {
    // Numbers of calls are small and positive.
    jump(BPF_JEQ, call as u32, 0, skip)
}

fn load(offset: u32) -> sock_filter {
    sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

fn jump(test: u32, value: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | test | BPF_K) as u16, jt, jf, k: value }
}

fn end(verdict: u32) -> sock_filter {
    sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: verdict }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does with the program, for the instructions that occur in it.
    fn verdict(architecture: u32, call: c_long, args: [u32; 3]) -> u32 {
        let program = program();
        let (mut at, mut value) = (0, 0);
        loop {
            let step = &program[at];
            let jump = |taken: bool| at + 1 + usize::from(if taken { step.jt } else { step.jf });
            at = match u32::from(step.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    value = match step.k {
                        NUMBER => call as u32,
                        ARCH => architecture,
                        offset => args[(offset as usize - 16) / 8],
                    };
                    at + 1
                }
                code if code == BPF_JMP | BPF_JEQ | BPF_K => jump(value == step.k),
                code if code == BPF_JMP | BPF_JSET | BPF_K => jump(value & step.k != 0),
                code if code == BPF_RET | BPF_K => return step.k,
                code => panic!("{code:#x}"),
            };
        }
    }

    fn here(call: c_long, args: [u32; 3]) -> u32 {
        verdict(ARCHITECTURE, call, args)
    }

    #[test]
    fn nothing_can_be_opened_executed_or_traced() {
        for call in [
            libc::SYS_openat,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_execve,
            libc::SYS_ptrace,
            libc::SYS_mount,
            libc::SYS_kill,
            libc::SYS_setuid,
            libc::SYS_unshare,
            libc::SYS_bpf,
        ] {
            assert_eq!(here(call, [0; 3]), REFUSE, "{call}");
        }
        assert_eq!(here(libc::SYS_clone3, [0; 3]), UNKNOWN);
        assert_eq!(verdict(ARCHITECTURE ^ 1, libc::SYS_read, [0; 3]), SECCOMP_RET_KILL_PROCESS);
    }

    #[test]
    fn a_thread_is_no_process_and_data_is_no_code() {
        let thread = (libc::CLONE_VM | libc::CLONE_THREAD) as u32;
        assert_eq!(here(libc::SYS_clone, [thread, 0, 0]), ALLOW);
        assert_eq!(here(libc::SYS_clone, [libc::SIGCHLD as u32, 0, 0]), REFUSE);
        let (data, code) = (libc::PROT_WRITE as u32, (libc::PROT_READ | libc::PROT_EXEC) as u32);
        assert_eq!((here(MMAP, [0, 0, data]), here(MMAP, [0, 0, code])), (ALLOW, REFUSE));
        assert_eq!(here(libc::SYS_mprotect, [0, 0, code]), REFUSE);
        assert_eq!(here(libc::SYS_prctl, [libc::PR_SET_NAME as u32, 0, 0]), ALLOW);
        assert_eq!(here(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u32, 1, 0]), REFUSE);
        assert_eq!(here(libc::SYS_ioctl, [3, FIONBIO, 0]), ALLOW);
        assert_eq!(here(libc::SYS_ioctl, [3, libc::TIOCSTI as u32, 0]), REFUSE);
    }

    #[test]
    fn what_it_works_with_is_allowed() {
        assert!(CALLS.iter().chain(OTHERS).all(|call| here(*call, [0; 3]) == ALLOW));
    }
}
