//! What each arrow of the machine orders: the values it writes and the effects it sends out.
//!
//! Nothing here chooses between arrows by event; that is the `match` in [`update`](crate::update). The three functions
//! [`persist`](Machine::persist), [`store`](Machine::store) and [`sync`](Machine::sync) put durable values in flight, and
//! none once something has become unreadable. The renewal of the nonce is the one exception, and says why.

use crate::boot::{Trial, TrialKind, Wanted};
use crate::ids::RevisionId;
use crate::journal::{Ends, Journal, Known, PolicyReboots, Reason, Record, Transition};
use crate::update::{
    Care, Containers, Course, Effect, Effects, Event, Evicts, Found, Machine, Pending, Plan, Refusal, Running, State,
    Step,
};

/// Orders and values.
impl Machine {
    pub(crate) fn go<const N: usize>(mut self, state: State, effects: [Effect; N]) -> Step {
        self.state = state;
        (self, Effects::from_array(effects))
    }

    pub(crate) fn stay(self) -> Step {
        (self, Effects::new())
    }

    // ---- Durable writes ---------------------------------------------------------------------------------------

    pub(crate) fn persist(self, state: State, journal: Journal) -> Step {
        self.put(state, Pending::Journal(journal), Effect::Persist)
    }

    pub(crate) fn store(self, state: State, wanted: Wanted) -> Step {
        self.put(state, Pending::Cells(wanted), Effect::Store)
    }

    pub(crate) fn sync(self, state: State) -> Step {
        self.put(state, Pending::Barrier, Effect::Sync)
    }

    fn put(mut self, state: State, pending: Pending, effect: Effect) -> Step {
        self.pending = pending;
        if self.sealed {
            // Not even tried: the same as a failed write that changed nothing.
            self.state = state;
            return self.step(Event::WriteFailed(Found::Old));
        }
        self.go(state, [effect])
    }

    /// The journal as it stands, with what this boot has found out.
    pub(crate) fn next_journal(&self) -> Journal {
        let mut journal = self.journal.clone();
        journal.body.ends = self.ends;
        if self.lasted {
            journal.body.ends = Ends::default();
            journal.body.open = None;
            journal.body.rescued = None;
        }
        journal
    }

    pub(crate) fn next_nonce(&self) -> u32 {
        self.nonce.saturating_add(1)
    }

    // ---- Boots ------------------------------------------------------------------------------------------------

    pub(crate) fn opened(mut self, course: Course) -> Step {
        match course {
            Course::Trial { plan, refund: true } => self.refund(plan),
            Course::Trial { plan, refund: false } => self.start_trial(plan),
            Course::Issue => self.issue(),
            // A firmware that does not count needs no new nonce.
            Course::Rest if self.kind == TrialKind::Counted => self.renew(),
            Course::Rest => self.start(),
            // Not renewed: should this boot die too, the firmware goes on to recovery.
            Course::Serve => {
                self.containers = Containers::Down;
                self.at_rest()
            }
        }
    }

    fn renew(mut self) -> Step {
        let Some(mut wanted) = self.wanted.clone() else { return self.start() };
        wanted.nonce = self.next_nonce();
        // The one write that an unreadable journal does not stop: it is in another place, and without it a worn-out
        // journal would walk a healthy device down the firmware's list.
        self.pending = Pending::Cells(wanted);
        self.go(State::Renewing, [Effect::Store])
    }

    pub(crate) fn start(mut self) -> Step {
        self.containers = Containers::Started;
        let start = Effect::Start(self.care());
        if self.sealed {
            self.go(State::Frozen, [start])
        } else if self.default_is_proven() {
            self.go(State::Idle, [start])
        } else {
            self.go(State::Proving, [start, Effect::Watch])
        }
    }

    fn refund(self, plan: Plan) -> Step {
        let Some(mut wanted) = self.wanted.clone() else { return self.start_trial(plan) };
        if let Some(trial) = &mut wanted.trial {
            trial.max = trial.max.saturating_add(1);
        }
        self.store(State::Refunding(plan), wanted)
    }

