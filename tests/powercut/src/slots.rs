//! Two raw slots that a firmware reads kernels from.
//!
//! ```text
//!   slot A                      slot B
//!   ┌───────┬────────┬─────┐    ┌───────┬────────┬─────┐
//!   │ label │ kernel │ …   │    │ label │ kernel │ …   │      label: "holds 2", then zeros
//!   └───────┴────────┴─────┘    └───────┴────────┴─────┘
//!   place   wipe the label ▸ write the kernel ▸ write the label
//! ```
//!
//! A slot without a whole label holds nothing. The order of `place` makes a label mean a whole kernel; that no *cell*
//! names what is overwritten is the machine's part, through `Vacating`.

use boards_api::media::{SECTOR, Sectors};
use boards_api::slots::{Choice, Slot, choose};
use sim::Fuel;
use sim::block::SimBlock;
use statemachine::boot::Wanted;
use statemachine::ids::RevisionId;

use crate::places::numbered;

/// Sectors of one slot.
const SECTORS: usize = 8;

/// A disk with both.
#[derive(Clone)]
pub(crate) struct Slots(SimBlock);

impl Slots {
    /// The first slot holds 0, the second 1.
    pub(crate) fn made(kernel: impl Fn(&RevisionId) -> Vec<u8>) -> Self {
        let mut slots = Self(SimBlock::filled(2 * SECTORS, 0, &Fuel::unlimited()));
        for number in [0, 1] {
            let revision = numbered(u32::from(number));
            if let Err(why) = slots.place(Slot(number), &revision, &kernel(&revision)) {
                panic!("a slot cannot be written: {why}");
            }
        }
        slots
    }

    pub(crate) fn power_on(&mut self, fuel: &Fuel) {
        self.0.power_on(fuel);
    }

    /// What each slot holds.
    pub(crate) fn held(&mut self) -> [Option<RevisionId>; 2] {
        [0, 1].map(|slot| {
            let mut sector = [0; SECTOR];
            self.0.read(at(Slot(slot)), &mut sector).ok()?;
            let text = std::str::from_utf8(&sector).ok()?.trim_end_matches('\0');
            RevisionId::parse(text.strip_prefix(LABEL)?).ok()
        })
    }

    /// Where a revision may go.
    pub(crate) fn choice(&mut self, revision: &RevisionId, running: &RevisionId, wanted: &Wanted) -> Option<Choice> {
        choose(&self.held(), revision, Some(running), wanted)
    }

    /// Writes a slot, sector by sector.
    pub(crate) fn place(&mut self, slot: Slot, revision: &RevisionId, kernel: &[u8]) -> Result<(), String> {
        let mut label = [0; SECTOR];
        let mut write = |at: u64, bytes: &[u8]| self.0.write(at, bytes).map_err(|error| error.to_string());
        write(at(slot), &label)?;
        write(at(slot) + SECTOR as u64, kernel)?;
        let text = format!("{LABEL}{revision}");
        label[..text.len()].copy_from_slice(text.as_bytes());
        write(at(slot), &label)
    }

    /// The kernel of a revision, as the firmware loads it.
    pub(crate) fn kernel(&mut self, revision: &RevisionId, length: usize) -> Option<Vec<u8>> {
        let slot = self.held().iter().position(|held| held.as_ref() == Some(revision))?;
        let mut bytes = vec![0; length];
        self.0.read(at(Slot(u8::try_from(slot).ok()?)) + SECTOR as u64, &mut bytes).ok()?;
        Some(bytes)
    }
}

const LABEL: &str = "holds ";

/// Where a slot begins, in bytes.
fn at(slot: Slot) -> u64 {
    u64::from(slot.0) * (SECTORS * SECTOR) as u64
}
