//! The power that durable operations use up, and what the one leaves behind in which it goes.
//!
//! ```text
//!   operation   0      1      2      3      4
//!   fuel = 3    whole  whole  whole  torn   dead   dead …
//! ```
//!
//! One [`Fuel`] is shared by all media of a device: power goes everywhere at once.

use std::cell::Cell;
use std::rc::Rc;

/// What the operation leaves in which power goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tear {
    /// Nothing has happened.
    Old,
    /// It is complete, but nobody was told.
    New,
    /// The first half is new (the second, by the seed, where a medium has no direction).
    Half,
    /// So many bytes from the start are new.
    At(u16),
    /// Zeros.
    Zeros,
    /// Bytes drawn from the seed.
    Garbage,
}

impl Tear {
    /// Every mode but [`At`](Self::At), of which there is one for each byte.
    pub const ALL: [Self; 5] = [Self::Old, Self::New, Self::Half, Self::Zeros, Self::Garbage];
    /// The modes of a medium that keeps the promise of whole sectors.
    pub const ATOMIC: [Self; 2] = [Self::Old, Self::New];

    /// What is left of `old` when power goes while `new` is written over it.
    pub fn mix(self, old: &mut [u8], new: &[u8], seed: u64) {
        let length = old.len().min(new.len());
        match self {
            Self::Old => {}
            Self::New => old[..length].copy_from_slice(&new[..length]),
            Self::Half => old[..length.div_ceil(2)].copy_from_slice(&new[..length.div_ceil(2)]),
            Self::At(bytes) => {
                let length = length.min(usize::from(bytes));
                old[..length].copy_from_slice(&new[..length]);
            }
            Self::Zeros => old[..length].fill(0),
            Self::Garbage => {
                let mut luck = Luck(seed);
                old[..length].iter_mut().for_each(|byte| *byte = luck.next().to_le_bytes()[0]);
            }
        }
    }
}

/// What becomes of one operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Burn {
    /// It is carried out.
    Whole,
    /// Power goes while it is carried out. The seed differs from operation to operation.
    Torn(Tear, u64),
    /// Power has gone before.
    Dead,
}

/// Power for a number of durable operations, shared by all media of a device.
#[derive(Clone, Debug)]
pub struct Fuel(Rc<Tank>);

#[derive(Debug)]
struct Tank {
    /// The operation in which power goes.
    cut: Option<u64>,
    tear: Tear,
    seed: u64,
    spent: Cell<u64>,
}

impl Fuel {
    /// Power that does not go. Counts.
    #[must_use]
    pub fn unlimited() -> Self {
        Self(Rc::new(Tank { cut: None, tear: Tear::Old, seed: 0, spent: Cell::new(0) }))
    }

    /// Power for `operations` whole operations; the next is torn.
    #[must_use]
    pub fn limited(operations: u64, tear: Tear, seed: u64) -> Self {
        Self(Rc::new(Tank { cut: Some(operations), tear, seed, spent: Cell::new(0) }))
    }

    /// Asks for one operation.
    #[must_use]
    pub fn burn(&self) -> Burn {
        let index = self.0.spent.get();
        self.0.spent.set(index + 1);
        match self.0.cut {
            Some(cut) if index == cut => Burn::Torn(self.0.tear, mix(self.0.seed ^ mix(index))),
            Some(cut) if index > cut => Burn::Dead,
            _ => Burn::Whole,
        }
    }

    /// Operations asked for so far, the torn one and those after it included.
    #[must_use]
    pub fn spent(&self) -> u64 {
        self.0.spent.get()
    }

    /// Whether power has gone.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.0.cut.is_some_and(|cut| self.spent() > cut)
    }
}

/// Numbers that look like luck and are the same in every run (splitmix64).
#[derive(Clone, Debug)]
pub struct Luck(pub u64);

impl Luck {
    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it has no end, and is no iterator to its callers")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }
}

fn mix(seed: u64) -> u64 {
    let mut z = seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operation_after_the_last_whole_one_is_torn_and_all_later_ones_are_dead() {
        let fuel = Fuel::limited(2, Tear::Half, 1);
        let burns: Vec<_> = (0..4).map(|_| fuel.burn()).collect();
        assert!(matches!(burns[..], [Burn::Whole, Burn::Whole, Burn::Torn(Tear::Half, _), Burn::Dead]));
        assert!(fuel.is_out());
    }

    #[test]
    fn unlimited_fuel_counts_and_never_ends() {
        let fuel = Fuel::unlimited();
        let shared = fuel.clone();
        assert!((0..100).all(|_| shared.burn() == Burn::Whole));
        assert_eq!(fuel.spent(), 100);
        assert!(!fuel.is_out());
    }

    #[test]
    fn the_same_seed_tears_the_same_way() {
        let torn = |seed| {
            let mut old = [0xAA; 16];
            Tear::Garbage.mix(&mut old, &[0x55; 16], seed);
            old
        };
        assert_eq!(torn(7), torn(7));
        assert_ne!(torn(7), torn(8));
    }
}
