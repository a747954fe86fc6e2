//! A few real steps of the machine: the boots of a bad trial, and an update from the proposal to its commit.

use statemachine::boot::{CHAIN_TRIES, Choice, Note, Spent, Trial, TrialKind, Wanted, pick};
use statemachine::ids::{Digest, RevisionId};
use statemachine::journal::{Journal, Known, Record, Transition};
use statemachine::limits::Limits;
use statemachine::recover::Boot;
use statemachine::update::{Event, Evicts, Machine, Pending, Plan, Running, State};

/// Walks. The error is the number of the step that did something else than it should.
pub(crate) fn walk() -> Result<(), u8> {
    let (old, new) = (revision("1")?, revision("2")?);
    bad_trial(&old, &new)?;
    update(&old, &new)
}

fn revision(name: &str) -> Result<RevisionId, u8> {
    RevisionId::parse(name).map_err(|_| 1)
}

/// A counted firmware tries the new revision as often as it may, and is then back on the old one.
fn bad_trial(old: &RevisionId, new: &RevisionId) -> Result<(), u8> {
    let trial = Some(Trial { revision: new.clone(), max: 3, issued: 0 });
    let wanted = Wanted { nonce: 1, default: old.clone(), previous: None, factory: None, trial };
    let mut note = Note::Read(Spent::default());
    for expected in [new, new, new, old] {
        let pick = pick(TrialKind::Counted, Some(&wanted), &note, false, CHAIN_TRIES);
        ensure(pick.choice == Choice::Revision(expected.clone()), 2)?;
        note = Note::Read(pick.note.ok_or(3)?);
    }
    Ok(())
}

/// From a boot at rest through proposal, trial boot and soak to the commit.
fn update(old: &RevisionId, new: &RevisionId) -> Result<(), u8> {
    let mut flash = Flash {
        wanted: Wanted { nonce: 1, default: old.clone(), previous: None, factory: None, trial: None },
        journal: Journal::factory(known(old)),
    };
    let idle = flash.settle(Machine::dark(Limits::FIELD), flash.booted(old, Spent::default()));
    ensure(*idle.state() == State::Idle, 10)?;

    let plan = Plan { what: known(new), by: Transition::Reboot };
    let steps = [
        Event::Proposed { plan, retry: false },
        Event::Fetched,
        Event::Verified,
        Event::Staged(Evicts::default()),
        Event::Placed,
    ];
    let leaving = steps.into_iter().fold(idle, |machine, event| flash.settle(machine, event));
    ensure(*leaving.state() == State::Leaving, 11)?;

    let pick = pick(TrialKind::Counted, Some(&flash.wanted), &Note::Read(Spent::default()), false, CHAIN_TRIES);
    ensure(pick.choice == Choice::Revision(new.clone()), 12)?;
    let trying = flash.settle(Machine::dark(Limits::FIELD), flash.booted(new, pick.note.ok_or(13)?));
    ensure(matches!(trying.state(), State::Trying(_)), 14)?;

    let done = [Event::GoalsMet, Event::Soaked].into_iter().fold(trying, |machine, event| flash.settle(machine, event));
    ensure(*done.state() == State::Idle, 15)?;
    ensure(flash.wanted.default == *new && flash.wanted.previous.as_ref() == Some(old), 16)?;
    ensure(flash.journal.body.record == Record::Committed(new.clone()), 17)
}

/// What survives a reboot.
struct Flash {
    wanted: Wanted,
    journal: Journal,
}

impl Flash {
    fn booted(&self, running: &RevisionId, spent: Spent) -> Event {
        Event::Booted(Boot {
            kind: TrialKind::Counted,
            running: Running::Revision(running.clone()),
            wanted: Some(self.wanted.clone()),
            note: Note::Read(spent),
            journal: Some(self.journal.clone()),
            head: None,
            marked: false,
            factory: None,
            default_verifies: true,
        })
    }

    /// One step, and all durable writes that it leads to.
    fn settle(&mut self, machine: Machine, event: Event) -> Machine {
        let (mut machine, _) = machine.step(event);
        loop {
            let acknowledged = match machine.pending().clone() {
                Pending::Nothing => return machine,
                Pending::Journal(journal) => {
                    self.journal = journal;
                    Event::Persisted
                }
                Pending::Cells(wanted) => {
                    self.wanted = wanted;
                    Event::Stored
                }
                Pending::Barrier => Event::Synced,
            };
            (machine, _) = machine.step(acknowledged);
        }
    }
}

fn known(revision: &RevisionId) -> Known {
    let mut digest = Digest([0; 32]);
    digest.0.iter_mut().zip(revision.as_str().bytes()).for_each(|(byte, name)| *byte = name);
    Known { revision: revision.clone(), digest: Some(digest) }
}

fn ensure(holds: bool, step: u8) -> Result<(), u8> {
    if holds { Ok(()) } else { Err(step) }
}
