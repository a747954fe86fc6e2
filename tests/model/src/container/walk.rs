//! The search itself: worlds, the facts that lead from one to the next, and the story of each that breaks a rule.

#![expect(
    clippy::indexing_slicing,
    reason = "every index names a world that is in the list; a wrong one must stop the run"
)]

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{BuildHasherDefault, Hasher};

use statemachine::container::{Container, Effect, Effects, Event, Policy, Time};
use statemachine::goals::Watch;

use super::device::{By, Device};
use super::invariants::{
    EDGE_INVARIANTS, WORLD_INVARIANTS, invariant_no_endless_loop, invariant_the_update_machine_hears_sense,
};
use super::{Broken, Output, Report, TICK};

/// Where retries without a bound are no longer followed. By then the delay has stopped changing what can happen.
const UNBOUNDED: u32 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct World {
    pub(super) container: Container,
    pub(super) device: Device,
    pub(super) watch: Watch,
    pub(super) said: Option<Output>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fact {
    pub(super) event: Event,
    pub(super) by: By,
    pub(super) ticks: u64,
}

/// One edge, with all that an invariant may ask about.
pub(super) struct Edge<'a> {
    pub(super) policy: &'a Policy,
    pub(super) from: World,
    pub(super) fact: Fact,
    pub(super) to: World,
    pub(super) effects: &'a [Effect],
}

/// Worlds are hashed twenty million times and come from nobody hostile.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value.cast_unsigned() as u64);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

/// Explores all worlds under one policy.
pub(super) fn explore_policy(policy: &Policy, report: &mut Report, broken: &mut Broken) {
    let first = World { container: Container::new(), device: Device::NEW, watch: Watch::default(), said: None };
    let mut worlds = vec![first];
    let mut known: HashMap<World, usize, BuildHasherDefault<Mix>> = HashMap::default();
    known.insert(first, 0);
    let mut came: Vec<Option<(usize, Fact)>> = vec![None];
    // Edges that a fair run may take again and again without anybody's doing, for the search for cycles.
    let mut unpaid = vec![Vec::new()];
    report.policies += 1;
    let mut at = 0;
    while let Some(from) = worlds.get(at).copied() {
        report.statuses.insert(from.container.status());
        for (name, holds) in WORLD_INVARIANTS {
            if !holds(policy, &from) && !broken.contains_key(name) {
                broken.insert(name, story(policy, &worlds, &came, at, None));
            }
        }
        let bounded = policy.recovery.max_retries > 0 || from.container.retries() < UNBOUNDED;
        for fact in facts(policy, &from).into_iter().filter(|fact| bounded || fact.by == By::Person) {
            report.edges += 1;
            let (to, effects, said) = follow(policy, from, fact);
            let mut last = from.said.filter(|_| fact.event != Event::TrialBegan);
            for word in said.into_iter().flatten() {
                report.outputs.insert((last, word));
                if !invariant_the_update_machine_hears_sense(last, word) {
                    broken
                        .entry("invariant_the_update_machine_hears_sense")
                        .or_insert_with(|| story(policy, &worlds, &came, at, Some(fact)));
                }
                last = Some(word);
            }
            let edge = Edge { policy, from, fact, to, effects: &effects };
            for (name, holds) in EDGE_INVARIANTS {
                if !holds(&edge) && !broken.contains_key(name) {
                    broken.insert(name, story(policy, &worlds, &came, at, Some(fact)));
                }
            }
            let next = *known.entry(to).or_insert_with(|| {
                worlds.push(to);
                came.push(Some((at, fact)));
                unpaid.push(Vec::new());
                worlds.len() - 1
            });
            let waited = to.container.retries() < from.container.retries();
            let paid = fact.by == By::Person || waited || lasted(policy, &from, fact);
            if !paid && next != at {
                unpaid[at].push(next);
            }
        }
        at += 1;
    }
    report.worlds += worlds.len();
    if let Some(caught) = invariant_no_endless_loop(&unpaid) {
        broken.entry("invariant_no_endless_loop").or_insert_with(|| story(policy, &worlds, &came, caught, None));
    }
}

/// Whether the run is long enough, by the time of this fact, to be forgiven the restarts before it.
fn lasted(policy: &Policy, from: &World, fact: Fact) -> bool {
    let (then, _) = from.container.step(policy, Time(fact.ticks * TICK.0), Event::Elapsed);
    then.retries() < from.container.retries()
}

/// The shortest way to a world, for a person to read.
fn story(policy: &Policy, worlds: &[World], came: &[Option<(usize, Fact)>], at: usize, last: Option<Fact>) -> String {
    let mut way = Vec::from_iter(last);
    let mut here = at;
    while let Some((before, fact)) = came[here] {
        way.push(fact);
        here = before;
    }
    let mut text = format!("{policy:?}\n");
    for fact in way.iter().rev() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "    +{} {:?}", fact.ticks, fact.event);
    }
    let _ = write!(text, "    from {:?}", worlds[at]);
    text
}

/// Everything that can come next.
pub(super) fn facts(policy: &Policy, world: &World) -> Vec<Fact> {
    let World { container, device, .. } = world;
    let mut next = device.facts(policy, container);
    if container.waits() {
        next.extend([(Event::Allowed, By::Answer), (Event::Held, By::Luck)]);
    }
    if device.reboot_asked {
        next.push((Event::RebootRefused, By::Answer));
    }
    // What somebody wants needs no clock of its own: a tick and then the wish is the same to it.
    let wishes = [Event::StopAsked, Event::StartAsked, Event::RestartAsked, Event::Withdrawn, Event::TrialBegan];
    let mut facts: Vec<_> = wishes.into_iter().map(|event| Fact { event, by: By::Person, ticks: 0 }).collect();
    for ticks in [0, 1] {
        facts.extend(next.iter().map(|(event, by)| Fact { event: *event, by: *by, ticks }));
    }
    facts.push(Fact { event: Event::Elapsed, by: By::Time, ticks: 1 });
    facts
}

/// Takes one edge: the fact happens to the device, the machine steps, the device obeys.
fn follow(policy: &Policy, from: World, fact: Fact) -> (World, Effects, [Option<Output>; 2]) {
    let mut device = from.device.happen(fact.event);
    let now = Time(fact.ticks * TICK.0);
    let (container, effects) = from.container.step(policy, now, fact.event);
    let mut asked = None;
    for effect in &effects {
        device = device.obey(*effect);
        if *effect == Effect::AskReboot {
            asked = Some(Output::RebootAsked);
        }
    }
    let begins = fact.event == Event::TrialBegan;
    let watch = if begins { Watch::default() } else { from.watch };
    let (watch, turn) = container.standing(policy).map_or((watch, None), |standing| watch.see(standing));
    let words = [asked, turn.map(Output::Goals)];
    let said = words.into_iter().flatten().last().or(from.said.filter(|_| !begins));
    (World { container: container.rebased(now), device, watch, said }, effects, words)
}
