//! What the device holds: objects and trails, and the one way from bytes to a revision that may run.
//!
//! ```text
//!   bytes ─▶ parsed ─▶ signed well ─▶ made for this product ─▶ assembled ─▶ Candidate
//! ```
//!
//! Everything here blocks and belongs to the thread of the store. Every boot, every receipt and every staging takes the
//! whole way: nothing is remembered as "verified before".

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use formats::ceiling::{self, Above, Ceiling};
use formats::compatible::{self, Misfit, Unstated};
use formats::control::{Refused, Status};
use formats::device_json::Device;
use formats::document::DocumentError;
use formats::leases::Leases;
use formats::lxc::rights;
use formats::lxc::{self, Config};
use formats::object::ObjectId;
use formats::run_json::Manifest;
use formats::state::{Revision, StateError};
use formats::trust::Trust;
use formats::verify::{Mode, Policy, Untrusted, Verified, VerifyError, covered_by, verify};
use formats::volume;
use statemachine::ids::RevisionId;
use statemachine::journal::{Known, Transition};
use statemachine::update::Evicts;
use store::dir::{Dir, DirError};
use store::metadata::{MetadataError, MetadataStore};
use store::objects::{ObjectError, Objects};
use store::sweep::{Roots, SweepError, Swept, sweep, withdraw};
use store::trails::{Depth, Staged, TrailError, Trails};
use store::volumes::VolumeKeys;

use crate::assembly::{self, Assembly, AssemblyError, What};
use crate::engine::{EngineError, LEASES};
use crate::places::{PlaceError, Places, Stand};
use crate::settings::{Settings, TRUST};

/// A revision that may run: verified, made for this product, assembled to the last container.
#[derive(Debug)]
pub struct Candidate {
    /// Its name here.
    pub id: RevisionId,
    /// Its state.
    pub revision: Verified<Revision>,
    /// Its containers.
    pub assembly: Assembly,
    /// Where its `revision` volumes lie.
    pub keys: VolumeKeys,
}

impl Candidate {
    /// By name and content.
    #[must_use]
    pub fn known(&self) -> Known {
        Known { revision: self.id.clone(), digest: Some(self.revision.digest()) }
    }
}

/// Why a revision may not run here, or something could not be kept.
#[derive(Debug)]
pub enum HoldError {
    /// It is no state.
    State(StateError),
    /// A manifest.
    Document(DocumentError),
    /// A signature.
    Verify(VerifyError),
    /// It is for something else.
    Misfit(Misfit),
    /// A container cannot be assembled from what its manifest says.
    Assembly(AssemblyError),
    /// Objects that it needs are not here.
    Objects {
        /// The first of them, with the path that needs it.
        first: (String, ObjectId),
        /// How many in all.
        count: usize,
    },
    /// More than a signer of apps may grant.
    Ceiling(Above),
    /// A file that is no image of the kind that its name says.
    Image {
        /// Its key in the state.
        key: String,
        /// The kind.
        kind: &'static str,
    },
    /// Its boot files have no place on this board.
    Place(PlaceError),
    /// A trail.
    Trail(TrailError),
    /// An object.
    Object(ObjectError),
    /// The keys that are trusted.
    Trust(String),
    /// Metadata.
    Metadata(MetadataError),
    /// What containers see.
    Engine(EngineError),
    /// The storage.
    Dir(DirError),
}

