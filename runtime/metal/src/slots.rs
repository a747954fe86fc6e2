//! Slots: a boot image and the label that names it, written so that a label always means a whole image.
//!
//! ```text
//!   place   label ··· ▸ label ··· ▸ image, in pieces ▸ read back, hashed ▸ label 3 ▸ label 3      each write durable
//!   share   label 2   ▸ label 2 3   ▸ its copy                              the image stays as it is
//!   cut     anywhere: the slot holds nothing, or what its label names; every other slot is as it was
//! ```
//!
//! Which slot it is, [`boards_api::slots::choose`] says: never that of the default or of what runs. Laws kept here: while the
//! boot cell names anything in a slot, its image is not touched; and a name stands in the label of one slot, because a
//! firmware takes the slot in which it finds it, whatever was meant by that name once.

use std::fmt;
use std::io::{self, Read};

use boards_api::media::{SECTOR, Sectors};
use boards_api::slots::{Choice, Shape, Slot, choose};
use formats::bootenv::label;
use formats::object::{Hasher, ObjectId};
use statemachine::boot::Wanted;
use statemachine::ids::RevisionId;
use statemachine::update::Evicts;

/// Bytes that are in memory at once, whole sectors.
const PIECE: usize = 256 * 1024;

/// What goes into a slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// Its file, for a person.
    pub name: String,
    /// What its bytes must be.
    pub id: ObjectId,
    /// How many they are.
    pub length: u64,
}

/// Why nothing was placed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlotError {
    /// Every slot holds the default or what runs.
    NoneFree,
    /// The image has no bytes.
    Empty(String),
    /// The image is longer than a slot.
    TooLarge {
        /// The image.
        image: String,
        /// Its bytes.
        length: u64,
        /// The slot.
        slot: &'static str,
        /// What it has room for.
        room: u64,
    },
    /// The boot cell names what the slot holds.
    Named(&'static str),
    /// The image has something in a sector that is the label's.
    Reserved {
        /// The image.
        image: String,
        /// The byte at which the label lies, from the start of the image.
        at: u64,
    },
    /// The image could not be read, or is not as long as it was.
    Source {
        /// The image.
        image: String,
        /// The answer.
        why: String,
    },
    /// The slot could not be read or written.
    Medium {
        /// What was attempted.
        doing: &'static str,
        /// The image, where it was about one.
        image: Option<String>,
        /// The slot.
        slot: &'static str,
        /// The answer.
        why: String,
    },
    /// The slot gives other bytes back.
    Differs {
        /// The image.
        image: String,
        /// The slot.
        slot: &'static str,
    },
    /// The names of a slot have no room in its label.
    Label {
        /// The slot.
        slot: &'static str,
        /// The answer.
        why: formats::bootenv::Error,
    },
    /// No label names this revision.
    NotHeld(RevisionId),
}

impl fmt::Display for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoneFree => f.write_str("every slot holds the default or what runs; reboot into the default first"),
            Self::Empty(image) => write!(f, "{image} is empty, and nothing could start it"),
            Self::TooLarge { image, length, slot, room } => {
                write!(f, "{image} has {length} bytes, and slot {slot} has room for {room}")
            }
            Self::Named(slot) => write!(f, "slot {slot} holds what the boot cell names, and is not written"),
            Self::Reserved { image, at } => {
                write!(
                    f,
                    "{image} has something at byte {at}, in the sector of the slot's label; it must be zeros there"
                )
            }
            Self::Source { image, why } => write!(f, "{image} cannot be read: {why}"),
            Self::Medium { doing, image: Some(image), slot, why } => {
                write!(f, "{doing} {image} in slot {slot}: {why}")
            }
            Self::Medium { doing, image: None, slot, why } => write!(f, "{doing} slot {slot}: {why}"),
            Self::Differs { image, slot } => {
                write!(f, "slot {slot} does not give back the bytes of {image}; its flash may be worn out")
            }
            Self::Label { slot, why } => {
                write!(
                    f,
                    "slot {slot} cannot take one more name: {why}; this revision needs a slot and a boot of its own"
                )
            }
            Self::NotHeld(revision) => write!(f, "no slot is labelled with {revision}; update to it again"),
        }
    }
}

impl std::error::Error for SlotError {}

