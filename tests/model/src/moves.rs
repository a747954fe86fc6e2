//! Everything that can happen next in a world, and what comes of it.
//!
//! A [`Move`] is one step of luck, of the outside, or of the device. Moves have names that can be read and written, so
//! that a path through the worlds is a text file.

use std::fmt;
use std::str::FromStr;

use statemachine::boot::{Note, TrialKind};
use statemachine::journal::Transition;

use crate::world::{REVISIONS, Session, Setting, World};

/// How far the firmware comes with its note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoteLuck {
    /// Written, or none is needed.
    Written,
    /// Power goes while it is written, and what is left cannot be read.
    Torn,
    /// It cannot be written; the script goes on without.
    Refused,
    /// It cannot be written, because it cannot be read either; PID 1 makes it anew.
    Mended,
}

/// What becomes of the kernel that was jumped into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KernelLuck {
    /// PID 1 reads its flash.
    Lives,
    /// It ends before, with a mark or without.
    Dies { marked: bool },
}

/// What can become unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Wanted,
    Note,
    Journal,
    /// All of the journal but its head: a body of another version.
    Body,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    // The firmware's turn.
    Boot { note: NoteLuck, kernel: KernelLuck },
    Rot(Part),
    // A durable write in flight.
    WriteDone,
    WriteFailedNew,
    WriteFailedOld,
    WriteUnreadable { new: bool },
    // The end of a boot.
    PowerCut { done: bool },
    Death { done: bool },
    // Long work in flight.
    LongDone,
    LongFailed,
    // The supervisor and the clock.
    GoalsMet,
    GoalsLost,
    GoalMissed,
    Crashed,
    Soaked,
    Lasted,
    // The outside.
    Propose { revision: u8, by: Transition, retry: bool },
    Cancel,
    Reboot { policy: bool },
    Rollback,
    Adopt,
    Sweep,
}

