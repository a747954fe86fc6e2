//! What tools and hubs read about an update: `.pv/progress` and `.pv/done`, written after each step. No decision reads
//! them.

use formats::progress::{Message, Report, Status};
use statemachine::goals::Standing;
use statemachine::ids::RevisionId;
use statemachine::journal::{Reason, Record};
use statemachine::update::{Refusal, State};

use super::Core;
use super::hooks::{Moment, Then};
use crate::engine::BASE;
use crate::trace::reason_word;

impl Core {
    /// Looks at what failed. To be called before anything is undone, while it can be seen.
    pub(super) fn look_at_failures(&mut self) {
        let record = &self.machine.journal().body.record;
        if matches!(self.machine.state(), State::Dark) || self.reported.as_ref() == Some(record) {
            return;
        }
        self.failures = match (record, &self.reported) {
            // In this boot, so what runs, or has just run, is what failed.
            (Record::RolledBack(..), Some(_)) => self.failing(),
            _ => Vec::new(),
        };
    }

    /// Writes where the update stands, if that has changed.
    pub(super) fn report(&mut self) {
        let step = match self.machine.state() {
            State::Fetching(plan) => Some((plan, Status::Downloading, Message::ReadyToRun)),
            State::Verifying(plan) | State::Staging(plan) => Some((plan, Status::InProgress, Message::Applied)),
            State::Arming(plan) => Some((plan, Status::InProgress, Message::Rebooting)),
            State::Switching(plan) => Some((plan, Status::InProgress, Message::InPlace)),
            State::Trying(plan) => Some((plan, Status::InProgress, Message::Trying)),
            State::Testing(plan) => Some((plan, Status::Testing, Message::AwaitingStability)),
            _ => None,
        };
        if let Some((plan, status, message)) = step {
            let id = plan.what.revision.clone();
            self.write(id, Report::new(status, message), false);
        }
        let record = &self.machine.journal().body.record;
        if matches!(self.machine.state(), State::Dark) || self.reported.as_ref() == Some(record) {
            return;
        }
        let record = record.clone();
        match &record {
            Record::Committed(id) => {
                self.write(id.clone(), Report::new(Status::Done, Message::FinishedWithRollbackPoint), true);
            }
            Record::Updated(id) => {
                self.write(id.clone(), Report::new(Status::Updated, Message::FinishedWithoutRollbackPoint), true);
            }
            Record::RolledBack(id, reason) => {
                let mut report = Report::new(Status::Error, message(*reason));
                report.logs = Some(self.explained(*reason));
                self.write(id.clone(), report, false);
            }
            Record::Trying { .. } => {}
        }
        // What an earlier boot has committed is no news.
        let is_news = self.reported.is_some() && matches!(record, Record::Committed(_) | Record::Updated(_));
        self.reported = Some(record);
        if is_news {
            self.run_hooks(Moment::BootDone, Then::Nothing);
        }
    }

    /// Adds a sentence to the report of a revision that runs for good; what was written of it before stays true.
    pub(super) fn add_to_report(&self, id: &RevisionId, sentence: String) {
        let report = match &self.machine.journal().body.record {
            Record::Committed(of) if of == id => Report::new(Status::Done, Message::FinishedWithRollbackPoint),
            Record::Updated(of) if of == id => Report::new(Status::Updated, Message::FinishedWithoutRollbackPoint),
            _ => return,
        };
        self.write(id.clone(), Report { logs: Some(sentence), ..report }, false);
    }

    /// A proposal was declined. What was tried and given up keeps the report of that.
    pub(super) fn declined(&self, id: &RevisionId, why: Refusal) {
        let message = match why {
            Refusal::NotFetched => Message::BadObject,
            Refusal::NotVerified => Message::BadSignature,
            Refusal::NotStaged | Refusal::NotPlaced | Refusal::NotDurable => Message::Internal,
            Refusal::Cancelled => Message::Stale,
            Refusal::Busy
            | Refusal::Condemned
            | Refusal::Already
            | Refusal::NeedsReboot
            | Refusal::NothingPrevious
            | Refusal::Unreadable
            | Refusal::RebootsSpent => return,
        };
        let mut report = Report::new(Status::WontGo, message);
        report.logs.clone_from(&self.why);
        self.write(id.clone(), report, false);
    }

    /// A verdict in a sentence, with what the containers said.
    pub(super) fn explained(&self, reason: Reason) -> String {
        let sentence = match reason {
            Reason::NeverArmed => "power was cut before it could be tried; it may be posted again",
            Reason::Skipped => "the bootloader could not count its boots and did not try it; it may be posted again",
            Reason::Unconfirmed => "every boot of it ended before its goals were met",
            Reason::GoalMissed => "a container did not reach its goal in time",
            Reason::Crashed if self.hooks.fault.is_some() => "its base system could not begin",
            Reason::Crashed => "a container failed and did not recover",
            Reason::SwitchFailed => "its containers could not be switched in",
            Reason::Unbootable => "it did not come up, and the bootloader fell back",
            Reason::Unstable => "its boots kept ending early",
            Reason::Ordered => "a person asked for the revision before it",
        };
        let mut text = format!("{}: {sentence}", reason_word(reason));
        for (name, why) in &self.failures {
            text.push_str(&format!("\n{name}: {why}"));
        }
        text
    }

    /// The containers that do not stand as they should, and why as far as that is known.
    fn failing(&self) -> Vec<(String, String)> {
        let rows = self.supervisor.containers().filter_map(|(member, container)| {
            let standing = container.standing(&member.policy);
            let text = match self.reason_of(&member.name) {
                Some(reason) => format!("{}: {reason}", container.status().word()),
                None => container.status().word().to_owned(),
            };
            standing.is_some_and(|standing| standing != Standing::Met).then(|| (member.name.clone(), text))
        });
        let base = self.hooks.fault.iter().map(|why| (BASE.to_owned(), why.clone()));
        base.chain(rows).collect()
    }

    fn write(&self, id: RevisionId, report: Report, done: bool) {
        // Nobody waits for a report, and a full disk must not stop an update: what cannot be written is not.
        self.store.order(move |holdings| {
            let _ = holdings.trails.report(&id, &report);
            if done {
                let _ = holdings.trails.mark_done(&id);
            }
        });
    }
}

/// The sentence that hubs know, which is the nearest to a reason.
fn message(reason: Reason) -> Message {
    match reason {
        Reason::GoalMissed => Message::GoalNotReached,
        Reason::Crashed | Reason::SwitchFailed => Message::ContainerNotStarted,
        Reason::Unconfirmed | Reason::Unbootable | Reason::Unstable | Reason::Ordered => Message::UnexpectedRollback,
        Reason::NeverArmed | Reason::Skipped => Message::NotYetInstalled,
    }
}
