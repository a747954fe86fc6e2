//! The bootloader: reads the cells, decides with `statemachine::boot::pick`, notes, and loads a kernel.
//!
//! It replays nothing. On its way it checks what must hold at every power-on: the cells name only what is held, and a
//! trial that was given up is not tried for ever.

use boards_api::media::{Files, Sectors};
use statemachine::boot::{Choice, Spent, TrialKind, Wanted, pick};
use statemachine::ids::RevisionId;
use statemachine::journal::Record;
use statemachine::limits::Limits;

use super::{Device, Flash, Kind, NOTE, Planted, SPENT, encoded_note, kernel, kernel_name, text};
use crate::txt;

/// How often a firmware may try what the journal has given up. The verdict is recorded before the cells say so: two
/// cuts in between leave a counted one the attempts that it has not spent, and a toggling one its other turn. Of a one-shot
/// firmware the request is lost with power.
fn relapses(kind: TrialKind) -> u8 {
    match kind {
        TrialKind::Counted => Limits::FIELD.attempts.saturating_sub(1),
        TrialKind::Toggling => 1,
        TrialKind::OneShot => 0,
    }
}

impl Device {
    /// Power-on to jump: reads the cells, decides, notes, and loads the kernel. `None`: power has gone.
    ///
    /// # Errors
    /// What would leave the device dead, or anywhere but at an old or new revision.
    pub(crate) fn firmware(&mut self) -> Result<Option<RevisionId>, String> {
        let wanted = self.unreplayed_wanted();
        let note = self.unreplayed_note();
        if let Ok(wanted) = &wanted {
            self.named_are_whole(wanted)?;
        }
        let asked = match self.planted {
            Planted::AskedKept => self.asked,
            _ => std::mem::take(&mut self.asked),
        };
        let pick = pick(self.kind.trial(), wanted.as_ref().ok(), &note, asked, Limits::FIELD.chain);
        if let Some(spent) = pick.note {
            let written = self.write_note(spent, wanted.as_ref().ok());
            if self.fuel.is_out() {
                return Ok(None);
            }
            written?;
        }
        let revision = match (pick.choice, wanted) {
            (Choice::Revision(revision), _) => revision,
            (Choice::Factory | Choice::FirstSlot, wanted) => {
                return Err(format!("the firmware cannot read what is wanted: {wanted:?}"));
            }
            (Choice::Recovery, wanted) => return Err(format!("the firmware is at the end of its list: {wanted:?}")),
        };
        self.load(&revision)?;
        self.count_relapse(&revision)?;
        self.running = revision.clone();
        Ok(Some(revision))
    }

    /// The cells name only what is held, and whole.
    fn named_are_whole(&mut self, wanted: &Wanted) -> Result<(), String> {
        let trial = wanted.trial.as_ref().map(|trial| &trial.revision);
        let named = [Some(&wanted.default), wanted.previous.as_ref(), wanted.factory.as_ref(), trial];
        let mut named: Vec<_> = named.into_iter().flatten().collect();
        named.dedup();
        named.iter().try_for_each(|revision| {
            self.load(revision).map_err(|why| format!("the cells name what cannot be booted: {why}; {wanted:?}"))
        })
    }

    fn load(&mut self, revision: &RevisionId) -> Result<(), String> {
        let whole = kernel(revision);
        let found = match self.kind {
            // One kernel serves all that were updated in place from each other.
            Kind::Slots => match self.slots.kernel(revision, whole.len()) {
                Some((bytes, shared)) if shared.iter().any(|revision| bytes == kernel(revision)) => return Ok(()),
                found => found.map(|(bytes, _)| bytes),
            },
            _ => self.files.read_unreplayed(&kernel_name(revision)).map(<[u8]>::to_vec),
        };
        match found {
            Some(bytes) if bytes == whole => Ok(()),
            Some(_) => Err(format!("the kernel of {revision} is not whole")),
            None => Err(format!("the firmware finds no kernel of {revision}")),
        }
    }

    /// A trial that was given up is not tried for ever.
    fn count_relapse(&mut self, revision: &RevisionId) -> Result<(), String> {
        let Ok(wanted) = self.unreplayed_wanted() else { return Ok(()) };
        if wanted.default == *revision || wanted.trial.is_none_or(|trial| trial.revision != *revision) {
            return Ok(());
        }
        let Ok(journal) = self.journal() else { return Ok(()) };
        let given_up = matches!(&journal.body.record, Record::RolledBack(given_up, _) if given_up == revision);
        self.relapses += u8::from(given_up);
        if self.relapses > relapses(self.kind.trial()) {
            return Err(format!("{revision} was given up, and the firmware tries it once more than it may"));
        }
        Ok(())
    }

    fn write_note(&mut self, spent: Spent, wanted: Option<&Wanted>) -> Result<(), String> {
        let bytes = encoded_note(self.kind, spent);
        match (self.kind, wanted) {
            _ if self.planted == Planted::TryingUnnoted => Ok(()),
            (Kind::Files, _) => self.files.overwrite(SPENT, &bytes).map_err(text),
            (Kind::Reference, Some(wanted)) => self.cells.write(NOTE, &txt::trying(wanted, spent.boots)).map_err(text),
            _ => self.cells.write(NOTE, &bytes).map_err(text),
        }
    }
}
