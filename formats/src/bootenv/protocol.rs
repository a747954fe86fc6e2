//! `Wanted` and `Spent` as the variables of our own protocol, the same for every bootloader.

use core::fmt;

use statemachine::boot::{Spent, TRIAL_ATTEMPTS_CEILING, Trial, Wanted};
use statemachine::ids::RevisionId;

use super::text::Text;
use super::vars::Vars;
use super::{Error, Key, TALLY, key};

/// A count as marks.
pub(super) struct Tally(pub(super) u8);

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.0).try_for_each(|_| fmt::Write::write_char(f, char::from(TALLY)))
    }
}

/// Refuses what no cell may hold, on the way in and on the way out.
pub(super) fn check(wanted: &Wanted) -> Result<(), Error> {
    match &wanted.trial {
        Some(trial) if !(1..=TRIAL_ATTEMPTS_CEILING).contains(&trial.max) => Err(Error::Attempts(trial.max)),
        _ => Ok(()),
    }
}

/// A revision as a value; nothing for none.
pub(super) fn name(revision: Option<&RevisionId>) -> &str {
    revision.map_or("", RevisionId::as_str)
}

/// All variables of `Wanted` but the last.
pub(super) fn put_wanted(wanted: &Wanted, text: &mut Text<'_>, separator: u8) -> Result<(), Error> {
    check(wanted)?;
    let trial = wanted.trial.as_ref();
    text.variable(key::NONCE, wanted.nonce, separator)?;
    text.variable(key::DEFAULT, &wanted.default, separator)?;
    text.variable(key::PREVIOUS, name(wanted.previous.as_ref()), separator)?;
    text.variable(key::FACTORY, name(wanted.factory.as_ref()), separator)?;
    text.variable(key::TRIAL, name(trial.map(|trial| &trial.revision)), separator)?;
    text.variable(key::MAX, Tally(trial.map_or(0, |trial| trial.max)), separator)
}

/// The last variable of `Wanted`, where the cell has it.
pub(super) fn put_issued(wanted: &Wanted, text: &mut Text<'_>, separator: u8) -> Result<(), Error> {
    text.variable(key::ISSUED, wanted.trial.as_ref().map_or(0, |trial| trial.issued), separator)
}

pub(super) fn put_spent(spent: &Spent, text: &mut Text<'_>, separator: u8) -> Result<(), Error> {
    text.variable(key::SPENT, spent.nonce, separator)?;
    text.variable(key::BOOTS, Tally(spent.boots), separator)
}

/// `Wanted` from its variables; a cell without `cairn_issued` gives zero for it.
pub(super) fn take_wanted(vars: Vars<'_>) -> Result<Wanted, Error> {
    let issued = match vars.get(key::ISSUED) {
        Some(_) => u8::try_from(number(vars, key::ISSUED)?).map_err(|_| Error::Number(key::ISSUED))?,
        None => 0,
    };
    let trial = trial(revision(vars, key::TRIAL)?, tally(vars, key::MAX)?, issued)?;
    Ok(Wanted {
        nonce: number(vars, key::NONCE)?,
        default: revision(vars, key::DEFAULT)?.ok_or(Error::Missing(key::DEFAULT))?,
        previous: revision(vars, key::PREVIOUS)?,
        factory: revision(vars, key::FACTORY)?,
        trial,
    })
}

pub(super) fn take_spent(vars: Vars<'_>) -> Result<Spent, Error> {
    Ok(Spent { nonce: number(vars, key::SPENT)?, boots: tally(vars, key::BOOTS)? })
}

/// A trial is there as a whole or not at all.
pub(super) fn trial(revision: Option<RevisionId>, max: u8, issued: u8) -> Result<Option<Trial>, Error> {
    match revision {
        None if max == 0 && issued == 0 => Ok(None),
        Some(revision) if (1..=TRIAL_ATTEMPTS_CEILING).contains(&max) => Ok(Some(Trial { revision, max, issued })),
        Some(_) if max > 0 => Err(Error::Attempts(max)),
        _ => Err(Error::TrialInPart),
    }
}

/// A revision; `None` for an empty variable and for none at all.
pub(super) fn revision(vars: Vars<'_>, key: Key) -> Result<Option<RevisionId>, Error> {
    let value = vars.get(key).unwrap_or_default();
    if value.is_empty() {
        return Ok(None);
    }
    // Bytes that are no text are shown as the character that stands for them everywhere, which no name may hold.
    let name = core::str::from_utf8(value).unwrap_or("\u{fffd}");
    RevisionId::parse(name).map(Some).map_err(|why| Error::Name(key, why))
}

/// A decimal number in the one form that a number has.
pub(super) fn number(vars: Vars<'_>, key: Key) -> Result<u32, Error> {
    let digits = vars.get(key).ok_or(Error::Missing(key))?;
    let form = digits == b"0" || (digits.iter().all(u8::is_ascii_digit) && digits.first() != Some(&b'0'));
    let text = core::str::from_utf8(digits).map_err(|_| Error::Number(key))?;
    text.parse().ok().filter(|_| form).ok_or(Error::Number(key))
}

/// The number of marks.
pub(super) fn tally(vars: Vars<'_>, key: Key) -> Result<u8, Error> {
    let marks = vars.get(key).ok_or(Error::Missing(key))?;
    let count = u8::try_from(marks.len()).map_err(|_| Error::Number(key))?;
    if marks.iter().all(|mark| *mark == TALLY) { Ok(count) } else { Err(Error::Number(key)) }
}
