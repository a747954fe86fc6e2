//! One name of an image, with what stands in its inode.

use std::collections::BTreeMap;

/// What a name is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A file with contents.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, and where it leads.
    Symlink(Vec<u8>),
    /// A device node.
    Device {
        /// Of a block device, else of a character device.
        block: bool,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// What an inode says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permissions, with the bits of setuid, setgid and sticky.
    pub mode: u16,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When it was changed, in seconds since 1970.
    pub mtime: u32,
    /// Bytes of contents; 0 of what has none.
    pub size: u64,
    /// Extended attributes by their full name, as `security.capability`.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Where its inode is. Names of one file have the same.
    pub inode: u64,
}

impl Kind {
    /// How `ls` calls it.
    #[must_use]
    pub const fn letter(&self) -> char {
        match self {
            Self::File => '-',
            Self::Directory => 'd',
            Self::Symlink(_) => 'l',
            Self::Device { block: true, .. } => 'b',
            Self::Device { block: false, .. } => 'c',
            Self::Fifo => 'p',
            Self::Socket => 's',
        }
    }

    /// Its name in words.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink(_) => "link",
            Self::Device { block: true, .. } => "block device",
            Self::Device { block: false, .. } => "character device",
            Self::Fifo => "pipe",
            Self::Socket => "socket",
        }
    }
}

/// A name for people and JSON: as it is, if it is text that a terminal shows as one; else with `\\x1b` and the like.
#[must_use]
pub fn shown(name: &[u8]) -> String {
    match str::from_utf8(name) {
        Ok(text) if !text.chars().any(|one| one.is_control() || one == '\\') => text.into(),
        _ => name.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_reaches_a_terminal_as_anything_but_a_name_and_no_two_look_alike() {
        assert_eq!(shown("usr/bin/grüße".as_bytes()), "usr/bin/grüße");
        assert_eq!(shown(b"a\x1b[2Jb\nc"), "a\\x1b[2Jb\\nc");
        assert_eq!(shown(b"\xff"), "\\xff");
        assert_eq!(shown(b"\\xff"), "\\\\xff");
    }
}
