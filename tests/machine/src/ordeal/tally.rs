//! What an ordeal has come to, as a table.
//!
//! ```text
//!   updates                 kept   undone or lost
//!     good                    11        4
//!     bad                      0        7
//!   cuts                      25
//!     while Fetching           9
//!     while GRUB              16
//!   bricks                     0
//! ```

use std::collections::BTreeMap;
use std::fmt;

use super::{Outcome, Update};

/// Counts of an ordeal.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    hits: BTreeMap<String, u32>,
    updated: BTreeMap<Update, u32>,
    before: BTreeMap<Update, u32>,
    brick: Option<String>,
    place: String,
}

impl Tally {
    pub(super) fn is_at(&mut self, place: String) {
        self.place = place;
    }

    pub(super) fn cut(&mut self, place: String) {
        *self.hits.entry(place).or_default() += 1;
    }

    /// The device has come to rest. `true`: it is a brick.
    pub(super) fn rested(&mut self, offered: Option<Update>, outcome: &Outcome) -> bool {
        match (offered, outcome) {
            (_, Outcome::Brick(why)) => self.brick = Some(why.clone()),
            (Some(Update::Bad), Outcome::Updated) => self.brick = Some("a bad update has stayed".into()),
            (Some(update), Outcome::Updated) => *self.updated.entry(update).or_default() += 1,
            (Some(update), Outcome::Before) => *self.before.entry(update).or_default() += 1,
            (None, _) => {}
        }
        self.brick.is_some()
    }

    /// How often the power has gone.
    #[must_use]
    pub fn cuts(&self) -> u32 {
        self.hits.values().sum()
    }

    /// How often it has gone at each place, in the order of their names.
    pub fn hits(&self) -> impl Iterator<Item = (&str, u32)> {
        self.hits.iter().map(|(place, times)| (place.as_str(), *times))
    }

    /// How many updates of this kind the device has kept.
    #[must_use]
    pub fn updated(&self, update: Update) -> u32 {
        self.updated.get(&update).copied().unwrap_or_default()
    }

    /// How many of them it was rid of again, or never got.
    #[must_use]
    pub fn before(&self, update: Update) -> u32 {
        self.before.get(&update).copied().unwrap_or_default()
    }

    /// 1 for a device that is one.
    #[must_use]
    pub fn bricks(&self) -> u32 {
        u32::from(self.brick.is_some())
    }

    /// Why it is one.
    #[must_use]
    pub fn brick(&self) -> Option<&str> {
        self.brick.as_deref()
    }

    /// Where the device was when it was looked at last.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24}{:>6}{:>17}", "updates", "kept", "undone or lost")?;
        for (name, update) in [("good", Update::Good), ("bad", Update::Bad)] {
            writeln!(f, "  {name:<22}{:>6}{:>9}", self.updated(update), self.before(update))?;
        }
        writeln!(f, "{:<24}{:>6}", "cuts", self.cuts())?;
        for (place, times) in &self.hits {
            writeln!(f, "  {:<22}{times:>6}", format!("while {place}"))?;
        }
        writeln!(f, "{:<24}{:>6}", "bricks", self.bricks())?;
        self.brick.iter().try_for_each(|why| writeln!(f, "  {why}"))
    }
}
