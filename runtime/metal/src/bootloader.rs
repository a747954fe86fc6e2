//! The two copies of a bootloader at work: orders of [`statemachine::bootloader`], carried out one by one.
//!
//! ```text
//!   renew   Look ▸ Read ▸ … ▸ Write, in pieces ▸ read back, hashed ▸ Switch ▸ Look        each write durable
//!   cut     anywhere: what boots is what booted before, or the whole new one
//! ```
//!
//! What the copies are is a [`Pair`]: on a device [`emmc`](crate::emmc), in tests a simulation that loses power.

use std::io::{self, Read};

use boards_api::media::{SECTOR, Sectors};
use formats::object::Hasher;
use statemachine::bootloader::{Order, Replacement, Twin};
use statemachine::ids::Digest;

use crate::slots::Image;

/// Bytes that are in memory at once, whole sectors.
const PIECE: usize = 256 * 1024;

/// Two copies of a bootloader, one of which boots. Errors are for a person.
pub trait Pair {
    /// What a copy is called.
    fn name(&self, copy: Twin) -> &str;

    /// Bytes that the smaller of both has room for.
    fn room(&self) -> u64;

    /// Which one boots.
    ///
    /// # Errors
    /// Neither does, or it cannot be told.
    fn active(&self) -> Result<Twin, String>;

    /// What the first bytes of a copy are, as its medium gives them back.
    ///
    /// # Errors
    /// It does not.
    fn digest(&self, copy: Twin, length: u64) -> Result<Digest, String>;

    /// Writes to the first bytes of a copy, durably. The rest stays as it is.
    ///
    /// # Errors
    /// Any of them may be anything.
    fn write(&self, copy: Twin, bytes: &mut dyn Read, length: u64) -> Result<(), String>;

    /// Makes a copy the one that boots, durably.
    ///
    /// # Errors
    /// Either may boot.
    fn switch(&self, to: Twin) -> Result<(), String>;
}

/// Makes an image what boots, if it is not yet; `open` gives its bytes. Each step that changes something is said before it
/// is done. Tells which copy boots from now on, if that has changed.
///
/// # Errors
/// Why it does not boot, in words. What boots is whole.
pub fn renew<R: Read>(
    pair: &dyn Pair,
    image: &Image,
    open: impl Fn() -> Result<R, String>,
    say: &mut dyn FnMut(String),
) -> Result<Option<String>, String> {
    let mut replacement = Replacement::new(Digest(*image.id.as_bytes()), image.length, pair.room());
    let (mut failed, mut switched) = (None, None);
    loop {
        match replacement.next() {
            Order::Look => replacement.looked(noted(pair.active(), &mut failed)),
            Order::Read(copy) => replacement.read(copy, noted(pair.digest(copy, image.length), &mut failed)),
            Order::Write(copy) => {
                say(format!("{} is written to {}, which does not boot", image.name, pair.name(copy)));
                let written = open().and_then(|mut bytes| pair.write(copy, &mut bytes, image.length));
                noted(written, &mut failed);
                replacement.wrote(copy);
            }
            Order::Switch(copy) => {
                say(format!("{} holds {}, and is to boot from now on", pair.name(copy), image.name));
                noted(pair.switch(copy), &mut failed);
                replacement.switched();
                switched = Some(copy);
            }
            Order::Rest => {
                return Ok(switched.map(|copy| format!("{} is in {}, which boots next", image.name, pair.name(copy))));
            }
            Order::GiveUp(reason) => {
                let why = failed.map(|why| format!(" ({why})")).unwrap_or_default();
                return Err(format!("{} does not boot: {reason}{why}", image.name));
            }
        }
    }
}

/// The latest error says the most.
fn noted<T>(result: Result<T, String>, failed: &mut Option<String>) -> Option<T> {
    result.map_err(|why| *failed = Some(why)).ok()
}

/// The digest of the first bytes.
///
/// # Errors
/// The medium does not give them back.
pub fn digest<S: Sectors>(sectors: &mut S, length: u64) -> Result<Digest, S::Error> {
    let (mut hasher, mut piece, mut done) = (Hasher::default(), vec![0; PIECE], 0);
    while done < length {
        let bytes = piece.get_mut(..next(done, length)).unwrap_or_default();
        sectors.read(done, bytes)?;
        hasher.update(bytes);
        done += bytes.len() as u64;
    }
    Ok(Digest(*hasher.finish().as_bytes()))
}

/// Writes the first bytes, and zeros to the end of their last sector.
///
/// # Errors
/// They could not be read, or the medium does not take them.
pub fn fill<S: Sectors>(sectors: &mut S, bytes: &mut dyn Read, length: u64) -> io::Result<()> {
    let (mut piece, mut done) = (vec![0; PIECE], 0);
    while done < length {
        let taken = next(done, length);
        let whole = piece.get_mut(..taken.next_multiple_of(SECTOR)).unwrap_or_default();
        let (taken, padding) = whole.split_at_mut_checked(taken).unwrap_or_default();
        bytes.read_exact(taken)?;
        padding.fill(0);
        done += taken.len() as u64;
        let at = done - taken.len() as u64;
        sectors.write(at, whole).map_err(|error| io::Error::other(error.to_string()))?;
    }
    Ok(())
}

/// How many bytes the next piece has.
fn next(done: u64, length: u64) -> usize {
    usize::try_from(length - done).unwrap_or(PIECE).min(PIECE)
}

#[cfg(test)]
mod tests;
