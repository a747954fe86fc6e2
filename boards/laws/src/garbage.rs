//! Rot, blanks and strangers: an error, never a default; and a note that is no note is [`Note::Unreadable`].

use boards_api::Board;
use boards_api::board::{Rests, Role};
use boards_api::provision::At;
use sim::fuel::Luck;
use statemachine::boot::{Note, Spent, TrialKind, Wanted};

use crate::Verdict;
use crate::media::{Device, Owned};
use crate::values::{described, is_of_others, life, noted};

/// The value that is damaged here: one that has everything.
fn damaged<B: Board>() -> Result<(Wanted, Vec<Owned>), String> {
    let wanted = life::<B>().into_iter().rev().find(|wanted| wanted.trial.is_some()).ok_or("no values")?;
    let pieces = described::<B>(&wanted, noted(&wanted))?;
    Ok((wanted, pieces))
}

fn longest(pieces: &[Owned], role: Role) -> usize {
    pieces.iter().filter(|piece| piece.role == role).map(|piece| piece.bytes.len()).max().unwrap_or(0)
}

/// The pieces with the bytes of one role changed; the others as they are.
pub(crate) fn changed(pieces: &[Owned], role: Role, change: impl Fn(&mut Vec<u8>)) -> Vec<Owned> {
    let mut pieces = pieces.to_vec();
    pieces.iter_mut().filter(|piece| piece.role == role).for_each(|piece| change(&mut piece.bytes));
    pieces
}

/// Every bit of every byte, in all copies at once and in each alone. In a file that others write too it may read as theirs.
///
/// # Errors
/// The law is broken.
pub fn every_flipped_bit_of_a_cell_is_noticed_or_harmless<B: Board>() -> Verdict {
    let (wanted, pieces) = damaged::<B>()?;
    let bits = (0..8).map(|bit| 1_u8 << bit).chain([0xff]);
    for (byte, mask) in (0..longest(&pieces, Role::Wanted)).flat_map(|byte| bits.clone().map(move |mask| (byte, mask)))
    {
        let flip = |bytes: &mut Vec<u8>| {
            if let Some(at) = bytes.get_mut(byte) {
                *at ^= mask;
            }
        };
        let what = format!("byte {byte} of the cell XOR {mask:02x}");
        match Device::with::<B>(&changed(&pieces, Role::Wanted, flip))?.load::<B>()?.0 {
            Ok(read) if read != wanted && !is_of_others::<B>(&read) => {
                return Err(format!("{what}: {wanted:?} is read as {read:?}"));
            }
            _ => {}
        }
        if B::RESTS == Rests::OnWholeSectors {
            continue;
        }
        for copy in (0..pieces.len()).filter(|index| pieces[*index].role == Role::Wanted) {
            let mut pieces = pieces.clone();
            flip(&mut pieces[copy].bytes);
            match Device::with::<B>(&pieces)?.load::<B>()?.0 {
                Ok(read) if read == wanted => {}
                read => return Err(format!("{what}, in one copy: {wanted:?} is read as {read:?}")),
            }
        }
    }
    Ok(())
}

/// What may stand where a cell was, with its name. Each as long as the cell, but for the last ones.
pub(crate) fn garbage(pieces: &[Owned], role: Role, other: Role) -> Vec<(String, Vec<u8>)> {
    let length = longest(pieces, role);
    let mut garbage = vec![
        ("zeros".to_owned(), vec![0; length]),
        ("erased flash".to_owned(), vec![0xff; length]),
        ("text".to_owned(), b"timeout=5\n".iter().copied().cycle().take(length).collect()),
    ];
    for seed in 0..64 {
        let mut luck = Luck(seed);
        let bytes = (0..length).map(|_| luck.next().to_le_bytes()[0]).collect();
        garbage.push((format!("random bytes of seed {seed}"), bytes));
    }
    if let Some(strange) = pieces.iter().find(|piece| piece.role == other) {
        let mut bytes = strange.bytes.clone();
        bytes.resize(length, 0);
        garbage.push((format!("what belongs to {other:?}"), bytes));
    }
    garbage
}

