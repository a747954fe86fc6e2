//! Which slot a new revision may be written to.
//!
//! Law: never the slot of the default, and never that of what runs. A slot that holds another revision which the boot
//! cell names may be taken, but only after a `Wanted` without that name is durable: [`Choice`] says which names go.

use statemachine::boot::Wanted;
use statemachine::ids::RevisionId;
use statemachine::update::Evicts;

/// A place where a firmware finds a kernel: an index into [`Places::Slots`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Slot(pub u8);

/// Where a board's firmware looks for kernels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Places {
    /// In the trail of the revision itself (`trails/<revision>/…`): nothing is copied, nothing is evicted.
    Trails,
    /// In slots with these names (partitions, directories, or FIT entries).
    Slots(&'static [&'static str]),
}

/// Where a revision was put.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Placement {
    /// It boots from its own trail.
    Trail,
    /// It boots from this slot.
    Slot(Slot),
}

/// A slot that may be written, and what has to be withdrawn from the boot cell before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The slot.
    pub slot: Slot,
    /// The names it holds.
    pub evicts: Evicts,
}

/// Chooses among `held` (what each slot holds, by index) for a revision other than `running`.
///
/// The order of preference: the slot that holds this revision already, one that nothing names, the factory's, the
/// previous one's. `None`: every slot holds the default or what runs.
#[must_use]
pub fn choose(
    held: &[Option<RevisionId>],
    revision: &RevisionId,
    running: Option<&RevisionId>,
    wanted: &Wanted,
) -> Option<Choice> {
    let protected = |held: &RevisionId| *held == wanted.default || Some(held) == running;
    let cost = |held: Option<&RevisionId>| match held {
        Some(held) if held == revision => 0,
        None => 1,
        Some(held) if Some(held) == wanted.previous.as_ref() => 4,
        Some(held) if Some(held) == wanted.factory.as_ref() => 3,
        Some(_) => 2,
    };
    let free = held.iter().enumerate().filter(|(_, held)| !held.as_ref().is_some_and(protected));
    let (index, held) = free.min_by_key(|(_, held)| cost(held.as_ref()))?;
    let named = |name: &Option<RevisionId>| held.is_some() && held != &Some(revision.clone()) && name == held;
    let evicts = Evicts { previous: named(&wanted.previous), factory: named(&wanted.factory) };
    Some(Choice { slot: Slot(u8::try_from(index).ok()?), evicts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(name: &str) -> RevisionId {
        RevisionId::parse(name).unwrap()
    }

    fn wanted() -> Wanted {
        Wanted {
            nonce: 1,
            default: revision("2"),
            previous: Some(revision("1")),
            factory: Some(revision("0")),
            trial: None,
        }
    }

    fn held<const N: usize>(names: [&str; N]) -> [Option<RevisionId>; N] {
        names.map(|name| (!name.is_empty()).then(|| revision(name)))
    }

    #[test]
    fn of_two_slots_the_one_that_is_not_the_defaults_is_taken_and_its_name_withdrawn() {
        let choice = choose(&held(["2", "1"]), &revision("3"), Some(&revision("2")), &wanted()).unwrap();
        assert_eq!(choice, Choice { slot: Slot(1), evicts: Evicts { previous: true, factory: false } });
    }

    #[test]
    fn an_empty_slot_is_taken_before_anything_is_withdrawn() {
        let choice = choose(&held(["2", "1", "", "0"]), &revision("3"), Some(&revision("2")), &wanted()).unwrap();
        assert_eq!(choice, Choice { slot: Slot(2), evicts: Evicts::default() });
    }

    #[test]
    fn the_slots_of_the_default_and_of_what_runs_are_never_taken() {
        assert_eq!(choose(&held(["2", "1"]), &revision("3"), Some(&revision("1")), &wanted()), None);
        assert_eq!(choose(&held(["2"]), &revision("3"), Some(&revision("2")), &wanted()), None);
    }

    #[test]
    fn a_revision_that_is_placed_again_keeps_its_slot() {
        let choice = choose(&held(["2", "3"]), &revision("3"), Some(&revision("2")), &wanted()).unwrap();
        assert_eq!(choice, Choice { slot: Slot(1), evicts: Evicts::default() });
    }

    #[test]
    fn the_factory_revision_makes_room_before_the_previous_one() {
        let choice = choose(&held(["2", "1", "0"]), &revision("3"), Some(&revision("2")), &wanted()).unwrap();
        assert_eq!(choice, Choice { slot: Slot(2), evicts: Evicts { previous: false, factory: true } });
    }
}
