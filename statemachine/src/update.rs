//! The update and boot machine: what a device does with a proposal, and with each boot.
//!
//! One pure function, [`Machine::step`], takes a fact and gives orders. The [`State`] names what is waited for. A durable
//! write is ordered by an effect, its value stays in the machine as [`Pending`] until it is acknowledged, and while it is
//! in flight the state says so; there is room for one only. So a power cut at any moment is: the machine is gone, the
//! write was done or not, and [`recover`](crate::recover) reads three facts.
//!
//! ```text
//! by reboot  Fetching ▸ Verifying ▸ Staging ▸ [Vacating] ▸ Placing ▸ Syncing ▸ Recording ▸ Arming ▸ Leaving
//!            …firmware… Opening ▸ [Refunding] ▸ Trying ▸ Testing ▸ Committing ▸ Closing ▸ Idle
//!                                            └────────▸ Failing ▸ Disarming ▸ Leaving …firmware… Idle
//! in place   Fetching ▸ Verifying ▸ Staging ▸ Recording ▸ Switching ▸ Trying ▸ Testing ▸ Syncing ▸ Committing ▸ Closing
//!                                                         └────────▸ Failing ▸ Undoing ▸ Idle
//! cold boot  Opening ▸ [Renewing] ▸ Idle          of an UPDATED default: ▸ Proving ▸ Confirming ▸ Closing ▸ Idle
//!                                                                        └────────▸ Demoting ▸ Withdrawing ▸ Leaving
//! ```
//!
//! The order of durable writes follows one rule: *write first the store after which a power cut still leads to the same
//! decision*. A verdict is recorded (journal) before it is acted on (cells); a success is acted on before it is recorded.

mod orders;
mod words;

use serde::{Deserialize, Serialize};

use crate::boot::{TrialKind, Wanted};
use crate::ids::RevisionId;
use crate::journal::{Ends, Journal, Known, Reason, Record, Transition};
use crate::limits::Limits;

pub use words::{
    Care, Containers, Course, Effect, Effects, Event, Evicts, Found, Pending, Phase, Plan, Refusal, Running, State,
};

/// The machine with its orders.
pub type Step = (Machine, Effects);

/// Everything that is known during one boot.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Machine {
    pub(crate) limits: Limits,
    pub(crate) kind: TrialKind,
    pub(crate) state: State,
    pub(crate) running: Running,
    /// What the boot cell is known to hold; `None` while it is unreadable.
    pub(crate) wanted: Option<Wanted>,
    /// The factory revision, while the board holds it.
    pub(crate) factory: Option<RevisionId>,
    /// The highest nonce seen or written.
    pub(crate) nonce: u32,
    /// What the journal is known to hold, or what stands in for it when it was lost.
    pub(crate) journal: Journal,
    pub(crate) pending: Pending,
    /// Ends of boots of the default, this boot's finding included.
    pub(crate) ends: Ends,
    pub(crate) containers: Containers,
    /// Neither cell nor journal could be read: nothing is known but what runs.
    pub(crate) blind: bool,
    /// Cells and journal were read whole.
    pub(crate) whole: bool,
    /// A durable write left something unreadable: no further one until the next boot.
    pub(crate) sealed: bool,
    /// This boot has lasted.
    pub(crate) lasted: bool,
}

impl Machine {
    /// A device before its first fact.
    #[must_use]
    pub fn dark(limits: Limits) -> Self {
        let nobody = Known { revision: RevisionId::factory(), digest: None };
        Self {
            limits,
            kind: TrialKind::Counted,
            state: State::Dark,
            running: Running::Recovery,
            wanted: None,
            factory: None,
            nonce: 0,
            journal: Journal::factory(nobody),
            pending: Pending::Nothing,
            ends: Ends::default(),
            containers: Containers::Waiting,
            blind: false,
            whole: false,
            sealed: false,
            lasted: false,
        }
    }

