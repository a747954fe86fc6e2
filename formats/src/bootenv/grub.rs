//! GRUB's environment block, and the boot cells in two of them.
//!
//! ```text
//!   0    # GRUB Environment Block LF
//!   25   cairn_sum=1f3d5b79 LF
//!        cairn_nonce=7 LF cairn_default=… LF … cairn_max=xxx LF
//!        cairn_end=1f3d5b79 LF
//!   …    ##########  filling up to byte 1024; from byte 512 on there is nothing else
//! ```
//!
//! GRUB overwrites the blocks of a file in place, so a cell is a preallocated file on FAT: `Wanted` written by Linux,
//! `Spent` by `save_env --file=… cairn_note cairn_spent cairn_boots cairn_noted`. There is one copy of each. That a
//! sector is written whole is assumed; everything that changes lies in the first one, and the first and the last
//! variable are equal or else the cell is torn, which a script can see as well. The sum stands in both and covers the
//! lines between them, so Linux notices rot too. Variables: [`super`].
//!
//! What there is room for: [`NAMES_MAX`] bytes for the names of default, previous, factory and trial together.

use core::fmt;

use statemachine::boot::{Note, Spent, Wanted};

use super::protocol::{Tally, put_spent, put_wanted, take_spent, take_wanted};
use super::text::{Full, Text};
use super::vars::{Change, Dialect, Vars};
use super::{Error, Key, key};
use crate::crc32::crc32;

/// Bytes of a block.
pub const BLOCK: usize = 1024;

/// Bytes of a cell of ours that ever change: one sector.
pub const CHANGING: usize = 512;

/// What the four names of `Wanted` may have together; four names of 86 bytes, where the longest has 96.
pub const NAMES_MAX: usize = CHANGING - 25 - (19 + 23 + 15 + 16 + 15 + 13 + 22 + 19);

const SIGNATURE: &[u8] = b"# GRUB Environment Block\n";
const FILLING: u8 = b'#';
const LF: u8 = b'\n';
const WANTED: [Key; 8] =
    [key::SUM, key::NONCE, key::DEFAULT, key::PREVIOUS, key::FACTORY, key::TRIAL, key::MAX, key::END];
const SPENT: [Key; 4] = [key::NOTE, key::SPENT, key::BOOTS, key::NOTED];

/// Reads a block, whoever wrote it.
///
/// # Errors
/// [`Error::Length`] unless it has [`BLOCK`] bytes; [`Error::Signature`]; [`Error::Unterminated`] where GRUB itself calls a block broken, because no line ends before
/// the filling.
pub fn open(block: &[u8]) -> Result<Vars<'_>, Error> {
    if block.len() != BLOCK {
        return Err(Error::Length { given: block.len(), wanted: BLOCK });
    }
    let after = block.strip_prefix(SIGNATURE).ok_or(Error::Signature)?;
    let used = after.iter().rposition(|byte| *byte != FILLING).map_or(0, |last| last + 1);
    let lines = after.get(..used).unwrap_or_default();
    if !matches!(lines.last(), None | Some(&LF)) {
        return Err(Error::Unterminated { within: block.len() });
    }
    Ok(Vars::new(Dialect::Grub, lines, SIGNATURE.len()))
}

/// Writes `old` with `changes` as a block; other lines keep their bytes and their order. The values
/// are written as they are: they may hold neither a line feed nor a backslash, as no value of ours does.
///
/// # Errors
/// [`Error::Room`] names the variable that did not fit.
pub fn write(old: Vars<'_>, changes: &[Change<'_>]) -> Result<[u8; BLOCK], Error> {
    let mut block = [FILLING; BLOCK];
    let mut text = Text::new(&mut block);
    text.put(SIGNATURE).map_err(|Full| Error::Signature)?;
    old.rewrite(changes, &mut text, BLOCK)?;
    Ok(block)
}

/// The variables of a block that holds none.
#[must_use]
pub fn empty() -> Vars<'static> {
    Vars::new(Dialect::Grub, &[], SIGNATURE.len())
}