    pub(crate) fn start_trial(mut self, plan: Plan) -> Step {
        self.containers = Containers::Started;
        self.go(State::Trying(plan), [Effect::Start(Care::All), Effect::Watch])
    }

    pub(crate) fn issue(self) -> Step {
        let Some(mut wanted) = self.wanted.clone() else { return self.freeze() };
        wanted.nonce = self.next_nonce();
        if let Some(trial) = &mut wanted.trial {
            trial.issued = trial.issued.saturating_add(1);
        }
        self.store(State::Issuing, wanted)
    }

    /// Nothing is left to decide about an update: on with the boot, or back to rest.
    pub(crate) fn rest(self) -> Step {
        match self.containers {
            Containers::Waiting => self.wake(),
            Containers::Started | Containers::Down => self.at_rest(),
        }
    }

    pub(crate) fn at_rest(self) -> Step {
        if self.lasted && self.journal.body.open.is_some() && !self.sealed {
            let journal = self.next_journal();
            return self.persist(State::Noting, journal);
        }
        self.idle()
    }

    pub(crate) fn idle(self) -> Step {
        let state = match self.containers {
            Containers::Down => State::Serving,
            _ if self.sealed => State::Frozen,
            _ => State::Idle,
        };
        self.go(state, [])
    }

    /// Stays up on what runs, without updates: the next boot decides.
    pub(crate) fn freeze(mut self) -> Step {
        match self.containers {
            Containers::Down => {
                self.sealed = true;
                self.go(State::Serving, [])
            }
            Containers::Started => self.go(State::Frozen, []),
            Containers::Waiting => {
                self.containers = Containers::Started;
                let start = Effect::Start(self.care());
                self.go(State::Frozen, [start])
            }
        }
    }

    fn care(&self) -> Care {
        if self.ends.marked >= self.limits.marks {
            Care::WithoutApps
        } else if self.ends.unmarked >= self.limits.flaps {
            Care::DelayApps(self.ends.unmarked.saturating_sub(self.limits.flaps).min(self.limits.delays))
        } else {
            Care::All
        }
    }

    // ---- Pending ----------------------------------------------------------------------------------------------

    pub(crate) fn proposed(self, plan: Plan, retry: bool) -> Step {
        let condemned = plan.what.digest.is_some_and(|digest| self.journal.header.condemned.holds(&digest));
        let refusal = if self.state == State::Frozen || self.sealed || self.wanted.is_none() {
            Refusal::Unreadable
        } else if condemned && !retry {
            Refusal::Condemned
        } else if self.runs(&plan.what.revision) || self.defaults_to(&plan.what.revision) {
            Refusal::Already
        } else if self.containers == Containers::Down && plan.by == Transition::InPlace {
            Refusal::NeedsReboot
        } else {
            let effect = Effect::Fetch(plan.what.revision.clone());
            return self.go(State::Fetching(plan), [effect]);
        };
        self.refuse(plan, refusal)
    }

    pub(crate) fn refuse(mut self, plan: Plan, why: Refusal) -> Step {
        let state = core::mem::replace(&mut self.state, State::Dark);
        self.go(state, [Effect::Decline(plan.what.revision, why)])
    }

    /// Gives a plan up before anything that runs was touched.
    pub(crate) fn decline(self, plan: Plan, why: Refusal) -> Step {
        let (machine, mut effects) = self.at_rest();
        // `at_rest` orders one write at most, so there is room.
        let _ = effects.push(Effect::Decline(plan.what.revision, why));
        (machine, effects)
    }

