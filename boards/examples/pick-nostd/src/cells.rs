//! The table: every kind of firmware, every form of list, and the notes that can stand beside it. Nothing is allocated,
//! so that both programs walk the same table in the same order.

use core::iter::once;

use statemachine::boot::{
    CHAIN_TRIES, Choice, Note, Pick, Spent, TRIAL_ATTEMPTS_CEILING, Trial, TrialKind, Wanted, pick, unnoted,
};
use statemachine::ids::RevisionId;

/// What a firmware finds at one boot.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(target_os = "none", derive(defmt::Format))]
pub(crate) struct Case {
    kind: TrialKind,
    /// `None`: unreadable.
    wanted: Option<Wanted>,
    note: Note,
    /// Whether the last reboot asked for one trial.
    asked: bool,
}

/// What it does then.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(target_os = "none", derive(defmt::Format))]
pub(crate) struct Answer {
    pick: Pick,
    /// What it starts instead when the note cannot be written.
    unnoted: Option<Choice>,
}

impl Case {
    /// Asks the rules.
    pub(crate) fn answer(&self) -> Answer {
        Answer {
            pick: pick(self.kind, self.wanted.as_ref(), &self.note, self.asked, CHAIN_TRIES),
            unnoted: self.wanted.as_ref().map(unnoted),
        }
    }
}

impl Answer {
    /// The smallest mistake: the note is one boot further than it should be, or there is one where none belongs.
    #[cfg(any(test, target_os = "none"))]
    pub(crate) fn spoil(&mut self) {
        let note = self.pick.note.unwrap_or_default();
        self.pick.note = Some(Spent { boots: note.boots.wrapping_add(1), ..note });
    }
}

/// Goes through the whole table. Not an iterator: one of these rows lies on the stack instead of five.
pub(crate) fn each(mut visit: impl FnMut(u32, &Case)) {
    let mut number = 0;
    for kind in [TrialKind::Counted, TrialKind::OneShot, TrialKind::Toggling] {
        for wanted in once(None).chain(wishes().map(Some)) {
            let nonce = wanted.as_ref().map_or(0, |wanted| wanted.nonce);
            let mut case = Case { kind, wanted, note: Note::Unreadable, asked: false };
            for note in notes(nonce) {
                for asked in [false, true] {
                    (case.note, case.asked) = (note, asked);
                    visit(number, &case);
                    number += 1;
                }
            }
        }
    }
}

/// Every length of trial before every form of chain.
fn wishes() -> impl Iterator<Item = Wanted> {
    let chains = [(false, false), (false, true), (true, false), (true, true)];
    let lists = (0..=TRIAL_ATTEMPTS_CEILING).flat_map(move |max| chains.map(|chain| (max, chain)));
    // The rows of names and of nonces share no factor with the chains' four, so that each meets each.
    let rows = NAMES.iter().cycle().zip([1, 7, u32::MAX].into_iter().cycle());
    lists.zip(rows).map(|((max, (previous, factory)), (names, nonce))| {
        let [trial, default, before, first] = names.map(revision);
        Wanted {
            nonce,
            default,
            previous: previous.then_some(before),
            factory: factory.then_some(first),
            trial: (max > 0).then_some(Trial { revision: trial, max, issued: 0 }),
        }
    })
}

/// The notes beside a store: torn, its own up to and past the end of the longest list, and those of other stores.
fn notes(nonce: u32) -> impl Iterator<Item = Note> {
    let own = (0..=LONGEST + 1).chain(once(u8::MAX)).map(move |boots| Spent { nonce, boots });
    let others = [0, nonce ^ 2, nonce ^ 0x8000_0000].into_iter();
    let foreign = others.filter(move |other| *other != nonce);
    let foreign = foreign.flat_map(|nonce| [0, 1, LONGEST, u8::MAX].map(|boots| Spent { nonce, boots }));
    once(Note::Unreadable).chain(own.chain(foreign).map(Note::Read))
}

/// Boots of the longest list: a trial, then default, previous and factory.
const LONGEST: u8 = TRIAL_ATTEMPTS_CEILING + 3 * CHAIN_TRIES;

/// Trial, default, previous and factory, in every form that a name has.
const NAMES: [[&str; 4]; 5] = [
    ["3", "2", "1", "0"],
    ["locals/next", "locals/now", "locals/was", "0"],
    ["locals/-x_y.z", "locals/x", "locals/_", "locals/0"],
    ["0", "0", "0", "0"],
    [
        "locals/ttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttttt",
        "locals/ddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
        "18446744073709551616",
        "4294967296",
    ],
];

/// A name of the table; a test says that each is one.
fn revision(name: &str) -> RevisionId {
    RevisionId::parse(name).unwrap_or_else(|_| RevisionId::factory())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use statemachine::ids::REVISION_ID_MAX;

    use super::*;

    fn all() -> Vec<Case> {
        let mut cases = Vec::new();
        each(|number, case| {
            assert_eq!(number as usize, cases.len());
            cases.push(case.clone());
        });
        cases
    }

    #[test]
    fn every_name_of_the_table_is_one_and_two_are_as_long_as_a_name_can_be() {
        let names = NAMES.iter().flatten();
        assert!(names.clone().all(|name| RevisionId::parse(name).is_ok_and(|id| id.as_str() == *name)));
        assert_eq!(names.filter(|name| name.len() == REVISION_ID_MAX).count(), 2);
    }

    #[test]
    fn every_entry_of_a_list_is_chosen_somewhere_with_each_kind_of_firmware() {
        let mut seen = BTreeSet::new();
        for case in all() {
            let is = |entry: Option<&RevisionId>, choice: &Choice| {
                entry.is_some_and(|entry| *choice == Choice::Revision(entry.clone()))
            };
            let Answer { pick: Pick { choice, note }, .. } = case.answer();
            let wanted = case.wanted.as_ref();
            let entry = match &choice {
                Choice::Factory => "unread factory",
                Choice::FirstSlot => "first slot",
                Choice::Recovery => "recovery",
                _ if is(wanted.and_then(|wanted| wanted.trial.as_ref()).map(|trial| &trial.revision), &choice) => {
                    "trial"
                }
                _ if is(wanted.map(|wanted| &wanted.default), &choice) => "default",
                _ if is(wanted.and_then(|wanted| wanted.previous.as_ref()), &choice) => "previous",
                _ => "factory",
            };
            seen.insert(format!("{:?} {entry} {}", case.kind, note.is_some()));
        }
        let counted = ["unread factory", "first slot", "recovery", "trial", "default", "previous", "factory"];
        let counted = counted.map(|entry| format!("Counted {entry} true"));
        let others = [
            "OneShot unread factory false",
            "OneShot trial false",
            "OneShot default false",
            "Toggling unread factory false",
            "Toggling trial true",
            "Toggling default true",
            "Toggling default false",
        ];
        assert_eq!(seen, counted.into_iter().chain(others.map(String::from)).collect());
    }

    #[test]
    fn no_case_stands_twice_in_the_table() {
        let cases: Vec<_> = all().iter().map(|case| format!("{case:?}")).collect();
        assert_eq!(cases.iter().collect::<BTreeSet<_>>().len(), cases.len());
    }

    #[test]
    fn a_spoiled_answer_is_another_one() {
        for case in all() {
            let mut answer = case.answer();
            answer.spoil();
            assert_ne!(answer, case.answer());
        }
    }
}
