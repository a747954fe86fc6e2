//! One container: where it is, what is wanted of it, and what has to be done next.
//!
//! The second pure machine. [`Container::step`] takes a time and a fact and gives the next state and at most one
//! order. It promises: at most one process and one set of mounts exist at any time; nothing starts that a person has
//! stopped; every restart is counted and takes time; what is down, going down or about to be tried again meets no goal.
//!
//! The whole state is *status × goal*. The goal is the manifest's, as long as the container is wanted at all:
//!
//! | status       | goal `Mounted`              | goal `Started`                 | goal `Ready`         | wanted down     |
//! |--------------|-----------------------------|--------------------------------|----------------------|-----------------|
//! | `Installed`  | waits, or is being mounted  | =                              | =                    | –               |
//! | `Blocked`    | an earlier group is not met | =                              | =                    | –               |
//! | `Mounted`    | **met**                     | –                              | –                    | –               |
//! | `Starting`   | –                           | start ordered, not yet seen    | =                    | –               |
//! | `Started`    | –                           | **met**                        | waits for the signal | –               |
//! | `Ready`      | –                           | –                              | **met**              | –               |
//! | `Stopping`   | unmounts; then …            | process ends, unmounts; then … | =                    | …, to stay down |
//! | `Recovering` | no mount; waits to retry    | went down; waits to retry      | =                    | –               |
//! | `Stopped`    | –                           | its work is done               | =                    | as wanted       |
//! | `Failed`     | beyond recovery             | =                              | =                    | –               |
//!
//! A dash is a combination that does not exist, = is "as to the left". Only the bold cells meet a goal. From `Stopping`
//! a container that is still wanted is restarted, recovers, rests (policy `on-failure`, code 0) or fails.
//!
//! ```text
//!              Mount            Start
//!   Installed ───────▶ Mounting ──────▶ Starting ──▶ Started ──▶ Ready
//!    ▲  ▲  (Blocked)      │  └▶ Mounted    │            │          │
//!    │  │                 │       │        ├────────────┴──────────┤ asked: Terminate, then Kill
//!    │  │                 │       │        │ went down             ▼
//!    │  │                 ▼       ▼        ▼                    Stopping
//!    │  └── restart ── Unmounting ◀─── Unmount ────────────────────┘
//!    │                 │    │    │
//!    └── Recovering ◀──┘    │    └──▶ Stopped
//!                           └──▶ Failed ──▶ AskReboot, where the policy says so
//! ```
//!
//! **What the driver owes.** Orders are obeyed in sequence. `Mount`, `Start` and `Unmount` are answered once, by
//! `Mounted`, `Started` or `Unmounted`, or by `Failed`. `Start` may instead be answered by `Exited`, when the process was
//! gone before it was seen. A `Failed` start has left no process. A failed `Mount` may leave some volumes: `Unmount`
//! follows. An unmount does not fail for long: what is busy is detached. `Terminate` and `Kill` are not answered; the
//! end of the process is, with `Exited`.
//!
//! **Time.** [`Container::deadline`] names the next moment at which something changes by itself; the driver then steps
//! with [`Event::Elapsed`]. Early, late and needless calls are harmless. The goal timer starts when the container's turn
//! first comes, not when its process starts, so that a hanging mount cannot hang a trial; restarts do not touch it. It is over
//! early for a container that is [found unready](Event::FoundUnready).

use serde::{Deserialize, Serialize};

pub mod policy;
pub mod time;
pub mod words;

#[cfg(test)]
mod tests;

pub use policy::{Backoff, Factor, Goal, Policy, Recovery, RecoveryPolicy, RestartPolicy};
pub use time::{Span, Time};
pub use words::{Effect, Effects, Event, Outcome, Status};

use crate::goals::Standing;

