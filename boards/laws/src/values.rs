//! What the laws store: values that a board of this kind meets in its life, in the order of that life.
//!
//! ```text
//!   slot 0 holds   0   2   locals/ddd…      Without slots every name is held by its trail.
//!   slot 1 holds   1   3   locals/ttt…      A default and its trial are never in one slot.
//! ```

use boards_api::Board;
use boards_api::provision::New;
use boards_api::slots::Places;
use statemachine::boot::{Spent, TRIAL_ATTEMPTS_CEILING, Trial, TrialKind, Wanted};
use statemachine::ids::RevisionId;

use crate::media::{Device, Owned, pieces};

/// The first characters of names of the length that people and hubs give.
const LONG: [char; 4] = ['d', 'p', 'f', 't'];

fn long(letter: char) -> RevisionId {
    revision(&format!("locals/{}", letter.to_string().repeat(64)))
}

/// A revision by its name.
#[expect(clippy::expect_used, reason = "names of this crate, each met by every test")]
pub(crate) fn revision(name: &str) -> RevisionId {
    RevisionId::parse(name).expect("a name of this crate")
}

/// The names of a value: default, previous, factory, trial; nothing for none.
fn wanted<B: Board>(nonce: u32, names: [Option<RevisionId>; 4], max: u8, issued: u8) -> Wanted {
    let [default, previous, factory, trial] = names;
    let (max, issued) = match B::TRIAL {
        TrialKind::Counted => (max, 0),
        TrialKind::OneShot => (max, issued),
        TrialKind::Toggling => (1, 0),
    };
    let trial = trial.map(|revision| Trial { revision, max, issued });
    Wanted { nonce, default: default.unwrap_or_else(RevisionId::factory), previous, factory, trial }
}

/// A life: made, armed, committed, armed again, with the longest names, at rest again. No two are equal.
pub(crate) fn life<B: Board>() -> Vec<Wanted> {
    let id = |name: &str| Some(revision(name));
    vec![
        wanted::<B>(1, [id("0"), None, id("0"), None], 0, 0),
        wanted::<B>(2, [id("0"), None, id("0"), id("1")], 3, 1),
        wanted::<B>(3, [id("1"), id("0"), id("0"), None], 0, 0),
        wanted::<B>(70_000, [id("1"), id("0"), None, id("2")], TRIAL_ATTEMPTS_CEILING, 2),
        wanted::<B>(u32::MAX - 1, LONG.map(|letter| Some(long(letter))), 3, 3),
        wanted::<B>(u32::MAX, [id("2"), None, None, None], 0, 0),
    ]
}

/// What each slot of the board holds in all of this.
pub(crate) fn held<B: Board>() -> Vec<Vec<RevisionId>> {
    let Places::Slots(names) = B::PLACES else { return Vec::new() };
    let [default, previous, factory, trial] = LONG.map(long);
    let mut held = vec![Vec::new(); names.len()];
    held[0].extend([revision("0"), revision("2"), default, factory]);
    if let Some(second) = held.get_mut(1) {
        second.extend([revision("1"), revision("3"), previous, trial]);
    }
    held
}

/// A device that was made with this value, and its pieces.
pub(crate) fn made<B: Board>(wanted: &Wanted, spent: Spent) -> Result<(Device, Vec<Owned>), String> {
    let pieces = described::<B>(wanted, spent)?;
    Ok((Device::with::<B>(&pieces)?, pieces))
}

/// The pieces of such a device.
pub(crate) fn described<B: Board>(wanted: &Wanted, spent: Spent) -> Result<Vec<Owned>, String> {
    let held = held::<B>();
    let slots: Vec<&[RevisionId]> = held.iter().map(Vec::as_slice).collect();
    pieces::<B>(&New { wanted, spent, slots: &slots })
}

/// Boots since a value was stored: a note as it stands beside it.
pub(crate) fn noted(wanted: &Wanted) -> Spent {
    Spent { nonce: wanted.nonce, boots: 2 }
}

/// Whether a value is what somebody else has written into a file that is theirs too: no store of ours has its nonce.
pub(crate) fn is_of_others<B: Board>(read: &Wanted) -> bool {
    B::SHARES.is_some() && read.nonce == 0
}
