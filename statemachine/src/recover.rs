//! The first decision of a boot: what the three facts, cells, journal and what runs, come to.
//!
//! | trial in the cell | record in the journal | runs | so |
//! |---|---|---|---|
//! | unreadable | any, or its head | a revision | rebuild the cell from the journal's default; stay up, no updates |
//! | unreadable | unreadable | a revision | write nothing, stay up; a person may adopt what runs |
//! | any | any, or its head | recovery | renew the list once for a default that verifies; else rebuild the cell if need be, and serve |
//! | armed R | rolled back R | any | finish: `Disarming` |
//! | armed R | else | R | `Trying`, cold; one attempt given back if power flapped |
//! | armed R | trying R | default | one-shot firmware with attempts left: issue again |
//! | armed R | else | not R | the trial was spent, or skipped: `Failing` |
//! | none | trying R, reboot; R is the default | any | only the record is missing: `Closing` |
//! | none | trying R, reboot | any | never armed: `Failing` |
//! | none | trying R, in place; R is the default | any | the same `Closing`; this boot proves it |
//! | none | trying R, in place | not R | an attempt was spent; after the last: `Failing` |
//! | none | rolled back the default | default | finish: `Withdrawing` |
//! | none | at rest | default | wake: open the boot, renew the nonce, start |
//! | none | at rest | previous or factory | the default was spent: `Demoting`, stay up |
//! | none | at rest | anything else | stay up without updates, never reboot |
//!
//! The boot is opened (journal) *before* the nonce is renewed (cells): a default that dies before the first write is
//! counted by the firmware, one that dies after it by the journal, and no moment is counted by neither.

use serde::{Deserialize, Serialize};

use crate::boot::{Note, TrialKind, Wanted};
use crate::ids::RevisionId;
use crate::journal::{Header, Journal, Known, Reason, Record, Transition};
use crate::update::{Containers, Course, Machine, Plan, Running, State, Step};

/// What PID 1 read before anything else.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Boot {
    /// How this firmware counts.
    pub kind: TrialKind,
    /// What it started.
    pub running: Running,
    /// The boot cell; `None` when unreadable.
    pub wanted: Option<Wanted>,
    /// The bootloader's note.
    pub note: Note,
    /// The journal; `None` when absent or unreadable, or when its body is of a version that this one does not know.
    pub journal: Option<Journal>,
    /// The journal's head, where that is all of it that can be read.
    pub head: Option<Header>,
    /// Whether the boot before this one left a mark: panic, watchdog, death of PID 1.
    pub marked: bool,
    /// The factory revision, while the board holds it.
    pub factory: Option<RevisionId>,
    /// Recovery only: the default's bytes verify.
    pub default_verifies: bool,
}

impl Machine {
    pub(crate) fn recover(mut self, boot: Boot) -> Step {
        self.kind = boot.kind;
        self.running = boot.running.clone();
        self.factory = boot.factory.clone();
        self.nonce = boot.wanted.as_ref().map_or(0, |wanted| wanted.nonce).max(boot.note.nonce());
        self.whole = boot.wanted.is_some() && boot.journal.is_some();
        self.wanted = boot.wanted.clone();
        if boot.running == Running::Recovery {
            self.containers = Containers::Down;
        }
        let lost = boot.journal.is_none();
        match (&boot.wanted, boot.journal.clone(), boot.head.clone()) {
            (_, Some(journal), _) => self.journal = journal,
            (wanted, None, Some(head)) => {
                let default = head.default.revision.clone();
                let wanted = wanted.clone().unwrap_or_else(|| self.blank(default));
                self.journal = stand_in(&wanted);
                self.journal.header = head;
            }
            (Some(wanted), None, None) => self.journal = stand_in(wanted),
            (None, None, None) => {
                self.blind = true;
                return self.freeze();
            }
        }
        self.count_end(&boot);
        if boot.running == Running::Recovery {
            return self.rescue(&boot);
        }
        let Some(wanted) = boot.wanted.clone() else {
            let rebuilt = self.blank(self.journal.header.default.revision.clone());
            return self.store(State::Rebuilding, rebuilt);
        };
        match &wanted.trial {
            Some(trial) => self.armed(&boot, &wanted, &trial.revision, lost),
            None => self.unarmed(&wanted),
        }
    }

