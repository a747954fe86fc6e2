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
use serde_json::json;

use super::Telling;
use super::figures::{Goal, Report, Wishes};
use super::live::Live;
use super::story::show::Show;
use crate::setup;

/// What a device with three containers takes.
#[derive(Parser)]
#[command(name = "cargo xtask bench memory")]
struct Options {
    #[command(flatten)]
    wishes: Wishes,
    /// For how long wake-ups are counted, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    idle: u64,
}

/// How long the device is left alone before anything is counted: logs and journals are written after an update.
const REST: Duration = Duration::from_secs(10);

/// What the reference system takes, and the most that is good.
const GOALS: [Goal; 4] = [
    Goal { figure: "private memory", unit: "kB", recorded: Some(3132.0), most: 1500.0 },
    Goal { figure: "resident memory", unit: "kB", recorded: Some(34_712.0), most: 5000.0 },
    Goal { figure: "processes", unit: "", recorded: Some(12.0), most: 2.0 },
    Goal { figure: "wake-ups when idle", unit: "/s", recorded: Some(8.0), most: 0.0 },
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
    setup::ensure(options.wishes.out())?;
    let out = options.wishes.out();
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
    report(&before, &after, options.idle).tell(&options.wishes)
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
fn report(before: &Taken, after: &Taken, seconds: u64) -> Report {
    let wakeups = after.wakeups.saturating_sub(before.wakeups) as f64 / seconds as f64;
    let ours = [after.private as f64, after.resident as f64, after.processes as f64, wakeups];
    let more = json!({ "containers": 3, "idle_seconds": seconds });
    Report::of("memory", "Three containers", &GOALS, ours, more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wake_up_is_one_too_many() {
        let good = Taken { private: 1500, resident: 5000, processes: 2, wakeups: 7 };
        let same = Taken { wakeups: 7, ..Taken::default() };
        assert!(report(&same, &good, 10).is_passed());
        let woken = Taken { wakeups: 8, ..good };
        assert!(!report(&same, &woken, 10).is_passed());
    }
}
