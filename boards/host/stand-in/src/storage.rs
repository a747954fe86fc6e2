//! The storage of a device: an ext4 in an image file, mounted on no path of the host.
//!
//! ```text
//!   firmware    ro, noload    replays no journal, as a bootloader; closed before the jump
//!   Linux       rw            replayed; moved to /storage of the device, and held here without being in its way
//! ```
//!
//! The loop device detaches itself with the last user, so whatever dies, nothing has to be swept. The second mount of
//! the same file system that is held here keeps it alive after the death of the device, until it was decided whether it
//! is flushed (an ordered end) or [cut off](Storage::cut) (power, or a death without notice).
//!
//! Unmounting brings home what the journal holds, however the file system was shut down before. So a cut takes a copy of
//! the image first, which takes its place when all is over: that is what the disk held when power went.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::sys::{self, LoopConfig};

/// How often another process may take the free loop device away before we do. Each try that is lost is won by somebody.
const TRIES: u32 = 64;

/// The last user of a loop device may be a mount of a namespace that the kernel is still taking apart.
const GONE_WITHIN: Duration = Duration::from_secs(20);

const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;

/// Who looks at the storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Eyes {
    /// A reader that changes nothing and replays nothing.
    Firmware,
    /// The system that owns it.
    Linux,
}

/// A mounted storage.
pub(crate) struct Storage {
    /// Not attached anywhere until somebody moves it.
    mount: Option<OwnedFd>,
    /// Another mount of the same file system, so that the first can be unmounted by its owner.
    held: OwnedFd,
    image: PathBuf,
}

impl Storage {
    /// Mounts an image.
    pub(crate) fn mount(image: &Path, eyes: Eyes) -> Result<Self> {
        let device = attach(image, eyes)?;
        let mount = mount(&device.path, eyes);
        let mount = mount.with_context(|| format!("cannot mount {}; it should be an ext4", image.display()))?;
        let beside = mount_again(&device.path, eyes, &mount)?;
        Ok(Self { mount: Some(mount), held: directory(beside.as_fd(), ".")?, image: image.to_owned() })
    }

    /// The mount, for whoever puts it into a tree.
    pub(crate) fn take(&mut self) -> Result<OwnedFd> {
        self.mount.take().context("the storage was given away already")
    }

    /// Opens a file.
    pub(crate) fn open(&self, path: &Path) -> rustix::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&self.held, path, flags, Mode::empty()).map(File::from)
    }

    /// The root directory.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.held.as_fd()
    }

    /// Takes power from the medium: what has not reached it is lost, as is what only a cache knows. The answer has to
    /// [take the place](Cut::settle) of the image when nobody uses that any more.
    pub(crate) fn cut(&self) -> Result<Cut> {
        sys::shut_down(&self.held).context("cannot cut the storage off")?;
        let cut = Cut { copy: self.image.with_extension("cut"), image: self.image.clone() };
        copy_sparse(&self.image, &cut.copy).with_context(|| format!("cannot write {}", cut.copy.display()))?;
        Ok(cut)
    }
}

/// What the disk held when power went.
#[must_use = "without it the image is the one that unmounting has repaired"]
pub(crate) struct Cut {
    copy: PathBuf,
    image: PathBuf,
}

impl Cut {
    /// Puts it into the place of the image.
    pub(crate) fn settle(self) -> Result<()> {
        fs::rename(&self.copy, &self.image).with_context(|| format!("cannot replace {}", self.image.display()))
    }
}

