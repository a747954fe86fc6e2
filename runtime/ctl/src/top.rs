//! What containers use, as a table: two looks at the device, and what lies between them.
//!
//! Where the kernel does not tell something, the cell is empty. Processor time is a share of one processor, disks are a
//! rate, both over the time between the two looks; `WAIT` is the part of the last ten seconds in which something in the
//! container stood still for the processor, for memory, or for a disk, whichever was most.

use std::time::Duration;

use formats::json::{Object, Value};

use crate::failure::Failure;
use crate::show::{LIMITS, cell, number, rows};
use crate::table::table;

/// Between the two looks: long enough for a share that means something, short enough to wait for.
pub(crate) const PAUSE: Duration = Duration::from_secs(1);

/// The table of two answers to `GET /containers`, which lie `apart`.
pub(crate) fn table_of(before: &str, after: &str, apart: Duration) -> Result<String, Box<Failure>> {
    let before =
        formats::json::parse(before.as_bytes(), LIMITS).map_err(|_| Failure::answer("something that is not JSON"))?;
    let before = before.as_array().unwrap_or_default();
    let row = |view: &Object<'_>| {
        let (name, usage) = (cell(view, "name"), used(view));
        // One that was started anew in between is another process, whose counters began again.
        let same = |other: &&Object<'_>| cell(other, "name") == name && cell(other, "pid") == cell(view, "pid");
        let earlier = before.iter().filter_map(Value::as_object).find(same).and_then(used);
        let since = |member: &str| {
            let (now, then) = (number(usage?, member)?, number(earlier?, member)?);
            Some(now.saturating_sub(then).saturating_mul(1000) / u64::try_from(apart.as_millis()).ok()?.max(1))
        };
        let told = |member: &str| usage.and_then(|usage| number(usage, member));
        let amount = |amount: Option<u64>, unit: &str| amount.map_or_else(String::new, |amount| bytes(amount) + unit);
        let share = since("cpu_us").map_or_else(String::new, |us| format!("{}.{}%", us / 10_000, us / 1000 % 10));
        vec![
            name,
            cell(view, "status"),
            share,
            amount(told("memory"), ""),
            amount(told("memory_peak"), ""),
            told("tasks").map_or_else(String::new, |tasks| tasks.to_string()),
            amount(since("io_read"), "/s"),
            amount(since("io_written"), "/s"),
            usage.and_then(wait).unwrap_or_default(),
            told("memory_kills").map_or_else(String::new, |kills| kills.to_string()),
        ]
    };
    let heads = ["NAME", "STATUS", "CPU", "MEMORY", "PEAK", "TASKS", "READ", "WRITTEN", "WAIT", "OOM KILLS"];
    Ok(table(&heads, &rows(after, row)?))
}

fn used<'v, 'a>(view: &'v Object<'a>) -> Option<&'v Object<'a>> {
    view.get("usage").and_then(Value::as_object)
}

/// What it waited for most: `memory 12.5%`.
fn wait(usage: &Object<'_>) -> Option<String> {
    let part = |(member, what): (&str, &'static str)| {
        let some = cell(usage.get(member)?.as_object()?, "some");
        let (whole, rest) = some.split_once('.').unwrap_or((&some, ""));
        let tenth = rest.get(..1).map_or(Some(0), |tenth| tenth.parse::<u32>().ok())?;
        let tenths = u32::from(whole.parse::<u16>().ok()?) * 10 + tenth;
        Some((tenths, what))
    };
    let parts = [("cpu_pressure", "cpu"), ("memory_pressure", "memory"), ("io_pressure", "io")];
    let (tenths, what) = parts.into_iter().filter_map(part).max_by_key(|(tenths, _)| *tenths)?;
    Some(if tenths == 0 { "0%".into() } else { format!("{what} {}.{}%", tenths / 10, tenths % 10) })
}

/// Bytes in the largest unit of which there is at least one: `1.5M`.
fn bytes(amount: u64) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    let unit = units.into_iter().find(|(shift, _)| amount >> shift > 0);
    unit.map_or_else(
        || format!("{amount}B"),
        |(shift, unit)| format!("{}.{}{unit}", amount >> shift, ((amount & ((1 << shift) - 1)) * 10) >> shift),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = concat!(
        r#"[{"name":"web","pid":7,"status":"STARTED","usage":{"memory":1,"cpu_us":1000000,"io_read":0,"io_written":4096}},"#,
        r#"{"name":"db","pid":8,"status":"STARTED","usage":{"cpu_us":1000000}}]"#,
    );
    const SECOND: &str = concat!(
        r#"[{"name":"web","pid":7,"status":"READY","usage":{"memory":1610612736,"memory_peak":1023,"memory_kills":2,"#,
        r#""cpu_us":2255000,"tasks":3,"io_read":4096,"io_written":4096,"cpu_pressure":{"some":0.07,"full":0.00},"#,
        r#""memory_pressure":{"some":12.59,"full":1.00}}},"#,
        r#"{"name":"db","pid":9,"status":"STARTED","usage":{"cpu_us":5}},{"name":"off","pid":null,"usage":null}]"#,
    );

    #[test]
    fn shares_and_rates_lie_between_the_two_looks() {
        let text = table_of(FIRST, SECOND, Duration::from_secs(2)).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["web", "READY", "62.7%", "1.5G", "1023B", "3", "2.0K/s", "0B/s", "memory", "12.5%", "2"]);
        // A container of another process has nothing between them, and one that is down nothing at all.
        assert_eq!(lines[2], ["db", "STARTED"]);
        assert_eq!(lines[3], ["off"]);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(table_of("no", "[]", PAUSE).is_err() && table_of("[]", "{}", PAUSE).is_err());
        let odd =
            r#"[{"name":"x","usage":{"cpu_pressure":{"some":"much"},"io_pressure":7,"memory":18446744073709551615}}]"#;
        assert!(table_of("{}", odd, Duration::ZERO).unwrap().contains("17179869183.9G"));
    }
}
