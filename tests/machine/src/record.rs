//! What a machine has said: its console as plain text and the events of QEMU, each with its time.
//!
//! ```text
//!   console ──push──▶ text: the last [`KEPT`] bytes, by their offset since the first start ──▶ expect, since, tail
//!   QMP ────event───▶ events: the last [`EVENTS`]
//!            both ──▶ log file, whole:   [  1234] a line, with milliseconds since its start
//!                                        [  2345] == RESET {"guest":true,…}
//! ```
//!
//! Promise: memory is bounded whatever a guest prints.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::plain::Plain;

/// Bytes of the console that stay: a boot with everything verbose is a tenth of it.
const KEPT: usize = 1 << 20;

/// Events that stay.
const EVENTS: usize = 4096;

/// Lines whose time stays.
const LINES: usize = 8192;

/// An event of QEMU: `RESET`, `SHUTDOWN`, `POWERDOWN`, `WATCHDOG`, `GUEST_PANICKED`, …
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its name, as QMP has it.
    pub name: String,
    /// Since the machine was switched on.
    pub at: Duration,
    /// In which start of the machine: 1 for the first.
    pub start: u32,
    /// What QMP says with it.
    pub data: Value,
}

#[derive(Default)]
pub(crate) struct Record {
    state: Mutex<State>,
    news: Condvar,
}

pub(crate) struct State {
    plain: Plain,
    pub(crate) text: Vec<u8>,
    /// The offset of its first byte.
    pub(crate) base: u64,
    /// Where each line begins, and when it did.
    lines: VecDeque<(u64, Duration)>,
    /// Where the line begins that is not in the log yet.
    unlogged: u64,
    pub(crate) events: VecDeque<Event>,
    /// Events that had to go.
    pub(crate) forgotten: u64,
    pub(crate) resets: u32,
    pub(crate) start: u32,
    on: Instant,
    /// When the console has said something last.
    pub(crate) spoke: Instant,
    /// Whether the console has ended, and with it QEMU.
    pub(crate) is_off: bool,
    log: Option<File>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            plain: Plain::default(),
            text: Vec::new(),
            base: 0,
            lines: VecDeque::new(),
            unlogged: 0,
            events: VecDeque::new(),
            forgotten: 0,
            resets: 0,
            start: 0,
            on: Instant::now(),
            spoke: Instant::now(),
            is_off: true,
            log: None,
        }
    }
}

impl Record {
    pub(crate) fn new(log: Option<File>) -> Self {
        Self { state: Mutex::new(State { log, ..State::default() }), news: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever has panicked with it has left bytes and numbers that are valid in any combination.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for news. `false`: none have come until then.
    pub(crate) fn wait<'a>(&self, state: MutexGuard<'a, State>, end: Instant) -> (MutexGuard<'a, State>, bool) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return (state, false);
        }
        let (state, _) = self.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        (state, true)
    }

    /// Waits until the machine is off. `false`: it is not.
    pub(crate) fn wait_off(&self, time: Duration) -> bool {
        let (mut state, end) = (self.lock(), Instant::now() + time);
        let mut more = true;
        while !state.is_off && more {
            (state, more) = self.wait(state, end);
        }
        state.is_off
    }

    /// The machine is switched on.
    pub(crate) fn switched_on(&self) {
        let mut state = self.lock();
        state.end_line();
        (state.on, state.is_off, state.plain) = (Instant::now(), false, Plain::default());
        state.start += 1;
        let start = state.start;
        state.note(&format!("switched on ({start})"));
    }

    /// Everything that the console has said is recorded.
    pub(crate) fn went_off(&self) {
        let mut state = self.lock();
        state.end_line();
        state.is_off = true;
        self.news.notify_all();
    }

    pub(crate) fn push(&self, raw: &[u8]) {
        let mut state = self.lock();
        state.spoke = Instant::now();
        state.push(raw);
        self.news.notify_all();
    }

