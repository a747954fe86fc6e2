//! When a container is asked whether it is ready, and what its answers come to: rules only, with the time as an argument.
//!
//! ```text
//!   started ├───────────── no answer counts ─────────────┤─────── each `no` counts ──────▶
//!            ▲           ▲           ▲           ▲           ▲                          ▲
//!             pause ▸ attempt ▸ pause ▸ …                     └── `retries` of these: found unready
//!   pause    the shorter of `start_interval` and `interval`       `interval`
//! ```
//!
//! Container engines ask for the first time when `interval` is over, or every `start_interval` within the `start_period`. Here
//! all are asked in the latter way from the start, and a `no` counts from when engines would ask or count for the first time:
//! decision [0032](../../../docs/decisions/0032-asked-sooner-and-judged-no-sooner.md). What was found unready is asked on, for
//! it may still become ready.
//!
//! One attempt at a time, and the pause begins when it has ended: what takes long is not asked more often for it. The first
//! `yes` ends all of it.

use formats::readiness::Readiness;
use statemachine::container::{Span, Time};

/// The longest last line that is told of an attempt, in bytes.
pub const LINE_MAX: usize = 200;

/// A container that is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asking {
    interval: Span,
    start_interval: Span,
    /// From when on a failure counts.
    counts_from: Time,
    retries: u32,
    /// How many attempts have failed, all in a row: the first that does not is the last.
    failures: u32,
    /// How many of them count.
    counted: u32,
    turn: Turn,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// The next attempt begins then.
    At(Time),
    /// One is under way, and whether its failure counts.
    Asked { counts: bool },
}

/// What a failure comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is asked again.
    NotYet,
    /// It was asked often enough. It is asked again all the same.
    Unready,
}

impl Asking {
    /// A container whose program has started now.
    #[must_use]
    pub fn new(asks: &Readiness, now: Time) -> Self {
        let seconds = |seconds: u32| Span::seconds(seconds.into());
        let interval = seconds(asks.interval);
        let start_interval = seconds(asks.start_interval).min(interval);
        Self {
            interval,
            start_interval,
            counts_from: now.after(seconds(asks.start_period).max(interval)),
            retries: asks.retries,
            failures: 0,
            counted: 0,
            turn: Turn::At(now.after(start_interval)),
        }
    }

    /// When the next attempt begins; `None` while one is under way.
    #[must_use]
    pub fn due(&self) -> Option<Time> {
        match self.turn {
            Turn::At(at) => Some(at),
            Turn::Asked { .. } => None,
        }
    }

    /// Whether an attempt has to begin now. If so, it has.
    pub fn begin(&mut self, now: Time) -> bool {
        let begins = self.due().is_some_and(|at| at <= now);
        if begins {
            self.turn = Turn::Asked { counts: now >= self.counts_from };
        }
        begins
    }

    /// The attempt that is under way has failed. What none was comes too late, and changes nothing.
    pub fn failed(&mut self, now: Time) -> Verdict {
        if let Turn::Asked { counts } = self.turn {
            self.failures = self.failures.saturating_add(1);
            self.counted = self.counted.saturating_add(counts.into());
            let pause = if now < self.counts_from { self.start_interval } else { self.interval };
            self.turn = Turn::At(now.after(pause));
        }
        if self.counted >= self.retries { Verdict::Unready } else { Verdict::NotYet }
    }

    /// How many attempts have failed.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What so many attempts have come to, for people: how the latest ended, and the last line of what it said.
    #[must_use]
    pub fn told(&self, how: &str, line: &str) -> String {
        let times = match self.failures {
            0 | 1 => String::new(),
            times => format!(", {times} times"),
        };
        let line = if line.is_empty() { String::new() } else { format!(": {line}") };
        format!("readiness: {how}{times}{line}")
    }
}

/// The last line of an output that has something in it, as much of it as is told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LastLine {
    whole: Vec<u8>,
    begun: Vec<u8>,
}

impl LastLine {
    /// Takes what comes next.
    pub fn take(&mut self, bytes: &[u8]) {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        self.add(lines.next().unwrap_or_default());
        for line in lines {
            self.end();
            self.add(line);
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = LINE_MAX.saturating_sub(self.begun.len());
        self.begun.extend(bytes.iter().take(room));
    }

    fn end(&mut self) {
        if !self.begun.trim_ascii().is_empty() {
            self.whole = std::mem::take(&mut self.begun);
        }
        self.begun.clear();
    }

    /// The line as text without anything that would move a cursor.
    #[must_use]
    pub fn text(&self) -> String {
        let last = if self.begun.trim_ascii().is_empty() { &self.whole } else { &self.begun };
        let text = String::from_utf8_lossy(last.trim_ascii());
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

#[cfg(test)]
mod tests;
