//! Sessions of all boards, as many at a time as there are processors: a QEMU keeps one of them busy.
//!
//! ```text
//!   jobs, the longest first ──▶ processor ──▶ findings, told as they come
//!                           └─▶ processor ──▶ …
//! ```

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cases::Case;
use crate::report::{Control, Row};

/// One session with a bootloader.
pub(crate) struct Job {
    pub(crate) board: &'static str,
    /// What it is about.
    pub(crate) name: &'static str,
    /// How much there is to do.
    boots: usize,
    work: Box<dyn FnOnce() -> Result<Findings> + Send>,
}

/// What a session has found.
#[derive(Default)]
pub(crate) struct Findings {
    /// How long it took.
    pub(crate) time: Duration,
    pub(crate) rows: Vec<Row>,
    pub(crate) controls: Vec<Control>,
}

impl From<Row> for Findings {
    fn from(row: Row) -> Self {
        Self { rows: vec![row], ..Self::default() }
    }
}

impl From<Vec<Control>> for Findings {
    fn from(controls: Vec<Control>) -> Self {
        Self { controls, ..Self::default() }
    }
}

impl Job {
    pub(crate) fn new<F: Into<Findings>>(
        board: &'static str,
        name: &'static str,
        boots: usize,
        work: impl FnOnce() -> Result<F> + Send + 'static,
    ) -> Self {
        Self { board, name, boots, work: Box::new(|| work().map(Into::into)) }
    }
}

/// How many boots these cases are.
pub(crate) fn boots(cases: &[Case]) -> usize {
    cases.iter().map(Case::boots).sum()
}

/// Runs them all, and hands the findings of each to `told`. After a failure no further one is begun.
pub(crate) fn run(mut jobs: Vec<Job>, told: impl Fn(&'static str, Findings) + Sync) -> Result<()> {
    // Taken from the end.
    jobs.sort_by_key(|job| job.boots);
    let jobs = Mutex::new(jobs);
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || -> Result<()> {
        while let Some(job) = next() {
            let start = Instant::now();
            match (job.work)() {
                Ok(findings) => told(job.board, Findings { time: start.elapsed(), ..findings }),
                Err(error) => {
                    jobs.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    return Err(error).context(format!("{}: {}", job.board, job.name));
                }
            }
        }
        Ok(())
    };
    let count = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        let ends = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| panic!("a session panicked")));
        ends.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    fn job(name: &'static str, boots: usize, work: fn() -> Result<Findings>) -> Job {
        Job::new("board", name, boots, work)
    }

    #[test]
    fn every_job_is_told_of() {
        let told = Mutex::new(0);
        let jobs = (0..9).map(|boots| job("a job", boots, || Ok(Findings::default()))).collect();
        run(jobs, |_, _| *told.lock().unwrap() += 1).unwrap();
        assert_eq!(told.into_inner().unwrap(), 9);
    }

    #[test]
    fn a_failure_names_its_session_and_is_not_lost_among_those_that_succeed() {
        let jobs = vec![job("good", 2, || Ok(Findings::default())), job("bad", 1, || Err(anyhow!("the reason")))];
        let error = format!("{:#}", run(jobs, |_, _| {}).unwrap_err());
        assert_eq!(error, "board: bad: the reason");
    }
}