    /// Judges the end of the boot before, if it was one of the default that is booted again.
    fn count_end(&mut self, boot: &Boot) {
        self.ends = self.journal.body.ends;
        let Running::Revision(running) = &boot.running else { return };
        if self.journal.body.open.as_ref() != Some(running) || !self.defaults_to(running) {
            return;
        }
        // Counted as far as a rule looks.
        let limits = self.limits;
        if boot.marked {
            let most = limits.marks.saturating_mul(2).max(limits.attempts);
            self.ends.marked = self.ends.marked.saturating_add(1).min(most);
        } else {
            let most = limits.flaps.saturating_add(limits.delays.max(limits.attempts));
            self.ends.unmarked = self.ends.unmarked.saturating_add(1).min(most);
        }
    }

    fn armed(self, boot: &Boot, wanted: &Wanted, trial: &RevisionId, lost: bool) -> Step {
        let plan = Plan { what: self.tried(trial), by: Transition::Reboot };
        if matches!(&self.journal.body.record, Record::RolledBack(given_up, _) if given_up == trial) {
            return self.disarm(plan);
        }
        if self.runs(trial) {
            return self.try_cold(boot, wanted, plan, lost);
        }
        let (max, issued) = wanted.trial.as_ref().map_or((0, 0), |trial| (trial.max, trial.issued));
        match self.kind {
            TrialKind::OneShot if self.runs_default() && !lost && issued < max => self.issue_again(boot.marked),
            // The loader booted something else though the count stood below the budget: it could not count.
            TrialKind::Counted if self.runs_default() && boot.note.boots(wanted) < max => {
                self.fail(plan, Reason::Skipped)
            }
            _ => self.fail(plan, Reason::Unconfirmed),
        }
    }

    /// The content behind the name on trial, as far as the journal knows it.
    fn tried(&self, trial: &RevisionId) -> Known {
        match &self.journal.body.record {
            Record::Trying { what, .. } if what.revision == *trial => what.clone(),
            _ => Known { revision: trial.clone(), digest: None },
        }
    }

    fn try_cold(self, boot: &Boot, wanted: &Wanted, plan: Plan, lost: bool) -> Step {
        let (max, issued) = wanted.trial.as_ref().map_or((0, 0), |trial| (trial.max, trial.issued));
        let attempt = match self.kind {
            TrialKind::Counted => boot.note.boots(wanted),
            TrialKind::OneShot => issued,
            TrialKind::Toggling => 0,
        };
        let alive = self.journal.header.attempts;
        // A note that cannot be read counts as all attempts; it proves none of them.
        let counted = self.kind != TrialKind::Counted || boot.note != Note::Unreadable;
        let refund = counted
            && !lost
            && !boot.marked
            && alive != 0
            && alive.saturating_add(1) == attempt
            && max < self.limits.ceiling;
        let mut journal = self.next_journal();
        journal.header.attempts = attempt;
        journal.body.record = Record::Trying { what: plan.what.clone(), by: Transition::Reboot };
        journal.body.open = Some(plan.what.revision.clone());
        self.persist(State::Opening(Course::Trial { plan, refund }), journal)
    }

    fn issue_again(self, marked: bool) -> Step {
        if !marked || self.journal.header.attempts == 0 {
            return self.issue();
        }
        // The trial's last boot left a mark: it is not to be given back.
        let mut journal = self.next_journal();
        journal.header.attempts = 0;
        self.persist(State::Opening(Course::Issue), journal)
    }

    fn unarmed(self, wanted: &Wanted) -> Step {
        match self.journal.body.record.clone() {
            Record::Trying { what, by } if what.revision == wanted.default => self.close(Plan { what, by }),
            Record::Trying { what, by: Transition::Reboot } => {
                self.fail(Plan { what, by: Transition::Reboot }, Reason::NeverArmed)
            }
            Record::Trying { what, by: Transition::InPlace }
                if self.journal.header.attempts >= self.limits.in_place =>
            {
                self.fail(Plan { what, by: Transition::InPlace }, Reason::Unconfirmed)
            }
            Record::Trying { .. } | Record::Committed(_) | Record::Updated(_) | Record::RolledBack(..) => self.wake(),
        }
    }

