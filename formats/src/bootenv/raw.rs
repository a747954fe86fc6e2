//! The boot cells in raw sectors, which U-Boot reads and writes without a file system: no driver of a file system
//! stands between a cell and the medium, so a store touches nothing but its sector.
//!
//! ```text
//!   sector   0            1            2
//!          ┌────────────┬────────────┬────────────┐
//!          │ Wanted     │ Wanted     │ Spent      │      each: a U-Boot environment of 512 bytes
//!          │ first copy │ second     │            │
//!          └────────────┴────────────┴────────────┘
//!            Linux        Linux        U-Boot
//! ```
//!
//! In a script: `mmc read $a $s 1 && env import -c $a 200` for the first copy, else for the second; and
//! `env export -c -s 200 $a cairn_spent cairn_boots && mmc write $a $s 1` for the note. Variables: [`super`].
//!
//! **Which copy.** The first, if it is whole; else the second. There is no generation to compare: Linux writes the first
//! copy, flushes, writes the second, flushes. Before that it repairs what an earlier cut has left ([`Pair::repair`]), so
//! that both copies agree whenever a store begins, and a torn first copy always uncovers the value of just before. What
//! this costs is a second write for each store; what it saves is the one comparison that a script could get wrong.
//!
//! The note has one copy: torn, it reads as [`Note::Unreadable`], which spends the trial and nothing else.

use statemachine::boot::{Note, Spent, Wanted};

use super::protocol::{Tally, put_issued, put_wanted, take_spent, take_wanted};
use super::uboot::{self, Head};
use super::{Error, Key, key};

/// Bytes of each cell. Smaller than a sector of the medium, it is the beginning of that sector.
pub const SECTOR: usize = 512;

const WANTED: [Key; 7] = [key::NONCE, key::DEFAULT, key::PREVIOUS, key::FACTORY, key::TRIAL, key::MAX, key::ISSUED];
const SPENT: [Key; 2] = [key::SPENT, key::BOOTS];
/// Which copy is the newer one is told by its place, so the flag always says the same.
const FLAG: u8 = 1;

/// Both copies of `Wanted`, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pair {
    /// What counts.
    pub wanted: Wanted,
    /// What has to be done before the next store.
    pub repair: Option<Repair>,
}

/// A copy that is behind, torn or rotten: to be overwritten with the bytes of the other one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repair {
    /// Write the second copy's bytes into the first.
    First,
    /// Write the first copy's bytes into the second.
    Second,
}

/// One copy of `Wanted`. All names at their greatest length fit.
///
/// # Errors
/// [`Error::Attempts`].
pub fn encode_wanted(wanted: &Wanted, head: Head) -> Result<[u8; SECTOR], Error> {
    let mut sector = [0; SECTOR];
    uboot::seal(head, FLAG, &mut sector, |text| {
        put_wanted(wanted, text, 0)?;
        put_issued(wanted, text, 0)
    })?;
    Ok(sector)
}

/// Reads one copy of `Wanted`.
///
/// # Errors
/// Anything but a whole cell of ours.
pub fn decode_wanted(sector: &[u8], head: Head) -> Result<Wanted, Error> {
    let env = open(sector, head)?;
    env.vars.only(&WANTED)?;
    take_wanted(env.vars)
}

/// Reads both copies of `Wanted`. A copy that the medium did not give back at all is an empty slice.
///
/// # Errors
/// What is wrong with the first copy, if the second is not whole either.
pub fn decode_pair(first: &[u8], second: &[u8], head: Head) -> Result<Pair, Error> {
    match (decode_wanted(first, head), decode_wanted(second, head)) {
        (Ok(wanted), _) => Ok(Pair { wanted, repair: (first != second).then_some(Repair::Second) }),
        (Err(_), Ok(wanted)) => Ok(Pair { wanted, repair: Some(Repair::First) }),
        (Err(why), Err(_)) => Err(why),
    }
}

/// The note as U-Boot writes it, byte for byte; for images, for stand-ins of a firmware, and for tests.
///
/// # Errors
/// None that can happen: the largest note fits.
pub fn encode_spent(spent: &Spent, head: Head) -> Result<[u8; SECTOR], Error> {
    let mut sector = [0; SECTOR];
    // `env export` sorts by name.
    uboot::seal(head, FLAG, &mut sector, |text| {
        text.variable(key::BOOTS, Tally(spent.boots), 0)?;
        text.variable(key::SPENT, spent.nonce, 0)
    })?;
    Ok(sector)
}

/// Reads the note.
///
/// # Errors
/// Anything but a whole note of our script.
pub fn decode_spent(sector: &[u8], head: Head) -> Result<Spent, Error> {
    let env = open(sector, head)?;
    env.vars.only(&SPENT)?;
    take_spent(env.vars)
}

/// The note as a boot decision takes it.
#[must_use]
pub fn note(sector: &[u8], head: Head) -> Note {
    decode_spent(sector, head).map_or(Note::Unreadable, Note::Read)
}

fn open(sector: &[u8], head: Head) -> Result<uboot::Env<'_>, Error> {
    if sector.len() != SECTOR {
        return Err(Error::Length { given: sector.len(), wanted: SECTOR });
    }
    uboot::open(sector, head)
}
