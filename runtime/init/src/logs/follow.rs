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

use formats::control::{LogPiece, LogPlace};

/// The piece of a log after a place, or of the oldest that is kept. `log` is its path. `most` bounds the piece.
///
/// # Errors
/// A file is there and cannot be read.
pub fn read(log: &Path, after: Option<LogPlace>, most: usize) -> io::Result<LogPiece> {
    let mut before = log.as_os_str().to_owned();
    before.push(".1");
    // The newer first: what is renamed in between is then seen twice, and not missed.
    let files = [open(log)?, open(Path::new(&before))?];
    let [now, before] = files;
    let mut files: Vec<(File, u64, u64)> = before.into_iter().chain(now).collect();
    files.dedup_by_key(|(_, id, _)| *id);
    let (mut at, mut offset, mut lost) = (0, 0, false);
    if let Some(place) = after {
        match files.iter().position(|(_, id, length)| *id == place.file && *length >= place.offset) {
            Some(found) => (at, offset) = (found, place.offset),
            // What was not read is no longer kept.
            None => lost = !files.is_empty(),
        }
    }
    let (mut bytes, mut place) = (Vec::new(), after);
    for (file, id, _) in files.iter_mut().skip(at) {
        file.seek(SeekFrom::Start(offset))?;
        let left = most.saturating_sub(bytes.len());
        let read = file.take(u64::try_from(left).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
        offset = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        place = Some(LogPlace { file: *id, offset });
        if bytes.len() >= most {
            break;
        }
        offset = 0;
    }
    Ok(LogPiece { bytes, place, lost })
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
fn identity(said: &Metadata) -> u64 {
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

    /// Everything from a place on, in pieces, and whether something was lost.
    fn all(log: &Path, mut after: Option<LogPlace>, most: usize) -> (String, Option<LogPlace>, bool) {
        let (mut text, mut lost) = (String::new(), false);
        loop {
            let piece = read(log, after, most).unwrap();
            text += std::str::from_utf8(&piece.bytes).unwrap();
            (after, lost) = (piece.place, lost || piece.lost);
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
        let at = read(&place.log(), None, 4).unwrap().place;
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
        let at = read(&place.log(), None, 100).unwrap().place.unwrap();
        for odd in [LogPlace { offset: at.offset + 1, ..at }, LogPlace { file: at.file ^ 1, offset: u64::MAX }] {
            assert_eq!(all(&place.log(), Some(odd), 100), ("text".into(), Some(at), true));
        }
    }
}
