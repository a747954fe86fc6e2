//! Runs one target on its corpus and on mutations of it, until it breaks or the budget is used up.

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use crate::Target;
use crate::mutate::{self, Random};

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub enum Budget {
    /// After so many mutated inputs: the same work every time.
    Inputs(u64),
    /// After so long: as much work as the machine does.
    Time(Duration),
}

/// What a run has seen.
#[derive(Debug)]
pub struct Report {
    /// Inputs that were tried, the corpus included.
    pub executions: u64,
    /// The longest that one input has taken.
    pub slowest: Duration,
    /// The first input that broke the law.
    pub broken: Option<Broken>,
}

/// An input that breaks a law.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// The whole input.
    pub input: Vec<u8>,
    /// What the panic said.
    pub message: String,
}

/// Tries one input.
///
/// # Errors
/// The message of the panic, if the law does not hold. A build that aborts on panics cannot come back from here.
pub fn once(target: &Target, input: &[u8]) -> Result<(), String> {
    panic::catch_unwind(AssertUnwindSafe(|| (target.check)(input))).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_string()
    })
}

/// Runs a target until it breaks or the budget is used up. The corpus is always tried whole.
#[must_use]
pub fn run(target: &Target, seeds: &[Vec<u8>], seed: u64, budget: Budget) -> Report {
    let began = Instant::now();
    let mut random = Random::new(seed);
    let mut report = Report { executions: 0, slowest: Duration::ZERO, broken: None };
    let mut mutated = 0;
    let mut corpus = seeds.iter();
    loop {
        let input = match corpus.next() {
            Some(seed) => seed.clone(),
            None if budget.is_used(mutated, began) => return report,
            None => {
                mutated += 1;
                mutate::input(seeds, &mut random)
            }
        };
        let start = Instant::now();
        let result = once(target, &input);
        report.executions += 1;
        report.slowest = report.slowest.max(start.elapsed());
        if let Err(message) = result {
            report.broken = Some(Broken { input, message });
            return report;
        }
    }
}

impl Budget {
    fn is_used(self, inputs: u64, began: Instant) -> bool {
        match self {
            Self::Inputs(most) => inputs >= most,
            Self::Time(most) => began.elapsed() >= most,
        }
    }
}
