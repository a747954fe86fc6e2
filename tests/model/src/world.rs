//! One world: what the flash of a device holds, what runs on it, and what the explorer remembers about both.
//!
//! Flash is what survives a power cut. The machine and everything around it does not. The ghost remembers what no
//! device could, so that invariants can be stated: which revision really held its goals, how often one was tried.

use serde::{Deserialize, Serialize};
use statemachine::boot::{Note, Spent, TrialKind, Wanted};
use statemachine::ids::{Digest, RevisionId};
use statemachine::journal::{Header, Journal, Known, Record, Transition};
use statemachine::limits::Limits;
use statemachine::update::{Machine, State};

/// How many revisions there are: the factory revision `0`, and two more.
pub(crate) const REVISIONS: u8 = 3;

/// What an exploration is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// The firmware.
    pub(crate) kind: TrialKind,
    /// The bounds.
    pub(crate) limits: Limits,
    /// How many proposals are made in one run.
    pub(crate) proposals: u8,
    /// How many times something becomes unreadable.
    pub(crate) rot: u8,
    /// Durable writes may report errors.
    pub(crate) errors: bool,
    /// People and policies ask for reboots, for the previous revision, for adoption.
    pub(crate) orders: bool,
    /// Downloading and checking are steps of their own.
    pub(crate) fine: bool,
}

/// A set of revisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Set(pub u8);

impl Set {
    pub(crate) fn has(self, revision: u8) -> bool {
        self.0 & (1 << revision) != 0
    }

    pub(crate) fn with(self, revision: u8) -> Self {
        Self(self.0 | (1 << revision))
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..REVISIONS).filter(move |revision| self.has(*revision))
    }
}

/// What survives a power cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flash {
    /// The boot cell; `None`: unreadable.
    pub(crate) wanted: Option<Wanted>,
    /// The bootloader's note.
    pub(crate) note: Note,
    /// Toggling firmware: the bootloader's `pv_trying`.
    pub(crate) trying: Option<u8>,
    /// The journal; `None`: unreadable.
    pub(crate) journal: Option<Journal>,
    /// Its head, where only the body is unreadable.
    pub(crate) head: Option<Header>,
    /// What each of two slots holds for the firmware, whole. Revisions that differ only in containers share one.
    pub(crate) slots: [Set; 2],
    /// Trails that are complete for Linux.
    pub(crate) trails: Set,
    /// Trails that a reader without journal replay sees.
    pub(crate) visible: Set,
    /// A mark that the last boot left.
    pub(crate) marked: bool,
}

/// The containers that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Live {
    /// None.
    Nothing,
    /// Those of one revision.
    Whole(u8),
    /// Between two revisions.
    Mixed,
}

/// Long work in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Long {
    Fetch,
    Verify,
    Stage(u8),
    Place(u8),
    Switch(u8),
}

/// What a power cut ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) machine: Machine,
    /// What the firmware started; `None` in recovery.
    pub(crate) booted: Option<u8>,
    pub(crate) long: Option<Long>,
    pub(crate) live: Live,
    /// Goals are watched, and by a deadline.
    pub(crate) watched: bool,
    /// Goals are met.
    pub(crate) met: bool,
    /// The soak runs.
    pub(crate) soaking: bool,
    /// Ten minutes have passed.
    pub(crate) lasted: bool,
    /// The revision that held its goals through its soak, in this boot.
    pub(crate) soaked: Option<u8>,
    /// Something was read back as neither old nor new: nothing durable may follow but a renewed nonce.
    pub(crate) sealed: bool,
}

/// What no device knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ghost {
    /// Revisions that held their goals through a soak in a cold boot.
    pub(crate) proven: Set,
    /// Revisions that were proposed.
    pub(crate) proposed: Set,
    /// Jumps of the firmware into the trial since it was armed.
    pub(crate) tries: u8,
    /// Devices that died in a trial in place of the same revision, in a row.
    pub(crate) deaths_in_place: (u8, u8),
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct World {
    pub(crate) flash: Flash,
    /// One-shot firmware was asked for the trial; lost with the power.
    pub(crate) asked: bool,
    /// `None`: no power, or the firmware's turn.
    pub(crate) session: Option<Session>,
    pub(crate) proposals: u8,
    pub(crate) rot: u8,
    pub(crate) ghost: Ghost,
}

