//! `pvr plan`: what posting a state to a device would do, before anything is sent.
//!
//! ```text
//!   ours:   what is committed, or the work tree as it would be committed ─┐
//!                                                                         ├─▶ objects, way, containers, rights, refusals
//!   theirs: what a device runs, a repository or a bundle has ─────────────┘
//! ```
//!
//! The way is decided by the function that devices decide with, about the same rows. What it cannot know: a device that
//! holds its apps back in this boot goes through a reboot whatever differs, and a strict one trusts keys of its own.
//! Nothing is written, here or there.

mod containers;

use std::collections::BTreeMap;

use formats::device_json::Device;
use formats::json::Json;
use formats::object::ObjectId;
use formats::state::Revision;

pub use containers::{Becomes, Fate, Way};

use crate::compare::compare;
use crate::error::Result;
use crate::http::Client;
use crate::remote::address::Address;
use crate::remote::get::difference;
use crate::remote::objects;
use crate::remote::origin::Origin;
use crate::remote::record::Record;
use crate::remote::side_by_side::each;
use crate::repo::Repo;
use crate::rights;
use crate::sign::auto::{self, Gaps};
use crate::sign::keys::DeveloperKey;
use crate::state::State;
use crate::verify::contents::Contents;
use crate::verify::{Finding, documents};
use crate::watch::Watch;

/// Which state of ours is meant.
#[derive(Clone, Copy, Debug)]
pub enum Ours<'k> {
    /// What is committed.
    Committed,
    /// The work tree as it would be committed, signed with this key, or not.
    WorkTree(Option<&'k DeveloperKey>),
}

/// An object with one path that names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// The path.
    pub path: String,
    /// Its name.
    pub id: ObjectId,
    /// Its bytes; `None`: nobody says.
    pub bytes: Option<u64>,
}

/// What would happen.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// Where to.
    pub remote: String,
    /// SHA-256 of what is there; `None`: it runs nothing.
    pub theirs: Option<String>,
    /// SHA-256 of what is to be there.
    pub ours: String,
    /// Objects that are not there.
    pub send: Vec<Object>,
    /// How many of ours are there already.
    pub present: usize,
    /// Objects that only theirs names: when nothing keeps that revision any more, garbage collection removes them.
    pub frees: Vec<Object>,
    /// Keys that are new, others, gone.
    pub files: [Vec<String>; 3],
    /// How the device gets there.
    pub way: Way,
    /// What becomes of each container.
    pub containers: Vec<Fate>,
    /// What containers gain and lose.
    pub rights: Vec<String>,
    /// Files that no signature covers.
    pub unsigned: Vec<String>,
    /// Why the device would refuse it.
    pub refused: Vec<Finding>,
    /// What a person should hear about.
    pub warnings: Vec<String>,
}

/// Plans.
///
/// # Errors
/// One of the states cannot be had. What a device would refuse is a part of the plan.
pub fn plan(repo: &Repo, ours: Ours<'_>, client: &Client, address: &Address, watch: &dyn Watch) -> Result<Plan> {
    let (mut refused, mut warnings) = (Vec::new(), Vec::new());
    let (state, here) = match ours {
        Ours::Committed => (repo.committed()?, Contents::Pool(repo.pool().clone())),
        Ours::WorkTree(key) => {
            (to_be_committed(repo, key, &mut refused, &mut warnings, watch)?, Contents::Files(repo.root().into()))
        }
    };
    let revision = state.revision()?;
    let origin = Origin::open(client, &address.place, watch)?;
    let there = origin.contents();
    let their_state = origin.state_if_any(watch)?;
    let their_revision = their_state.as_ref().map(State::revision).transpose()?;

    documents::manifests(&revision, &mut refused, &mut warnings);
    documents::configurations(&revision, &here, &mut refused)?;
    documents::images(&revision, &here, &mut refused)?;
    let gaps = Gaps::of(&revision)?;
    let broken = gaps.broken.iter();
    refused.extend(broken.map(|key| Finding::new(key.as_str(), "the signature does not fit this state")));
    if let Some(theirs) = &their_revision {
        product(theirs, &revision, &mut refused, &mut warnings);
    }

    let (of_ours, of_theirs) = (named(&state), their_state.as_ref().map(named).unwrap_or_default());
    let missing: Vec<_> = of_ours.iter().filter(|(id, _)| !of_theirs.contains_key(id)).collect();
    let missing = absent(&origin, missing, watch)?;
    let present = of_ours.len() - missing.len();
    let send = to_send(&here, missing, &mut refused, watch)?;
    let gone = of_theirs.iter().filter(|(id, _)| !of_ours.contains_key(id));
    let mut frees = Vec::new();
    for (id, path) in gone {
        // One of ours has the same bytes, and nobody has to be asked.
        let bytes = match repo.pool().path(*id).metadata() {
            Ok(metadata) => Some(metadata.len()),
            Err(_) => there.size(path, *id)?,
        };
        frees.push(Object { path: path.clone(), id: *id, bytes });
    }

    let mut ours_read = |key: &str, id| here.small(key, id).ok().flatten();
    let (way, containers) = containers::between(their_revision.as_ref(), &revision, &mut ours_read);
    let mut theirs_read = |key: &str, id: ObjectId| {
        let near = Contents::Pool(repo.pool().clone()).small(key, id).ok().flatten();
        near.filter(|bytes| ObjectId::of(bytes) == id).or_else(|| there.small(key, id).ok().flatten())
    };
    let rights = rights::between(their_revision.as_ref(), &mut theirs_read, &revision, &mut ours_read);
    let changes = difference(&their_state.unwrap_or_default(), &state);
    Ok(Plan {
        remote: address.place.to_text(),
        theirs: their_revision.map(|revision| revision.digest().to_string()),
        ours: revision.digest().to_string(),
        send,
        present,
        frees,
        files: [changes.added, changes.changed, changes.removed],
        way,
        containers,
        rights,
        unsigned: gaps.open,
        refused,
        warnings,
    })
}

