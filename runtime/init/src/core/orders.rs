//! What the update machine orders, carried out.

use std::sync::Arc;

use formats::control::{Refused, Reply, Status};
use statemachine::container::Span;
use statemachine::ids::RevisionId;
use statemachine::journal::{Record, Transition};
use statemachine::transition::{Decision, decide};
use statemachine::update::{Effect, Event, Evicts, Plan, Refusal, State};
use store::trails::Depth;

use super::hooks::{Moment, Then};
use super::{Asker, Core, Message, Purpose, SWITCH};
use crate::assembly;
use crate::holdings::{Candidate, HoldError, Holdings};
use crate::places::Stand;
use crate::supervisor::{Fact, Output};
use crate::trace::{reason_word, refusal_word, revision_of, state_word};
use crate::updater::Taken;

impl Core {
    /// The update machine has taken a fact: does what it orders, and tells whoever asked.
    pub(super) fn taken(&mut self, taken: Taken) {
        let Taken { asked, orders, machine, failures } = taken;
        let (was, judged) = (state_word(self.machine.state()), self.is_judging());
        let was_at_rest = self.machine_rests();
        self.machine = *machine;
        for failure in failures {
            self.log.error("flash", &failure);
        }
        if state_word(self.machine.state()) != was {
            self.log.info("update", &format_args!("{was} -> {}", state_word(self.machine.state())));
        }
        let refusal = orders.iter().find_map(|order| match order {
            Effect::Decline(_, why) | Effect::Refuse(why) => Some(*why),
            _ => None,
        });
        self.look_at_failures();
        for order in orders {
            self.carry_out(order);
        }
        if judged && !self.is_judging() {
            self.supervisor.rest();
        }
        self.report();
        self.renew_bootloader();
        if !was_at_rest && self.machine_rests() {
            // A boot has lasted or an update is over. Behind the report, which is the last work that comes of that.
            self.store.order(|_| rest::give_back_program());
        }
        match (asked, refusal) {
            (Some(Asker::Call(id)), None) => self.answer(id, Ok(Reply::Done)),
            (Some(Asker::Call(id)), Some(why)) => {
                let refused = self.refused(why);
                self.answer(id, Err(refused));
            }
            (Some(Asker::Container(name)), Some(_)) => {
                let outputs = self.supervisor.take(&name, statemachine::container::Event::RebootRefused, self.now());
                self.follow(outputs);
            }
            _ => {}
        }
    }

    /// Whether the update machine waits for somebody to want something.
    pub(super) fn machine_rests(&self) -> bool {
        matches!(self.machine.state(), State::Idle | State::Serving | State::Frozen)
    }

    fn carry_out(&mut self, order: Effect) {
        let now = self.now();
        match order {
            // The driver has written these.
            Effect::Persist | Effect::Store | Effect::Sync => {}
            Effect::Fetch(id) => self.work(move |holdings| {
                let revision = holdings.admit(&holdings.trails.load(&id)?)?;
                holdings.needs(&revision)?;
                Ok(Event::Fetched)
            }),
            Effect::Verify(id) => self.load(Purpose::Verify, id, true),
            Effect::Stage(id) => {
                let stand = self.stand();
                let by = match self.machine.state() {
                    State::Staging(plan) => plan.by,
                    _ => Transition::Reboot,
                };
                self.work(move |holdings| {
                    let bytes = holdings.trails.load(&id)?;
                    holdings.receive(&id, &bytes, stand.as_ref().map(|stand| &stand.wanted.default))?;
                    let evicts = match &stand {
                        Some(stand) => holdings.prepare(&id, by, stand)?,
                        // The machine declines: nothing can be withdrawn from a boot cell that nobody can read.
                        None => Evicts::default(),
                    };
                    Ok(Event::Staged(evicts))
                });
            }
            Effect::Place(id) => self.run_hooks(Moment::BeforeInstall, Then::Place(id)),
            Effect::Switch(id) => {
                let known = [&self.target, &self.fallback, &self.current];
                let known = known.into_iter().flatten().find(|candidate| candidate.id == id).cloned();
                match known {
                    Some(candidate) => self.switch(candidate),
                    None => self.load(Purpose::Switch, id, false),
                }
            }
            Effect::Start(care) => {
                self.log.info("update", &format_args!("containers start: {care:?}"));
                self.run_hooks(Moment::Start, Then::Begin { care, judged: false });
            }
            // It follows the start that waits.
            Effect::Watch if self.hooks.judges_later() => {}
            Effect::Watch => {
                let outputs = self.supervisor.watch(now);
                self.follow(outputs);
                if self.current.is_none() {
                    // Nothing was assembled, so nothing can reach a goal: that is no revision without containers.
                    self.updater.take(Event::Crashed, None);
                }
            }
            Effect::Soak => {
                let delay = u64::try_from(self.settings.commit_delay.as_millis()).unwrap_or(u64::MAX);
                let outputs = self.supervisor.soak(Span(delay), now);
                self.follow(outputs);
            }
            Effect::Decline(id, why) => {
                self.log.warn("update", &format_args!("revision {id} is declined: {}", refusal_word(why)));
                self.declined(&id, why);
                self.target = None;
            }
            Effect::Refuse(why) => self.log.warn("update", &format_args!("refused: {}", refusal_word(why))),
            Effect::Reboot { trial } => self.leave(trial),
        }
    }

