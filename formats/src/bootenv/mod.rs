//! The boot cells as a bootloader sees them: variables in a text that its own commands can read and write.
//!
//! A boot script has no parser and often no arithmetic, so [`Wanted`] and [`Spent`] are encoded in the two formats that
//! every U-Boot and every GRUB brings along, with the same variables in both:
//!
//! | variable         | in     | written by | value                                                              |
//! |------------------|--------|------------|--------------------------------------------------------------------|
//! | `cairn_sum`      | Wanted | Linux      | GRUB, first: CRC-32 of the lines up to `cairn_end`, 8 digits       |
//! | `cairn_nonce`    | Wanted | Linux      | decimal; compare it as text                                        |
//! | `cairn_default`  | Wanted | Linux      | a revision                                                         |
//! | `cairn_previous` | Wanted | Linux      | a revision, or nothing                                             |
//! | `cairn_factory`  | Wanted | Linux      | a revision, or nothing                                             |
//! | `cairn_trial`    | Wanted | Linux      | a revision, or nothing                                             |
//! | `cairn_max`      | Wanted | Linux      | tally of 1 to 11; nothing without a trial                          |
//! | `cairn_issued`   | Wanted | Linux      | decimal; not in GRUB's cell, which is of the counted kind          |
//! | `cairn_end`      | Wanted | Linux      | GRUB only, last: the same as `cairn_sum`, or else torn             |
//! | `cairn_note`     | Spent  | firmware   | GRUB only, first: `NONCE:TALLY`                                    |
//! | `cairn_spent`    | Spent  | firmware   | the `cairn_nonce` that was read                                    |
//! | `cairn_boots`    | Spent  | firmware   | tally                                                              |
//! | `cairn_noted`    | Spent  | firmware   | GRUB only, last: the same as `cairn_note`, or else torn            |
//! | `cairn_holds`    | label  | Linux      | the revisions that a slot can boot, a space between two            |
//!
//! A **tally** is one `x` for each boot. Marks need no arithmetic: one more boot is `"${cairn_boots}x"`, the end of the
//! list's first entry is `"${cairn_max}"`, of the next `"${cairn_max}xxx"`, and fewer marks are the lesser *text*, which
//! both `test` commands compare. Numbers would not do: GRUB cannot add, and U-Boot's `setexpr` reads `11` as seventeen
//! where its `test` reads eleven.
//!
//! `Wanted` always has all its variables, empty ones too, so that none of an earlier import survives. No cell holds a
//! variable that is not in this table; the files of the reference system do, and there others' variables stay as they
//! are ([`mod@reference`]). The formats of the cells never change on a device in the field.
//!
//! | module        | for                                                                    |
//! |---------------|------------------------------------------------------------------------|
//! | [`raw`]       | U-Boot, and every medium of sectors: a pair of sectors and a note      |
//! | [`grub`]      | GRUB: two preallocated files of 1024 bytes on FAT                      |
//! | [`autoboot`]  | a Raspberry Pi: one file of 512 bytes, which its firmware reads itself |
//! | [`label`]     | what a slot holds                                                      |
//! | [`mod@reference`] | `uboot.txt` and `grubenv` of devices that already have them            |
//! | [`uboot`]     | U-Boot's environment itself, as `saveenv` and `fw_setenv` write it     |

use core::fmt;

use statemachine::boot::TRIAL_ATTEMPTS_CEILING;
#[cfg(doc)]
use statemachine::boot::{Spent, Wanted};
use statemachine::ids::IdError;

pub mod autoboot;
pub mod grub;
pub mod label;
mod protocol;
pub mod raw;
pub mod reference;
mod text;
pub mod uboot;
pub mod vars;

/// A variable that this crate gives a meaning to; the table is in the documentation of [this module](self).
pub type Key = &'static str;

/// The names of our own variables.
pub mod key {
    use super::Key;

