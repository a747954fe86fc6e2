//! `trails/<revision>/`: the revisions that a device has, each a directory that boot scripts and tools can read.
//!
//! ```text
//!   trails/7/  .pvr/json      the state, byte for byte      .pvr/config   where the objects are, for tools
//!              .pv/pv-kernel.img, pv-initrd.img[.0 .1 …], pv-fdt.dtb, pantavisor.fit, rpiboot.img[.gz]   links: what boots
//!              .pv/volumes    see [`crate::volumes`]        .pv/progress, done, commitmsg                reports
//!              web/root.squashfs   a link to objects/<id>   web/run.json   the text of the value
//! ```
//!
//! A trail is built beside its place, synced and renamed, so what has the name of a revision is whole; that a reader
//! which replays no journal sees it too is for the barrier before the boot cells are written. Only what was verified is
//! staged. Reports are for people, tools and hubs: nothing in here reads them to decide.
//!
//! API: [`Trails::stage`], [`Trails::load`], [`Trails::check`], [`Trails::list`], [`Trails::report`].

use std::collections::BTreeSet;
use std::fmt;

use formats::bsp_json::{Boot, Bsp};
use formats::document::DocumentError;
use formats::json::{Json, Limits};
use formats::object::ObjectId;
use formats::progress;
use formats::state::{Class, Revision, StateError};
use formats::verify::Verified;
use statemachine::ids::RevisionId;

use crate::dir::{Dir, DirError};
use crate::objects::{ObjectError, Objects};
use crate::shelf::{Draft, Leftover, Shelf};
use crate::volumes::{self, VolumeKeys};

/// The revisions of a device.
#[derive(Debug)]
pub struct Trails {
    storage: Dir,
    shelf: Shelf,
}

/// What became of a revision that was to be staged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Staged {
    /// It was written.
    New,
    /// It was here already; what was missing of it was put back.
    Already {
        /// The files that were put back.
        cured: Vec<String>,
    },
}

/// How much of a trail is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// Which files are there, and whose links they are.
    Links,
    /// The hash of every object too. It takes as long as reading all of them.
    Hashes,
}

/// What a trail keeps for people, tools and hubs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Note {
    /// `.pv/progress`: how far the update is.
    Progress,
    /// `.pv/done`: it was committed at least once.
    Done,
    /// `.pv/commitmsg`: what its maker says about it.
    CommitMessage,
}

/// Why a revision cannot be staged or used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TrailError {
    /// There is no such revision here.
    Missing(Box<RevisionId>),
    /// Another state has this name.
    Taken(Box<RevisionId>),
    /// The state on the disk is not the one that was verified.
    Changed(Box<RevisionId>),
    /// A file's object cannot be used.
    Object {
        /// The revision.
        revision: Box<RevisionId>,
        /// The path in it.
        key: String,
        /// Why.
        why: ObjectError,
    },
    /// What it boots cannot be read.
    Bsp {
        /// The revision.
        revision: Box<RevisionId>,
        /// Why.
        why: DocumentError,
    },
    /// A file that boots is not an object.
    NotAnObject {
        /// The revision.
        revision: Box<RevisionId>,
        /// The path in it.
        key: String,
    },
    /// The state on the disk cannot be read.
    State {
        /// The revision.
        revision: Box<RevisionId>,
        /// Why.
        why: StateError,
    },
    /// The keys of its volumes cannot be read.
    Volumes(Box<RevisionId>),
    /// The storage.
    Dir(DirError),
}

impl From<DirError> for TrailError {
    fn from(error: DirError) -> Self {
        Self::Dir(error)
    }
}

/// For callers with many steps: a large error is copied at each of them.
impl From<DirError> for Box<TrailError> {
    fn from(error: DirError) -> Self {
        Self::new(TrailError::Dir(error))
    }
}

