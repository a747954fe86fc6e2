//! Every way in which attempts can come and end, for every combination of small numbers.

use super::*;

fn asks(interval: u32, retries: u32, start_period: u32, start_interval: u32) -> Readiness {
    Readiness { interval, retries, start_period, start_interval, ..Readiness::new(vec!["check".into()]) }
}

fn at(seconds: u64) -> Time {
    Time(0).after(Span::seconds(seconds))
}

/// When attempts begin of which each takes so long and fails, until the container is found unready.
fn attempts(asks: &Readiness, takes: u64) -> (Vec<u64>, u64) {
    let mut asking = Asking::new(asks, at(0));
    let mut begun = Vec::new();
    loop {
        let due = asking.due().expect("none is under way");
        assert!(due.0 == 0 || !asking.begin(Time(due.0 - 1)), "not before its time");
        assert!(asking.begin(due) && !asking.begin(due) && asking.due().is_none(), "one at a time");
        begun.push(due.0 / 1_000);
        let end = due.after(Span::seconds(takes));
        if asking.failed(end) == Verdict::Unready {
            return (begun, end.0 / 1_000);
        }
    }
}

/// The same under a container engine: the first after `interval` or, within the period, `start_interval`.
fn elsewhere(asks: &Readiness, takes: u64) -> u64 {
    let (mut now, mut counted) = (0, 0);
    loop {
        let pause = if now < u64::from(asks.start_period) { asks.start_interval } else { asks.interval };
        let begun = now + u64::from(pause);
        now = begun + takes;
        counted += u32::from(begun >= asks.start_period.into());
        if counted == asks.retries {
            return now;
        }
    }
}

#[test]
fn what_is_usual_asks_every_five_seconds_and_counts_after_half_a_minute() {
    let usual = Readiness::new(vec!["check".into()]);
    assert_eq!(attempts(&usual, 0), (vec![5, 10, 15, 20, 25, 30, 60, 90], 90));
    assert_eq!(elsewhere(&usual, 0), 90);
    assert_eq!(attempts(&asks(2, 3, 0, 5), 0), (vec![2, 4, 6], 6), "nobody is asked less often at first");
    assert_eq!(attempts(&asks(2, 1, 7, 5), 0), (vec![2, 4, 6, 8], 8));
    assert_eq!(attempts(&asks(4, 2, 0, 1), 3), (vec![1, 8, 15], 18), "a pause begins when an attempt has ended");
}

#[test]
fn nobody_is_found_unready_before_enough_attempts_that_count_and_enough_time() {
    for interval in 1..=6 {
        for retries in 1..=3 {
            for start_period in 0..=9 {
                for start_interval in 1..=7 {
                    for takes in 0..=4 {
                        let asks = asks(interval, retries, start_period, start_interval);
                        let (begun, end) = attempts(&asks, takes);
                        let from = u64::from(interval.max(start_period));
                        let counted = begun.iter().filter(|one| **one >= from).count();
                        assert_eq!(counted, retries as usize, "{asks:?} {takes}: {begun:?}");
                        let pauses = begun.windows(2).map(|two| two[1] - two[0] - takes);
                        let usual = u64::from(interval.min(start_interval));
                        assert!(pauses.into_iter().all(|pause| pause == usual || pause == u64::from(interval)));
                        assert_eq!(begun[0], usual, "{asks:?}");
                        // With attempts that take no time it is exactly as late as elsewhere, or later by less than a pause.
                        if takes == 0 && start_period == 0 && interval % start_interval.min(interval) == 0 {
                            assert_eq!(end, elsewhere(&asks, 0), "{asks:?}");
                        }
                        assert!(end >= from + u64::from(interval) * u64::from(retries - 1), "{asks:?} {takes}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_was_found_unready_is_asked_on_and_found_so_each_time() {
    let mut asking = Asking::new(&asks(3, 1, 0, 3), at(0));
    for round in 1..=4 {
        assert!(asking.begin(at(3 * round)));
        assert_eq!(asking.failed(at(3 * round)), Verdict::Unready);
        assert_eq!(u64::from(asking.failures()), round);
    }
}

#[test]
fn a_failure_that_nobody_waits_for_changes_nothing() {
    let mut asking = Asking::new(&asks(3, 1, 0, 1), at(0));
    let before = asking.clone();
    assert_eq!((asking.failed(at(9)), &asking), (Verdict::NotYet, &before));
}

#[test]
fn times_at_the_end_of_all_time_are_never_and_not_the_past() {
    let mut asking = Asking::new(&Readiness::new(vec!["check".into()]), Time(u64::MAX));
    assert_eq!(asking.due(), Some(Time(u64::MAX)));
    assert!(asking.begin(Time(u64::MAX)));
    assert_eq!(asking.failed(Time(u64::MAX)), Verdict::NotYet);
}

#[test]
fn a_reason_says_how_often_and_what_was_said_last() {
    let mut asking = Asking::new(&asks(1, 2, 0, 1), at(0));
    let fail = |asking: &mut Asking, now| {
        assert!(asking.begin(at(now)));
        asking.failed(at(now));
    };
    fail(&mut asking, 1);
    assert_eq!(asking.told("exited with code 1", ""), "readiness: exited with code 1");
    fail(&mut asking, 2);
    fail(&mut asking, 3);
    assert_eq!(asking.told("exited with code 1", "no route"), "readiness: exited with code 1, 3 times: no route");
}

#[test]
fn the_last_line_is_one_with_something_in_it_however_the_output_is_cut() {
    for (said, last) in [
        ("", ""),
        ("\n \n", ""),
        ("one", "one"),
        ("one\ntwo\n", "two"),
        ("one\ntwo\n\n  \n", "two"),
        ("one\r\n", "one"),
        ("\u{1b}[31mred\tö\n", "[31mred ö"),
    ] {
        for cut in 0..=said.len() {
            let mut line = LastLine::default();
            line.take(&said.as_bytes()[..cut]);
            line.take(&said.as_bytes()[cut..]);
            assert_eq!(line.text().trim(), last, "{said:?} cut at {cut}");
        }
    }
    let mut line = LastLine::default();
    (0..1000).for_each(|_| line.take(&[b'x'; 100]));
    assert_eq!((line.text().len(), line.begun.len()), (LINE_MAX, LINE_MAX));
}