/// Where it is. Every time in it is a moment at which it changes by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    Installed,
    Blocked,
    Mounting,
    Mounted,
    Starting,
    Started,
    Ready,
    /// Asked to end; killed at this time, or already (`None`).
    Stopping(Option<Time>),
    /// No process is left.
    Unmounting(Then),
    Recovering {
        until: Time,
        /// All retries were spent: this is the wait for a fresh set.
        spent: bool,
    },
    Stopped,
    Failed {
        /// A reboot was asked for and not refused yet.
        asking: bool,
    },
}

/// What follows once it is down, if it is still wanted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Then {
    Restart,
    Recover { delay: Span, spent: bool },
    Rest,
    Fail { ask: bool },
}

/// Whether it is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Wish {
    Up,
    /// A person has stopped it.
    Down,
    /// The revision gives it up. Final.
    Gone,
}

/// The time by which its goal is due.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Timer {
    Idle,
    Running(Time),
    Over,
}

/// Whether it has held its goal for long enough.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Stable {
    No,
    At(Time),
    Yes,
}

/// One container of the running revision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Container {
    state: State,
    wish: Wish,
    retries: u32,
    timer: Timer,
    stable: Stable,
    /// When this run has lasted long enough to forgive the restarts before it.
    forgives: Option<Time>,
}

impl Default for Container {
    fn default() -> Self {
        Self::new()
    }
}

