//! A directory of boot files: the Linux side of `boards_api::media::Files`.
//!
//! ```text
//!   create      all bytes written, file and name synced, barrier     once, when the device is made
//!   overwrite   the same blocks, fdatasync                           no metadata changes
//!   exchange    renameat2(RENAME_EXCHANGE), fsync of the directory   in the file system's journal
//!   checkpoint  syncfs, barrier                                      at home
//! ```
//!
//! Reading drops the pages of the file from the page cache before, so that it tells what the medium gives back: after a
//! failed write the cache holds the new bytes, marked clean, and the medium may hold the old ones. (The kernel treats
//! dropping as advice; it keeps what somebody has mapped or not yet written. Boot files are neither.)

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use boards_api::media::Files;
use boards_api::takeover::Maker;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dev, FileType, IFlags, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use crate::barrier::Means;
use crate::error::{Error, Fault, os};
use crate::extents;

/// An open directory and what its file system offers.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    means: Means,
    /// The file system sends data through its journal.
    data_in_journal: bool,
}

impl Directory {
    /// Opens a directory whose file system has a barrier.
    ///
    /// # Errors
    /// It is no directory, its file system has no barrier, or the process may not use it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let open = || {
            let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .map_err(os("open"))?;
            let means = Means::of(&fd)?;
            let data_in_journal = match means {
                Means::WriteThrough => false,
                Means::Checkpoint | Means::Freeze => {
                    data_in_journal(rustix::fs::fstat(&fd).map_err(os("fstat"))?.st_dev)?
                }
            };
            Ok(Self { fd, path: path.to_owned(), means, data_in_journal })
        };
        open().map_err(|fault| Error { place: path.to_owned(), fault })
    }

    /// How its barrier is brought about.
    #[must_use]
    pub fn means(&self) -> Means {
        self.means
    }

    /// Makes a file that [`overwrite`](Files::overwrite) can replace for ever: every byte written, its name visible to
    /// a reader that replays nothing.
    ///
    /// # Errors
    /// It exists already, or there is no room. A file that was not finished is removed again.
    pub fn create(&mut self, name: &str, with: &[u8]) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = self.openat(name, flags)?;
        let made = write_all(&file, with).and_then(|()| rustix::fs::fsync(&file).map_err(os("fsync")));
        if let Err(fault) = made {
            // What is reported is why it could not be made.
            let _ = rustix::fs::unlinkat(&self.fd, name, AtFlags::empty());
            return Err(self.at(name, fault));
        }
        rustix::fs::fsync(&self.fd).map_err(os("fsync")).map_err(|fault| self.here(fault))?;
        self.checkpoint()
    }

    fn openat(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Error> {
        checked(name)
            .and_then(|()| rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR).map_err(os("open")))
            .map_err(|fault| self.at(name, fault))
    }

    fn at(&self, name: &str, fault: Fault) -> Error {
        Error { place: self.path.join(name), fault }
    }

    fn here(&self, fault: Fault) -> Error {
        Error { place: self.path.clone(), fault }
    }

    /// Refuses what could not be overwritten with so many bytes in place.
    fn stays_open(&self, file: &OwnedFd, wanted: u64) -> Result<(), Fault> {
        let status = regular(file)?;
        let there = size(&status);
        if there != wanted {
            return Err(Fault::Length { there, wanted });
        }
        if self.data_in_journal || has_journalled_data(file)? {
            return Err(Fault::DataInJournal);
        }
        extents::stay(file, wanted, u64::try_from(status.st_blocks).unwrap_or(0))
    }

    fn overwrite_open(&self, file: &OwnedFd, with: &[u8]) -> Result<(), Fault> {
        self.stays_open(file, with.len() as u64)?;
        write_all(file, with)?;
        rustix::fs::fdatasync(file).map_err(os("fdatasync"))
    }
}

impl Files for Directory {
    type Error = Error;

    fn read(&mut self, name: &str, into: &mut [u8]) -> Result<usize, Error> {
        let file = self.openat(name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW)?;
        read_all(&file, into).map_err(|fault| self.at(name, fault))
    }

    fn overwrite(&mut self, name: &str, with: &[u8]) -> Result<(), Error> {
        let file = self.openat(name, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW)?;
        self.overwrite_open(&file, with).map_err(|fault| self.at(name, fault))
    }

    fn exchange(&mut self, one: &str, other: &str) -> Result<(), Error> {
        checked(one).map_err(|fault| self.at(one, fault))?;
        checked(other).map_err(|fault| self.at(other, fault))?;
        rustix::fs::renameat_with(&self.fd, one, &self.fd, other, RenameFlags::EXCHANGE)
            .map_err(|errno| self.at(one, Fault::Os { call: "renameat2", errno }))?;
        rustix::fs::fsync(&self.fd).map_err(|errno| self.here(Fault::Os { call: "fsync", errno }))
    }

