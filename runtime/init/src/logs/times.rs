//! Marks beside a log: when which of its lines were read. Their form is that of [`formats::log_times`].
//!
//! ```text
//!   console.log          console.log.times        the marks of each file, found by what the file system says of it,
//!   console.log.1        console.log.1.times      so that those of another are never taken for its own
//! ```
//!
//! A flood costs no more than a mark in 10 ms, and a log of nothing but short lines has fewer marks than lines once it has a few
//! thousand: all marks of a file take an eighth of the most bytes that it has. Like the log they fail nobody.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use formats::log_times::{self, BYTES_MAX, ENTRY, HEAD, Mark, Now};

use super::follow::identity;

/// Lines that are read closer to each other have one time.
const APART: u64 = 10;

/// A clock that differs by this much, in hundredths of a second, was set.
const SET: u64 = 100;

/// The marks of a log take at most this part of it.
const PART: u64 = 8;

/// The file of the marks of a log.
pub(super) fn path(log: &Path) -> PathBuf {
    let mut path = OsString::from(log);
    path.push(".times");
    path.into()
}

/// Writes the marks of one log.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// The open file, and how many entries it has.
    file: Option<(File, u64)>,
    /// When a mark was written last, or could not be.
    last: Option<u64>,
    /// When this life of PID 1 began, as the file says.
    began: u64,
    /// The log stands in the middle of a line.
    within: bool,
}

impl Times {
    /// The next bytes go to another file.
    pub(super) fn close(&mut self) {
        *self = Self::default();
    }

    /// Takes note of bytes that lie in the log from `offset` on. The log has at most `limit` of them.
    pub(super) fn note(&mut self, log: (&Path, &File), limit: u64, offset: u64, bytes: &[u8], now: Now) {
        let end = || bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1).filter(|end| *end < bytes.len());
        let is_due = self.last.is_none_or(|last| now.up.saturating_sub(last) >= APART);
        let line = if !is_due {
            None
        } else if self.within {
            end()
        } else {
            Some(0)
        };
        self.within = bytes.last().is_some_and(|last| *last != b'\n');
        let Some(line) = line else { return };
        self.last = Some(now.up);
        let offset = offset.saturating_add(u64::try_from(line).unwrap_or(u64::MAX));
        if self.mark(log, limit, offset, now).is_err() {
            self.file = None;
        }
    }

    fn mark(&mut self, (path, log): (&Path, &File), limit: u64, offset: u64, now: Now) -> io::Result<()> {
        let is_new = self.file.is_none();
        let (mut file, entries) = match self.file.take() {
            Some(open) => open,
            None => open(path, identity(&log.metadata()?))?,
        };
        let most = limit / PART / ENTRY as u64;
        // A fourth of them for the first lines, a half for what comes with more of them, the rest for those who start often.
        let room = if is_new { most } else { most / 4 + offset / (PART * ENTRY as u64 * 2) };
        let began = now.began();
        let was_set = is_new || (began != 0 && began.abs_diff(self.began) >= SET);
        let Some(mark) = log_times::mark(offset, now.up).filter(|_| entries + 2 <= room.min(most)) else {
            self.file = Some((file, entries));
            return Ok(());
        };
        let mut both = [0; 2 * ENTRY];
        both[..ENTRY].copy_from_slice(&log_times::clock(now.life, began));
        both[ENTRY..].copy_from_slice(&mark);
        let written: &[u8] = if was_set { &both } else { &mark };
        file.write_all(written)?;
        if was_set {
            self.began = began;
        }
        self.file = Some((file, entries.saturating_add(if was_set { 2 } else { 1 })));
        Ok(())
    }
}

/// The marks of this log, to be gone on with, and how many entries they are.
fn open(log: &Path, id: u64) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path(log))?;
    let (head, entry) = (HEAD as u64, ENTRY as u64);
    let length = file.metadata()?.len();
    let mut said = [0; HEAD];
    if length >= head && file.read_exact_at(&mut said, 0).is_ok() && said == log_times::head(id) {
        let entries = (length - head) / entry;
        // A part of an entry, left by a power cut, would put all that follow it out of place.
        file.set_len(head + entries * entry)?;
        return Ok((file, entries));
    }
    // Of one that is cut to nothing, ext4 writes what comes next to its medium at once.
    if length > 0 {
        file.set_len(0)?;
    }
    file.write_all(&log_times::head(id))?;
    Ok((file, 0))
}

/// The marks of the file that is known by this, of those beside a log and beside the one before it. None can be read: none.
pub(super) fn of(files: [&Path; 2], id: u64, length: u64) -> Vec<Mark> {
    let read = |log: &Path| {
        let mut bytes = Vec::new();
        let bounded = File::open(path(log)).ok()?.take(BYTES_MAX as u64).read_to_end(&mut bytes);
        bounded.ok().filter(|_| bytes.starts_with(&log_times::head(id))).map(|_| log_times::read(&bytes, id, length))
    };
    files.into_iter().find_map(read).unwrap_or_default()
}

#[cfg(test)]
mod tests;
