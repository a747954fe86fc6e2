//! What was tried and what was found: one row per stage, one readable trace per violation.

use std::fmt;

/// Traces kept per stage: the first ones say it all.
const TRACES: usize = 3;

/// What a stage is expected to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    /// No violation.
    Clean,
    /// At least one: a fault was planted.
    Caught,
}

/// One row.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) expect: Expect,
    /// Operations at which power was cut first.
    pub(crate) points: u64,
    /// Runs, second cuts included.
    pub(crate) cuts: u64,
    pub(crate) violations: u64,
    pub(crate) traces: Vec<String>,
}

impl Stage {
    pub(crate) fn new(name: impl Into<String>, expect: Expect) -> Self {
        Self { name: name.into(), expect, points: 0, cuts: 0, violations: 0, traces: Vec::new() }
    }

    /// The same row with another expectation.
    pub(crate) fn expecting(self, expect: Expect) -> Self {
        Self { expect, ..self }
    }

    /// Notes what was found in one run.
    pub(crate) fn note(&mut self, found: Result<(), String>) {
        self.cuts += 1;
        if let Err(trace) = found {
            self.violations += 1;
            if self.traces.len() < TRACES {
                self.traces.push(trace);
            }
        }
    }

    /// Adds what another part of the same stage has found.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.points += other.points;
        self.cuts += other.cuts;
        self.violations += other.violations;
        let room = TRACES.saturating_sub(self.traces.len());
        self.traces.extend(other.traces.into_iter().take(room));
    }

    fn is_as_expected(&self) -> bool {
        // A stage that cut nothing has shown nothing.
        self.cuts > 0 && (self.violations > 0) == (self.expect == Expect::Caught)
    }

    fn verdict(&self) -> &'static str {
        match (self.expect, self.is_as_expected()) {
            (Expect::Clean, true) => "ok",
            (Expect::Clean, false) => "FAILED",
            (Expect::Caught, true) => "caught",
            (Expect::Caught, false) => "NOT CAUGHT",
        }
    }
}

/// All rows.
#[derive(Debug)]
pub(crate) struct Report {
    only: String,
    stages: Vec<Stage>,
}

impl Report {
    pub(crate) fn new(only: String) -> Self {
        Self { only, stages: Vec::new() }
    }

    /// Whether a stage, or a group of stages, was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        name.starts_with(&self.only) || self.only.starts_with(name)
    }

    pub(crate) fn add(&mut self, stage: Stage) {
        if self.wants(&stage.name) {
            self.stages.push(stage);
        }
    }

    /// Whether everything is as expected, and something was tried at all.
    pub(crate) fn is_clean(&self) -> bool {
        !self.stages.is_empty() && self.stages.iter().all(Stage::is_as_expected)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let stages = self.stages.iter().map(|stage| {
            serde_json::json!({
                "stage": stage.name,
                "points": stage.points,
                "cuts": stage.cuts,
                "violations": stage.violations,
                "verdict": stage.verdict(),
                "traces": stage.traces,
            })
        });
        let stages: Vec<_> = stages.collect();
        serde_json::json!({ "clean": self.is_clean(), "stages": stages })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.stages.iter().map(|stage| stage.name.len()).max().unwrap_or(0).max("stage".len());
        writeln!(f, "{:width$} {:>8} {:>10} {:>11}  verdict", "stage", "points", "cuts", "violations")?;
        for stage in &self.stages {
            let Stage { name, points, cuts, violations, .. } = stage;
            writeln!(f, "{name:width$} {points:>8} {cuts:>10} {violations:>11}  {}", stage.verdict())?;
        }
        let total = |part: fn(&Stage) -> u64| self.stages.iter().map(part).sum::<u64>();
        writeln!(f, "{:width$} {:>8} {:>10}", "total", total(|stage| stage.points), total(|stage| stage.cuts))?;
        for stage in self.stages.iter().filter(|stage| stage.expect == Expect::Clean) {
            for trace in &stage.traces {
                writeln!(f, "\n{}:\n{trace}", stage.name)?;
            }
        }
        if self.stages.is_empty() {
            writeln!(f, "no stage has this name")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(expect: Expect, found: &[Result<(), String>]) -> Report {
        let mut report = Report::new(String::new());
        let mut stage = Stage::new("stage", expect);
        found.iter().cloned().for_each(|found| stage.note(found));
        report.add(stage);
        report
    }

    #[test]
    fn a_violation_fails_a_stage_and_is_what_a_control_needs() {
        let violation = [Ok(()), Err("trace".to_owned())];
        assert!(!report(Expect::Clean, &violation).is_clean());
        assert!(report(Expect::Caught, &violation).is_clean());
        assert!(report(Expect::Clean, &[Ok(())]).is_clean());
        assert!(!report(Expect::Caught, &[Ok(())]).is_clean());
    }

    #[test]
    fn a_stage_without_a_cut_shows_nothing() {
        assert!(!report(Expect::Clean, &[]).is_clean());
        assert!(!Report::new(String::new()).is_clean());
    }
}
