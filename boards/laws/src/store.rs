//! What is stored is there, as often as one likes, and nothing else was touched.

use boards_api::Board;
use boards_api::board::Role;
use sim::Fuel;
use statemachine::boot::Wanted;

use crate::Verdict;
use crate::media::Device;
use crate::values::{life, made, noted};

/// A new device says what its image was made with.
///
/// # Errors
/// The law is broken.
pub fn what_an_image_holds_is_loaded<B: Board>() -> Verdict {
    life::<B>().iter().try_for_each(|wanted| {
        let (device, _) = made::<B>(wanted, noted(wanted))?;
        is::<B>(&device, wanted, "as the image was made")?;
        is::<B>(&device.unreplayed(), wanted, "as the image was made, without a replay")
    })
}

/// On `Ok` the value is there after any power cut, also for a reader that replays nothing.
///
/// # Errors
/// The law is broken.
pub fn what_is_stored_is_loaded_after_a_power_cut_and_without_a_replay<B: Board>() -> Verdict {
    let life = life::<B>();
    let (device, _) = made::<B>(&life[0], noted(&life[0]))?;
    for wanted in &life[1..] {
        stored::<B>(&device, wanted)?;
        is::<B>(&device, wanted, "after it was stored")?;
        is::<B>(&device.unreplayed(), wanted, "after it was stored, as a bootloader reads it, without a replay")?;
        device.power_on(&Fuel::unlimited());
        device.mount();
        is::<B>(&device, wanted, "after it was stored and power went")?;
    }
    Ok(())
}

/// A second store of the same changes nothing that anybody reads.
///
/// # Errors
/// The law is broken.
pub fn storing_twice_is_harmless<B: Board>() -> Verdict {
    let life = life::<B>();
    life.iter().zip(&life[1..]).try_for_each(|(old, new)| {
        let (device, _) = made::<B>(old, noted(old))?;
        for time in ["stored once", "stored twice", "stored three times"] {
            stored::<B>(&device, new)?;
            is::<B>(&device.unreplayed(), new, time)?;
        }
        Ok(())
    })
}

/// The note belongs to the bootloader, labels to their slots.
///
/// # Errors
/// The law is broken.
pub fn a_store_touches_nothing_but_the_cell_of_linux<B: Board>() -> Verdict {
    let life = life::<B>();
    let (device, pieces) = made::<B>(&life[0], noted(&life[0]))?;
    for wanted in &life[1..] {
        stored::<B>(&device, wanted)?;
        let others = pieces.iter().filter(|piece| piece.role != Role::Wanted);
        for piece in others {
            if device.bytes(piece).as_ref() != Some(&piece.bytes) {
                let (role, at) = (piece.role, piece.at);
                return Err(format!("storing {wanted:?} changed the bytes of {role:?} at {at:?}"));
            }
        }
    }
    Ok(())
}

/// Names of 64 characters, four of them.
///
/// # Errors
/// The law is broken.
pub fn names_as_people_and_hubs_give_them_fit<B: Board>() -> Verdict {
    let life = life::<B>();
    let longest = life.iter().max_by_key(|wanted| wanted.default.as_str().len()).ok_or("no values")?;
    let (device, _) = made::<B>(&life[0], noted(&life[0]))?;
    stored::<B>(&device, longest)?;
    is::<B>(&device, longest, "after it was stored")
}

pub(crate) fn stored<B: Board>(device: &Device, wanted: &Wanted) -> Verdict {
    device.store::<B>(wanted).map_err(|error| format!("{wanted:?} was not stored: {error}"))
}

/// The device says this and nothing else.
pub(crate) fn is<B: Board>(device: &Device, wanted: &Wanted, when: &str) -> Verdict {
    match device.load::<B>()?.0 {
        Ok(read) if read == *wanted => Ok(()),
        Ok(read) => Err(format!("{when}, {wanted:?} was read as {read:?}")),
        Err(error) => Err(format!("{when}, {wanted:?} was not read: {error}")),
    }
}
