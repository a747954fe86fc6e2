//! Which slot a new revision goes to: never that of the default, never that of what runs, and every name that goes with
//! it is told.

use boards_api::Board;
use boards_api::board::Role;
use boards_api::slots::{Choice, Places, Slot, choose};
use statemachine::boot::Wanted;
use statemachine::ids::RevisionId;

use crate::Verdict;
use crate::values::revision;

/// Who chooses: [`choose`], unless this law itself is tested.
pub type Chooser = fn(&[Option<RevisionId>], &RevisionId, Option<&RevisionId>, &Wanted) -> Option<Choice>;

/// With more slots than this, combinations are too many to try all of them; more slots are tried as this many.
const TRIED: usize = 3;

/// For every combination of what the slots hold, what is wanted, what runs and what comes.
///
/// # Errors
/// The law is broken.
pub fn no_choice_touches_the_slot_of_the_default_or_of_what_runs<B: Board>() -> Verdict {
    match B::PLACES {
        // A trail is never written over, so there is nothing to choose.
        Places::Trails => Ok(()),
        Places::Slots(names) => judge(choose, names.len()),
    }
}

/// The same for another chooser and any number of slots.
///
/// # Errors
/// The law is broken.
pub fn judge(chooser: Chooser, slots: usize) -> Verdict {
    let names: Vec<RevisionId> = ["0", "1", "2", "3"].map(revision).to_vec();
    let maybe: Vec<Option<RevisionId>> = names.iter().cloned().map(Some).chain([None]).collect();
    let combinations = maybe.len().pow(u32::try_from(slots.min(TRIED)).unwrap_or(0));
    for combination in 0..combinations {
        let held: Vec<_> = (0..slots)
            .map(|slot| maybe[combination / maybe.len().pow((slot % TRIED) as u32) % maybe.len()].clone())
            .collect();
        for default in &names {
            for (previous, factory) in maybe.iter().flat_map(|one| maybe.iter().map(move |other| (one, other))) {
                let wanted = Wanted {
                    nonce: 1,
                    default: default.clone(),
                    previous: previous.clone(),
                    factory: factory.clone(),
                    trial: None,
                };
                for (running, new) in maybe.iter().flat_map(|one| names.iter().map(move |new| (one.as_ref(), new))) {
                    one(chooser(&held, new, running, &wanted), &held, new, running, &wanted)?;
                }
            }
        }
    }
    Ok(())
}

fn one(
    choice: Option<Choice>,
    held: &[Option<RevisionId>],
    new: &RevisionId,
    running: Option<&RevisionId>,
    wanted: &Wanted,
) -> Verdict {
    let case = || format!("slots {held:?}, running {running:?}, {wanted:?}, for {new:?}");
    let protected = |held: &RevisionId| *held == wanted.default || Some(held) == running;
    let free = held.iter().any(|held| !held.as_ref().is_some_and(protected));
    let Some(Choice { slot, evicts }) = choice else {
        return if free { Err(format!("{}: a slot is free and none was chosen", case())) } else { Ok(()) };
    };
    let taken = held.get(usize::from(slot.0)).ok_or_else(|| format!("{}: there is no {slot:?}", case()))?;
    if taken.as_ref().is_some_and(protected) {
        return Err(format!("{}: {slot:?} was chosen, which holds the default or what runs", case()));
    }
    let goes = |name: &Option<RevisionId>| taken.is_some() && name == taken && taken.as_ref() != Some(new);
    if (evicts.previous, evicts.factory) != (goes(&wanted.previous), goes(&wanted.factory)) {
        return Err(format!("{}: {slot:?} was chosen, and {evicts:?} is not what goes with it", case()));
    }
    Ok(())
}

/// At least two slots, each with a name that can stand on a command line, and a partition for each or for none.
///
/// # Errors
/// The law is broken.
pub fn the_names_of_slots_are_words_and_their_places_exist<B: Board>() -> Verdict {
    let partition = |index: usize| {
        let slot = u8::try_from(index).map(Slot).map_err(|_| format!("{index} is too many slots"))?;
        Ok::<_, String>(B::LAYOUT.partition(Role::Slot(slot)).is_some())
    };
    let names: &[&str] = match B::PLACES {
        Places::Trails => &[],
        Places::Slots(names) if names.len() < 2 => {
            return Err(format!("with the slots {names:?} there is none to try anything in"));
        }
        Places::Slots(names) => names,
    };
    for (index, name) in names.iter().enumerate() {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(word) {
            return Err(format!("{name:?} cannot be the value of cairn.slot"));
        }
        if names[..index].contains(name) {
            return Err(format!("two slots are called {name:?}"));
        }
        if partition(index)? != partition(0)? {
            return Err(format!("some slots have a partition and {name:?} differs"));
        }
    }
    if partition(names.len())? {
        return Err(format!("the layout has a partition for a slot that PLACES does not name: {names:?}"));
    }
    Ok(())
}
