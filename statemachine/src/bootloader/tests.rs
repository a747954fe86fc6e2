//! Every world that two copies can come to, with a power cut or a fault at each order.

use std::collections::HashSet;
use std::vec::Vec;

use super::*;

const LENGTH: u64 = 100;

/// What a copy holds in truth.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Content {
    Old,
    New,
    /// A write was cut, or not taken as it was given.
    Torn,
}

use Content::{New, Old, Torn};

impl Content {
    const fn digest(self) -> Digest {
        Digest([self as u8; 32])
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    active: Twin,
    first: Content,
    second: Content,
}

impl World {
    const fn holds(&self, copy: Twin) -> Content {
        match copy {
            Twin::First => self.first,
            Twin::Second => self.second,
        }
    }

    fn with(&self, copy: Twin, content: Content) -> Self {
        match copy {
            Twin::First => Self { first: content, ..self.clone() },
            Twin::Second => Self { second: content, ..self.clone() },
        }
    }

    /// Those in which the device boots at all.
    fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for active in [Twin::First, Twin::Second] {
            for (first, second) in [Old, New, Torn].into_iter().flat_map(|one| [Old, New, Torn].map(|two| (one, two))) {
                all.push(Self { active, first, second });
            }
        }
        all.retain(World::boots);
        all
    }

    fn boots(&self) -> bool {
        self.holds(self.active) != Torn
    }
}

fn fresh() -> Replacement {
    Replacement::new(New.digest(), LENGTH, LENGTH)
}

/// Carries an order out without any fault. False: nothing is left to be done.
fn obey(world: &mut World, replacement: &mut Replacement) -> bool {
    match replacement.next() {
        Order::Look => replacement.looked(Some(world.active)),
        Order::Read(copy) => replacement.read(copy, Some(world.holds(copy).digest())),
        Order::Write(copy) => {
            *world = world.with(copy, New);
            replacement.wrote(copy);
        }
        Order::Switch(copy) => {
            world.active = copy;
            replacement.switched();
        }
        Order::Rest | Order::GiveUp(_) => return false,
    }
    true
}

#[test]
fn from_every_world_an_undisturbed_boot_writes_and_switches_once_at_most_and_rests() {
    for start in World::all() {
        let (mut world, mut replacement) = (start.clone(), fresh());
        let steps = (0..).take_while(|_| obey(&mut world, &mut replacement)).count();
        assert_eq!((replacement.next(), world.holds(world.active)), (Order::Rest, New), "{start:?}");
        assert!(steps <= 7 && replacement.writes <= 1 && replacement.switches <= 1, "{start:?}: {replacement:?}");
        let is_new = start.holds(start.active) == New;
        assert_eq!(is_new, replacement.writes + replacement.switches == 0, "{start:?}");
        let (before, mut again) = (world.clone(), fresh());
        while obey(&mut world, &mut again) {}
        assert_eq!((world, again.writes, again.switches), (before, 0, 0), "the next boot: {start:?}");
    }
}

/// What an order can come to: power goes, or the device goes on, with what it knows.
fn outcomes(world: &World, replacement: &Replacement) -> Vec<(World, Replacement)> {
    let told = |tell: &dyn Fn(&mut Replacement)| {
        let mut told = replacement.clone();
        tell(&mut told);
        told
    };
    let mut all = Vec::from([(world.clone(), fresh())]);
    match replacement.next() {
        Order::Look => {
            all.push((world.clone(), told(&|known| known.looked(Some(world.active)))));
            all.push((world.clone(), told(&|known| known.looked(None))));
        }
        Order::Read(copy) => {
            let digest = world.holds(copy).digest();
            all.push((world.clone(), told(&|known| known.read(copy, Some(digest)))));
            all.push((world.clone(), told(&|known| known.read(copy, None))));
        }
        Order::Write(copy) => {
            assert_ne!(copy, world.active, "the copy that boots is written: {replacement:?}");
            for content in [world.holds(copy), Torn, New] {
                let world = world.with(copy, content);
                all.push((world.clone(), fresh()));
                all.push((world, told(&|known| known.wrote(copy))));
            }
        }
        Order::Switch(copy) => {
            assert_eq!(world.holds(copy), New, "a copy is to boot that does not hold what is wanted: {replacement:?}");
            for active in [world.active, copy] {
                let world = World { active, ..world.clone() };
                all.push((world.clone(), fresh()));
                all.push((world, told(&|known| known.switched())));
            }
        }
        Order::Rest => assert_eq!(world.holds(world.active), New, "at rest without what is wanted: {replacement:?}"),
        Order::GiveUp(_) => {}
    }
    all
}

#[test]
fn with_a_cut_or_a_fault_at_every_order_some_whole_copy_always_boots_and_orders_end() {
    // With how many orders this boot has had, which bounds what it may still have.
    let mut left: Vec<_> = World::all().into_iter().map(|world| (world, fresh(), 0)).collect();
    let mut seen: HashSet<_> = left.iter().cloned().collect();
    let mut gave_up = HashSet::new();
    while let Some((world, replacement, orders)) = left.pop() {
        assert!(world.boots(), "{world:?}");
        assert!(orders <= 3 + 2 * u32::from(WRITES + SWITCHES), "orders do not end: {replacement:?}");
        if let Order::GiveUp(reason) = replacement.next() {
            gave_up.insert(core::mem::discriminant(&reason));
        }
        for (world, next) in outcomes(&world, &replacement) {
            let orders = if next == fresh() { 0 } else { orders + 1 };
            if seen.insert((world.clone(), next.clone(), orders)) {
                left.push((world, next, orders));
            }
        }
    }
    assert!(seen.len() > 300, "{} worlds are not all", seen.len());
    assert_eq!(gave_up.len(), 3, "each reason that a medium can give was met");
}

#[test]
fn what_has_no_place_in_a_copy_is_given_up_before_anything_is_asked() {
    for (length, reason) in [(0, Reason::Empty), (LENGTH + 1, Reason::TooLarge)] {
        let replacement = Replacement::new(New.digest(), length, LENGTH);
        assert_eq!(replacement.next(), Order::GiveUp(reason));
        assert_eq!(Replacement::fits(length, LENGTH), Err(reason));
    }
    assert_eq!(Replacement::fits(LENGTH, LENGTH), Ok(()));
}

#[test]
fn a_copy_that_cannot_be_read_is_replaced_and_the_one_that_boots_is_not_touched() {
    let mut replacement = fresh();
    replacement.looked(Some(Twin::Second));
    replacement.read(Twin::Second, None);
    assert_eq!(replacement.next(), Order::Read(Twin::First));
    replacement.read(Twin::First, None);
    assert_eq!(replacement.next(), Order::Write(Twin::First));
}
