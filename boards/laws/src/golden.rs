//! What other tools have written is understood, and what this board writes is what they were seen to read.
//!
//! The files of [`KNOWN`] were written by real bootloaders, or by our encoder and then read by real bootloaders; how, stands
//! in `tests/formats/golden/README.md`. A board's own are those whose cell has the very bytes that the board makes of the
//! same value. A board with an encoding of its own passes files of its own.

use boards_api::Board;
use boards_api::board::Role;
use formats::bootenv::Error;
use statemachine::boot::{Note, Spent, Trial, Wanted};
use statemachine::ids::RevisionId;

use crate::Verdict;
use crate::media::{Device, Owned, pieces};
use crate::values::revision;
use boards_api::provision::New;

/// Bytes that a bootloader has read or written, and what they say.
#[derive(Clone, Copy, Debug)]
pub struct Golden {
    /// What it is, for the failure.
    pub name: &'static str,
    /// A cell of Linux.
    pub cell: &'static [u8],
    /// What the cell says.
    pub wanted: fn() -> Wanted,
    /// The note that the bootloader left after reading the cell, and what it says; `None` where it writes none.
    pub note: Option<(&'static [u8], Spent)>,
}

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/formats/golden/", $name))
    };
}

/// The encodings of `formats`.
pub const KNOWN: &[Golden] = &[
    Golden {
        name: "U-Boot 2023.01, env import -c and env export -c",
        cell: file!("cairn-wanted.bin"),
        wanted: counted,
        note: Some((file!("uboot-2023.01-note.bin"), Spent { nonce: u32::MAX, boots: 12 })),
    },
    Golden {
        name: "an environment with a flag, for a U-Boot that was built for two",
        cell: file!("cairn-wanted-flagged.bin"),
        wanted: counted,
        note: None,
    },
    Golden {
        name: "GRUB 2.06, load_env and save_env",
        cell: file!("cairn-wanted.grubenv"),
        wanted: counted,
        note: Some((file!("grub-2.06-note.grubenv"), Spent { nonce: u32::MAX, boots: 15 })),
    },
    Golden {
        name: "autoboot.txt of a Raspberry Pi, as its maker documents it",
        cell: file!("autoboot.txt"),
        wanted: one_shot,
        note: None,
    },
];

fn counted() -> Wanted {
    Wanted {
        nonce: u32::MAX,
        default: revision("locals/a-day_at.the-desk"),
        previous: Some(revision("12")),
        factory: None,
        trial: Some(Trial { revision: revision("13"), max: 11, issued: 0 }),
    }
}

fn one_shot() -> Wanted {
    let trial = Trial { revision: revision("13"), max: 3, issued: 1 };
    Wanted { nonce: 7, factory: Some(RevisionId::factory()), trial: Some(trial), ..counted() }
}

/// The pieces of a device with this value, its trial in another slot than the rest. `None`: this encoding has no place
/// for it.
fn device<B: Board>(wanted: &Wanted) -> Result<Option<Vec<Owned>>, String> {
    let trial: Vec<_> = wanted.trial.iter().map(|trial| trial.revision.clone()).collect();
    let default = [wanted.default.clone()];
    let slots: [&[RevisionId]; 2] = [&default, &trial];
    let new = New { wanted, spent: Spent::default(), slots: &slots };
    match B::provision(&new, &mut |_| {}) {
        Err(Error::Issued(_)) => Ok(None),
        _ => pieces::<B>(&new).map(Some),
    }
}

/// Every file that is of this board's kind; at least one is.
///
/// # Errors
/// The law is broken.
pub fn the_files_of_other_tools_are_understood<B: Board>(golden: &[Golden]) -> Verdict {
    let mut ours = 0;
    for file in golden {
        let wanted = (file.wanted)();
        let Some(mut pieces) = device::<B>(&wanted)? else { continue };
        let cell = pieces.iter().find(|piece| piece.role == Role::Wanted);
        if cell.is_none_or(|cell| cell.bytes != file.cell) {
            continue;
        }
        ours += 1;
        for piece in &mut pieces {
            match (piece.role, file.note) {
                (Role::Wanted, _) => piece.bytes = file.cell.to_vec(),
                (Role::Spent, Some((note, _))) => piece.bytes = note.to_vec(),
                _ => {}
            }
        }
        let (read, note) = Device::with::<B>(&pieces)?.load::<B>()?;
        if read.as_ref() != Ok(&wanted) {
            return Err(format!("{}: the cell says {wanted:?} and is read as {read:?}", file.name));
        }
        if let Some((_, spent)) = file.note
            && note != Note::Read(spent)
        {
            return Err(format!("{}: the note says {spent:?} and is read as {note:?}", file.name));
        }
    }
    match ours {
        0 => Err("none of the golden files has the bytes that this board makes of the same value; if its encoding is \
                  its own, pass files that its bootloader has read: board_laws!(Board, golden: &[…])"
            .to_owned()),
        _ => Ok(()),
    }
}