impl fmt::Display for TrailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(id) => write!(f, "revision {id} is not on this device; stage it first"),
            Self::Taken(id) => write!(f, "revision {id} is here with another state; use another name or remove it"),
            Self::Changed(id) => write!(f, "revision {id}: its state is not the one that was verified; stage it anew"),
            Self::Object { revision, key, why } => write!(f, "revision {revision}: {key}: {why}"),
            Self::Bsp { revision, why } => write!(f, "revision {revision}: {why}"),
            Self::NotAnObject { revision, key } => {
                write!(f, "revision {revision}: {key} boots and must be an object, not text in the state")
            }
            Self::State { revision, why } => write!(f, "revision {revision} cannot be read: {why}"),
            Self::Volumes(id) => write!(f, "revision {id}: .pv/volumes cannot be read; restore it before collecting"),
            Self::Dir(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for TrailError {}

const STATE: &str = ".pvr/json";
const VOLUMES: &str = ".pv/volumes";
/// The longest commit message in bytes.
pub const COMMIT_MESSAGE_MAX: usize = 256;
/// The longest note that is read: a report of which every byte of the excerpt is escaped.
const NOTE_MAX: usize = 32 * 1024;

/// One file of a trail.
pub(crate) struct File<'r> {
    pub(crate) path: String,
    pub(crate) content: Content<'r>,
}

pub(crate) enum Content<'r> {
    Link(ObjectId),
    Text(&'r str),
}

impl Trails {
    /// Opens the trails of a device, making the directory on a new one.
    ///
    /// # Errors
    /// `trails` is not a directory, or there is no room for one.
    pub fn open(storage: &Dir) -> Result<Self, DirError> {
        Ok(Self { storage: storage.again()?, shelf: Shelf::new(storage.find_or_make_durably("trails")?) })
    }

    /// Writes the trail of a verified revision whose objects are here. `base` is the revision that it follows: its
    /// containers keep their `revision` volumes as long as their own files do not change.
    ///
    /// Staging twice is harmless. A trail without a state was cut short by a tool that writes in place, and is replaced.
    ///
    /// # Errors
    /// [`TrailError`] names the file; nothing of a trail is left that was not there before.
    pub fn stage(
        &self,
        revision: &Verified<Revision>,
        id: &RevisionId,
        base: Option<&RevisionId>,
        objects: &Objects,
    ) -> Result<Staged, TrailError> {
        if let Some(trail) = self.shelf.get(id)? {
            match trail.read_if_any(STATE, Limits::STATE.bytes)? {
                Some(text) if text == revision.text().as_bytes() => {
                    let cured = self.check(revision, id, objects, Depth::Links)?;
                    // An earlier call may have failed after the rename.
                    self.shelf.sync(id)?;
                    return Ok(Staged::Already { cured });
                }
                Some(_) => return Err(TrailError::Taken(id.clone().into())),
                None => self.shelf.retire(id)?,
            };
        }
        let keys = self.keys_after(revision, id, base)?;
        let files = files(revision, id)?;
        let draft = self.shelf.draft(id)?;
        match self.fill(&draft, revision, id, &files, &keys, objects) {
            Ok(()) => draft.publish()?,
            Err(error) => {
                // The first failure is the one to report; a draft that cannot be removed now is removed at boot.
                let _ = draft.discard();
                return Err(error);
            }
        }
        Ok(Staged::New)
    }

