//! Marks as they are read after everything that can befall them.

use super::*;

const LOG: u64 = 77;

/// A line and when it was read, or a life and when it began.
type Entry = Result<(u64, u64), (u16, u64)>;

fn file(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = head(LOG).to_vec();
    for entry in entries {
        match entry {
            Ok((offset, up)) => bytes.extend(mark(*offset, *up).unwrap()),
            Err((life, began)) => bytes.extend(clock(*life, *began)),
        }
    }
    bytes
}

fn seen(bytes: &[u8], length: u64) -> Vec<(u64, u64, Option<u64>)> {
    read(bytes, LOG, length).iter().map(|mark| (mark.offset, mark.up, mark.unix)).collect()
}

#[test]
fn lines_before_the_clock_was_set_get_their_date_from_those_after_it() {
    let bytes = file(&[Err((5, 0)), Ok((0, 10)), Ok((9, 20)), Err((5, 1000)), Ok((20, 30)), Err((6, 0)), Ok((30, 7))]);
    let dated = [(0, 10, Some(10_010)), (9, 20, Some(10_020)), (20, 30, Some(10_030)), (30, 7, None)];
    assert_eq!(seen(&bytes, 100), dated);
    // A clock of another life says nothing about them, and neither does one that went wrong later.
    let other = file(&[Err((5, 0)), Ok((0, 10)), Err((6, 1000)), Ok((9, 1)), Err((6, 2000)), Ok((12, 2))]);
    assert_eq!(seen(&other, 100), [(0, 10, None), (9, 1, Some(10_001)), (12, 2, Some(20_002))]);
}

#[test]
fn whatever_a_power_cut_leaves_is_read_and_a_mark_gives_way_to_a_later_one_of_the_same_place() {
    let whole = file(&[Err((5, 0)), Ok((0, 10)), Ok((50, 20))]);
    for cut in 0..whole.len() {
        assert!(seen(&whole[..cut], 100).len() <= 2);
    }
    // The log came back shorter than it was, and went on from there.
    assert_eq!(seen(&whole, 50), [(0, 10, None)]);
    let on = [&whole[..], &clock(6, 0), &mark(40, 3).unwrap()].concat();
    assert_eq!(seen(&on, 100), [(0, 10, None), (40, 3, None)]);
    assert_eq!(seen(&[&whole[..], &[0; 24], &[1, 2, 3]].concat(), 100).len(), 2);
    assert!(read(&whole, LOG + 1, 100).is_empty() && read(b"cairnLT", LOG, 100).is_empty());
}

#[test]
fn an_entry_holds_every_offset_of_a_log_and_seventeen_years() {
    assert!(mark((1 << 24) - 1, TIME_MAX).is_some() && TIME_MAX / 1000 / 86_400 / 365 >= 17);
    assert_eq!((mark(1 << 24, 0), mark(0, TIME_MAX + 1)), (None, None));
    let now = Now { life: 1, up: 1234, unix: Some(1_763_805_600_000) };
    assert!(now.began().abs_diff((1_763_805_600_000 - 1234) / 10) == 0);
    assert_eq!((Now { unix: None, ..now }.began(), Now { up: u64::MAX, ..now }.began()), (0, 0));
}

#[test]
fn since_finds_the_first_line_that_is_young_enough() {
    let bytes = file(&[
        Err((5, 0)),
        Ok((0, 10_000)),
        Err((6, 100_000)),
        Ok((10, 1000)),
        Ok((20, 90_000)),
        Err((7, 0)),
        Ok((30, 2000)),
        Ok((40, 60_000)),
    ]);
    let marks = read(&bytes, LOG, 100);
    let now = |unix| Now { life: 7, up: 61_000, unix };
    let at = |since, unix| first(&marks, since, now(unix)).map(|mark| mark.offset);
    assert_eq!(at(Since::Boot, None), Some(30));
    assert_eq!((at(Since::Ago(1), None), at(Since::Ago(0), None)), (Some(40), None));
    // Without a clock nobody knows how long ago another life was.
    assert_eq!((at(Since::Ago(3600), None), at(Since::Ago(3600), Some(1_200_000))), (Some(30), Some(10)));
    assert_eq!((at(Since::Unix(1002), None), at(Since::Unix(2000), None)), (Some(20), None));
    assert_eq!(first(&marks, Since::Boot, Now { life: 8, ..now(None) }), None);
    // Another life with the same number ended later than this one is old.
    assert_eq!(first(&marks, Since::Boot, Now { life: 7, up: 5000, unix: None }), None);
}

#[test]
fn people_say_since_when_in_their_words_and_paths_in_one_word() {
    for (text, since, word) in [
        ("boot", Since::Boot, "boot"),
        ("90s", Since::Ago(90), "ago-90"),
        ("10m", Since::Ago(600), "ago-600"),
        ("2h", Since::Ago(7200), "ago-7200"),
        ("3d", Since::Ago(259_200), "ago-259200"),
        ("1970-01-02", Since::Unix(86_400), "at-86400"),
        ("2026-11-22T10:00:00Z", Since::Unix(1_795_341_600), "at-1795341600"),
    ] {
        assert_eq!((Since::of_person(text), Since::parse(word)), (Some(since), Some(since)), "{text}");
        assert_eq!(alloc::format!("{since}"), word);
    }
    for bad in ["", "m", "10", "-10m", "+1s", "1w", "99999999999999999999s", "999999999999999999d", "2026-13-01", "é"]
    {
        assert_eq!(Since::of_person(bad), None, "{bad}");
    }
    for bad in ["", "Boot", "ago-", "ago-01", "ago-+1", "at--1", "at-1 ", "3-4"] {
        assert_eq!(Since::parse(bad), None, "{bad}");
    }
}

#[test]
fn times_are_written_and_read_as_one_line() {
    let times = [Time { at: 0, up: Some(5), unix: None }, Time { at: 7, up: None, unix: None }];
    let more = Time { at: 9, up: Some(6), unix: Some(1_795_341_600_123) };
    let all = [&times[..], &[more]].concat();
    assert_eq!(to_text(&all), "0/5/,7//,9/6/1795341600123");
    assert_eq!(of_text(&to_text(&all)), Some(all));
    assert_eq!(of_text(""), Some(alloc::vec![]));
    for bad in [",", "1", "1/2", "1/2/3/4", "x//", "/1/", "-1//"] {
        assert_eq!(of_text(bad), None, "{bad}");
    }
    assert_eq!(of_text(&to_text(&[more; TIMES_MAX + 1])), None);
}
