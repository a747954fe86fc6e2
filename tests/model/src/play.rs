//! Plays one move in one world: firmware, flash and supervisor around the real machine.
//!
//! Rules that speak of a *change* (what became default, what was overwritten) are checked here, where both sides of the
//! change are at hand. Rules that speak of a world are in [`invariants`](crate::invariants).

mod firmware;

use statemachine::boot::{Note, Wanted};
use statemachine::journal::{Journal, Reason, Record, Transition};
use statemachine::update::{Effect, Event, Evicts, Found, Pending, Plan, Running, State};

use crate::moves::{Move, Part};
use crate::world::{Live, Long, Set, Setting, World, known, name, number};

/// What a move led to.
pub(crate) struct Played {
    pub(crate) world: World,
    /// Rules that this move broke.
    pub(crate) broken: Vec<&'static str>,
    /// The revision whose kernel, goals or life this move was about.
    pub(crate) about: Option<u8>,
    /// Its containers had not been started yet.
    pub(crate) early: bool,
    /// What the machine ordered, in sequence.
    pub(crate) ordered: Vec<Effect>,
}

/// Plays a move that [`Move::is_possible`].
pub(crate) fn play(setting: &Setting, world: &World, step: Move) -> Played {
    let mut table =
        Table { setting, world: world.clone(), broken: Vec::new(), about: None, early: false, ordered: Vec::new() };
    table.play(step);
    Played { world: table.world, broken: table.broken, about: table.about, early: table.early, ordered: table.ordered }
}

struct Table<'a> {
    setting: &'a Setting,
    world: World,
    broken: Vec<&'static str>,
    about: Option<u8>,
    early: bool,
    ordered: Vec<Effect>,
}

