//! The reference's own boot files, as a device keeps them that was set up for it.
//!
//! `uboot.txt` lies on the file system and is read without replay; `pv_trying` lies in the bootloader's own `pv.env`,
//! one sector of another partition. The simulated file ends where the reference's reader does.

use boards_api::cell::Cell;
use boards_api::media::SECTOR;
use formats::bootenv::reference::{TRYING, TXT_READ, decode, encode_txt, note, open_txt};
use statemachine::boot::{Note, Wanted};

/// The file.
pub(crate) const NAME: &str = "uboot.txt";

/// Its length here.
pub(crate) const LENGTH: usize = TXT_READ;

/// A variable of somebody else, which has to stay.
const FOREIGN: &[u8] = b"fdtfile=board.dtb\0";

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The file as it leaves the factory.
pub(crate) fn made(wanted: &Wanted) -> Result<Vec<u8>, String> {
    let mut before = [0; LENGTH];
    before[..FOREIGN.len()].copy_from_slice(FOREIGN);
    encoded(&before, wanted)
}

fn encoded(old: &[u8], wanted: &Wanted) -> Result<Vec<u8>, String> {
    Ok(encode_txt(open_txt(old).map_err(text)?, wanted).map_err(text)?.to_vec())
}

/// What is wanted, if the file is whole and still holds what belongs to others.
pub(crate) fn wanted(file: &[u8]) -> Result<Wanted, String> {
    if !file.starts_with(FOREIGN) {
        return Err("the variables of others are gone".to_owned());
    }
    decode(open_txt(file).map_err(text)?).map_err(text)
}

/// Replaces what is wanted, in place, in whatever cell holds it.
pub(crate) fn store<C: Cell>(mut cell: C, wanted: &Wanted) -> Result<(), String>
where
    C::Error: std::fmt::Display,
{
    let mut old = [0; LENGTH];
    cell.read(&mut old).map_err(text)?;
    cell.replace(&encoded(&old, wanted)?).map_err(text)
}

/// What the firmware has noted in `pv.env`.
pub(crate) fn tried(wanted: &Wanted, env: &[u8]) -> Note {
    open_txt(env).map_or(Note::Unreadable, |env| note(wanted, env))
}

/// `pv.env` as the firmware exports it before it jumps: the trial, or nothing.
pub(crate) fn trying(wanted: &Wanted, boots: u8) -> [u8; SECTOR] {
    let mut env = [0; SECTOR];
    if let (Some(trial), 1) = (&wanted.trial, boots) {
        let text = format!("{TRYING}={}", trial.revision);
        env[..text.len()].copy_from_slice(text.as_bytes());
    }
    env
}
