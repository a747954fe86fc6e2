//! Scenes with the bounds of the field. That no scene was forgotten is the model's business; these are the ones that
//! a reader asks about first, with the real numbers.

use super::*;
use crate::boot::{Choice, Note, Spent, pick};
use crate::ids::Digest;
use crate::recover::Boot;
use std::vec::Vec as List;

/// A device whose flash never fails and whose containers are the test.
struct Device {
    machine: Machine,
    wanted: Wanted,
    note: Note,
    journal: Journal,
    marked: bool,
    /// Whether this version reads the journal's body.
    body_is_known: bool,
    /// Orders of the last step that were not durable writes.
    orders: List<Effect>,
}

fn known(name: &str, content: u8) -> Known {
    Known { revision: RevisionId::parse(name).unwrap(), digest: Some(Digest([content; 32])) }
}

impl Device {
    /// Revision 0 runs, and has been since the factory.
    fn factory() -> Self {
        let zero = RevisionId::factory();
        let wanted =
            Wanted { nonce: 1, default: zero.clone(), previous: None, factory: Some(zero.clone()), trial: None };
        let mut device = Self {
            machine: Machine::dark(Limits::FIELD),
            wanted,
            note: Note::Read(Spent::default()),
            journal: Journal::factory(known("0", 0)),
            marked: false,
            body_is_known: true,
            orders: List::new(),
        };
        device.boot();
        device
    }

    /// Firmware and PID 1, as far as both come without the outside.
    fn boot(&mut self) {
        let picked = pick(TrialKind::Counted, Some(&self.wanted), &self.note, false, Limits::FIELD.chain);
        self.note = picked.note.map_or(self.note, Note::Read);
        let running = match picked.choice {
            Choice::Revision(revision) => Running::Revision(revision),
            _ => Running::Recovery,
        };
        self.machine = Machine::dark(Limits::FIELD);
        let boot = Boot {
            kind: TrialKind::Counted,
            running,
            wanted: Some(self.wanted.clone()),
            note: self.note,
            journal: self.body_is_known.then(|| self.journal.clone()),
            head: (!self.body_is_known).then(|| self.journal.header.clone()),
            marked: core::mem::take(&mut self.marked),
            factory: Some(RevisionId::factory()),
            default_verifies: true,
        };
        self.take(Event::Booted(boot));
    }

    fn take(&mut self, event: Event) {
        self.orders.clear();
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let (machine, orders) = self.machine.clone().step(event);
            self.machine = machine;
            for order in orders {
                next = match order {
                    Effect::Persist => Some(Event::Persisted),
                    Effect::Store => Some(Event::Stored),
                    Effect::Sync => Some(Event::Synced),
                    Effect::Fetch(_) => Some(Event::Fetched),
                    Effect::Verify(_) => Some(Event::Verified),
                    Effect::Stage(_) => Some(Event::Staged(Evicts::default())),
                    Effect::Place(_) => Some(Event::Placed),
                    order => {
                        self.orders.push(order);
                        next
                    }
                };
                match self.machine.pending() {
                    Pending::Journal(journal) => self.journal = journal.clone(),
                    Pending::Cells(wanted) => self.wanted = wanted.clone(),
                    Pending::Barrier | Pending::Nothing => {}
                }
            }
        }
    }

    fn take_all(&mut self, events: impl IntoIterator<Item = Event>) {
        events.into_iter().for_each(|event| self.take(event));
    }

    fn propose(&mut self, what: Known, by: Transition, retry: bool) {
        self.take(Event::Proposed { plan: Plan { what, by }, retry });
    }

    /// Power goes, and comes back.
    fn lose_power(&mut self) {
        self.boot();
    }

    /// PID 1 dies, and the machine starts again.
    fn die(&mut self) {
        self.marked = true;
        self.boot();
    }

    fn runs(&self, name: &str) -> bool {
        *self.machine.running() == Running::Revision(RevisionId::parse(name).unwrap())
    }

    fn record(&self) -> &Record {
        &self.journal.body.record
    }
}