/// `Wanted` as a block.
///
/// # Errors
/// [`Error::Room`] if the names are longer than [`NAMES_MAX`] together; [`Error::Issued`], because this firmware counts;
/// [`Error::Attempts`].
pub fn encode_wanted(wanted: &Wanted) -> Result<[u8; BLOCK], Error> {
    if let Some(trial) = wanted.trial.as_ref().filter(|trial| trial.issued > 0) {
        return Err(Error::Issued(trial.issued));
    }
    // The lines are written twice: the sum that stands before them is known only after them.
    let mut lines = [0; CHANGING];
    let mut text = Text::new(&mut lines);
    put_wanted(wanted, &mut text, LF)?;
    let sum = Sum(crc32(text.written()));
    cell(|into| {
        into.variable(key::SUM, &sum, LF)?;
        put_wanted(wanted, into, LF)?;
        into.variable(key::END, &sum, LF)
    })
}

/// Reads `Wanted`.
///
/// # Errors
/// Anything but the very bytes that [`encode_wanted`] makes.
pub fn decode_wanted(block: &[u8]) -> Result<Wanted, Error> {
    let vars = whole(block, &WANTED)?;
    if vars.get(key::SUM) != vars.get(key::END) {
        return Err(Error::Torn { first: key::SUM, last: key::END });
    }
    let wanted = take_wanted(vars)?;
    let expected = encode_wanted(&wanted)?;
    let stored = sum(vars)?;
    match sum(open(&expected)?)? {
        computed if computed != stored => Err(Error::Checksum { stored, computed }),
        _ if expected != *block => Err(Error::Form),
        _ => Ok(wanted),
    }
}

/// The note as GRUB leaves it; for images, for stand-ins of a firmware, and for tests.
///
/// # Errors
/// [`Error::Room`] beyond 130 boots; a script stops counting at the end of the list, after at most 20.
pub fn encode_spent(spent: &Spent) -> Result<[u8; BLOCK], Error> {
    let note = format_args!("{}:{}", spent.nonce, Tally(spent.boots));
    cell(|into| {
        into.variable(key::NOTE, note, LF)?;
        put_spent(spent, into, LF)?;
        into.variable(key::NOTED, note, LF)
    })
}

/// Reads the note.
///
/// # Errors
/// Anything but a whole note of our script.
pub fn decode_spent(block: &[u8]) -> Result<Spent, Error> {
    let vars = whole(block, &SPENT)?;
    let spent = take_spent(vars)?;
    // GRUB keeps the lines where they are, so the file that the image builder made fixes their order, and what a script
    // has written is what would be written here.
    if vars.get(key::NOTE) != vars.get(key::NOTED) {
        return Err(Error::Torn { first: key::NOTE, last: key::NOTED });
    }
    if encode_spent(&spent)? != *block { Err(Error::Form) } else { Ok(spent) }
}

/// The note as a boot decision takes it.
#[must_use]
pub fn note(block: &[u8]) -> Note {
    decode_spent(block).map_or(Note::Unreadable, Note::Read)
}

/// A block with these variables and nothing else.
fn whole<'a>(block: &'a [u8], keys: &[Key]) -> Result<Vars<'a>, Error> {
    let vars = open(block)?;
    vars.only(keys)?;
    Ok(vars)
}

/// A block of which only the first sector ever changes.
fn cell(lines: impl FnOnce(&mut Text<'_>) -> Result<(), Error>) -> Result<[u8; BLOCK], Error> {
    let mut block = [FILLING; BLOCK];
    let mut text = Text::new(block.get_mut(..CHANGING).unwrap_or_default());
    text.put(SIGNATURE).map_err(|Full| Error::Signature)?;
    lines(&mut text)?;
    Ok(block)
}

fn sum(vars: Vars<'_>) -> Result<u32, Error> {
    let digits = vars.get(key::SUM).and_then(|digits| core::str::from_utf8(digits).ok());
    digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).ok_or(Error::Number(key::SUM))
}

/// A checksum in eight digits.
struct Sum(u32);

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}
