//! Faults planted on purpose. Each one is a shortcut that looks right; each one must be caught.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use boards_api::media::{Files, SECTOR, Sectors};
use embedded_storage_async::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::map::{MapConfig, MapStorage};
use sim::block::{BlockFault, SimBlock};
use sim::{Fuel, Tear};
use store::nor::{NorError, PAGE, SectorNor, WORD};

use crate::Effort;
use crate::cuts::{Place, cut_everywhere};
use crate::device::{Kind, Planted};
use crate::marks;
use crate::places::{FileCell, REGION_SECTORS, fat_sector, record, recorded, unrepaired_pair};
use crate::report::{Expect, Report, Stage};
use crate::stories::Story;
use crate::updates::stages;

pub(crate) fn run(effort: Effort, report: &mut Report) {
    let caught = Expect::Caught;
    let mut place = |name: &str, stage: &dyn Fn() -> Stage| {
        if report.wants(name) {
            report.add(stage());
        }
    };
    // One torn sector takes the neighbours along, and there is no second region.
    place("control/one-region", &|| {
        let name = "control/one-region";
        cut_everywhere(name, caught, &Tear::ALL, 20, effort, |_| OneRegion::made(Order::Ascending))
    });
    // Whole sectors do not help when the erase clears a page's last mark first.
    place("control/erase-descending", &|| {
        let name = "control/erase-descending";
        cut_everywhere(name, caught, &Tear::ATOMIC, 40, effort, |_| OneRegion::made(Order::Descending))
    });
    // One sector on a medium that does not write sectors whole.
    place("control/torn-sector", &|| {
        cut_everywhere("control/torn-sector", caught, &Tear::ALL, 5, effort, |_| fat_sector())
    });
    // A pair without a repair: after two cuts both copies are torn, or the older one comes back. It takes two that fit
    // together, so here every second cut is tried, however little is tried elsewhere.
    let all = Effort { every: 1, ..effort };
    place("control/no-repair", &|| {
        cut_everywhere("control/no-repair", caught, &Tear::ALL, 5, all, |_| unrepaired_pair())
    });
    // Write a temporary file, rename it over the cell, synchronise the directory: done, says every manual.
    place("control/rename-only", &|| {
        let name = "control/rename-only";
        cut_everywhere(name, caught, &Tear::ATOMIC, 5, effort, |seed| {
            FileCell::made(seed, |mut fs, bytes| {
                fs.create("temporary", bytes);
                let done = fs.fsync().and_then(|()| fs.rename("temporary", FileCell::NAME)).and_then(|()| fs.fsync());
                (fs, done.map_err(|error| error.to_string()))
            })
        })
    });
    // The same with a checkpoint, which brings the name home before its file, or empties the old file first.
    place("control/rename+checkpoint", &|| {
        let name = "control/rename+checkpoint";
        cut_everywhere(name, caught, &Tear::ATOMIC, 5, effort, |seed| {
            FileCell::made(seed, |mut fs, bytes| {
                fs.create("temporary", bytes);
                let done = fs.fsync().and_then(|()| fs.rename("temporary", FileCell::NAME)).and_then(|()| fs.fsync());
                let done = done.and_then(|()| fs.checkpoint());
                (fs, done.map_err(|error| error.to_string()))
            })
        })
    });
    // Planted in a whole device. What is armed is not visible yet to the firmware that shall boot it.
    place("control/no-barrier", &|| update("control/no-barrier", Kind::UbootCard, Planted::NoBarrier, GOOD, effort));
    place("control/one-copy", &|| update("control/one-copy", Kind::UbootCard, Planted::OneCopy, GOOD, effort));
    // The firmware boots what the old value names, and Linux replays and reads the new one.
    place("control/replayed-cell", &|| {
        update("control/replayed-cell", Kind::Files, Planted::ReplayedCell, BAD, effort)
    });
    // A slot is overwritten while the cells still promise what it holds.
    place("control/no-vacating", &|| {
        update("control/no-vacating", Kind::Slots, Planted::NoVacating, "two-commits", effort)
    });
    // Two Cairns: what cannot be read is not worth keeping, and what can be written can be read.
    place("control/newer-replaced", &|| {
        update("control/newer-replaced", Kind::Grub, Planted::NewerReplaced, "newer-journal", effort)
    });
    place("control/newer-too-early", &|| {
        update("control/newer-too-early", Kind::Grub, Planted::NewerTooEarly, "older-cairn-bad", effort)
    });
    // What the journal has given up is tried again and again while power flaps. It takes two cuts that fit together.
    place("control/trying-unnoted", &|| {
        update("control/trying-unnoted", Kind::Reference, Planted::TryingUnnoted, BAD, all)
    });
    place("control/asked-kept", &|| update("control/asked-kept", Kind::OneShot, Planted::AskedKept, BAD, effort));
    // A trial whose PID 1 dies is given its boot back, as if power had flapped; a default that keeps dying stays.
    let unseen = Planted::MarkUnseen;
    place("control/mark-refunded", &|| {
        marks::row("control/mark-refunded", Kind::Grub, unseen, Story::named(GOOD), effort).expecting(caught)
    });
    place("control/mark-uncounted", &|| {
        marks::default_dies("control/mark-uncounted", Kind::Grub, unseen, effort).expecting(caught)
    });
}

