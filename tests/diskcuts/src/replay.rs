//! The disk as a power cut leaves it, at any entry of a log.
//!
//! ```text
//!   entries    w  w  F  w  w  w ✂            F: a flush
//!              └──┘     └─────┘
//!              there    each of them is there, is not, or is there in some of its sectors
//! ```
//!
//! Promises: what a flush that was answered covers is there, and so is a write to the medium that was answered; of what
//! was neither, any part may be there, in units of a sector. Of two writes to a sector that are both there the later one
//! stands: a disk does not go back. A batch in which the cut falls was not answered.

use std::collections::HashMap;

use machine::ordeal::Dice;

use crate::disk::Disk;
use crate::log::{Log, What};

/// The unit that a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// What becomes of writes that were not flushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loss {
    /// All of them are there: the medium was as quick as the machine.
    Nothing,
    /// None is.
    All,
    /// Some are: as if they had been written in another order.
    Some,
    /// Of each, some sectors are.
    Torn,
}

impl Loss {
    pub(crate) const ALL: [Self; 4] = [Self::Nothing, Self::All, Self::Some, Self::Torn];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Nothing => "kept",
            Self::All => "dropped",
            Self::Some => "reordered",
            Self::Torn => "torn",
        }
    }
}

/// Whether flushes count, and writes to the medium.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flushes {
    /// As they should.
    Counted,
    /// A disk that lies: nothing that it has answered is certain.
    Ignored,
}

/// Goes through a log and can be cut anywhere.
pub(crate) struct Replay<'l> {
    log: &'l Log,
    flushes: Flushes,
    /// What is on the medium for certain.
    medium: Disk,
    /// Entries that are not, in their order, and the next entry.
    pending: Vec<usize>,
    next: usize,
    /// The latest entry that is certainly in a sector, where a pending one may be older.
    newest: HashMap<u64, usize>,
}

impl<'l> Replay<'l> {
    pub(crate) fn new(log: &'l Log, base: Disk, flushes: Flushes) -> Self {
        Self { log, flushes, medium: base, pending: Vec::new(), next: 0, newest: HashMap::new() }
    }

    /// Goes on until `count` entries have come. It never goes back.
    pub(crate) fn advance(&mut self, count: usize) {
        while self.next < count.min(self.log.entries.len()) {
            let Some(entry) = self.log.entries.get(self.next) else { return };
            let before = self.next.checked_sub(1).and_then(|before| self.log.entries.get(before));
            if let Some(before) = before
                && before.batch != entry.batch
            {
                self.answer(before.batch);
            }
            if matches!(entry.what, What::Write { .. } | What::Trim { .. }) {
                self.pending.push(self.next);
            }
            self.next += 1;
        }
    }

    /// All of a batch was answered.
    fn answer(&mut self, batch: u64) {
        if self.flushes == Flushes::Ignored {
            return;
        }
        let end = self.next;
        let of_batch = self.log.entries.get(..end).unwrap_or_default().iter().enumerate().rev();
        let of_batch: Vec<_> = of_batch.take_while(|(_, entry)| entry.batch == batch).collect();
        if of_batch.iter().any(|(_, entry)| entry.what == What::Flush) {
            let covered = |at: &usize| self.log.entries.get(*at).is_some_and(|entry| entry.batch < batch);
            let (done, pending) = std::mem::take(&mut self.pending).into_iter().partition(covered);
            self.pending = pending;
            let done: Vec<usize> = done;
            for at in done {
                apply(self.log, at, &mut self.medium, |sector| self.newest.get(&sector).is_none_or(|new| *new < at));
            }
            if self.pending.is_empty() {
                self.newest.clear();
            }
        }
        for (at, entry) in of_batch.into_iter().rev() {
            if let What::Write { at: place, bytes, fua: true } = &entry.what {
                apply(self.log, at, &mut self.medium, |_| true);
                self.pending.retain(|pending| *pending != at);
                for sector in *place / SECTOR..(place + bytes.len() as u64).div_ceil(SECTOR) {
                    self.newest.insert(sector, at);
                }
            }
        }
    }

    /// The power goes now.
    pub(crate) fn cut(&self, loss: Loss, dice: &mut Dice) -> Disk {
        let mut disk = self.medium.clone();
        // From nearly nothing to nearly everything: what breaks may need one write to be missing, or one to be there.
        let odds = 1 + dice.roll(9);
        for at in &self.pending {
            let whole = match loss {
                Loss::Nothing => true,
                Loss::All => false,
                Loss::Some => dice.roll(10) < odds,
                Loss::Torn => dice.roll(4) == 0 && dice.roll(10) < odds,
            };
            let tears = loss == Loss::Torn;
            if whole || tears {
                apply(self.log, *at, &mut disk, |sector| {
                    self.newest.get(&sector).is_none_or(|new| new < at) && (whole || dice.roll(10) < odds)
                });
            }
        }
        disk
    }
}

