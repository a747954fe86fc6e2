//! What the cells of a new device hold: bytes and where they lie, one [`Piece`] for each copy.
//!
//! A board says it once, in [`Board::provision`]; the image builder writes it, and the
//! laws of `board-laws` begin with it, so that what they cut is what an image has. The functions here are the usual ways.
//!
//! ```text
//!   New { wanted, spent, slots } ──board──▶ Piece { role, at, bytes } × copies
//! ```

use formats::bootenv::uboot::Head;
use formats::bootenv::{Error, grub, raw};
use statemachine::boot::{Note, Spent, Wanted};
use statemachine::ids::RevisionId;

use crate::board::{Board, Media, Role};
use crate::media::{SECTOR, Sectors};

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
    /// From this byte of what [`Media::sectors`] opens for the role.
    Byte(u64),
    /// A file of this name, in what [`Media::files`] opens for the role.
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

/// Why a note was not made anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MendError<E> {
    /// The board cannot write it down.
    Encoding(Error),
    /// The board does not say where it lies, in whole sectors.
    Place,
    /// The medium failed.
    Medium(E),
}

impl<E: core::fmt::Display> core::fmt::Display for MendError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Encoding(error) => write!(f, "the firmware's note cannot be made anew: {error}"),
            Self::Place => f.write_str("the firmware's note cannot be made anew: its place is not known"),
            Self::Medium(error) => write!(f, "the firmware's note cannot be made anew: {error}"),
        }
    }
}

impl<E: core::error::Error> core::error::Error for MendError<E> {}

/// Makes a note anew that was just found unreadable, beside this `wanted`: says the same as before, to a firmware that can
/// go on from there. Whether anything was written.
///
/// ```text
///   before   ▓▓▓ ▓▓▓    first  ··· ▓▓▓    then  ··· ###    last  new ###        unreadable until the last sector
/// ```
///
/// # Errors
/// [`MendError`]; the note is as unreadable as it was.
pub fn mend<B: Board, M: Media>(
    media: &mut M,
    wanted: Option<&Wanted>,
) -> Result<bool, MendError<<M::Sectors as Sectors>::Error>> {
    if !B::MENDS_NOTE {
        return Ok(false);
    }
    let spent = Note::spelled_out(wanted);
    let blank = Wanted { nonce: 1, default: RevisionId::factory(), previous: None, factory: None, trial: None };
    let new = New { wanted: wanted.unwrap_or(&blank), spent, slots: &[] };
    let mut laid = Err(MendError::Place);
    let mut put = |piece: Piece<'_>| {
        if let (Role::Spent, At::Byte(at)) = (piece.role, piece.at)
            && let Some(sectors) = media.sectors(Role::Spent)
        {
            laid = lay(sectors, at, piece.bytes);
        }
    };
    B::provision(&new, &mut put).map_err(MendError::Encoding)?;
    laid.map(|()| true)
}

/// Lays sectors so that what is there is nothing whole until the last of them is written.
fn lay<S: Sectors>(mut sectors: S, at: u64, bytes: &[u8]) -> Result<(), MendError<S::Error>> {
    let (first, behind) = bytes.split_at_checked(SECTOR).ok_or(MendError::Place)?;
    if !behind.len().is_multiple_of(SECTOR) {
        return Err(MendError::Place);
    }
    let mut write = |at, bytes| sectors.write(at, bytes).map_err(MendError::Medium);
    if !behind.is_empty() {
        write(at, &[0; SECTOR])?;
        write(at + SECTOR as u64, behind)?;
    }
    write(at, first)
}