/// All slots of a device, in the order of its board.
#[derive(Clone, Debug)]
pub struct Slots<S> {
    shape: Shape,
    slots: Vec<(&'static str, S)>,
    /// The one that this boot is from.
    booted: Option<Slot>,
}

impl<S: Sectors> Slots<S> {
    /// Slots of this shape: the name of each, and its sectors. What runs is in the slot that was `booted`, whatever its label
    /// says by now.
    #[must_use]
    pub fn new(shape: Shape, slots: Vec<(&'static str, S)>, booted: Option<Slot>) -> Self {
        Self { shape, slots, booted }
    }

    /// The media again.
    pub fn media(&mut self) -> impl Iterator<Item = &mut S> {
        self.slots.iter_mut().map(|(_, sectors)| sectors)
    }

    /// What each slot holds, as its firmware reads it: its name, and the names in the first copy of the label that has any.
    pub fn held(&mut self) -> Vec<(&'static str, Vec<RevisionId>)> {
        let shape = self.shape;
        self.slots.iter_mut().map(|(name, sectors)| (*name, names(shape, sectors).unwrap_or_default())).collect()
    }

    /// The same for who is about to write: a label that the medium does not give back may be that of the default.
    fn read(&mut self, running: Option<&RevisionId>) -> Result<Vec<Vec<RevisionId>>, SlotError> {
        let (shape, booted) = (self.shape, self.booted);
        let read = self.slots.iter_mut().enumerate().map(|(index, (slot, sectors))| {
            let mut held = names(shape, sectors).map_err(|error| SlotError::Medium {
                doing: "reading the label of",
                image: None,
                slot,
                why: error.to_string(),
            })?;
            let runs = running.filter(|_| booted.is_some_and(|slot| usize::from(slot.0) == index));
            held.extend(runs.filter(|runs| !held.contains(runs)).cloned());
            Ok(held)
        });
        read.collect()
    }

    /// Whether a slot holds a revision.
    pub fn holds(&mut self, revision: &RevisionId) -> bool {
        self.held().iter().any(|(_, held)| held.contains(revision))
    }

    /// The slot that a firmware would start for a revision, if that gives its image back.
    ///
    /// # Errors
    /// [`SlotError::NotHeld`], [`SlotError::Differs`]
    pub fn verify(&mut self, revision: &RevisionId, image: &Image) -> Result<&'static str, SlotError> {
        let held = self.held();
        let index = held.iter().rposition(|(_, held)| held.contains(revision));
        let index = index.ok_or_else(|| SlotError::NotHeld(revision.clone()))?;
        let (slot, _) = self.get(index)?;
        if self.is_whole(index, image) { Ok(slot) } else { Err(SlotError::Differs { image: image.name.clone(), slot }) }
    }

    /// Whether there is an image, and it fits into every slot; which one it will be is not known before it is placed.
    ///
    /// # Errors
    /// [`SlotError::Empty`], [`SlotError::TooLarge`]
    pub fn check_room(&self, image: &Image) -> Result<(), SlotError> {
        // Nothing would be written for it, and what the slot had would start by its name.
        if image.length == 0 {
            return Err(SlotError::Empty(image.name.clone()));
        }
        self.slots.iter().try_for_each(|(slot, sectors)| {
            let room = sectors.size().saturating_sub(self.shape.image);
            if image.length <= room {
                return Ok(());
            }
            Err(SlotError::TooLarge { image: image.name.clone(), length: image.length, slot, room })
        })
    }

    /// What has to go from the boot cell before an image is placed for `revision`.
    ///
    /// # Errors
    /// There is no slot for it, or it is too small.
    pub fn evicts(
        &mut self,
        revision: &RevisionId,
        running: Option<&RevisionId>,
        wanted: &Wanted,
        image: &Image,
    ) -> Result<Evicts, SlotError> {
        let (choice, held) = self.choose(revision, running, wanted)?;
        self.check_room(image)?;
        let keeps = held.contains(revision) && self.is_whole(choice.slot.0.into(), image);
        Ok(if keeps { Evicts::default() } else { choice.evicts })
    }

