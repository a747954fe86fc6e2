//! `uboot.txt` and `grubenv` of devices that were set up for the reference system, boot scripts included.
//!
//! | variable    | written by | meaning                                                            |
//! |-------------|------------|--------------------------------------------------------------------|
//! | `pv_rev`    | Linux      | the default                                                        |
//! | `pv_try`    | Linux      | the trial, or nothing                                              |
//! | `pv_trying` | firmware   | what it has tried; cleared by the next boot, which takes `pv_rev`  |
//!
//! The firmware is of the toggling kind: it knows no attempts, no nonce and no previous revision. What it does not know
//! stands in the same file in variables of our own, which its script imports and ignores, together with `cairn_sum`, a
//! CRC-32 over all of [`Wanted`]. If the sum is not right, somebody else has written `pv_rev` or `pv_try` since, or
//! Cairn never has: then only the variables of the table count.
//!
//! Everything else in the file belongs to others and keeps its bytes and its place. These files lie on ext4 and are
//! overwritten in place; a torn one may be unreadable, and that is the invariant of this kind of device, not of ours.
//!
//! A device that was set up with `PV_BOOTLOADER_MTD_ONLY=1` has the list of `uboot.txt` in flash instead: in an MTD partition of 64 KiB
//! whose name is `PV_BOOTLOADER_MTD_ENV`, or `pv-env` where nobody has said another. Without that setting the partition, where there
//! is one, holds `pv_trying` alone, and is erased by a commit.
//!
//! ```text
//!   name=value NUL name=value NUL NUL │ anything         the list ends as in a file,
//!   name=value NUL name=value NUL FF FF │ anything       or where flash is erased
//! ```
//!
//! It has one copy and no checksum, and lies in a block that is erased before it is programmed: power that goes in between leaves no
//! list. What a cut leaves of an entry runs into erased flash, and is [`Error::Unterminated`] here; the script may read it.

use core::fmt::{self, Write};

use heapless::String;
use statemachine::boot::{Note, Spent, Trial, Wanted};
use statemachine::ids::RevisionId;

use super::protocol::{self, Tally, put_issued, put_wanted};
use super::text::Text;
use super::vars::{Change, Dialect, Vars};
use super::{Error, Key, grub, key, uboot};
use crate::crc32::crc32;

/// The default.
pub const REV: Key = "pv_rev";
/// The trial.
pub const TRY: Key = "pv_try";
/// What the firmware has tried.
pub const TRYING: Key = "pv_trying";

/// What the reference's reader looks at of `uboot.txt`, and so what may be used of it.
pub const TXT_READ: usize = 1024;

/// What the file has in all; zeros behind [`TXT_READ`].
pub const TXT_FILE: usize = 64 * 1024;

/// What the partition of a device with its list in flash has, in bytes.
pub const MTD_SIZE: usize = TXT_FILE;

/// What that partition is called, unless the settings of the device name another.
pub const MTD_NAME: &str = "pv-env";

/// What erased flash is full of; two of these end a list.
const ERASED: [u8; 2] = [0xff; 2];

/// How many variables a store changes.
const CHANGES: usize = 8;

/// Attempts of a trial that the reference system has asked for: it does not count.
const FOREIGN_ATTEMPTS: u8 = 1;

/// The variables of `uboot.txt`.
///
/// # Errors
/// [`Error::Unterminated`] if the list does not end within [`TXT_READ`] bytes.
pub fn open_txt(file: &[u8]) -> Result<Vars<'_>, Error> {
    uboot::list(file.get(..TXT_READ).unwrap_or(file), 0)
}

/// The variables of a partition in flash. One that is erased has none.
///
/// # Errors
/// [`Error::Unterminated`] if erased flash, or the end of the partition, comes within an entry.
pub fn open_mtd(partition: &[u8]) -> Result<Vars<'_>, Error> {
    let mut end = 0;
    loop {
        let rest = partition.get(end..).unwrap_or_default();
        if matches!(rest.first(), None | Some(0)) || rest.starts_with(&ERASED) {
            return Ok(Vars::new(Dialect::UBoot, partition.get(..end).unwrap_or_default(), 0));
        }
        let entry = rest.split(|byte| *byte == 0).next().unwrap_or_default();
        let erased = entry.windows(ERASED.len()).position(|two| two == ERASED);
        if let Some(within) = erased.or((entry.len() == rest.len()).then_some(rest.len())) {
            return Err(Error::Unterminated { within: end + within });
        }
        end += entry.len() + 1;
    }
}

/// What is wanted, from `uboot.txt` or `grubenv`.
///
/// # Errors
/// [`Error::Missing`] without a default; [`Error::Name`] if a name is none.
pub fn decode(vars: Vars<'_>) -> Result<Wanted, Error> {
    let default = protocol::revision(vars, REV)?.ok_or(Error::Missing(REV))?;
    let tried = protocol::revision(vars, TRY)?;
    if let Some(ours) = extended(vars, &default, tried.as_ref()) {
        return Ok(ours);
    }
    let trial = tried.map(|revision| Trial { revision, max: FOREIGN_ATTEMPTS, issued: 0 });
    Ok(Wanted { nonce: 0, default, previous: None, factory: None, trial })
}

