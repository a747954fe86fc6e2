//! An archive as the kernel unpacks its initramfs from: cpio in the format that is called `newc`.
//!
//! Promises: the same entries give the same bytes. Everything belongs to root and is as old as 1970; entries are numbered
//! in their order; a directory stands before what is in it.
//!
//! ```text
//!  0      6     14    22    30    38      46    54       62    70       78     86     94       102    110
//! ┌──────┬─────┬─────┬─────┬─────┬───────┬─────┬────────┬─────┬────────┬──────┬──────┬────────┬──────┬────────┬──────┐
//! │070701│ ino │mode │ uid │ gid │ links │mtime│filesize│devmj│ devmin │rdevmj│rdevmn│namesize│check │name␀…  │data… │
//! └──────┴─────┴─────┴─────┴─────┴───────┴─────┴────────┴─────┴────────┴──────┴──────┴────────┴──────┴────────┴──────┘
//!          eight hexadecimal digits each; name and data are padded so that what follows starts at a multiple of four
//! ```
//!
//! Source: `Documentation/driver-api/early-userspace/buffer-format.rst` of the kernel.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};

/// The bits that tell one kind of entry from another.
const TYPE: u32 = 0o170_000;
const DIR: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;
const END: &str = "TRAILER!!!";

/// An archive that is written.
#[derive(Default)]
pub(crate) struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
    dirs: BTreeSet<String>,
}

impl Cpio {
    /// A directory, with those above it that are not there yet. It stays as it is if it is there.
    pub(crate) fn dir(&mut self, path: &str, mode: u32) -> Result<()> {
        if self.dirs.contains(path) {
            return Ok(());
        }
        self.parents(path)?;
        self.dirs.insert(path.to_owned());
        self.entry(path, DIR | mode, (0, 0), &[])
    }

    /// A file.
    pub(crate) fn file(&mut self, path: &str, mode: u32, data: &[u8]) -> Result<()> {
        self.parents(path)?;
        self.entry(path, FILE | mode, (0, 0), data)
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &str, to: &str) -> Result<()> {
        self.parents(path)?;
        self.entry(path, LINK | 0o777, (0, 0), to.as_bytes())
    }

    /// A character device.
    pub(crate) fn device(&mut self, path: &str, mode: u32, numbers: (u32, u32)) -> Result<()> {
        self.parents(path)?;
        self.entry(path, CHARACTER | mode, numbers, &[])
    }

    /// The bytes.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>> {
        self.header(0, END, 0, (0, 0), 0)?;
        Ok(self.bytes)
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) => self.dir(parent, 0o755),
            None => Ok(()),
        }
    }

    fn entry(&mut self, path: &str, mode: u32, numbers: (u32, u32), data: &[u8]) -> Result<()> {
        if path.is_empty() || path.split('/').any(|part| matches!(part, "" | "." | "..")) || path == END {
            bail!("{path:?} is no path in an initramfs");
        }
        self.entries += 1;
        let size = u32::try_from(data.len()).with_context(|| format!("{path} is too large for a cpio archive"))?;
        self.header(self.entries, path, mode, numbers, size)?;
        self.bytes.extend_from_slice(data);
        self.pad();
        Ok(())
    }

    fn header(&mut self, number: u32, name: &str, mode: u32, (major, minor): (u32, u32), size: u32) -> Result<()> {
        let links = if mode & TYPE == DIR { 2 } else { 1 };
        let name_size = u32::try_from(name.len() + 1)?;
        self.bytes.extend_from_slice(b"070701");
        for field in [number, mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0] {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_name_or_a_file_starts_at_a_multiple_of_four() {
        for size in 0..9 {
            let mut archive = Cpio::default();
            archive.file("a", 0o644, &vec![1; size]).unwrap();
            let bytes = archive.finish().unwrap();
            let second = 112 + size.next_multiple_of(4);
            assert_eq!(bytes.get(second..second + 6), Some(&b"070701"[..]), "{size}");
            assert_eq!(bytes.len() % 4, 0);
        }
    }

    #[test]
    fn a_directory_stands_once_and_before_what_is_in_it() {
        let mut archive = Cpio::default();
        archive.file("etc/cairn/conf", 0o644, b"").unwrap();
        archive.file("etc/cairn/other", 0o644, b"").unwrap();
        let text = String::from_utf8(archive.finish().unwrap()).unwrap();
        let at = |name: &str| text.match_indices(name).map(|(at, _)| at).collect::<Vec<_>>();
        assert!(at("etc\0") < at("etc/cairn\0") && at("etc/cairn\0") < at("etc/cairn/conf\0"));
        assert_eq!(at("etc/cairn\0").len(), 1);
    }

    #[test]
    fn a_path_that_leaves_the_archive_is_refused() {
        for path in ["", "/init", "../init", "a//b", "a/./b", END] {
            assert!(Cpio::default().file(path, 0o644, b"").is_err(), "{path}");
        }
    }
}
