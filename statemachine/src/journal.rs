//! What a device remembers across power cuts.
//!
//! The boot cells alone decide what boots; the journal alone remembers why. It is one value, replaced as a whole, and
//! has two parts: a [`Header`] that every version of Cairn reads and writes, and a body that may grow.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::ids::{Digest, RevisionId};

/// How many condemned digests are remembered; the oldest makes room.
pub const CONDEMNED_MAX: usize = 16;

/// How many causes of policy reboots are counted for one committed revision; a further cause gets no reboot.
pub const CAUSES_MAX: usize = 8;

/// A revision by name and by content. The digest is unknown when the journal that held it was lost.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Known {
    /// What it is called.
    pub revision: RevisionId,
    /// What it is.
    pub digest: Option<Digest>,
}

/// How an update is brought about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Transition {
    /// Through the bootloader.
    Reboot,
    /// By stopping and starting the containers that changed.
    InPlace,
}

/// Why a revision was rolled back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Reason {
    /// Power was cut before the trial was armed. Nothing is known against the revision.
    NeverArmed,
    /// The bootloader could not count, so it did not try. Nothing is known against the revision.
    Skipped,
    /// Every attempt was spent without a verdict.
    Unconfirmed,
    /// A container did not reach its goal in time.
    GoalMissed,
    /// A container failed beyond its recovery budget.
    Crashed,
    /// The containers could not be switched.
    SwitchFailed,
    /// The default did not come up, and the firmware fell back.
    Unbootable,
    /// The boots of the default kept ending early.
    Unstable,
    /// A person asked for the previous revision.
    Ordered,
}

impl Reason {
    /// Whether this counts against the content of the revision, under whatever name it comes back.
    #[must_use]
    pub fn condemns(self) -> bool {
        !matches!(self, Self::NeverArmed | Self::Skipped | Self::Ordered)
    }
}

/// What became of the latest update.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Record {
    /// It is the default, and a cold boot has proven it. Reported as DONE.
    Committed(RevisionId),
    /// It is the default, committed in place; its first cold boot is still to prove it. Reported as UPDATED.
    Updated(RevisionId),
    /// It is, or was when the power went, on trial.
    Trying {
        /// What is tried.
        what: Known,
        /// How.
        by: Transition,
    },
    /// It was given up.
    RolledBack(RevisionId, Reason),
}

/// How the latest boots ended, as far as they were short. Cleared when a boot lasts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Ends {
    /// Ends that left a mark: panic, watchdog, death of PID 1.
    pub marked: u8,
    /// Ends without one: power went.
    pub unmarked: u8,
}

/// How often one cause has rebooted a committed revision by policy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PolicyReboots {
    /// The cause; the driver derives it from the container's name.
    pub cause: u32,
    /// Reboots granted.
    pub times: u8,
}

/// Digests of revisions that were tried and found bad, oldest first.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Condemned(Vec<Digest, CONDEMNED_MAX>);

impl Condemned {
    /// Whether this content was found bad.
    #[must_use]
    pub fn holds(&self, digest: &Digest) -> bool {
        self.0.contains(digest)
    }

    /// Adds a digest, as the newest. The oldest leaves when there is no room.
    pub fn add(&mut self, digest: Digest) {
        self.forgive(&digest);
        if self.0.is_full() {
            self.0.remove(0);
        }
        // There is room: either there was, or the oldest has just left.
        let _ = self.0.push(digest);
    }

    /// Removes a digest: somebody asked to try it again.
    pub fn forgive(&mut self, digest: &Digest) {
        self.0.retain(|held| held != digest);
    }

    /// The digests, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Digest> {
        self.0.iter()
    }
}

/// The part that every version of Cairn reads and writes, for ever in this shape.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Header {
    /// The last revision that was committed. It says what to want should the boot cell become unreadable.
    pub default: Known,
    /// Attempts spent by what is on trial, as far as the journal counts them: trials in place, or the last boot of a
    /// trial that stored a sign of life.
    pub attempts: u8,
    /// What was tried and found bad.
    pub condemned: Condemned,
}

/// The part that may grow with versions.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Body {
    /// The latest update.
    pub record: Record,
    /// Whether a cold boot has proven the default.
    pub proven: bool,
    /// The revision whose boot was opened and neither ended in order nor lasted.
    pub open: Option<RevisionId>,
    /// How boots of the default ended.
    pub ends: Ends,
    /// Reboots by policy since the default was committed.
    pub reboots: Vec<PolicyReboots, CAUSES_MAX>,
    /// The default for which recovery has already renewed the boot list.
    pub rescued: Option<RevisionId>,
}

/// What a device remembers across power cuts: one value, replaced as a whole.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Journal {
    /// Read and written by every version.
    pub header: Header,
    /// Read and written by versions that know its shape.
    pub body: Body,
}

impl Journal {
    /// The journal of a device as it leaves the factory: the default is proven, nothing was tried.
    #[must_use]
    pub fn factory(default: Known) -> Self {
        let record = Record::Committed(default.revision.clone());
        Self {
            header: Header { default, attempts: 0, condemned: Condemned::default() },
            body: Body { record, proven: true, open: None, ends: Ends::default(), reboots: Vec::new(), rescued: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_condemned_digest_makes_room_for_the_newest() {
        let mut condemned = Condemned::default();
        (0..=CONDEMNED_MAX as u8).for_each(|n| condemned.add(Digest([n; 32])));
        assert!(!condemned.holds(&Digest([0; 32])));
        assert!(condemned.holds(&Digest([1; 32])));
        assert!(condemned.holds(&Digest([CONDEMNED_MAX as u8; 32])));
    }

    #[test]
    fn a_digest_is_held_once() {
        let mut condemned = Condemned::default();
        condemned.add(Digest([1; 32]));
        condemned.add(Digest([1; 32]));
        assert_eq!(condemned.iter().count(), 1);
        condemned.forgive(&Digest([1; 32]));
        assert_eq!(condemned.iter().count(), 0);
    }
}
