//! Reading and typing at a serial console.
//!
//! Promise: a search goes on after the last match, so what was found once is not found again; what comes in pieces is
//! found whole.

use std::io::{self, Write as _};
use std::process::ChildStdin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::record::Record;

/// A place in the text of a console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub(crate) u64);

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Which of the texts it is.
    pub which: usize,
    /// The text from the last match up to this one.
    pub before: String,
    /// The line up to and with the match.
    pub line: String,
    /// When that line began, since the machine was switched on.
    pub at: Duration,
}

/// Why nothing was found.
#[derive(Debug)]
pub(crate) enum Nothing {
    Late,
    Off,
}

impl Record {
    /// Waits until one of these texts has come, the first of them counts. `cursor` is where to begin, and then where
    /// the match ends.
    pub(crate) fn find(&self, cursor: &mut u64, texts: &[&str], time: Duration) -> Result<Match, Nothing> {
        let end = Instant::now() + time;
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or_default();
        let mut state = self.lock();
        let mut from = (*cursor).max(state.base);
        loop {
            from = from.max(state.base);
            let new = state.from(from);
            let found = texts.iter().enumerate().filter_map(|(which, text)| {
                let place = new.windows(text.len().max(1)).position(|window| window == text.as_bytes())?;
                Some((place, which, text.len()))
            });
            if let Some((place, which, length)) = found.min() {
                let start = from + place as u64;
                let stop = start + length as u64;
                let seen = state.from((*cursor).max(state.base));
                let all = state.from(state.base);
                let upto = usize::try_from(stop - state.base).unwrap_or(usize::MAX);
                let all = all.get(..upto.min(all.len())).unwrap_or_default();
                let line = all.get(..all.len().saturating_sub(length)).unwrap_or_default();
                let line = line.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
                let before = usize::try_from(start.saturating_sub((*cursor).max(state.base))).unwrap_or_default();
                let found = Match {
                    which,
                    before: lossy(seen.get(..before).unwrap_or_default()),
                    line: lossy(all.get(line..).unwrap_or_default()),
                    at: state.time_of(state.base + line as u64),
                };
                *cursor = stop;
                return Ok(found);
            }
            from = state.end().saturating_sub(longest.saturating_sub(1) as u64).max(from);
            if state.is_off {
                return Err(Nothing::Off);
            }
            let more;
            (state, more) = self.wait(state, end);
            if !more {
                return Err(Nothing::Late);
            }
        }
    }

    /// The last lines.
    pub(crate) fn tail(&self, lines: usize) -> String {
        let state = self.lock();
        let text = state.from(state.base);
        let trimmed = text.trim_ascii_end();
        let mut newlines = trimmed.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
        let start = newlines.nth(lines.saturating_sub(1)).map_or(0, |(place, _)| place + 1);
        lossy(trimmed.get(start..).unwrap_or_default())
    }

    /// The text since a mark, as far as it is kept.
    pub(crate) fn since(&self, mark: Mark) -> String {
        lossy(self.lock().from(mark.0))
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// The keyboard of a serial console; copies type at the same one. After a power cut it types into nothing.
#[derive(Clone)]
pub struct Keyboard(Arc<Mutex<ChildStdin>>);

impl Keyboard {
    pub(crate) fn new(line: ChildStdin) -> Self {
        Self(Arc::new(Mutex::new(line)))
    }

    /// Types these bytes. A machine that takes no keys lets the caller wait, once some 64 KiB are underway.
    pub fn press(&self, keys: &[u8]) -> io::Result<()> {
        let mut line = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line.write_all(keys)?;
        line.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_search_goes_on_after_the_last_match_and_the_first_text_counts() {
        let record = Record::default();
        record.switched_on();
        record.push(b"one\n=> two\n=> three");
        let mut cursor = 0;
        assert_eq!(record.find(&mut cursor, &["=> "], SOON).unwrap().before, "one\n");
        let found = record.find(&mut cursor, &["three", "=> "], SOON).unwrap();
        assert_eq!((found.which, found.before.as_str(), found.line.as_str()), (1, "two\n", "=> "));
        assert!(matches!(record.find(&mut cursor, &["=> "], Duration::ZERO), Err(Nothing::Late)));
        assert_eq!(record.find(&mut cursor, &["ree"], SOON).unwrap().line, "=> three");
    }

    #[test]
    fn a_text_that_comes_in_two_pieces_is_found_by_one_who_waits() {
        let record = Record::default();
        record.switched_on();
        let found = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| record.find(&mut 0, &["login:"], SOON));
            record.push(b"host lo");
            std::thread::sleep(Duration::from_millis(20));
            record.push(b"gin: ");
            waiter.join().unwrap()
        });
        assert_eq!(found.unwrap().line, "host login:");
    }

    #[test]
    fn a_machine_that_is_off_is_not_waited_for_but_its_last_words_are_found() {
        let record = Record::default();
        record.switched_on();
        record.push(b"reboot: Power down");
        record.went_off();
        let mut cursor = 0;
        assert!(record.find(&mut cursor, &["Power down"], SOON).is_ok());
        assert!(matches!(record.find(&mut cursor, &["login:"], SOON), Err(Nothing::Off)));
    }

    #[test]
    fn the_tail_is_whole_lines() {
        let record = Record::default();
        record.switched_on();
        record.push(b"1\n2\n3\n4\n");
        assert_eq!(record.tail(2), "3\n4");
        assert_eq!(record.tail(40), "1\n2\n3\n4");
    }
}
