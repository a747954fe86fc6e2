//! What the bootloader and Linux tell each other, and what a boot script must choose.
//!
//! Two small values, each with **one writer**, each replaced as a whole:
//!
//! ```text
//!   Linux ──writes──▶ Wanted { nonce, default, previous, factory, trial }
//!   firmware ──writes──▶ Spent { nonce, boots }        before it jumps
//! ```
//!
//! [`pick`] is the executable specification of every boot script. A counted firmware walks one list by the number of
//! boots since the last store:
//!
//! ```text
//!   trial × max │ default × 3 │ previous × 3 │ factory × 3 │ recovery …
//!   0 ──────────────── boots ────────────────────────────▶
//! ```
//!
//! A note whose nonce is not that of `Wanted` reads as zero boots, so every store with a new nonce starts the walk
//! again. Only a refund (one more attempt for a trial that lost its boot to flapping power) keeps the nonce.

use serde::{Deserialize, Serialize};

use crate::ids::RevisionId;

/// Attempts of a trial when nothing else is configured.
pub const TRIAL_ATTEMPTS: u8 = 3;

/// Boots that each later entry of the list gets.
pub const CHAIN_TRIES: u8 = 3;

/// The most attempts that refunds can raise a trial to; a codec refuses more.
pub const TRIAL_ATTEMPTS_CEILING: u8 = 11;

/// One bounded attempt to boot another revision.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Trial {
    /// What is tried.
    pub revision: RevisionId,
    /// Boots it may have, refunds included. At most [`TRIAL_ATTEMPTS_CEILING`].
    pub max: u8,
    /// One-shot firmware only: how often Linux has asked for it. Zero elsewhere.
    pub issued: u8,
}

/// What Linux wants booted. Written by Linux only, replaced as a whole, names only what is held.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Wanted {
    /// Names this store; the note of the bootloader counts only beside the same number. Never zero.
    pub nonce: u32,
    /// What boots when nothing is tried.
    pub default: RevisionId,
    /// The last revision that a cold boot has proven, other than the default.
    pub previous: Option<RevisionId>,
    /// The revision that the device left the factory with, while it is held.
    pub factory: Option<RevisionId>,
    /// What is tried, if anything is.
    pub trial: Option<Trial>,
}

impl Wanted {
    /// Whether any entry of the list names this revision.
    #[must_use]
    pub fn names(&self, revision: &RevisionId) -> bool {
        self.default == *revision
            || self.previous.as_ref() == Some(revision)
            || self.factory.as_ref() == Some(revision)
            || self.trial.as_ref().is_some_and(|trial| trial.revision == *revision)
    }
}

/// The bootloader's answer: boots since the store with this nonce. Written by the bootloader only, before it jumps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Spent {
    /// The nonce of the [`Wanted`] that was read.
    pub nonce: u32,
    /// Boots since then; saturates.
    pub boots: u8,
}

/// What a read of the bootloader's note gave.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Note {
    /// A whole note.
    Read(Spent),
    /// Torn or unreadable: the trial counts as spent, and nothing else does.
    Unreadable,
}

impl Note {
    /// Boots since `wanted` was stored.
    #[must_use]
    pub fn boots(&self, wanted: &Wanted) -> u8 {
        match self {
            Self::Read(spent) if spent.nonce == wanted.nonce => spent.boots,
            Self::Read(_) => 0,
            Self::Unreadable => wanted.trial.as_ref().map_or(0, |trial| trial.max),
        }
    }

    /// What a note that cannot be read is worth, written down: a script chooses the same from both, whatever it reads of
    /// `wanted`. So the one may take the place of the other at any moment, and power may go in between: no boot is given
    /// back, no trial is lost or granted.
    #[must_use]
    pub fn spelled_out(wanted: Option<&Wanted>) -> Spent {
        let boots = wanted.map_or(0, |wanted| Self::Unreadable.boots(wanted));
        Spent { nonce: wanted.map_or(0, |wanted| wanted.nonce), boots }
    }

    /// The nonce of the note, or zero.
    #[must_use]
    pub fn nonce(&self) -> u32 {
        match self {
            Self::Read(spent) => spent.nonce,
            Self::Unreadable => 0,
        }
    }
}

