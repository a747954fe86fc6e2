//! Cuts at moments that a seed chooses.
//!
//! A moment is a number of looks after the device was switched on or was offered an update, any of them as likely as
//! the other; one time in four the device is left alone, so that it also comes to rest.

use super::{Fault, Trigger, Update, Wish};

/// Numbers from a seed (splitmix64, <https://prng.di.unimi.it/splitmix64.c>).
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of `0..sides`; 0 if there is none.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).checked_rem(sides).unwrap_or_default()
    }
}

/// So many cuts, at moments of chance.
pub struct Timer<P> {
    left: u32,
    dice: Dice,
    looks: u64,
    /// Looks until the next cut.
    due: Option<u64>,
    pause: P,
}

impl<P: FnMut()> Timer<P> {
    /// `looks` is how long a device needs for a boot and an update, in looks; `pause` lets the time of one pass.
    pub fn new(cuts: u32, dice: Dice, looks: u64, pause: P) -> Self {
        Self { left: cuts, dice, looks, due: None, pause }
    }
}

impl<P: FnMut()> Trigger for Timer<P> {
    fn began(&mut self) {
        let is_left_alone = self.left == 0 || self.dice.roll(4) == 0;
        self.due = if is_left_alone { None } else { Some(self.dice.roll(self.looks)) };
    }

    fn ask(&mut self) -> Result<Wish, Fault> {
        if self.left == 0 {
            (self.pause)();
            return Ok(Wish::End);
        }
        match self.due {
            Some(0) => {
                (self.left, self.due) = (self.left - 1, None);
                Ok(Wish::Cut)
            }
            due => {
                self.due = due.map(|due| due - 1);
                (self.pause)();
                Ok(Wish::Nothing)
            }
        }
    }

    fn update(&mut self) -> Update {
        // The time until it is made is no time of the device's.
        self.due = None;
        // Two good ones for each bad one: what is never taken is never half-way.
        if self.dice.roll(3) == 0 { Update::Bad } else { Update::Good }
    }
}