/// Holes stay holes. Where the file system of the host can share blocks, nothing is copied at all.
fn copy_sparse(from: &Path, to: &Path) -> rustix::io::Result<()> {
    let flags = OFlags::CLOEXEC | OFlags::RDONLY;
    let from = rustix::fs::open(from, flags, Mode::empty())?;
    let flags = OFlags::CLOEXEC | OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let to = rustix::fs::open(to, flags, Mode::RUSR | Mode::WUSR)?;
    if rustix::fs::ioctl_ficlone(&to, &from).is_ok() {
        return Ok(());
    }
    let end = rustix::fs::fstat(&from)?.st_size.unsigned_abs();
    rustix::fs::ftruncate(&to, end)?;
    let mut at = 0;
    loop {
        at = match rustix::fs::seek(&from, SeekFrom::Data(at)) {
            Ok(data) => data,
            // Only a hole is left.
            Err(Errno::NXIO) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let hole = rustix::fs::seek(&from, SeekFrom::Hole(at))?;
        let mut written = at;
        while at < hole {
            let length = usize::try_from(hole - at).unwrap_or(usize::MAX);
            if rustix::fs::copy_file_range(&from, Some(&mut at), &to, Some(&mut written), length)? == 0 {
                return Err(Errno::IO);
            }
        }
    }
}

/// A loop device, kept attached.
struct Loop {
    path: PathBuf,
    _device: OwnedFd,
}

fn attach(image: &Path, eyes: Eyes) -> Result<Loop> {
    let (flags, config) = match eyes {
        Eyes::Firmware => (OFlags::RDONLY, READ_ONLY | AUTOCLEAR),
        Eyes::Linux => (OFlags::RDWR, AUTOCLEAR),
    };
    let open = |path: &Path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
    let backing = open(image, flags).with_context(|| format!("cannot open {}", image.display()))?;
    let control = open(Path::new("/dev/loop-control"), OFlags::RDWR)
        .context("cannot open /dev/loop-control; this kernel needs loop devices")?;
    for _ in 0..TRIES {
        let number = sys::loop_get_free(&control).context("there is no free loop device")?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = open(&path, flags).with_context(|| format!("cannot open {}", path.display()))?;
        match sys::loop_configure(&device, LoopConfig::of(backing.as_fd(), config)) {
            Ok(()) => return Ok(Loop { path, _device: device }),
            // Somebody was faster.
            Err(Errno::BUSY) => {}
            Err(errno) => bail!("cannot attach {} to {}: {errno}", image.display(), path.display()),
        }
    }
    bail!("others took every free loop device")
}

fn mount(device: &Path, eyes: Eyes) -> rustix::io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "source", device)?;
    if eyes == Eyes::Firmware {
        rustix::mount::fsconfig_set_flag(&context, "ro")?;
        rustix::mount::fsconfig_set_flag(&context, "noload")?;
    }
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// The same file system, mounted a second time: the kernel finds it by its device while the first mount lives.
fn mount_again(device: &Path, eyes: Eyes, _while: &OwnedFd) -> Result<OwnedFd> {
    mount(device, eyes).with_context(|| format!("cannot mount {} once more", device.display()))
}

fn directory(at: BorrowedFd<'_>, path: &str) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty()).context("cannot open the storage")
}

/// Loop devices that a file is attached to.
pub(crate) fn loops_of(image: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/block") else { return Vec::new() };
    let attached = entries.flatten().filter(|entry| {
        let backing = fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        Path::new(backing.trim_end_matches('\n')) == image
    });
    attached.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Waits until nothing uses the image any more.
pub(crate) fn wait_until_unused(image: &Path) -> Result<()> {
    let start = Instant::now();
    loop {
        let loops = loops_of(image);
        if loops.is_empty() {
            return Ok(());
        }
        if start.elapsed() > GONE_WITHIN {
            bail!("{} is still attached to {}; who uses it?", image.display(), loops.join(", "));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn a_copy_has_the_bytes_and_the_holes() {
        let scratch = tempfile::tempdir().unwrap();
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        let file = File::create(&from).unwrap();
        file.set_len(8 << 20).unwrap();
        file.write_all_at(b"first", 0).unwrap();
        file.write_all_at(b"later", 5 << 20).unwrap();
        fs::write(&to, vec![7; 9 << 20]).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
        assert!(fs::metadata(&to).unwrap().blocks() < 1024);
    }
}
