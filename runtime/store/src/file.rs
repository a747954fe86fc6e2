//! Sectors of a file or a raw partition, where each write is durable when it returns.
//!
//! Opened with `O_DSYNC`. A partition is used as it is. A file must have all its blocks before its first use, written
//! and not merely reserved ([`create`](FileSectors::create) does so): then no write allocates, so a full disk cannot
//! stop it, and no write changes metadata, so a reader that replays no journal sees it at once.
//!
//! Reading tells what the medium gives back: after a failed write the page cache holds the new bytes, marked clean, and the
//! medium may hold the old ones. So the first read, and the first after any write, drops all that the cache holds. What is
//! read from then on the medium has given, and is not asked for again until something is written: those who read a few
//! bytes here and there, as a journal does, would wait for it a hundred times a boot.

use std::fmt;
use std::path::Path;

use boards_api::media::{SECTOR, Sectors};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Advice, FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

/// Sectors of a file or partition.
#[derive(Debug)]
pub struct FileSectors {
    fd: OwnedFd,
    size: u64,
    /// All that the page cache holds was read from the medium, by whoever has this open: nothing else writes here.
    given: bool,
}

/// Why a file cannot be used, or an access failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileError {
    /// The kernel said no.
    Os {
        /// What was attempted.
        call: &'static str,
        /// The answer.
        errno: Errno,
    },
    /// It is neither a file nor a block device.
    Kind,
    /// It is empty, or its size is not a multiple of a sector.
    Size(u64),
    /// The device writes sectors of this many bytes: a torn one would take its neighbours with it.
    LargeSectors(u32),
    /// The range does not lie on whole sectors, or ends behind the medium.
    Range {
        /// Where it starts, in bytes.
        at: u64,
        /// How long it is, in bytes.
        length: usize,
    },
    /// The medium took or gave no more bytes.
    Short,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Os { call, errno } => write!(f, "{call} failed: {errno}"),
            Self::Kind => f.write_str("neither a file nor a block device; check the board's layout"),
            Self::Size(size) => write!(f, "a size of {size} bytes is not a row of {SECTOR}-byte sectors"),
            Self::LargeSectors(size) => write!(f, "the device has sectors of {size} bytes, not {SECTOR}"),
            Self::Range { at, length } => write!(f, "{length} bytes at {at} are no sectors of this medium"),
            Self::Short => f.write_str("the medium ended early"),
        }
    }
}

impl std::error::Error for FileError {}

fn os(call: &'static str) -> impl Fn(Errno) -> FileError {
    move |errno| FileError::Os { call, errno }
}

impl FileSectors {
    /// Opens an existing file or block device.
    ///
    /// # Errors
    /// It cannot be opened, or its geometry cannot be honoured.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let flags = OFlags::RDWR | OFlags::DSYNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(os("open"))?;
        Self::from_fd(fd)
    }

    /// The same for reading only: every write fails.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_to_read(path: &Path) -> Result<Self, FileError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(os("open"))?;
        Self::from_fd(fd)
    }

    /// Makes a file of `size` bytes, every one of them written as erased flash (`0xFF`), and waits until it and its
    /// name are durable.
    ///
    /// # Errors
    /// It exists already, or there is no room.
    pub fn create(path: &Path, size: u64) -> Result<Self, FileError> {
        whole_sectors(size)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::DSYNC | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(os("open"))?;
        let mut file = Self { fd, size, given: false };
        let sector = [0xFF; SECTOR];
        (0..size / SECTOR as u64).try_for_each(|index| file.write(index * SECTOR as u64, &sector))?;
        rustix::fs::fsync(&file.fd).map_err(os("fsync"))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(parent, flags, Mode::empty()).map_err(os("open"))?;
        rustix::fs::fsync(parent).map_err(os("fsync"))?;
        Ok(file)
    }

    fn from_fd(fd: OwnedFd) -> Result<Self, FileError> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd).map_err(os("fstat"))?.st_mode);
        match kind {
            FileType::RegularFile => {}
            FileType::BlockDevice => {
                let sector = rustix::fs::ioctl_blksszget(&fd).map_err(os("BLKSSZGET"))?;
                if sector as usize > SECTOR {
                    return Err(FileError::LargeSectors(sector));
                }
            }
            _ => return Err(FileError::Kind),
        }
        // Also the size of a block device, which fstat does not tell.
        let size = rustix::fs::seek(&fd, SeekFrom::End(0)).map_err(os("lseek"))?;
        whole_sectors(size)?;
        Ok(Self { fd, size, given: false })
    }

    /// Forgets what the kernel remembers, unless the medium has given it. It takes it as advice, but it has nothing here to
    /// hold on to: every write is waited for, and nothing is mapped.
    fn forget(&mut self) -> Result<(), FileError> {
        if !self.given {
            // Without a length: to the end.
            rustix::fs::fadvise(&self.fd, 0, None, Advice::DontNeed).map_err(os("posix_fadvise"))?;
            self.given = true;
        }
        Ok(())
    }

    fn check(&self, at: u64, length: usize, unit: u64) -> Result<(), FileError> {
        let whole = at.is_multiple_of(unit) && (length as u64).is_multiple_of(unit);
        match at.checked_add(length as u64) {
            Some(end) if whole && end <= self.size => Ok(()),
            _ => Err(FileError::Range { at, length }),
        }
    }
}