    pub(crate) fn staged(self, plan: Plan, evicts: Evicts) -> Step {
        if plan.by == Transition::InPlace {
            return self.record(plan);
        }
        let Some(mut wanted) = self.wanted.clone() else { return self.decline(plan, Refusal::Unreadable) };
        // Recovery finds a spent trial still named; its verdict is recorded.
        wanted.trial = None;
        if evicts.previous {
            wanted.previous = None;
        }
        if evicts.factory {
            wanted.factory = None;
        }
        if self.wanted.as_ref() == Some(&wanted) {
            return self.place(plan);
        }
        wanted.nonce = self.next_nonce();
        self.store(State::Vacating(plan), wanted)
    }

    pub(crate) fn place(self, plan: Plan) -> Step {
        let effect = Effect::Place(plan.what.revision.clone());
        self.go(State::Placing(plan), [effect])
    }

    pub(crate) fn record(self, plan: Plan) -> Step {
        let mut journal = self.next_journal();
        journal.header.attempts = match plan.by {
            // Counted by the firmware; the trial's own boots say here that they live.
            Transition::Reboot => 0,
            Transition::InPlace => self.attempts_in_place(&plan).saturating_add(1),
        };
        if let Some(digest) = &plan.what.digest {
            // Only an explicit retry of a condemned content comes as far as this.
            journal.header.condemned.forgive(digest);
        }
        if plan.by == Transition::Reboot {
            journal.body.open = None;
        }
        journal.body.record = Record::Trying { what: plan.what.clone(), by: plan.by };
        self.persist(State::Recording(plan), journal)
    }

    /// Trials in place of the same content that the device died in.
    fn attempts_in_place(&self, plan: &Plan) -> u8 {
        match &self.journal.body.record {
            Record::Trying { what, by: Transition::InPlace } if what.digest == plan.what.digest => {
                self.journal.header.attempts
            }
            _ => 0,
        }
    }

    pub(crate) fn arm(self, plan: Plan) -> Step {
        let Some(mut wanted) = self.wanted.clone() else { return self.decline(plan, Refusal::Unreadable) };
        wanted.nonce = self.next_nonce();
        let (max, issued) = match self.kind {
            TrialKind::Counted => (self.limits.attempts, 0),
            TrialKind::OneShot => (self.limits.attempts, 1),
            TrialKind::Toggling => (1, 0),
        };
        wanted.trial = Some(Trial { revision: plan.what.revision.clone(), max, issued });
        self.store(State::Arming(plan), wanted)
    }

    // ---- Committed --------------------------------------------------------------------------------------------

    pub(crate) fn commit(self, plan: Plan) -> Step {
        let Some(mut wanted) = self.wanted.clone() else { return self.freeze() };
        let proven = self.default_is_proven();
        let new = plan.what.revision.clone();
        let old = core::mem::replace(&mut wanted.default, new.clone());
        // Over an UPDATED default `previous` stays: it is the last revision that a cold boot has proven.
        if proven && old != new {
            wanted.previous = Some(old);
        }
        if wanted.previous.as_ref() == Some(&new) {
            wanted.previous = None;
        }
        wanted.trial = None;
        wanted.nonce = self.next_nonce();
        self.store(State::Committing(plan), wanted)
    }

    pub(crate) fn close(mut self, plan: Plan) -> Step {
        self.ends = Ends::default();
        let journal = self.closed(plan);
        self.persist(State::Closing, journal)
    }

    /// The journal after a success.
    pub(crate) fn closed(&self, plan: Plan) -> Journal {
        let mut journal = self.next_journal();
        let revision = plan.what.revision.clone();
        journal.body.record = match plan.by {
            Transition::Reboot => Record::Committed(revision),
            Transition::InPlace => Record::Updated(revision),
        };
        journal.body.proven = plan.by == Transition::Reboot;
        journal.body.reboots.clear();
        journal.body.rescued = None;
        journal.header.default = plan.what;
        journal.header.attempts = 0;
        journal
    }