/// How a firmware counts the boots of a trial.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TrialKind {
    /// It writes a note before each jump and walks the whole list (U-Boot, GRUB with our script).
    Counted,
    /// It boots the trial once when asked at the reboot, writes no note and knows no `previous`
    /// (Raspberry Pi tryboot). Linux counts in `Trial::issued`.
    OneShot,
    /// It tries every second boot (`pv_trying` of the reference's script). A condemned revision can be tried once more.
    Toggling,
}

/// What a firmware starts.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Choice {
    /// A revision that [`Wanted`] names.
    Revision(RevisionId),
    /// [`Wanted`] could not be read: the factory revision, or the next of this list where it is not held.
    Factory,
    /// [`Wanted`] could not be read, and the factory revision did not come up: the board's first slot.
    FirstSlot,
    /// The recovery kernel in its own place.
    Recovery,
}

/// One boot as the firmware decides it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Pick {
    /// What is started.
    pub choice: Choice,
    /// What has to be written before the jump. `None`: this boot needs no note.
    pub note: Option<Spent>,
}

/// What every boot script must do: the first boot decision after power-on or reset.
///
/// `wanted` is `None` when the cell could not be read. `asked` is the one-shot request of the last reboot; other kinds
/// ignore it. When the note cannot be written, the script boots [`unnoted`] instead of the pick.
#[must_use]
pub fn pick(kind: TrialKind, wanted: Option<&Wanted>, note: &Note, asked: bool, chain_tries: u8) -> Pick {
    let Some(wanted) = wanted else {
        return blind(kind, note, chain_tries);
    };
    match kind {
        TrialKind::Counted => counted(wanted, note, chain_tries),
        TrialKind::OneShot => one_shot(wanted, asked),
        TrialKind::Toggling => toggling(wanted, note),
    }
}

/// What a script boots when it could not write its note: never a trial, since that boot would not be counted.
#[must_use]
pub fn unnoted(wanted: &Wanted) -> Choice {
    Choice::Revision(wanted.default.clone())
}

/// The list of a firmware that cannot read what is wanted. Its boots are counted under the nonce zero, which no store
/// uses, so that a factory revision that does not come up either is left behind too.
fn blind(kind: TrialKind, note: &Note, chain_tries: u8) -> Pick {
    if kind != TrialKind::Counted {
        return Pick { choice: Choice::Factory, note: None };
    }
    let boots = match note {
        Note::Read(Spent { nonce: 0, boots }) => *boots,
        Note::Read(_) | Note::Unreadable => 0,
    };
    let end = chain_tries.saturating_mul(2);
    let choice = if boots < chain_tries {
        Choice::Factory
    } else if boots < end {
        Choice::FirstSlot
    } else {
        Choice::Recovery
    };
    Pick { choice, note: Some(Spent { nonce: 0, boots: boots.saturating_add(1).min(end) }) }
}

fn counted(wanted: &Wanted, note: &Note, chain_tries: u8) -> Pick {
    let boots = note.boots(wanted);
    let trial = wanted.trial.as_ref().map(|trial| (&trial.revision, trial.max));
    let chain = [Some(&wanted.default), wanted.previous.as_ref(), wanted.factory.as_ref()];
    let entries = trial.into_iter().chain(chain.into_iter().flatten().map(|revision| (revision, chain_tries)));
    let mut end = 0_u8;
    let mut choice = Choice::Recovery;
    for (revision, tries) in entries {
        end = end.saturating_add(tries);
        if boots < end {
            choice = Choice::Revision(revision.clone());
            break;
        }
    }
    // In recovery the count stays at the end of the list.
    let boots = if choice == Choice::Recovery { end } else { boots.saturating_add(1) };
    Pick { choice, note: Some(Spent { nonce: wanted.nonce, boots }) }
}

fn one_shot(wanted: &Wanted, asked: bool) -> Pick {
    let revision = match &wanted.trial {
        Some(trial) if asked => &trial.revision,
        _ => &wanted.default,
    };
    Pick { choice: Choice::Revision(revision.clone()), note: None }
}

