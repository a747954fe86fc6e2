//! From samples to figures: medians, ratios to the peers, and whether the goals are met.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::candidates::Candidate;

/// What is compared with what, and the ratio that must not be exceeded.
const GOALS: &[(Candidate, Candidate, Option<f64>)] = &[
    (Candidate::Request, Candidate::Floor, Some(1.4)),
    (Candidate::Request, Candidate::Crun, Some(1.0)),
    (Candidate::Request, Candidate::Lxc, Some(1.0)),
    (Candidate::Request, Candidate::Runc, None),
    (Candidate::CairnProcess, Candidate::FloorProcess, None),
    (Candidate::CairnProcess, Candidate::Crun, None),
    (Candidate::CairnProcess, Candidate::Runc, None),
    (Candidate::CairnProcess, Candidate::Lxc, None),
];

/// All that was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    command: &'static str,
    /// Whether every goal is met.
    pub(crate) passed: bool,
    /// How many samples of each.
    rounds: usize,
    /// The kernel and the processor.
    machine: String,
    /// Each candidate.
    pub(crate) medians: Vec<Median>,
    /// Each comparison.
    pub(crate) figures: Vec<Figure>,
}

/// What one candidate takes.
#[derive(Serialize)]
pub(crate) struct Median {
    pub(crate) name: &'static str,
    /// The median.
    pub(crate) microseconds: f64,
    /// Nine of ten took less.
    p90_microseconds: f64,
}

/// One candidate beside another.
#[derive(Serialize)]
pub(crate) struct Figure {
    figure: String,
    peer: &'static str,
    ratio: f64,
    goal: Option<f64>,
    /// `None` where there is no goal.
    met: Option<bool>,
}

impl Report {
    /// The figures of samples.
    pub(crate) fn of(samples: &[(Candidate, Vec<Duration>)]) -> Self {
        let of = |candidate: Candidate| {
            let taken = samples.iter().find(|(one, _)| *one == candidate);
            taken.map_or(f64::NAN, |(_, taken)| quantile(taken, 0.5))
        };
        let medians = samples
            .iter()
            .map(|(candidate, taken)| Median {
                name: candidate.name(),
                microseconds: quantile(taken, 0.5),
                p90_microseconds: quantile(taken, 0.9),
            })
            .collect();
        let figures: Vec<_> = GOALS
            .iter()
            .map(|(ours, peer, goal)| {
                let ratio = of(*ours) / of(*peer);
                let figure = format!("start, {}", ours.name());
                Figure { figure, peer: peer.name(), ratio, goal: *goal, met: goal.map(|goal| ratio <= goal) }
            })
            .collect();
        Self {
            command: "bench start",
            passed: figures.iter().all(|figure| figure.met != Some(false)),
            rounds: samples.first().map_or(0, |(_, taken)| taken.len()),
            machine: machine(),
            medians,
            figures,
        }
    }

    /// On what it was measured.
    pub(crate) fn machine(&self) -> &str {
        &self.machine
    }
}

/// The sample below which this part of all lies, in microseconds.
fn quantile(taken: &[Duration], part: f64) -> f64 {
    let mut sorted: Vec<f64> = taken.iter().map(|one| one.as_secs_f64() * 1e6).collect();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let at = (sorted.len().saturating_sub(1) as f64 * part).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model =
        cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let processors = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{processors} x {}, Linux {}", model.unwrap_or("an unnamed processor").trim(), kernel.trim())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {} samples of each, interleaved\n", self.machine, self.rounds)?;
        writeln!(f, "{:<18} {:>12} {:>12}", "who", "median µs", "p90 µs")?;
        for Median { name, microseconds, p90_microseconds } in &self.medians {
            writeln!(f, "{name:<18} {microseconds:>12.0} {p90_microseconds:>12.0}")?;
        }
        writeln!(f, "\n{:<24} {:<18} {:>8} {:>8}  met", "figure", "peer", "ratio", "goal")?;
        for Figure { figure, peer, ratio, goal, met } in &self.figures {
            let goal = goal.map_or_else(String::new, |goal| format!("≤ {goal:.1}"));
            let met = met.map_or("", |met| if met { "yes" } else { "NO" });
            writeln!(f, "{figure:<24} {peer:<18} {ratio:>8.2} {goal:>8}  {met}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(request: u64) -> Vec<(Candidate, Vec<Duration>)> {
        let micros = |candidate| match candidate {
            Candidate::Request => request,
            Candidate::Floor => 100,
            _ => 1000,
        };
        Candidate::ALL.into_iter().map(|one| (one, vec![Duration::from_micros(micros(one)); 5])).collect()
    }

    #[test]
    fn a_goal_is_met_or_missed_by_the_ratio_of_medians() {
        let report = Report::of(&all(140));
        assert!(report.passed && report.figures.iter().all(|figure| figure.met != Some(false)));
        let report = Report::of(&all(141));
        assert_eq!((report.passed, report.figures[0].met, report.figures[1].met), (false, Some(false), Some(true)));
    }

    #[test]
    fn a_figure_that_was_not_measured_misses_its_goal() {
        assert!(!Report::of(&all(100)[1..]).passed);
    }

    #[test]
    fn a_quantile_is_a_sample() {
        let taken: Vec<_> = [5, 1, 4, 2, 3].map(Duration::from_micros).into();
        assert_eq!([0.0, 0.5, 0.9, 1.0].map(|part| quantile(&taken, part).round()), [1.0, 3.0, 5.0, 5.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
