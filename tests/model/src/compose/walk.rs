//! The search over pairs: a world of the update machine, and the supervisor with its container.

#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "every index names a world that is in the list; a wrong one must stop the run"
)]

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash};

use statemachine::container::Event;

use super::Scenario;
use super::devices::Devices;
use super::fair::Fair;
use super::rules::{self, RULES};
use super::sights::Sights;
use super::steps::{FACTS, Fairness, Step, steps};
use super::supervisor::{Clash, Manifest, Order, Supervisor, Word};
use crate::container::Mix;
use crate::container::device::By;
use crate::moves::Move;

/// Worlds beyond which a search is given up. It is never met; if it is, that is a finding.
const BOUND: usize = 40_000_000;

/// More words than one step can lead to.
const WORDS: usize = 8;

/// What one scenario came to.
pub(super) struct Found {
    pub(super) worlds: usize,
    pub(super) edges: usize,
    /// The first finding of each rule.
    pub(super) broken: Vec<(&'static str, Vec<String>)>,
    /// What came up.
    pub(super) sights: Sights,
}

/// A world of both machines: the places of its halves. Without a session there is no supervisor: place 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Pair {
    device: u32,
    supervisor: u32,
}

/// Values that are kept once and named by their place.
struct Kept<T> {
    values: Vec<T>,
    known: HashMap<T, u32, BuildHasherDefault<Mix>>,
}

impl<T: Copy + Eq + Hash> Kept<T> {
    fn new(first: T) -> Self {
        let mut kept = Self { values: Vec::new(), known: HashMap::default() };
        kept.keep(first);
        kept
    }

    fn keep(&mut self, value: T) -> u32 {
        *self.known.entry(value).or_insert_with(|| {
            self.values.push(value);
            u32::try_from(self.values.len() - 1).expect("fewer values than a u32 counts")
        })
    }
}

/// A world while a step is being followed.
struct Now {
    device: u32,
    supervisor: Option<Supervisor>,
}

struct Walk {
    manifest: Manifest,
    /// Durable writes may fail.
    errors: bool,
    devices: Devices,
    supervisors: Kept<Option<Supervisor>>,
    /// The rules that the step being followed has broken, and the words that it led to.
    broken: Vec<&'static str>,
    words: Vec<Word>,
    sights: Sights,
}