/// The name of a revision.
pub(crate) fn name(revision: u8) -> RevisionId {
    RevisionId::parse(["0", "1", "2"][usize::from(revision)]).expect("three good names")
}

/// The number behind a name.
pub(crate) fn number(name: &RevisionId) -> u8 {
    name.as_str().parse().expect("worlds hold revisions by number")
}

/// The content of a revision.
pub(crate) fn known(revision: u8) -> Known {
    Known { revision: name(revision), digest: Some(Digest([revision; 32])) }
}

impl World {
    /// A device as it leaves the factory.
    pub(crate) fn factory(setting: &Setting) -> Self {
        let only = Set::default().with(0);
        Self {
            flash: Flash {
                wanted: Some(Wanted {
                    nonce: 1,
                    default: name(0),
                    previous: None,
                    factory: Some(name(0)),
                    trial: None,
                }),
                note: Note::Read(Spent::default()),
                trying: None,
                journal: Some(Journal::factory(known(0))),
                head: None,
                slots: [only, Set::default()],
                trails: only,
                visible: only,
                marked: false,
            },
            asked: false,
            session: None,
            proposals: setting.proposals,
            rot: setting.rot,
            ghost: Ghost { proven: only, ..Ghost::default() },
        }
    }

    /// The bytes that name this world, with what cannot matter taken out: nonces by rank, unused values.
    pub(crate) fn canonical(mut self, into: Vec<u8>) -> Vec<u8> {
        if let (Note::Read(spent), Some(wanted)) = (&mut self.flash.note, &self.flash.wanted)
            && spent.nonce < wanted.nonce
        {
            // A note beside a newer store reads as no note.
            *spent = Spent::default();
        }
        if self.flash.wanted.as_ref().is_some_and(|wanted| wanted.trial.is_none()) {
            self.ghost.tries = 0;
        }
        let in_place = self.flash.journal.as_ref().is_none_or(|journal| {
            matches!(&journal.body.record, Record::Trying { what, by: Transition::InPlace }
                if number(&what.revision) == self.ghost.deaths_in_place.0)
        });
        if !in_place {
            self.ghost.deaths_in_place = (0, 0);
        }
        let mut nonces = Vec::with_capacity(6);
        // Zero is the nonce of a firmware that could not read what is wanted, and stays zero.
        nonces.push(0);
        self.each_nonce(|nonce| nonces.push(*nonce));
        nonces.sort_unstable();
        nonces.dedup();
        self.each_nonce(|nonce| {
            let rank = nonces.binary_search(nonce).unwrap_or(0);
            *nonce = rank as u32;
        });
        postcard::to_extend(&self, into).expect("a world is made of plain values")
    }

    /// The world behind its bytes.
    pub(crate) fn from_canonical(bytes: &[u8]) -> Self {
        postcard::from_bytes(bytes).expect("written by `canonical`")
    }

    fn each_nonce(&mut self, mut name: impl FnMut(&mut u32)) {
        if let Some(wanted) = &mut self.flash.wanted {
            name(&mut wanted.nonce);
        }
        if let Note::Read(spent) = &mut self.flash.note {
            name(&mut spent.nonce);
        }
        if let Some(session) = &mut self.session {
            session.machine.rename_nonces(name);
        }
    }

    /// Whether the firmware finds this revision whole.
    pub(crate) fn boots(&self, revision: u8) -> bool {
        self.flash.trails.has(revision) && self.flash.visible.has(revision) && self.held(revision)
    }

    /// What a board boots when the wish cannot be read: the factory revision, its first slot, or recovery.
    pub(crate) fn board_chooses(&self, factory: bool) -> Option<u8> {
        if factory && self.boots(0) {
            return Some(0);
        }
        self.flash.slots.iter().flat_map(|slot| slot.iter()).find(|revision| self.boots(*revision))
    }

    /// Whether the machine waits for a proposal or an order, with nothing in flight.
    pub(crate) fn is_settled(&self) -> bool {
        let state = self.session.as_ref().map(|session| session.machine.state());
        matches!(state, Some(State::Idle | State::Serving | State::Frozen))
    }

    /// Whether a slot holds it.
    pub(crate) fn held(&self, revision: u8) -> bool {
        self.flash.slots.iter().any(|slot| slot.has(revision))
    }
}
