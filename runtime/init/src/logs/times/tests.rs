//! Logs with times as they are written here and read by `follow`, through everything that befalls files.

use formats::control::{LogFrom, LogPiece, LogPlace};
use formats::log_times::{Since, TIMES_MAX, Time};
use statemachine::ids::RevisionId;

use super::*;
use crate::clock::Clock;
use crate::logs::{LIMIT, Log, before, follow};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("0/web/console.log")
    }

    /// The log as one start of the container writes it.
    fn writer(&self, limit: u64) -> Log {
        Log::of_container(self.0.path(), &RevisionId::factory(), "web", limit, Clock::start())
    }

    fn read(&self, from: LogFrom, now: Now) -> LogPiece {
        follow::read(&self.log(), from, true, 64 * 1024, now).unwrap()
    }

    fn text(&self, since: Since, now: Now) -> String {
        String::from_utf8(self.read(LogFrom::Since(since), now).bytes).unwrap()
    }

    fn marks(&self) -> u64 {
        std::fs::metadata(path(&self.log())).map_or(0, |said| (said.len() - HEAD as u64) / ENTRY as u64)
    }
}

const fn at(up: u64) -> Now {
    Now { life: 1, up, unix: None }
}

fn time(at: u32, up: u64) -> Time {
    Time { at, up: Some(up), unix: None }
}

#[test]
fn every_line_has_the_time_at_which_it_was_read_and_a_part_of_one_has_none_of_its_own() {
    let place = Place::new();
    let mut log = place.writer(LIMIT);
    for (up, text) in [(1000, "one\ntwo\n"), (1005, "three\n"), (2000, "fo"), (3000, "ur\nfive\n"), (4000, "six\n")] {
        log.append_at(text.as_bytes(), Some(at(up)));
    }
    let LogPiece { bytes, times, .. } = place.read(LogFrom::Oldest, at(9000));
    assert_eq!(String::from_utf8(bytes).unwrap(), "one\ntwo\nthree\nfour\nfive\nsix\n");
    // `three` was read within 10 ms of the lines before it, and `four` began when its first letters came.
    assert_eq!(times, [time(0, 1000), time(14, 2000), time(19, 3000), time(24, 4000)]);
    assert_eq!(place.text(Since::Ago(6), at(9000)), "five\nsix\n");
    assert_eq!(place.text(Since::Ago(0), at(9000)), "");
    // A place in the middle has the time of the line that it is in.
    let LogPlace { file, .. } = place.read(LogFrom::Oldest, at(9000)).place.unwrap();
    let piece = place.read(LogFrom::After(LogPlace { file, offset: 16 }), at(9000));
    assert_eq!(piece.times, [time(0, 2000), time(3, 3000), time(8, 4000)]);
}

#[test]
fn times_go_with_their_log_when_it_begins_anew() {
    let place = Place::new();
    let mut log = place.writer(64);
    // The limit leaves room for one entry only: with that the log is as long as ever, and the rest has no time.
    for (up, text) in [(1000, "a\n"), (2000, "b\n")] {
        log.append_at(text.as_bytes(), Some(at(up)));
    }
    assert_eq!(place.read(LogFrom::Oldest, at(9000)).times, [Time { at: 0, up: None, unix: None }]);
    let place = Place::new();
    let mut log = place.writer(1024);
    let line = |letter: &str| letter.repeat(399) + "\n";
    for (up, letter) in [(1000, "a"), (2000, "b"), (3000, "c"), (4000, "d")] {
        log.append_at(line(letter).as_bytes(), Some(at(up)));
    }
    assert!(path(&before(&place.log())).exists());
    let times = [time(0, 1000), time(400, 2000), time(800, 3000), time(1200, 4000)];
    assert_eq!(place.read(LogFrom::Oldest, at(9000)).times, times);
    assert_eq!(place.text(Since::Ago(6), at(8500)), [line("c"), line("d")].concat());
    assert_eq!(place.text(Since::Boot, at(9000)).len(), 1600);
    // Power was cut between both names: no time is better than one of other lines.
    std::fs::copy(path(&place.log()), path(&before(&place.log()))).unwrap();
    let times = [Time { at: 0, up: None, unix: None }, time(800, 3000), time(1200, 4000)];
    assert_eq!(place.read(LogFrom::Oldest, at(9000)).times, times);
}

