//! What every measurement ends with: figures beside those of somebody else and beside their goals, as a table or as JSON, as
//! a picture if somebody wants one, and as an exit code. How each is defined: `docs/benchmarks`.
//!
//! Promises: a figure that was not measured misses its goal. The answer says on what machine it was measured, and how the
//! program was built: what a `small` one takes is another figure.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use super::picture;
use crate::term::{Out, bold, green, red};

/// How the programs are built that [`Tools`](super::tools::Tools) have.
const PROGRAM: &str = "release profile, static, glibc (`stock`)";

/// What there is to wish.
#[derive(Args)]
pub(super) struct Wishes {
    /// Fail if a goal is missed
    #[arg(long)]
    check: bool,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Draw a picture, too, into this directory
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
}

impl Wishes {
    /// Where lines for people go.
    pub(super) fn out(&self) -> Out {
        if self.json { Out::Stderr } else { Out::Stdout }
    }
}

/// Somebody else's figure.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) value: f64,
}

/// Who is called so was measured on another day, as its own users run it. Everybody else was measured in the same run.
pub(super) const RECORDED: &str = "recorded";

/// The most that is good.
#[derive(Clone, Copy)]
pub(super) enum Most {
    /// So much.
    Value(f64),
    /// So many times what the peer takes.
    Ratio(f64),
}

/// One figure of ours.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) cairn: f64,
    pub(super) peer: Option<Peer>,
    /// `None`: it is shown and not judged.
    pub(super) goal: Option<Most>,
}

impl Figure {
    /// `None`: there is nothing to meet.
    fn is_met(&self) -> Option<bool> {
        Some(match self.goal? {
            Most::Value(most) => self.cairn <= most,
            Most::Ratio(most) => self.ratio().is_some_and(|ratio| ratio <= most),
        })
    }

    fn ratio(&self) -> Option<f64> {
        self.peer.map(|peer| self.cairn / peer.value)
    }

    /// The most that is good, in the unit of the figure.
    pub(super) fn most(&self) -> Option<f64> {
        match self.goal? {
            Most::Value(most) => Some(most),
            Most::Ratio(most) => self.peer.map(|peer| peer.value * most),
        }
    }
}

/// A figure of ours before it is measured, with what the reference system was measured to take.
pub(super) struct Goal {
    pub(super) figure: &'static str,
    pub(super) unit: &'static str,
    /// `None`: nothing that compares.
    pub(super) recorded: Option<f64>,
    pub(super) most: f64,
}

impl Goal {
    /// With what it was measured to be.
    pub(super) fn figure(&self, cairn: f64) -> Figure {
        let peer = self.recorded.map(|value| Peer { name: RECORDED, value });
        Figure { name: self.figure, unit: self.unit, cairn, peer, goal: Some(Most::Value(self.most)) }
    }
}

/// All figures of one command.
pub(super) struct Report {
    /// `start`, `memory`, `update` or `pvr`.
    what: &'static str,
    title: &'static str,
    figures: Vec<Figure>,
    /// What else a program that reads the answer may want: an object.
    more: Value,
    /// How the program was built.
    program: &'static str,
}

impl Report {
    /// What was measured. Figures of one name stand together.
    pub(super) fn new(what: &'static str, title: &'static str, figures: Vec<Figure>, more: Value) -> Self {
        Self { what, title, figures, more, program: PROGRAM }
    }

    /// Of a program that was built otherwise.
    pub(super) fn built(self, program: &'static str) -> Self {
        Self { program, ..self }
    }

    /// What was measured of a whole device, in the order of the goals.
    pub(super) fn of<const N: usize>(
        what: &'static str,
        title: &'static str,
        goals: &[Goal; N],
        ours: [f64; N],
        more: Value,
    ) -> Self {
        Self::new(what, title, goals.iter().zip(ours).map(|(goal, cairn)| goal.figure(cairn)).collect(), more)
    }

    /// Whether every goal is met.
    pub(super) fn is_passed(&self) -> bool {
        self.figures.iter().all(|figure| figure.is_met() != Some(false))
    }