#[test]
fn a_good_trial_survives_eight_losses_of_power() {
    let mut device = Device::factory();
    device.propose(known("1", 1), Transition::Reboot, false);
    device.boot();
    for _ in 0..8 {
        assert!(device.runs("1"));
        device.lose_power();
    }
    assert!(device.runs("1"), "{:?}", device.wanted.trial);
    device.take_all([Event::GoalsMet, Event::Soaked]);
    assert_eq!(*device.record(), Record::Committed(RevisionId::parse("1").unwrap()));
    assert_eq!(device.wanted.previous, Some(RevisionId::factory()));
}

#[test]
fn power_that_never_stays_spends_the_trial_after_all() {
    let mut device = Device::factory();
    device.propose(known("1", 1), Transition::Reboot, false);
    let boots = (0..20).take_while(|_| {
        device.boot();
        device.runs("1")
    });
    assert_eq!(boots.count(), usize::from(Limits::FIELD.ceiling));
    assert_eq!(*device.record(), Record::RolledBack(RevisionId::parse("1").unwrap(), Reason::Unconfirmed));
}

#[test]
fn a_trial_that_kills_pid_1_has_three_attempts() {
    let mut device = Device::factory();
    device.propose(known("1", 1), Transition::Reboot, false);
    device.boot();
    for _ in 0..3 {
        assert!(device.runs("1"));
        device.die();
    }
    assert!(device.runs("0"));
    assert_eq!(*device.record(), Record::RolledBack(RevisionId::parse("1").unwrap(), Reason::Unconfirmed));
    assert_eq!(*device.machine.state(), State::Idle);
}

#[test]
fn condemned_content_is_refused_under_any_name_until_somebody_insists() {
    let mut device = Device::factory();
    device.propose(known("1", 1), Transition::InPlace, false);
    device.take_all([Event::Switched, Event::GoalMissed, Event::Switched]);
    for name in ["1", "2", "locals/other"] {
        device.propose(known(name, 1), Transition::InPlace, false);
        let revision = RevisionId::parse(name).unwrap();
        assert_eq!(device.orders, [Effect::Decline(revision, Refusal::Condemned)]);
    }
    device.propose(known("2", 1), Transition::InPlace, true);
    assert!(matches!(device.machine.state(), State::Switching(_)));
}

#[test]
fn a_bad_revision_is_undone_in_place_and_the_default_keeps_running() {
    let mut device = Device::factory();
    let cells = device.wanted.clone();
    device.propose(known("1", 1), Transition::InPlace, false);
    device.take_all([Event::Switched, Event::Crashed]);
    assert_eq!(device.orders, [Effect::Switch(RevisionId::factory())]);
    device.take(Event::Switched);
    assert!(device.runs("0"));
    assert_eq!(device.wanted, cells, "the cells were not touched");
}

#[test]
fn the_third_trial_in_place_that_the_device_dies_in_condemns_the_content() {
    let mut device = Device::factory();
    for _ in 0..3 {
        device.propose(known("1", 1), Transition::InPlace, false);
        assert!(matches!(device.machine.state(), State::Switching(_)));
        device.die();
        assert!(device.runs("0"));
        // Each boot lasts, so that the default is not blamed.
        device.take(Event::Lasted);
    }
    device.propose(known("1", 1), Transition::InPlace, false);
    assert_eq!(device.orders, [Effect::Decline(RevisionId::parse("1").unwrap(), Refusal::Condemned)]);
}

#[test]
fn an_update_in_place_is_proven_by_its_first_cold_boot() {
    let mut device = Device::factory();
    device.propose(known("1", 1), Transition::InPlace, false);
    device.take_all([Event::Switched, Event::GoalsMet, Event::Soaked]);
    assert_eq!(*device.record(), Record::Updated(RevisionId::parse("1").unwrap()));
    device.take(Event::RebootAsked { cause: None });
    device.boot();
    assert_eq!(*device.machine.state(), State::Proving);
    device.take_all([Event::GoalsMet, Event::Soaked]);
    assert_eq!(*device.record(), Record::Committed(RevisionId::parse("1").unwrap()));
}

