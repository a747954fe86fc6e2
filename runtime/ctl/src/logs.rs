//! `logs`: what a container has written, and what it writes from now on.
//!
//! Promises: bytes as the container wrote them, through restarts of the container and of the log. Bytes that the device has
//! dropped before they were read are said to be missing, on the standard error output.

use std::io::Write;
use std::time::Duration;

use formats::date::date;
use formats::log_times::{Since, Time};
use formats::path::ContainerName;

use crate::client::{Client, TEXT_MAX};
use crate::failure::{About, Failure};

/// How often a log is looked at that somebody follows.
const PAUSE: Duration = Duration::from_millis(500);

/// What is wanted.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    pub(crate) container: ContainerName,
    /// Go on until this process is ended.
    pub(crate) follow: bool,
    /// No more than so many of the lines that are there.
    pub(crate) lines: Option<usize>,
    /// Nothing older.
    pub(crate) since: Option<Since>,
    /// Each line behind the time at which the device read it.
    pub(crate) timestamps: bool,
}

impl Wanted {
    /// All that is there.
    pub(crate) fn all(container: ContainerName) -> Self {
        Self { container, follow: false, lines: None, since: None, timestamps: false }
    }
}

pub(crate) fn run(client: &Client, wanted: &Wanted, out: &mut dyn Write) -> Result<(), Box<Failure>> {
    let kind = if wanted.timestamps { "timed-log" } else { "log" };
    let path = format!("/containers/{}/{kind}", wanted.container.as_str());
    let mut place = wanted.since.map(|since| since.to_string());
    let mut stamped = Stamped::default();
    // What is there: whole, or as many lines as are wanted of it.
    let mut kept = Vec::new();
    let mut write = |bytes: &[u8]| {
        let done = out.write_all(bytes).and_then(|()| out.flush());
        done.map_err(Failure::io("cannot write the log"))
    };
    let mut at_end = false;
    loop {
        let place_path = place.as_ref().map_or_else(|| path.clone(), |place| format!("{path}/{place}"));
        let answer = client.get(&place_path, About::Other)?;
        if answer.log_lost {
            // If nobody reads it, nobody does.
            let _ = writeln!(std::io::stderr(), "pvcontrol: some of the log was dropped before it was read");
        }
        place = answer.log_place.clone().or(place);
        let times = answer.log_times.clone();
        let bytes = answer.bytes(TEXT_MAX)?;
        let is_end = bytes.is_empty();
        let bytes = if wanted.timestamps { stamped.lines(&times, &bytes) } else { bytes };
        match wanted.lines.filter(|_| !at_end) {
            None => write(&bytes)?,
            Some(lines) => {
                kept.extend_from_slice(&bytes);
                kept.drain(..start_of(&kept, lines));
                if is_end {
                    write(&std::mem::take(&mut kept))?;
                }
            }
        }
        at_end = at_end || is_end;
        if is_end && !wanted.follow {
            return Ok(());
        }
        if is_end {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Lines behind their times, from pieces that may end within one.
#[derive(Default)]
struct Stamped {
    within: bool,
}

impl Stamped {
    fn lines(&mut self, times: &[Time], piece: &[u8]) -> Vec<u8> {
        let (mut out, mut at) = (Vec::with_capacity(piece.len()), 0);
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            if !self.within {
                let is_known = |time: &Time| usize::try_from(time.at).is_ok_and(|begins| begins <= at);
                out.extend(shown(times.iter().rev().find(|time| is_known(time))).bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line);
            at += line.len();
            self.within = !line.ends_with(b"\n");
        }
        out
    }
}

/// A date if there is one, else seconds since PID 1 began, else a dash.
fn shown(time: Option<&Time>) -> String {
    let parts = |ms: u64| (ms / 1000, ms % 1000);
    match time {
        Some(Time { unix: Some(unix), .. }) => {
            let (seconds, ms) = parts(*unix);
            format!("{}.{ms:03}Z", date(seconds).trim_end_matches('Z'))
        }
        Some(Time { up: Some(up), .. }) => {
            let (seconds, ms) = parts(*up);
            format!("{seconds}.{ms:03}s")
        }
        _ => "-".into(),
    }
}

/// Where the last `lines` lines begin; one that is not ended is a line.
fn start_of(bytes: &[u8], lines: usize) -> usize {
    if lines == 0 {
        return bytes.len();
    }
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    ends.nth(lines - 1).map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use formats::log_times::Time;

    use super::{Stamped, start_of};

    #[test]
    fn a_line_has_the_time_of_its_beginning_wherever_its_piece_ends() {
        let time = |at, up, unix| Time { at, up, unix };
        let mut stamped = Stamped::default();
        let mut out = stamped.lines(&[time(0, None, None), time(4, Some(5), None)], b"old\nnew\nha");
        out.extend(stamped.lines(&[time(0, Some(9), None), time(3, Some(9000), Some(1_795_341_600_007))], b"lf\nlast"));
        out.extend(stamped.lines(&[], b"\nno times\n"));
        let text = "- old\n0.005s new\n0.005s half\n2026-11-22T10:00:00.007Z last\n- no times\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        for (text, lines, rest) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 2, "a\nb\n"),
            ("a\nb\n", 9, "a\nb\n"),
            ("a\n\n\n", 2, "\n\n"),
            ("a\n", 0, ""),
            ("", 3, ""),
        ] {
            assert_eq!(&text[start_of(text.as_bytes(), lines)..], rest, "{text:?} {lines}");
        }
    }
}
