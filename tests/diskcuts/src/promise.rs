//! What the world was told before a cut, and so must be true after it.
//!
//! ```text
//!   posting 2          ┐ from here on the device may rest on 2
//!   object 2 3fe1…     │ the device has said that it has this object
//!   trail 2            │ … that it has this revision
//!   [update]: A -> B   ┘ PID 1 has said that it is in the step B, so that all before B is done
//! ```
//!
//! PID 1 says what it sees when it looks, and may have gone through several steps since it looked last.

use std::collections::BTreeSet;

use formats::object::ObjectId;

use crate::log::{Entry, What};

/// Words that the recorder puts into the log.
pub(crate) const POSTING: &str = "posting ";
pub(crate) const OBJECT: &str = "object ";
pub(crate) const TRAIL: &str = "trail ";
pub(crate) const STAGE: &str = "stage ";
/// Words of PID 1 between which the step stands that is done.
pub(crate) const UPDATE: &str = "[update]: ";

/// What was promised of revisions, which are counted from the factory's, 0.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Promises {
    /// The newest revision that is the default: a commit that was told of.
    pub(crate) committed: usize,
    /// The newest one that the device may have.
    pub(crate) posted: usize,
    /// Objects of that one that the device has.
    pub(crate) objects: BTreeSet<ObjectId>,
    /// It has that one whole.
    pub(crate) trail: bool,
    /// A bootloader sees its files.
    pub(crate) visible: bool,
    /// The cells name it, as what is tried or as the default.
    pub(crate) armed: bool,
    /// The cells name it as the default.
    pub(crate) stored: bool,
    /// The journal has it as the default.
    pub(crate) closed: bool,
    /// What the device is doing, for people.
    pub(crate) stage: String,
}

impl Promises {
    /// Those that stand when these entries were seen.
    pub(crate) fn of<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Self {
        let mut promises = Self::default();
        for entry in entries {
            if let What::Told(text) = &entry.what {
                promises.hear(text);
            }
        }
        promises
    }

    pub(crate) fn hear(&mut self, text: &str) {
        if let Some(stage) = text.strip_prefix(STAGE) {
            stage.clone_into(&mut self.stage);
        } else if let Some(number) = text.strip_prefix(POSTING) {
            let (committed, stage) = (self.committed, std::mem::take(&mut self.stage));
            *self = Self { committed, posted: number.parse().unwrap_or_default(), stage, ..Self::default() };
        } else if let Some(id) = text.strip_prefix(OBJECT) {
            self.objects.extend(ObjectId::parse(id));
        } else if text.starts_with(TRAIL) {
            self.trail = true;
        } else if let Some((from, to)) = text.split_once(UPDATE).and_then(|(_, step)| step.split_once(" -> ")) {
            match (from, to.trim()) {
                (_, "Vacating" | "Placing" | "Recording" | "Switching") => self.trail = true,
                // Before the cells name it, a bootloader must see it.
                (_, "Arming" | "Committing") => (self.trail, self.visible) = (true, true),
                ("Recording" | "Arming" | "Staging" | "Syncing", "Leaving") => {
                    (self.trail, self.visible, self.armed) = (true, true, true)
                }
                (_, "Closing") => self.commit(),
                ("Trying" | "Testing" | "Syncing" | "Committing" | "Closing", "Idle") => {
                    self.commit();
                    self.closed = true;
                }
                _ => {}
            }
        }
    }

    fn commit(&mut self) {
        (self.trail, self.visible, self.armed, self.stored) = (true, true, true, true);
        self.committed = self.posted;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(told: &[&str]) -> Promises {
        let mut promises = Promises::default();
        told.iter().for_each(|text| promises.hear(text));
        promises
    }

    #[test]
    fn a_step_is_promised_when_it_was_left_and_not_when_it_was_entered() {
        let arming = after(&["posting 1", "[update]: Recording -> Arming"]);
        assert!(arming.visible && !arming.armed);
        assert!(after(&["posting 1", "device# [pantavisor] 1.2 INFO [update]: Arming -> Leaving"]).armed);
    }

    #[test]
    fn steps_that_nobody_saw_are_done_as_well() {
        let promises = after(&["posting 1", "[update]: Staging -> Leaving"]);
        assert!(promises.trail && promises.visible && promises.armed && !promises.stored);
        let promises = after(&["posting 1", "[update]: Testing -> Idle"]);
        assert!(promises.stored && promises.closed && promises.committed == 1);
        assert!(!after(&["posting 1", "[update]: Failing -> Idle"]).stored);
    }

    #[test]
    fn a_commit_outlives_the_next_post_and_what_was_promised_of_the_revision_before_does_not() {
        let told =
            ["posting 1", "trail 1", "[update]: Committing -> Closing", "[update]: Closing -> Idle", "posting 2"];
        let promises = after(&told);
        assert_eq!((promises.committed, promises.posted), (1, 2));
        assert!(!promises.trail && !promises.stored && !promises.closed);
    }

    #[test]
    fn what_the_device_takes_is_its_word() {
        let id = ObjectId::of(b"x");
        let promises = after(&["posting 1", &format!("object {id}"), "object nonsense", "trail 1"]);
        assert!(promises.objects.contains(&id) && promises.objects.len() == 1 && promises.trail);
    }
}