    pub(crate) fn prove(self) -> Step {
        let Some(wanted) = &self.wanted else { return self.freeze() };
        let mut journal = self.next_journal();
        if journal.header.default.revision != wanted.default {
            journal.header.default = Known { revision: wanted.default.clone(), digest: None };
        }
        journal.body.record = Record::Committed(wanted.default.clone());
        journal.body.proven = true;
        self.persist(State::Closing, journal)
    }

    // ---- Rolled back ------------------------------------------------------------------------------------------

    pub(crate) fn fail(self, plan: Plan, why: Reason) -> Step {
        let mut journal = self.next_journal();
        journal.body.record = Record::RolledBack(plan.what.revision.clone(), why);
        journal.header.attempts = 0;
        if let (true, Some(digest)) = (why.condemns(), plan.what.digest) {
            journal.header.condemned.add(digest);
        }
        if plan.by == Transition::Reboot && self.runs(&plan.what.revision) {
            journal.body.open = None;
        }
        self.persist(State::Failing(plan), journal)
    }

    /// After the verdict is recorded.
    pub(crate) fn failed(self, plan: Plan) -> Step {
        match plan.by {
            Transition::InPlace if self.containers == Containers::Started => self.undo(None),
            Transition::InPlace => self.rest(),
            Transition::Reboot => self.disarm(plan),
        }
    }

    /// The verdict could not be recorded, so it is not acted on in the cells; but what failed does not go on running.
    pub(crate) fn fail_unrecorded(self, plan: &Plan) -> Step {
        match plan.by {
            Transition::InPlace if self.containers == Containers::Started => self.undo(None),
            Transition::Reboot if self.runs(&plan.what.revision) => self.leave(false),
            _ => self.freeze(),
        }
    }

    pub(crate) fn disarm(self, plan: Plan) -> Step {
        match self.wanted.clone() {
            Some(mut wanted) if wanted.trial.is_some() => {
                wanted.trial = None;
                wanted.nonce = self.next_nonce();
                self.store(State::Disarming(plan), wanted)
            }
            _ => self.rest(),
        }
    }

    pub(crate) fn undo(self, declined: Option<Plan>) -> Step {
        let Some(wanted) = &self.wanted else { return self.part() };
        let switch = Effect::Switch(wanted.default.clone());
        match declined {
            Some(plan) => self.go(State::Undoing, [switch, Effect::Decline(plan.what.revision, Refusal::NotDurable)]),
            None => self.go(State::Undoing, [switch]),
        }
    }

    /// What the default falls back to.
    pub(crate) fn fallback(&self) -> Option<RevisionId> {
        let wanted = self.wanted.as_ref()?;
        let factory = wanted.factory.as_ref().filter(|factory| **factory != wanted.default);
        wanted.previous.as_ref().or(factory).cloned()
    }

    /// A proving boot that missed its goals. Where the journal was lost nothing says that this was an unproven
    /// revision, and where nothing is left to fall back to, falling back does not help: both stay up.
    pub(crate) fn disprove(self, why: Reason) -> Step {
        match self.fallback() {
            Some(to) if self.whole => self.demote_to(to, why),
            _ => self.rest(),
        }
    }

    pub(crate) fn demote_to(mut self, to: RevisionId, why: Reason) -> Step {
        let Some(old) = self.wanted.as_ref().map(|wanted| wanted.default.clone()) else { return self.freeze() };
        self.ends = Ends::default();
        let mut journal = self.next_journal();
        let keep = !why.condemns() && self.default_is_proven();
        if let (true, true, Some(digest)) =
            (why.condemns(), journal.header.default.revision == old, journal.header.default.digest)
        {
            journal.header.condemned.add(digest);
        }
        journal.header.default = Known { revision: to.clone(), digest: None };
        journal.header.attempts = 0;
        journal.body.record = Record::RolledBack(old, why);
        journal.body.proven = true;
        journal.body.open = None;
        journal.body.reboots.clear();
        self.persist(State::Demoting { to, keep }, journal)
    }