impl Move {
    /// Every move there is.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for note in [NoteLuck::Written, NoteLuck::Refused] {
            for kernel in [KernelLuck::Lives, KernelLuck::Dies { marked: true }, KernelLuck::Dies { marked: false }] {
                all.push(Self::Boot { note, kernel });
            }
        }
        all.push(Self::Boot { note: NoteLuck::Mended, kernel: KernelLuck::Lives });
        all.push(Self::Boot { note: NoteLuck::Torn, kernel: KernelLuck::Dies { marked: false } });
        all.extend([Part::Wanted, Part::Note, Part::Journal, Part::Body].map(Self::Rot));
        all.extend([Self::WriteDone, Self::WriteFailedNew, Self::WriteFailedOld]);
        for flag in [false, true] {
            all.extend([
                Self::WriteUnreadable { new: flag },
                Self::PowerCut { done: flag },
                Self::Death { done: flag },
                Self::Reboot { policy: flag },
            ]);
        }
        all.extend([Self::LongDone, Self::LongFailed]);
        all.extend([Self::GoalsMet, Self::GoalsLost, Self::GoalMissed, Self::Crashed, Self::Soaked, Self::Lasted]);
        for revision in 0..REVISIONS {
            for by in [Transition::Reboot, Transition::InPlace] {
                for retry in [false, true] {
                    all.push(Self::Propose { revision, by, retry });
                }
            }
        }
        all.extend([Self::Cancel, Self::Rollback, Self::Adopt, Self::Sweep]);
        all
    }

    /// Whether it can happen here, as far as the world shows; the machine may still ignore what it brings.
    pub(crate) fn is_possible(self, setting: &Setting, world: &World) -> bool {
        match (self, &world.session) {
            (Self::Boot { note: NoteLuck::Mended, .. }, None) => {
                setting.kind == TrialKind::Counted && world.flash.note == Note::Unreadable
            }
            (Self::Boot { .. }, session) => session.is_none(),
            (Self::Rot(part), None) => {
                world.rot > 0
                    && match part {
                        Part::Wanted => world.flash.wanted.is_some(),
                        Part::Note => world.flash.note != Note::Unreadable,
                        Part::Journal | Part::Body => world.flash.journal.is_some(),
                    }
            }
            (_, None) => false,
            (Self::Rot(_), Some(_)) => false,
            (_, Some(session)) => self.is_possible_in(setting, session, world),
        }
    }

    fn is_possible_in(self, setting: &Setting, session: &Session, world: &World) -> bool {
        use statemachine::update::{Pending, State};
        let writing = *session.machine.pending() != Pending::Nothing;
        match self {
            Self::WriteDone => writing,
            Self::WriteFailedNew | Self::WriteFailedOld | Self::WriteUnreadable { .. } => writing && setting.errors,
            // With no write in flight there is one way for the power to go.
            Self::PowerCut { done } | Self::Death { done } => writing || !done,
            // The driver finishes a write before it takes the next event.
            _ if writing => false,
            Self::LongDone | Self::LongFailed => session.long.is_some(),
            Self::GoalsMet => session.watched && !session.met,
            Self::GoalsLost => session.watched && session.met,
            Self::GoalMissed | Self::Crashed => session.watched,
            Self::Soaked => session.soaking && session.met,
            Self::Lasted => !session.lasted,
            Self::Propose { revision, retry, .. } => {
                let condemned = &session.machine.journal().header.condemned;
                let digest = crate::world::known(revision).digest;
                world.proposals > 0
                    // The two new revisions differ by name only: the first of them to be proposed is 1.
                    && (revision < 2 || world.ghost.proposed.has(1))
                    && (!retry || digest.is_some_and(|digest| condemned.holds(&digest)))
            }
            Self::Cancel => {
                matches!(session.machine.state(), State::Fetching(_) | State::Verifying(_) | State::Staging(_))
            }
            Self::Sweep => session.machine.may_sweep(),
            Self::Reboot { policy: false } => true,
            Self::Reboot { policy: true } => setting.orders && session.live != crate::world::Live::Nothing,
            Self::Rollback | Self::Adopt => setting.orders,
            Self::Boot { .. } | Self::Rot(_) => false,
        }
    }
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |flag: bool, yes, no| if flag { yes } else { no };
        match *self {
            Self::Boot { note, kernel } => {
                let note = match note {
                    NoteLuck::Written => "",
                    NoteLuck::Torn => return f.write_str("power goes while the firmware writes its note"),
                    NoteLuck::Refused => ", firmware cannot write its note",
                    NoteLuck::Mended => ", firmware cannot write its note, PID 1 makes it anew",
                };
                match kernel {
                    KernelLuck::Lives => write!(f, "boot{note}"),
                    KernelLuck::Dies { marked } => {
                        write!(f, "boot{note}, kernel dies {}", yes(marked, "with a mark", "without a mark"))
                    }
                }
            }
            Self::Rot(Part::Wanted) => f.write_str("wanted becomes unreadable"),
            Self::Rot(Part::Note) => f.write_str("note becomes unreadable"),
            Self::Rot(Part::Journal) => f.write_str("journal becomes unreadable"),
            Self::Rot(Part::Body) => f.write_str("journal becomes unreadable but for its head"),
            Self::WriteDone => f.write_str("write done"),
            Self::WriteFailedNew => f.write_str("write failed, new value read back"),
            Self::WriteFailedOld => f.write_str("write failed, old value read back"),
            Self::WriteUnreadable { new } => {
                write!(f, "write failed, unreadable, {} value stands", yes(new, "new", "old"))
            }
            Self::PowerCut { done } => write!(f, "power cut{}", yes(done, ", write done", "")),
            Self::Death { done } => write!(f, "PID 1 dies{}", yes(done, ", write done", "")),
            Self::LongDone => f.write_str("work done"),
            Self::LongFailed => f.write_str("work failed"),
            Self::GoalsMet => f.write_str("goals met"),
            Self::GoalsLost => f.write_str("goals lost"),
            Self::GoalMissed => f.write_str("goal missed"),
            Self::Crashed => f.write_str("container crashed for good"),
            Self::Soaked => f.write_str("soaked"),
            Self::Lasted => f.write_str("boot lasted"),
            Self::Propose { revision, by, retry } => write!(
                f,
                "propose {revision} {}{}",
                yes(by == Transition::Reboot, "by reboot", "in place"),
                yes(retry, ", retry", "")
            ),
            Self::Cancel => f.write_str("cancel"),
            Self::Reboot { policy } => f.write_str(yes(policy, "policy reboot", "reboot asked")),
            Self::Rollback => f.write_str("rollback asked"),
            Self::Adopt => f.write_str("adopt asked"),
            Self::Sweep => f.write_str("sweep"),
        }
    }
}

impl FromStr for Move {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::all().into_iter().find(|candidate| candidate.to_string() == text);
        found.ok_or_else(|| format!("no move is called `{text}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_move_can_be_written_and_read() {
        for candidate in Move::all() {
            assert_eq!(candidate.to_string().parse(), Ok(candidate));
        }
    }
}
