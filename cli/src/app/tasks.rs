//! How many processes and threads a container can have.
//!
//! The kernel has numbers for a few thousand on a small device (threads take 16 KiB of stack each, and may take an eighth of
//! the memory), and whoever takes them all stops everybody. What one container can have by default leaves most of them to
//! the others, and is several times what a server with threads or a system with systemd has.

use formats::lxc::{CgroupVersion, Item};

use crate::error::{Error, Result};

/// What a container has that is told nothing.
const USUAL: u32 = 1024;

const FILE: &str = "pids.max";

/// `lxc.cgroup2.pids.max`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tasks {
    /// So many at the same time.
    AtMost(u32),
    /// As many as the device has.
    All,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::AtMost(USUAL)
    }
}

impl Tasks {
    /// Reads a number, or `max`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self> {
        let number = || text.parse().ok().filter(|count| *count > 0 && text.bytes().all(|byte| byte.is_ascii_digit()));
        match text {
            "max" => Some(Self::All),
            _ => number().map(Self::AtMost),
        }
        .ok_or_else(|| {
            Error::user(format!("--tasks {text:?} is no number of processes"))
                .hint("write a number from 1, or max for as many as the device has")
        })
    }

    fn line(self) -> Item {
        Item::Cgroup { version: CgroupVersion::V2, file: FILE.to_owned(), value: self.to_string() }
    }
}

/// What the configuration says. Without a limit that somebody has asked for, a kernel that cannot count processes is no reason
/// not to start.
pub(super) fn lines(asked: Option<Tasks>) -> Vec<Item> {
    let limit = asked.unwrap_or_default().line();
    let optional = Item::Optional { version: CgroupVersion::V2, file: FILE.to_owned() };
    std::iter::once(limit).chain(asked.is_none().then_some(optional)).collect()
}

impl std::fmt::Display for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(count) => count.fmt(f),
            Self::All => f.write_str("max"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_processes_is_written_as_it_is_read() {
        for text in ["1", "64", "4294967295", "max"] {
            assert_eq!(Tasks::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "0", "-1", "+1", "1k", "4294967296", "MAX"] {
            assert!(Tasks::parse(text).is_err(), "{text}");
        }
        let text = |asked| lines(asked).iter().map(Item::to_string).collect::<Vec<_>>();
        assert_eq!(text(None), ["lxc.cgroup2.pids.max = 1024", "cairn.optional = lxc.cgroup2.pids.max"]);
        assert_eq!(text(Some(Tasks::default())), ["lxc.cgroup2.pids.max = 1024"]);
    }
}
