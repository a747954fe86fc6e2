//! `logs`: what a container has written, and what it writes from now on.
//!
//! Promises: bytes as the container wrote them, through restarts of the container and of the log. Bytes that the device has
//! dropped before they were read are said to be missing, on the standard error output.

use std::io::Write;
use std::time::Duration;

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
}

pub(crate) fn run(client: &Client, wanted: &Wanted, out: &mut dyn Write) -> Result<(), Failure> {
    let path = format!("/containers/{}/log", wanted.container.as_str());
    let mut place: Option<String> = None;
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
        let bytes = answer.bytes(TEXT_MAX)?;
        let is_end = bytes.is_empty();
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
    use super::start_of;

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
