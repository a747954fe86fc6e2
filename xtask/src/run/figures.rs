//! What every measurement of a whole device ends with: figures beside their goals, as a table or as JSON, as a picture if
//! somebody wants one, and as an exit code.
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

/// How the program was built that [`Tools`](super::tools::Tools) have.
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

/// What is measured, and the most that is good.
pub(super) struct Goal {
    pub(super) figure: &'static str,
    pub(super) unit: &'static str,
    /// What the reference system was measured to take, on another day. `None`: nothing that compares.
    pub(super) recorded: Option<f64>,
    pub(super) most: f64,
}

/// One figure beside its goal.
pub(super) struct Figure {
    pub(super) goal: &'static Goal,
    pub(super) cairn: f64,
}

impl Figure {
    fn is_met(&self) -> bool {
        self.cairn <= self.goal.most
    }

    fn ratio(&self) -> Option<f64> {
        self.goal.recorded.map(|recorded| self.cairn / recorded)
    }
}

/// All figures of one command.
pub(super) struct Report {
    /// `memory` or `update`.
    what: &'static str,
    title: &'static str,
    figures: Vec<Figure>,
    /// What else a program that reads the answer may want: an object.
    more: Value,
}

impl Report {
    /// What was measured, in the order of the goals.
    pub(super) fn of<const N: usize>(
        what: &'static str,
        title: &'static str,
        goals: &'static [Goal; N],
        ours: [f64; N],
        more: Value,
    ) -> Self {
        let figures = goals.iter().zip(ours).map(|(goal, cairn)| Figure { goal, cairn }).collect();
        Self { what, title, figures, more }
    }

    /// Whether every goal is met.
    pub(super) fn is_passed(&self) -> bool {
        self.figures.iter().all(Figure::is_met)
    }

    /// Tells it as it was wished.
    pub(super) fn tell(&self, wishes: &Wishes) -> Result<ExitCode> {
        if let Some(dir) = &wishes.svg {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
            let path = dir.join(format!("{}.svg", self.what));
            let below = format!("{}, {PROGRAM}, {}", picture::machine(), picture::day()?);
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
            let Goal { figure: name, unit, recorded, most } = figure.goal;
            json!({
                "figure": name, "unit": unit, "cairn": figure.cairn, "peer": recorded, "peer_is": "recorded",
                "ratio": figure.ratio(), "goal": most, "met": figure.is_met(),
            })
        };
        let mut answer = json!({
            "command": format!("bench {}", self.what), "passed": self.is_passed(), "program": PROGRAM,
            "machine": picture::machine(), "figures": self.figures.iter().map(figure).collect::<Vec<_>>(),
        });
        if let (Some(answer), Some(more)) = (answer.as_object_mut(), self.more.as_object()) {
            answer.extend(more.clone());
        }
        answer
    }

    fn table(&self, out: Out) {
        out.line(format!("\n{}, {PROGRAM}", picture::machine()));
        let head = format!("{:<36} {:>10} {:>10} {:>7} {:>9}  met", self.title, "cairn", "recorded", "ratio", "goal");
        out.line(bold(out, &head));
        for figure in &self.figures {
            let Goal { figure: name, unit, recorded, most } = figure.goal;
            let text = |number: Option<f64>, digits| number.map_or_else(String::new, |n| format!("{n:.digits$}"));
            let met = if figure.is_met() { green(out, "yes") } else { red(out, "NO") };
            out.line(format!(
                "{:<36} {:>10.1} {:>10} {:>7} {:>9}  {met}",
                format!("{name} {unit}"),
                figure.cairn,
                text(*recorded, 0),
                text(figure.ratio(), 3),
                format!("≤ {most:.0}"),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOALS: [Goal; 2] = [
        Goal { figure: "a", unit: "kB", recorded: Some(200.0), most: 100.0 },
        Goal { figure: "b", unit: "ms", recorded: None, most: 10.0 },
    ];

    fn report(ours: [f64; 2]) -> Report {
        Report::of("memory", "Title", const { &GOALS }, ours, json!({ "containers": 3 }))
    }

    #[test]
    fn a_goal_that_is_missed_by_one_figure_is_missed_by_all() {
        assert!(report([100.0, 10.0]).is_passed());
        assert!(!report([100.0, 10.5]).is_passed());
    }

    #[test]
    fn no_answer_is_no_goal_that_is_met() {
        assert!(!report([f64::NAN, 1.0]).is_passed());
    }

    #[test]
    fn the_answer_for_programs_has_each_figure_and_what_else_is_known() {
        let answer = report([50.0, 1.0]).json();
        assert_eq!((&answer["figures"][0]["ratio"], &answer["figures"][1]["ratio"]), (&json!(0.25), &Value::Null));
        assert_eq!((&answer["containers"], &answer["command"]), (&json!(3), &json!("bench memory")));
    }
}