    /// Puts the kernel of a revision where a firmware finds it.
    pub(super) fn place(&mut self, id: RevisionId) {
        let stand = self.stand();
        self.work(move |holdings| {
            if let Some(stand) = &stand {
                holdings.place(&id, stand)?;
            }
            Ok(if stand.is_some() { Event::Placed } else { Event::Failed })
        });
    }

    /// Long work is done, or was not. What it has done to install a revision is completed by hooks.
    pub(super) fn worked(&mut self, event: Box<Event>) {
        let moment = match (&*event, self.machine.state()) {
            (Event::Staged(_), State::Staging(plan)) => Some((Moment::Install, plan)),
            (Event::Placed, State::Placing(plan)) => Some((Moment::AfterInstall, plan)),
            _ => None,
        };
        match moment.map(|(moment, plan)| (moment, plan.what.revision.clone())) {
            Some((moment, id)) => self.run_hooks(moment, Then::Tell(id, event)),
            None => self.updater.take(*event, None),
        }
    }

    /// What an update starts from; `None` while the boot cell cannot be read.
    fn stand(&self) -> Option<Stand> {
        Some(Stand { running: self.running().cloned(), wanted: self.machine.wanted()?.clone() })
    }

    /// Long work for the update machine, on the thread of the store.
    fn work(&mut self, job: impl FnOnce(&mut Holdings) -> Result<Event, HoldError> + Send + 'static) {
        let tell = self.tell.clone();
        self.why = None;
        self.store.order(move |holdings| {
            let message = match job(holdings) {
                Ok(event) => Message::Worked(Box::new(event), None),
                Err(error) => Message::Worked(Box::new(Event::Failed), Some(error.to_string())),
            };
            let _ = tell.send_blocking(message);
        });
    }

    /// Loads a revision, with a look at every byte of it if that is asked for.
    pub(super) fn load(&self, purpose: Purpose, id: RevisionId, whole: bool) {
        let tell = self.tell.clone();
        self.store.order(move |holdings| {
            let loaded = holdings.candidate(&id).and_then(|candidate| {
                if whole {
                    holdings.check(&candidate, Depth::Hashes)?;
                }
                Ok(Arc::new(candidate))
            });
            let _ = tell.send_blocking(Message::Loaded(purpose, loaded));
        });
    }

    pub(super) fn loaded(&mut self, purpose: Purpose, loaded: Result<Arc<Candidate>, HoldError>) {
        match (purpose, loaded) {
            (Purpose::Propose { ask, .. }, Err(error)) => self.answer(ask, Err(error.refused())),
            (Purpose::Propose { ask, retry }, Ok(candidate)) => {
                let plan = Plan { what: candidate.known(), by: self.way_to(&candidate) };
                self.updater.take(Event::Proposed { plan, retry }, Some(Asker::Call(ask)));
            }
            (Purpose::Verify, Ok(candidate)) => {
                self.target = Some(candidate);
                self.updater.take(Event::Verified, None);
            }
            (Purpose::Switch, Ok(candidate)) => self.switch(candidate),
            (Purpose::Verify | Purpose::Switch, Err(error)) => {
                self.log.error("update", &error);
                self.why = Some(error.to_string());
                self.updater.take(Event::Failed, None);
            }
        }
    }

    /// How one gets from what runs to a revision.
    fn way_to(&self, candidate: &Candidate) -> Transition {
        match &self.current {
            // Nothing runs that something could be switched in for.
            None => Transition::Reboot,
            // Apps that are held back in this boot would miss their goals, and a good revision would be blamed for it.
            Some(_) if self.supervisor.is_holding() || self.hooks.hold_start() => Transition::Reboot,
            Some(current) => decide(&current.assembly.rows(), &candidate.assembly.rows()).by(),
        }
    }

