//! `bench memory`: what a device with three containers takes while nothing happens, beside what the reference system
//! was measured to take (`recorded`: on another day, as its own users run it).
//!
//! Counted are the processes of the runtime, whose program is `/cairn`: what runs inside of containers is theirs.
//!
//! Its containers have nothing to say, so whatever is woken was woken by the runtime itself, and is told by thread. The board has no watchdog, so none is fed: there is
//! nothing that a device with one would have to be excused for.

use std::collections::BTreeMap;
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

/// How long the device is left alone before anything is counted: logs and journals are written after an update, and half a minute
/// after its start a container has its earlier restarts forgiven, the last thing that is due by itself.
const REST: Duration = Duration::from_secs(35);

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
    /// How often each thread was woken so far.
    wakeups: BTreeMap<String, u64>,
}

impl Taken {
    /// The threads that were woken since then, and how often.
    fn woken_since(&self, before: &Self) -> BTreeMap<&str, u64> {
        let since =
            |(thread, wakeups): (&String, &u64)| wakeups - before.wakeups.get(thread).unwrap_or(&0).min(wakeups);
        self.wakeups.iter().map(|one| (one.0.as_str(), since(one))).filter(|(_, wakeups)| *wakeups > 0).collect()
    }
}

/// What was counted.
struct Counted {
    memory: Taken,
    seconds: u64,
    /// By thread.
    idle: BTreeMap<String, u64>,
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
    let idle = after.woken_since(&before).into_iter().map(|(thread, wakeups)| (thread.to_owned(), wakeups)).collect();
    let counted = Counted { memory: after, seconds: options.idle, idle };
    for (thread, wakeups) in &counted.idle {
        out.line(format!("woken when idle: {thread}, {wakeups} times in {} s", counted.seconds));
    }
    report(&counted).tell(&options.wishes)
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
            let thread = thread?;
            let (Some(wakeups), Ok(name)) = (switches(&thread.path()), fs::read_to_string(thread.path().join("comm")))
            else {
                continue;
            };
            let number = thread.file_name();
            all.wakeups.insert(format!("{} ({})", name.trim(), number.to_string_lossy()), wakeups);
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
fn report(counted: &Counted) -> Report {
    let Counted { memory, seconds, idle } = counted;
    let idle_rate = idle.values().sum::<u64>() as f64 / *seconds as f64;
    let ours = [memory.private as f64, memory.resident as f64, memory.processes as f64, idle_rate];
    let more = json!({ "containers": 3, "idle_seconds": seconds, "woken_when_idle": idle });
    Report::of("memory", "Three containers", &GOALS, ours, more)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Counted {
        let memory = Taken { private: 1500, resident: 5000, processes: 2, wakeups: BTreeMap::new() };
        Counted { memory, seconds: 10, idle: BTreeMap::new() }
    }

    #[test]
    fn one_wake_up_is_one_too_many() {
        assert!(report(&good()).is_passed());
        assert!(!report(&Counted { idle: BTreeMap::from([("cairn (1)".to_owned(), 1)]), ..good() }).is_passed());
    }

    #[test]
    fn who_was_woken_is_said_by_name_and_who_was_not_is_left_out() {
        let taken = |one: u64, other: u64| Taken {
            wakeups: BTreeMap::from([("cairn (1)".to_owned(), one), ("store (4)".to_owned(), other)]),
            ..Taken::default()
        };
        assert_eq!(taken(7, 3).woken_since(&taken(5, 3)), BTreeMap::from([("cairn (1)", 2)]));
        assert_eq!(taken(7, 3).woken_since(&Taken::default()).len(), 2, "a thread that is new was woken, too");
    }
}