#[test]
fn a_revision_that_misses_its_proving_boot_gives_way_to_the_last_proven_one() {
    let mut device = Device::factory();
    for (name, content) in [("1", 1), ("2", 2)] {
        device.propose(known(name, content), Transition::InPlace, false);
        device.take_all([Event::Switched, Event::GoalsMet, Event::Soaked]);
    }
    assert_eq!(device.wanted.previous, Some(RevisionId::factory()), "1 was never proven");
    device.boot();
    device.take(Event::GoalMissed);
    assert_eq!(device.orders, [Effect::Reboot { trial: false }]);
    device.boot();
    assert!(device.runs("0"));
}

#[test]
fn apps_stay_down_after_three_marked_ends_and_the_default_goes_after_six() {
    let mut device = Device::factory();
    device.propose(known("1", 1), Transition::Reboot, false);
    device.boot();
    device.take_all([Event::GoalsMet, Event::Soaked]);
    let mut care = List::new();
    for _ in 0..5 {
        device.die();
        care.extend(device.orders.iter().filter_map(|order| match order {
            Effect::Start(care) => Some(*care),
            _ => None,
        }));
    }
    assert_eq!(care, [Care::All, Care::All, Care::WithoutApps, Care::WithoutApps, Care::WithoutApps]);
    device.die();
    device.boot();
    assert!(device.runs("0"));
    assert_eq!(*device.record(), Record::RolledBack(RevisionId::parse("1").unwrap(), Reason::Unstable));
}

#[test]
fn apps_wait_longer_and_longer_when_power_flaps() {
    let mut device = Device::factory();
    let mut care = List::new();
    for _ in 0..16 {
        device.lose_power();
        care.extend(device.orders.iter().filter_map(|order| match order {
            Effect::Start(Care::DelayApps(steps)) => Some(*steps),
            _ => None,
        }));
    }
    assert_eq!(care, [0, 1, 2, 3, 4, 5, 6, 6, 6]);
    assert!(device.runs("0"), "power is not held against a proven default");
}

#[test]
fn a_policy_has_three_reboots_for_each_cause() {
    let mut device = Device::factory();
    for _ in 0..3 {
        device.take(Event::RebootAsked { cause: Some(7) });
        assert_eq!(device.orders, [Effect::Reboot { trial: false }]);
        device.boot();
    }
    device.take(Event::RebootAsked { cause: Some(7) });
    assert_eq!(device.orders, [Effect::Refuse(Refusal::RebootsSpent)]);
    device.take(Event::RebootAsked { cause: Some(8) });
    assert_eq!(device.orders, [Effect::Reboot { trial: false }]);
}

#[test]
fn whoever_comes_second_is_told_that_the_device_is_busy() {
    let mut device = Device::factory();
    device.propose(known("1", 1), Transition::InPlace, false);
    device.propose(known("2", 2), Transition::InPlace, false);
    assert_eq!(device.orders, [Effect::Decline(RevisionId::parse("2").unwrap(), Refusal::Busy)]);
    device.take(Event::RebootAsked { cause: None });
    assert_eq!(device.orders, [Effect::Refuse(Refusal::Busy)]);
}

#[test]
fn rolling_back_by_hand_keeps_the_way_forward() {
    let mut device = Device::factory();
    device.propose(known("1", 1), Transition::Reboot, false);
    device.boot();
    device.take_all([Event::GoalsMet, Event::Soaked, Event::RollbackAsked]);
    device.boot();
    assert!(device.runs("0"));
    assert_eq!(device.wanted.previous, Some(RevisionId::parse("1").unwrap()));
}