    pub(crate) fn withdraw(self, to: RevisionId, keep: bool) -> Step {
        let Some(mut wanted) = self.wanted.clone() else { return self.freeze() };
        let old = core::mem::replace(&mut wanted.default, to);
        wanted.previous = keep.then_some(old);
        wanted.trial = None;
        wanted.nonce = self.next_nonce();
        self.store(State::Withdrawing, wanted)
    }

    // ---- Orders -----------------------------------------------------------------------------------------------

    pub(crate) fn reboot_asked(mut self, cause: Option<u32>) -> Step {
        let Some(cause) = cause else { return self.part() };
        let limit = self.limits.policy_reboots;
        let mut journal = self.next_journal();
        let reboots = &mut journal.body.reboots;
        let granted = match reboots.iter_mut().find(|counted| counted.cause == cause) {
            Some(counted) if counted.times < limit => {
                counted.times = counted.times.saturating_add(1);
                true
            }
            Some(_) => false,
            None => limit > 0 && reboots.push(PolicyReboots { cause, times: 1 }).is_ok(),
        };
        if !granted {
            let state = core::mem::replace(&mut self.state, State::Dark);
            return self.go(state, [Effect::Refuse(Refusal::RebootsSpent)]);
        }
        journal.body.open = None;
        self.persist(State::Parting { counted: true }, journal)
    }

    pub(crate) fn rollback_asked(self) -> Step {
        match self.fallback() {
            Some(to) => self.demote_to(to, Reason::Ordered),
            None => {
                let state = self.state.clone();
                self.go(state, [Effect::Refuse(Refusal::NothingPrevious)])
            }
        }
    }

    /// Somebody says that what runs shall be the default, because nothing else is known.
    pub(crate) fn adopt(self) -> Step {
        let (true, false, Running::Revision(running)) = (self.blind, self.sealed, &self.running) else {
            return self.go(State::Frozen, [Effect::Refuse(Refusal::Already)]);
        };
        let wanted = self.blank(running.clone());
        self.store(State::Rebuilding, wanted)
    }

    /// A boot cell that knows a default and, if it is held, the factory revision.
    pub(crate) fn blank(&self, default: RevisionId) -> Wanted {
        Wanted { nonce: self.next_nonce(), default, previous: None, factory: self.factory.clone(), trial: None }
    }

    /// Ends this boot in order.
    pub(crate) fn part(self) -> Step {
        let mut journal = self.next_journal();
        journal.body.open = None;
        if self.containers == Containers::Down {
            // Somebody was there and gives the default another chance.
            journal.body.ends = Ends::default();
        }
        self.persist(State::Parting { counted: false }, journal)
    }

    pub(crate) fn leave(self, trial: bool) -> Step {
        let trial = trial && self.kind == TrialKind::OneShot;
        self.go(State::Leaving, [Effect::Reboot { trial }])
    }

    /// Recovery: the default verifies again, so the firmware's count starts again.
    pub(crate) fn revive(self) -> Step {
        let mut wanted = match self.wanted.clone() {
            Some(wanted) => wanted,
            None => self.blank(self.journal.header.default.revision.clone()),
        };
        wanted.trial = None;
        wanted.nonce = self.next_nonce();
        self.store(State::Reviving, wanted)
    }

    // ---- Questions --------------------------------------------------------------------------------------------

    pub(crate) fn runs(&self, revision: &RevisionId) -> bool {
        matches!(&self.running, Running::Revision(running) if running == revision)
    }

    pub(crate) fn defaults_to(&self, revision: &RevisionId) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| wanted.default == *revision)
    }

    /// Whether a cold boot has proven the default, as far as the journal speaks of the same one as the cells.
    pub(crate) fn default_is_proven(&self) -> bool {
        self.journal.body.proven && self.defaults_to(&self.journal.header.default.revision)
    }

    pub(crate) fn runs_default(&self) -> bool {
        matches!(&self.running, Running::Revision(running) if self.defaults_to(running))
    }
}