    /// Takes one fact. Total: every pair of state and event is defined, and none panics.
    #[must_use]
    pub fn step(mut self, event: Event) -> Step {
        let event = match event {
            Event::WriteFailed(Found::New) => match self.pending {
                Pending::Journal(_) => Event::Persisted,
                Pending::Cells(_) => Event::Stored,
                Pending::Barrier => Event::Synced,
                Pending::Nothing => return self.stay(),
            },
            other => other,
        };
        if !self.settle(&event) {
            return self.stay();
        }
        let state = core::mem::replace(&mut self.state, State::Dark);
        match (state, event) {
            // Waking up.
            (State::Dark, Event::Booted(boot)) => self.recover(boot),
            // In recovery nothing runs that it could disagree with.
            (State::Rebuilding, Event::Stored) if self.containers == Containers::Down => self.at_rest(),
            (State::Rebuilding, Event::Stored | Event::WriteFailed(_)) => self.freeze(),
            (State::Opening(course), Event::Persisted | Event::WriteFailed(_)) => self.opened(course),
            (State::Refunding(plan), Event::Stored | Event::WriteFailed(_)) => self.start_trial(plan),
            (State::Renewing, Event::Stored | Event::WriteFailed(_)) => self.start(),
            (State::Issuing, Event::Stored) => self.leave(true),
            (State::Issuing, Event::WriteFailed(_)) => self.freeze(),

            // At rest.
            (state @ (State::Idle | State::Serving | State::Frozen), Event::Proposed { plan, retry }) => {
                self.state = state;
                self.proposed(plan, retry)
            }
            (
                state @ (State::Idle | State::Serving | State::Proving | State::Confirming),
                Event::RebootAsked { cause },
            ) => {
                self.state = state;
                self.reboot_asked(cause)
            }
            (State::Frozen, Event::RebootAsked { .. }) => self.leave(false),
            (state @ (State::Idle | State::Serving), Event::RollbackAsked) => {
                self.state = state;
                self.rollback_asked()
            }
            (State::Frozen, Event::AdoptAsked) => self.adopt(),
            (State::Idle, Event::Lasted) => {
                self.lasted = true;
                self.at_rest()
            }
            // Should this write fail, the end of a boot that lasted is counted: harmless, and not tried again.
            (State::Noting, Event::Persisted | Event::WriteFailed(_)) => self.idle(),

            // Pending.
            (State::Fetching(plan), Event::Fetched) => {
                let effect = Effect::Verify(plan.what.revision.clone());
                self.go(State::Verifying(plan), [effect])
            }
            (State::Fetching(plan), Event::Failed) => self.decline(plan, Refusal::NotFetched),
            (State::Verifying(plan), Event::Verified) => {
                let effect = Effect::Stage(plan.what.revision.clone());
                self.go(State::Staging(plan), [effect])
            }
            (State::Verifying(plan), Event::Failed) => self.decline(plan, Refusal::NotVerified),
            (State::Staging(plan), Event::Staged(evicts)) => self.staged(plan, evicts),
            (State::Staging(plan), Event::Failed) => self.decline(plan, Refusal::NotStaged),
            (State::Fetching(plan) | State::Verifying(plan) | State::Staging(plan), Event::Cancelled) => {
                self.decline(plan, Refusal::Cancelled)
            }
            (State::Vacating(plan), Event::Stored) => self.place(plan),
            (State::Placing(plan), Event::Placed) => self.sync(State::Syncing(plan)),
            (State::Placing(plan), Event::Failed) => self.decline(plan, Refusal::NotPlaced),
            (State::Syncing(plan), Event::Synced) => match plan.by {
                Transition::Reboot => self.record(plan),
                Transition::InPlace => self.commit(plan),
            },
            (State::Recording(plan), Event::Persisted) => match plan.by {
                Transition::Reboot => self.arm(plan),
                Transition::InPlace => {
                    let effect = Effect::Switch(plan.what.revision.clone());
                    self.go(State::Switching(plan), [effect])
                }
            },
            (State::Arming(_), Event::Stored) => self.leave(true),
            (State::Arming(plan), Event::WriteFailed(Found::Old)) => self.fail(plan, Reason::NeverArmed),
            (State::Syncing(plan), Event::WriteFailed(_)) if plan.by == Transition::InPlace => self.undo(Some(plan)),
            (
                State::Vacating(plan) | State::Syncing(plan) | State::Recording(plan) | State::Arming(plan),
                Event::WriteFailed(_),
            ) => self.decline(plan, Refusal::NotDurable),

            // Trying.
            (State::Switching(plan), Event::Switched) => {
                self.running = Running::Revision(plan.what.revision.clone());
                self.go(State::Trying(plan), [Effect::Watch])
            }
            (State::Switching(plan), Event::Failed) => self.fail(plan, Reason::SwitchFailed),
            (State::Trying(plan), Event::GoalsMet) => self.go(State::Testing(plan), [Effect::Soak]),
            (State::Testing(plan), Event::GoalsLost) => self.go(State::Trying(plan), []),
            (State::Testing(plan), Event::Soaked) => match plan.by {
                Transition::Reboot => self.commit(plan),
                Transition::InPlace => self.sync(State::Syncing(plan)),
            },
            (State::Trying(plan) | State::Testing(plan), Event::GoalMissed) => self.fail(plan, Reason::GoalMissed),
            (State::Trying(plan) | State::Testing(plan), Event::Crashed) => self.fail(plan, Reason::Crashed),
            (State::Proving, Event::GoalsMet) => self.go(State::Confirming, [Effect::Soak]),
            (State::Confirming, Event::GoalsLost) => self.go(State::Proving, []),
            (State::Confirming, Event::Soaked) => self.prove(),
            (State::Proving | State::Confirming, Event::GoalMissed) => self.disprove(Reason::GoalMissed),
            (State::Proving | State::Confirming, Event::Crashed) => self.disprove(Reason::Crashed),

            // Committed.
            (State::Committing(plan), Event::Stored) => self.close(plan),
            (State::Committing(plan), Event::WriteFailed(Found::Old)) if plan.by == Transition::InPlace => {
                self.undo(Some(plan))
            }
            // The verdict is good and the store failed: it runs on, and the next boot tries or commits again.
            (State::Committing(_), Event::WriteFailed(_)) => self.freeze(),
            (State::Closing, Event::Persisted) => self.rest(),
            (State::Closing, Event::WriteFailed(_)) => self.freeze(),

            // Rolled back.
            (State::Failing(plan), Event::Persisted) => self.failed(plan),
            (State::Failing(plan), Event::WriteFailed(_)) => self.fail_unrecorded(&plan),
            (State::Disarming(plan), Event::Stored) if self.runs(&plan.what.revision) => self.leave(false),
            (State::Disarming(_), Event::Stored) => self.rest(),
            // The record stands; the next boot finishes. A trial that failed must not go on.
            (State::Disarming(plan), Event::WriteFailed(_)) if self.runs(&plan.what.revision) => self.leave(false),
            (State::Disarming(_), Event::WriteFailed(_)) => self.freeze(),
            (State::Undoing, Event::Switched) => {
                self.running = self.back_to();
                self.rest()
            }
            (State::Undoing, Event::Failed) => self.part(),
            (State::Demoting { to, keep }, Event::Persisted) => self.withdraw(to, keep),
            (State::Demoting { .. }, Event::WriteFailed(_)) => self.freeze(),
            (State::Withdrawing, Event::Stored) if self.runs_default() => self.rest(),
            (State::Withdrawing, Event::Stored) => self.leave(false),
            (State::Withdrawing, Event::WriteFailed(_)) => self.freeze(),

            // Recovery.
            (State::Rescuing { revive: true }, Event::Persisted) => self.revive(),
            (State::Reviving, Event::Stored) => self.leave(false),
            (State::Rescuing { .. }, Event::Persisted) => self.serve(),
            // A verdict may be unrecorded, so nothing can be built on it.
            (State::Rescuing { .. }, Event::WriteFailed(_)) => self.freeze(),
            (State::Reviving, Event::WriteFailed(_)) => self.freeze(),

            // The end of this boot.
            (State::Parting { .. }, Event::Persisted) => self.leave(false),
            // A reboot that could not be counted would be one of an endless row.
            (State::Parting { counted: true }, Event::WriteFailed(_)) => {
                let (machine, mut effects) = self.idle();
                let _ = effects.push(Effect::Refuse(Refusal::NotDurable));
                (machine, effects)
            }
            (State::Parting { counted: false }, Event::WriteFailed(_)) => self.leave(false),

            // Whoever asks at another time is told to wait.
            (state, Event::Proposed { plan, .. }) => {
                self.state = state;
                self.refuse(plan, Refusal::Busy)
            }
            (state, Event::RebootAsked { .. } | Event::RollbackAsked | Event::AdoptAsked) => {
                self.go(state, [Effect::Refuse(Refusal::Busy)])
            }
            // It lasted while something else was under way; the next journal says so.
            (state, Event::Lasted) => {
                self.lasted = true;
                self.go(state, [])
            }
            // Late facts: the state they belonged to has passed. An event added above has to be placed by hand.
            (
                state,
                Event::Booted(_)
                | Event::Cancelled
                | Event::Persisted
                | Event::Stored
                | Event::Synced
                | Event::WriteFailed(_)
                | Event::Fetched
                | Event::Verified
                | Event::Staged(_)
                | Event::Placed
                | Event::Switched
                | Event::Failed
                | Event::GoalsMet
                | Event::GoalsLost
                | Event::GoalMissed
                | Event::Crashed
                | Event::Soaked,
            ) => self.go(state, []),
        }
    }