    fn fill(
        &self,
        draft: &Draft,
        revision: &Revision,
        id: &RevisionId,
        files: &[File<'_>],
        keys: &VolumeKeys,
        objects: &Objects,
    ) -> Result<(), TrailError> {
        let trail = &draft.dir;
        for file in files {
            file.write(trail, id, objects)?;
        }
        let config = Json::object().with("ObjectsDir", self.storage.name("objects").as_str()).compact();
        trail.make(".pvr")?.write_new("config", config.as_bytes())?;
        trail.make(".pv")?.write_new("volumes", keys.to_text().as_bytes())?;
        trail.write_new(STATE, revision.text().as_bytes())?;
        sync(trail, files.iter().map(|file| file.path.as_str()).chain([STATE, VOLUMES]))?;
        Ok(())
    }

    fn keys_after(
        &self,
        revision: &Revision,
        id: &RevisionId,
        base: Option<&RevisionId>,
    ) -> Result<VolumeKeys, TrailError> {
        let Some(base) = base.filter(|base| *base != id) else { return Ok(VolumeKeys::own(revision, id)) };
        let before = self.read(base)?;
        let keys = self.volume_keys(base, &before)?;
        Ok(VolumeKeys::following(revision, id, &before, &keys))
    }

    /// The raw bytes of a revision's state, to be parsed and verified.
    ///
    /// # Errors
    /// [`TrailError::Missing`], or it cannot be read.
    pub fn load(&self, id: &RevisionId) -> Result<Vec<u8>, TrailError> {
        let trail = self.get(id)?;
        trail.read_if_any(STATE, Limits::STATE.bytes)?.ok_or_else(|| TrailError::Missing(id.clone().into()))
    }

    /// The state of a revision, for what may be done with one that nobody verified: comparing and counting.
    pub(crate) fn read(&self, id: &RevisionId) -> Result<Revision, TrailError> {
        Revision::parse(&self.load(id)?).map_err(|why| TrailError::State { revision: id.clone().into(), why })
    }

    /// Which directories of `disks/rev` hold the volumes of a revision. `revision` is its state.
    ///
    /// # Errors
    /// [`TrailError::Volumes`], or the trail cannot be read.
    pub fn volume_keys(&self, id: &RevisionId, revision: &Revision) -> Result<VolumeKeys, TrailError> {
        match self.get(id)?.read_if_any(VOLUMES, volumes::TEXT_MAX)? {
            None => Ok(VolumeKeys::own(revision, id)),
            Some(bytes) => VolumeKeys::parse(&bytes).ok_or_else(|| TrailError::Volumes(id.clone().into())),
        }
    }

    /// The revisions that are here, sorted by name. What has no such name is left out.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Vec<RevisionId>, DirError> {
        self.shelf.list()
    }

    /// Compares a trail with its state and puts back what is missing or changed: links from the store, text from the
    /// state. An object that only the trail still has goes back to the store. It tells which files it put back.
    ///
    /// # Errors
    /// [`TrailError`] names the file that cannot be put back.
    pub fn check(
        &self,
        revision: &Verified<Revision>,
        id: &RevisionId,
        objects: &Objects,
        depth: Depth,
    ) -> Result<Vec<String>, TrailError> {
        let trail = self.get(id)?;
        if self.load(id)? != revision.text().as_bytes() {
            return Err(TrailError::Changed(id.clone().into()));
        }
        let mut hashed = BTreeSet::new();
        let mut cured = Vec::new();
        for file in files(revision, id)? {
            if file.check(&trail, id, objects, depth, &mut hashed)? {
                cured.push(file.path);
            }
        }
        sync(&trail, cured.iter().map(String::as_str))?;
        Ok(cured)
    }

    /// Writes how far the update to a revision is.
    ///
    /// # Errors
    /// There is no such trail, or no room.
    pub fn report(&self, id: &RevisionId, report: &progress::Report) -> Result<(), TrailError> {
        self.note(id, Note::Progress, report.to_text().as_bytes())
    }

    /// Notes that a revision was committed.
    ///
    /// # Errors
    /// There is no such trail, or no room.
    pub fn mark_done(&self, id: &RevisionId) -> Result<(), TrailError> {
        self.note(id, Note::Done, b"")
    }

    /// Notes what the maker of a revision says about it, at most [`COMMIT_MESSAGE_MAX`] bytes.
    ///
    /// # Errors
    /// It is too long, there is no such trail, or no room.
    pub fn set_commit_message(&self, id: &RevisionId, message: &str) -> Result<(), TrailError> {
        if message.len() > COMMIT_MESSAGE_MAX {
            let path = self.get(id)?.name(Note::CommitMessage.path());
            return Err(DirError::TooLarge { path, limit: COMMIT_MESSAGE_MAX }.into());
        }
        self.note(id, Note::CommitMessage, message.as_bytes())
    }

