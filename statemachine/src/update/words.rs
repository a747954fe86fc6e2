//! The vocabulary of the update machine: states, facts, orders.
//!
//! States are participles (what is waited for), events are in the past tense, effects in the imperative. A word that is
//! added here does not compile until the `match` in [`update`](super) says what it means in every state.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::boot::Wanted;
use crate::ids::RevisionId;
use crate::journal::{Journal, Known, Transition};
use crate::recover::Boot;

/// What a proposal comes to: a revision and the way to it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Plan {
    /// The revision.
    pub what: Known,
    /// The way, from [`transition`](crate::transition).
    pub by: Transition,
}

/// What runs as this boot.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Running {
    /// A revision; after an update in place the new one.
    Revision(RevisionId),
    /// The recovery kernel, with no containers.
    Recovery,
}

/// Where a boot goes once it is opened.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Course {
    /// The default, as every day.
    Rest,
    /// The default, whose ends without power loss leave nothing to start: serve only.
    Serve,
    /// A cold trial. `refund`: the boot before this one was lost to flapping power and is given back.
    Trial {
        /// What is tried.
        plan: Plan,
        /// Whether one attempt is given back.
        refund: bool,
    },
    /// One-shot firmware: the trial has attempts left, ask for it again.
    Issue,
}

/// What the machine waits for.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum State {
    /// The first fact.
    Dark,

    // Waking up: durable writes before containers start.
    /// Cells: `Wanted` was unreadable and is rebuilt from the journal's default.
    Rebuilding,
    /// Journal: this boot is opened, so that its end can be judged by the next.
    Opening(Course),
    /// Cells: one more attempt for the trial, under the same nonce.
    Refunding(Plan),
    /// Cells: a new nonce starts the firmware's count again.
    Renewing,
    /// Cells: one-shot firmware, one more attempt is issued.
    Issuing,

    // At rest.
    /// A proposal, or an order. The default runs.
    Idle,
    /// Journal: this boot has lasted.
    Noting,
    /// A proposal by reboot, or an order. No container runs.
    Serving,
    /// An order to reboot, and nothing else: what the flash holds is not known.
    Frozen,

    // Pending.
    /// Objects are downloaded.
    Fetching(Plan),
    /// Signatures and hashes are checked.
    Verifying(Plan),
    /// The trail is written.
    Staging(Plan),
    /// Cells: the names that are held in the slot to be written are withdrawn.
    Vacating(Plan),
    /// Kernel and initramfs are written where the firmware finds them.
    Placing(Plan),
    /// Barrier: what a firmware will read is made visible to a reader that replays no journal.
    Syncing(Plan),
    /// Journal: the intent.
    Recording(Plan),
    /// Cells: the trial.
    Arming(Plan),

    // Trying.
    /// Changed containers are stopped and started.
    Switching(Plan),
    /// Goals are awaited.
    Trying(Plan),
    /// Goals are met and have to hold.
    Testing(Plan),
    /// First cold boot of a revision that was committed in place: goals are awaited.
    Proving,
    /// The same: goals are met and have to hold.
    Confirming,

    // Committed.
    /// Cells: the trial becomes the default.
    Committing(Plan),
    /// Journal: the success, or the proof.
    Closing,

    // Rolled back.
    /// Journal: the verdict.
    Failing(Plan),
    /// Cells: no trial.
    Disarming(Plan),
    /// The containers of the default are put back.
    Undoing,
    /// Journal: the verdict over the default.
    Demoting {
        /// What becomes the default.
        to: RevisionId,
        /// Whether the old default stays in the list, as `previous`.
        keep: bool,
    },
    /// Cells: the new default.
    Withdrawing,

    // Recovery.
    /// Journal: what recovery found.
    Rescuing {
        /// The default verifies again, and the list is renewed for it, once.
        revive: bool,
    },
    /// Cells: a new nonce for the default that verifies again.
    Reviving,

    // The end of this boot.
    /// Journal: this end is in order.
    Parting {
        /// A policy's reboot, which is counted.
        counted: bool,
    },
    /// Nothing: a reboot is ordered.
    Leaving,
}

/// The four public words for an update; hub, tools and docs use only these.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Phase {
    /// It is fetched, checked, staged and armed; what runs is untouched.
    Pending,
    /// It runs, and its goals are awaited.
    Trying,
    /// It is the default.
    Committed,
    /// It was given up; the default runs, or is about to.
    RolledBack,
}

/// A durable value that was ordered and is not acknowledged yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[expect(clippy::large_enum_variant, reason = "there is no heap to put the journal on, and one value per device")]
pub enum Pending {
    /// Nothing is in flight.
    Nothing,
    /// The journal.
    Journal(Journal),
    /// The boot cell.
    Cells(Wanted),
    /// The barrier.
    Barrier,
}

