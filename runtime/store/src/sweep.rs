//! Collecting garbage: what no root names goes, and nothing else in this crate removes a revision, a volume or an object.
//!
//! ```text
//!   roots ──▶ trails/<kept>/.pvr/json ──▶ objects that stay
//!       ├───▶ trails/<kept>/.pv/volumes ─▶ disks/rev/<key> that stay, and pv/volume-disk/*/rev/<key>
//!       └───▶ logs/<kept>
//! ```
//!
//! Everything is read before anything is removed, and what cannot be read stops the sweep: garbage costs room, a wrong
//! sweep costs the device. What stays is decided by names and states, never by the count of a file's links. Revisions
//! go first, then volumes and logs, then objects, so that a power cut leaves a kept revision whole; the next sweep goes on.
//!
//! The caller must not sweep unless boot cells and journal were read whole, nor while objects arrive for a revision
//! that is not among the roots.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use formats::object::ObjectId;
use formats::state::Revision;
use statemachine::ids::RevisionId;

use crate::dir::{Dir, DirError, is_dir};
use crate::objects::{ObjectError, Objects};
use crate::shelf::{Leftover, Shelf};
use crate::trails::{TrailError, Trails};
use crate::tree;

/// The disks that are directories of the storage.
const VOLUME_DISKS: &str = "pv/volume-disk";

/// Why a revision stays, the most pressing reason first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// It runs.
    Running,
    /// It boots when nothing is tried.
    Default,
    /// The one before.
    Previous,
    /// The one that the device was made with.
    Factory,
    /// An update to it is under way.
    InFlight,
    /// It was posted and has not run yet.
    Posted,
    /// A person wants it kept.
    Pinned,
    /// Something of it is mounted.
    Mounted,
}

/// What stays.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Roots {
    revisions: BTreeMap<RevisionId, Reason>,
    objects: BTreeSet<ObjectId>,
}

/// What a sweep removed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Swept {
    /// Trails.
    pub revisions: u64,
    /// Directories of `disks/rev`, also on disks of their own.
    pub volumes: u64,
    /// Directories of `logs`.
    pub logs: u64,
    /// Objects.
    pub objects: u64,
    /// What that freed, in bytes as the file system counts them.
    pub bytes: u64,
    /// What could not be removed and why. The next sweep tries again.
    pub left: Vec<SweepError>,
}

/// Why a sweep did not begin, or what it had to leave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SweepError {
    /// Neither a running nor a default revision was named.
    NoRoots,
    /// A revision that runs or boots is not here.
    Absent {
        /// The revision.
        revision: Box<RevisionId>,
        /// Why it should be.
        reason: Reason,
    },
    /// A revision that stays cannot be read, so nobody knows what it needs.
    Unreadable {
        /// The revision.
        revision: Box<RevisionId>,
        /// Why.
        why: Box<TrailError>,
    },
    /// An object.
    Object(ObjectError),
    /// The storage.
    Dir(DirError),
}

impl From<DirError> for SweepError {
    fn from(error: DirError) -> Self {
        Self::Dir(error)
    }
}

