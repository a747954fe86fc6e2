//! A log as somebody reads it on, piece by piece: through the moment at which it begins anew.
//!
//! ```text
//!   console.log.1   what was before        a place is a file and an offset in it; the file is known by what the file
//!   console.log     what is now            system says of it, since a rename leaves that as it was
//! ```

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

use formats::control::{LogFrom, LogPiece, LogPlace};
use formats::log_times::{self, Mark, Now, Since, TIMES_MAX, Time};

use super::{before, times};

/// The piece of a log from a place or a time on. `log` is its path. `most` bounds the piece, and so does the number of times
/// that can come with it, if they are asked for.
///
/// # Errors
/// A file is there and cannot be read.
pub fn read(log: &Path, from: LogFrom, timed: bool, most: usize, now: Now) -> io::Result<LogPiece> {
    let before = before(log);
    // The newer first: what is renamed in between is then seen twice, and not missed.
    let files = [open(log)?, open(&before)?];
    let [latest, older] = files;
    let mut files: Vec<(File, u64, u64)> = older.into_iter().chain(latest).collect();
    files.dedup_by_key(|(_, id, _)| *id);
    let marks = |id, length| times::of([log, &before], id, length);
    let mut piece = LogPiece { bytes: Vec::new(), place: None, lost: false, times: Vec::new() };
    let (mut at, mut offset) = (0, 0);
    match from {
        LogFrom::Oldest => {}
        LogFrom::Since(since) => {
            let Some((file, place)) = find(&files, since, now, marks) else { return Ok(piece) };
            (at, offset) = (file, place.offset);
            piece.place = Some(place);
        }
        LogFrom::After(place) => {
            match files.iter().position(|(_, id, length)| *id == place.file && *length >= place.offset) {
                Some(found) => (at, offset) = (found, place.offset),
                // What was not read is no longer kept.
                None => piece.lost = !files.is_empty(),
            }
            piece.place = Some(place);
        }
    }
    for (file, id, length) in files.iter_mut().skip(at) {
        file.seek(SeekFrom::Start(offset))?;
        let mut left = u64::try_from(most.saturating_sub(piece.bytes.len())).unwrap_or(u64::MAX);
        let mut is_whole = true;
        if timed {
            let end = end_of_times(&mut piece, &marks(*id, *length), offset, offset.saturating_add(left), now);
            is_whole = end.is_none();
            left = end.map_or(left, |end| end.saturating_sub(offset));
        }
        let read = file.take(left).read_to_end(&mut piece.bytes)?;
        offset = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        piece.place = Some(LogPlace { file: *id, offset });
        if piece.bytes.len() >= most || !is_whole {
            break;
        }
        offset = 0;
    }
    Ok(piece)
}

/// Where the first line of a time lies, or the end of the log if there is none yet. `None`: there is no log.
fn find(
    files: &[(File, u64, u64)],
    since: Since,
    now: Now,
    marks: impl Fn(u64, u64) -> Vec<Mark>,
) -> Option<(usize, LogPlace)> {
    let found = files.iter().enumerate().find_map(|(at, (_, id, length))| {
        let offset = log_times::first(&marks(*id, *length), since, now)?.offset;
        Some((at, LogPlace { file: *id, offset }))
    });
    let end = || {
        let (_, id, length) = files.last()?;
        Some((files.len().checked_sub(1)?, LogPlace { file: *id, offset: *length }))
    };
    found.or_else(end)
}

/// Adds the times of the bytes from `begin` to `end` of a file that come next in the piece. If there are more than a piece can
/// have, tells where it has to end.
fn end_of_times(piece: &mut LogPiece, marks: &[Mark], begin: u64, end: u64, now: Now) -> Option<u64> {
    let first = marks.partition_point(|mark| mark.offset <= begin);
    let base = piece.bytes.len();
    let time = |mark: Option<&Mark>, offset: u64| {
        let at = base.saturating_add(usize::try_from(offset.saturating_sub(begin)).unwrap_or(usize::MAX));
        let unix = mark.and_then(|mark| {
            // What was read before the clock was set was so long before now.
            let here = (mark.life == now.life).then(|| now.unix?.checked_sub(now.up.checked_sub(mark.up)?));
            mark.unix.or(here.flatten())
        });
        Time { at: u32::try_from(at).unwrap_or(u32::MAX), up: mark.map(|mark| mark.up), unix }
    };
    piece.times.push(time(first.checked_sub(1).and_then(|at| marks.get(at)), begin));
    for mark in marks.iter().skip(first).take_while(|mark| mark.offset < end) {
        if piece.times.len() >= TIMES_MAX {
            return Some(mark.offset);
        }
        piece.times.push(time(Some(mark), mark.offset));
    }
    None
}