    /// Goes to the containers of another revision.
    fn switch(&mut self, to: Arc<Candidate>) {
        let Some(from) = self.current.clone().filter(|_| !self.torn) else {
            self.updater.take(Event::Failed, None);
            return;
        };
        let (old, new) = (from.assembly.rows(), to.assembly.rows());
        let switch = match decide(&old, &new) {
            Decision::InPlace(change) => assembly::switch(change, &from.assembly, &to.assembly),
            Decision::Reboot(because) => {
                self.log.error("update", &format_args!("no way in place to {}: {because:?}", to.id));
                self.updater.take(Event::Failed, None);
                return;
            }
        };
        let names = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
        let starts: Vec<_> = switch.start.iter().map(|member| member.name.clone()).collect();
        let (stop, start) = (names(&switch.stop), names(&starts));
        self.log.info("update", &format_args!("to {} in place: stop {stop}; start {start}", to.id));
        self.fallback = Some(from);
        self.incoming = Some(to);
        self.switch_until = Some(self.now().after(SWITCH));
        self.hold_ports(switch);
    }

    /// Does what the supervisor asks for, in order.
    pub(super) fn follow(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Container(name, effect) => self.obey(&name, effect),
                Output::Update(fact) => {
                    if fact == Fact::Switched {
                        self.exchange();
                    }
                    self.updater.take(fact.into(), None);
                }
            }
        }
        self.look_whether_done();
    }

    /// The old containers are down: from here on names mean those of the new revision.
    fn exchange(&mut self) {
        self.switch_until = None;
        if let Some(incoming) = self.incoming.take() {
            self.seat(&incoming);
            self.posted.remove(&incoming.id);
            self.current = Some(incoming);
            self.await_listeners();
        }
    }

    /// A container that leaves does not end, whatever is done: the switch has failed, and what has left does not come
    /// back in this boot.
    pub(super) fn give_up_switch(&mut self) {
        self.switch_until = None;
        self.incoming = None;
        self.torn = true;
        self.supervisor.forget_switch();
        self.held_switch = None;
        self.release_ports();
        let left = self.supervisor.containers().filter(|(_, container)| !container.is_down());
        let names: Vec<&str> = left.map(|(member, _)| member.name.as_str()).collect();
        self.log.error("update", &format_args!("the switch is given up; still up: {}", names.join(", ")));
        self.updater.take(Event::Failed, None);
    }

    /// A refusal of the update machine, for a person.
    pub(super) fn refused(&self, why: Refusal) -> Refused {
        let default = self.machine.wanted().map_or_else(String::new, |wanted| wanted.default.to_string());
        let (status, message) = match why {
            Refusal::Busy => return self.busy(),
            Refusal::Condemned => (Status::Conflict, self.condemned()),
            Refusal::Already => (Status::Conflict, format!("revision {default} is what runs already")),
            Refusal::NeedsReboot => (Status::Conflict, "nothing runs; this revision can only be booted into".into()),
            Refusal::NothingPrevious => {
                (Status::Conflict, "there is no previous revision to go back to on this device".into())
            }
            Refusal::Unreadable => {
                (Status::Internal, "boot cells or journal cannot be read back; reboot the device first".into())
            }
            Refusal::Cancelled => (Status::Conflict, "the update was withdrawn".into()),
            Refusal::NotFetched | Refusal::NotVerified | Refusal::NotStaged | Refusal::NotPlaced => {
                let why = self.why.clone().unwrap_or_else(|| refusal_word(why).to_owned());
                (Status::Unprocessable, why)
            }
            Refusal::NotDurable => (Status::Internal, "the decision could not be made durable; nothing changed".into()),
            Refusal::RebootsSpent => (Status::Conflict, "this container has used up its reboots".into()),
        };
        Refused::new(status, message)
    }

    /// The device is busy, and with what.
    pub(super) fn busy(&self) -> Refused {
        let message = match revision_of(self.machine.state()) {
            Some(revision) => format!("an update to {revision} is under way; ask again when it has ended"),
            None => "the device is not at rest; ask again in a moment".to_owned(),
        };
        let patience = u16::try_from(self.settings.commit_delay.as_secs().saturating_add(5)).unwrap_or(600);
        Refused { retry_after: Some(patience), ..Refused::new(Status::Unavailable, message) }
    }

    fn condemned(&self) -> String {
        let reason = match &self.machine.journal().body.record {
            Record::RolledBack(revision, reason) => {
                format!("; the latest to be given up was {revision}: {}", reason_word(*reason))
            }
            _ => String::new(),
        };
        format!("this content was tried before and found bad{reason}. Post another, or ask for a retry")
    }
}