#[test]
fn another_boot_goes_on_behind_whatever_the_one_before_has_left() {
    let place = Place::new();
    place.writer(LIMIT).append_at(b"old\nolder\n", Some(at(5000)));
    let marks = path(&place.log());
    for torn in [0, 3, 11] {
        let bytes = std::fs::read(&marks).unwrap();
        std::fs::write(&marks, [&bytes[..], &vec![7; torn]].concat()).unwrap();
        let now = Now { life: 2, up: 100, unix: Some(1_795_341_600_000) };
        place.writer(LIMIT).append_at(b"new\n", Some(now));
        let now = Now { up: 60_100, unix: now.unix.map(|unix| unix + 60_000), ..now };
        assert!(place.text(Since::Boot, now).ends_with("new\n") && !place.text(Since::Boot, now).contains("old"));
        assert!(place.text(Since::Unix(1_795_341_600), now).ends_with("new\n"));
        assert_eq!(place.text(Since::Unix(1_795_341_601), now), "");
    }
}

#[test]
fn a_log_of_before_there_were_times_is_read_as_it_is_and_what_comes_next_has_one() {
    let place = Place::new();
    std::fs::create_dir_all(place.log().parent().unwrap()).unwrap();
    std::fs::write(place.log(), "from before\n").unwrap();
    assert_eq!(place.text(Since::Boot, at(9000)), "");
    let piece = place.read(LogFrom::Oldest, at(9000));
    assert_eq!((&piece.bytes[..], piece.lost), (&b"from before\n"[..], false));
    place.writer(LIMIT).append_at(b"now\n", Some(at(1000)));
    let times = [Time { at: 0, up: None, unix: None }, time(12, 1000)];
    assert_eq!(place.read(LogFrom::Oldest, at(9000)).times, times);
    assert_eq!(place.text(Since::Boot, at(9000)), "now\n");
}

#[test]
fn a_date_is_told_of_lines_before_the_clock_was_set() {
    let place = Place::new();
    place.writer(LIMIT).append_at(b"early\n", Some(at(1000)));
    let now = Now { up: 61_000, unix: Some(1_795_341_660_000), ..at(0) };
    assert_eq!(place.read(LogFrom::Oldest, now).times, [Time { unix: Some(1_795_341_600_000), ..time(0, 1000) }]);
}

#[test]
fn a_flood_has_a_mark_in_ten_milliseconds_and_all_marks_take_an_eighth() {
    let place = Place::new();
    let mut log = place.writer(LIMIT);
    let lines = "a line of thirty bytes or such\n".repeat(100);
    for piece in 0..300 {
        // A thousand lines in 10 ms.
        log.append_at(lines.as_bytes(), Some(at(piece)));
    }
    assert_eq!(place.marks(), 31);
    // Every line on its own, for hours: there are fewer marks than lines, and the log is as long as it ever was.
    let place = Place::new();
    let mut log = place.writer(LIMIT);
    for second in 0..LIMIT / 10 {
        log.append_at(b"123456789\n", Some(at(second * 1000)));
    }
    let (log, marks) = (std::fs::metadata(place.log()).unwrap(), place.marks());
    assert!(log.len() > LIMIT - 10 && marks * ENTRY as u64 <= LIMIT / PART, "{} {marks}", log.len());
    assert!(marks > LIMIT / PART / ENTRY as u64 / 2, "{marks}");
}

#[test]
fn a_piece_ends_where_it_would_have_more_times_than_it_can() {
    let place = Place::new();
    let mut log = place.writer(LIMIT);
    for second in 1..=300 {
        log.append_at(format!("{second}\n").as_bytes(), Some(at(second * 1000)));
    }
    let (mut from, mut lines, mut pieces) = (LogFrom::Oldest, Vec::new(), 0);
    loop {
        let piece = place.read(from, at(900_000));
        if piece.bytes.is_empty() {
            break;
        }
        pieces += 1;
        assert!(piece.times.len() <= TIMES_MAX);
        let text = String::from_utf8(piece.bytes).unwrap();
        for (number, time) in text.lines().zip(&piece.times) {
            lines.push((number.parse::<u64>().unwrap(), time.up.unwrap()));
        }
        from = LogFrom::After(piece.place.unwrap());
    }
    assert_eq!((lines.len(), pieces), (300, 3));
    assert!(lines.iter().all(|(number, up)| number * 1000 == *up));
}

#[test]
fn a_disk_without_room_for_marks_costs_no_line() {
    let place = Place::new();
    std::fs::create_dir_all(path(&place.log())).unwrap();
    let mut log = place.writer(LIMIT);
    for second in 0..3 {
        log.append_at(b"line\n", Some(at(second * 1000)));
    }
    assert_eq!((std::fs::read_to_string(place.log()).unwrap().lines().count(), log.lost()), (3, 0));
}