    pub(crate) fn event(&self, name: &str, data: Value) {
        let mut state = self.lock();
        let event = Event { name: name.to_owned(), at: state.on.elapsed(), start: state.start, data };
        state.note(&format!("{name} {}", event.data));
        state.resets += u32::from(name == "RESET");
        state.events.push_back(event);
        if state.events.len() > EVENTS {
            state.events.pop_front();
            state.forgotten += 1;
        }
        self.news.notify_all();
    }
}

impl State {
    /// The offset after the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.text.len() as u64
    }

    /// What stays of the text from this offset on.
    pub(crate) fn from(&self, offset: u64) -> &[u8] {
        let skipped = usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.text.get(skipped..).unwrap_or_default()
    }

    /// When the line began in which this offset lies.
    pub(crate) fn time_of(&self, offset: u64) -> Duration {
        let after = self.lines.partition_point(|(start, _)| *start <= offset);
        after.checked_sub(1).and_then(|line| self.lines.get(line)).map(|(_, at)| *at).unwrap_or_default()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.on.elapsed()
    }

    /// A line of our own in the log.
    pub(crate) fn note(&mut self, text: &str) {
        let at = self.on.elapsed();
        self.write(at, &format!("== {text}"));
    }

    fn push(&mut self, raw: &[u8]) {
        let (before, at) = (self.text.len(), self.on.elapsed());
        self.plain.push(raw, &mut self.text);
        let mut is_new = before == 0 || before.checked_sub(1).and_then(|last| self.text.get(last)) == Some(&b'\n');
        let base = self.base;
        for (place, byte) in self.text.iter().enumerate().skip(before) {
            if is_new {
                self.lines.push_back((base + place as u64, at));
            }
            is_new = *byte == b'\n';
        }
        self.log_lines();
        if self.text.len() > KEPT {
            let gone = self.text.len() - KEPT / 2;
            self.text.drain(..gone);
            self.base += gone as u64;
        }
        while self.lines.len() > LINES {
            self.lines.pop_front();
        }
    }

    fn log_lines(&mut self) {
        loop {
            let new = self.from(self.unlogged);
            let Some(length) = new.iter().position(|byte| *byte == b'\n') else { return };
            let line = String::from_utf8_lossy(new.get(..length).unwrap_or_default()).into_owned();
            self.write(self.time_of(self.unlogged), &line);
            self.unlogged += length as u64 + 1;
        }
    }

    /// Ends a line that has no end: the machine goes off, or on again.
    fn end_line(&mut self) {
        if self.end() > self.unlogged {
            self.push(b"\n");
        }
    }

    /// A log that cannot be written (a full disk) must not change what the machine does; so it is given up.
    fn write(&mut self, at: Duration, line: &str) {
        if let Some(log) = &mut self.log
            && log.write_all(format!("[{:>7}] {line}\n", at.as_millis()).as_bytes()).is_err()
        {
            self.log = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_chatty_guest_takes_a_bounded_amount_of_memory_and_offsets_stay_true() {
        let record = Record::default();
        record.switched_on();
        for number in 0..100_000 {
            record.push(format!("line {number} of a guest that does not stop\n").as_bytes());
        }
        let state = record.lock();
        assert!(state.text.len() <= KEPT && state.lines.len() <= LINES);
        let last = b"line 99999 of a guest that does not stop\n";
        assert_eq!(state.from(state.end() - last.len() as u64), last);
    }

    #[test]
    fn the_log_has_whole_lines_with_events_between_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let record = Record::new(Some(File::create(&path).unwrap()));
        record.switched_on();
        record.push(b"first\nsec");
        record.event("RESET", Value::Null);
        record.push(b"ond");
        record.went_off();
        let log = fs::read_to_string(&path).unwrap();
        let texts: Vec<_> = log.lines().map(|line| line.split_once("] ").unwrap().1).collect();
        assert_eq!(texts, ["== switched on (1)", "first", "== RESET null", "second"]);
        assert_eq!(record.lock().resets, 1);
    }
}
