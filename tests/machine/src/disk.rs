//! Disks of a machine: a file as it is, a copy of it, or one that is only read; with a log of every write, if asked for.
//! Or no file at all, but whoever speaks NBD at a socket.
//!
//! The log is that of QEMU's `blklogwrites` (the format of Linux's dm-log-writes): sector 0 holds the magic
//! 0x6a736677736872, the version, the number of entries and the sector size; an entry is a sector {sector, count, flags,
//! length} and the data. It counts right after a power cut too, because its head is written with each entry.
//! **It is begun anew with each start**, so copy the disk and the log before the next one.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom as Place;
use rustix::io::Errno;

use crate::error::{Error, Result};

/// A disk, as a plan names it.
#[derive(Clone, Debug)]
pub struct Disk {
    pub(crate) image: PathBuf,
    pub(crate) access: Access,
    pub(crate) writes: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Change,
    Copy,
    Read,
    /// The image is a socket.
    Served,
}

impl Disk {
    /// A raw image that the machine changes.
    pub fn of(image: impl Into<PathBuf>) -> Self {
        Self { image: image.into(), access: Access::Change, writes: None }
    }

    /// A copy of a raw image, made when the machine is built, in its directory. Holes stay holes; where the file system
    /// shares blocks the copy costs nothing.
    pub fn copy_of(image: impl Into<PathBuf>) -> Self {
        Self { access: Access::Copy, ..Self::of(image) }
    }

    /// A raw image that is only read.
    pub fn read_only(image: impl Into<PathBuf>) -> Self {
        Self { access: Access::Read, ..Self::of(image) }
    }

    /// A disk that somebody serves at this Unix socket, in the protocol of network block devices: the export without a
    /// name. He sees every request as the guest makes it.
    pub fn served_at(socket: impl Into<PathBuf>) -> Self {
        Self { access: Access::Served, ..Self::of(socket) }
    }

    pub(crate) fn is_served(&self) -> bool {
        self.access == Access::Served
    }

    /// Bytes of the image, where that is known before the machine starts.
    pub(crate) fn length(&self) -> Result<Option<u64>> {
        let known = !self.is_served();
        known
            .then(|| fs::metadata(&self.image).map_err(Error::file("read", &self.image)))
            .transpose()
            .map(|metadata| metadata.map(|metadata| metadata.len()))
    }

    /// Records every write and flush in this file, which is made new at each start.
    #[must_use]
    pub fn log_writes(mut self, log: impl Into<PathBuf>) -> Self {
        self.writes = Some(log.into());
        self
    }

    /// Makes the copy if there is to be one. The result is what the machine uses.
    pub(crate) fn settle(mut self, dir: &Path, number: usize) -> Result<Self> {
        if self.access == Access::Copy {
            let copy = dir.join(format!("disk{number}.img"));
            copy_sparse(&self.image, &copy).map_err(Error::file("copy", &self.image))?;
            self.image = copy;
        }
        if let Some(length) = self.length()?
            && length % 512 != 0
        {
            return Err(Error::Plan(format!("{} is no disk: {length} bytes", self.image.display())));
        }
        Ok(self)
    }

    /// The value of `-drive`, without its `if=` and `id=`.
    pub(crate) fn drive(&self) -> Result<String> {
        let (image, read_only) = (escaped(&self.image), if self.access == Access::Read { ",readonly=on" } else { "" });
        if self.is_served() {
            // The log is with whoever serves it.
            return Ok(format!("driver=nbd,server.type=unix,server.path={image}"));
        }
        let Some(log) = &self.writes else {
            return Ok(format!("driver=raw,file.driver=file,file.filename={image}{read_only}"));
        };
        File::create(log).map_err(Error::file("create", log))?;
        let log = escaped(log);
        Ok(format!(
            "driver=blklogwrites,file.driver=raw,file.file.driver=file,file.file.filename={image},\
             log.driver=file,log.filename={log},log-sector-size=512,log-super-update-interval=1{read_only}"
        ))
    }
}

/// A path inside of an option: its commas are doubled.
pub(crate) fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// Copies a file so that its holes stay holes.
pub(crate) fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut copy = File::create(to)?;
    if rustix::fs::ioctl_ficlone(&copy, &source).is_ok() {
        return Ok(());
    }
    let length = source.metadata()?.len();
    copy.set_len(length)?;
    let mut at = 0;
    while at < length {
        let data = match rustix::fs::seek(&source, Place::Data(at)) {
            Ok(data) => data,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        at = rustix::fs::seek(&source, Place::Hole(data))?;
        source.seek(SeekFrom::Start(data))?;
        copy.seek(SeekFrom::Start(data))?;
        io::copy(&mut Read::by_ref(&mut source).take(at - data), &mut copy)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_copy_has_the_bytes_and_the_holes_of_its_image() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let mut file = File::create(&from).unwrap();
        for at in [0, 3 << 20, (8 << 20) - 512] {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&[7; 512]).unwrap();
        }
        file.set_len(9 << 20).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
        assert!(fs::metadata(&to).unwrap().blocks() * 512 < 1 << 20, "the copy is not sparse");
    }

    #[test]
    fn half_a_sector_is_no_disk() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        fs::write(&image, [0; 700]).unwrap();
        assert!(Disk::of(&image).settle(dir.path(), 0).is_err());
    }

    #[test]
    fn a_comma_in_a_path_does_not_end_it() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::of("/a,b.img").log_writes(dir.path().join("c,d"));
        let drive = disk.drive().unwrap();
        assert!(drive.contains("filename=/a,,b.img,log.driver") && drive.contains("c,,d,log-sector-size"), "{drive}");
    }
}