    /// What a note says, for people, tools and hubs; `None` if there is none. Nothing may be decided by it.
    ///
    /// # Errors
    /// There is no such trail, or it cannot be read.
    pub fn read_note(&self, id: &RevisionId, note: Note) -> Result<Option<Vec<u8>>, TrailError> {
        Ok(self.get(id)?.read_if_any(note.path(), NOTE_MAX)?)
    }

    fn note(&self, id: &RevisionId, note: Note, bytes: &[u8]) -> Result<(), TrailError> {
        let trail = self.get(id)?;
        // What stands there is not written again: most boots have nothing new to tell, and would wait for the medium.
        if matches!(trail.read_if_any(note.path(), bytes.len()), Ok(Some(old)) if old == bytes) {
            return Ok(());
        }
        trail.make(".pv")?;
        Ok(trail.replace(note.path(), bytes)?)
    }

    /// Removes what power cuts left of trails that were being built or removed. To be called at boot, before anything
    /// is staged; it tells how many bytes that freed.
    ///
    /// # Errors
    /// A leftover cannot be removed.
    pub fn clear_leftovers(&self) -> Result<u64, DirError> {
        self.shelf.clear(&[Leftover::New, Leftover::Old])
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    pub(crate) fn storage(&self) -> &Dir {
        &self.storage
    }

    fn get(&self, id: &RevisionId) -> Result<Dir, TrailError> {
        self.shelf.get(id)?.ok_or_else(|| TrailError::Missing(id.clone().into()))
    }
}

impl Note {
    fn path(self) -> &'static str {
        match self {
            Self::Progress => ".pv/progress",
            Self::Done => ".pv/done",
            Self::CommitMessage => ".pv/commitmsg",
        }
    }
}

