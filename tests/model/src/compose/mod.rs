//! The two machines together: the update machine, and under it the real machine of one container in two revisions.
//!
//! The exploration of the update machine alone takes the supervisor's words (goals met, lost, missed; crashed;
//! soaked) from free luck. Here they are earned: luck moves only the container's mounts, process and signal, a clock
//! ticks, and what comes of that is folded by [`goals`](statemachine::goals) into words. In return the update machine's
//! orders drive the container: which one starts, which is withdrawn, whether goals are watched. Power goes and PID 1
//! dies at every moment.
//!
//! ```text
//!   luck ──▶ container machine ──▶ fold, watch, soak ──▶ update machine ──▶ flash ◀── power
//!    clock ──▶      ▲                                         │
//!                   └──────── start, switch, watch, soak ─────┘
//! ```
//!
//! Checked in every world: the rules of the update machine alone; that each word is one which free luck could have said
//! at that moment, so that the larger exploration covers this one; what only both machines together can break
//! ([`rules`]); and that every fair run comes to rest, *whatever* the containers do ([`fair`]).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use statemachine::boot::TrialKind;
use statemachine::container::{Backoff, Factor, Goal, Policy, Recovery, RecoveryPolicy, RestartPolicy, Span};
use statemachine::limits::Limits;

use self::sights::Sights;
use crate::container::TICK;
use crate::world::Setting;

mod devices;
mod fair;
mod rules;
mod sights;
mod steps;
mod supervisor;
mod walk;

/// What the explorer found.
#[derive(Default)]
pub(crate) struct Report {
    /// Worlds reached, over all scenarios.
    pub(crate) worlds: usize,
    /// Edges followed.
    pub(crate) edges: usize,
    /// The first finding of each broken rule, with the steps from the factory.
    pub(crate) violations: Vec<(String, Vec<String>)>,
    /// How long it took.
    pub(crate) seconds: f64,
}

/// What one exploration is about.
struct Scenario {
    name: &'static str,
    setting: Setting,
    /// What the manifest says of the container, in both revisions.
    policy: Policy,
    /// The new revision keeps the container as it is; a switch in place does not touch it.
    keeps: bool,
}

/// Two attempts, one of everything else, and no refund: that is a matter between firmware and journal alone.
const LIMITS: Limits =
    Limits { attempts: 2, ceiling: 2, chain: 1, marks: 1, flaps: 1, delays: 1, in_place: 1, policy_reboots: 1 };

/// One attempt, and apps that wait from the first power cut on: the fewest worlds, for what multiplies them most.
const SINGLE: Limits = Limits { attempts: 1, ceiling: 1, flaps: 0, delays: 0, policy_reboots: 0, ..LIMITS };

/// One restart; then it stays down.
const SIGNALS: Policy = Policy {
    goal: Goal::Ready,
    timeout: Span(2 * TICK.0),
    restart: RestartPolicy::Container,
    recovery: Recovery {
        policy: RecoveryPolicy::Always,
        max_retries: 1,
        retry_delay: TICK,
        backoff_factor: Factor::ONE,
        reset_window: Span::ZERO,
        stable_timeout: Span(2 * TICK.0),
        backoff_policy: Backoff::Never,
    },
    grace: TICK,
};

/// One restart; then it asks for a reboot. It may also end because its work is done.
const WORKS: Policy = Policy {
    goal: Goal::Started,
    recovery: Recovery {
        policy: RecoveryPolicy::OnFailure,
        stable_timeout: Span::ZERO,
        backoff_policy: Backoff::Reboot,
        ..SIGNALS.recovery
    },
    ..SIGNALS
};

const PLAIN: Setting = Setting {
    kind: TrialKind::Counted,
    limits: LIMITS,
    proposals: 1,
    rot: 0,
    errors: false,
    orders: true,
    fine: false,
};

/// The longest first, so that two threads end together.
const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "counted, goal READY, writes fail",
        setting: Setting { kind: TrialKind::Counted, limits: SINGLE, errors: true, ..PLAIN },
        policy: SIGNALS,
        keeps: false,
    },
    Scenario {
        name: "counted, goal STARTED, reboots",
        setting: Setting { kind: TrialKind::Counted, ..PLAIN },
        policy: WORKS,
        keeps: false,
    },
    Scenario {
        name: "one-shot, goal STARTED, reboots",
        setting: Setting { kind: TrialKind::OneShot, ..PLAIN },
        policy: WORKS,
        keeps: false,
    },
    Scenario {
        name: "counted, goal READY",
        setting: Setting { kind: TrialKind::Counted, ..PLAIN },
        policy: SIGNALS,
        keeps: false,
    },
    Scenario {
        name: "counted, goal READY, kept",
        setting: Setting { kind: TrialKind::Counted, ..PLAIN },
        policy: SIGNALS,
        keeps: true,
    },
    Scenario {
        name: "one-shot, goal READY, writes fail",
        setting: Setting { kind: TrialKind::OneShot, limits: SINGLE, errors: true, ..PLAIN },
        policy: SIGNALS,
        keeps: false,
    },
    Scenario {
        name: "toggling, goal STARTED, reboots",
        setting: Setting { kind: TrialKind::Toggling, ..PLAIN },
        policy: WORKS,
        keeps: false,
    },
    Scenario {
        name: "one-shot, goal READY",
        setting: Setting { kind: TrialKind::OneShot, ..PLAIN },
        policy: SIGNALS,
        keeps: false,
    },
];

/// Explores all scenarios, side by side.
pub(crate) fn explore() -> Report {
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    let total = Mutex::new(Total::default());
    let workers = thread::available_parallelism().map_or(1, usize::from).min(SCENARIOS.len());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(scenario) = SCENARIOS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = walk::explore(scenario);
                    // A worker that panicked has ended the scope; what it left behind is not read.
                    if let Ok(mut total) = total.lock() {
                        total.worlds += found.worlds;
                        total.edges += found.edges;
                        total.explored += 1;
                        total.sights.add(found.sights);
                        for (rule, path) in found.broken {
                            total.broken.entry(format!("{rule} ({})", scenario.name)).or_insert(path);
                        }
                    }
                }
            });
        }
    });
    let Total { worlds, edges, explored, sights, mut broken } = total.into_inner().unwrap_or_default();
    if explored != SCENARIOS.len() {
        broken.insert(format!("every scenario is explored: {explored} of {} were", SCENARIOS.len()), Vec::new());
    }
    for sight in sights.missing() {
        broken.insert(format!("every exploration sees {sight}"), Vec::new());
    }
    Report { worlds, edges, violations: broken.into_iter().collect(), seconds: start.elapsed().as_secs_f64() }
}

/// What all scenarios came to so far.
#[derive(Default)]
struct Total {
    worlds: usize,
    edges: usize,
    explored: usize,
    sights: Sights,
    broken: BTreeMap<String, Vec<String>>,
}