impl Table<'_> {
    fn play(&mut self, step: Move) {
        match step {
            Move::Boot { note, kernel } => self.boot(note, kernel),
            Move::Rot(part) => {
                self.world.rot -= 1;
                match part {
                    Part::Wanted => self.world.flash.wanted = None,
                    Part::Note => self.world.flash.note = Note::Unreadable,
                    Part::Journal => self.world.flash.journal = None,
                    Part::Body => self.world.flash.head = self.world.flash.journal.take().map(|journal| journal.header),
                }
            }
            Move::WriteDone => {
                self.write();
                let event = match self.pending() {
                    Pending::Journal(_) => Event::Persisted,
                    Pending::Cells(_) => Event::Stored,
                    Pending::Barrier | Pending::Nothing => Event::Synced,
                };
                self.take(event);
            }
            Move::WriteFailedNew => {
                self.write();
                self.take(Event::WriteFailed(Found::New));
            }
            Move::WriteFailedOld => self.take(Event::WriteFailed(Found::Old)),
            Move::WriteUnreadable { new } => {
                if new {
                    self.write();
                }
                if let Some(session) = &mut self.world.session {
                    session.sealed = true;
                }
                self.take(Event::WriteFailed(Found::Unreadable));
            }
            Move::PowerCut { done } => self.end(done, false),
            Move::Death { done } => self.end(done, true),
            Move::LongDone => self.long_done(),
            Move::LongFailed => {
                if let Some(session) = &mut self.world.session {
                    session.long = None;
                }
                self.take(Event::Failed);
            }
            Move::GoalsMet => self.supervise(Event::GoalsMet, true, true),
            Move::GoalsLost => self.supervise(Event::GoalsLost, true, false),
            Move::GoalMissed => self.supervise(Event::GoalMissed, false, false),
            Move::Crashed => self.supervise(Event::Crashed, false, false),
            Move::Soaked => self.soaked(),
            Move::Lasted => {
                if let Some(session) = &mut self.world.session {
                    session.lasted = true;
                }
                self.about = self.live();
                self.take(Event::Lasted);
            }
            Move::Propose { revision, by, retry } => {
                self.take(Event::Proposed { plan: Plan { what: known(revision), by }, retry });
                // What is refused at once leaves no trace, and is not counted.
                if matches!(self.state(), Some(State::Fetching(_))) {
                    let condemned = self.world.flash.journal.as_ref().is_some_and(|journal| {
                        known(revision).digest.is_some_and(|digest| journal.header.condemned.holds(&digest))
                    });
                    if condemned && !retry {
                        self.broken.push("what was found bad is refused unless a retry is asked for");
                    }
                    self.world.proposals -= 1;
                    self.world.ghost.proposed = self.world.ghost.proposed.with(revision);
                    if !self.setting.fine {
                        self.take(Event::Fetched);
                        self.take(Event::Verified);
                    }
                }
            }
            Move::Cancel => self.take(Event::Cancelled),
            Move::Reboot { policy } => self.take(Event::RebootAsked { cause: policy.then_some(1) }),
            Move::Rollback => self.take(Event::RollbackAsked),
            Move::Adopt => self.take(Event::AdoptAsked),
            Move::Sweep => self.sweep(),
        }
    }

    // ---- Flash ------------------------------------------------------------------------------------------------

    fn pending(&self) -> Pending {
        self.world.session.as_ref().map_or(Pending::Nothing, |session| session.machine.pending().clone())
    }

    /// The write in flight arrives on the medium.
    fn write(&mut self) {
        match self.pending() {
            Pending::Nothing => {}
            Pending::Barrier => {
                self.world.flash.visible = self.world.flash.visible.and(self.world.flash.trails);
            }
            Pending::Journal(journal) => {
                let before = self.world.flash.journal.as_ref().map(|journal| &journal.body.record);
                if let Record::Committed(revision) = &journal.body.record {
                    let fresh = before != Some(&journal.body.record);
                    if fresh && !self.world.ghost.proven.has(number(revision)) {
                        self.broken.push("nothing is DONE without a cold boot that held its goals");
                    }
                }
                self.check_verdict(&journal);
                if matches!(&journal.body.record, Record::Trying { by: Transition::Reboot, .. })
                    && matches!(self.state(), Some(State::Recording(_)))
                {
                    self.world.ghost.tries = 0;
                }
                self.world.flash.head = None;
                self.world.flash.journal = Some(journal);
            }
            Pending::Cells(wanted) => {
                self.check_cells(&wanted);
                if self.trial() != wanted.trial.as_ref().map(|trial| number(&trial.revision)) {
                    self.world.ghost.tries = 0;
                }
                self.world.flash.wanted = Some(wanted);
            }
        }
    }

    fn check_verdict(&mut self, new: &Journal) {
        let Some(old) = &self.world.flash.journal else { return };
        let (Record::Trying { what, .. }, Record::RolledBack(revision, why)) = (&old.body.record, &new.body.record)
        else {
            return;
        };
        let held = what.digest.is_none_or(|digest| new.header.condemned.holds(&digest));
        if *revision == what.revision && why.condemns() && !held {
            self.broken.push("what was found bad is condemned");
        }
    }

    fn check_cells(&mut self, new: &Wanted) {
        let Some(session) = &self.world.session else { return };
        let journal = self.world.flash.journal.as_ref();
        let default = number(&new.default);
        let rebuilds = matches!(session.machine.state(), State::Rebuilding | State::Reviving);
        if let Some(old) = &self.world.flash.wanted {
            let falls_back = old.previous.as_ref() == Some(&new.default) || old.factory.as_ref() == Some(&new.default);
            let judged = journal.is_some_and(
                |journal| matches!(&journal.body.record, Record::RolledBack(revision, _) if *revision == old.default),
            );
            let earned = session.soaked == Some(default);
            if new.default != old.default && !earned && !(falls_back && judged) {
                self.broken.push("nothing becomes default without goals held through its soak");
            }
            let fresh = new.previous.as_ref().filter(|_| new.previous != old.previous && !rebuilds);
            if fresh.is_some_and(|previous| !self.world.ghost.proven.has(number(previous))) {
                self.broken.push("nothing becomes previous without a cold boot that held its goals");
            }
            if old.trial.is_some() && new.trial.is_none() && new.default == old.default {
                let trial = old.trial.as_ref().map(|trial| &trial.revision);
                let recorded = journal.is_some_and(|journal| {
                    matches!(&journal.body.record, Record::RolledBack(revision, _) if Some(revision) == trial)
                });
                if !recorded {
                    self.broken.push("a verdict is recorded before it is acted on");
                }
            }
            if old.trial.is_none() && new.trial.is_some() {
                let trial = new.trial.as_ref().map(|trial| &trial.revision);
                let recorded = journal.is_some_and(|journal| {
                    matches!(&journal.body.record, Record::Trying { what, .. } if Some(&what.revision) == trial)
                });
                if !recorded {
                    self.broken.push("the intent is recorded before the trial is armed");
                }
            }
            let same_nonce = new.nonce == old.nonce;
            if same_nonce && !matches!(session.machine.state(), State::Refunding(_)) {
                self.broken.push("every store but a refund takes a new nonce");
            }
        }
    }

    fn end(&mut self, done: bool, marked: bool) {
        if done {
            self.write();
        }
        self.about = self.live();
        self.early = self.world.session.as_ref().is_some_and(|session| session.live == Live::Nothing);
        self.world.flash.marked |= marked;
        if let Some(session) = &self.world.session {
            let in_place = match session.machine.state() {
                State::Switching(plan) | State::Trying(plan) | State::Testing(plan)
                    if plan.by == Transition::InPlace =>
                {
                    Some(number(&plan.what.revision))
                }
                _ => None,
            };
            if let Some(revision) = in_place {
                let (last, deaths) = self.world.ghost.deaths_in_place;
                let deaths = if last == revision { deaths } else { 0 };
                self.world.ghost.deaths_in_place = (revision, (deaths + 1).min(self.setting.limits.in_place + 1));
            }
        }
        self.world.session = None;
        self.world.asked = false;
    }

    // ---- The device -------------------------------------------------------------------------------------------

    fn live(&self) -> Option<u8> {
        let session = self.world.session.as_ref()?;
        match session.live {
            Live::Whole(revision) => Some(revision),
            Live::Nothing | Live::Mixed => session.booted,
        }
    }

    fn state(&self) -> Option<&State> {
        self.world.session.as_ref().map(|session| session.machine.state())
    }

    fn trial(&self) -> Option<u8> {
        let wanted = self.world.flash.wanted.as_ref()?;
        wanted.trial.as_ref().map(|trial| number(&trial.revision))
    }

    fn default(&self) -> Option<u8> {
        self.world.flash.wanted.as_ref().map(|wanted| number(&wanted.default))
    }

    fn supervise(&mut self, event: Event, watched: bool, met: bool) {
        self.about = self.live();
        if let Some(session) = &mut self.world.session {
            session.watched = watched;
            session.met = met;
            session.soaking &= met;
        }
        self.take(event);
    }

    fn soaked(&mut self) {
        self.about = self.live();
        if let Some(session) = &mut self.world.session {
            session.soaking = false;
            if let Live::Whole(revision) = session.live {
                session.soaked = Some(revision);
                if session.booted == Some(revision) {
                    self.world.ghost.proven = self.world.ghost.proven.with(revision);
                }
            }
        }
        self.take(Event::Soaked);
    }

    fn take(&mut self, event: Event) {
        let Some(session) = self.world.session.as_mut() else { return };
        let (machine, effects) = session.machine.clone().step(event);
        session.machine = machine;
        let durable = effects.iter().filter(|effect| effect.is_durable()).count();
        let in_flight = usize::from(*session.machine.pending() != Pending::Nothing);
        let renews = matches!(session.machine.state(), State::Renewing);
        if durable != in_flight {
            self.broken.push("at most one durable write is in flight, and only what was ordered");
        }
        if durable > 0 && session.sealed && !renews {
            self.broken.push("nothing durable follows what could not be read back, but a renewed nonce");
        }
        if durable > 0 && effects.iter().any(|effect| matches!(effect, Effect::Reboot { .. })) {
            self.broken.push("no reboot overtakes a durable write");
        }
        self.ordered.extend(effects.iter().cloned());
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let Some(session) = self.world.session.as_mut() else { return };
        let long = match effect {
            // Carried out by the moves of a write.
            Effect::Persist | Effect::Store | Effect::Sync => return,
            Effect::Decline(..) | Effect::Refuse(_) => return,
            Effect::Start(_) => return self.start(),
            Effect::Watch => {
                session.watched = true;
                session.met = false;
                session.soaking = false;
                return;
            }
            Effect::Soak => {
                session.soaking = true;
                return;
            }
            Effect::Reboot { trial } => {
                self.world.asked = trial;
                self.world.session = None;
                return;
            }
            Effect::Fetch(_) if self.setting.fine => Long::Fetch,
            Effect::Verify(_) if self.setting.fine => Long::Verify,
            Effect::Fetch(_) | Effect::Verify(_) => return,
            Effect::Stage(revision) => Long::Stage(number(&revision)),
            Effect::Place(revision) => return self.place(number(&revision)),
            Effect::Switch(revision) => {
                session.live = Live::Mixed;
                session.watched = false;
                session.met = false;
                session.soaking = false;
                Long::Switch(number(&revision))
            }
        };
        if let Long::Switch(to) = long {
            self.check_switch(to);
        }
        if let Some(session) = self.world.session.as_mut() {
            session.long = Some(long);
        }
    }

    fn check_switch(&mut self, to: u8) {
        let Some(journal) = &self.world.flash.journal else { return };
        let condemned = known(to).digest.is_some_and(|digest| journal.header.condemned.holds(&digest));
        if condemned && self.default() != Some(to) {
            self.broken.push("what is condemned is not switched in");
        }
        let (last, deaths) = self.world.ghost.deaths_in_place;
        if last == to && self.default() != Some(to) && deaths >= self.setting.limits.in_place {
            let tried_again = matches!(&journal.body.record, Record::Trying { .. }) && journal.header.attempts <= 1;
            if !tried_again {
                self.broken.push("a trial in place that the device died in has a bounded number of attempts");
            }
        }
    }

    fn start(&mut self) {
        let given_up = self.world.flash.journal.as_ref().and_then(|journal| match &journal.body.record {
            Record::RolledBack(revision, reason) if *reason != Reason::Ordered => Some(number(revision)),
            _ => None,
        });
        let Some(session) = self.world.session.as_mut() else { return };
        session.live = session.booted.map_or(Live::Nothing, Live::Whole);
        // What the firmware falls back to may have been given up earlier, as a default; a trial may not.
        let trial = session.machine.wanted().and_then(|wanted| wanted.trial.as_ref());
        let trial = trial.map(|trial| number(&trial.revision));
        if session.booted.is_some() && session.booted == given_up && session.booted == trial {
            self.broken.push("a trial that was given up is not started again");
        }
    }

    // ---- Long work --------------------------------------------------------------------------------------------

    fn long_done(&mut self) {
        let Some(session) = self.world.session.as_mut() else { return };
        let Some(long) = session.long.take() else { return };
        let event = match long {
            Long::Fetch => Event::Fetched,
            Long::Verify => Event::Verified,
            Long::Stage(revision) => self.staged(revision),
            Long::Place(revision) => {
                if let Some(slot) = self.free_slot() {
                    self.world.flash.slots[slot] = self.world.flash.slots[slot].with(revision);
                }
                Event::Placed
            }
            Long::Switch(revision) => {
                session.live = Live::Whole(revision);
                Event::Switched
            }
        };
        self.take(event);
    }

    /// The slot that holds neither the default nor what runs.
    fn free_slot(&self) -> Option<usize> {
        let running = self.world.session.as_ref().and_then(|session| match session.machine.running() {
            Running::Revision(revision) => Some(number(revision)),
            Running::Recovery => None,
        });
        let taken = |slot: &Set| {
            self.default().is_some_and(|default| slot.has(default)) || running.is_some_and(|running| slot.has(running))
        };
        self.world.flash.slots.iter().position(|slot| !taken(slot))
    }

    fn staged(&mut self, revision: u8) -> Event {
        self.world.flash.trails = self.world.flash.trails.with(revision);
        let in_place = matches!(self.state(), Some(State::Staging(plan)) if plan.by == Transition::InPlace);
        if in_place {
            // The same kernel serves both.
            if let Some(default) = self.default() {
                for slot in &mut self.world.flash.slots {
                    if slot.has(default) {
                        *slot = slot.with(revision);
                    }
                }
            }
            return Event::Staged(Evicts::default());
        }
        if self.world.held(revision) {
            return Event::Staged(Evicts::default());
        }
        let Some(free) = self.free_slot() else { return Event::Staged(Evicts::default()) };
        let only_there = |name: Option<&statemachine::ids::RevisionId>| {
            name.is_some_and(|name| {
                let revision = number(name);
                let slots = &self.world.flash.slots;
                slots[free].has(revision) && !slots[1 - free].has(revision)
            })
        };
        let wanted = self.world.flash.wanted.as_ref();
        Event::Staged(Evicts {
            previous: only_there(wanted.and_then(|wanted| wanted.previous.as_ref())),
            factory: only_there(wanted.and_then(|wanted| wanted.factory.as_ref())),
        })
    }

    /// Starts to write a slot: what it held is gone from here on.
    fn place(&mut self, revision: u8) {
        if self.world.held(revision) {
            // Already there; the board has nothing to write.
            return self.take(Event::Placed);
        }
        match self.free_slot() {
            None => self.take(Event::Failed),
            Some(slot) => {
                self.world.flash.slots[slot] = Set::default();
                if let Some(session) = self.world.session.as_mut() {
                    session.long = Some(Long::Place(revision));
                }
            }
        }
    }

    fn sweep(&mut self) {
        let Some(session) = &self.world.session else { return };
        let kept = (0..crate::world::REVISIONS).filter(|revision| session.machine.keeps(&name(*revision)));
        let kept = kept.fold(Set::default(), Set::with);
        let flash = &mut self.world.flash;
        flash.trails = Set(flash.trails.0 & kept.0);
        flash.visible = Set(flash.visible.0 & kept.0);
        for slot in &mut flash.slots {
            *slot = Set(slot.0 & kept.0);
        }
    }
}
