//! What an exploration must have seen: one that never saw goals missed has proven nothing about them.

use statemachine::container::Status;
use statemachine::goals::Turn;

use super::devices::Session;
use super::supervisor::{Supervisor, Word};

/// Everything that has to come up in some scenario.
const SIGHTS: [&str; 12] = [
    "goals met",
    "goals lost",
    "a goal missed",
    "a container crashed for good",
    "a soak that ended",
    "a reboot by policy asked for",
    "a reboot by policy refused",
    "apps kept down",
    "apps that wait",
    "rest on the new revision, its container up",
    "rest on the new revision, its container failed",
    "rest on the old revision after a proposal",
];

/// What was seen, as a bit for each.
#[derive(Clone, Copy, Default)]
pub(super) struct Sights(u16);

impl Sights {
    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// What never came up.
    pub(super) fn missing(self) -> impl Iterator<Item = &'static str> {
        (0..).zip(SIGHTS).filter(move |(place, _)| self.0 >> place & 1 == 0).map(|(_, sight)| sight)
    }

    fn see(&mut self, place: u8) {
        self.0 |= 1 << place;
    }

    /// A word was said.
    pub(super) fn hear(&mut self, word: Word) {
        self.see(match word {
            Word::Goals(Turn::GoalsMet) => 0,
            Word::Goals(Turn::GoalsLost) => 1,
            Word::Goals(Turn::GoalMissed) => 2,
            Word::Goals(Turn::Crashed) => 3,
            Word::Soaked => 4,
            Word::RebootAsked => 5,
        });
    }

    /// A reboot by policy was refused.
    pub(super) fn hear_refusal(&mut self) {
        self.see(6);
    }

    /// A world came up in which nothing is owed.
    pub(super) fn see_rest(&mut self, session: &Session, supervisor: &Supervisor) {
        match (supervisor.owner, supervisor.container.status()) {
            (Some(1), Status::Started | Status::Ready) => self.see(9),
            (Some(1), Status::Failed) => self.see(10),
            (Some(0), _) if session.proposed => self.see(11),
            _ => {}
        }
        if supervisor.kept_down.is_some() {
            self.see(7);
        }
    }

    /// Apps wait because power flaps.
    pub(super) fn see_delay(&mut self) {
        self.see(8);
    }
}
