//! The end of a boot: what the kernel is told, after everything else has ended. In a pid namespace of its own the same
//! call ends the namespace.

use std::ffi::CStr;

use rustix::io::Errno;

use crate::sys;

/// Ends this boot; another follows. `arg` is for firmware that wants to hear of a trial. It returns only why not.
#[must_use]
pub fn restart(arg: Option<&CStr>) -> Errno {
    let command = if arg.is_some() { libc::LINUX_REBOOT_CMD_RESTART2 } else { libc::LINUX_REBOOT_CMD_RESTART };
    sys::reboot(command, arg)
}

/// Ends this boot; none follows. It returns only why not.
#[must_use]
pub fn power_off() -> Errno {
    sys::reboot(libc::LINUX_REBOOT_CMD_POWER_OFF, None)
}
