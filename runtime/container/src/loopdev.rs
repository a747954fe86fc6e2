//! Loop devices: a file as a read-only block device that disappears with its last user.
//!
//! A [`Loop`] holds the device open. Once a file system is mounted from it, the `Loop` can be dropped: the kernel
//! detaches the file when the mount ends (`LO_FLAGS_AUTOCLEAR`), also when PID 1 has died in between. So nothing is
//! remembered and nothing has to be swept.

use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::SystemError;
use crate::error::cannot;
use crate::sys::{self, LoopConfig};

/// How often another process may take the free device away before we do. Each try that is lost is won by somebody.
const TRIES: u32 = 64;

const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;
/// Past the page cache of the file: an image is cached once, not twice. The kernel leaves it out where the file
/// system below cannot.
const DIRECT_IO: u32 = 16;

/// The smallest block, so that every file system finds the size that it was made with.
const BLOCK: u32 = 512;

/// A file attached to a loop device.
#[derive(Debug)]
pub struct Loop {
    /// Keeps it attached.
    _device: OwnedFd,
    path: PathBuf,
}

impl Loop {
    /// Attaches a file, read-only.
    ///
    /// # Errors
    /// The file or a device cannot be opened, or every free device was taken by others.
    pub fn attach(file: &Path) -> Result<Self, SystemError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let backing = rustix::fs::open(file, flags, Mode::empty()).map_err(cannot("open the image", file))?;
        let control = "/dev/loop-control";
        let driver = rustix::fs::open(control, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(cannot("open", control))?;
        let config = |flags| LoopConfig::of(backing.as_fd(), BLOCK, flags, file.as_os_str().as_encoded_bytes());
        for _ in 0..TRIES {
            let number = sys::loop_get_free(&driver).map_err(cannot("find a free loop device in", control))?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = rustix::fs::open(&path, flags, Mode::empty()).map_err(cannot("open", &path))?;
            match configure(&device, config) {
                Ok(()) => return Ok(Self { _device: device, path }),
                // Somebody was faster.
                Err(Errno::BUSY) => {}
                Err(errno) => return Err(cannot("attach to a loop device", file)(errno)),
            }
        }
        Err(cannot("win a free loop device for", file)(Errno::BUSY))
    }

    /// The block device.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn configure(device: &OwnedFd, config: impl Fn(u32) -> LoopConfig) -> Result<(), Errno> {
    let flags = READ_ONLY | AUTOCLEAR;
    match sys::loop_configure(device, config(flags | DIRECT_IO)) {
        Err(Errno::INVAL) => sys::loop_configure(device, config(flags)),
        other => other,
    }
}