const GOOD: &str = "reboot-good";
const BAD: &str = "reboot-bad";

/// One story on a device with a planted fault: all its stages as one row.
fn update(name: &str, kind: Kind, planted: Planted, story: &str, effort: Effort) -> Stage {
    let mut all = Stage::new(name, Expect::Caught);
    stages(kind, planted, Story::named(story), effort, name).into_iter().for_each(|stage| all.absorb(stage));
    all
}

/// In which order an erase goes through the sectors of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Ascending,
    Descending,
}

/// The journal's storage library on one region, without generations.
#[derive(Clone)]
struct OneRegion {
    disk: SimBlock,
    order: Order,
}

/// Long enough that a page is erased every few records.
const LENGTH: usize = 700;

impl OneRegion {
    fn made(order: Order) -> Self {
        let mut made = Self { disk: SimBlock::filled(REGION_SECTORS, 0xFF, &Fuel::unlimited()), order };
        if let Err(why) = made.put(0) {
            panic!("a region cannot be made: {why}");
        }
        made
    }

    fn with<T>(&mut self, call: impl FnOnce(&mut Map) -> T) -> T {
        let nor = SectorNor::new(self.disk.clone()).unwrap_or_else(|error| panic!("{error}"));
        let end = u32::try_from(nor.capacity()).unwrap_or(0);
        let mut map = Map::new(Ordered { nor, order: self.order }, MapConfig::new(0..end), Cache::new_uncached());
        let result = call(&mut map);
        self.disk = map.destroy().0.nor.into_inner();
        result
    }
}

type Map = MapStorage<u8, Ordered, Cache<Uncached, Uncached, Uncached, u8>>;

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a simulated flash never waits"),
    }
}

impl Place for OneRegion {
    fn power_on(&mut self, fuel: &Fuel) {
        self.disk.power_on(fuel);
    }

    fn recover(&mut self) -> Result<(), String> {
        let value = self.get()?;
        self.put(value)
    }

    fn put(&mut self, value: u32) -> Result<(), String> {
        let mut buffer = [0; 1024];
        let record = record(value, LENGTH);
        self.with(|map| now(map.store_item(&mut buffer, &0, &record.as_slice()))).map_err(|error| format!("{error:?}"))
    }

    fn get(&self) -> Result<u32, String> {
        let mut buffer = [0; 1024];
        let mut region = self.clone();
        region.with(|map| match now(map.fetch_item::<&[u8]>(&mut buffer, &0)) {
            Ok(Some(bytes)) => recorded(bytes, LENGTH),
            Ok(None) => Err("nothing".to_owned()),
            Err(error) => Err(format!("{error:?}")),
        })
    }
}

/// Emulated flash whose erase goes the way it is told.
struct Ordered {
    nor: SectorNor<SimBlock>,
    order: Order,
}

impl ErrorType for Ordered {
    type Error = NorError<BlockFault>;
}

impl ReadNorFlash for Ordered {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.nor.read(offset, bytes).await
    }

    fn capacity(&self) -> usize {
        self.nor.capacity()
    }
}

impl NorFlash for Ordered {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        if self.order == Order::Ascending {
            return self.nor.erase(from, to).await;
        }
        for sector in (from..to).step_by(SECTOR).rev() {
            self.nor.sectors().write(u64::from(sector), &[0xFF; SECTOR]).map_err(NorError::Sectors)?;
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.nor.write(offset, bytes).await
    }
}
