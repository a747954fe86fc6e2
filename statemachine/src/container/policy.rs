//! What a revision says about one container: its goal, and what happens when it goes down by itself.
//!
//! [`Recovery`] has the keys of a manifest's `auto_recovery`, one by one, with their defaults. Two bounds are ours, so
//! that no policy can be a busy loop or a wait without end: a restart takes at least [`RESTART_FLOOR`], and a growing
//! delay stops growing at [`DELAY_CEILING`].

use serde::{Deserialize, Serialize};

use super::Outcome;
use super::time::Span;

/// The shortest wait before a restart. "At once" for a person; for a container that dies in its first instruction it
/// is the difference between ten starts a second and a device that does nothing else.
pub const RESTART_FLOOR: Span = Span(100);

/// Where a growing delay stops growing. A longer `retry_delay` stays what it is.
pub const DELAY_CEILING: Span = Span::seconds(3_600);

/// How long a container may take to stop before it is killed, unless the driver is configured otherwise.
pub const STOP_GRACE: Span = Span::seconds(5);

/// The status that a container must reach.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Goal {
    /// Its volumes are mounted; nothing is started.
    Mounted,
    /// Its first process runs.
    #[default]
    Started,
    /// It has sent the signal "ready".
    Ready,
}

/// What a change of the container, or its failure for good, may cost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RestartPolicy {
    /// The device: a change needs a reboot, and so does an end that nothing else recovers.
    System,
    /// Only the container.
    #[default]
    Container,
}

/// When a container that went down by itself is started again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum RecoveryPolicy {
    /// Never. Any end is a failure for good.
    #[default]
    No,
    /// Always.
    Always,
    /// Unless it ended with code 0 or powered itself off: then its work is done.
    OnFailure,
    /// As [`Self::Always`]. What a person has stopped stays stopped under every policy; this word says so aloud.
    UnlessStopped,
}

/// What follows when all retries are spent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Backoff {
    /// The device is to be rebooted. The update machine grants this a bounded number of times.
    #[default]
    Reboot,
    /// Nothing: the container stays down.
    Never,
    /// After this long a fresh set of retries begins.
    After(Span),
}

/// By how much each delay is longer than the one before, in thousandths. One or less: not at all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Factor(pub u32);

impl Factor {
    /// Every delay is as long as the first.
    pub const ONE: Self = Self(1_000);
}

impl Default for Factor {
    fn default() -> Self {
        Self::ONE
    }
}

/// `auto_recovery` of a manifest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Recovery {
    /// Which ends are followed by a restart.
    pub policy: RecoveryPolicy,
    /// Restarts in a row. Zero: any number.
    pub max_retries: u32,
    /// The wait before the first restart.
    pub retry_delay: Span,
    /// How the wait grows from one restart to the next.
    pub backoff_factor: Factor,
    /// A run of this length forgives all restarts before it. Zero: never.
    pub reset_window: Span,
    /// How long the goal must be held before the container counts as stable.
    pub stable_timeout: Span,
    /// What follows when the restarts are spent.
    pub backoff_policy: Backoff,
}

impl Recovery {
    /// Whether this end is a failure, or simply the end of the work. `None`: it could not be started at all.
    #[must_use]
    pub fn is_done(&self, outcome: Option<Outcome>) -> bool {
        self.policy == RecoveryPolicy::OnFailure && matches!(outcome, Some(Outcome::Code(0) | Outcome::AskedPowerOff))
    }

    /// Whether no restart is left after this many.
    #[must_use]
    pub fn is_spent(&self, retries: u32) -> bool {
        self.max_retries > 0 && retries >= self.max_retries
    }

