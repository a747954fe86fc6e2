//! Volumes of a storage that cannot be written: what is there is read, what is written goes to memory, and ends with the
//! boot.
//!
//! ```text
//!   volumes/web/data      overlay   lower: STORAGE/disks/perm/web/data            upper: boot/web/KEY/data/upper
//!   the root of `web`     overlay   its images, and over them                     upper: boot/web/KEY/lxc-overlay/root-upper
//!                                   STORAGE/disks/…/web/lxc-overlay/upper
//! ```
//!
//! The kernel takes no overlay as the upper layer of another, so a container that has one in a volume gets a layer more: what
//! it has written in earlier boots lies below what it writes now.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, mount};

use super::{EngineError, mounts};

/// A volume whose changes are in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frozen {
    /// Where it is mounted.
    place: PathBuf,
    /// What the storage has of it; nothing may be there.
    below: PathBuf,
    /// The directory in memory.
    memory: PathBuf,
}

/// The layers of an overlay that writes to a frozen volume.
pub(super) struct Thawed {
    /// What it has written in earlier boots, if anything: its topmost lower layer.
    pub(super) below: Option<PathBuf>,
    /// Where it writes now.
    pub(super) upper: PathBuf,
    /// For the kernel.
    pub(super) work: PathBuf,
}

impl Frozen {
    pub(super) fn new(place: PathBuf, below: PathBuf, memory: PathBuf) -> Self {
        Self { place, below, memory }
    }

    /// Mounts it. What was written earlier in this boot is there again.
    pub(super) fn mount(&self) -> Result<(), EngineError> {
        mounts::tmpfs(&self.memory)?;
        let below = if self.below.is_dir() { self.below.clone() } else { self.make("lower")? };
        let (lower, upper, work) = (open(&below)?, open(&self.make("upper")?)?, open(&self.make("work")?)?);
        mounts::make_dir(&self.place)?;
        // By descriptors: colons and commas in a name mean nothing then.
        let name = |dir: &File| format!("/proc/self/fd/{}", dir.as_raw_fd());
        let options = format!("lowerdir={},upperdir={},workdir={}", name(&lower), name(&upper), name(&work));
        let options = CString::new(options).unwrap_or_default();
        mount("overlay", &self.place, "overlay", MountFlags::empty(), options.as_c_str())
            .map_err(|errno| EngineError::file(LAY, &self.below)(errno.into()))
    }

    /// What an overlay has instead of this upper layer, if that is in here.
    pub(super) fn thaw(&self, upper: &Path) -> Result<Option<Thawed>, EngineError> {
        let Ok(rest) = upper.strip_prefix(&self.place) else { return Ok(None) };
        let below = mounts::plain(&self.below, rest, false).is_ok().then(|| self.below.join(rest));
        Ok(Some(Thawed { below, upper: self.make("root-upper")?, work: self.make("root-work")? }))
    }

    fn make(&self, name: &str) -> Result<PathBuf, EngineError> {
        let dir = self.memory.join(name);
        mounts::make_dir(&dir)?;
        Ok(dir)
    }
}

const LAY: &str = "lay memory over";

fn open(dir: &Path) -> Result<File, EngineError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(dir, flags, Mode::empty());
    opened.map(File::from).map_err(|errno| EngineError::file(LAY, dir)(errno.into()))
}