    /// Nothing is in flight: the boot of what the cells name.
    pub(crate) fn wake(self) -> Step {
        let Some(wanted) = self.wanted.clone() else { return self.freeze() };
        let Running::Revision(running) = self.running.clone() else { return self.at_rest() };
        let judged = self.judged(&wanted);
        if running == wanted.default {
            return match judged {
                Some(next) => self.withdraw(next, false),
                None => self.wake_default(running),
            };
        }
        if wanted.previous.as_ref() == Some(&running) || wanted.factory.as_ref() == Some(&running) {
            return match judged {
                Some(next) if next == running => self.withdraw(next, false),
                _ => self.demote_to(running, Reason::Unbootable),
            };
        }
        self.freeze()
    }

    /// A verdict over the default that was recorded and not acted on; it names the next one.
    fn judged(&self, wanted: &Wanted) -> Option<RevisionId> {
        matches!(&self.journal.body.record, Record::RolledBack(old, _) if *old == wanted.default)
            .then(|| self.journal.header.default.revision.clone())
            .filter(|next| *next != wanted.default && wanted.names(next))
    }

    fn wake_default(self, default: RevisionId) -> Step {
        let ends = self.ends;
        let lost = ends.marked.saturating_add(ends.unmarked.saturating_sub(self.limits.flaps));
        let unproven = !self.default_is_proven() && lost >= self.limits.attempts;
        let unstable = ends.marked >= self.limits.marks.saturating_mul(2);
        let verdict = if unproven { Reason::Unconfirmed } else { Reason::Unstable };
        let course = match self.fallback() {
            Some(to) if unproven || unstable => return self.demote_to(to, verdict),
            None if unstable => Course::Serve,
            _ => Course::Rest,
        };
        let mut journal = self.next_journal();
        journal.body.open = Some(default);
        self.persist(State::Opening(course), journal)
    }

    fn rescue(self, boot: &Boot) -> Step {
        if let Some(next) = boot.wanted.as_ref().and_then(|wanted| self.judged(wanted)) {
            return self.withdraw(next, false);
        }
        let default = match &boot.wanted {
            Some(wanted) => wanted.default.clone(),
            None => self.journal.header.default.revision.clone(),
        };
        let trial = boot.wanted.as_ref().and_then(|wanted| wanted.trial.as_ref()).map(|trial| trial.revision.clone());
        let revive = boot.default_verifies && self.journal.body.rescued.as_ref() != Some(&default);
        let mut journal = match self.journal.body.record.clone() {
            // A success of which only the record is missing.
            Record::Trying { what, by } if what.revision == default => self.closed(Plan { what, by }),
            _ => self.next_journal(),
        };
        if let Some(trial) = trial {
            let what = self.tried(&trial);
            if let Some(digest) = what.digest {
                journal.header.condemned.add(digest);
            }
            journal.body.record = Record::RolledBack(trial, Reason::Unconfirmed);
            journal.header.attempts = 0;
        }
        if revive {
            journal.body.rescued = Some(default);
        } else if journal == self.journal {
            return self.serve();
        }
        self.persist(State::Rescuing { revive }, journal)
    }

    /// Recovery has nothing to revive. Whoever brings a revision needs a cell that it can be armed in.
    pub(crate) fn serve(self) -> Step {
        if self.wanted.is_some() {
            return self.at_rest();
        }
        let rebuilt = self.blank(self.journal.header.default.revision.clone());
        self.store(State::Rebuilding, rebuilt)
    }
}

/// What stands in for a lost journal, or for its body: nothing is known about the default but its name.
fn stand_in(wanted: &Wanted) -> Journal {
    let default = Known { revision: wanted.default.clone(), digest: None };
    let mut journal = Journal::factory(default);
    journal.body.proven = false;
    journal.body.record = match &wanted.trial {
        Some(trial) => {
            Record::Trying { what: Known { revision: trial.revision.clone(), digest: None }, by: Transition::Reboot }
        }
        None => Record::Updated(wanted.default.clone()),
    };
    journal
}
