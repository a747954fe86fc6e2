//! A note that the firmware cannot make: PID 1 makes it anew, and it says what the unreadable one said.
//!
//! ```text
//!   garbage ── mend, cut at each write ──▶ unreadable, or what it was worth ── Board::provision's bytes ──▶ the same pick
//! ```

use boards_api::Board;
use boards_api::board::Role;
use sim::{Fuel, Tear};
use statemachine::boot::{CHAIN_TRIES, Note, Wanted, pick};

use crate::Verdict;
use crate::garbage::{changed, garbage};
use crate::media::{Device, Owned};
use crate::values::{described, life, noted};

/// More writes than making a note takes.
const MOST: u64 = 8;

/// At every moment of it, and after power has gone at any, a script chooses what it would have chosen, and what Linux
/// wants is untouched. A board whose firmware makes its notes is left alone.
///
/// # Errors
/// The law is broken.
pub fn a_note_is_made_anew_without_a_change_of_what_it_says<B: Board>() -> Verdict {
    for wanted in life::<B>() {
        let pieces = described::<B>(&wanted, noted(&wanted))?;
        for (what, bytes) in garbage(&pieces, Role::Spent, Role::Wanted) {
            let broken = changed(&pieces, Role::Spent, |cell| {
                let length = cell.len();
                cell.clear();
                cell.extend(&bytes[..length]);
            });
            made_anew::<B>(&wanted, &broken).map_err(|why| format!("{what}, where the note was: {why}"))?;
        }
    }
    Ok(())
}

fn made_anew<B: Board>(wanted: &Wanted, broken: &[Owned]) -> Verdict {
    let device = Device::with::<B>(broken)?;
    let untouched = device.copy();
    let mended = device.mend::<B>(Some(wanted))?;
    if mended != B::MENDS_NOTE {
        return Err(format!("MENDS_NOTE is {}, and mend() says {mended}", B::MENDS_NOTE));
    }
    if !mended {
        return if device.holds_the_same(&untouched) { Ok(()) } else { Err("something was written".into()) };
    }
    says::<B>(&device, wanted, &[Note::Read(Note::spelled_out(Some(wanted)))])?;
    for (cut, tear) in (0..MOST).flat_map(|cut| Tear::ATOMIC.iter().map(move |tear| (cut, *tear))) {
        let device = untouched.copy();
        device.power_on(&Fuel::limited(cut, tear, cut));
        let whole = device.mend::<B>(Some(wanted)).is_ok();
        device.power_on(&Fuel::unlimited());
        let spelled = Note::Read(Note::spelled_out(Some(wanted)));
        let allowed: &[Note] = if whole { &[spelled] } else { &[Note::Unreadable, spelled] };
        says::<B>(&device, wanted, allowed).map_err(|why| format!("power went at write {cut} ({tear:?}): {why}"))?;
        device.mend::<B>(Some(wanted))?;
        says::<B>(&device, wanted, &[spelled]).map_err(|why| format!("and once more, after write {cut}: {why}"))?;
    }
    Ok(())
}

/// Wanted is as it was, the note one of these, and the choice that of an unreadable one.
fn says<B: Board>(device: &Device, wanted: &Wanted, allowed: &[Note]) -> Verdict {
    let (read, note) = device.load::<B>()?;
    if read.as_ref() != Ok(wanted) {
        return Err(format!("{wanted:?} is read as {read:?}"));
    }
    if !allowed.contains(&note) {
        return Err(format!("the note reads {note:?}, and may be one of {allowed:?}"));
    }
    let choice = |note| pick(B::TRIAL, Some(wanted), note, false, CHAIN_TRIES);
    if choice(&note) == choice(&Note::Unreadable) { Ok(()) } else { Err(format!("{note:?} chooses something else")) }
}
