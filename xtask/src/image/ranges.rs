//! Which bytes of an image have to be on a disk: everything but what its file systems say is free.
//!
//! Zeros count where somebody reads them. A journal of ext4 that was never used is zeros, and the disk may hold the
//! journal of an earlier image there, with the same identifiers and the very numbers that come next: replayed, it would
//! destroy the file system. So this is made from what file systems have allocated, never from what happens to be zero.

use std::ops::Range;

/// In blocks of this many bytes, as a block map counts.
pub(crate) const BLOCK: u64 = 4096;

/// Ranges of bytes: sorted, apart from each other, whole blocks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Adds a range, widened to whole blocks.
    pub(crate) fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut new = range.start / BLOCK * BLOCK..range.end.next_multiple_of(BLOCK);
        let mut kept = Vec::with_capacity(self.0.len() + 1);
        for held in self.0.drain(..) {
            if held.end < new.start || new.end < held.start {
                kept.push(held);
            } else {
                new = held.start.min(new.start)..held.end.max(new.end);
            }
        }
        let at = kept.partition_point(|held| held.start < new.start);
        kept.insert(at, new);
        self.0 = kept;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().cloned()
    }
}

impl FromIterator<Range<u64>> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut all = Self::default();
        ranges.into_iter().for_each(|range| all.add(range));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_whole_blocks_and_neighbours_become_one() {
        let ranges: Ranges = [8192..8193, 0..1, 12288..12289, 40960..40961].into_iter().collect();
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [0..4096, 8192..16384, 40960..45056]);
        let mut ranges = ranges;
        ranges.add(4096..8192);
        ranges.add(0..0);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [0..16384, 40960..45056]);
    }
}