fn toggling(wanted: &Wanted, note: &Note) -> Pick {
    match &wanted.trial {
        None => Pick { choice: Choice::Revision(wanted.default.clone()), note: None },
        Some(trial) => {
            let (revision, boots) = if note.boots(wanted) == 0 { (&trial.revision, 1) } else { (&wanted.default, 0) };
            Pick { choice: Choice::Revision(revision.clone()), note: Some(Spent { nonce: wanted.nonce, boots }) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(name: &str) -> RevisionId {
        RevisionId::parse(name).unwrap()
    }

    fn wanted() -> Wanted {
        Wanted {
            nonce: 7,
            default: revision("2"),
            previous: Some(revision("1")),
            factory: Some(revision("0")),
            trial: Some(Trial { revision: revision("3"), max: 3, issued: 0 }),
        }
    }

    fn walk(kind: TrialKind, wanted: &Wanted, mut note: Note, boots: usize) -> std::vec::Vec<Choice> {
        (0..boots)
            .map(|_| {
                let pick = pick(kind, Some(wanted), &note, false, CHAIN_TRIES);
                if let Some(spent) = pick.note {
                    note = Note::Read(spent);
                }
                pick.choice
            })
            .collect()
    }

    #[test]
    fn a_counted_firmware_walks_the_whole_list_and_stays_in_recovery() {
        let seen = walk(TrialKind::Counted, &wanted(), Note::Read(Spent::default()), 14);
        let expected: std::vec::Vec<_> = ["3", "3", "3", "2", "2", "2", "1", "1", "1", "0", "0", "0"]
            .iter()
            .map(|name| Choice::Revision(revision(name)))
            .chain([Choice::Recovery, Choice::Recovery])
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_torn_note_spends_the_trial_and_nothing_else() {
        let seen = walk(TrialKind::Counted, &wanted(), Note::Unreadable, 4);
        assert_eq!(seen[0], Choice::Revision(revision("2")));
        assert_eq!(seen[2], Choice::Revision(revision("2")));
        assert_eq!(seen[3], Choice::Revision(revision("1")));
    }

    #[test]
    fn an_unreadable_note_and_what_it_is_worth_are_the_same_to_a_script() {
        let armed = wanted();
        let at_rest = Wanted { trial: None, ..wanted() };
        for kind in [TrialKind::Counted, TrialKind::Toggling] {
            for wanted in [Some(&armed), Some(&at_rest), None] {
                let choices = |mut note: Note| {
                    let mut seen = std::vec::Vec::new();
                    for _ in 0..14 {
                        let pick = pick(kind, wanted, &note, false, CHAIN_TRIES);
                        note = pick.note.map_or(note, Note::Read);
                        seen.push(pick);
                    }
                    seen
                };
                let spelled = Note::Read(Note::spelled_out(wanted));
                assert_eq!(choices(Note::Unreadable), choices(spelled), "{kind:?}, {wanted:?}");
            }
        }
    }

    #[test]
    fn a_note_beside_another_nonce_reads_as_zero() {
        let note = Note::Read(Spent { nonce: 6, boots: 9 });
        assert_eq!(walk(TrialKind::Counted, &wanted(), note, 1), [Choice::Revision(revision("3"))]);
    }

    #[test]
    fn a_one_shot_firmware_tries_only_when_asked() {
        let note = Note::Read(Spent::default());
        let choose = |asked| pick(TrialKind::OneShot, Some(&wanted()), &note, asked, CHAIN_TRIES).choice;
        assert_eq!(choose(true), Choice::Revision(revision("3")));
        assert_eq!(choose(false), Choice::Revision(revision("2")));
    }

    #[test]
    fn a_toggling_firmware_tries_every_second_boot() {
        let note = Note::Read(Spent { nonce: 7, boots: 0 });
        let names = ["3", "2", "3", "2"].map(|name| Choice::Revision(revision(name)));
        assert_eq!(walk(TrialKind::Toggling, &wanted(), note, 4), names);
    }

    #[test]
    fn a_firmware_that_cannot_read_the_wish_walks_a_list_of_its_own() {
        let mut note = Note::Unreadable;
        let mut seen = std::vec::Vec::new();
        for _ in 0..8 {
            let pick = pick(TrialKind::Counted, None, &note, false, CHAIN_TRIES);
            note = pick.note.map_or(note, Note::Read);
            seen.push(pick.choice);
        }
        use Choice::{Factory, FirstSlot, Recovery};
        assert_eq!(seen, [Factory, Factory, Factory, FirstSlot, FirstSlot, FirstSlot, Recovery, Recovery]);
    }
}