    fn checkpoint(&mut self) -> Result<(), Error> {
        // A file that nobody has synced yet may have no blocks yet, and so nothing in the journal.
        rustix::fs::syncfs(&self.fd)
            .map_err(os("syncfs"))
            .and_then(|()| self.means.apply(&self.fd))
            .map_err(|fault| self.here(fault))
    }
}

impl Maker for Directory {
    fn stays(&mut self, name: &str, length: usize) -> Result<bool, Error> {
        let file = self.openat(name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW)?;
        match self.stays_open(&file, length as u64) {
            Ok(()) => Ok(true),
            Err(Fault::Length { .. } | Fault::Blocks) => Ok(false),
            Err(fault) => Err(self.at(name, fault)),
        }
    }

    fn make(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.create(name, bytes)
    }

    fn remove(&mut self, name: &str) -> Result<(), Error> {
        checked(name).map_err(|fault| self.at(name, fault))?;
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.at(name, Fault::Os { call: "unlinkat", errno })),
        }
    }
}

/// One plain name: what is read and written is in this directory.
fn checked(name: &str) -> Result<(), Fault> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) { Err(Fault::Name) } else { Ok(()) }
}

fn regular(file: &OwnedFd) -> Result<Stat, Fault> {
    let status = rustix::fs::fstat(file).map_err(os("fstat"))?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => Ok(status),
        _ => Err(Fault::Kind),
    }
}

fn size(status: &Stat) -> u64 {
    u64::try_from(status.st_size).unwrap_or(0)
}

fn read_all(file: &OwnedFd, into: &mut [u8]) -> Result<usize, Fault> {
    let status = regular(file)?;
    let (there, wanted) = (size(&status), into.len() as u64);
    let room = usize::try_from(there).ok().and_then(|length| into.get_mut(..length));
    let mut rest = room.ok_or(Fault::Length { there, wanted })?;
    let length = rest.len();
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).map_err(os("posix_fadvise"))?;
    let mut at = 0;
    while !rest.is_empty() {
        match rustix::io::pread(file.as_fd(), &mut *rest, at) {
            Ok(0) => return Err(Fault::Short),
            Ok(length) => {
                at += length as u64;
                rest = rest.get_mut(length..).unwrap_or_default();
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(os("pread")(errno)),
        }
    }
    Ok(length)
}

fn write_all(file: &OwnedFd, bytes: &[u8]) -> Result<(), Fault> {
    let (mut at, mut rest) = (0, bytes);
    while !rest.is_empty() {
        match rustix::io::pwrite(file.as_fd(), rest, at) {
            Ok(0) => return Err(Fault::Short),
            Ok(length) => {
                at += length as u64;
                rest = rest.get(length..).unwrap_or_default();
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(os("pwrite")(errno)),
        }
    }
    Ok(())
}

/// Whether this one file's data goes through the journal (`chattr +j`). FAT has no such flags.
fn has_journalled_data(file: &OwnedFd) -> Result<bool, Fault> {
    match rustix::fs::ioctl_getflags(file) {
        Ok(flags) => Ok(flags.contains(IFlags::JOURNALING)),
        Err(Errno::NOTTY | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(os("FS_IOC_GETFLAGS")(errno)),
    }
}

/// Whether a whole ext4 is mounted so. A value then stands in the journal before it is at home, and if power goes in
/// between, the firmware reads the old one and Linux, which replays, the new one. `/proc/mounts` is silent where the superblock has it as its default; this list is
/// complete, and absent only for the ext2 driver, which has no journal.
fn data_in_journal(dev: Dev) -> Result<bool, Fault> {
    let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
    let call = "readlink /sys/dev/block";
    let device = rustix::fs::readlink(format!("/sys/dev/block/{major}:{minor}"), Vec::new()).map_err(os(call))?;
    let device = device.to_string_lossy();
    let name = device.rsplit('/').next().unwrap_or_default();
    match std::fs::read_to_string(format!("/proc/fs/ext4/{name}/options")) {
        Ok(options) => Ok(options.lines().any(|line| line == "data=journal")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            Err(os("read /proc/fs/ext4")(errno))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in ["", ".", "..", "../cell", "boot/cell", "ce\0ll"] {
            assert_eq!(checked(name), Err(Fault::Name), "{name:?}");
        }
        assert_eq!(checked("grubenv"), Ok(()));
    }
}
