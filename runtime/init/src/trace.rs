//! What a device does, as one JSON object a line, for tests, demonstrations and replays.
//!
//! ```text
//!   {"event":"booted","t":3,"role":"trial","mark":false}
//!   {"event":"state","t":812,"state":"Fetching","phase":"pending","revision":"locals/a","fact":"0a…"}
//!   {"event":"proposed","t":812,"revision":"locals/a","by":"in-place"}
//!   {"event":"refused","t":…,"revision":"locals/b","why":"condemned"}
//!   {"event":"container","t":…,"name":"web","status":"STARTED"}
//!   {"event":"verdict","t":…,"revision":"locals/a","good":false,"reason":"goal-missed"}
//!   {"event":"commit","t":…,"revision":"locals/a","standing":"UPDATED"}
//!   {"event":"rollback","t":…,"revision":"locals/a","reason":"goal-missed","to":"0"}
//! ```
//!
//! `t` is milliseconds since PID 1 began. `fact` is the event that the update machine took (postcard, in hex): all of
//! them in order are the whole run, so that it can be replayed as a path of the model. Without a place for them
//! (`cairn.trace=FD` on the command line, `trace=NODE` in the settings) nothing is written. Nothing waits for the reader of
//! a pipe: a line that does not fit is lost and counted. A serial line is waited for, so that whatever a device has done is
//! told before it does more, and no end takes that back.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use formats::json::Json;
use rustix::termios::tcdrain;
use statemachine::container::Status;
use statemachine::journal::{Reason, Record, Transition};
use statemachine::update::{Effect, Event, Machine, Pending, Phase, Refusal, State};

use crate::clock::Clock;

/// Where lines go.
pub struct Trace {
    clock: Clock,
    sink: Option<Mutex<File>>,
    /// Each line is sent before anything else happens.
    drains: bool,
    lost: AtomicU64,
}

impl Trace {
    /// Writes to a pipe, which should not block, or nowhere.
    #[must_use]
    pub fn new(clock: Clock, sink: Option<File>) -> Self {
        Self { clock, sink: sink.map(Mutex::new), drains: false, lost: AtomicU64::new(0) }
    }

    /// Writes to a serial line.
    #[must_use]
    pub fn on_line(clock: Clock, line: File) -> Self {
        Self { drains: true, ..Self::new(clock, Some(line)) }
    }