/// Writes those sectors of an entry that are `wanted`.
fn apply(log: &Log, at: usize, disk: &mut Disk, mut wanted: impl FnMut(u64) -> bool) {
    let Some(entry) = log.entries.get(at) else { return };
    match &entry.what {
        What::Write { at, bytes, .. } => {
            for (sector, bytes) in (at / SECTOR..).zip(bytes.chunks(SECTOR as usize)) {
                if wanted(sector) {
                    disk.write(sector * SECTOR, bytes);
                }
            }
        }
        What::Trim { at, length } => {
            for sector in at / SECTOR..(at + length) / SECTOR {
                if wanted(sector) {
                    disk.write(sector * SECTOR, &[0; SECTOR as usize]);
                }
            }
        }
        What::Flush | What::Told(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(sector: u64, count: usize, byte: u8) -> What {
        What::Write { at: sector * SECTOR, bytes: vec![byte; count * SECTOR as usize], fua: false }
    }

    fn medium(sector: u64, byte: u8) -> What {
        What::Write { at: sector * SECTOR, bytes: vec![byte; SECTOR as usize], fua: true }
    }

    /// A log of batches.
    fn log(batches: &[&[What]]) -> Log {
        let mut log = Log::default();
        for batch in batches {
            log.begin_batch();
            batch.iter().for_each(|what| log.push(what.clone()));
        }
        log
    }

    /// The first byte of each of the first sectors, cut after so many entries.
    fn cut(log: &Log, after: usize, loss: Loss, seed: u64) -> Vec<u8> {
        let mut replay = Replay::new(log, Disk::new(vec![0; 4096]), Flushes::Counted);
        replay.advance(after);
        let disk = replay.cut(loss, &mut Dice::new(seed));
        (0..8).map(|sector| disk.bytes(sector * SECTOR, 1)[0]).collect()
    }

    #[test]
    fn what_was_flushed_is_there_and_the_rest_may_be_lost() {
        let log = log(&[&[write(0, 1, 1)], &[What::Flush], &[write(1, 1, 2)], &[write(2, 1, 3)]]);
        assert_eq!(cut(&log, 4, Loss::All, 0)[..3], [1, 0, 0]);
        assert_eq!(cut(&log, 4, Loss::Nothing, 0)[..3], [1, 2, 3]);
        let orders: std::collections::BTreeSet<_> =
            (0..200).map(|seed| cut(&log, 4, Loss::Some, seed)[..3].to_vec()).collect();
        let all = [[1, 0, 0], [1, 0, 3], [1, 2, 0], [1, 2, 3]];
        assert!(orders.into_iter().eq(all.into_iter().map(|one| one.to_vec())));
    }

    #[test]
    fn a_flush_that_was_not_answered_and_one_that_came_with_the_write_cover_nothing() {
        let unanswered = log(&[&[write(0, 1, 1)], &[What::Flush]]);
        assert_eq!(cut(&unanswered, 2, Loss::All, 0)[0], 0);
        let together = log(&[&[write(0, 1, 1), What::Flush], &[write(1, 1, 2)]]);
        assert_eq!(cut(&together, 3, Loss::All, 0)[0], 0);
        let apart = log(&[&[write(0, 1, 1)], &[What::Flush], &[write(1, 1, 2)]]);
        assert_eq!(cut(&apart, 3, Loss::All, 0)[0], 1);
    }

    #[test]
    fn a_write_to_the_medium_keeps_itself_and_no_other() {
        let log = log(&[&[write(0, 1, 1)], &[medium(1, 2)], &[What::Told("x".into())]]);
        assert_eq!(cut(&log, 3, Loss::All, 0)[..2], [0, 2]);
        assert_eq!(cut(&log, 2, Loss::All, 0)[..2], [0, 0], "it was not answered");
    }

    #[test]
    fn a_sector_does_not_go_back_behind_what_is_on_the_medium() {
        let log =
            log(&[&[write(0, 2, 1)], &[medium(0, 2)], &[What::Told("x".into())], &[What::Flush], &[write(5, 1, 9)]]);
        assert_eq!(cut(&log, 3, Loss::Nothing, 0)[..2], [2, 1]);
        assert_eq!(cut(&log, 5, Loss::All, 0)[..2], [2, 1], "the flush brought the older one home");
    }

    #[test]
    fn a_write_is_torn_between_sectors_and_never_within_one() {
        let log = log(&[&[write(0, 8, 1)]]);
        let mut partial = 0;
        for seed in 0..100 {
            let mut replay = Replay::new(&log, Disk::new(vec![0; 4096]), Flushes::Counted);
            replay.advance(1);
            let disk = replay.cut(Loss::Torn, &mut Dice::new(seed));
            let sectors: Vec<_> = (0..8).map(|sector| disk.bytes(sector * SECTOR, 512)).collect();
            assert!(sectors.iter().all(|sector| sector.iter().all(|byte| byte == &sector[0])));
            partial += usize::from(sectors.iter().any(|sector| sector[0] != sectors[0][0]));
        }
        assert!(partial > 50, "{partial} of 100");
    }

    #[test]
    fn a_disk_that_lies_can_lose_what_was_flushed() {
        let log = log(&[&[write(0, 1, 1)], &[What::Flush], &[write(1, 1, 2)]]);
        let mut replay = Replay::new(&log, Disk::new(vec![0; 4096]), Flushes::Ignored);
        replay.advance(3);
        assert_eq!(replay.cut(Loss::All, &mut Dice::new(0)).bytes(0, 1), [0]);
    }

    #[test]
    fn the_same_seed_is_the_same_disk() {
        let log = log(&[&[write(0, 8, 1)], &[write(2, 3, 2)]]);
        for loss in Loss::ALL {
            assert_eq!(cut(&log, 2, loss, 5), cut(&log, 2, loss, 5));
        }
    }
}