/// An open file with its identity and its length; `None` if there is none.
fn open(path: &Path) -> io::Result<Option<(File, u64, u64)>> {
    match File::open(path) {
        Ok(file) => {
            let said = file.metadata()?;
            Ok(Some((file, identity(&said), said.len())))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A number is given to another file once its own is gone; with the moment at which it was made it is not.
pub(super) fn identity(said: &Metadata) -> u64 {
    let born = said.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let nanos = born.as_secs().wrapping_mul(1_000_000_000).wrapping_add(born.subsec_nanos().into());
    said.ino() ^ nanos.rotate_left(20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::Log;

    struct Place(std::path::PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("cairn-follow-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn log(&self) -> std::path::PathBuf {
            self.0.join("console.log")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    const NOW: Now = Now { life: 1, up: 0, unix: None };

    /// Everything from a place on, in pieces, and whether something was lost.
    fn all(log: &Path, mut after: Option<LogPlace>, most: usize) -> (String, Option<LogPlace>, bool) {
        let (mut text, mut lost) = (String::new(), false);
        loop {
            let from = after.map_or(LogFrom::Oldest, LogFrom::After);
            let piece = read(log, from, false, most, NOW).unwrap();
            text += std::str::from_utf8(&piece.bytes).unwrap();
            (after, lost) = (piece.place, lost || piece.lost);
            assert!(piece.times.is_empty(), "nobody asked for them");
            if piece.bytes.is_empty() {
                return (text, after, lost);
            }
        }
    }

    #[test]
    fn a_log_is_read_on_through_its_renaming() {
        let place = Place::new("on");
        let mut log = Log::new(place.log(), 10);
        assert_eq!(all(&place.log(), None, 4), (String::new(), None, false));
        log.append(b"one\n");
        let (text, at, lost) = all(&place.log(), None, 3);
        assert_eq!((text.as_str(), lost), ("one\n", false));
        log.append(b"two\n");
        log.append(b"three\n");
        let (text, at, lost) = all(&place.log(), at, 3);
        assert_eq!((text.as_str(), lost), ("two\nthree\n", false));
        assert_eq!(all(&place.log(), at, 3), (String::new(), at, false));
        assert_eq!(all(&place.log(), None, 64).0, "one\ntwo\nthree\n");
    }

    #[test]
    fn what_was_dropped_before_it_was_read_is_said_to_be_lost() {
        let place = Place::new("lost");
        let mut log = Log::new(place.log(), 10);
        log.append(b"aaaaaaaa\n");
        let at = read(&place.log(), LogFrom::Oldest, false, 4, NOW).unwrap().place;
        for part in ["bbbbbbbb\n", "cccccccc\n", "dddddddd\n"] {
            log.append(part.as_bytes());
        }
        let (text, _, lost) = all(&place.log(), at, 4);
        assert_eq!((text.as_str(), lost), ("cccccccc\ndddddddd\n", true));
    }

    #[test]
    fn a_place_that_nobody_gave_is_no_way_to_other_bytes() {
        let place = Place::new("odd");
        Log::new(place.log(), 100).append(b"text");
        let at = read(&place.log(), LogFrom::Oldest, false, 100, NOW).unwrap().place.unwrap();
        for odd in [LogPlace { offset: at.offset + 1, ..at }, LogPlace { file: at.file ^ 1, offset: u64::MAX }] {
            assert_eq!(all(&place.log(), Some(odd), 100), ("text".into(), Some(at), true));
        }
    }
}
