//! Dates of the calendar, in UTC: `2026-11-22T10:00:00Z`.
//!
//! Days are counted from 0000-03-01: years then end with the leap day, and months have a simple sum (Hinnant,
//! "chrono-compatible low-level date algorithms").

use alloc::format;
use alloc::string::String;

/// From 0000-03-01 to 1970-01-01.
const EPOCH: u64 = 719_468;
const ERA: u64 = 146_097;

/// Seconds since 1970 as `YYYY-MM-DDTHH:MM:SSZ`.
#[must_use]
pub fn date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let days = days.saturating_add(EPOCH);
    let (era, day) = (days / ERA, days % ERA);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day + 2) / 153;
    let day = day - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

/// Reads such a date, or the day alone, as seconds since 1970. `None`: it is none of the years 1970 to 9999.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    let (day, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let [year, month, day] = numbers(day, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time.strip_suffix('Z')?, ':', [2, 2, 2])?;
    if year < 1970 || !(1..=12).contains(&month) || day == 0 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (years, shifted) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    let days = (years * 365 + years / 4 - years / 100 + years / 400 + of_year).checked_sub(EPOCH)?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    // A day that its month does not have is another one's.
    let whole = date(seconds);
    whole.starts_with(text.get(..10)?).then_some(seconds)
}

fn numbers(text: &str, between: char, widths: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(between);
    let mut numbers = [0; 3];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let part = parts.next().filter(|part| part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_341_600, "2026-11-22T10:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!((date(seconds).as_str(), parse(text)), (text, Some(seconds)));
        }
        for days in (0..2_932_896).step_by(59) {
            assert_eq!(parse(&date(days * 86_400)), Some(days * 86_400));
        }
        assert_eq!(parse("2026-11-22"), Some(1_795_305_600));
        // Far beyond what a clock shows, it is a text all the same.
        assert!(date(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn what_is_no_day_is_no_date() {
        for bad in [
            "",
            "2026-02-29",
            "2026-04-31",
            "1969-12-31",
            "2026-1-1",
            "2026-00-01",
            "2026-01-00",
            "2026-01-01T24:00:00Z",
            "2026-01-01T10:00:00",
            "2026-01-01T10:00Z",
            "2026-01-01T10:00:60Z",
            "2026-01-01-01",
            "+026-01-01",
            "2026-01-01T",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
