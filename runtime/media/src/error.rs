//! What can go wrong with a boot file or a barrier: always a place and a fault.

use std::fmt;
use std::path::PathBuf;

use rustix::io::Errno;

/// A fault and where it happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// The file or directory.
    pub place: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The kernel said no.
    Os {
        /// What was attempted.
        call: &'static str,
        /// The answer.
        errno: Errno,
    },
    /// No barrier is known for a file system with this magic number (`statfs`).
    NoBarrier(u64),
    /// Somebody else has frozen the file system and may keep it so.
    Frozen,
    /// This names no file of the directory itself.
    Name,
    /// It is no regular file.
    Kind,
    /// It holds so many bytes, and other than so many were expected.
    Length {
        /// What is there.
        there: u64,
        /// What should be, or the most that could be taken.
        wanted: u64,
    },
    /// Writing it would change metadata: not all of its blocks are allocated and written, or they are shared.
    Blocks,
    /// Its file system writes data through the journal, so nothing can be overwritten in place.
    DataInJournal,
    /// The medium took or gave no more bytes.
    Short,
}

impl Error {
    /// Whether the kernel says that it is not there.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self.fault, Fault::Os { errno: Errno::NOENT, .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place.display(), self.fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os { call, errno } => write!(f, "{call} failed: {errno}"),
            Self::NoBarrier(magic) => write!(
                f,
                "nothing makes a file system of type {magic:#x} visible to a bootloader; keep boot files on ext4 or FAT"
            ),
            Self::Frozen => f.write_str("the file system is frozen by somebody else; thaw it (fsfreeze -u)"),
            Self::Name => f.write_str("not the name of a file in this directory"),
            Self::Kind => f.write_str("not a regular file"),
            Self::Length { there, wanted } => write!(f, "{there} bytes are there, {wanted} were expected"),
            Self::Blocks => f.write_str("its blocks are not all its own and written; make it anew"),
            Self::DataInJournal => {
                f.write_str("data goes through the file system's journal; mount without data=journal, clear chattr +j")
            }
            Self::Short => f.write_str("the medium ended early"),
        }
    }
}

impl std::error::Error for Error {}

/// A fault of this call.
pub(crate) fn os(call: &'static str) -> impl Fn(Errno) -> Fault {
    move |errno| Fault::Os { call, errno }
}
