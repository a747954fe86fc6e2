//! The default filter of system calls in a container for real: what works under it, and what does not although the
//! container has every capability. It is the very file that `pvr app add` writes for this architecture.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use container::launch::{Attributes, Launch, Mount, Source};
use formats::seccomp::{Filter, Step, code};
use harness::Result;
use libc::{c_int, c_long};

use crate::world::World;

/// The role of this program within the container.
pub(crate) const PROBE: &str = "probe";

#[cfg(target_arch = "x86_64")]
const FILTER: &[u8] = include_bytes!("../../../../tests/formats/golden/seccomp-x86_64.bpf");
#[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
const FILTER: &[u8] = include_bytes!("../../../../tests/formats/golden/seccomp-aarch64.bpf");
#[cfg(target_arch = "riscv64")]
const FILTER: &[u8] = include_bytes!("../../../../tests/formats/golden/seccomp-riscv64.bpf");

/// What a program tries, with arguments that the kernel would look at, and what it says under the filter. Without the
/// filter each of them is answered otherwise, by this kernel and for root.
const ATTEMPTS: &[(&str, c_long, [c_long; 3], c_int)] = &[
    ("enter a namespace", libc::SYS_setns, [-1, 0, 0], libc::EPERM),
    (
        "clone into namespaces",
        libc::SYS_clone,
        [libc::CLONE_NEWNS as c_long | libc::CLONE_FS as c_long, 0, 0],
        libc::EPERM,
    ),
    ("clone3", libc::SYS_clone3, [0, 0, 0], libc::ENOSYS),
    ("unmount", libc::SYS_umount2, [0, 0, 0], libc::EPERM),
    ("open a tree of mounts", libc::SYS_open_tree, [-1, 0, 0], libc::EPERM),
    ("open a file system", libc::SYS_fsopen, [0, 0, 0], libc::EPERM),
    ("turn the root", libc::SYS_pivot_root, [0, 0, 0], libc::EPERM),
    ("the session's keyring", libc::SYS_keyctl, [0, -3, 0], libc::EPERM),
    ("add a key", libc::SYS_add_key, [0, 0, 0], libc::EPERM),
    ("ask for a key", libc::SYS_request_key, [0, 0, 0], libc::EPERM),
    ("load a program into the kernel", libc::SYS_bpf, [-1, 0, 0], libc::EPERM),
    ("count events", libc::SYS_perf_event_open, [0, 0, 0], libc::EPERM),
    ("open by handle", libc::SYS_open_by_handle_at, [-1, 0, 0], libc::EPERM),
    ("take another's descriptor", libc::SYS_pidfd_getfd, [-1, 0, 0], libc::EPERM),
    ("move memory of others", libc::SYS_move_pages, [0, 1, 0], libc::EPERM),
    ("the kernel's cryptography", libc::SYS_socket, [38, 0, 0], libc::EPERM),
    ("the same with a full register", libc::SYS_socket, [38 | 1 << (c_long::BITS - 2), 0, 0], libc::EPERM),
    ("a fixed layout of memory", libc::SYS_personality, [0x0004_0000, 0, 0], libc::EPERM),
    ("a call of tomorrow", 4000, [0, 0, 0], libc::ENOSYS),
    // The last one: who is in a namespace without users, may do nothing any more.
    ("unshare a user namespace", libc::SYS_unshare, [libc::CLONE_NEWUSER as c_long, 0, 0], libc::EPERM),
];

/// A container whose root is that of this machine, read-only, so that this program finds its libraries in it.
fn probing(world: &World, filter: Option<&[u8]>) -> Result<Launch> {
    let own = std::env::current_exe()?;
    let dir = own.parent().ok_or("no parent")?.display().to_string();
    let name = own.file_name().ok_or("no name")?.display().to_string();
    let mut launch = world.launch("");
    launch.root.layers = vec!["/".into()];
    launch.root.writable = None;
    launch.mounts = vec![Mount {
        target: "mnt".into(),
        source: Source::Device { path: dir, recursive: false, create: false },
        attributes: Attributes::default(),
        create: None,
        optional: false,
    }];
    launch.process.argv = vec![format!("/mnt/{name}"), PROBE.into()];
    launch.process.no_new_privs = true;
    launch.process.seccomp = filter.map(<[u8]>::to_vec);
    Ok(launch)
}

