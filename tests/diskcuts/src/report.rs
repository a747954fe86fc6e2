//! What was cut, what came of it, and what broke a law.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use crate::choose::Cut;

/// Failures that are shown of each kind; the first ones say it all.
const SHOWN: usize = 5;

/// How a cut was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// As a bootloader does, then as Linux does.
    Content,
    /// Switched on.
    Boot,
    /// The content of a disk that does not keep its word: must break a law.
    Control,
}

/// One row.
#[derive(Clone, Default, Debug)]
struct Row {
    /// Entries at which it can be cut.
    points: usize,
    checked: usize,
    booted: usize,
    /// On what booted ones rest.
    rested: BTreeMap<String, usize>,
    failures: usize,
    caught: usize,
    controls: usize,
}

/// All of it.
pub(crate) struct Report {
    board: String,
    seed: u64,
    requests: usize,
    bytes: u64,
    /// The disk that does not keep its word, in words.
    liar: &'static str,
    rows: Vec<(String, Row)>,
    failures: Vec<String>,
    shown: usize,
}

impl Report {
    /// Of a board, whose log has these stages with so many entries and in all so many bytes.
    pub(crate) fn new(
        board: &str,
        seed: u64,
        stages: impl Iterator<Item = (String, usize)>,
        bytes: u64,
        liar: &'static str,
    ) -> Self {
        let rows: Vec<_> = stages.map(|(name, points)| (name, Row { points, ..Row::default() })).collect();
        let requests = rows.iter().map(|(_, row)| row.points).sum();
        Self { board: board.to_owned(), seed, requests, bytes, liar, rows, failures: Vec::new(), shown: SHOWN }
    }

    /// Notes what came of a cut: where a booted one rests, or what broke a law.
    pub(crate) fn note(&mut self, look: Look, cut: &Cut, found: Result<Option<String>, String>) {
        let Some((stage, row)) = self.rows.get_mut(cut.stage) else { return };
        match look {
            Look::Content => row.checked += 1,
            Look::Boot => row.booted += 1,
            Look::Control => row.controls += 1,
        }
        match (look, found) {
            (Look::Control, Err(_)) => row.caught += 1,
            (_, Ok(Some(rested))) => *row.rested.entry(rested).or_default() += 1,
            (_, Ok(None)) => {}
            (_, Err(why)) => {
                row.failures += 1;
                let how = if look == Look::Boot { "booted" } else { "read" };
                self.failures.push(format!(
                    "{stage}, after {} requests, {} (seed {:#x}), {how}:\n      {why}",
                    cut.after,
                    cut.loss.word(),
                    cut.seed
                ));
            }
        }
    }

    /// Something that is wrong with the story as a whole.
    pub(crate) fn wrong(&mut self, why: String) {
        self.failures.push(why);
    }

    fn sum(&self, of: impl Fn(&Row) -> usize) -> usize {
        self.rows.iter().map(|(_, row)| of(row)).sum()
    }

    /// Whether nothing broke a law, something was looked at, and the disk that lies was caught.
    pub(crate) fn is_clean(&self) -> bool {
        let control = self.sum(|row| row.controls) == 0 || self.sum(|row| row.caught) > 0;
        self.failures.is_empty() && self.sum(|row| row.checked) > 0 && control
    }

    pub(crate) fn json(&self) -> Value {
        let stages = self.rows.iter().map(|(name, row)| {
            json!({
                "stage": name, "points": row.points, "checked": row.checked, "booted": row.booted,
                "rested": row.rested, "failures": row.failures, "controls": row.controls, "caught": row.caught,
            })
        });
        json!({
            "command": "powercut", "board": self.board, "passed": self.is_clean(), "seed": self.seed,
            "requests": self.requests, "bytes": self.bytes, "checked": self.sum(|row| row.checked),
            "booted": self.sum(|row| row.booted), "controls": self.sum(|row| row.controls),
            "control": self.liar, "caught": self.sum(|row| row.caught), "stages": stages.collect::<Vec<_>>(), "failures": self.failures,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { board, seed, requests, bytes, .. } = self;
        writeln!(f, "{board}: {requests} requests to the disk, {} MiB written; seed {seed}\n", bytes >> 20)?;
        let width = self.rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max("stage".len());
        writeln!(
            f,
            "{:width$} {:>7} {:>6} {:>7} {:>9}  booted ones rest on",
            "stage", "points", "read", "booted", "failures"
        )?;
        for (name, row) in &self.rows {
            let rested: Vec<_> = row.rested.iter().map(|(on, count)| format!("{on} {count}×")).collect();
            let Row { points, checked, booted, failures, .. } = row;
            let line =
                format!("{name:width$} {points:>7} {checked:>6} {booted:>7} {failures:>9}  {}", rested.join(", "));
            writeln!(f, "{}", line.trim_end())?;
        }
        let (checked, booted) = (self.sum(|row| row.checked), self.sum(|row| row.booted));
        writeln!(f, "{:width$} {requests:>7} {checked:>6} {booted:>7} {:>9}", "total", self.failures.len())?;
        let (controls, caught) = (self.sum(|row| row.controls), self.sum(|row| row.caught));
        if controls > 0 {
            let verdict = if caught > 0 { "caught" } else { "NOT CAUGHT" };
            writeln!(f, "\n{}: {caught} of {controls} cuts break a law: {verdict}", self.liar)?;
        }
        for failure in self.failures.iter().take(self.shown) {
            writeln!(f, "\n{failure}")?;
        }
        let more = self.failures.len().saturating_sub(self.shown);
        if more > 0 {
            writeln!(f, "\nand {more} more; --json has them all")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Loss;

    fn report(found: &[(Look, Result<Option<String>, String>)]) -> Report {
        let mut report = Report::new("b", 1, [("stage".to_owned(), 9)].into_iter(), 4 << 20, "a liar");
        let cut = Cut { after: 3, loss: Loss::Torn, seed: 1, stage: 0 };
        found.iter().for_each(|(look, found)| report.note(*look, &cut, found.clone()));
        report
    }

    #[test]
    fn a_law_that_breaks_fails_the_run_and_is_what_the_control_is_for() {
        let broken = || Err("why".to_owned());
        assert!(report(&[(Look::Content, Ok(None)), (Look::Control, broken()), (Look::Control, Ok(None))]).is_clean());
        assert!(!report(&[(Look::Content, broken()), (Look::Control, broken())]).is_clean());
        assert!(!report(&[(Look::Content, Ok(None)), (Look::Boot, broken())]).is_clean());
        assert!(!report(&[(Look::Content, Ok(None)), (Look::Control, Ok(None))]).is_clean(), "nothing is caught");
        assert!(!report(&[]).is_clean(), "nothing was looked at");
    }

    #[test]
    fn a_failure_says_where_and_how_to_see_it_again() {
        let shown = report(&[(Look::Content, Err("the cell is torn".to_owned()))]).to_string();
        assert!(
            shown.contains("stage, after 3 requests, torn (seed 0x1)") && shown.contains("the cell is torn"),
            "{shown}"
        );
    }
}
