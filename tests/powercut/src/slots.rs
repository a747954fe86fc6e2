//! Two raw slots that a firmware reads kernels from, written by the code that PID 1 writes them with.
//!
//! ```text
//!   slot a                              slot b
//!   ┌───────┬───────┬────────┬─────┐    ┌───────┬───────┬────────┬─────┐
//!   │ label │ label │ kernel │ …   │    │ label │ label │ kernel │ …   │      512 bytes each label
//!   └───────┴───────┴────────┴─────┘    └───────┴───────┴────────┴─────┘
//! ```
//!
//! A slot without a whole label holds nothing. The order of [`metal::slots`] makes a label mean a whole kernel; that no *cell*
//! names what is overwritten is the machine's part, through `Vacating`.

use boards_api::media::{SECTOR, Sectors as _};
use boards_api::slots::{Shape, Slot};
use formats::bootenv::uboot::Head;
use formats::object::ObjectId;
use metal::slots::{Image, SlotError};
use sim::Fuel;
use sim::block::SimBlock;
use statemachine::boot::Wanted;
use statemachine::ids::RevisionId;
use statemachine::update::Evicts;

use crate::places::numbered;

/// Sectors of one slot.
const SECTORS: usize = 8;

const SHAPE: Shape = Shape { labels: &[0, SECTOR as u64], head: Head::Plain, image: 2 * SECTOR as u64 };

/// Both, each on a medium of its own.
#[derive(Clone)]
pub(crate) struct Slots([SimBlock; 2]);

impl Slots {
    /// The first slot holds 0, the second 1.
    pub(crate) fn made(kernel: impl Fn(&RevisionId) -> Vec<u8>) -> Self {
        let mut slots = Self([0, 1].map(|_| SimBlock::filled(SECTORS, 0, &Fuel::unlimited())));
        for number in [0, 1] {
            let (revision, other) = (numbered(number), numbered(1 - number));
            let wanted = Wanted { nonce: 1, default: other.clone(), previous: None, factory: None, trial: None };
            if let Err(why) = slots.place(&revision, &other, &wanted, &kernel(&revision)) {
                panic!("a slot cannot be written: {why}");
            }
        }
        slots
    }

    pub(crate) fn power_on(&mut self, fuel: &Fuel) {
        self.0.iter_mut().for_each(|slot| slot.power_on(fuel));
    }

    /// As PID 1 has them in a boot of `running`.
    fn with<T>(&mut self, running: &RevisionId, work: impl FnOnce(&mut metal::slots::Slots<&mut SimBlock>) -> T) -> T {
        let booted = self.held().iter().position(|held| held.contains(running));
        let booted = booted.and_then(|slot| u8::try_from(slot).ok()).map(Slot);
        let [a, b] = &mut self.0;
        work(&mut metal::slots::Slots::new(SHAPE, vec![("a", a), ("b", b)], booted))
    }

    /// What each slot holds.
    pub(crate) fn held(&mut self) -> Vec<Vec<RevisionId>> {
        let [a, b] = &mut self.0;
        let mut slots = metal::slots::Slots::new(SHAPE, vec![("a", a), ("b", b)], None);
        slots.held().into_iter().map(|(_, held)| held).collect()
    }

    /// What has to go before a kernel is placed.
    pub(crate) fn evicts(
        &mut self,
        revision: &RevisionId,
        running: &RevisionId,
        wanted: &Wanted,
        kernel: &[u8],
    ) -> Result<Evicts, SlotError> {
        self.with(running, |slots| slots.evicts(revision, Some(running), wanted, &image(kernel)))
    }

    /// Writes a slot.
    pub(crate) fn place(
        &mut self,
        revision: &RevisionId,
        running: &RevisionId,
        wanted: &Wanted,
        kernel: &[u8],
    ) -> Result<(), SlotError> {
        self.with(running, |slots| slots.place(revision, Some(running), wanted, &image(kernel), &mut &kernel[..]))
    }

    /// Names a revision beside what runs.
    pub(crate) fn share(
        &mut self,
        revision: &RevisionId,
        running: &RevisionId,
        wanted: &Wanted,
    ) -> Result<(), SlotError> {
        self.with(running, |slots| slots.share(revision, running, wanted))
    }

    /// The kernel of a revision, as the firmware loads it: from the last slot that has its name. And all the names there.
    pub(crate) fn kernel(&mut self, revision: &RevisionId, length: usize) -> Option<(Vec<u8>, Vec<RevisionId>)> {
        let mut held = self.held();
        let slot = held.iter().rposition(|held| held.contains(revision))?;
        let mut bytes = vec![0; length];
        self.0.get_mut(slot)?.read(SHAPE.image, &mut bytes).ok()?;
        Some((bytes, held.swap_remove(slot)))
    }
}

fn image(kernel: &[u8]) -> Image {
    Image { name: "kernel".into(), id: ObjectId::of(kernel), length: kernel.len() as u64 }
}
