//! Every combination of what a manifest can say, with small constants.

use statemachine::container::{Backoff, Factor, Goal, Policy, Recovery, RecoveryPolicy, RestartPolicy, Span};

use super::TICK;

/// Every combination of what a manifest can say, with small constants.
pub(super) fn policies() -> Vec<Policy> {
    let mut policies = Vec::new();
    let two = Span(2 * TICK.0);
    let spans = [Span::ZERO, two];
    for recovery in recoveries(spans) {
        for goal in [Goal::Mounted, Goal::Started, Goal::Ready] {
            for restart in [RestartPolicy::System, RestartPolicy::Container] {
                policies.push(Policy { goal, timeout: Span(3 * TICK.0), restart, recovery, grace: two });
            }
        }
    }
    policies
}

fn recoveries(spans: [Span; 2]) -> Vec<Recovery> {
    let mut all: Vec<_> = spans
        .iter()
        .map(|stable_timeout| Recovery { stable_timeout: *stable_timeout, ..Recovery::default() })
        .collect();
    for policy in [RecoveryPolicy::Always, RecoveryPolicy::OnFailure, RecoveryPolicy::UnlessStopped] {
        for max_retries in 0..=2 {
            for retry_delay in spans {
                for reset_window in spans {
                    for stable_timeout in spans {
                        for backoff_policy in [Backoff::Reboot, Backoff::Never, Backoff::After(Span(3 * TICK.0))] {
                            all.push(Recovery {
                                policy,
                                max_retries,
                                retry_delay,
                                backoff_factor: Factor(1_500),
                                reset_window,
                                stable_timeout,
                                backoff_policy,
                            });
                        }
                    }
                }
            }
        }
    }
    all
}
