//! The file: lines that are whole, and at most one at the end that a power cut has torn.
//!
//! A line is appended by one write and synced. What stands behind the last line break is of a write that did not end: it is
//! no entry for who reads, and goes before the next one comes. A log that has grown beyond [`FULL`] bytes loses its older
//! half, as a whole file that takes the place of the other.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use super::entry::{Entry, parse};
use crate::error::{Context as _, Error, Result};
use crate::repo::Repo;
use crate::repo::durable::{self, sync_directory};

/// How long it may be, in bytes: some ten thousand entries.
const FULL: usize = 8 * 1024 * 1024;

fn place(repo: &Repo) -> PathBuf {
    repo.books().join("history")
}

/// All that is whole, the newest last.
///
/// # Errors
/// It cannot be read, or a line is no entry.
pub(super) fn read(repo: &Repo) -> Result<Vec<Entry>> {
    let path = place(repo);
    let bytes = whole(repo)?;
    let mut entries = Vec::new();
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        entries.push(parse(line).map_err(|error| {
            Error::user(format!("{}: line {}: {error}", path.display(), index + 1))
                .hint("remove the line, or the file: the committed state does not need it")
        })?);
    }
    Ok(entries)
}

/// The bytes up to the last line break.
fn whole(repo: &Repo) -> Result<Vec<u8>> {
    let path = place(repo);
    let mut bytes = Vec::new();
    match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(bytes),
        opened => {
            let file = opened.context("read", &path)?;
            // One entry more than what makes it full may be there, and nobody writes a longer file.
            file.take(2 * FULL as u64).read_to_end(&mut bytes).context("read", &path)?;
        }
    }
    bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
    Ok(bytes)
}

/// Appends an entry. Whoever calls holds the lock of the repository.
///
/// # Errors
/// It cannot be written.
pub(super) fn append(repo: &Repo, entry: &Entry) -> Result<()> {
    let path = place(repo);
    let kept = whole(repo)?;
    let line = entry.to_line();
    if kept.len() + line.len() > FULL {
        let half = kept.get(kept.len() / 2..).unwrap_or_default();
        let from = half.iter().position(|byte| *byte == b'\n').map_or(half.len(), |at| at + 1);
        let newer = [half.get(from..).unwrap_or_default(), line.as_bytes()].concat();
        return durable::replace(&path, &newer, 0o644);
    }
    let is_new = !path.exists();
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let mut file = file.context("write", &path)?;
    // What was torn goes; from there on it is appended.
    file.set_len(kept.len() as u64)
        .and_then(|()| file.seek(SeekFrom::End(0)))
        .and_then(|_| file.write_all(line.as_bytes()))
        .and_then(|()| file.sync_all())
        .context("write", &path)?;
    if is_new { sync_directory(repo.books()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::object::ObjectId;
    use formats::state::SPEC;

    fn entry(number: u64, message: &str) -> Entry {
        Entry {
            state: ObjectId::of(&number.to_le_bytes()),
            parent: None,
            time: Some(number),
            command: "commit".into(),
            message: message.into(),
            signer: None,
            paths: Vec::new(),
            more: 0,
        }
    }

    #[test]
    fn a_torn_line_is_no_entry_and_goes_before_the_next_one() {
        let scratch = tempfile::tempdir().unwrap();
        let repo = Repo::init(scratch.path(), None, SPEC).unwrap();
        append(&repo, &entry(1, "one")).unwrap();
        let whole = std::fs::read(place(&repo)).unwrap();
        let line = entry(2, "two").to_line();
        // Wherever the write of the second has ended.
        for torn in 0..line.len() {
            std::fs::write(place(&repo), [&whole, &line.as_bytes()[..torn]].concat()).unwrap();
            assert_eq!(read(&repo).unwrap(), [entry(1, "one")], "{torn}");
            append(&repo, &entry(3, "three")).unwrap();
            assert_eq!(read(&repo).unwrap(), [entry(1, "one"), entry(3, "three")], "{torn}");
        }
    }

    #[test]
    fn a_full_log_keeps_its_newer_half_in_whole_lines() {
        let scratch = tempfile::tempdir().unwrap();
        let repo = Repo::init(scratch.path(), None, SPEC).unwrap();
        let long = "x".repeat(60_000);
        let text: String = (0..139).map(|number| entry(number, &long).to_line()).collect();
        assert!(text.len() < FULL);
        std::fs::write(place(&repo), text).unwrap();
        append(&repo, &entry(139, &long)).unwrap();
        let left = read(&repo).unwrap();
        assert!(left.len() > 60 && left.len() < 80, "{}", left.len());
        assert_eq!(left.last().unwrap().time, Some(139));
        assert!(left.windows(2).all(|two| two[0].time.unwrap() + 1 == two[1].time.unwrap()));
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        let repo = Repo::init(scratch.path(), None, SPEC).unwrap();
        std::fs::write(place(&repo), format!("{}{{}}\n", entry(1, "").to_line())).unwrap();
        let error = read(&repo).unwrap_err();
        assert!(error.message.contains("history: line 2: paths") && error.hint.is_some(), "{error}");
    }
}