    /// Writes an image, and the name of its revision. Nothing is written where the slot holds both already.
    ///
    /// # Errors
    /// [`SlotError`]: the slot holds nothing, or what it held.
    pub fn place(
        &mut self,
        revision: &RevisionId,
        running: Option<&RevisionId>,
        wanted: &Wanted,
        image: &Image,
        source: &mut impl Read,
    ) -> Result<(), SlotError> {
        let (choice, held) = self.choose(revision, running, wanted)?;
        self.check_room(image)?;
        if !(held.contains(revision) && self.is_whole(choice.slot.0.into(), image)) {
            let trial = wanted.trial.as_ref().is_some_and(|trial| held.contains(&trial.revision));
            if choice.evicts != Evicts::default() || trial {
                return Err(SlotError::Named(self.name(choice)));
            }
            self.write(choice, image, source)?;
            if !self.is_whole(choice.slot.0.into(), image) {
                return Err(SlotError::Differs { image: image.name.clone(), slot: self.name(choice) });
            }
            self.label(usize::from(choice.slot.0), std::slice::from_ref(revision))?;
        }
        self.forget_elsewhere(usize::from(choice.slot.0), revision)
    }

    /// Names `revision`, which boots the same image, beside `running` in the label of that one's slot. Names that nothing
    /// wants any more make room for it.
    ///
    /// # Errors
    /// [`SlotError`]: the slot holds what it held, and possibly `revision` too.
    pub fn share(&mut self, revision: &RevisionId, running: &RevisionId, wanted: &Wanted) -> Result<(), SlotError> {
        let mut held = self.read(Some(running))?.into_iter().enumerate();
        let own = held.find(|(_, held)| held.contains(running));
        let (index, held) = own.ok_or_else(|| SlotError::NotHeld(running.clone()))?;
        if !held.contains(revision) {
            let named = |held: &RevisionId| {
                let others = [wanted.previous.as_ref(), wanted.factory.as_ref(), Some(&wanted.default), Some(running)];
                let trial = wanted.trial.as_ref().map(|trial| &trial.revision);
                others.contains(&Some(held)) || trial == Some(held)
            };
            let mut names: Vec<_> = held.into_iter().filter(named).collect();
            names.push(revision.clone());
            self.label(index, &names)?;
        }
        self.forget_elsewhere(index, revision)
    }

    fn choose(
        &mut self,
        revision: &RevisionId,
        running: Option<&RevisionId>,
        wanted: &Wanted,
    ) -> Result<(Choice, Vec<RevisionId>), SlotError> {
        let mut held = self.read(running)?;
        let choice = choose(&held, revision, running, wanted).ok_or(SlotError::NoneFree)?;
        Ok((choice, held.swap_remove(usize::from(choice.slot.0))))
    }

    fn name(&self, choice: Choice) -> &'static str {
        self.slots.get(usize::from(choice.slot.0)).map_or("", |(name, _)| *name)
    }

    fn get(&mut self, index: usize) -> Result<(&'static str, &mut S), SlotError> {
        self.slots.get_mut(index).map(|(name, sectors)| (*name, sectors)).ok_or(SlotError::NoneFree)
    }

    /// Whether the medium gives an image back.
    fn is_whole(&mut self, index: usize, image: &Image) -> bool {
        let (start, labels) = (self.shape.image, self.shape.labels);
        let Ok((_, sectors)) = self.get(index) else { return false };
        let (mut hasher, mut piece, mut done) = (Hasher::default(), vec![0; PIECE], 0);
        while done < image.length {
            let length = usize::try_from(image.length - done).unwrap_or(PIECE).min(PIECE);
            let Some(bytes) = piece.get_mut(..length) else { return false };
            if sectors.read(start + done, bytes).is_err() {
                return false;
            }
            // A label within the image stands where the image has zeros.
            labels.iter().filter_map(|at| within(*at, start + done, length)).for_each(|range| {
                bytes.get_mut(range).unwrap_or_default().fill(0);
            });
            hasher.update(bytes);
            done += length as u64;
        }
        hasher.finish() == image.id
    }

