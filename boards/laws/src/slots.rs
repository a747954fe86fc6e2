//! Which slot a new revision goes to: never that of the default, never that of what runs, and every name that goes with
//! it is told.

use boards_api::Board;
use boards_api::board::{Rests, Role};
use boards_api::media::SECTOR;
use boards_api::provision::{At, New};
use boards_api::slots::{Boots, Choice, Places, Shape, Slot, choose};
use formats::bootenv::label;
use statemachine::boot::{Spent, Wanted};
use statemachine::ids::RevisionId;

use crate::Verdict;
use crate::values::revision;

/// Who chooses: [`choose`], unless this law itself is tested.
pub type Chooser = fn(&[Vec<RevisionId>], &RevisionId, Option<&RevisionId>, &Wanted) -> Option<Choice>;

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
    // None, one, or two that were updated in place one from the other.
    let kinds: Vec<Vec<RevisionId>> =
        maybe.iter().map(|one| one.iter().cloned().collect()).chain([names[1..3].to_vec()]).collect();
    let combinations = kinds.len().pow(u32::try_from(slots.min(TRIED)).unwrap_or(0));
    for combination in 0..combinations {
        let held: Vec<_> = (0..slots)
            .map(|slot| kinds[combination / kinds.len().pow((slot % TRIED) as u32) % kinds.len()].clone())
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
    held: &[Vec<RevisionId>],
    new: &RevisionId,
    running: Option<&RevisionId>,
    wanted: &Wanted,
) -> Verdict {
    let case = || format!("slots {held:?}, running {running:?}, {wanted:?}, for {new:?}");
    let protected = |held: &RevisionId| *held == wanted.default || Some(held) == running;
    let free = held.iter().any(|held| !held.iter().any(protected));
    let Some(Choice { slot, evicts }) = choice else {
        return if free { Err(format!("{}: a slot is free and none was chosen", case())) } else { Ok(()) };
    };
    let taken = held.get(usize::from(slot.0)).ok_or_else(|| format!("{}: there is no {slot:?}", case()))?;
    if taken.iter().any(protected) {
        return Err(format!("{}: {slot:?} was chosen, which holds the default or what runs", case()));
    }
    let goes = |name: &Option<RevisionId>| name.as_ref().is_some_and(|name| taken.contains(name));
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

/// In every slot the labels and the image have places of their own, as large as the partition, and a new device has its labels
/// there. A label that stands in for a torn copy does not lie in the same erase group, nor in that of the image.
///
/// # Errors
/// The law is broken.
pub fn a_slot_has_room_for_its_labels_and_an_image<B: Board>() -> Verdict {
    let (names, Shape { labels, head, image }) = match (B::PLACES, B::SHAPE) {
        (Places::Trails, None) if B::BOOTS.contains(&Boots::Partition) => {
            return Err("a boot partition has no place in a trail".into());
        }
        (Places::Trails, None) => return Ok(()),
        (Places::Slots(_), Some(_)) if B::BOOTS.is_empty() || B::BOOTS.contains(&Boots::Linux) => {
            return Err(format!("a slot takes one image, and this firmware is said to start {:?}", B::BOOTS));
        }
        (Places::Slots(names), Some(shape)) => (names, shape),
        (places, shape) => return Err(format!("{places:?} with the shape {shape:?}")),
    };
    let sector = SECTOR as u64;
    let Some(first) = labels.first() else { return Err("a slot has no label".into()) };
    for (index, at) in labels.iter().chain([&image]).enumerate() {
        if !at.is_multiple_of(sector) || labels[..index].contains(at) && index < labels.len() {
            return Err(format!("byte {at} is not a sector of its own"));
        }
    }
    let groups: Vec<u64> = labels.iter().chain([&image]).map(|at| (at >> 10) / u64::from(B::ERASE_GROUP_KIB)).collect();
    if B::RESTS == Rests::OnNothing && (1..groups.len()).any(|at| groups[..at].contains(&groups[at])) {
        return Err(format!("labels at {labels:?} and an image at {image} share an erase group"));
    }
    for index in (0_u8..).take(names.len()) {
        let size = B::LAYOUT.partition(Role::Slot(Slot(index))).and_then(|partition| partition.size_kib);
        let end = labels.iter().max().unwrap_or(first).max(&image) + sector;
        if size.is_some_and(|kib| u64::from(kib) * 1024 < end) {
            return Err(format!("slot {index} ends before byte {end}"));
        }
    }
    let default = revision("0");
    let wanted = Wanted { nonce: 1, default: default.clone(), previous: None, factory: None, trial: None };
    let held: Vec<&[RevisionId]> = names.iter().map(|_| std::slice::from_ref(&default)).collect();
    let new = New { wanted: &wanted, spent: Spent { nonce: 1, boots: 0 }, slots: &held };
    let mut found = Vec::new();
    let provisioned = B::provision(&new, &mut |piece| {
        if let (Role::Slot(Slot(slot)), At::Byte(at)) = (piece.role, piece.at)
            && label::decode(piece.bytes, head).is_ok_and(|held| held.holds(&default))
        {
            found.push((slot, at));
        }
    });
    provisioned.map_err(|error| format!("the labels of a new device: {error}"))?;
    let all: Vec<_> = (0_u8..).take(names.len()).flat_map(|slot| labels.iter().map(move |at| (slot, *at))).collect();
    found.sort_unstable();
    if found == all { Ok(()) } else { Err(format!("a new device has the labels {found:?}, and should have {all:?}")) }
}