    /// Tells it as it was wished.
    pub(super) fn tell(&self, wishes: &Wishes) -> Result<ExitCode> {
        if let Some(dir) = &wishes.svg {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
            let path = dir.join(format!("{}.svg", self.what));
            let below = format!("{}, {}, {}", picture::machine(), self.program, picture::day()?);
            fs::write(&path, picture::draw(self.title, &self.figures, &below))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        if wishes.json {
            println!("{:#}", self.json());
        } else {
            self.table(wishes.out());
        }
        Ok(if wishes.check && !self.is_passed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn json(&self) -> Value {
        let figure = |figure: &Figure| {
            let (goal, is) = match figure.goal {
                Some(Most::Value(most)) => (Some(most), Some("value")),
                Some(Most::Ratio(most)) => (Some(most), Some("ratio")),
                None => (None, None),
            };
            json!({
                "figure": figure.name, "unit": figure.unit, "cairn": figure.cairn,
                "peer": figure.peer.map(|peer| peer.name), "peer_value": figure.peer.map(|peer| peer.value),
                "ratio": figure.ratio(), "goal": goal, "goal_is": is, "met": figure.is_met(),
            })
        };
        let mut answer = json!({
            "command": format!("bench {}", self.what), "passed": self.is_passed(), "program": self.program,
            "machine": picture::machine(), "figures": self.figures.iter().map(figure).collect::<Vec<_>>(),
        });
        if let (Some(answer), Some(more)) = (answer.as_object_mut(), self.more.as_object()) {
            answer.extend(more.clone());
        }
        answer
    }

    fn table(&self, out: Out) {
        out.line(format!("\n{}, {}", picture::machine(), self.program));
        out.line(bold(out, &row([self.title, "cairn", "peer", "", "ratio", "goal"], "met")));
        for figure in &self.figures {
            let met = match figure.is_met() {
                Some(true) => green(out, "yes"),
                Some(false) => red(out, "NO"),
                None => String::new(),
            };
            let goal = match figure.goal {
                Some(Most::Value(most)) => format!("≤ {most:.0}"),
                Some(Most::Ratio(most)) => format!("≤ {most:.1} ×"),
                None => String::new(),
            };
            let peer = figure.peer.map(|peer| format!("{:.1}", peer.value)).unwrap_or_default();
            let ratio = figure.ratio().map(|ratio| format!("{ratio:.3}")).unwrap_or_default();
            let name = format!("{} {}", figure.name, figure.unit);
            let who = figure.peer.map_or("", |peer| peer.name);
            out.line(row([&name, &format!("{:.1}", figure.cairn), who, &peer, &ratio, &goal], &met));
        }
    }
}

/// A line of the table.
fn row([name, cairn, peer, value, ratio, goal]: [&str; 6], met: &str) -> String {
    format!("{name:<40} {cairn:>9} {peer:>21} {value:>9} {ratio:>7} {goal:>8}  {met}")
}

/// Of a hundred values in order, that one. Of no values, none.
pub(super) fn quantile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len().saturating_sub(1) * percent).div_ceil(100);
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOALS: [Goal; 2] = [
        Goal { figure: "a", unit: "kB", recorded: Some(200.0), most: 100.0 },
        Goal { figure: "b", unit: "ms", recorded: None, most: 10.0 },
    ];

    fn report(ours: [f64; 2]) -> Report {
        Report::of("memory", "Title", &GOALS, ours, json!({ "containers": 3 }))
    }

    fn beside(cairn: f64, peer: Option<f64>, goal: Option<Most>) -> Figure {
        Figure { name: "a", unit: "ms", cairn, peer: peer.map(|value| Peer { name: "crun", value }), goal }
    }

    #[test]
    fn a_goal_that_is_missed_by_one_figure_is_missed_by_all() {
        assert!(report([100.0, 10.0]).is_passed());
        assert!(!report([100.0, 10.5]).is_passed());
    }

    #[test]
    fn no_answer_is_no_goal_that_is_met() {
        assert!(!report([f64::NAN, 1.0]).is_passed());
        for (cairn, peer) in [(f64::NAN, Some(1.0)), (1.0, Some(f64::NAN)), (1.0, None)] {
            assert_eq!(beside(cairn, peer, Some(Most::Ratio(2.0))).is_met(), Some(false));
        }
    }

    #[test]
    fn a_goal_beside_somebody_is_met_or_missed_by_the_ratio() {
        let met = |cairn| beside(cairn, Some(100.0), Some(Most::Ratio(1.4))).is_met();
        assert_eq!([140.0, 141.0].map(met), [Some(true), Some(false)]);
        assert_eq!(beside(500.0, Some(1.0), None).is_met(), None);
    }

    #[test]
    fn the_answer_for_programs_has_each_figure_and_what_else_is_known() {
        let answer = report([50.0, 1.0]).json();
        assert_eq!((&answer["figures"][0]["ratio"], &answer["figures"][1]["ratio"]), (&json!(0.25), &Value::Null));
        assert_eq!((&answer["figures"][0]["peer"], &answer["figures"][0]["met"]), (&json!("recorded"), &json!(true)));
        assert_eq!((&answer["containers"], &answer["command"]), (&json!(3), &json!("bench memory")));
    }

    #[test]
    fn the_ninety_ninth_of_a_hundred_is_nearly_the_worst() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert!((quantile(&values, 99) - 99.0).abs() < 0.1 && (quantile(&values, 50) - 50.0).abs() < 0.1);
        assert!(quantile(&[], 50).is_nan());
    }
}
