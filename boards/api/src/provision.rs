//! What the cells of a new device hold: bytes and where they lie, one [`Piece`] for each copy.
//!
//! A board says it once, in [`Board::provision`](crate::board::Board::provision); the image builder writes it, and the
//! laws of `board-laws` begin with it, so that what they cut is what an image has. The functions here are the usual ways.
//!
//! ```text
//!   New { wanted, spent, slots } ──board──▶ Piece { role, at, bytes } × copies
//! ```

use formats::bootenv::uboot::Head;
use formats::bootenv::{Error, grub, raw};
use statemachine::boot::{Spent, Wanted};
use statemachine::ids::RevisionId;

use crate::board::Role;

/// What a new device knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct New<'a> {
    /// What is wanted.
    pub wanted: &'a Wanted,
    /// What the firmware has noted; on boards whose firmware writes no note it is not written down.
    pub spent: Spent,
    /// What each slot holds, in the order of the board's slots; empty where firmware reads trails.
    pub slots: &'a [&'a [RevisionId]],
}

/// Where in a medium a piece lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum At {
    /// From this byte of what [`Media::sectors`](crate::board::Media::sectors) opens for the role.
    Byte(u64),
    /// A file of this name, in what [`Media::files`](crate::board::Media::files) opens for the role.
    File(&'static str),
}

/// Bytes of a new device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece<'a> {
    /// What it is for. Of [`Role::Wanted`] there may be several: copies, spare files.
    pub role: Role,
    /// Where it lies.
    pub at: At,
    /// All of it: whole sectors, or the whole file.
    pub bytes: &'a [u8],
}

/// `Wanted` and note in U-Boot's format, each copy in a sector of its own: a pair of raw sectors, or one file.
///
/// # Errors
/// As [`raw::encode_wanted`].
pub fn raw_cells<const FLAGGED: bool>(
    new: &New<'_>,
    wanted: &[At],
    spent: At,
    put: &mut dyn FnMut(Piece<'_>),
) -> Result<(), Error> {
    let head = if FLAGGED { Head::Flagged } else { Head::Plain };
    let bytes = raw::encode_wanted(new.wanted, head)?;
    wanted.iter().for_each(|at| put(Piece { role: Role::Wanted, at: *at, bytes: &bytes }));
    put(Piece { role: Role::Spent, at: spent, bytes: &raw::encode_spent(&new.spent, head)? });
    Ok(())
}

/// `Wanted` and note as blocks of GRUB.
///
/// # Errors
/// As [`grub::encode_wanted`].
pub fn grub_cells(new: &New<'_>, wanted: At, spent: At, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
    put(Piece { role: Role::Wanted, at: wanted, bytes: &grub::encode_wanted(new.wanted)? });
    put(Piece { role: Role::Spent, at: spent, bytes: &grub::encode_spent(&new.spent)? });
    Ok(())
}