    /// The wait before restart number `retry`, the first being 1: `retry_delay` × factor^(`retry` − 1), within
    /// [`RESTART_FLOOR`] and [`DELAY_CEILING`].
    #[must_use]
    pub fn delay(&self, retry: u32) -> Span {
        let first = self.retry_delay;
        if first.is_zero() || self.backoff_factor.0 <= Factor::ONE.0 {
            return first.max(RESTART_FLOOR);
        }
        let ceiling = DELAY_CEILING.max(first);
        let mut delay = first;
        // Rounded up, each turn adds at least one millisecond, so even the smallest factor meets the ceiling within
        // some twenty thousand turns, whatever `retry` is.
        for _ in 1..retry {
            if delay >= ceiling {
                break;
            }
            delay = Span(delay.0.saturating_mul(u64::from(self.backoff_factor.0)).div_ceil(u64::from(Factor::ONE.0)));
        }
        delay.clamp(RESTART_FLOOR, ceiling)
    }
}

/// All that the machine of one container has to know about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Policy {
    /// What it must reach.
    pub goal: Goal,
    /// By when, counted from its turn: the timeout of its group.
    pub timeout: Span,
    /// What its failure may cost.
    pub restart: RestartPolicy,
    /// What happens when it goes down by itself.
    pub recovery: Recovery,
    /// How long it may take to stop.
    pub grace: Span,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recovery(retry_delay: Span, backoff_factor: Factor) -> Recovery {
        Recovery { retry_delay, backoff_factor, ..Recovery::default() }
    }

    #[test]
    fn the_delay_grows_by_the_factor() {
        let recovery = recovery(Span::seconds(5), Factor(2_000));
        assert_eq!([1, 2, 3, 4].map(|retry| recovery.delay(retry)), [5, 10, 20, 40].map(Span::seconds));
    }

    #[test]
    fn a_fraction_of_a_factor_counts() {
        let recovery = recovery(Span::seconds(4), Factor(1_500));
        assert_eq!([1, 2, 3].map(|retry| recovery.delay(retry)), [4, 6, 9].map(Span::seconds));
    }

    #[test]
    fn a_factor_of_one_or_less_changes_nothing() {
        for factor in [0, 500, 1_000] {
            assert_eq!(recovery(Span::seconds(3), Factor(factor)).delay(u32::MAX), Span::seconds(3));
        }
    }

    #[test]
    fn a_restart_at_once_still_takes_a_moment() {
        assert_eq!(recovery(Span::ZERO, Factor(2_000)).delay(u32::MAX), RESTART_FLOOR);
        assert_eq!(recovery(Span(1), Factor::ONE).delay(1), RESTART_FLOOR);
    }

    #[test]
    fn a_growing_delay_stops_growing_and_never_overflows() {
        assert_eq!(recovery(Span(1), Factor(1_001)).delay(u32::MAX), DELAY_CEILING);
        assert_eq!(recovery(Span::seconds(5), Factor(u32::MAX)).delay(2), DELAY_CEILING);
        assert_eq!(recovery(Span::seconds(7_200), Factor(2_000)).delay(9), Span::seconds(7_200));
        assert_eq!(recovery(Span(u64::MAX), Factor(2_000)).delay(9), Span(u64::MAX));
    }

    #[test]
    fn only_on_failure_takes_code_zero_and_a_power_off_for_the_end_of_the_work() {
        let done = |policy, outcome| Recovery { policy, ..Recovery::default() }.is_done(outcome);
        let goes_on = [Outcome::Code(1), Outcome::Signal(15), Outcome::OutOfMemory, Outcome::AskedReboot];
        for outcome in goes_on.map(Some).into_iter().chain([None]) {
            assert!(!done(RecoveryPolicy::OnFailure, outcome));
        }
        for outcome in [Outcome::Code(0), Outcome::AskedPowerOff].map(Some) {
            assert!(done(RecoveryPolicy::OnFailure, outcome));
            for policy in [RecoveryPolicy::No, RecoveryPolicy::Always, RecoveryPolicy::UnlessStopped] {
                assert!(!done(policy, outcome));
            }
        }
    }
}