fn whole_sectors(size: u64) -> Result<(), FileError> {
    if size == 0 || !size.is_multiple_of(SECTOR as u64) { Err(FileError::Size(size)) } else { Ok(()) }
}

impl Sectors for FileSectors {
    type Error = FileError;

    fn size(&self) -> u64 {
        self.size
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), FileError> {
        self.check(at, into.len(), 1)?;
        self.forget()?;
        let (mut at, mut rest) = (at, into);
        while !rest.is_empty() {
            match rustix::io::pread(self.fd.as_fd(), &mut *rest, at) {
                Ok(0) => return Err(FileError::Short),
                Ok(length) => {
                    at += length as u64;
                    rest = rest.get_mut(length..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(FileError::Os { call: "pread", errno }),
            }
        }
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), FileError> {
        self.check(at, bytes.len(), SECTOR as u64)?;
        // Also if it fails, and then above all.
        self.given = false;
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            match rustix::io::pwrite(self.fd.as_fd(), rest, at) {
                Ok(0) => return Err(FileError::Short),
                Ok(length) => {
                    at += length as u64;
                    rest = rest.get(length..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(FileError::Os { call: "pwrite", errno }),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("cairn-store-{}-{name}", std::process::id()));
            let _ = std::fs::remove_file(&path);
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn what_was_opened_to_read_is_never_written() {
        let scratch = Scratch::new("to-read");
        FileSectors::create(&scratch.0, 1024).unwrap();
        let mut file = FileSectors::open_to_read(&scratch.0).unwrap();
        assert_eq!(file.write(0, &[0; SECTOR]), Err(FileError::Os { call: "pwrite", errno: Errno::BADF }));
        let mut bytes = [0; SECTOR];
        file.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [0xFF; SECTOR]);
    }

    #[test]
    fn what_was_written_is_read_after_the_file_is_opened_again() {
        let scratch = Scratch::new("again");
        let mut file = FileSectors::create(&scratch.0, 4096).unwrap();
        file.write(512, &[7; 1024]).unwrap();
        drop(file);
        let mut file = FileSectors::open(&scratch.0).unwrap();
        assert_eq!(file.size(), 4096);
        let mut seen = [0; 4];
        file.read(510, &mut seen).unwrap();
        assert_eq!(seen, [0xFF, 0xFF, 7, 7]);
    }

    #[test]
    fn the_medium_is_asked_again_after_every_write_also_after_one_that_failed() {
        let scratch = Scratch::new("given");
        let mut file = FileSectors::create(&scratch.0, 1024).unwrap();
        let mut byte = [0];
        for _ in 0..2 {
            assert!(!file.given, "what was written is not what the medium has given");
            file.read(3, &mut byte).unwrap();
            assert!(file.given, "and now it is");
            file.write(512, &[7; 512]).unwrap();
        }
        let mut file = FileSectors::open_to_read(&scratch.0).unwrap();
        file.read(512, &mut byte).unwrap();
        assert!(file.write(0, &[0; SECTOR]).is_err() && !file.given);
    }

    #[test]
    fn a_geometry_that_cannot_be_honoured_is_refused() {
        let scratch = Scratch::new("geometry");
        assert_eq!(FileSectors::create(&scratch.0, 1000).unwrap_err(), FileError::Size(1000));
        std::fs::write(&scratch.0, [0; 700]).unwrap();
        assert_eq!(FileSectors::open(&scratch.0).unwrap_err(), FileError::Size(700));
        assert_eq!(FileSectors::open(Path::new("/dev/null")).unwrap_err(), FileError::Kind);
    }

    #[test]
    fn a_write_outside_or_between_sectors_changes_nothing() {
        let scratch = Scratch::new("range");
        let mut file = FileSectors::create(&scratch.0, 1024).unwrap();
        assert!(matches!(file.write(100, &[0; 512]), Err(FileError::Range { .. })));
        assert!(matches!(file.write(512, &[0; 1024]), Err(FileError::Range { .. })));
        let mut seen = [0; 1024];
        file.read(0, &mut seen).unwrap();
        assert_eq!(seen, [0xFF; 1024]);
    }
}
