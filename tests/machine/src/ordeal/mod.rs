//! An ordeal: a device takes updates, good and bad, and its power goes at whatever moment somebody likes.
//!
//! ```text
//!   propose ──▶ look ──▶ at rest? ──yes──▶ judge ──▶ prepare ──▶ propose …
//!                ▲  └─ cut? ──yes──▶ tally, cut, power on ─┐
//!                └─────────────────────────────────────────┘
//! ```
//!
//! Promises: every cut is counted, by where it hit; a device that does not come to rest, or that rests on a bad update,
//! is a brick and ends it; when no more cuts come, the last update is still judged. It has no clock and no terminal: a
//! [`Trigger`] says when, the caller shows the [`Tally`].

mod tally;
mod timer;

pub use tally::Tally;
pub use timer::{Dice, Timer};

/// Why an ordeal could not go on: something beside the device.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// What a device is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Update {
    /// One that must hold, and may be lost with the power before it was taken.
    Good,
    /// One that must not hold.
    Bad,
}

/// What a device rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What it ran before.
    Before,
    /// The update.
    Updated,
    /// Nothing that works, and why.
    Brick(String),
}

/// A device with a power switch and somebody who offers it updates.
pub trait Device {
    /// Switches it on.
    fn power_on(&mut self) -> Result<(), Fault>;
    /// Makes an update that it will be offered, and does not wait for that: `true` once it is made. Asked again until
    /// then, unless its power goes, which loses it.
    fn prepare(&mut self, update: Update) -> Result<bool, Fault>;
    /// Offers it that update and does not wait for what comes of it.
    fn propose(&mut self, update: Update) -> Result<(), Fault>;
    /// What it is doing, in a word: what its firmware or PID 1 has said last.
    fn place(&mut self) -> Result<String, Fault>;
    /// Takes its power away.
    fn cut(&mut self) -> Result<(), Fault>;
    /// What it rests on, once it does: its update is decided, and everything that it shall run runs. One that needs too
    /// long is an [`Outcome::Brick`].
    fn rest(&mut self) -> Result<Option<Outcome>, Fault>;
}

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing, for a moment that has passed meanwhile.
    Nothing,
    /// A power cut, now.
    Cut,
    /// No more updates.
    End,
}

/// Who says when: a person with a key, or a [`Timer`].
pub trait Trigger {
    /// The device was switched on, or has an update to chew on.
    fn began(&mut self);
    /// What is wanted; waits a moment if it is nothing.
    fn ask(&mut self) -> Result<Wish, Fault>;
    /// Which update is next.
    fn update(&mut self) -> Update;
}

