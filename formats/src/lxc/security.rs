//! Capabilities and device rules: what a container may do to the kernel.

use core::fmt;

use super::{LxcWrong, wrong};
use crate::words::words;

words! {
    /// A capability of the kernel, by its name in small letters and without `cap_`. The order is the kernel's
    /// numbering.
    pub enum Capability {
        /// 0
        Chown = "chown",
        /// 1
        DacOverride = "dac_override",
        /// 2
        DacReadSearch = "dac_read_search",
        /// 3
        Fowner = "fowner",
        /// 4
        Fsetid = "fsetid",
        /// 5
        Kill = "kill",
        /// 6
        Setgid = "setgid",
        /// 7
        Setuid = "setuid",
        /// 8
        Setpcap = "setpcap",
        /// 9
        LinuxImmutable = "linux_immutable",
        /// 10
        NetBindService = "net_bind_service",
        /// 11
        NetBroadcast = "net_broadcast",
        /// 12
        NetAdmin = "net_admin",
        /// 13
        NetRaw = "net_raw",
        /// 14
        IpcLock = "ipc_lock",
        /// 15
        IpcOwner = "ipc_owner",
        /// 16
        SysModule = "sys_module",
        /// 17
        SysRawio = "sys_rawio",
        /// 18
        SysChroot = "sys_chroot",
        /// 19
        SysPtrace = "sys_ptrace",
        /// 20
        SysPacct = "sys_pacct",
        /// 21
        SysAdmin = "sys_admin",
        /// 22
        SysBoot = "sys_boot",
        /// 23
        SysNice = "sys_nice",
        /// 24
        SysResource = "sys_resource",
        /// 25
        SysTime = "sys_time",
        /// 26
        SysTtyConfig = "sys_tty_config",
        /// 27
        Mknod = "mknod",
        /// 28
        Lease = "lease",
        /// 29
        AuditWrite = "audit_write",
        /// 30
        AuditControl = "audit_control",
        /// 31
        Setfcap = "setfcap",
        /// 32
        MacOverride = "mac_override",
        /// 33
        MacAdmin = "mac_admin",
        /// 34
        Syslog = "syslog",
        /// 35
        WakeAlarm = "wake_alarm",
        /// 36
        BlockSuspend = "block_suspend",
        /// 37
        AuditRead = "audit_read",
        /// 38
        Perfmon = "perfmon",
        /// 39
        Bpf = "bpf",
        /// 40
        CheckpointRestore = "checkpoint_restore",
    }
}

impl Capability {
    /// The number that the kernel knows it by.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

words! {
    /// Which generation of cgroups a line is written for.
    pub enum CgroupVersion {
        /// `lxc.cgroup.…`
        V1 = "cgroup",
        /// `lxc.cgroup2.…`
        V2 = "cgroup2",
    }
}

/// Which device nodes a rule is about, and what may be done with them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceRule {
    /// `a`: every device and everything.
    All,
    /// `c 1:3 rwm`
    Nodes {
        /// Block or character.
        kind: DeviceKind,
        /// Major number; `None` is any.
        major: Option<u32>,
        /// Minor number; `None` is any.
        minor: Option<u32>,
        /// What may be done.
        access: Access,
    },
}

words! {
    /// Block or character device.
    pub enum DeviceKind {
        /// Block.
        Block = "b",
        /// Character.
        Character = "c",
    }
}

/// What may be done with a device node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// Read.
    pub read: bool,
    /// Write.
    pub write: bool,
    /// Make a node.
    pub mknod: bool,
}

impl DeviceRule {
    /// Reads `a` or `KIND MAJOR:MINOR ACCESS`.
    ///
    /// # Errors
    /// It has another form.
    pub fn parse(value: &str) -> Result<Self, LxcWrong> {
        parse(value).ok_or_else(|| wrong(value, "a device rule like `a` or `c 1:3 rwm`"))
    }
}

fn parse(value: &str) -> Option<DeviceRule> {
    let mut fields = value.split_ascii_whitespace();
    let (kind, numbers, access) = (fields.next()?, fields.next(), fields.next());
    if fields.next().is_some() {
        return None;
    }
    match (kind, numbers, access) {
        ("a", None, None) | ("a", Some("*:*"), Some("rwm")) => Some(DeviceRule::All),
        (kind, Some(numbers), Some(access)) => {
            let (major, minor) = numbers.split_once(':')?;
            Some(DeviceRule::Nodes {
                kind: DeviceKind::parse(kind)?,
                major: number(major)?,
                minor: number(minor)?,
                access: Access::parse(access)?,
            })
        }
        _ => None,
    }
}

/// A number, or `*` for any.
fn number(text: &str) -> Option<Option<u32>> {
    if text == "*" {
        return Some(None);
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).map(Some)
}

impl Access {
    fn parse(text: &str) -> Option<Self> {
        let mut access = Self::default();
        for letter in text.chars() {
            let flag = match letter {
                'r' => &mut access.read,
                'w' => &mut access.write,
                'm' => &mut access.mknod,
                _ => return None,
            };
            if core::mem::replace(flag, true) {
                return None;
            }
        }
        Some(access).filter(|access| *access != Self::default())
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Nodes { kind, major, minor, access } = self else { return f.write_str("a") };
        write!(f, "{kind} ")?;
        for (number, end) in [(major, ":"), (minor, " ")] {
            match number {
                Some(number) => write!(f, "{number}{end}")?,
                None => write!(f, "*{end}")?,
            }
        }
        for (allowed, letter) in [(access.read, "r"), (access.write, "w"), (access.mknod, "m")] {
            f.write_str(if allowed { letter } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_the_numbers_of_the_kernel() {
        assert_eq!(Capability::parse("sys_admin").map(Capability::number), Some(21));
        assert_eq!(Capability::parse("checkpoint_restore").map(Capability::number), Some(40));
        assert_eq!(Capability::WORDS.len(), 41);
    }
}
