//! Everything that can happen next to both machines.

use std::fmt;

use statemachine::container::{Event, Outcome};

use crate::container::device::By;
use crate::moves::{KernelLuck, Move, NoteLuck};

/// One step of luck, of the outside, of the clock, or of the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// A move around the update machine, by its place in [`Move::all`].
    Move(u8, Move),
    /// A fact of the container.
    Container(Event),
    /// Time passes.
    Tick,
}

/// What a container can come to by itself.
pub(super) const FACTS: [Event; 11] = [
    Event::Mounted,
    Event::Started,
    Event::Signalled,
    Event::FoundUnready,
    Event::Exited(Outcome::Code(0)),
    Event::Exited(Outcome::Code(1)),
    Event::Exited(Outcome::AskedReboot),
    Event::Exited(Outcome::AskedPowerOff),
    Event::Exited(Outcome::Signal(9)),
    Event::Unmounted,
    Event::Failed,
];

/// All steps. The supervisor's words are not among them: they follow from steps. Nor are orders of people that this
/// exploration is not about.
pub(super) fn steps() -> Vec<Step> {
    let offered = |candidate: &Move| match candidate {
        Move::GoalsMet | Move::GoalsLost | Move::GoalMissed | Move::Crashed | Move::Soaked => false,
        Move::Reboot { policy: true } | Move::Rollback | Move::Adopt | Move::Rot(_) => false,
        Move::Propose { revision, retry, .. } => *revision == 1 && !retry,
        Move::Boot { .. }
        | Move::WriteDone
        | Move::WriteFailedNew
        | Move::WriteFailedOld
        | Move::WriteUnreadable { .. }
        | Move::PowerCut { .. }
        | Move::Death { .. }
        | Move::LongDone
        | Move::LongFailed
        | Move::Lasted
        | Move::Cancel
        | Move::Reboot { policy: false }
        | Move::Sweep => true,
    };
    let moves = (0..).zip(Move::all()).filter(|(_, candidate)| offered(candidate));
    let moves = moves.map(|(place, candidate)| Step::Move(place, candidate));
    moves.chain(FACTS.map(Step::Container)).chain([Step::Tick]).collect()
}

/// How a step stands to a fair run: power stays, flash and work succeed, nobody interferes, time passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fairness {
    /// It happens some time.
    Owed,
    /// It may happen or not.
    Luck,
    /// It does not happen.
    Foul,
}

impl Fairness {
    pub(super) fn of_move(step: Move) -> Self {
        match step {
            Move::Boot { note: NoteLuck::Written, kernel: KernelLuck::Lives }
            | Move::WriteDone
            | Move::LongDone
            | Move::Lasted => Self::Owed,
            _ => Self::Foul,
        }
    }

    pub(super) fn of_fact(by: By) -> Self {
        match by {
            By::Answer | By::Time => Self::Owed,
            By::Luck => Self::Luck,
            By::Person => Self::Foul,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Move(_, step) => write!(f, "{step}"),
            Self::Tick => f.write_str("time passes"),
            Self::Container(Event::Exited(Outcome::Code(code))) => {
                write!(f, "container: exited with {code}")
            }
            Self::Container(Event::Exited(outcome)) => write!(f, "container: ended by {outcome:?}"),
            Self::Container(event) => {
                write!(f, "container: {}", format!("{event:?}").to_lowercase())
            }
        }
    }
}
