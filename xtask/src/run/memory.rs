//! `bench memory`: what a device with three containers takes while nothing happens, beside what the reference system
//! was measured to take (`recorded`: on another day, as its own users run it).
//!
//! Counted are the processes of the runtime, whose program is `/cairn`: what runs inside of containers is theirs.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use serde_json::{Value, json};

use super::Telling;
use super::live::Live;
use super::story::show::Show;
use crate::term::{Out, bold, green, red};

/// What a device with three containers takes.
#[derive(Parser)]
#[command(name = "cargo xtask bench memory")]
struct Options {
    /// Fail if a goal is missed
    #[arg(long)]
    check: bool,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// For how long wake-ups are counted, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle: u64,
}

/// How long the device is left alone before anything is counted: logs and journals are written after an update.
const REST: Duration = Duration::from_secs(10);

/// A figure, its unit, what the reference system takes, and the most that is good.
const GOALS: &[(&str, &str, f64, f64)] = &[
    ("private memory", "kB", 3132.0, 1500.0),
    ("resident memory", "kB", 34_712.0, 5000.0),
    ("processes", "", 12.0, 2.0),
    ("wake-ups when idle", "/s", 8.0, 0.0),
];

/// The runtime's processes at one moment.
#[derive(Default, Debug)]
struct Taken {
    private: u64,
    resident: u64,
    processes: u64,
    wakeups: u64,
}

/// `args` begin with the name of this command.
pub(crate) fn run(args: &[std::ffi::OsString]) -> Result<ExitCode> {
    let options = Options::parse_from(args);
    let out = if options.json { Out::Stderr } else { Out::Stdout };
    let mut telling = Telling::begin("bench-memory", "bench/three-containers", None, Show::Timeline(out))?;
    telling.tell()?;
    let (program, dir) = telling.device.place();
    let device = Live::of(program, dir)?;
    let containers = device.ask("GET", "/containers", "")?.as_array().map_or(0, Vec::len);
    ensure!(containers == 3, "the device has {containers} containers and not three");
    std::thread::sleep(REST);
    let before = taken(&device)?;
    std::thread::sleep(Duration::from_secs(options.idle));
    let after = taken(&device)?;
    telling.scene.stop()?;
    let report = report(&before, &after, options.idle);
    if options.json {
        println!("{report:#}");
    } else {
        table(&report, out);
    }
    Ok(if options.check && report.get("passed") != Some(&Value::Bool(true)) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Of every process of the device whose program is that of PID 1.
fn taken(device: &Live) -> Result<Taken> {
    let mut pids = Vec::new();
    device.groups(&mut |group| {
        let list = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        pids.extend(list.lines().filter_map(|line| line.parse::<u32>().ok()));
    });
    // A group of each tree has them.
    pids.sort_unstable();
    pids.dedup();
    let own = program(device.pid1).context("PID 1 of the device has just died")?;
    let mut all = Taken::default();
    for pid in pids.into_iter().filter(|pid| program(*pid).as_ref() == Some(&own)) {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let sum = |name: &str| -> u64 {
            let lines = rollup.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
        };
        all.private += sum("Private_");
        all.resident += sum("Rss:");
        all.processes += 1;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            all.wakeups += switches(&thread?.path()).unwrap_or_default();
        }
    }
    Ok(all)
}

/// What a process executes, as the file that it is.
fn program(pid: u32) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let file = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    Some((file.dev(), file.ino()))
}

/// How often a thread has waited for something: each time it was woken.
fn switches(thread: &Path) -> Option<u64> {
    let status = fs::read_to_string(thread.join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok())
}

#[expect(clippy::cast_precision_loss, reason = "figures of a table")]
fn report(before: &Taken, after: &Taken, seconds: u64) -> Value {
    let wakeups = after.wakeups.saturating_sub(before.wakeups) as f64 / seconds as f64;
    let ours = [after.private as f64, after.resident as f64, after.processes as f64, wakeups];
    let figures: Vec<_> = GOALS
        .iter()
        .zip(ours)
        .map(|((figure, unit, peer, goal), ours)| {
            json!({
                "figure": figure, "unit": unit, "cairn": ours, "peer": peer, "peer_is": "recorded", "ratio": ours / peer,
                "goal": goal, "met": ours <= *goal,
            })
        })
        .collect();
    let passed = figures.iter().all(|figure| figure["met"] == true);
    json!({ "command": "bench memory", "passed": passed, "containers": 3, "idle_seconds": seconds, "figures": figures })
}

fn table(report: &Value, out: Out) {
    let head =
        format!("\n{:<24} {:>10} {:>12} {:>7} {:>10}  met", "three containers", "cairn", "recorded", "ratio", "goal");
    out.line(bold(out, &head));
    for figure in report.get("figures").and_then(Value::as_array).into_iter().flatten() {
        let number = |name: &str| figure[name].as_f64().unwrap_or(f64::NAN);
        let name = format!(
            "{} {}",
            figure.get("figure").and_then(Value::as_str).unwrap_or_default(),
            figure.get("unit").and_then(Value::as_str).unwrap_or_default()
        );
        let met = if figure["met"] == true { green(out, "yes") } else { red(out, "NO") };
        out.line(format!(
            "{name:<24} {:>10.1} {:>12.0} {:>7.2} {:>10}  {met}",
            number("cairn"),
            number("peer"),
            number("ratio"),
            format!("≤ {:.0}", number("goal")),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_that_is_missed_by_one_figure_is_missed_by_all() {
        let good = Taken { private: 1500, resident: 5000, processes: 2, wakeups: 7 };
        let same = Taken { wakeups: 7, ..Taken::default() };
        assert_eq!(report(&same, &good, 10)["passed"], true);
        let woken = Taken { wakeups: 8, ..good };
        assert_eq!(report(&same, &woken, 10)["passed"], false);
    }
}
