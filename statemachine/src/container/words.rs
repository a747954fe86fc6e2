//! The words of the machine of one container: what it is told, what it orders, and how its state is called in public.
//!
//! Events are facts in the past tense, effects are orders in the imperative, statuses are the words that tools show.

use heapless::Vec;
use serde::{Deserialize, Serialize};

/// How a container's first process ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// The kernel ended it because the container had used up its memory.
    OutOfMemory,
    /// It asked for a reboot, which in processes of its own is its end.
    AskedReboot,
    /// It asked to be powered off or halted, likewise.
    AskedPowerOff,
}

/// The public word for where a container is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Status {
    /// Known, and waiting for its turn.
    Installed,
    /// An earlier group has not reached its goals.
    Blocked,
    /// Its volumes are mounted, which is all that it is there for.
    Mounted,
    /// Its start was ordered.
    Starting,
    /// Its first process runs.
    Started,
    /// It has said that it is ready.
    Ready,
    /// It went down and waits to be started again.
    Recovering,
    /// It is going down.
    Stopping,
    /// It is down, and that is as it should be.
    Stopped,
    /// It is down beyond its recovery.
    Failed,
}

impl Status {
    /// The word as tools and users know it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Installed => "INSTALLED",
            Self::Blocked => "BLOCKED",
            Self::Mounted => "MOUNTED",
            Self::Starting => "STARTING",
            Self::Started => "STARTED",
            Self::Ready => "READY",
            Self::Recovering => "RECOVERING",
            Self::Stopping => "STOPPING",
            Self::Stopped => "STOPPED",
            Self::Failed => "FAILED",
        }
    }
}

/// Facts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event {
    /// Its group's turn has come.
    Allowed,
    /// Its group's turn has not come.
    Held,
    /// Answer to [`Effect::Mount`]: the volumes are there.
    Mounted,
    /// Answer to [`Effect::Start`]: the container's own first process runs.
    Started,
    /// The container said that it is ready.
    Signalled,
    /// It was asked whether it is ready as often as its manifest wants, and said no each time.
    FoundUnready,
    /// Its process ended.
    Exited(Outcome),
    /// Answer to [`Effect::Unmount`]: no volume is left.
    Unmounted,
    /// The order in flight could not be carried out.
    Failed,
    /// A person wants it down.
    StopAsked,
    /// A person wants it up.
    StartAsked,
    /// A person wants it down and up again.
    RestartAsked,
    /// The revision wants it down for good: it is replaced or removed, or the device goes down.
    Withdrawn,
    /// A revision that keeps this container as it is goes on trial in place: its goal has a new deadline. If it had
    /// failed for good before, the trial does not judge it.
    TrialBegan,
    /// The reboot that it asked for will not happen.
    RebootRefused,
    /// Time has passed.
    Elapsed,
}

/// Orders.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Effect {
    /// Mount all its volumes.
    Mount,
    /// Load its drivers, give it its addresses, start its process.
    Start,
    /// Ask its first process to end.
    Terminate,
    /// End everything in its control group.
    Kill,
    /// Release all its volumes.
    Unmount,
    /// Ask the update machine for a reboot by policy, with this container as the cause.
    AskReboot,
    /// Tell tools, logs and hub: this is its status now.
    Report(Status),
}

/// What one step asks for, in this order: at most one order, then at most one report.
pub type Effects = Vec<Effect, 2>;
