//! The worlds of the update machine, each kept once, and each move from each of them played once.
//!
//! A world of both machines is a pair; most steps change one half only. So the expensive half is a number here, and
//! what has to be known about it without unpacking is its [`Face`].

#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "every index names a world or a move that is in the list; a wrong one must stop the run"
)]

use std::collections::HashMap;
use std::rc::Rc;

use statemachine::update::{Effect, Pending, State};

use super::supervisor::Order;
use crate::invariants::INVARIANTS;
use crate::moves::Move;
use crate::play::play;
use crate::world::{Live, Long, Setting, World, number};

/// What the rest of the exploration knows about a world of the update machine.
pub(super) struct Face {
    /// The moves that are possible, as a bit for each place in [`Move::all`].
    possible: u64,
    /// What the session looks like; `None`: no power, or the firmware's turn.
    pub(super) session: Option<Session>,
    /// Rules that it breaks by itself.
    pub(super) broken: Vec<&'static str>,
}

/// What can be seen of a boot.
#[derive(Clone, Copy)]
pub(super) struct Session {
    /// A durable write is in flight.
    pub(super) writing: bool,
    /// Containers are being switched.
    pub(super) switching: bool,
    /// The journal knows that this boot has begun.
    pub(super) open: bool,
    /// The machine waits for proposals or orders only.
    pub(super) settled: bool,
    /// The new revision was proposed.
    pub(super) proposed: bool,
    pub(super) live: Live,
    pub(super) watched: bool,
    pub(super) met: bool,
    pub(super) soaking: bool,
}

impl Face {
    pub(super) fn allows(&self, place: u8) -> bool {
        self.possible >> place & 1 == 1
    }
}

/// What a move led to.
pub(super) struct Outcome {
    pub(super) to: u32,
    pub(super) orders: Vec<Order>,
    pub(super) broken: Vec<&'static str>,
}

/// All worlds of the update machine that were met.
pub(super) struct Devices {
    setting: Setting,
    moves: Vec<Move>,
    known: HashMap<Rc<[u8]>, u32>,
    bytes: Vec<Rc<[u8]>>,
    faces: Vec<Face>,
    /// By world, then by the place of the move.
    played: Vec<Vec<Option<Rc<Outcome>>>>,
}

impl Devices {
    /// The first, number 0, is a device as it leaves the factory.
    pub(super) fn new(setting: Setting) -> Self {
        let moves = Move::all();
        assert!(moves.len() <= u64::BITS as usize, "a face has a bit for each move");
        let mut devices =
            Self { setting, moves, known: HashMap::new(), bytes: Vec::new(), faces: Vec::new(), played: Vec::new() };
        devices.keep(World::factory(&setting));
        devices
    }

    pub(super) fn face(&self, at: u32) -> &Face {
        &self.faces[at as usize]
    }

    /// The place of a move in [`Move::all`].
    pub(super) fn place(&self, step: Move) -> u8 {
        let place = self.moves.iter().position(|candidate| *candidate == step);
        place.and_then(|place| u8::try_from(place).ok()).expect("every move is in the list of all")
    }

    /// Plays a move that the face [allows](Face::allows).
    pub(super) fn play(&mut self, at: u32, place: u8) -> Rc<Outcome> {
        let (at, place) = (at as usize, usize::from(place));
        if let Some(outcome) = &self.played[at][place] {
            return Rc::clone(outcome);
        }
        let played = play(&self.setting, &World::from_canonical(&self.bytes[at]), self.moves[place]);
        let default = played.world.flash.wanted.as_ref().map(|wanted| number(&wanted.default));
        let booted = played.world.session.as_ref().and_then(|session| session.booted);
        let order = |effect: &Effect| match effect {
            Effect::Start(care) => booted.map(|revision| Order::Start { revision, care: *care }),
            Effect::Switch(to) => Some(Order::Switch { to: number(to), trial: default != Some(number(to)) }),
            Effect::Watch => Some(Order::Watch),
            Effect::Soak => Some(Order::Soak),
            Effect::Refuse(_) => Some(Order::Refuse),
            _ => None,
        };
        let orders = played.ordered.iter().filter_map(order).collect();
        let to = self.keep(played.world);
        let outcome = Rc::new(Outcome { to, orders, broken: played.broken });
        self.played[at][place] = Some(Rc::clone(&outcome));
        outcome
    }

    fn keep(&mut self, world: World) -> u32 {
        let bytes: Rc<[u8]> = world.canonical(Vec::new()).into();
        if let Some(at) = self.known.get(&bytes) {
            return *at;
        }
        let at = u32::try_from(self.bytes.len()).expect("fewer worlds than a u32 counts");
        self.faces.push(face(&self.setting, &self.moves, &World::from_canonical(&bytes)));
        self.known.insert(Rc::clone(&bytes), at);
        self.bytes.push(bytes);
        self.played.push(vec![None; self.moves.len()]);
        at
    }
}

fn face(setting: &Setting, moves: &[Move], world: &World) -> Face {
    let possible = (0_u32..).zip(moves).filter(|(_, step)| step.is_possible(setting, world));
    let possible = possible.fold(0, |mask, (place, _)| mask | 1 << place);
    let broken = INVARIANTS.iter().filter(|invariant| !(invariant.holds)(world)).map(|invariant| invariant.rule);
    let session = world.session.as_ref().map(|session| {
        let opened = world.flash.journal.as_ref().and_then(|journal| journal.body.open.as_ref()).map(number);
        Session {
            writing: *session.machine.pending() != Pending::Nothing,
            switching: matches!(session.long, Some(Long::Switch(_))),
            open: opened.is_some() && opened == session.booted,
            settled: matches!(session.machine.state(), State::Idle | State::Serving | State::Frozen),
            proposed: world.ghost.proposed.has(1),
            live: session.live,
            watched: session.watched,
            met: session.met,
            soaking: session.soaking,
        }
    });
    Face { possible, session, broken: broken.collect() }
}