/// Blank, random, foreign or missing: an error each time.
///
/// # Errors
/// The law is broken.
pub fn garbage_is_an_error_and_not_a_default<B: Board>() -> Verdict {
    let (_, pieces) = damaged::<B>()?;
    for (what, bytes) in garbage(&pieces, Role::Wanted, Role::Spent) {
        let device = Device::with::<B>(&changed(&pieces, Role::Wanted, |cell| {
            let length = cell.len();
            cell.clear();
            cell.extend(&bytes[..length]);
        }))?;
        if let Ok(read) = device.load::<B>()?.0 {
            return Err(format!("{what} is read as {read:?}"));
        }
    }
    for (what, pieces) in absent(&pieces, Role::Wanted) {
        if let Ok(Ok(read)) = Device::with::<B>(&pieces)?.load::<B>().map(|(wanted, _)| wanted) {
            return Err(format!("{what} is read as {read:?}"));
        }
    }
    Ok(())
}

/// Without the pieces of a role, and where they are files, with files that are too short.
fn absent(pieces: &[Owned], role: Role) -> Vec<(String, Vec<Owned>)> {
    // Something of the role stays, or its medium itself would be missing.
    let files = pieces.iter().any(|piece| piece.role == role && matches!(piece.at, At::File(_)));
    if !files {
        return Vec::new();
    }
    let mut without: Vec<_> = pieces.iter().filter(|piece| piece.role != role).cloned().collect();
    without.push(Owned { role, at: At::File("something else"), bytes: vec![0] });
    let short =
        |length: usize| (format!("a file of {length} bytes"), changed(pieces, role, |cell| cell.truncate(length)));
    vec![("a missing file".to_owned(), without), short(0), short(1), short(511)]
}

/// A note is what the firmware wrote, or it is nothing.
///
/// # Errors
/// The law is broken.
pub fn a_note_that_is_torn_or_absent_or_strange_is_unreadable<B: Board>() -> Verdict {
    let (wanted, pieces) = damaged::<B>()?;
    let (old, new) = (noted(&wanted), Spent { nonce: wanted.nonce, boots: 3 });
    let note = |pieces: &[Owned]| Ok::<_, String>(Device::with::<B>(pieces)?.load::<B>()?.1);
    if longest(&pieces, Role::Spent) == 0 {
        return match (B::TRIAL, note(&pieces)?) {
            (TrialKind::Counted, _) => Err("its firmware counts, and provision() puts no note for Role::Spent".into()),
            (_, Note::Read(Spent { boots: 0, .. })) => Ok(()),
            (_, read) => Err(format!("its firmware writes no note, and one is read: {read:?}")),
        };
    }
    let after = described::<B>(&wanted, new)?;
    for (spent, pieces) in [(old, &pieces), (new, &after)] {
        if note(pieces)? != Note::Read(spent) {
            return Err(format!("the note {spent:?} is read as {:?}", note(pieces)?));
        }
    }
    let allowed = [Note::Read(old), Note::Read(new), Note::Unreadable];
    let bytes_of = |pieces: &[Owned]| {
        pieces.iter().find(|piece| piece.role == Role::Spent).map(|piece| piece.bytes.clone()).unwrap_or_default()
    };
    let new_bytes = bytes_of(&after);
    for cut in 0..=longest(&pieces, Role::Spent) {
        let torn = changed(&pieces, Role::Spent, |bytes| {
            let cut = cut.min(bytes.len()).min(new_bytes.len());
            bytes[..cut].copy_from_slice(&new_bytes[..cut]);
        });
        let read = note(&torn)?;
        if !allowed.contains(&read) {
            return Err(format!("{old:?}, overwritten with {new:?} up to byte {cut}, is read as {read:?}"));
        }
        for mask in (0..8).map(|bit| 1_u8 << bit).chain([0xff]) {
            let read = note(&changed(&pieces, Role::Spent, |bytes| {
                if let Some(at) = bytes.get_mut(cut) {
                    *at ^= mask;
                }
            }))?;
            if !matches!(read, Note::Unreadable) && read != Note::Read(old) {
                return Err(format!("{old:?} with byte {cut} XOR {mask:02x} is read as {read:?}"));
            }
        }
    }
    let strange = garbage(&pieces, Role::Spent, Role::Wanted).into_iter().map(|(what, bytes)| {
        let pieces = changed(&pieces, Role::Spent, |cell| {
            let length = cell.len();
            cell.clear();
            cell.extend(&bytes[..length]);
        });
        (what, pieces)
    });
    for (what, pieces) in strange.chain(absent(&pieces, Role::Spent)) {
        match note(&pieces)? {
            Note::Unreadable => {}
            read @ Note::Read(_) => return Err(format!("{what}, where the note was, is read as {read:?}")),
        }
    }
    Ok(())
}
