//! Every reachable world of one container: its machine, a device that obeys it, luck, a person, and time.
//!
//! A *world* is the machine beside what is really there ([`Device`](device::Device)): mounts, a process, an order
//! being carried out. From each world every fact that could come next does come, at once and after a tick of the
//! clock, under every policy of [`policies`]. Times are kept relative to now, so the number of worlds is finite and a
//! cycle is a cycle.
//!
//! Safety: the functions `invariant_*` hold in every world and on every edge. Liveness: a world in which nothing is
//! owed to the machine is a place to stay, and no sequence of facts comes back to where it was unless a person acted,
//! a run lasted, or a whole set of retries was waited out. What the update machine would be told on the way is
//! collected in [`Report::outputs`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use statemachine::container::{Span, Status};
use statemachine::goals::Turn;

pub(crate) mod device;
mod invariants;
mod policies;
mod walk;

pub(crate) use walk::Mix;

/// One tick of the clock: the shortest time that a restart takes, so that every constant below is a few ticks.
pub(crate) const TICK: Span = Span(100);

/// How many statuses there are; an exploration that does not see them all has proven nothing.
const STATUSES: usize = 10;

/// What the explorer found.
#[derive(Default)]
pub(crate) struct Report {
    /// Policies explored.
    pub(crate) policies: usize,
    /// Worlds reached, over all policies.
    pub(crate) worlds: usize,
    /// Edges followed.
    pub(crate) edges: usize,
    /// What broke, each with the policy and the shortest way to it; one per invariant.
    pub(crate) violations: Vec<String>,
    /// Which word to the update machine can follow which; `None` is the beginning of a watch.
    pub(crate) outputs: BTreeSet<(Option<Output>, Output)>,
    /// Statuses that were reached.
    pub(crate) statuses: BTreeSet<Status>,
}

/// A word from a container to the update machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Output {
    /// What the watch said.
    Goals(Turn),
    /// The container asked for a reboot by policy.
    RebootAsked,
}

/// The first story of each invariant that broke.
type Broken = BTreeMap<&'static str, String>;

/// Explores all policies, side by side: no two have a world in common.
pub(crate) fn explore() -> Report {
    let policies = policies::policies();
    let next = AtomicUsize::new(0);
    let total = Mutex::new((Report::default(), Broken::new()));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let (mut report, mut broken) = (Report::default(), Broken::new());
                while let Some(policy) = policies.get(next.fetch_add(1, Ordering::Relaxed)) {
                    walk::explore_policy(policy, &mut report, &mut broken);
                }
                // A worker that panicked has ended the scope; what it left behind is not read.
                if let Ok(mut total) = total.lock() {
                    total.0.add(report);
                    total.1.append(&mut broken);
                }
            });
        }
    });
    let (mut report, mut broken) = total.into_inner().unwrap_or_default();
    if report.policies != policies.len() || report.statuses.len() != STATUSES {
        broken.insert("sometimes_every_status", format!("{} policies, {:?}", report.policies, report.statuses));
    }
    report.violations = broken.into_iter().map(|(name, how)| format!("{name}: {how}")).collect();
    report
}

impl Report {
    fn add(&mut self, mut other: Self) {
        self.policies += other.policies;
        self.worlds += other.worlds;
        self.edges += other.edges;
        self.outputs.append(&mut other.outputs);
        self.statuses.append(&mut other.statuses);
    }
}