impl fmt::Display for HoldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(error) => write!(f, "the state cannot be read: {error}"),
            Self::Document(error) => error.fmt(f),
            Self::Verify(error) => error.fmt(f),
            Self::Misfit(error) => error.fmt(f),
            Self::Assembly(error) => error.fmt(f),
            Self::Objects { first: (key, id), count } => {
                write!(f, "{key} is object {id}, which is not on this device")?;
                if *count > 1 {
                    write!(f, ", and so with {} more", count - 1)?;
                }
                f.write_str("; send the objects before the state")
            }
            Self::Ceiling(above) => above.fmt(f),
            Self::Image { key, kind } => write!(f, "{key} has no {kind} file system in it; make the image anew"),
            Self::Place(error) => error.fmt(f),
            Self::Trail(error) => error.fmt(f),
            Self::Object(error) => error.fmt(f),
            Self::Trust(why) => write!(f, "the trusted keys cannot be used: {why}"),
            Self::Metadata(error) => error.fmt(f),
            Self::Engine(error) => error.fmt(f),
            Self::Dir(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for HoldError {}

macro_rules! from {
    ($($error:ty => $variant:ident),* $(,)?) => {
        $(impl From<$error> for HoldError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}

from! {
    StateError => State, DocumentError => Document, VerifyError => Verify, Misfit => Misfit, AssemblyError => Assembly,
    PlaceError => Place, Above => Ceiling, TrailError => Trail, ObjectError => Object, MetadataError => Metadata,
    EngineError => Engine, DirError => Dir,
}

impl HoldError {
    /// Whether there is no room for it.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        let dir = |error: &DirError| matches!(error, DirError::NoSpace { .. });
        let object = |error: &ObjectError| match error {
            ObjectError::NoSpace { .. } | ObjectError::NoRoom { .. } => true,
            ObjectError::Dir(error) => dir(error),
            _ => false,
        };
        match self {
            Self::Dir(error) | Self::Trail(TrailError::Dir(error)) | Self::Metadata(MetadataError::Dir(error)) => {
                dir(error)
            }
            Self::Metadata(MetadataError::TooMany) => true,
            Self::Object(error) | Self::Trail(TrailError::Object { why: error, .. }) => object(error),
            _ => false,
        }
    }

    /// The same, for whoever asked.
    #[must_use]
    pub fn refused(&self) -> Refused {
        let status = match self {
            Self::State(_)
            | Self::Document(_)
            | Self::Verify(_)
            | Self::Misfit(_)
            | Self::Assembly(_)
            | Self::Objects { .. }
            | Self::Ceiling(_)
            | Self::Image { .. }
            | Self::Place(_)
            | Self::Metadata(MetadataError::Value(_))
            | Self::Object(ObjectError::Refused { .. } | ObjectError::TooLarge { .. }) => Status::Unprocessable,
            Self::Metadata(MetadataError::Missing(_))
            | Self::Trail(TrailError::Missing(_))
            | Self::Object(ObjectError::Missing(_)) => Status::NotFound,
            Self::Trail(TrailError::Taken(_)) => Status::Conflict,
            _ if self.is_no_space() => Status::NoSpace,
            Self::Trail(_) | Self::Object(_) | Self::Trust(_) | Self::Metadata(_) | Self::Engine(_) | Self::Dir(_) => {
                Status::Internal
            }
        };
        Refused::new(status, self.to_string())
    }
}

/// Objects and trails, with the rules for what may become of them.
pub struct Holdings {
    /// The objects.
    pub objects: Objects,
    /// The trails.
    pub trails: Trails,
    /// The metadata.
    pub metadata: MetadataStore,
    /// Where boot files go; `None` before the board is opened, when nothing arrives yet.
    pub places: Option<Places>,
    dir: Dir,
    trust: Trust,
    /// Who signs everything, and what others may grant at most. `None`: there are no others.
    ceiling: Option<(Trust, Ceiling)>,
    policy: Policy,
    settings: Settings,
    assembling: assembly::Settings,
}

/// The oldest moment that certificates are judged by, where no clock was ever set: the day this was built for the first
/// time. A wrong clock must not make a good signature bad before that.
pub(crate) const EPOCH: Duration = Duration::from_secs(1_763_000_000);

impl Holdings {
    /// Opens the storage of a device.
    ///
    /// # Errors
    /// [`HoldError`]: the storage cannot be used, or the trusted keys cannot be read.
    pub fn open(storage: &Path, settings: Settings) -> Result<Self, HoldError> {
        let dir = Dir::open(storage)?;
        let (objects, trails) = (Objects::open(&dir)?, Trails::open(&dir)?);
        let metadata = MetadataStore::new(&dir)?;
        let (trust, ceiling) =
            if settings.signatures == Mode::Disabled { (Trust::default(), None) } else { trust(Path::new(TRUST))? };
        let policy = Policy { mode: settings.signatures, boot_chain_checks_fit: false };
        let kernel = rustix::system::uname().release().to_str().ok().map(str::to_owned);
        let (board, remount_policy) = (settings.board.clone(), settings.remount_policy.clone());
        let grace = settings.stop_timeout;
        let assembling = assembly::Settings { grace, kernel, board, remount_policy, ..assembly::Settings::default() };
        Ok(Self { objects, trails, metadata, places: None, dir, trust, ceiling, policy, settings, assembling })
    }

    /// Clears what power cuts have left of work in progress.
    ///
    /// # Errors
    /// [`HoldError::Dir`]: the storage cannot be written.
    pub fn clear_leftovers(&self) -> Result<(), HoldError> {
        self.objects.clear_leftovers()?;
        self.trails.clear_leftovers()?;
        Ok(())
    }

    /// From bytes to a verified revision for this product.
    ///
    /// # Errors
    /// [`HoldError`] says which step it did not pass.
    pub fn admit(&self, bytes: &[u8]) -> Result<Verified<Revision>, HoldError> {
        let revision = Untrusted::new(Revision::parse(bytes)?);
        let verified = verify(revision, self.policy, &self.trust.at(now()))?;
        let device = Device::of(&verified, &mut Vec::new())?;
        // States of other tools state nothing; only who asks for nothing strict takes those.
        let unstated = if self.policy.mode == Mode::Strict { Unstated::Refuse } else { Unstated::Accept };
        compatible::check(device.compatible.as_deref(), &self.settings.fit, unstated)?;
        Ok(verified)
    }

    /// A revision of which all objects must be here, assembled to the last container. Its text comes from the network
    /// or from a trail, its files from the store.
    ///
    /// # Errors
    /// [`HoldError`]
    pub fn assemble(&self, revision: &Revision) -> Result<Assembly, HoldError> {
        self.needs(revision)?;
        let leases = self.leases();
        let assembling = assembly::Settings { leases, ..self.assembling.clone() };
        let assembly = Assembly::of(revision, &assembling, |key| self.file(revision, key))?;
        self.hold_down(revision, &assembly)?;
        Ok(assembly)
    }

    /// Who has which address. A list that is lost or damaged costs no more than addresses that change.
    fn leases(&self) -> Leases {
        let bytes = self.dir.read_if_any(LEASES, formats::leases::LIST_MAX).unwrap_or_default();
        bytes.and_then(|bytes| Leases::parse(&bytes).ok()).unwrap_or_default()
    }

    /// Whether containers of app signers have no more than those may grant. Only where everything has to be signed: elsewhere
    /// nobody needs a signature for more.
    fn hold_down(&self, revision: &Revision, assembly: &Assembly) -> Result<(), HoldError> {
        let Some((everything, ceiling)) = self.ceiling.as_ref().filter(|_| self.policy.mode == Mode::Strict) else {
            return Ok(());
        };
        let covered = covered_by(revision, &everything.at(now()))?;
        let limited = ceiling::limited(revision, &covered)?;
        for container in assembly.containers.iter().filter(|one| limited.contains(one.name.as_str())) {
            let name = container.name.as_str();
            let lines = self.lines(revision, &container.manifest)?;
            // Of a container without a configuration nothing is started.
            let lines = container.manifest.config.is_some().then_some(&lines);
            ceiling.check(name, &rights::of(&container.manifest, lines, container.manager))?;
        }
        Ok(())
    }

    /// The lines of the configuration of a container, those of included files in their place.
    ///
    /// # Errors
    /// [`HoldError`]
    pub fn lines(&self, revision: &Revision, manifest: &Manifest) -> Result<Config, HoldError> {
        let Some(file) = &manifest.config else { return Ok(Config::default()) };
        let lines = lxc::lines(manifest.name.as_str(), file, &mut |key| self.file(revision, key));
        let lines = lines.map_err(AssemblyError::from)?;
        Ok(lines.into_iter().map(|line| line.item).collect())
    }

    /// The revision of this name, if it may run.
    ///
    /// # Errors
    /// [`HoldError`]
    pub fn candidate(&self, id: &RevisionId) -> Result<Candidate, HoldError> {
        let revision = self.admit(&self.trails.load(id)?)?;
        let assembly = self.assemble(&revision)?;
        let keys = self.trails.volume_keys(id, &revision)?;
        Ok(Candidate { id: id.clone(), revision, assembly, keys })
    }

    /// Takes a revision in: all that a boot of it would check is checked, then its trail is written.
    ///
    /// # Errors
    /// [`HoldError`]; nothing is left of it.
    pub fn receive(&self, id: &RevisionId, bytes: &[u8], base: Option<&RevisionId>) -> Result<Staged, HoldError> {
        let revision = self.admit(bytes)?;
        let assembly = self.assemble(&revision)?;
        self.images(&revision, &assembly)?;
        if let Some(places) = &self.places {
            places.check(&revision, &self.objects)?;
        }
        Ok(self.trails.stage(&revision, id, base, &self.objects)?)
    }

    /// Makes its place ready for a revision that is staged; what has to go from the boot cell before it is placed.
    ///
    /// # Errors
    /// [`HoldError`]
    pub fn prepare(&mut self, id: &RevisionId, by: Transition, stand: &Stand) -> Result<Evicts, HoldError> {
        let Some(places) = &mut self.places else { return Ok(Evicts::default()) };
        let revision = Revision::parse(&self.trails.load(id)?)?;
        Ok(places.prepare(id, &revision, by, stand, &self.objects)?)
    }

    /// Puts the boot files of a revision where the firmware looks for them. Where it reads trails, staging has done so.
    ///
    /// # Errors
    /// [`HoldError`]
    pub fn place(&mut self, id: &RevisionId, stand: &Stand) -> Result<(), HoldError> {
        let revision = self.admit(&self.trails.load(id)?)?;
        let Some(places) = &mut self.places else { return Ok(()) };
        Ok(places.place(id, &revision, stand, &self.objects)?)
    }

    /// Makes the bootloader that the default brings what boots: [`Places::renew_bootloader`].
    ///
    /// # Errors
    /// Why it does not boot, in words. What boots is whole.
    pub fn renew_bootloader(&self, default: &Revision, say: &mut dyn FnMut(String)) -> Result<Option<String>, String> {
        self.places.as_ref().map_or(Ok(None), |places| places.renew_bootloader(default, &self.objects, say))
    }

    /// Takes back the trail of a revision that was received and has not run. One that a root names stays.
    ///
    /// # Errors
    /// [`HoldError`]
    pub fn withdraw(&self, id: &RevisionId, roots: &Roots) -> Result<u64, HoldError> {
        Ok(withdraw(&self.trails, id, roots)?)
    }

    /// Puts back what is missing of a trail and compares every object with its name.
    ///
    /// # Errors
    /// [`HoldError`] names what cannot be put back.
    pub fn check(&self, candidate: &Candidate, depth: Depth) -> Result<Vec<String>, HoldError> {
        Ok(self.trails.check(&candidate.revision, &candidate.id, &self.objects, depth)?)
    }

    /// Removes what no root names.
    ///
    /// # Errors
    /// [`SweepError`]: nothing was removed.
    pub fn sweep(&self, roots: &Roots) -> Result<Swept, SweepError> {
        sweep(&self.trails, &self.objects, roots)
    }

    /// Whether every object of a revision is here.
    ///
    /// # Errors
    /// [`HoldError::Objects`]
    pub fn needs(&self, revision: &Revision) -> Result<(), HoldError> {
        let mut missing = Vec::new();
        for (key, id) in revision.objects() {
            if self.objects.size(id)?.is_none() {
                missing.push((key.to_owned(), id));
            }
        }
        let count = missing.len();
        match missing.into_iter().next() {
            None => Ok(()),
            Some(first) => Err(HoldError::Objects { first, count }),
        }
    }

    /// Whether every image begins as its kind does. Asked of what arrives only: a default that has a bad one goes on without
    /// that container, which is better than none of it.
    fn images(&self, revision: &Revision, assembly: &Assembly) -> Result<(), HoldError> {
        use std::io::Read as _;
        for (container, volume) in
            assembly.containers.iter().flat_map(|one| one.volumes.iter().map(move |of| (one, of)))
        {
            let What::Image(kind) = volume.what else { continue };
            let key = format!("{}/{}", container.name, volume.name);
            let Some(id) = revision.get(&key).and_then(|entry| entry.object_id()) else { continue };
            let mut head = Vec::new();
            let read = self.objects.open_object(id)?.take(volume::HEAD as u64).read_to_end(&mut head);
            if read.is_err() || !volume::begins_as(kind.as_str(), &head) {
                return Err(HoldError::Image { key, kind: kind.as_str() });
            }
        }
        Ok(())
    }

    /// A small file of a revision: a configuration that the assembly is made from.
    fn file(&self, revision: &Revision, key: &str) -> Option<Vec<u8>> {
        use std::io::Read as _;
        let entry = revision.get(key)?;
        let Some(id) = entry.object_id() else { return Some(entry.raw.as_bytes().to_vec()) };
        let mut bytes = Vec::new();
        // One byte more than any configuration may have, so that a longer one is seen to be longer.
        let limit = lxc::BYTES_MAX as u64 + 1;
        self.objects.open_object(id).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
        // What is assembled from must be what was signed: the whole file is in memory, so its name is checked here.
        (ObjectId::of(&bytes) == id).then_some(bytes)
    }
}

/// The moment that certificates are judged by.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().max(EPOCH)
}

/// Certificates and public keys: every `.pem` of the directory. Where some are for signers of apps, those of the others
/// once more, and the ceiling.
fn trust(dir: &Path) -> Result<(Trust, Option<(Trust, Ceiling)>), HoldError> {
    let wrong = |what: &dyn fmt::Display| HoldError::Trust(format!("{}: {what}", dir.display()));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| wrong(&error))? {
        let path = entry.map_err(|error| wrong(&error))?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            paths.push(path);
        }
    }
    paths.sort();
    let (mut all, mut everything, mut of_apps) = (Trust::default(), Trust::default(), false);
    for path in paths {
        let pem = std::fs::read(&path).map_err(|error| wrong(&format_args!("{}: {error}", path.display())))?;
        let is_key = String::from_utf8_lossy(&pem).contains("BEGIN PUBLIC KEY");
        let add = |trust: &mut Trust| {
            let added = if is_key { trust.add_public_keys(&pem) } else { trust.add_certificates(&pem) };
            added.map_err(|error| wrong(&format_args!("{}: {error}", path.display())))
        };
        add(&mut all)?;
        if path.to_str().is_some_and(|path| path.ends_with(ceiling::KEYS)) {
            of_apps = true;
        } else {
            add(&mut everything)?;
        }
    }
    if !of_apps {
        return Ok((all, None));
    }
    let path = dir.join(ceiling::FILE);
    let ceiling = match std::fs::read(&path) {
        Ok(text) => Ceiling::parse(&text).map_err(|error| wrong(&format_args!("{}: {error}", path.display())))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ceiling::default(),
        Err(error) => return Err(wrong(&format_args!("{}: {error}", path.display()))),
    };
    Ok((all, Some((everything, ceiling))))
}

#[cfg(test)]
mod tests;