/// The work tree as a commit would leave it.
fn to_be_committed(
    repo: &Repo,
    key: Option<&DeveloperKey>,
    refused: &mut Vec<Finding>,
    warnings: &mut Vec<String>,
    watch: &dyn Watch,
) -> Result<State> {
    let comparison = compare(repo, watch)?;
    let mut state = comparison.applied_to(&repo.committed()?);
    warnings.extend(comparison.skipped.iter().map(|path| format!("{path}: links and special files are not committed")));
    if let Some(key) = key {
        let mut signed = state.clone();
        match auto::sign(&mut signed, key) {
            Ok(_) => state = signed,
            Err(error) => refused.push(Finding::of(&error)),
        }
    }
    Ok(state)
}

/// The objects of a state, each with one path.
fn named(state: &State) -> BTreeMap<ObjectId, String> {
    objects::of(state, |_| true)
}

/// Those that are not there. A device may hold more than what its state names.
fn absent<'o>(
    origin: &Origin<'_>,
    wanted: Vec<(&'o ObjectId, &'o String)>,
    watch: &dyn Watch,
) -> Result<Vec<(&'o ObjectId, &'o String)>> {
    let Origin::Remote { client, info } = origin else { return Ok(wanted) };
    let found = each(&wanted, watch, |(id, key), watch| Record::find(client, info, **id, key, watch))?;
    Ok(wanted.into_iter().zip(found).filter(|(_, record)| record.is_none()).map(|(one, _)| one).collect())
}

/// What has to be sent, looked at before it is.
fn to_send(
    here: &Contents<'_>,
    missing: Vec<(&ObjectId, &String)>,
    refused: &mut Vec<Finding>,
    watch: &dyn Watch,
) -> Result<Vec<Object>> {
    let mut send = Vec::new();
    for (id, path) in missing {
        send.push(Object { path: path.clone(), id: *id, bytes: here.size(path, *id)? });
    }
    watch.begin("checking", send.iter().filter_map(|object| object.bytes).sum());
    for object in &send {
        let what = match here.hash(&object.path, object.id, watch)? {
            None => format!("its object {} is neither here nor there", object.id),
            Some((found, _)) if found != object.id => {
                format!(
                    "its object has other bytes than its name says: {}",
                    here.place(&object.path, object.id).display()
                )
            }
            Some(_) => continue,
        };
        refused.push(Finding::new(object.path.as_str(), what));
    }
    watch.end();
    Ok(send)
}

/// Whether what is made for one product goes to another.
fn product(theirs: &Revision, ours: &Revision, refused: &mut Vec<Finding>, warnings: &mut Vec<String>) {
    let fits = |revision: &Revision| Device::of(revision, &mut Vec::new()).ok().and_then(|device| device.compatible);
    let listed =
        |fits: &[formats::compatible::Fit]| fits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (fits(theirs), fits(ours)) {
        (Some(theirs), Some(ours)) if !ours.iter().any(|fit| theirs.contains(fit)) => {
            let what =
                format!("compatible: it is made for {}, and what runs there for {}", listed(&ours), listed(&theirs));
            refused.push(Finding::new("device.json", what));
        }
        (Some(theirs), None) => {
            let theirs = listed(&theirs);
            warnings.push(format!("device.json: compatible: says nothing, and what runs there is for {theirs}; strict devices will refuse it"));
        }
        _ => {}
    }
}

/// The bytes of these objects, as far as they are known, and of how many nobody knows.
#[must_use]
pub fn total(objects: &[Object]) -> (u64, usize) {
    let known = objects.iter().filter_map(|object| object.bytes);
    (known.sum(), objects.iter().filter(|object| object.bytes.is_none()).count())
}

impl Plan {
    /// For programs. Sizes are exact.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let list = |objects: &[Object]| {
            let one = |object: &Object| {
                Json::object()
                    .with("path", object.path.as_str())
                    .with("sha256", object.id.to_string())
                    .with("bytes", object.bytes.map_or(Json::Null, Into::into))
            };
            let (bytes, unknown) = total(objects);
            Json::object()
                .with("objects", objects.iter().map(one).collect::<Vec<_>>())
                .with("bytes", bytes)
                .with("of_unknown_size", unknown as u64)
        };
        let [added, changed, removed] = &self.files;
        let (way, because) = self.way.words();
        let becomes = |fate: &Fate| {
            Json::object()
                .with("name", fate.name.as_str())
                .with("becomes", fate.becomes.word())
                .with("because", fate.because.as_str())
        };
        Json::object()
            .with("remote", self.remote.as_str())
            .with("theirs", self.theirs.as_deref().map_or(Json::Null, Into::into))
            .with("ours", self.ours.as_str())
            .with(
                "files",
                Json::object()
                    .with("added", added.clone())
                    .with("changed", changed.clone())
                    .with("removed", removed.clone()),
            )
            .with("send", list(&self.send))
            .with("present", self.present as u64)
            .with("frees", list(&self.frees))
            .with("way", way)
            .with("because", because)
            .with("containers", self.containers.iter().map(becomes).collect::<Vec<_>>())
            .with("rights", self.rights.clone())
            .with("unsigned", self.unsigned.clone())
            .with("refused", self.refused.iter().map(Finding::to_json).collect::<Vec<_>>())
            .with("warnings", self.warnings.clone())
    }
}