/// From within: what works, then what each attempt comes to.
pub(crate) fn probe() -> Result {
    let ends = UnixStream::pair()?;
    let server = TcpListener::bind("127.0.0.1:0")?;
    let address = server.local_addr()?;
    let thread = std::thread::spawn(move || -> std::io::Result<String> {
        let mut text = String::new();
        server.accept()?.0.read_to_string(&mut text)?;
        Ok(text)
    });
    TcpStream::connect(address)?.write_all(b"heard")?;
    let heard = thread.join().map_err(|_| "the thread panicked")??;
    let child = std::process::Command::new("/bin/sh").args(["-c", "ls / >/dev/null && exit 7"]).status()?;
    drop(ends);
    println!("works: {heard}, {:?}, {}", child.code(), std::fs::read_dir("/")?.count() > 2);
    for (what, number, [a, b, c], _) in ATTEMPTS {
        // SAFETY: whatever the kernel would do with these numbers, none of them is an address that it could write to.
        let done = unsafe { libc::syscall(*number, *a, *b, *c, 0_usize, 0_usize, 0_usize) };
        if done == 0 && *number == libc::SYS_clone {
            // SAFETY: the child of a call that should not have been made ends at once.
            unsafe { libc::_exit(0) };
        }
        let errno = if done < 0 { std::io::Error::last_os_error().raw_os_error() } else { None };
        println!("{what}: {}", errno.unwrap_or(0));
    }
    Ok(())
}

pub(crate) fn programs_work_under_the_default_filter_and_do_not_break_out(world: &World) -> Result {
    let filtered = world.output(&probing(world, Some(FILTER))?)?;
    let free = world.output(&probing(world, None)?)?;
    for log in [&filtered, &free] {
        assert!(log.starts_with("works: heard, Some(7), true\n"), "{log}");
    }
    for (what, _, _, errno) in ATTEMPTS {
        let refused = format!("{what}: {errno}\n");
        assert!(filtered.contains(&refused), "{refused}{filtered}");
        // There is no such call for anybody.
        let same = *what == "a call of tomorrow";
        assert_eq!(free.contains(&refused), same, "without the filter: {refused}{free}");
    }
    Ok(())
}

pub(crate) fn a_shell_lists_and_does_not_mount_under_the_default_filter(world: &World) -> Result {
    let script =
        "ls / | wc -l; mount -t tmpfs x /tmp 2>&1; hostname other 2>&1; rm -f p; mknod p p && echo made; hostname";
    let mut launch = world.launch(script);
    launch.process.seccomp = Some(FILTER.to_vec());
    for no_new_privs in [false, true] {
        launch.process.no_new_privs = no_new_privs;
        let log = world.output(&launch)?.to_lowercase();
        assert!(
            log.contains("mount: permission denied") && log.contains("sethostname: operation not permitted"),
            "{log}"
        );
        assert!(log.ends_with("made\nbox\n"), "{log}");
    }
    launch.process.seccomp = None;
    let log = world.output(&launch)?;
    assert!(log.ends_with("other\n") && !log.contains("not permitted"), "{log}");
    Ok(())
}

/// Loads it for this thread.
fn kernel_takes(steps: &[Step]) -> bool {
    let mut steps: Vec<_> =
        steps.iter().map(|step| libc::sock_filter { code: step.code, jt: step.jt, jf: step.jf, k: step.k }).collect();
    let program = libc::sock_fprog { len: u16::try_from(steps.len()).unwrap_or(0), filter: steps.as_mut_ptr() };
    // SAFETY: `program` points to `len` instructions that live until the call returns; each of them ends in `allow`.
    unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) == 0 }
}

/// Every operation with every kind of operand, in a program that allows everything whatever it computes.
fn the_same() -> usize {
    let step = |code, k| Step { code, jt: 0, jf: 0, k };
    let allow = step(code::RETURN, libc::SECCOMP_RET_ALLOW);
    let mut taken = 0;
    for operation in (0..0x100).chain([0x120, 0x8020]) {
        for k in [0, 1, 3, 4, 15, 16, 31, 32, 60, 64, u32::MAX] {
            // A result that does not allow would be the end of this thread.
            if operation == code::RETURN {
                continue;
            }
            for (jt, jf) in [(0, 0), (1, 0), (0, 1)] {
                // X is 1, the place 1 of memory is written, A allows.
                let before = [step(0x01, 1), step(0x03, 1), step(0x00, libc::SECCOMP_RET_ALLOW)];
                let steps: Vec<_> = before.into_iter().chain([Step { code: operation, jt, jf, k }, allow]).collect();
                let ours = Filter::new(steps.clone());
                assert_eq!(ours.is_ok(), kernel_takes(&steps), "{operation:#x} {jt} {jf} {k}: {ours:?}");
                taken += usize::from(ours.is_ok());
            }
        }
    }
    taken
}

pub(crate) fn the_kernel_takes_what_is_checked_and_refuses_the_rest(_: &World) -> Result {
    // A filter is for ever, and a thread's.
    let taken = std::thread::spawn(the_same).join().map_err(|_| "they differ, see above")?;
    assert!(taken > 300, "{taken}");
    Ok(())
}
