//! The least that can be done: a process in the same namespaces, with its root changed, that executes the program.
//!
//! No group, no mounts, no rights given up, nobody told why something failed. What a container costs is the distance to it.
#![expect(unsafe_code, reason = "a bare clone; each block states why it is sound")]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;

use anyhow::{Result, bail};

/// What [`container::launch::Namespaces::OWN`] has, and mounts.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWCGROUP;

/// Runs it and waits for its end.
pub(crate) fn run(root: &Path) -> Result<()> {
    let root = CString::new(root.as_os_str().as_bytes())?;
    let argv = [crate::candidates::PROGRAM.as_ptr(), ptr::null()];
    let env = [ptr::null()];
    // SAFETY: without CLONE_VM the child works on a copy of this memory, and with a null stack it goes on with the copy of
    // this one, like after `fork`; this process has one thread. The child makes system calls only, with strings and null
    // terminated arrays that live in the copied memory, and never returns.
    let pid = unsafe {
        let flags = libc::c_ulong::try_from(NAMESPACES | libc::SIGCHLD)?;
        let pid = libc::syscall(libc::SYS_clone, flags, ptr::null::<u8>(), ptr::null::<u8>(), ptr::null::<u8>(), 0);
        if pid == 0 {
            if libc::chroot(root.as_ptr()) == 0 && libc::chdir(c"/".as_ptr()) == 0 {
                libc::execve(argv[0], argv.as_ptr(), env.as_ptr());
            }
            libc::_exit(127);
        }
        pid
    };
    let pid = i32::try_from(pid)?;
    if pid < 0 {
        bail!("cannot clone: {}", std::io::Error::last_os_error());
    }
    let mut status = 0;
    // SAFETY: `status` is memory of its own; the child is ours and nobody else waits for it.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    if waited != pid || status != 0 {
        bail!("the floor ended with the status {status}");
    }
    Ok(())
}