impl File<'_> {
    pub(crate) fn write(&self, trail: &Dir, id: &RevisionId, objects: &Objects) -> Result<(), TrailError> {
        match self.content {
            Content::Link(object) => {
                objects.link(object, trail, &self.path).map_err(self.object_error(id))?;
            }
            Content::Text(text) => {
                if let Some((parent, _)) = self.path.rsplit_once('/') {
                    trail.make(parent)?;
                }
                trail.write_new(&self.path, text.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Puts it back if it is not as it should be: `true` then.
    fn check(
        &self,
        trail: &Dir,
        id: &RevisionId,
        objects: &Objects,
        depth: Depth,
        hashed: &mut BTreeSet<ObjectId>,
    ) -> Result<bool, TrailError> {
        match self.content {
            Content::Link(object) => {
                self.check_link(object, trail, objects, depth, hashed).map_err(self.object_error(id))
            }
            Content::Text(text) => {
                match trail.read_if_any(&self.path, text.len()) {
                    Ok(Some(bytes)) if bytes == text.as_bytes() => return Ok(false),
                    Ok(_) | Err(DirError::TooLarge { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
                if let Some((parent, _)) = self.path.rsplit_once('/') {
                    trail.make(parent)?;
                }
                trail.replace(&self.path, text.as_bytes())?;
                Ok(true)
            }
        }
    }

    fn check_link(
        &self,
        object: ObjectId,
        trail: &Dir,
        objects: &Objects,
        depth: Depth,
        hashed: &mut BTreeSet<ObjectId>,
    ) -> Result<bool, ObjectError> {
        let whole = match objects.is_linked(object, trail, &self.path) {
            Ok(linked) => linked,
            Err(ObjectError::Missing(_)) => {
                let mut own = match trail.file(&self.path) {
                    Err(error) if error.is_missing() => return Err(ObjectError::Missing(object)),
                    opened => opened?,
                };
                objects.put(object, &mut own, u64::MAX).map_err(|error| match error {
                    ObjectError::Refused { id, found } => ObjectError::Damaged { id, found },
                    error => error,
                })?;
                false
            }
            Err(error) => return Err(error),
        };
        // What had to be put back is worth a closer look, whatever was asked.
        if (depth == Depth::Hashes || !whole) && hashed.insert(object) {
            objects.verify(object)?;
        }
        objects.link(object, trail, &self.path)
    }

    pub(crate) fn object_error(&self, id: &RevisionId) -> impl Fn(ObjectError) -> TrailError {
        move |why| TrailError::Object { revision: id.clone().into(), key: self.path.clone(), why }
    }
}

/// What a firmware reads of a revision: paths in its trail, and whose bytes are found there.
///
/// # Errors
/// [`TrailError::Bsp`] and [`TrailError::NotAnObject`].
pub fn boot_files(revision: &Revision, id: &RevisionId) -> Result<Vec<(String, ObjectId)>, TrailError> {
    let boots = |file: File<'_>| match file.content {
        Content::Link(object) if file.path.starts_with(".pv/") => Some((file.path, object)),
        _ => None,
    };
    Ok(files(revision, id)?.into_iter().filter_map(boots).collect())
}

/// Every file that follows from a state: its paths, and the links that boot scripts look for.
pub(crate) fn files<'r>(revision: &'r Revision, id: &RevisionId) -> Result<Vec<File<'r>>, TrailError> {
    let mut files: Vec<File<'r>> = revision
        .entries()
        .filter_map(|entry| {
            let content = match entry.class {
                Class::Object(object) => Content::Link(object),
                Class::Manifest | Class::Services | Class::Inline => Content::Text(entry.raw),
                Class::Spec | Class::Ignored => return None,
            };
            Some(File { path: entry.key.to_owned(), content })
        })
        .collect();
    // Warnings are for whoever resolves the revision; here only what boots counts.
    let bsp = Bsp::of(revision, &mut Vec::new()).map_err(|why| TrailError::Bsp { revision: id.clone().into(), why })?;
    for (name, file) in bsp.iter().flat_map(boot_links) {
        let key = format!("bsp/{file}");
        let Some(Class::Object(object)) = revision.get(&key).map(|entry| entry.class) else {
            return Err(TrailError::NotAnObject { revision: id.clone().into(), key });
        };
        files.push(File { path: format!(".pv/{name}"), content: Content::Link(object) });
    }
    Ok(files)
}

/// The names that boot scripts know, and the files of `bsp/` behind them.
fn boot_links(bsp: &Bsp) -> Vec<(String, &str)> {
    let mut links: Vec<(String, &str)> = match &bsp.boot {
        Boot::Fit(fit) => vec![("pantavisor.fit".into(), fit)],
        Boot::Rpiab(image) if image.ends_with(".gz") => vec![("rpiboot.img.gz".into(), image)],
        Boot::Rpiab(image) => vec![("rpiboot.img".into(), image)],
        Boot::Linux { kernel, initrd, fdt } => {
            let fdt = fdt.iter().map(|fdt| ("pv-fdt.dtb".into(), fdt.as_str()));
            [("pv-kernel.img".into(), kernel.as_str()), ("pv-initrd.img".into(), initrd)]
                .into_iter()
                .chain(fdt)
                .collect()
        }
    };
    let addons = bsp.addons.iter().enumerate();
    links.extend(addons.map(|(index, addon)| (format!("pv-initrd.img.{index}"), addon.as_str())));
    links
}

/// Makes the names of these files durable, each directory once.
pub(crate) fn sync<'p>(trail: &Dir, paths: impl Iterator<Item = &'p str>) -> Result<(), DirError> {
    let mut dirs = BTreeSet::new();
    for path in paths {
        dirs.insert("");
        dirs.extend(path.match_indices('/').filter_map(|(slash, _)| path.get(..slash)));
    }
    dirs.into_iter().try_for_each(|dir| if dir.is_empty() { trail.sync() } else { trail.sub(dir)?.sync() })
}

#[cfg(test)]
mod tests;
