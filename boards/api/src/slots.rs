//! Which slot a new revision may be written to.
//!
//! Law: never the slot of the default, and never that of what runs. A slot that holds another revision which the boot
//! cell names may be taken, but only after a `Wanted` without that name is durable: [`Choice`] says which names go.

use formats::bootenv::uboot::Head;
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

/// What lies where in the partition of a slot, in bytes from its start.
///
/// A label that lies within the image has a sector of it for itself: an image has zeros there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// The copies of the label, in the order in which they are read.
    pub labels: &'static [u64],
    /// How a label is sealed.
    pub head: Head,
    /// Where the image begins, at the start of a sector.
    pub image: u64,
}

/// What of a base system a firmware can be given: the members of `bsp/run.json`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Boots {
    /// `linux`, `initrd` and `fdt`: files of their own.
    Linux,
    /// `fit`: one image of kernel, initramfs and device trees.
    Fit,
    /// `rpiab`: the image of a whole boot partition.
    Partition,
}

/// A slot that may be written, and what has to be withdrawn from the boot cell before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The slot.
    pub slot: Slot,
    /// The names that go with what it holds.
    pub evicts: Evicts,
}

/// Chooses among `held` (the revisions of each slot, by index; those updated in place share one) for a revision other than
/// `running`.
///
/// The order of preference: the slot that holds this revision already, one that nothing names, the factory's, the
/// previous one's. `None`: every slot holds the default or what runs.
#[must_use]
pub fn choose<H: AsRef<[RevisionId]>>(
    held: &[H],
    revision: &RevisionId,
    running: Option<&RevisionId>,
    wanted: &Wanted,
) -> Option<Choice> {
    let protected = |held: &RevisionId| *held == wanted.default || Some(held) == running;
    let cost = |held: &[RevisionId]| {
        let of_one = |held: &RevisionId| match held {
            held if Some(held) == wanted.previous.as_ref() => 4,
            held if Some(held) == wanted.factory.as_ref() => 3,
            _ => 2,
        };
        if held.contains(revision) { 0 } else { held.iter().map(of_one).max().unwrap_or(1) }
    };
    let slots = held.iter().map(AsRef::as_ref).enumerate();
    let (index, held) = slots.filter(|(_, held)| !held.iter().any(protected)).min_by_key(|(_, held)| cost(held))?;
    let goes = |name: &Option<RevisionId>| name.as_ref().is_some_and(|name| held.contains(name));
    let evicts = Evicts { previous: goes(&wanted.previous), factory: goes(&wanted.factory) };
    Some(Choice { slot: Slot(u8::try_from(index).ok()?), evicts })
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

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

    /// Each slot by the names it holds, with a blank between them.
    fn held<const N: usize>(names: [&str; N]) -> [Vec<RevisionId>; N] {
        names.map(|names| names.split_whitespace().map(revision).collect())
    }

    #[test]
    fn of_two_slots_the_one_that_is_not_the_defaults_is_taken_and_its_name_withdrawn() {
        let choice = choose(&held(["2", "1"]), &revision("3"), Some(&revision("2")), &wanted()).unwrap();
        assert_eq!(choice, Choice { slot: Slot(1), evicts: Evicts { previous: true, factory: false } });
    }

    #[test]
    fn every_name_of_a_slot_goes_with_it() {
        let choice = choose(&held(["2", "0 1"]), &revision("3"), Some(&revision("2")), &wanted()).unwrap();
        assert_eq!(choice, Choice { slot: Slot(1), evicts: Evicts { previous: true, factory: true } });
    }

    #[test]
    fn an_empty_slot_is_taken_before_anything_is_withdrawn() {
        let choice = choose(&held(["2", "1", "", "0"]), &revision("3"), Some(&revision("2")), &wanted()).unwrap();
        assert_eq!(choice, Choice { slot: Slot(2), evicts: Evicts::default() });
    }

    #[test]
    fn the_slots_of_the_default_and_of_what_runs_are_never_taken() {
        assert_eq!(choose(&held(["2", "1"]), &revision("3"), Some(&revision("1")), &wanted()), None);
        assert_eq!(choose(&held(["0 2", "3 1"]), &revision("3"), Some(&revision("1")), &wanted()), None);
        assert_eq!(choose(&held(["2"]), &revision("3"), Some(&revision("2")), &wanted()), None);
    }

    #[test]
    fn a_revision_that_is_placed_again_keeps_its_slot() {
        let choice = choose(&held(["2", "", "3"]), &revision("3"), Some(&revision("2")), &wanted()).unwrap();
        assert_eq!(choice, Choice { slot: Slot(2), evicts: Evicts::default() });
        // Its own name goes too, should its image have to be written anew.
        let choice = choose(&held(["2", "", "1"]), &revision("1"), Some(&revision("2")), &wanted()).unwrap();
        assert_eq!(choice, Choice { slot: Slot(2), evicts: Evicts { previous: true, factory: false } });
    }

    #[test]
    fn the_factory_revision_makes_room_before_the_previous_one() {
        let choice = choose(&held(["2", "1", "0"]), &revision("3"), Some(&revision("2")), &wanted()).unwrap();
        assert_eq!(choice, Choice { slot: Slot(2), evicts: Evicts { previous: false, factory: true } });
    }
}