impl Container {
    /// A container that waits for its turn.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Installed,
            wish: Wish::Up,
            retries: 0,
            timer: Timer::Idle,
            stable: Stable::No,
            forgives: None,
        }
    }

    /// Takes one fact at one time. Total: a fact that comes too late, or to the wrong state, changes nothing.
    #[must_use]
    pub fn step(mut self, policy: &Policy, now: Time, event: Event) -> (Self, Effects) {
        let before = self.status();
        self.elapse(now);
        self.heed(policy, now, event);
        let order = self.advance(policy, now, event);
        self.hold(policy, now);
        let mut effects = Effects::new();
        // Both fit: two is the capacity.
        if let Some(order) = order {
            let _ = effects.push(order);
        }
        if self.status() != before {
            let _ = effects.push(Effect::Report(self.status()));
        }
        (self, effects)
    }

    /// The timers that run beside the state. They are read before the event, so a late wake-up decides nothing.
    fn elapse(&mut self, now: Time) {
        if matches!(self.timer, Timer::Running(due) if due <= now) {
            self.timer = Timer::Over;
        }
        if matches!(self.stable, Stable::At(due) if due <= now) {
            self.stable = Stable::Yes;
        }
        if self.forgives.is_some_and(|due| due <= now) {
            self.forgives = None;
            self.retries = 0;
        }
    }

    /// What is wanted, before what is done about it.
    fn heed(&mut self, policy: &Policy, now: Time, event: Event) {
        use Event as E;
        match (self.wish, event) {
            (Wish::Up, E::StopAsked) => {
                self.wish = Wish::Down;
                // Stopped before its turn, it still has a deadline: neither later groups nor a trial wait for ever.
                self.begin(policy, now);
            }
            (Wish::Up | Wish::Down, E::Withdrawn) => self.wish = Wish::Gone,
            (Wish::Down, E::StartAsked | E::RestartAsked) => self.wish = Wish::Up,
            // It had failed for good before: what is tried keeps it as it is, and is not to blame for it.
            (Wish::Up, E::TrialBegan) if matches!(self.state, State::Failed { .. }) => self.timer = Timer::Idle,
            // The trial judges what runs and what is to run. A stop in the middle of it is not excused.
            (Wish::Up, E::TrialBegan) if self.timer != Timer::Idle => {
                self.timer = Timer::Running(now.after(policy.timeout));
            }
            (Wish::Down, E::TrialBegan) => self.timer = Timer::Idle,
            // Asked often enough, it is not waited for any longer. It may still become ready.
            (Wish::Up, E::FoundUnready) if self.expects_signal(policy) => self.timer = Timer::Over,
            // No wish, or one that already holds. Nobody brings back what the revision has given up.
            (
                Wish::Up | Wish::Down | Wish::Gone,
                E::StopAsked
                | E::StartAsked
                | E::RestartAsked
                | E::Withdrawn
                | E::TrialBegan
                | E::Allowed
                | E::Held
                | E::Mounted
                | E::Started
                | E::Signalled
                | E::FoundUnready
                | E::Exited(_)
                | E::Unmounted
                | E::Failed
                | E::RebootRefused
                | E::Elapsed,
            ) => {}
        }
    }

    /// Starts the goal timer, once.
    fn begin(&mut self, policy: &Policy, now: Time) {
        if self.timer == Timer::Idle {
            self.timer = Timer::Running(now.after(policy.timeout));
        }
    }

    /// The arrows.
    fn advance(&mut self, policy: &Policy, now: Time, event: Event) -> Option<Effect> {
        use Event as E;
        use State as S;
        let (state, order) = match (self.state, event) {
            // Up.
            (S::Installed, E::Held) => (S::Blocked, None),
            (S::Installed | S::Blocked, E::Allowed) => {
                self.begin(policy, now);
                (S::Mounting, Some(Effect::Mount))
            }
            (S::Mounting, E::Mounted) if self.wish != Wish::Up => (S::Unmounting(Then::Restart), Some(Effect::Unmount)),
            (S::Mounting, E::Mounted) if policy.goal == Goal::Mounted => (S::Mounted, None),
            (S::Mounting, E::Mounted) => (S::Starting, Some(Effect::Start)),
            (S::Starting, E::Started) => {
                let window = policy.recovery.reset_window;
                self.forgives = (!window.is_zero()).then(|| now.after(window));
                (S::Started, None)
            }
            (S::Started, E::Signalled) if policy.goal == Goal::Ready => (S::Ready, None),

            // Down, by itself.
            (S::Mounting | S::Starting, E::Failed) => (S::Unmounting(self.fall(policy, None)), Some(Effect::Unmount)),
            (S::Starting | S::Started | S::Ready, E::Exited(outcome)) => {
                (S::Unmounting(self.fall(policy, Some(outcome))), Some(Effect::Unmount))
            }

            // Down, as asked. A mount in flight is answered first.
            (S::Mounting, E::StopAsked | E::Withdrawn) => (S::Mounting, None),
            (S::Mounted, E::StopAsked | E::RestartAsked | E::Withdrawn) => {
                self.retries = 0;
                (S::Unmounting(Then::Restart), Some(Effect::Unmount))
            }
            (S::Starting | S::Started | S::Ready, E::StopAsked | E::RestartAsked | E::Withdrawn) => {
                self.retries = 0;
                (S::Stopping(Some(now.after(policy.grace))), Some(Effect::Terminate))
            }
            (S::Stopping(Some(due)), E::Elapsed) if due <= now => (S::Stopping(None), Some(Effect::Kill)),
            (S::Stopping(_), E::Exited(_) | E::Failed) => (S::Unmounting(Then::Restart), Some(Effect::Unmount)),
            (
                S::Installed | S::Blocked | S::Recovering { .. } | S::Stopped | S::Failed { .. },
                E::StopAsked | E::Withdrawn,
            ) => (S::Stopped, None),

            // And then.
            (S::Unmounting(then), E::Unmounted | E::Failed) => match (self.wish, then) {
                (Wish::Down | Wish::Gone, _) | (Wish::Up, Then::Rest) => (S::Stopped, None),
                (Wish::Up, Then::Restart) => (S::Installed, None),
                (Wish::Up, Then::Recover { delay, spent }) => (S::Recovering { until: now.after(delay), spent }, None),
                (Wish::Up, Then::Fail { ask }) => (S::Failed { asking: ask }, ask.then_some(Effect::AskReboot)),
            },
            (S::Recovering { until, .. }, E::Elapsed) if until <= now => (S::Installed, None),
            (S::Failed { .. }, E::RebootRefused) => (S::Failed { asking: false }, None),

            // Up again, as asked.
            (S::Unmounting(_), E::StartAsked | E::RestartAsked) if self.wish == Wish::Up => {
                self.retries = 0;
                (S::Unmounting(Then::Restart), None)
            }
            (S::Recovering { .. } | S::Stopped | S::Failed { .. }, E::StartAsked | E::RestartAsked)
                if self.wish == Wish::Up =>
            {
                self.retries = 0;
                (S::Installed, None)
            }

            // Too late, too early, or already so.
            (
                state,
                E::Allowed
                | E::Held
                | E::Mounted
                | E::Started
                | E::Signalled
                | E::FoundUnready
                | E::Exited(_)
                | E::Unmounted
                | E::Failed
                | E::StopAsked
                | E::StartAsked
                | E::RestartAsked
                | E::Withdrawn
                | E::TrialBegan
                | E::RebootRefused
                | E::Elapsed,
            ) => (state, None),
        };
        self.state = state;
        order
    }

    /// It went down by itself: what follows, and the count.
    fn fall(&mut self, policy: &Policy, outcome: Option<Outcome>) -> Then {
        let recovery = &policy.recovery;
        if self.wish != Wish::Up {
            return Then::Restart;
        }
        if recovery.policy == RecoveryPolicy::No {
            return Then::Fail { ask: policy.restart == RestartPolicy::System };
        }
        if recovery.is_done(outcome) {
            // It reached its goal and finished its work: from here on nobody judges it by a goal that it has outlived.
            if self.meets(policy.goal) {
                self.timer = Timer::Idle;
            }
            return Then::Rest;
        }
        if !recovery.is_spent(self.retries) {
            self.retries = self.retries.saturating_add(1);
            return Then::Recover { delay: recovery.delay(self.retries), spent: false };
        }
        match recovery.backoff_policy {
            Backoff::Reboot => Then::Fail { ask: true },
            Backoff::Never => Then::Fail { ask: false },
            Backoff::After(delay) => {
                self.retries = 0;
                Then::Recover { delay: delay.max(policy::RESTART_FLOOR), spent: true }
            }
        }
    }

    /// What depends on the new state alone: the soak of a goal, and the forgiveness of a run.
    fn hold(&mut self, policy: &Policy, now: Time) {
        let soak = policy.recovery.stable_timeout;
        self.stable = match (self.meets(policy.goal), self.stable) {
            (false, _) => Stable::No,
            (true, Stable::No) if soak.is_zero() => Stable::Yes,
            (true, Stable::No) => Stable::At(now.after(soak)),
            (true, held) => held,
        };
        if !matches!(self.state, State::Started | State::Ready) {
            self.forgives = None;
        }
    }

    fn meets(&self, goal: Goal) -> bool {
        matches!(
            (goal, self.state),
            (Goal::Mounted, State::Mounted) | (Goal::Started, State::Started) | (Goal::Ready, State::Ready)
        )
    }

    /// The public word for where it is.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.state {
            State::Mounting if self.wish != Wish::Up => Status::Stopping,
            State::Installed | State::Mounting => Status::Installed,
            State::Blocked => Status::Blocked,
            State::Mounted => Status::Mounted,
            State::Starting => Status::Starting,
            State::Started => Status::Started,
            State::Ready => Status::Ready,
            State::Stopping(_) | State::Unmounting(_) => Status::Stopping,
            State::Recovering { .. } => Status::Recovering,
            State::Stopped => Status::Stopped,
            State::Failed { .. } => Status::Failed,
        }
    }

    /// Where it stands with its goal. `None`: it is not judged, because a person had stopped it before the trial began,
    /// or because it reached its goal and finished its work, or because it had failed before the trial began.
    #[must_use]
    pub fn standing(&self, policy: &Policy) -> Option<Standing> {
        let spent = matches!(
            self.state,
            State::Failed { .. }
                | State::Recovering { spent: true, .. }
                | State::Unmounting(Then::Fail { .. } | Then::Recover { spent: true, .. })
        );
        let done = matches!(self.state, State::Stopped | State::Failed { .. } | State::Unmounting(Then::Rest));
        match (self.wish, self.timer) {
            (Wish::Down, Timer::Idle) => None,
            (Wish::Up, Timer::Idle) if done => None,
            (Wish::Gone, _) => Some(Standing::Unmet),
            (Wish::Up, _) if spent => Some(Standing::Crashed),
            (Wish::Up, _) if self.meets(policy.goal) => Some(Standing::Met),
            (Wish::Up | Wish::Down, Timer::Over) => Some(Standing::Missed),
            (Wish::Up | Wish::Down, Timer::Idle | Timer::Running(_)) => Some(Standing::Unmet),
        }
    }

    /// The next moment at which something changes by itself.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let state = match self.state {
            State::Stopping(due) => due,
            State::Recovering { until, .. } => Some(until),
            _ => None,
        };
        let timer = if let Timer::Running(due) = self.timer { Some(due) } else { None };
        let stable = if let Stable::At(due) = self.stable { Some(due) } else { None };
        [state, timer, stable, self.forgives].into_iter().flatten().min()
    }

    /// Whether it waits for its group's turn: the driver answers with [`Event::Allowed`] or [`Event::Held`].
    #[must_use]
    pub fn waits(&self) -> bool {
        matches!(self.state, State::Installed | State::Blocked)
    }

    /// Whether nothing of it is left on the device, neither process nor mount.
    #[must_use]
    pub fn is_down(&self) -> bool {
        matches!(
            self.state,
            State::Installed | State::Blocked | State::Recovering { .. } | State::Stopped | State::Failed { .. }
        )
    }

    /// Whether it expects the signal "ready".
    #[must_use]
    pub fn expects_signal(&self, policy: &Policy) -> bool {
        policy.goal == Goal::Ready && self.state == State::Started
    }

    /// Whether it has held its goal for the time that its policy names.
    #[must_use]
    pub fn is_stable(&self) -> bool {
        self.stable == Stable::Yes
    }

    /// Whether a person has stopped it.
    #[must_use]
    pub fn is_user_stopped(&self) -> bool {
        self.wish == Wish::Down
    }

    /// Restarts since the last one that lasted, or that a person asked for.
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// Restarts that are left. `None`: any number.
    #[must_use]
    pub fn retries_left(&self, policy: &Policy) -> Option<u32> {
        match (policy.recovery.policy, policy.recovery.max_retries) {
            (RecoveryPolicy::No, _) => Some(0),
            (_, 0) => None,
            (_, max) => Some(max.saturating_sub(self.retries)),
        }
    }

    /// When it is started again.
    #[must_use]
    pub fn next_retry(&self) -> Option<Time> {
        match self.state {
            State::Recovering { until, .. } => Some(until),
            _ => None,
        }
    }

    /// The same container as if `now` were time zero. Two that are equal after this behave alike for ever, which is
    /// what makes the number of worlds finite for an explorer, and a log independent of when it was taken.
    #[must_use]
    pub fn rebased(mut self, now: Time) -> Self {
        let rebase = |due: Time| Time(due.until(now).0);
        self.state = match self.state {
            State::Stopping(due) => State::Stopping(due.map(rebase)),
            State::Recovering { until, spent } => State::Recovering { until: rebase(until), spent },
            state => state,
        };
        if let Timer::Running(due) = self.timer {
            self.timer = Timer::Running(rebase(due));
        }
        if let Stable::At(due) = self.stable {
            self.stable = Stable::At(rebase(due));
        }
        self.forgives = self.forgives.map(rebase);
        self
    }
}
