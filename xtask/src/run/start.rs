//! `bench start`: how long a container takes, beside the programs that others start containers with; and how long a whole
//! device with three of them takes until the last one runs, beside what the reference system was measured to take
//! (`recorded`: on another day).
//!
//! ```text
//!   tests/bench, static, in a mount namespace with a pure cgroup v2 tree     samples of everybody, in turns
//!   a device on tmpfs:  new ─▶ first boot ─▶ stop ─▶ a later boot ─▶ stop    again and again
//!                       new ─▶ first boot under strace                       what it syncs until then
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use serde_json::{Map, Value, json};

use super::boots::{Boots, First, Turn};
use super::figures::{Figure, Goal, Most, Peer, Report, Wishes, quantile};
use super::tools::Tools;
use crate::cargo;
use crate::setup;
use crate::sizes::{FLAGS, TARGET, flags};
use crate::term::Out;

/// How long containers take to start.
#[derive(Parser)]
#[command(name = "cargo xtask bench start")]
struct Options {
    /// How many samples of each who starts one container
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=10_000))]
    rounds: u32,
    /// How many first boots of a device with three containers, and as many later ones
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1000))]
    boots: u32,
    #[command(flatten)]
    wishes: Wishes,
}

const PACKAGE: &str = "cairn-tests-bench";

/// Who is measured as ours: a container asked of a process that lives on, as PID 1 does; and one as a process of its own.
const REQUEST: &str = "cairn";
const PROCESS: &str = "cairn (process)";

/// Whom each is compared with, and how much longer it may take. The first floor is the one that the goal counts from, the
/// bare clone has none: `tests/bench` says why.
const ONE: [(&str, &str, Option<f64>); 9] = [
    (REQUEST, "unshare", Some(1.4)),
    (REQUEST, "crun", Some(1.0)),
    (REQUEST, "lxc-start", Some(1.0)),
    (REQUEST, "runc", None),
    (REQUEST, "bare clone", None),
    (PROCESS, "bare clone (process)", None),
    (PROCESS, "crun", None),
    (PROCESS, "lxc-start", None),
    (PROCESS, "runc", None),
];

const FIRST: Goal = Goal { figure: "three containers, first boot", unit: "ms", recorded: Some(5112.0), most: 40.0 };
const LATER: Goal = Goal { figure: "three containers, later boots", unit: "ms", recorded: Some(110.0), most: 40.0 };
const SYNCS: Goal = Goal { figure: "syncs of a first boot until then", unit: "", recorded: None, most: 5.0 };

/// Shown, and not judged: it says what unpacking takes, which is the kernel's work.
const SHELLS: &str = "the same with a shell as first program";

/// How much longer a first boot may take than others: what medians of the same differ by from run to run.
const NO_SLOWER: f64 = 1.1;

/// A cgroup tree of its own kind, in a mount namespace of its own; then the program. On a hybrid host not every peer would
/// start.
const PURE: &str = "grep -q '^cgroup2 /sys/fs/cgroup ' /proc/self/mounts \
    || { umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup; } || exit 2; exec \"$@\"";

/// Who took how long, sample by sample, in microseconds.
type Samples = BTreeMap<String, Vec<f64>>;

/// `args` begin with the name of this command.
pub(crate) fn run(args: &[OsString]) -> Result<ExitCode> {
    let options = Options::parse_from(args);
    let out = options.wishes.out();
    setup::ensure(out)?;
    setup::ensure_peers(out)?;
    let tools = Tools::build(out)?;
    build()?;
    let samples = samples(options.rounds)?;
    let mut device = Boots::prepare(First::Mark, &tools)?;
    let (first, later) = device.boot_often(options.boots, out)?;
    device.renew()?;
    let syncs = device.boot(Turn::Counted)?;
    device.end()?;
    let shells = [First::Shell, First::ShellInZstd].map(|first| -> Result<f64> {
        let mut device = Boots::prepare(first, &tools)?;
        let (_, later) = device.boot_often(options.boots.div_ceil(2), out)?;
        device.end()?;
        Ok(quantile(&later, 50))
    });
    let [xz, zstd] = shells;
    let (xz, zstd) = (xz?, zstd?);
    let more = json!({
        "rounds": options.rounds, "boots": options.boots, "medians_us": medians(&samples, 50), "p90_us": medians(&samples, 90),
        "first_ms": first, "later_ms": later,
    });
    let mut figures = one(&samples);
    figures.extend(three(&first, &later, syncs));
    let beside = Peer { name: "packed with zstd", value: zstd };
    figures.push(Figure { name: SHELLS, unit: "ms", cairn: xz, peer: Some(beside), goal: None });
    Report::new("start", "From start to running, or to gone", figures, more).tell(&options.wishes)
}