    /// Wipes the label, then writes the image behind it.
    fn write(&mut self, choice: Choice, image: &Image, source: &mut impl Read) -> Result<(), SlotError> {
        let (start, labels) = (self.shape.image, self.shape.labels);
        let (slot, sectors) = self.get(choice.slot.0.into())?;
        let medium = |doing: &'static str, why: &dyn fmt::Display| SlotError::Medium {
            doing,
            image: Some(image.name.clone()),
            slot,
            why: why.to_string(),
        };
        let unread = |why: String| SlotError::Source { image: image.name.clone(), why };
        let (mut piece, mut done) = (vec![0; PIECE], 0);
        while done < image.length {
            let length = usize::try_from(image.length - done).unwrap_or(PIECE).min(PIECE);
            let whole = length.next_multiple_of(SECTOR);
            let bytes = piece.get_mut(..whole).unwrap_or_default();
            let (bytes_of_image, padding) = bytes.split_at_mut_checked(length).unwrap_or_default();
            source.read_exact(bytes_of_image).map_err(|error| unread(error.to_string()))?;
            padding.fill(0);
            for at in labels {
                let taken = within(*at, start + done, bytes.len()).and_then(|range| bytes.get(range));
                if taken.is_some_and(|taken| taken.iter().any(|byte| *byte != 0)) {
                    return Err(SlotError::Reserved { image: image.name.clone(), at: at - start });
                }
            }
            if done == 0 {
                wipe(labels, sectors).map_err(|error| medium("making room for", &error))?;
            }
            sectors.write(start + done, bytes).map_err(|error| medium("writing", &error))?;
            done += length as u64;
        }
        match source.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(unread(format!("it has more than {} bytes", image.length))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(unread(error.to_string())),
        }
    }

    /// Replaces the label of a slot, copy after copy; a copy that lags behind is brought up before.
    fn label(&mut self, index: usize, names: &[RevisionId]) -> Result<(), SlotError> {
        let shape = self.shape;
        let (slot, sectors) = self.get(index)?;
        let bytes = label::encode(names, shape.head).map_err(|why| SlotError::Label { slot, why })?;
        let replaced = match copy(shape, sectors) {
            Ok(Some(old)) => repair(shape, sectors, &old),
            // None that could be read: the new one is better than none.
            Ok(None) | Err(_) => Ok(()),
        };
        let replaced = replaced.and_then(|()| shape.labels.iter().try_for_each(|at| sectors.write(*at, &bytes)));
        replaced.map_err(|error| SlotError::Medium { doing: "labelling", image: None, slot, why: error.to_string() })
    }

    /// Takes a name from every slot but this one.
    fn forget_elsewhere(&mut self, index: usize, revision: &RevisionId) -> Result<(), SlotError> {
        for (other, (slot, mut held)) in self.held().into_iter().enumerate() {
            if other == index || !held.contains(revision) {
                continue;
            }
            held.retain(|held| held != revision);
            if held.is_empty() {
                let labels = self.shape.labels;
                let (_, sectors) = self.get(other)?;
                wipe(labels, sectors).map_err(|error| SlotError::Medium {
                    doing: "emptying",
                    image: None,
                    slot,
                    why: error.to_string(),
                })?;
            } else {
                self.label(other, &held)?;
            }
        }
        Ok(())
    }
}

/// The names in a slot's label. An error: the medium gives no copy of it back.
fn names<S: Sectors>(shape: Shape, sectors: &mut S) -> Result<Vec<RevisionId>, S::Error> {
    let copy = copy(shape, sectors)?;
    Ok(copy.and_then(|bytes| Some(label::decode(&bytes, shape.head).ok()?.iter().collect())).unwrap_or_default())
}

/// The first copy of a label that names something.
fn copy<S: Sectors>(shape: Shape, sectors: &mut S) -> Result<Option<[u8; SECTOR]>, S::Error> {
    let (mut bytes, mut failed, mut read) = ([0; SECTOR], None, false);
    for at in shape.labels {
        match sectors.read(*at, &mut bytes) {
            Ok(()) if label::decode(&bytes, shape.head).is_ok_and(|held| held.iter().next().is_some()) => {
                return Ok(Some(bytes));
            }
            Ok(()) => read = true,
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if !read => Err(error),
        _ => Ok(None),
    }
}

fn repair<S: Sectors>(shape: Shape, sectors: &mut S, whole: &[u8; SECTOR]) -> Result<(), S::Error> {
    shape.labels.iter().try_for_each(|at| {
        let mut bytes = [0; SECTOR];
        match sectors.read(*at, &mut bytes) {
            Ok(()) if bytes == *whole => Ok(()),
            _ => sectors.write(*at, whole),
        }
    })
}

fn wipe<S: Sectors>(labels: &[u64], sectors: &mut S) -> Result<(), S::Error> {
    labels.iter().try_for_each(|at| sectors.write(*at, &[0; SECTOR]))
}

/// Where in `length` bytes from `start` the sector at `at` lies.
fn within(at: u64, start: u64, length: usize) -> Option<std::ops::Range<usize>> {
    let at = usize::try_from(at.checked_sub(start)?).ok().filter(|at| *at < length)?;
    Some(at..at.saturating_add(SECTOR).min(length))
}

#[cfg(test)]
mod tests;
