//! What came of each case, and whether all of it is as it must be.

use std::fmt;

use serde::Serialize;

/// The fewest cases that have to pass on a machine for the whole list to count.
pub(crate) const LEAST: usize = 100;

/// What came of one case.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// It is as the specification says, and the same without what the bundle asks for is not.
    Passed,
    /// It cannot be, with the reason. The bundle was refused with it, or the difference was seen.
    Skipped(String),
    /// It is not.
    Failed(String),
}

/// One case.
#[derive(Serialize)]
pub(crate) struct Row {
    /// Its name: that of the public list, and after a slash what of it.
    pub(crate) name: &'static str,
    /// Where the specification says so.
    pub(crate) section: &'static str,
    pub(crate) verdict: Verdict,
}

/// All cases.
#[derive(Serialize)]
pub(crate) struct Report {
    command: &'static str,
    pub(crate) passed: bool,
    counted: Counted,
    kernel: String,
    cases: Vec<Row>,
}

#[derive(Serialize)]
struct Counted {
    passed: usize,
    skipped: usize,
    failed: usize,
}

impl Report {
    pub(crate) fn of(cases: Vec<Row>, whole: bool) -> Self {
        let count = |is: fn(&Verdict) -> bool| cases.iter().filter(|row| is(&row.verdict)).count();
        let passed = count(|one| *one == Verdict::Passed);
        let skipped = count(|one| matches!(one, Verdict::Skipped(_)));
        let counted = Counted { passed, skipped, failed: cases.len() - passed - skipped };
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        let enough = !whole || passed >= LEAST;
        let passed = counted.failed == 0 && !cases.is_empty() && enough;
        Self { command: "test oci-conformance", passed, counted, kernel, cases }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Row { name, section, verdict } in &self.cases {
            match verdict {
                Verdict::Passed => writeln!(f, "{name:<44} passed   {section}")?,
                Verdict::Skipped(why) => writeln!(f, "{name:<44} skipped  {section}\n{:<44} {why}", "")?,
                Verdict::Failed(why) => writeln!(f, "{name:<44} FAILED   {section}\n{:<44} {why}", "")?,
            }
        }
        let Counted { passed, skipped, failed } = self.counted;
        writeln!(
            f,
            "\nLinux {}: {passed} passed, {skipped} skipped, {failed} failed (at least {LEAST} of the whole list have to pass)",
            self.kernel
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize, verdict: &Verdict) -> Vec<Row> {
        (0..count).map(|_| Row { name: "x", section: "y", verdict: verdict.clone() }).collect()
    }

    #[test]
    fn a_case_that_fails_or_too_few_that_pass_fail_all() {
        assert!(Report::of(rows(LEAST, &Verdict::Passed), true).passed);
        assert!(!Report::of(rows(LEAST - 1, &Verdict::Passed), true).passed);
        assert!(Report::of(rows(1, &Verdict::Skipped("x".into())), false).passed);
        assert!(!Report::of(vec![], false).passed);
        let mut all = rows(LEAST, &Verdict::Passed);
        all.extend(rows(1, &Verdict::Failed("x".into())));
        assert!(!Report::of(all, true).passed);
    }
}