impl fmt::Display for SweepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoots => f.write_str("nothing was removed: it is not known which revision runs or boots"),
            Self::Absent { revision, reason } => {
                write!(f, "nothing was removed: revision {revision} ({reason:?}) is not on this device; stage it again")
            }
            Self::Unreadable { revision, why } => {
                write!(f, "nothing was removed: revision {revision} stays and cannot be read: {why}")
            }
            Self::Object(error) => fmt::Display::fmt(error, f),
            Self::Dir(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for SweepError {}

impl Roots {
    /// Nothing yet. A sweep with it is refused.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a revision, its objects and its volumes. Of several reasons the most pressing is remembered.
    pub fn keep(&mut self, revision: RevisionId, reason: Reason) {
        let known = self.revisions.entry(revision).or_insert(reason);
        *known = reason.min(*known);
    }

    /// Keeps the objects of a state that has no trail yet.
    pub fn keep_objects_of(&mut self, revision: &Revision) {
        self.objects.extend(objects_of(revision));
    }

    /// Keeps objects that arrived for a state that is not here yet.
    pub fn keep_objects(&mut self, objects: impl IntoIterator<Item = ObjectId>) {
        self.objects.extend(objects);
    }

    /// Why a revision stays; `None` if it does not.
    #[must_use]
    pub fn reason(&self, revision: &RevisionId) -> Option<Reason> {
        self.revisions.get(revision).copied()
    }

    /// The revisions that stay.
    pub fn iter(&self) -> impl Iterator<Item = (&RevisionId, Reason)> {
        self.revisions.iter().map(|(revision, reason)| (revision, *reason))
    }
}

/// Removes every revision, volume and object that does not follow from the roots.
///
/// # Errors
/// [`SweepError`]: nothing was removed. What fails later is in [`Swept::left`].
pub fn sweep(trails: &Trails, objects: &Objects, roots: &Roots) -> Result<Swept, SweepError> {
    let kept = Kept::by(trails, roots)?;
    let doomed_trails = doomed(trails.shelf(), |id| roots.revisions.contains_key(id))?;
    let shelf = |path: &str| Ok::<_, DirError>(trails.storage().sub_if_any(path)?.map(Shelf::new));
    let mut disks = Vec::new();
    for path in revision_volumes(trails.storage())? {
        if let Some(shelf) = shelf(&path)? {
            let doomed = doomed(&shelf, |key| kept.keys.contains(key))?;
            disks.push((shelf, doomed));
        }
    }
    let logs = shelf("logs")?;
    let doomed_logs = logs.as_ref().map(|logs| doomed(logs, |id| roots.revisions.contains_key(id))).transpose()?;
    let mut doomed_objects = Vec::new();
    objects.each(|id| {
        if !kept.objects.contains(&id) {
            doomed_objects.push(id);
        }
    })?;

    let mut swept = Swept::default();
    swept.revisions = swept.retire(trails.shelf(), &doomed_trails);
    for (shelf, doomed) in &disks {
        swept.volumes += swept.retire(shelf, doomed);
    }
    if let (Some(logs), Some(doomed)) = (&logs, &doomed_logs) {
        swept.logs = swept.retire(logs, doomed);
    }
    for id in doomed_objects {
        if swept.take(objects.remove(id).map_err(SweepError::Object)) {
            swept.objects += 1;
        }
    }
    if let Err(error) = objects.sync() {
        swept.left.push(error.into());
    }
    Ok(swept)
}

/// Every directory of `revision` volumes: that of the storage, and one on each disk that is a directory of it.
fn revision_volumes(storage: &Dir) -> Result<Vec<String>, DirError> {
    let mut found = vec!["disks/rev".to_owned()];
    if let Some(disks) = storage.sub_if_any(VOLUME_DISKS)? {
        disks.each_name(|name| {
            if let Ok(name) = name.to_str()
                && disks.stat(name)?.is_some_and(|stat| is_dir(&stat))
            {
                found.push(format!("{VOLUME_DISKS}/{name}/rev"));
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// Removes a directory of the storage with all that is in it, if it is there: what a volume that ends with a boot has from
/// an earlier one.
///
/// # Errors
/// It cannot be removed, or not all of it.
pub fn discard(storage: &Path, path: &str) -> Result<(), DirError> {
    let storage = Dir::open(storage)?;
    if storage.stat(path)?.is_none() {
        return Ok(());
    }
    let (parent, leaf) = storage.parent(path)?;
    tree::remove(&parent, leaf).map(drop)
}

/// Takes back the trail of a revision that was staged and has never run: nothing but that trail goes. It tells how many
/// bytes that freed. A revision that a root names stays.
///
/// # Errors
/// It cannot be removed; the next sweep tries again.
pub fn withdraw(trails: &Trails, id: &RevisionId, roots: &Roots) -> Result<u64, DirError> {
    match roots.reason(id) {
        None if trails.shelf().get(id)?.is_some() => trails.shelf().retire(id),
        _ => Ok(0),
    }
}

impl Swept {
    /// Removes these directories and what earlier sweeps left of others; it tells how many of these went.
    fn retire(&mut self, shelf: &Shelf, doomed: &[RevisionId]) -> u64 {
        self.take(shelf.clear(&[Leftover::Old]).map_err(SweepError::Dir));
        let gone = doomed.iter().filter(|id| self.take(shelf.retire(id).map_err(SweepError::Dir)));
        gone.count() as u64
    }

    /// Counts what was freed, or remembers why nothing was.
    fn take(&mut self, done: Result<u64, SweepError>) -> bool {
        match done {
            Ok(bytes) => self.bytes = self.bytes.saturating_add(bytes),
            Err(ref error) => self.left.push(error.clone()),
        }
        done.is_ok()
    }
}

/// What the kept revisions need.
struct Kept {
    objects: BTreeSet<ObjectId>,
    keys: BTreeSet<RevisionId>,
}

impl Kept {
    fn by(trails: &Trails, roots: &Roots) -> Result<Self, SweepError> {
        let must_be_here = |reason| matches!(reason, Reason::Running | Reason::Default);
        if !roots.iter().any(|(_, reason)| must_be_here(reason)) {
            return Err(SweepError::NoRoots);
        }
        // A revision's own name is a key even if its trail is not here: it may be staged again.
        let mut kept = Self { objects: roots.objects.clone(), keys: roots.revisions.keys().cloned().collect() };
        for (id, reason) in roots.iter() {
            let revision = || id.clone().into();
            match trails.shelf().get(id).map_err(TrailError::Dir) {
                Ok(None) if must_be_here(reason) => return Err(SweepError::Absent { revision: revision(), reason }),
                Ok(None) => {}
                Ok(Some(_)) => kept
                    .add(trails, id)
                    .map_err(|why| SweepError::Unreadable { revision: revision(), why: why.into() })?,
                Err(why) => return Err(SweepError::Unreadable { revision: revision(), why: why.into() }),
            }
        }
        Ok(kept)
    }

    fn add(&mut self, trails: &Trails, id: &RevisionId) -> Result<(), TrailError> {
        let revision = trails.read(id)?;
        self.objects.extend(objects_of(&revision));
        self.keys.extend(trails.volume_keys(id, &revision)?.keys().cloned());
        Ok(())
    }
}

/// The objects that a state names, also those of paths that only tools read.
fn objects_of(revision: &Revision) -> impl Iterator<Item = ObjectId> {
    revision.entries().filter_map(|entry| entry.object_id())
}

fn doomed(shelf: &Shelf, stays: impl Fn(&RevisionId) -> bool) -> Result<Vec<RevisionId>, DirError> {
    Ok(shelf.list()?.into_iter().filter(|id| !stays(id)).collect())
}

#[cfg(test)]
mod tests;
