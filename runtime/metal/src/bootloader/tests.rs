//! Two copies that lose power at every sector, or take nothing, or stay as they are.

use std::cell::{Cell, RefCell};

use formats::object::ObjectId;
use sim::block::SimBlock;
use sim::{Burn, Fuel, Tear};

use super::*;

const SECTORS: usize = 6;
const OLD: &[u8] = &[b'o'; 4 * SECTOR];
/// Ends within a sector.
const NEW: &[u8] = &[b'n'; 3 * SECTOR + 100];

/// Two copies that lose power, and a register of which a cut leaves either.
struct Sim {
    copies: [RefCell<SimBlock>; 2],
    active: Cell<Twin>,
    fuel: Fuel,
    /// Which copy takes nothing that is written, and says nothing.
    stuck: Option<Twin>,
    switches: bool,
    writes: Cell<usize>,
}

impl Sim {
    fn new(active: Twin) -> Self {
        let fuel = Fuel::unlimited();
        let copy = || RefCell::new(SimBlock::filled(SECTORS, b'o', &fuel));
        let copies = [copy(), copy()];
        Self { copies, active: Cell::new(active), fuel, stuck: None, switches: true, writes: Cell::new(0) }
    }

    fn power(&mut self, fuel: Fuel) {
        self.copies.iter().for_each(|copy| copy.borrow_mut().power_on(&fuel));
        self.fuel = fuel;
    }

    fn copy(&self, copy: Twin) -> &RefCell<SimBlock> {
        &self.copies[usize::from(copy == Twin::Second)]
    }

    fn boots(&self, bytes: &[u8]) -> bool {
        self.copy(self.active.get()).borrow().media().starts_with(bytes)
    }

    fn is_on(&self) -> Result<(), String> {
        if self.fuel.is_out() { Err("no power".into()) } else { Ok(()) }
    }

    fn renew(&self) -> (Result<Option<String>, String>, Vec<String>) {
        let image = Image { name: "bsp/u-boot.bin".into(), id: ObjectId::of(NEW), length: NEW.len() as u64 };
        let mut said = Vec::new();
        (renew(self, &image, || Ok(NEW), &mut |line| said.push(line)), said)
    }
}

impl Pair for Sim {
    fn name(&self, copy: Twin) -> &str {
        if copy == Twin::First { "boot0" } else { "boot1" }
    }

    fn room(&self) -> u64 {
        (SECTORS * SECTOR) as u64
    }

    fn active(&self) -> Result<Twin, String> {
        self.is_on().map(|()| self.active.get())
    }

    fn digest(&self, copy: Twin, length: u64) -> Result<Digest, String> {
        digest(&mut *self.copy(copy).borrow_mut(), length).map_err(|error| error.to_string())
    }

    fn write(&self, copy: Twin, bytes: &mut dyn Read, length: u64) -> Result<(), String> {
        assert_ne!(copy, self.active.get(), "the copy that boots is written");
        self.is_on()?;
        self.writes.set(self.writes.get() + 1);
        if self.stuck == Some(copy) {
            return Ok(());
        }
        fill(&mut *self.copy(copy).borrow_mut(), bytes, length).map_err(|error| error.to_string())
    }

    fn switch(&self, to: Twin) -> Result<(), String> {
        assert!(self.copy(to).borrow().media().starts_with(NEW), "a copy is to boot that is not whole");
        match self.fuel.burn() {
            Burn::Whole if self.switches => self.active.set(to),
            Burn::Torn(_, seed) if seed.is_multiple_of(2) => self.active.set(to),
            _ => {}
        }
        self.is_on()
    }
}

#[test]
fn the_other_copy_gets_it_and_boots_and_after_that_there_is_nothing_to_do() {
    for active in [Twin::First, Twin::Second] {
        let sim = Sim::new(active);
        let (renewed, said) = sim.renew();
        let other = sim.name(active.other());
        assert_eq!(renewed, Ok(Some(format!("bsp/u-boot.bin is in {other}, which boots next"))));
        assert_eq!((sim.active.get(), said.len(), sim.boots(NEW)), (active.other(), 2, true), "{said:?}");
        assert!(sim.copy(active).borrow().media().starts_with(OLD));
        let tail = sim.copy(active.other()).borrow().media()[NEW.len()..].to_vec();
        assert_eq!(
            (tail[0], tail[SECTOR * 4 - NEW.len()]),
            (0, b'o'),
            "zeros to the end of its sector, then what was there"
        );
        assert_eq!(sim.renew(), (Ok(None), vec![]));
        assert_eq!(sim.writes.get(), 1);
    }
}

#[test]
fn power_cut_at_every_sector_and_in_the_switch_leaves_a_whole_one_that_boots_and_the_next_boot_ends_it() {
    let whole = Sim::new(Twin::First);
    whole.renew().0.unwrap();
    let (mut cuts, mut both) = (0, [false; 2]);
    for operations in 0..whole.fuel.spent() {
        for (tear, seed) in [Tear::Old, Tear::New, Tear::Half, Tear::Garbage].into_iter().zip(0..) {
            let mut sim = Sim::new(Twin::First);
            sim.power(Fuel::limited(operations, tear, seed));
            assert!(sim.renew().0.is_err(), "cut at {operations}");
            sim.power(Fuel::unlimited());
            assert!(sim.boots(OLD) || sim.boots(NEW), "cut at {operations}, {tear:?}");
            both[usize::from(sim.boots(NEW))] = true;
            sim.renew().0.unwrap();
            assert!(sim.boots(NEW) && sim.writes.get() <= 2, "after a cut at {operations}, {tear:?}");
            assert_eq!(sim.renew(), (Ok(None), vec![]));
            cuts += 1;
        }
    }
    assert!(cuts >= 20 && both == [true; 2], "{cuts} cuts, {both:?}");
}

#[test]
fn a_copy_that_takes_nothing_and_a_register_that_stays_are_given_up_and_said() {
    let stuck = Sim { stuck: Some(Twin::Second), ..Sim::new(Twin::First) };
    let why = stuck.renew().0.unwrap_err();
    assert!(why.contains("worn out") && stuck.boots(OLD) && stuck.writes.get() == 2, "{why}");
    let stays = Sim { switches: false, ..Sim::new(Twin::First) };
    let why = stays.renew().0.unwrap_err();
    assert!(why.contains("does not become the one that boots") && stays.boots(OLD), "{why}");
    // The other one holds it already: a later boot only tries to switch.
    stays.renew().0.unwrap_err();
    assert_eq!(stays.writes.get(), 1);
}

#[test]
fn what_cannot_be_read_from_the_store_is_never_what_boots() {
    let sim = Sim::new(Twin::First);
    let image = Image { name: "bsp/u-boot.bin".into(), id: ObjectId::of(NEW), length: NEW.len() as u64 };
    let why = renew(&sim, &image, || Ok(&NEW[..600]), &mut |_| ()).unwrap_err();
    assert!(why.contains("failed to fill whole buffer") && sim.boots(OLD), "{why}");
    let why = renew(&sim, &image, || Err::<&[u8], _>("no such object".into()), &mut |_| ()).unwrap_err();
    assert!(why.contains("no such object") && sim.boots(OLD), "{why}");
}