#[test]
fn the_public_phases_of_an_update_by_reboot() {
    let mut device = Device::factory();
    assert_eq!(device.machine.phase(), Some(Phase::Committed));
    device.machine = device
        .machine
        .clone()
        .step(Event::Proposed { plan: Plan { what: known("1", 1), by: Transition::Reboot }, retry: false })
        .0;
    assert_eq!(device.machine.phase(), Some(Phase::Pending));
    device.take(Event::Fetched);
    device.boot();
    assert_eq!(device.machine.phase(), Some(Phase::Trying));
    device.take(Event::GoalMissed);
    assert_eq!(device.machine.phase(), Some(Phase::RolledBack));
}

#[test]
fn what_a_newer_version_has_condemned_an_older_one_refuses() {
    let mut device = Device::factory();
    device.propose(known("1", 1), Transition::InPlace, false);
    device.take_all([Event::Switched, Event::GoalMissed, Event::Switched]);
    device.body_is_known = false;
    device.boot();
    assert!(device.runs("0"));
    device.take_all([Event::GoalsMet, Event::Soaked]);
    device.propose(known("2", 1), Transition::Reboot, false);
    assert_eq!(device.orders, [Effect::Decline(RevisionId::parse("2").unwrap(), Refusal::Condemned)]);
}

#[test]
fn an_older_version_rebuilds_an_unreadable_cell_from_the_head_alone() {
    let mut device = Device::factory();
    let journal = Journal::factory(known("7", 7));
    let boot = Boot {
        kind: TrialKind::Counted,
        running: Running::Revision(RevisionId::factory()),
        wanted: None,
        note: Note::Unreadable,
        journal: None,
        head: Some(journal.header),
        marked: false,
        factory: Some(RevisionId::factory()),
        default_verifies: false,
    };
    device.machine = Machine::dark(Limits::FIELD);
    device.take(Event::Booted(boot));
    assert_eq!(device.wanted.default, RevisionId::parse("7").unwrap());
    assert_eq!(*device.machine.state(), State::Frozen);
}

#[test]
fn recovery_without_a_readable_cell_rebuilds_it_and_takes_a_revision() {
    let mut device = Device::factory();
    let boot = Boot {
        kind: TrialKind::Counted,
        running: Running::Recovery,
        wanted: None,
        note: Note::Read(Spent { nonce: 0, boots: 6 }),
        journal: Some(device.journal.clone()),
        head: None,
        marked: false,
        factory: None,
        default_verifies: false,
    };
    device.machine = Machine::dark(Limits::FIELD);
    device.take(Event::Booted(boot));
    assert_eq!(*device.machine.state(), State::Serving);
    assert_eq!((device.wanted.default.as_str(), &device.wanted.trial), ("0", &None));
    device.propose(known("9", 9), Transition::Reboot, false);
    assert_eq!(device.orders, [Effect::Reboot { trial: false }]);
    assert_eq!(device.wanted.trial.as_ref().map(|trial| trial.revision.as_str()), Some("9"));
}

#[test]
fn a_note_that_cannot_be_read_gives_no_attempt_back() {
    let armed = |device: &mut Device, note| {
        device.propose(known("1", 1), Transition::Reboot, false);
        device.boot();
        device.journal.header.attempts = 2;
        let max = device.wanted.trial.as_ref().map(|trial| trial.max);
        let boot = Boot {
            kind: TrialKind::Counted,
            running: Running::Revision(known("1", 1).revision),
            wanted: Some(device.wanted.clone()),
            note,
            journal: Some(device.journal.clone()),
            head: None,
            marked: false,
            factory: Some(RevisionId::factory()),
            default_verifies: false,
        };
        device.machine = Machine::dark(Limits::FIELD);
        device.take(Event::Booted(boot));
        (max, device.wanted.trial.as_ref().map(|trial| trial.max))
    };
    let mut device = Device::factory();
    let nonce = device.wanted.nonce + 1;
    assert_eq!(armed(&mut device, Note::Read(Spent { nonce, boots: 3 })), (Some(3), Some(4)));
    assert_eq!(armed(&mut Device::factory(), Note::Unreadable), (Some(3), Some(3)));
}