/// As a device's program is: release, static.
fn build() -> Result<()> {
    let mut build = cargo::command(["build", "--quiet", "--release", "--target", TARGET, "--package", PACKAGE]);
    // Standard output may be JSON.
    cargo::must(build.env(FLAGS, flags()), Out::Stderr)
}

/// Of one container each, by everybody.
fn samples(rounds: u32) -> Result<Samples> {
    let program = cargo::target_directory()?.join(TARGET).join("release/bench");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", PURE, "sh"]).arg(program).args(["start", "--rounds", &rounds.to_string()]);
    let output = command.stderr(Stdio::inherit()).output().context("cannot run `unshare`")?;
    ensure!(output.status.success(), "the measurement of one container broke off: {}", output.status);
    serde_json::from_slice(&output.stdout).context("the measurement of one container says no samples")
}

fn medians(samples: &Samples, percent: usize) -> Map<String, Value> {
    samples.iter().map(|(who, taken)| (who.clone(), quantile(taken, percent).into())).collect()
}

/// The figures of one container.
fn one(samples: &Samples) -> Vec<Figure> {
    // Whoever was not measured misses the goal.
    let of = |who: &str| samples.get(who).map_or(f64::NAN, |taken| quantile(taken, 50) / 1000.0);
    let figure = |(ours, peer, most): (&'static str, &'static str, Option<f64>)| {
        let name = if ours == REQUEST { "a container that runs true" } else { "the same as a process of its own" };
        let goal = most.map(Most::Ratio);
        Figure { name, unit: "ms", cairn: of(ours), peer: Some(Peer { name: peer, value: of(peer) }), goal }
    };
    ONE.map(figure).into()
}

/// The figures of a device with three.
fn three(first: &[f64], later: &[f64], syncs: f64) -> Vec<Figure> {
    let (first, later) = (quantile(first, 50), quantile(later, 50));
    let beside = Peer { name: "later boots", value: later };
    let goal = Some(Most::Ratio(NO_SLOWER));
    let no_slower = Figure { name: FIRST.figure, unit: FIRST.unit, cairn: first, peer: Some(beside), goal };
    vec![FIRST.figure(first), no_slower, LATER.figure(later), SYNCS.figure(syncs)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(request: f64) -> Samples {
        let of = |who: &str| match who {
            REQUEST => request,
            "unshare" => 1000.0,
            _ => 9000.0,
        };
        ONE.iter().flat_map(|(ours, peer, _)| [*ours, *peer]).map(|who| (who.to_owned(), vec![of(who); 5])).collect()
    }

    fn passes(figures: Vec<Figure>) -> bool {
        Report::new("start", "Title", figures, json!({})).is_passed()
    }

    #[test]
    fn a_container_may_take_as_much_longer_than_the_floor_as_the_goal_says() {
        assert!(passes(one(&all(1400.0))));
        assert!(!passes(one(&all(1410.0))));
    }

    #[test]
    fn whoever_was_not_measured_misses_the_goal() {
        let mut samples = all(1000.0);
        samples.remove("crun");
        assert!(!passes(one(&samples)));
    }

    #[test]
    fn a_first_boot_that_is_good_and_slower_than_others_misses_the_goal() {
        assert!(passes(three(&[30.0], &[30.0], 5.0)));
        assert!(!passes(three(&[39.0], &[30.0], 5.0)));
        assert!(!passes(three(&[30.0], &[30.0], 6.0)));
        assert!(!passes(three(&[41.0], &[41.0], 5.0)));
        assert!(!passes(three(&[], &[], 0.0)));
    }
}
