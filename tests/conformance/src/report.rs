//! Differences between what was expected and what was seen, and the table of them.

use serde_json::{Value, json};

use crate::cases::{Boot, Case};
use crate::jobs::{self, Findings};

/// A board, and what its sessions have found so far.
pub(crate) struct Board {
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<Row>,
    pub(crate) controls: Vec<Control>,
}

/// One session.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) cases: usize,
    pub(crate) boots: usize,
    pub(crate) differences: Vec<String>,
}

/// A planted script: no difference is a failure.
pub(crate) struct Control {
    pub(crate) name: &'static str,
    pub(crate) differences: usize,
}

/// What was seen of a case.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) boots: Vec<Boot>,
    /// What else was wrong: a command line, a note that reads otherwise than its bytes.
    pub(crate) faults: Vec<String>,
}

impl Row {
    pub(crate) fn of(name: &'static str, cases: &[Case], seen: &[Seen]) -> Self {
        let mut differences: Vec<_> = cases
            .iter()
            .zip(seen)
            .filter_map(|(case, seen)| Some(format!("{}: {}", case.name, difference(case, seen)?)))
            .collect();
        if cases.len() != seen.len() {
            differences.push(format!("{} of {} cases were run", seen.len(), cases.len()));
        }
        Self { name, cases: cases.len(), boots: jobs::boots(cases), differences }
    }
}

/// Where a case went another way, if it did.
fn difference(case: &Case, seen: &Seen) -> Option<String> {
    if let Some(fault) = seen.faults.first() {
        return Some(fault.clone());
    }
    if case.expected.contains(&seen.boots) {
        return None;
    }
    let expected = case.expected.first()?;
    let at = expected.iter().zip(&seen.boots).position(|(expected, seen)| expected != seen);
    let at = at.unwrap_or(expected.len().min(seen.boots.len()));
    Some(format!("boot {at} should be {}, and is {}", words(expected.get(at)), words(seen.boots.get(at))))
}

fn words(boot: Option<&Boot>) -> String {
    let Some(boot) = boot else { return "missing".into() };
    let start = |start: &crate::cases::Start| {
        let revision = start.revision.as_ref().map_or(String::new(), |revision| format!(" {revision}"));
        format!("{}{revision} ({:?})", start.role, start.files)
    };
    let starts: Vec<_> = boot.starts.iter().map(start).collect();
    let note = boot.note.map_or("no note".to_owned(), |note| format!("note {}:{}", note.nonce, note.boots));
    format!("[{}], {note}", starts.join(", then "))
}

/// The head of the table.
pub(crate) fn head() {
    println!("{:<20} {:<42} {:>6} {:>6} {:>7} {:>11}", "board", "session", "cases", "boots", "seconds", "differences");
}

/// A row for each finding of a session, with the first differences.
pub(crate) fn print(board: &str, Findings { rows, controls, time }: &Findings) {
    let seconds = time.as_secs();
    for Row { name, cases, boots, differences } in rows {
        println!("{board:<20} {name:<42} {cases:>6} {boots:>6} {seconds:>7} {:>11}", differences.len());
        differences.iter().take(10).for_each(|difference| println!("    {difference}"));
    }
    for Control { name, differences } in controls {
        let verdict = if *differences > 0 { "caught" } else { "NOT CAUGHT" };
        println!("{board:<20} {:<56} {seconds:>7} {differences:>11} {verdict}", format!("planted: {name}"));
    }
}

impl Board {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, rows: Vec::new(), controls: Vec::new() }
    }

    pub(crate) fn add(&mut self, findings: Findings) {
        self.rows.extend(findings.rows);
        self.controls.extend(findings.controls);
    }

    /// Whether nothing was wrong. A whole run has both kinds of findings, a part of one may have one kind.
    pub(crate) fn passed(&self, whole: bool) -> bool {
        let right = self.rows.iter().all(|row| row.cases > 0 && row.differences.is_empty());
        let caught = self.controls.iter().all(|control| control.differences > 0);
        let enough = !whole || !(self.rows.is_empty() || self.controls.is_empty());
        right && caught && enough
    }

    pub(crate) fn json(&self) -> Value {
        let row = |row: &Row| json!({ "name": row.name, "cases": row.cases, "boots": row.boots, "differences": row.differences });
        let control = |control: &Control| json!({ "name": control.name, "differences": control.differences });
        json!({
            "board": self.name,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "controls": self.controls.iter().map(control).collect::<Vec<_>>(),
        })
    }
}