    /// Writes one event.
    pub fn tell(&self, event: &str, members: impl FnOnce(Json) -> Json) {
        let Some(sink) = &self.sink else { return };
        let json = members(Json::object().with("event", event).with("t", self.clock.now().0));
        let line = format!("{}\n", json.compact());
        let written = sink.lock().is_ok_and(|mut sink| {
            let written = sink.write_all(line.as_bytes()).is_ok();
            // One that cannot wait is no serial line, and has sent what it was given.
            let _ = self.drains.then(|| tcdrain(&*sink));
            written
        });
        if !written {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that nobody has taken.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// A container has changed.
    pub fn container(&self, name: &str, status: Status) {
        self.tell("container", |json| json.with("name", name).with("status", status.word()));
    }

    /// The update machine has taken a fact in the state `before`.
    pub fn took(&self, event: &Event, before: &State, machine: &Machine) {
        let after = machine.state();
        self.tell("state", |json| {
            let json = json.with("state", state_word(after)).with("phase", machine.phase().map_or("dark", phase_word));
            let json = match revision_of(after) {
                Some(revision) => json.with("revision", revision),
                None => json,
            };
            json.with("fact", hex(&postcard::to_allocvec(event).unwrap_or_default()).as_str())
        });
        if let (Event::Proposed { plan, .. }, State::Fetching(_)) = (event, after) {
            let revision = plan.what.revision.as_str();
            self.tell("proposed", |json| json.with("revision", revision).with("by", way_word(plan.by)));
        }
        if let (State::Failing(_) | State::Demoting { .. }, Pending::Journal(journal)) = (after, machine.pending())
            && std::mem::discriminant(before) != std::mem::discriminant(after)
            && let Record::RolledBack(revision, reason) = &journal.body.record
        {
            self.tell("verdict", |json| {
                json.with("revision", revision.as_str()).with("good", false).with("reason", reason_word(*reason))
            });
        }
        if let (State::Testing(_) | State::Syncing(_), State::Committing(plan)) = (before, after) {
            self.tell("verdict", |json| json.with("revision", plan.what.revision.as_str()).with("good", true));
        }
        if *event == Event::Persisted {
            self.recorded(before, machine);
        }
    }

    /// A verdict has become durable.
    fn recorded(&self, before: &State, machine: &Machine) {
        let journal = machine.journal();
        match (before, &journal.body.record) {
            (State::Closing, Record::Committed(revision) | Record::Updated(revision)) => {
                let standing = if journal.body.proven { "DONE" } else { "UPDATED" };
                self.tell("commit", |json| json.with("revision", revision.as_str()).with("standing", standing));
            }
            (State::Failing(_) | State::Demoting { .. }, Record::RolledBack(revision, reason)) => {
                self.tell("rollback", |json| {
                    json.with("revision", revision.as_str())
                        .with("reason", reason_word(*reason))
                        .with("to", journal.header.default.revision.as_str())
                });
            }
            _ => {}
        }
    }

    /// The update machine has given an order that tools want to see.
    pub fn ordered(&self, order: &Effect) {
        match order {
            Effect::Decline(revision, why) => {
                self.tell("refused", |json| json.with("revision", revision.as_str()).with("why", refusal_word(*why)));
            }
            Effect::Reboot { trial } => self.tell("leaving", |json| json.with("trial", *trial)),
            _ => {}
        }
    }
}

/// What a state is called, without what it holds.
#[must_use]
pub fn state_word(state: &State) -> &'static str {
    macro_rules! word {
        ($($name:ident),* $(,)?) => {
            match state { $(State::$name { .. } => stringify!($name),)* }
        };
    }
    word!(
        Dark,
        Rebuilding,
        Opening,
        Refunding,
        Renewing,
        Issuing,
        Idle,
        Noting,
        Serving,
        Frozen,
        Fetching,
        Verifying,
        Staging,
        Vacating,
        Placing,
        Syncing,
        Recording,
        Arming,
        Switching,
        Trying,
        Testing,
        Proving,
        Confirming,
        Committing,
        Closing,
        Failing,
        Disarming,
        Undoing,
        Demoting,
        Withdrawing,
        Rescuing,
        Reviving,
        Parting,
        Leaving,
    )
}

/// The revision that a state is about.
#[must_use]
pub fn revision_of(state: &State) -> Option<&str> {
    match state {
        State::Fetching(plan)
        | State::Verifying(plan)
        | State::Staging(plan)
        | State::Vacating(plan)
        | State::Placing(plan)
        | State::Syncing(plan)
        | State::Recording(plan)
        | State::Arming(plan)
        | State::Switching(plan)
        | State::Trying(plan)
        | State::Testing(plan)
        | State::Committing(plan)
        | State::Failing(plan)
        | State::Refunding(plan)
        | State::Disarming(plan) => Some(plan.what.revision.as_str()),
        _ => None,
    }
}

/// The public word for a phase.
#[must_use]
pub fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending => "pending",
        Phase::Trying => "trying",
        Phase::Committed => "committed",
        Phase::RolledBack => "rolled-back",
    }
}

/// The word for a way from one revision to another.
#[must_use]
pub fn way_word(by: Transition) -> &'static str {
    match by {
        Transition::Reboot => "reboot",
        Transition::InPlace => "in-place",
    }
}

/// The word for a reason, for programs.
#[must_use]
pub fn reason_word(reason: Reason) -> &'static str {
    match reason {
        Reason::NeverArmed => "never-armed",
        Reason::Skipped => "skipped",
        Reason::Unconfirmed => "unconfirmed",
        Reason::GoalMissed => "goal-missed",
        Reason::Crashed => "crashed",
        Reason::SwitchFailed => "switch-failed",
        Reason::Unbootable => "unbootable",
        Reason::Unstable => "unstable",
        Reason::Ordered => "ordered",
    }
}

/// The word for a refusal, for programs.
#[must_use]
pub fn refusal_word(why: Refusal) -> &'static str {
    match why {
        Refusal::Busy => "busy",
        Refusal::Condemned => "condemned",
        Refusal::Already => "already",
        Refusal::NeedsReboot => "needs-reboot",
        Refusal::NothingPrevious => "nothing-previous",
        Refusal::Unreadable => "unreadable",
        Refusal::Cancelled => "cancelled",
        Refusal::NotFetched => "not-fetched",
        Refusal::NotVerified => "not-verified",
        Refusal::NotStaged => "not-staged",
        Refusal::NotPlaced => "not-placed",
        Refusal::NotDurable => "not-durable",
        Refusal::RebootsSpent => "reboots-spent",
    }
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