/// Goes on until the trigger wants an end, or the device is a brick. `show` sees every change.
///
/// # Errors
/// Something beside the device has failed; the device is left as it is.
pub fn undergo(
    device: &mut impl Device,
    trigger: &mut impl Trigger,
    mut show: impl FnMut(&Tally),
) -> Result<Tally, Fault> {
    let mut tally = Tally::default();
    device.power_on()?;
    trigger.began();
    // The first rest is that of the factory. Until what is next is made, the device is at rest.
    let (mut offered, mut next) = (None, None);
    let mut ending = false;
    loop {
        tally.is_at(device.place()?);
        show(&tally);
        match trigger.ask()? {
            Wish::Nothing => {}
            Wish::End => ending = true,
            Wish::Cut => {
                tally.cut(device.place()?);
                show(&tally);
                device.cut()?;
                device.power_on()?;
                trigger.began();
                next = None;
                continue;
            }
        }
        let update = match next {
            Some(_) if ending => return Ok(tally),
            Some(update) => update,
            None => {
                let Some(outcome) = device.rest()? else { continue };
                let is_brick = tally.rested(offered.take(), &outcome);
                show(&tally);
                if is_brick || ending {
                    return Ok(tally);
                }
                *next.insert(trigger.update())
            }
        };
        if device.prepare(update)? {
            device.propose(update)?;
            (offered, next) = (Some(update), None);
            trigger.began();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A device that needs some looks for a boot and some for an update.
    #[derive(Default)]
    struct Toy {
        busy: u32,
        pending: Option<Update>,
        /// What a faulty one does with a bad update.
        takes_bad: bool,
        /// At which cut it dies.
        fragile: Option<u32>,
        cuts: u32,
        on: bool,
        /// How often was asked whether the update is made, and how often it is not.
        made: u32,
        slow: u32,
    }

    impl Device for Toy {
        fn power_on(&mut self) -> Result<(), Fault> {
            assert!(!self.on, "switched on twice");
            (self.on, self.busy) = (true, 3);
            Ok(())
        }
        fn prepare(&mut self, _: Update) -> Result<bool, Fault> {
            assert!(self.busy == 0, "prepared while it is busy");
            self.made += 1;
            Ok(self.made > self.slow)
        }
        fn propose(&mut self, update: Update) -> Result<(), Fault> {
            (self.pending, self.busy, self.made) = (Some(update), 5, 0);
            Ok(())
        }
        fn place(&mut self) -> Result<String, Fault> {
            Ok(if self.busy > 0 { format!("busy {}", self.busy) } else { "idle".into() })
        }
        fn cut(&mut self) -> Result<(), Fault> {
            assert!(self.on, "cut while off");
            (self.on, self.cuts) = (false, self.cuts + 1);
            Ok(())
        }
        fn rest(&mut self) -> Result<Option<Outcome>, Fault> {
            if self.fragile.is_some_and(|fragile| self.cuts >= fragile) {
                return Ok(Some(Outcome::Brick("it says nothing".into())));
            }
            if self.busy > 0 {
                self.busy -= 1;
                return Ok(None);
            }
            Ok(Some(match self.pending.take() {
                Some(Update::Good) => Outcome::Updated,
                Some(Update::Bad) if self.takes_bad => Outcome::Updated,
                _ => Outcome::Before,
            }))
        }
    }

    /// Wishes as they were written down, then an end.
    struct Script(VecDeque<Wish>, Update);

    impl Trigger for Script {
        fn began(&mut self) {}
        fn ask(&mut self) -> Result<Wish, Fault> {
            Ok(self.0.pop_front().unwrap_or(Wish::End))
        }
        fn update(&mut self) -> Update {
            self.1
        }
    }

    fn script(text: &str, update: Update) -> Script {
        let wish = |letter| match letter {
            'c' => Wish::Cut,
            _ => Wish::Nothing,
        };
        Script(text.chars().map(wish).collect(), update)
    }

    #[test]
    fn every_cut_is_counted_where_it_hit_and_the_last_update_is_judged() {
        let mut toy = Toy::default();
        let tally = undergo(&mut toy, &mut script("....ccc...", Update::Good), |_| {}).unwrap();
        assert_eq!((tally.cuts(), toy.cuts), (3, 3));
        assert_eq!(tally.hits().collect::<Vec<_>>(), [("busy 3", 2), ("busy 5", 1)]);
        assert_eq!((tally.updated(Update::Good), tally.bricks()), (1, 0));
    }

    #[test]
    fn a_cut_while_an_update_is_made_is_followed_by_another_rest_and_counts_for_no_update() {
        let mut toy = Toy { slow: 4, ..Toy::default() };
        let tally = undergo(&mut toy, &mut script(".....c...", Update::Good), |_| {}).unwrap();
        assert_eq!((tally.cuts(), tally.hits().collect::<Vec<_>>()), (1, vec![("idle", 1)]));
        assert_eq!((tally.updated(Update::Good), tally.before(Update::Good)), (0, 0));
    }

    #[test]
    fn a_bad_update_that_stays_is_a_brick() {
        let mut toy = Toy { takes_bad: true, ..Toy::default() };
        let tally = undergo(&mut toy, &mut script("..........................", Update::Bad), |_| {}).unwrap();
        assert_eq!(tally.bricks(), 1);
        assert!(tally.to_string().contains("a bad update has stayed"), "{tally}");
    }

    #[test]
    fn a_device_that_does_not_come_back_ends_it_and_is_told_with_its_words() {
        let mut toy = Toy { fragile: Some(2), ..Toy::default() };
        let tally = undergo(&mut toy, &mut script(".....c..c.......c", Update::Good), |_| {}).unwrap();
        assert_eq!((tally.cuts(), tally.bricks()), (2, 1));
        assert!(tally.to_string().contains("it says nothing"), "{tally}");
    }

    #[test]
    fn an_ordeal_of_a_timer_has_its_number_of_cuts_and_the_same_seed_is_the_same_ordeal() {
        let ordeal = |seed| {
            let mut timer = Timer::new(25, Dice::new(seed), 12, || {});
            let tally = undergo(&mut Toy::default(), &mut timer, |_| {}).unwrap();
            assert_eq!((tally.cuts(), tally.bricks()), (25, 0));
            tally.to_string()
        };
        assert_eq!(ordeal(7), ordeal(7));
        assert_ne!(ordeal(7), ordeal(8));
    }
}
