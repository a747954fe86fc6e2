//! What happens to a device whose default is 1, and what it may come to.

use statemachine::journal::Transition;
use statemachine::update::{Event, Plan};

use crate::cairns::Cairn::{self, Newer, Older, This};
use crate::device::{Kind, known};

/// A story.
pub(crate) struct Story {
    pub(crate) name: &'static str,
    /// One fact each time the device comes to rest.
    pub(crate) facts: fn() -> Vec<Event>,
    /// The revision whose goals are missed.
    pub(crate) bad: Option<u32>,
    /// What is the default at the end without a cut.
    pub(crate) ends: u32,
    /// What may be the default after cuts.
    pub(crate) may: &'static [u32],
    /// The Cairn in each revision, from 0.
    pub(crate) cairns: [Cairn; 4],
    /// The number of the journal's body that the device starts with.
    pub(crate) shape: u8,
    /// The devices that it is played on.
    pub(crate) on: &'static [Kind],
}

/// The devices whose kernels lie in trails and whose firmware counts.
const COUNTED: &[Kind] = &[Kind::UbootNor, Kind::UbootCard, Kind::Grub, Kind::Files];
/// All whose kernels lie in trails. On the one with slots the good update by reboot is the first half of its `two-commits`.
const TRAILS: &[Kind] = &[Kind::UbootNor, Kind::UbootCard, Kind::Grub, Kind::Files, Kind::Reference, Kind::OneShot];
/// Which body is written does not depend on the media; that a body survives is tried in NOR flash too.
const MIXED: &[Kind] = &[Kind::Grub];

const PLAIN: Story =
    Story { name: "", facts: Vec::new, bad: None, ends: 1, may: &[1], cairns: [This; 4], shape: 2, on: &Kind::ALL };

/// All of them.
pub(crate) static STORIES: [Story; 12] = [
    Story {
        name: "reboot-good",
        facts: || vec![propose(2, Transition::Reboot)],
        ends: 2,
        may: &[1, 2],
        on: TRAILS,
        ..PLAIN
    },
    Story { name: "reboot-bad", facts: || vec![propose(2, Transition::Reboot)], bad: Some(2), ..PLAIN },
    Story {
        name: "in-place-proven",
        facts: || vec![propose(2, Transition::InPlace), Event::RebootAsked { cause: None }, Event::Lasted],
        ends: 2,
        may: &[1, 2],
        ..PLAIN
    },
    Story { name: "in-place-bad", facts: || vec![propose(2, Transition::InPlace)], bad: Some(2), ..PLAIN },
    Story {
        name: "undo-by-order",
        facts: || vec![propose(2, Transition::Reboot), Event::Lasted, Event::RollbackAsked],
        may: &[1, 2],
        ..PLAIN
    },
    Story {
        name: "two-in-a-row",
        facts: || vec![propose(2, Transition::Reboot), propose(3, Transition::Reboot)],
        bad: Some(3),
        ends: 2,
        may: &[1, 2],
        on: COUNTED,
        ..PLAIN
    },
    // The slot of 0 goes to 2, and that of 1, which is `previous` by then, to 3.
    Story {
        name: "two-commits",
        facts: || vec![propose(2, Transition::Reboot), propose(3, Transition::Reboot)],
        ends: 3,
        may: &[1, 2, 3],
        on: &[Kind::Slots],
        ..PLAIN
    },
    Story {
        name: "older-journal",
        facts: || vec![propose(2, Transition::Reboot)],
        ends: 2,
        may: &[1, 2],
        shape: 1,
        on: COUNTED,
        ..PLAIN
    },
    // The journal stays in the shape of 1 until 1 is neither default nor previous.
    Story {
        name: "older-cairn",
        facts: || vec![propose(2, Transition::Reboot), propose(3, Transition::Reboot)],
        ends: 3,
        may: &[1, 2, 3],
        cairns: [Older, Older, This, This],
        shape: 1,
        on: MIXED,
        ..PLAIN
    },
    Story {
        name: "older-cairn-bad",
        facts: || vec![propose(2, Transition::Reboot)],
        bad: Some(2),
        cairns: [Older, Older, This, This],
        shape: 1,
        on: MIXED,
        ..PLAIN
    },
    // A step back: this Cairn is tried by a newer one, and finds a journal that it cannot read.
    Story {
        name: "newer-journal",
        facts: || vec![propose(2, Transition::Reboot)],
        ends: 2,
        may: &[1, 2],
        cairns: [Newer, Newer, This, This],
        shape: 3,
        on: &[Kind::Grub, Kind::UbootNor],
        ..PLAIN
    },
    Story {
        name: "newer-journal-bad",
        facts: || vec![propose(2, Transition::Reboot)],
        bad: Some(2),
        cairns: [Newer, Newer, This, This],
        shape: 3,
        on: MIXED,
        ..PLAIN
    },
];

impl Story {
    pub(crate) fn named(name: &str) -> &'static Self {
        STORIES.iter().find(|known| known.name == name).unwrap_or_else(|| panic!("there is no story {name}"))
    }
}

fn propose(number: u32, by: Transition) -> Event {
    Event::Proposed { plan: Plan { what: known(number), by }, retry: false }
}
