//! The boot environment: one file for the firmware and for Linux, and the labels that say which slot holds what.
//!
//! ```text
//!   store   labels of both slots ──▶ which partition is the default's, which the trial's ──▶ autoboot.txt, one sector
//!   load    autoboot.txt ──▶ Wanted; a firmware of this kind leaves no note
//! ```

use boards_api::BootEnv;
use boards_api::cell::{Cell, CellError, OneSector};
use boards_api::media::{SECTOR, Sectors};
use formats::bootenv::autoboot::{self, Partitions};
use formats::bootenv::label;
use formats::bootenv::uboot::Head;
use statemachine::boot::{Note, Spent, Wanted};
use statemachine::ids::RevisionId;

use crate::{FIRST_PARTITION, LABEL_AT, SLOTS};

/// `autoboot.txt`, and the sectors of both slots.
#[derive(Clone, Debug)]
pub struct Autoboot<S> {
    file: OneSector<S>,
    slots: [S; SLOTS.len()],
}

/// Why `Wanted` could not be loaded or stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrybootError<E> {
    /// The file could not be read or replaced.
    Cell(CellError<E>),
    /// The file is torn or not ours, or the value has no place in it.
    Format(formats::bootenv::Error),
    /// No slot holds the default, or none but that of the default holds the trial: there is no partition to name.
    NotHeld,
}

impl<E: core::fmt::Display> core::fmt::Display for TrybootError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Cell(error) => write!(f, "autoboot.txt: {error}"),
            Self::Format(error) => write!(f, "autoboot.txt: {error}"),
            Self::NotHeld => f.write_str("autoboot.txt: the slots do not hold what it should name; place it first"),
        }
    }
}

impl<E: core::error::Error> core::error::Error for TrybootError<E> {}

/// Which partitions to name; `holds` says whether a slot, by its index, holds a revision. A trial lies in another slot than
/// the default: in the same one the firmware would boot what it boots anyway.
pub(crate) fn partitions(wanted: &Wanted, mut holds: impl FnMut(u8, &RevisionId) -> bool) -> Option<Partitions> {
    let slots = || 0..u8::try_from(SLOTS.len()).unwrap_or(u8::MAX);
    let default = slots().find(|slot| holds(*slot, &wanted.default))?;
    let trial = match &wanted.trial {
        Some(trial) => slots().find(|slot| *slot != default && holds(*slot, &trial.revision))?,
        // A request that is left over boots the default.
        None => default,
    };
    Some(Partitions { default: default + FIRST_PARTITION, trial: trial + FIRST_PARTITION })
}

impl<S: Sectors> Autoboot<S> {
    /// An environment over this file and the partitions of the slots, in their order.
    #[must_use]
    pub fn new(file: OneSector<S>, slots: [S; SLOTS.len()]) -> Self {
        Self { file, slots }
    }

    /// Whether a slot has a whole label with this name. One that cannot be read holds nothing.
    fn holds(&mut self, slot: u8, revision: &RevisionId) -> bool {
        let mut sector = [0; SECTOR];
        let read = self.slots.get_mut(usize::from(slot)).map(|slot| slot.read(LABEL_AT, &mut sector));
        matches!(read, Some(Ok(()))) && label::decode(&sector, Head::Plain).is_ok_and(|held| held.holds(revision))
    }
}

impl<S: Sectors> BootEnv for Autoboot<S> {
    type Error = TrybootError<S::Error>;

    fn load(&mut self) -> (Result<Wanted, Self::Error>, Note) {
        let mut file = [0; autoboot::FILE];
        let wanted = self.file.read(&mut file).map_err(TrybootError::Cell);
        let wanted = wanted.and_then(|_| autoboot::decode(&file).map_err(TrybootError::Format));
        (wanted.map(|(wanted, _)| wanted), Note::Read(Spent::default()))
    }

    fn store(&mut self, wanted: &Wanted) -> Result<(), Self::Error> {
        let partitions = partitions(wanted, |slot, revision| self.holds(slot, revision));
        let partitions = partitions.ok_or(TrybootError::NotHeld)?;
        let file = autoboot::encode(wanted, partitions).map_err(TrybootError::Format)?;
        self.file.replace(&file).map_err(TrybootError::Cell)
    }
}