/// The note of a toggling firmware: one boot, if it has tried this trial, else none. `trying` is the list that holds
/// `pv_trying`: `grubenv` itself, or the file that U-Boot's script keeps on its own partition.
#[must_use]
pub fn note(wanted: &Wanted, trying: Vars<'_>) -> Note {
    let trial = wanted.trial.as_ref().map(|trial| trial.revision.as_str().as_bytes());
    let boots = u8::from(trial.is_some() && trying.get(TRYING) == trial);
    Note::Read(Spent { nonce: wanted.nonce, boots })
}

/// `uboot.txt` with another `Wanted`: the first [`TXT_READ`] bytes of the file.
///
/// # Errors
/// [`Error::Room`] if that does not fit beside the variables of others; [`Error::Attempts`].
pub fn encode_txt(old: Vars<'_>, wanted: &Wanted) -> Result<[u8; TXT_READ], Error> {
    let mut file = [0; TXT_READ];
    rewrite(old, wanted, &mut file)?;
    Ok(file)
}

/// A partition in flash with another `Wanted`, [`MTD_SIZE`] bytes: the list, and zeros behind it.
///
/// # Errors
/// As [`encode_txt`], and [`Error::Length`] for another size. Then `partition` holds anything.
pub fn encode_mtd(old: Vars<'_>, wanted: &Wanted, partition: &mut [u8]) -> Result<(), Error> {
    if partition.len() != MTD_SIZE {
        return Err(Error::Length { given: partition.len(), wanted: MTD_SIZE });
    }
    rewrite(old, wanted, partition)
}

fn rewrite(old: Vars<'_>, wanted: &Wanted, file: &mut [u8]) -> Result<(), Error> {
    let (changes, limit) = (Changes::of(wanted)?, file.len());
    file.fill(0);
    // One byte is kept: the list must end within what is read, and the filling ends it.
    let room = file.split_last_mut().map(|(_, room)| room).unwrap_or_default();
    old.rewrite(&changes.list(), &mut Text::new(room), limit)
}

/// `grubenv` with another `Wanted`. A store under a new nonce also clears `pv_trying`, as the firmware's note counts
/// only beside the nonce that it was written for.
///
/// # Errors
/// As [`encode_txt`].
pub fn encode_grubenv(old: Vars<'_>, wanted: &Wanted) -> Result<[u8; grub::BLOCK], Error> {
    let changes = Changes::of(wanted)?;
    let list = changes.list();
    let renewed = decode(old).map_or(true, |before| before.nonce != wanted.nonce);
    let clear = renewed && old.get(TRYING).is_some();
    let mut with_note = [(TRYING, ""); CHANGES + 1];
    for (place, change) in with_note.iter_mut().zip(&list) {
        *place = *change;
    }
    grub::write(old, if clear { &with_note } else { &list })
}

/// All of `Wanted`, if the sum says that the file is as we left it.
fn extended(vars: Vars<'_>, default: &RevisionId, tried: Option<&RevisionId>) -> Option<Wanted> {
    let number = |key| protocol::number(vars, key).ok();
    let issued = u8::try_from(number(key::ISSUED)?).ok()?;
    let wanted = Wanted {
        nonce: number(key::NONCE)?,
        default: default.clone(),
        previous: protocol::revision(vars, key::PREVIOUS).ok()?,
        factory: protocol::revision(vars, key::FACTORY).ok()?,
        trial: protocol::trial(tried.cloned(), protocol::tally(vars, key::MAX).ok()?, issued).ok()?,
    };
    let stored = vars.get(key::SUM)?;
    (sum(&wanted).ok()?.as_bytes() == stored).then_some(wanted)
}

/// The sum over `Wanted` as our own cell would hold it, one line for each variable.
fn sum(wanted: &Wanted) -> Result<String<8>, Error> {
    let mut lines = [0; 512];
    let mut text = Text::new(&mut lines);
    put_wanted(wanted, &mut text, b'\n')?;
    put_issued(wanted, &mut text, b'\n')?;
    shown(key::SUM, format_args!("{:08x}", crc32(text.written())))
}

/// The values that have to be made before they can be written.
struct Changes<'a> {
    wanted: &'a Wanted,
    nonce: String<10>,
    max: String<11>,
    issued: String<3>,
    sum: String<8>,
}

impl<'a> Changes<'a> {
    fn of(wanted: &'a Wanted) -> Result<Self, Error> {
        let trial = wanted.trial.as_ref();
        // The sum comes first: it refuses a trial with too many attempts for a tally.
        let sum = sum(wanted)?;
        Ok(Self {
            wanted,
            nonce: shown(key::NONCE, wanted.nonce)?,
            max: shown(key::MAX, Tally(trial.map_or(0, |trial| trial.max)))?,
            issued: shown(key::ISSUED, trial.map_or(0, |trial| trial.issued))?,
            sum,
        })
    }

    fn list(&self) -> [Change<'_>; CHANGES] {
        [
            (REV, self.wanted.default.as_str()),
            (TRY, protocol::name(self.wanted.trial.as_ref().map(|trial| &trial.revision))),
            (key::NONCE, &self.nonce),
            (key::PREVIOUS, protocol::name(self.wanted.previous.as_ref())),
            (key::FACTORY, protocol::name(self.wanted.factory.as_ref())),
            (key::MAX, &self.max),
            (key::ISSUED, &self.issued),
            (key::SUM, &self.sum),
        ]
    }
}

fn shown<const N: usize>(key: Key, value: impl fmt::Display) -> Result<String<N>, Error> {
    let mut text = String::new();
    write!(text, "{value}").map_err(|_| Error::Room { key, limit: N })?;
    Ok(text)
}
