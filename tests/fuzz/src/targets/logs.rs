//! Times of logs: marks beside them, and the words in which they are asked for and told.

use formats::log_times::{self, BYTES_MAX, ENTRY, HEAD, Now, Since, TIMES_MAX};

/// The log that the marks of every input belong to, as the corpus has it.
const LOG: u64 = 0x1122_3344_5566_7788;
const LENGTH: u64 = 1 << 20;

pub(crate) fn times(bytes: &[u8]) {
    let marks = log_times::read(bytes, LOG, LENGTH);
    assert!(marks.len() * ENTRY + HEAD <= bytes.len().clamp(HEAD, BYTES_MAX));
    assert!(marks.windows(2).all(|pair| pair[0].offset < pair[1].offset));
    assert!(marks.iter().all(|mark| mark.offset < LENGTH));
    for mark in &marks {
        // What was read first at that time is no later line.
        if let Some(unix) = mark.unix {
            let since =
                log_times::first(&marks, Since::Unix(unix / 1000), Now { life: mark.life, up: mark.up, unix: None });
            assert!(since.is_some_and(|first| first.offset <= mark.offset));
        }
        let now = Now { life: mark.life, up: mark.up, unix: mark.unix };
        assert!(log_times::first(&marks, Since::Ago(0), now).is_some_and(|first| first.offset <= mark.offset));
        let boot = log_times::first(&marks, Since::Boot, now);
        assert!(boot.is_none_or(|first| first.life == mark.life && first.up <= mark.up));
    }
    // Another log has none of them.
    assert!(log_times::read(bytes, LOG + 1, LENGTH).is_empty() || marks.is_empty());
    // A file that was cut off anywhere has no mark that the whole one has not written.
    let cut = bytes.len() / 2;
    assert!(log_times::read(bytes.get(..cut).unwrap_or_default(), LOG, LENGTH).len() * ENTRY <= cut);
}

pub(crate) fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(since) = Since::parse(text) {
        assert_eq!(since.to_string(), text);
    }
    if let Some(since) = Since::of_person(text) {
        assert_eq!(Since::parse(&since.to_string()), Some(since));
    }
    if let Some(seconds) = formats::date::parse(text) {
        assert!(formats::date::date(seconds).starts_with(text));
    }
    if let Some(times) = log_times::of_text(text) {
        assert!(times.len() <= TIMES_MAX);
        assert_eq!(log_times::of_text(&log_times::to_text(&times)), Some(times));
    }
}