/// Names that stand in the slot a placement would write; they are withdrawn before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Evicts {
    /// `Wanted::previous` is held there.
    pub previous: bool,
    /// `Wanted::factory` is held there.
    pub factory: bool,
}

/// What a read after a failed durable write found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Found {
    /// The new value: it is as good as acknowledged.
    New,
    /// The old value: nothing was changed.
    Old,
    /// Neither: no further durable write until the next boot.
    Unreadable,
}

/// Facts, in the past tense.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[expect(clippy::large_enum_variant, reason = "Booted carries the journal once per boot")]
pub enum Event {
    /// The first of a boot: what was read.
    Booted(Boot),
    /// Somebody offers a revision. `retry` lifts an earlier condemnation of the same content.
    Proposed {
        /// What, and the way to it.
        plan: Plan,
        /// Try again what was condemned.
        retry: bool,
    },
    /// The offer is withdrawn.
    Cancelled,
    /// A person or a policy wants a reboot. `cause` is given by a policy, and counted.
    RebootAsked {
        /// The cause of a reboot by policy.
        cause: Option<u32>,
    },
    /// A person wants the previous revision back.
    RollbackAsked,
    /// Nothing is known but what runs; a person says that it shall be the default.
    AdoptAsked,
    /// The journal is durable.
    Persisted,
    /// The cells are durable, as a firmware reads them.
    Stored,
    /// The barrier stands.
    Synced,
    /// The durable write in flight reported an error, and was read back.
    WriteFailed(Found),
    /// All objects are here.
    Fetched,
    /// Signatures and hashes hold.
    Verified,
    /// The trail is complete.
    Staged(Evicts),
    /// The firmware's files are in their slot.
    Placed,
    /// The changed containers have been stopped and started.
    Switched,
    /// The long effect in flight failed.
    Failed,
    /// Every container reached its goal.
    GoalsMet,
    /// One that had reached its goal left it, and may come back.
    GoalsLost,
    /// The deadline passed.
    GoalMissed,
    /// A container failed beyond its recovery budget.
    Crashed,
    /// The goals held long enough.
    Soaked,
    /// This boot has lasted (ten minutes): its end will not be counted.
    Lasted,
}

/// With how much care the containers of the default are started.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Care {
    /// All of them, in order.
    All,
    /// Power flaps: apps wait, the longer the higher the number (doubling, up to an hour).
    DelayApps(u8),
    /// Boots keep ending with a mark: apps stay down as FAILED.
    WithoutApps,
}

/// Why a proposal or an order is not followed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Refusal {
    /// Another update is under way.
    Busy,
    /// The same content was tried and found bad.
    Condemned,
    /// It already is what runs.
    Already,
    /// Nothing runs that it could be switched in for.
    NeedsReboot,
    /// There is nothing to go back to.
    NothingPrevious,
    /// The flash gave neither the old nor the new value back; the next boot decides.
    Unreadable,
    /// Somebody withdrew it.
    Cancelled,
    /// It could not be downloaded.
    NotFetched,
    /// A signature or a hash does not hold.
    NotVerified,
    /// The trail could not be written.
    NotStaged,
    /// The firmware's files could not be written.
    NotPlaced,
    /// A durable write failed and the old value stands.
    NotDurable,
    /// The policy of this cause has used up its reboots.
    RebootsSpent,
}

/// Orders, in the imperative.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Effect {
    /// Durable: write [`Machine::pending`](super::Machine::pending) to the journal.
    Persist,
    /// Durable: write [`Machine::pending`](super::Machine::pending) to the boot cell.
    Store,
    /// Durable: the barrier.
    Sync,
    /// Long: download what is missing.
    Fetch(RevisionId),
    /// Long: check signatures and hashes.
    Verify(RevisionId),
    /// Long: write the trail.
    Stage(RevisionId),
    /// Long: write the firmware's files into their slot.
    Place(RevisionId),
    /// Long: go to the containers of this revision, total before anything is stopped.
    Switch(RevisionId),
    /// Prompt: start the containers of what runs.
    Start(Care),
    /// Prompt: report goals, and miss them after the deadline.
    Watch,
    /// Prompt: start the soak.
    Soak,
    /// Prompt: tell whoever asked.
    Decline(RevisionId, Refusal),
    /// Prompt: tell whoever asked for a reboot, a rollback or an adoption.
    Refuse(Refusal),
    /// The end of this boot. `trial`: tell a one-shot firmware.
    Reboot {
        /// Ask a one-shot firmware for the trial.
        trial: bool,
    },
}

impl Effect {
    /// Whether it changes what the next boot reads.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        matches!(self, Self::Persist | Self::Store | Self::Sync)
    }
}

/// The orders of one step.
pub type Effects = Vec<Effect, 3>;

/// What became of the containers in this boot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Containers {
    /// Durable writes come first.
    Waiting,
    /// They were started.
    Started,
    /// None is started in this boot.
    Down,
}
