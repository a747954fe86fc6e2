//! What came of each row, and whether all of it is as it must be.

use std::fmt;

use serde::Serialize;

/// The fewest rows that have to be shown on a machine for the whole table to count.
pub(crate) const LEAST: usize = 60;

/// What one row has shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It succeeds without its guards and fails with any of them.
    Shown,
    /// This machine cannot show it, with the reason.
    NotShown(String),
    /// It does not discriminate, with the reason.
    Fails(String),
    /// It succeeds with its guards.
    Escapes(String),
}

/// One row.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) attempt: &'static str,
    pub(crate) guards: Vec<String>,
    /// What it says with all guards.
    pub(crate) with: String,
    /// What it says without them.
    pub(crate) without: String,
    /// Of several guards, what it says with one alone, in their order.
    pub(crate) alone: Vec<String>,
    pub(crate) verdict: Verdict,
}

/// All rows.
#[derive(Serialize)]
pub(crate) struct Report {
    command: &'static str,
    pub(crate) passed: bool,
    shown: usize,
    not_shown: usize,
    failed: usize,
    kernel: String,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn of(rows: Vec<Row>, whole: bool) -> Self {
        let count = |is: fn(&Verdict) -> bool| rows.iter().filter(|row| is(&row.verdict)).count();
        let shown = count(|one| *one == Verdict::Shown);
        let not_shown = count(|one| matches!(one, Verdict::NotShown(_)));
        let failed = rows.len() - shown - not_shown;
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        let passed = failed == 0 && shown > 0 && (!whole || shown >= LEAST);
        Self { command: "test escape", passed, shown, not_shown, failed, kernel, rows }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Row { attempt, guards, with, without, alone, verdict } in &self.rows {
            let word = match verdict {
                Verdict::Shown => "shown",
                Verdict::NotShown(_) => "not shown here",
                Verdict::Fails(_) => "FAILED",
                Verdict::Escapes(_) => "ESCAPED",
            };
            writeln!(f, "{attempt:<30} {word:<15} without: {without}; with: {with}")?;
            if guards.len() == 1 || alone.is_empty() {
                writeln!(f, "{:<30} by {}", "", guards.join(", "))?;
            } else {
                for (guard, alone) in guards.iter().zip(alone) {
                    writeln!(f, "{:<30} by {guard} alone: {alone}", "")?;
                }
            }
            if let Verdict::NotShown(why) | Verdict::Fails(why) | Verdict::Escapes(why) = verdict {
                writeln!(f, "{:<30} {why}", "")?;
            }
        }
        writeln!(
            f,
            "\nLinux {}: {} shown, {} not shown here, {} failed (at least {LEAST} of the whole table have to be shown)",
            self.kernel, self.shown, self.not_shown, self.failed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize, verdict: Verdict) -> Vec<Row> {
        let row = || Row {
            attempt: "x",
            guards: vec![],
            with: String::new(),
            without: String::new(),
            alone: vec![],
            verdict: verdict.clone(),
        };
        (0..count).map(|_| row()).collect()
    }

    #[test]
    fn too_few_that_are_shown_are_a_failure_unless_only_some_were_asked_for() {
        assert!(Report::of(rows(LEAST, Verdict::Shown), true).passed);
        assert!(!Report::of(rows(LEAST - 1, Verdict::Shown), true).passed);
        assert!(Report::of(rows(1, Verdict::Shown), false).passed);
        assert!(!Report::of(rows(1, Verdict::NotShown("x".into())), false).passed);
    }

    #[test]
    fn one_that_does_not_discriminate_or_gets_out_fails_all() {
        for verdict in [Verdict::Fails("x".into()), Verdict::Escapes("x".into())] {
            let mut all = rows(LEAST, Verdict::Shown);
            all.extend(rows(1, verdict));
            assert!(!Report::of(all, true).passed);
        }
    }
}
