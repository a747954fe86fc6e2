//! How far long work is, on standard error: a bar on a terminal, lines elsewhere, objects for programs, or nothing.
//!
//! ```text
//!   bar     downloading ████████░░░░ 34.50 MiB/70.10 MiB 12.30 MiB/s 3s
//!   plain   downloading: 34.5 MB of 70.1 MB (49 %), 12.3 MB/s, 3 s left        one at most every three seconds
//!   json    {"progress":"downloading","done":34500000,"total":70100000,"rate":12300000,"left":3}
//! ```
//!
//! Promises: standard output has none of it. What is over before anybody has read it is not shown to people; to programs
//! the beginning and the end of everything are told.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use cli::watch::Watch;
use formats::json::Json;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::term::note;

/// Less than this is over before anybody has read it: half a second on a slow card.
const WORTH_SHOWING: u64 = 16 * 1024 * 1024;

/// The same on a slow network, where what is done is called so.
const WORTH_SHOWING_FAR: (&[&str], u64) = (&["downloading", "fetching", "sending"], 512 * 1024);

/// Between two lines for people: a log of an hour has a thousand of them.
const PLAIN: Duration = Duration::from_secs(3);

/// Between two lines for programs.
const OBJECT: Duration = Duration::from_millis(500);

/// How progress is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Mode {
    // Without words of their own: the help of every command has this flag, and a line for it is enough.
    Auto,
    Bar,
    Plain,
    Json,
    None,
}

static MODE: OnceLock<Mode> = OnceLock::new();

/// Says once, for all of the program, how progress is told.
pub(crate) fn choose(mode: Mode) {
    let mode = match mode {
        Mode::Auto if std::io::stderr().is_terminal() => Mode::Bar,
        Mode::Auto => Mode::Plain,
        mode => mode,
    };
    let _ = MODE.set(mode);
}

/// Tells of one piece of work after the other.
#[derive(Default)]
pub(crate) struct Bar(RefCell<Option<Work>>);

/// Work that goes on.
struct Work {
    what: &'static str,
    total: u64,
    done: u64,
    since: Instant,
    told: Option<Instant>,
    how: How,
}

enum How {
    Bar(ProgressBar),
    Plain,
    Json,
}

impl Watch for Bar {
    fn begin(&self, what: &'static str, bytes: u64) {
        let (far, far_least) = WORTH_SHOWING_FAR;
        let least = if far.contains(&what) { far_least } else { WORTH_SHOWING };
        let how = match MODE.get().copied().unwrap_or(Mode::None) {
            Mode::Json => How::Json,
            Mode::Plain if bytes >= least => How::Plain,
            Mode::Bar if bytes >= least => {
                let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
                let Ok(style) = ProgressStyle::with_template(template) else { return };
                let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
                How::Bar(bar.with_style(style).with_message(what))
            }
            _ => return,
        };
        let work = Work { what, total: bytes, done: 0, since: Instant::now(), told: None, how };
        if matches!(work.how, How::Json) {
            work.object();
        }
        self.0.replace(Some(work));
    }

    fn advance(&self, bytes: u64) {
        if let Some(work) = &mut *self.0.borrow_mut() {
            work.advance(bytes);
        }
    }

    fn end(&self) {
        let Some(work) = self.0.take() else { return };
        match &work.how {
            How::Bar(bar) => bar.finish_and_clear(),
            How::Json => work.object(),
            // Whoever has read that it goes on reads that it is over.
            How::Plain if work.told.is_some() => {
                let seconds = work.since.elapsed().as_secs();
                note(format_args!("{}: {} in {seconds} s", work.what, size(work.done)));
            }
            How::Plain => {}
        }
    }

    fn say(&self, line: &str) {
        match self.0.borrow().as_ref().map(|work| &work.how) {
            Some(How::Bar(bar)) => bar.suspend(|| note(line)),
            _ => note(line),
        }
    }
}

impl Work {
    fn advance(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        let pause = match &self.how {
            How::Bar(bar) => return bar.inc(bytes),
            How::Plain => PLAIN,
            How::Json => OBJECT,
        };
        if self.told.unwrap_or(self.since).elapsed() < pause {
            return;
        }
        self.told = Some(Instant::now());
        match self.how {
            How::Json => self.object(),
            _ => note(plain(self.what, self.done, self.total, self.since.elapsed())),
        }
    }

    fn object(&self) {
        let (rate, left) = pace(self.done, self.total, self.since.elapsed());
        let number = |name: &str, value: u64| format!(",\"{name}\":{value}");
        let left = left.map(|left| number("left", left)).unwrap_or_default();
        let what = Json::from(self.what).compact();
        let (done, total) = (number("done", self.done), number("total", self.total));
        note(format_args!("{{\"progress\":{what}{done}{total}{}{left}}}", number("rate", rate)));
    }
}

/// Bytes in a second, and how many seconds are left, if that can be told.
fn pace(done: u64, total: u64, time: Duration) -> (u64, Option<u64>) {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = done.saturating_mul(1000) / millis;
    (rate, total.saturating_sub(done).checked_div(rate))
}

fn plain(what: &str, done: u64, total: u64, time: Duration) -> String {
    let (rate, left) = pace(done, total, time);
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
    let left = left.map(|left| format!(", {left} s left")).unwrap_or_default();
    format!("{what}: {} of {} ({percent} %), {}/s{left}", size(done), size(total), size(rate))
}

/// Bytes as people read them: with one digit behind the point, and a thousand to the next word.
pub(crate) fn size(bytes: u64) -> String {
    let (unit, word) = match bytes {
        0..1_000 => return format!("{bytes} B"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    format!("{}.{} {word}", bytes / unit, bytes % unit / (unit / 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_how_much_how_fast_and_how_long() {
        let line = plain("downloading", 34_560_000, 70_100_000, Duration::from_secs(3));
        assert_eq!(line, "downloading: 34.5 MB of 70.1 MB (49 %), 11.5 MB/s, 3 s left");
        let line = plain("hashing", 0, 0, Duration::ZERO);
        assert_eq!(line, "hashing: 0 B of 0 B (100 %), 0 B/s", "nothing is left of nothing, and nobody knows when");
    }

    #[test]
    fn sizes_have_one_digit_behind_the_point() {
        let sizes = [(999, "999 B"), (1_000, "1.0 kB"), (1_999_999, "1.9 MB"), (4_294_967_296, "4.2 GB")];
        for (bytes, text) in sizes {
            assert_eq!(size(bytes), text);
        }
    }
}