    /// Takes the value in flight over, or drops it. False: an acknowledgement of something that is not in flight.
    fn settle(&mut self, event: &Event) -> bool {
        match event {
            Event::Persisted | Event::Stored | Event::Synced => {
                match (core::mem::replace(&mut self.pending, Pending::Nothing), event) {
                    (Pending::Journal(journal), Event::Persisted) => self.journal = journal,
                    (Pending::Cells(wanted), Event::Stored) => {
                        self.nonce = self.nonce.max(wanted.nonce);
                        self.wanted = Some(wanted);
                    }
                    (Pending::Barrier, Event::Synced) => {}
                    (pending, _) => {
                        self.pending = pending;
                        return false;
                    }
                }
            }
            Event::WriteFailed(found) => {
                if self.pending == Pending::Nothing {
                    return false;
                }
                self.pending = Pending::Nothing;
                self.sealed |= *found == Found::Unreadable;
            }
            _ => {}
        }
        true
    }

    /// What an undone update in place leaves running.
    fn back_to(&self) -> Running {
        match &self.wanted {
            Some(wanted) => Running::Revision(wanted.default.clone()),
            None => self.running.clone(),
        }
    }

    // ---- What the driver may ask ------------------------------------------------------------------------------

    /// What is waited for.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What runs.
    #[must_use]
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// What the boot cell is known to hold.
    #[must_use]
    pub fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()
    }

    /// What the journal is known to hold.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The durable value in flight: what [`Effect::Persist`] and [`Effect::Store`] write.
    #[must_use]
    pub fn pending(&self) -> &Pending {
        &self.pending
    }

    /// The update under way or, at rest, the latest one in public words. `None` before the first fact.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        Some(match &self.state {
            State::Dark => return None,
            State::Fetching(_)
            | State::Verifying(_)
            | State::Staging(_)
            | State::Vacating(_)
            | State::Placing(_)
            | State::Recording(_)
            | State::Arming(_) => Phase::Pending,
            State::Syncing(plan) if plan.by == Transition::Reboot => Phase::Pending,
            State::Syncing(_)
            | State::Refunding(_)
            | State::Issuing
            | State::Opening(Course::Trial { .. } | Course::Issue)
            | State::Switching(_)
            | State::Trying(_)
            | State::Testing(_) => Phase::Trying,
            State::Committing(_) | State::Closing | State::Proving | State::Confirming => Phase::Committed,
            State::Failing(_) | State::Disarming(_) | State::Undoing | State::Demoting { .. } | State::Withdrawing => {
                Phase::RolledBack
            }
            State::Rebuilding
            | State::Opening(Course::Rest | Course::Serve)
            | State::Renewing
            | State::Idle
            | State::Noting
            | State::Serving
            | State::Frozen
            | State::Rescuing { .. }
            | State::Reviving
            | State::Parting { .. }
            | State::Leaving => match &self.journal.body.record {
                Record::Committed(_) | Record::Updated(_) => Phase::Committed,
                Record::Trying { .. } => Phase::Trying,
                Record::RolledBack(..) => Phase::RolledBack,
            },
        })
    }

    /// Whether unused revisions may be swept now: nothing is in flight, and all that is known was read whole.
    #[must_use]
    pub fn may_sweep(&self) -> bool {
        self.whole && !self.sealed && matches!(self.state, State::Idle | State::Serving)
    }

    /// Whether what the flash holds may be written once more as it is: nothing is in flight, and all of it is known.
    #[must_use]
    pub fn may_rewrite(&self) -> bool {
        self.may_sweep() && self.wanted.is_some()
    }

    /// Whether a revision can still boot, or runs. Whoever sweeps keeps these, and adds what else is pinned or mounted.
    #[must_use]
    pub fn keeps(&self, revision: &RevisionId) -> bool {
        self.runs(revision)
            || self.journal.header.default.revision == *revision
            || self.wanted.as_ref().is_some_and(|wanted| wanted.names(revision))
    }

    /// Renames nonces, for explorers: only their equality and order mean anything, and without this a world that
    /// comes back would look new.
    #[cfg(feature = "explore")]
    pub fn rename_nonces(&mut self, mut name: impl FnMut(&mut u32)) {
        name(&mut self.nonce);
        if let Some(wanted) = &mut self.wanted {
            name(&mut wanted.nonce);
        }
        if let Pending::Cells(wanted) = &mut self.pending {
            name(&mut wanted.nonce);
        }
    }
}

#[cfg(test)]
mod tests;
