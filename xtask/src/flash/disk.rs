//! A disk as flashing sees it: written in order, made durable, and read back from the medium itself.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{Advice, OFlags};

/// What the buffer and the range of a read past the page cache must be multiples of, on every disk there is.
const ALIGNMENT: usize = 4096;

/// Bytes that are moved at once.
pub(super) const CHUNK: usize = 1 << 20;

/// Something that can be flashed.
pub(super) trait Disk {
    /// Writes bytes; when they are on the medium, [`sync`](Self::sync) tells.
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns when everything that was written is on the medium.
    fn sync(&mut self) -> io::Result<()>;

    /// Reads what the medium holds, not what memory remembers of it.
    fn read(&mut self, at: u64, into: &mut [u8]) -> io::Result<()>;
}

/// A block device or a file.
pub(super) struct Device {
    file: File,
    /// Reads past the page cache, where the file system can.
    direct: Option<File>,
    buffer: Vec<u8>,
    bytes: u64,
}

impl Device {
    /// Opens it. `alone`: the kernel refuses if anybody uses it, also whom this process cannot see.
    pub(super) fn open(path: &Path, bytes: u64, alone: bool) -> io::Result<Self> {
        let exclusive = if alone { OFlags::EXCL } else { OFlags::empty() };
        let flags = |flags: OFlags| i32::try_from(flags.bits()).unwrap_or_default();
        let file = File::options().read(true).write(true).custom_flags(flags(exclusive)).open(path)?;
        let direct = File::options().read(true).custom_flags(flags(OFlags::DIRECT)).open(path).ok();
        Ok(Self { file, direct, buffer: vec![0; CHUNK + 3 * ALIGNMENT], bytes })
    }

    /// The whole blocks around a range, as far as the disk has them, into memory at a multiple of the alignment.
    fn read_direct(&mut self, direct: &File, at: u64, into: &mut [u8]) -> io::Result<()> {
        let outside = || io::Error::other("a read that no buffer was made for");
        let first = at / ALIGNMENT as u64 * ALIGNMENT as u64;
        let end = (at + into.len() as u64).next_multiple_of(ALIGNMENT as u64).min(self.bytes);
        let start = self.buffer.as_ptr().align_offset(ALIGNMENT);
        let length = usize::try_from(end - first).map_err(|_| outside())?;
        let blocks = self.buffer.get_mut(start..start + length).ok_or_else(outside)?;
        direct.read_exact_at(blocks, first)?;
        let skip = usize::try_from(at - first).map_err(|_| outside())?;
        into.copy_from_slice(blocks.get(skip..skip + into.len()).ok_or_else(outside)?);
        Ok(())
    }
}

impl Disk for Device {
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        if let Some(direct) = self.direct.take() {
            let read = self.read_direct(&direct, at, into);
            match read {
                // Some file systems say it only now.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                other => {
                    self.direct = Some(direct);
                    return other;
                }
            }
        }
        // What is clean is dropped from memory; everything is, after `sync`.
        rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed)?;
        self.file.read_exact_at(into, at)
    }
}