    /// First variable of GRUB's `Wanted`.
    pub const SUM: Key = "cairn_sum";
    /// Names a store of `Wanted`.
    pub const NONCE: Key = "cairn_nonce";
    /// What boots when nothing is tried.
    pub const DEFAULT: Key = "cairn_default";
    /// What boots when the default does not.
    pub const PREVIOUS: Key = "cairn_previous";
    /// What boots when the previous revision does not.
    pub const FACTORY: Key = "cairn_factory";
    /// What is tried.
    pub const TRIAL: Key = "cairn_trial";
    /// How often it is tried: a tally.
    pub const MAX: Key = "cairn_max";
    /// How often a one-shot firmware was asked for it.
    pub const ISSUED: Key = "cairn_issued";
    /// Last variable of GRUB's `Wanted`.
    pub const END: Key = "cairn_end";
    /// First variable of GRUB's `Spent`.
    pub const NOTE: Key = "cairn_note";
    /// The nonce that the firmware read.
    pub const SPENT: Key = "cairn_spent";
    /// The boots since: a tally.
    pub const BOOTS: Key = "cairn_boots";
    /// Last variable of GRUB's `Spent`.
    pub const NOTED: Key = "cairn_noted";
    /// The one variable of a slot's label.
    pub const HOLDS: Key = "cairn_holds";
}

/// The mark of which a tally has one for each boot.
pub const TALLY: u8 = b'x';

/// Why bytes are no boot cell, or a value found no room in one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The medium gave so many bytes; this format has so many.
    Length {
        /// What was given.
        given: usize,
        /// What it takes.
        wanted: usize,
    },
    /// Torn, rotten, or never written: these two differ.
    Checksum {
        /// As written.
        stored: u32,
        /// Over what is there.
        computed: u32,
    },
    /// The first and the last variable differ: torn.
    Torn {
        /// The first.
        first: Key,
        /// The last.
        last: Key,
    },
    /// The bytes do not begin with GRUB's signature.
    Signature,
    /// The list of variables does not end where it has to: in U-Boot's text within the given number of bytes, in GRUB's
    /// block before the filling.
    Unterminated {
        /// So far it was searched.
        within: usize,
    },
    /// What stands at this byte is not `name=value`.
    NotAVariable {
        /// Counted from the beginning of the cell.
        offset: usize,
    },
    /// A cell of our own holds a variable that does not belong there.
    Unknown {
        /// Counted from the beginning of the cell.
        offset: usize,
    },
    /// A cell of our own is written in another way than this version writes it.
    Form,
    /// The variable is not there.
    Missing(Key),
    /// The variable stands there more than once.
    Twice(Key),
    /// The variable does not name a revision.
    Name(Key, IdError),
    /// The variable is not a number or a tally in its range, as the table demands.
    Number(Key),
    /// A trial without attempts, or with more than refunds can ever give.
    Attempts(u8),
    /// Attempts are given and no trial, or the other way round.
    TrialInPart,
    /// This cell is of the counted kind and has no place for the number of one-shot requests.
    Issued(u8),
    /// With this variable the cell would have more than its bytes. The names are too long.
    Room {
        /// The first variable that did not fit.
        key: Key,
        /// What the cell has room for.
        limit: usize,
    },
    /// The variables of others alone have more than this file has room for.
    Others {
        /// What it has room for.
        limit: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { given, wanted } => write!(f, "the boot cell has {given} bytes instead of {wanted}"),
            Self::Checksum { stored, computed } => {
                write!(f, "the boot cell is torn: its checksum is {stored:08x}, its bytes give {computed:08x}")
            }
            Self::Torn { first, last } => write!(f, "the boot cell is torn: {first} and {last} differ"),
            Self::Signature => f.write_str("the file does not begin as a GRUB environment block"),
            Self::Unterminated { within } => {
                write!(f, "the list of boot variables has no end within {within} bytes")
            }
            Self::NotAVariable { offset } => write!(f, "there is no boot variable at byte {offset}"),
            Self::Unknown { offset } => write!(f, "the variable at byte {offset} does not belong into a boot cell"),
            Self::Form => f.write_str("the boot cell was not written by this system"),
            Self::Missing(key) => write!(f, "the boot variable {key} is missing"),
            Self::Twice(key) => write!(f, "the boot variable {key} stands there twice"),
            Self::Name(key, why) => write!(f, "the boot variable {key} names no revision: {why}"),
            Self::Number(key) => write!(f, "the boot variable {key} is not a number in its range"),
            Self::Attempts(max) => write!(f, "a trial has 1 to {TRIAL_ATTEMPTS_CEILING} attempts, not {max}"),
            Self::TrialInPart => write!(f, "{} and {} go together", key::TRIAL, key::MAX),
            Self::Issued(_) => write!(f, "a boot cell for a firmware that counts has no {}", key::ISSUED),
            Self::Room { key, limit } => {
                write!(f, "the boot cell has {limit} bytes, and {key} no longer fits: use shorter revision names")
            }
            Self::Others { limit } => {
                write!(f, "the variables of others leave no room in the {limit} bytes of the boot file: remove some")
            }
        }
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests;