/// Explores one scenario to its end.
pub(super) fn explore(scenario: &Scenario) -> Found {
    let mut walk = Walk {
        manifest: Manifest { policy: scenario.policy, keeps: scenario.keeps },
        errors: scenario.setting.errors,
        devices: Devices::new(scenario.setting),
        supervisors: Kept::new(None),
        broken: Vec::new(),
        words: Vec::new(),
        sights: Sights::default(),
    };
    let steps = steps();
    let first = Pair { device: 0, supervisor: 0 };
    let mut worlds = Kept::new(first);
    let mut came: Vec<(u32, u8)> = vec![(0, 0)];
    let mut fair = Fair::default();
    let mut findings: Vec<(&'static str, u32, Option<u8>)> = Vec::new();
    let mut find = |rule, at, step| {
        if !findings.iter().any(|(known, ..)| *known == rule) {
            findings.push((rule, at, step));
        }
    };
    let mut edges = 0;
    let mut at = 0_u32;
    while let Some(from) = worlds.values.get(at as usize).copied() {
        fair.next_world();
        for rule in walk.broken_in(from) {
            find(rule, at, None);
        }
        let facts = walk.facts(from);
        if facts.iter().any(|(fact, _)| !FACTS.contains(fact)) {
            find("every fact of a container is a step", at, None);
        }
        let mut owed = false;
        for (place, step) in (0_u8..).zip(&steps) {
            let Some(fairness) = walk.fairness(from, &facts, *step) else { continue };
            let to = walk.follow(from, *step);
            walk.broken.iter().for_each(|rule| find(rule, at, Some(place)));
            let to = worlds.keep(to);
            if to as usize == came.len() {
                came.push((at, place));
            }
            edges += 1;
            owed |= fairness == Fairness::Owed;
            if fairness != Fairness::Foul {
                fair.add(to);
            }
        }
        if !owed && !walk.rests(from) {
            find("every fair run comes to rest where it may", at, None);
        }
        if worlds.values.len() > BOUND {
            find("the search comes to an end within its bound", at, None);
            break;
        }
        at += 1;
    }
    // Worlds that were met but not left have no edges: a search that was given up says nothing about runs.
    if at as usize == worlds.values.len()
        && let Some(world) = fair.first_endless()
    {
        find("no fair run goes round for ever", world, None);
    }
    let sights = walk.sights;
    let broken = findings.into_iter().map(|(rule, at, last)| (rule, walk.story(&steps, first, &came, at, last)));
    Found { worlds: worlds.values.len(), edges, broken: broken.collect(), sights }
}

impl Walk {
    fn supervisor(&self, pair: Pair) -> Option<Supervisor> {
        self.supervisors.values[pair.supervisor as usize]
    }

    fn broken_in(&self, pair: Pair) -> Vec<&'static str> {
        let face = self.devices.face(pair.device);
        let mut broken = face.broken.clone();
        if let (Some(session), Some(supervisor)) = (&face.session, &self.supervisor(pair)) {
            let rules = RULES.iter().filter(|rule| !(rule.holds)(&self.manifest, session, supervisor));
            broken.extend(rules.map(|rule| rule.rule));
        }
        broken
    }

    /// What the container can come to by itself.
    fn facts(&self, pair: Pair) -> Vec<(Event, By)> {
        let supervisor = self.supervisor(pair);
        supervisor
            .map_or_else(Vec::new, |supervisor| supervisor.device.facts(&self.manifest.policy, &supervisor.container))
    }

    /// Whether a step can happen here, and whether it has to. A switch is done when the other container is there.
    fn fairness(&self, pair: Pair, facts: &[(Event, By)], step: Step) -> Option<Fairness> {
        let face = self.devices.face(pair.device);
        let supervisor = self.supervisor(pair);
        match step {
            Step::Move(place, step) => {
                let switching = face.session.is_some_and(|session| session.switching);
                let early = step == Move::LongDone && switching && supervisor?.coming.is_some();
                (face.allows(place) && !early).then(|| Fairness::of_move(step))
            }
            Step::Container(event) => {
                facts.iter().find(|(fact, _)| *fact == event).map(|(_, by)| Fairness::of_fact(*by))
            }
            Step::Tick => supervisor?.waits_for_time().then_some(Fairness::Owed),
        }
    }

    /// Takes a step, and with it everything that follows at once. Leaves the words and the broken rules behind.
    fn follow(&mut self, from: Pair, step: Step) -> Pair {
        self.broken.clear();
        self.words.clear();
        let mut now = Now { device: from.device, supervisor: self.supervisor(from) };
        let manifest = self.manifest;
        let taken = match (step, &mut now.supervisor) {
            (Step::Move(place, step), supervisor) => {
                if let (Move::LongFailed, Some(supervisor)) = (step, supervisor) {
                    supervisor.abandon();
                }
                self.play(&mut now, place);
                Ok(())
            }
            (Step::Container(event), Some(supervisor)) => supervisor.tell(&manifest, event),
            (Step::Tick, Some(supervisor)) => supervisor.tick(&manifest),
            (Step::Container(_) | Step::Tick, None) => Ok(()),
        };
        self.check(taken);
        self.settle(&mut now);
        Pair { device: now.device, supervisor: self.supervisors.keep(now.supervisor) }
    }

    fn check(&mut self, taken: Result<(), Clash>) {
        if taken.is_err() {
            self.broken.push(rules::NO_CLASH);
        }
    }

    /// The update machine takes a move, and the supervisor its orders.
    fn play(&mut self, now: &mut Now, place: u8) {
        let outcome = self.devices.play(now.device, place);
        self.broken.extend(&outcome.broken);
        now.device = outcome.to;
        let session = self.devices.face(now.device).session;
        if session.is_none() {
            // Everything that ran is gone with the power, or with PID 1.
            now.supervisor = None;
            return;
        }
        let mut supervisor = now.supervisor.unwrap_or(Supervisor::NEW);
        for order in &outcome.orders {
            self.broken.extend(rules::broken_by_order(self.errors, session.as_ref(), &supervisor, *order));
            if *order == Order::Refuse && supervisor.device.reboot_asked {
                self.sights.hear_refusal();
            }
            let taken = supervisor.obey(&self.manifest, *order);
            self.check(taken);
        }
        if supervisor.delay > 0 {
            self.sights.see_delay();
        }
        now.supervisor = Some(supervisor);
    }

    /// The supervisor does and says what there is to do and say. The update machine listens while it writes nothing.
    fn settle(&mut self, now: &mut Now) {
        while let Some(supervisor) = &mut now.supervisor {
            if let Some(taken) = supervisor.go_on(&self.manifest) {
                self.check(taken);
                continue;
            }
            if self.devices.face(now.device).session.is_none_or(|session| session.writing) {
                return;
            }
            let Some(word) = supervisor.speak(&self.manifest) else { return };
            let place = self.devices.place(word.as_move());
            self.broken.extend(rules::broken_by_word(&self.manifest, supervisor, word));
            self.words.push(word);
            self.sights.hear(word);
            if self.words.len() > WORDS {
                return self.broken.push(rules::FALLS_SILENT);
            }
            if !self.devices.face(now.device).allows(place) {
                return self.broken.push(rules::FREE_LUCK_COVERS);
            }
            self.play(now, place);
        }
    }

    /// Whether nothing needs to happen here.
    fn rests(&mut self, pair: Pair) -> bool {
        match (&self.devices.face(pair.device).session, &self.supervisor(pair)) {
            (Some(session), Some(supervisor)) => {
                self.sights.see_rest(session, supervisor);
                session.settled && rules::may_rest(&self.manifest, supervisor)
            }
            _ => false,
        }
    }

    /// The way to a world, for a person to read.
    fn story(&mut self, steps: &[Step], first: Pair, came: &[(u32, u8)], at: u32, last: Option<u8>) -> Vec<String> {
        let mut way = Vec::from_iter(last);
        let mut here = at;
        while here != 0 {
            let (before, step) = came[here as usize];
            way.push(step);
            here = before;
        }
        let mut pair = first;
        let mut lines = Vec::new();
        for step in way.iter().rev().map(|place| steps[usize::from(*place)]) {
            pair = self.follow(pair, step);
            let words: Vec<_> = self.words.iter().map(|word| word.as_move().to_string()).collect();
            let arrow = if words.is_empty() { String::new() } else { format!(" → {}", words.join(", ")) };
            lines.push(format!("{step}{arrow}"));
        }
        lines
    }
}
