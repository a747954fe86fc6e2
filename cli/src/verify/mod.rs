//! `pvr verify`: everything that a device would check of a state and its objects, and all that it would refuse.
//!
//! ```text
//!   text ─▶ canonical? ─▶ keys ─▶ manifests ─▶ configurations, filters, images ─▶ objects ─▶ signatures ─▶ coverage
//!                                                                        └─ a trail: its files and boot links too
//! ```
//!
//! A commit stops at the first thing that is wrong, because somebody is at work on it. Here each document, object and
//! signature is looked at whatever becomes of the others; of one document the first thing is told. What a device alone
//! knows (its product, its free space, its services) is not looked at. Nothing is written.

pub(crate) mod contents;
pub(crate) mod documents;
mod signatures;
mod trail;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use formats::json::{Json, Limits};
use formats::object::ObjectId;
use formats::state::Revision;
use formats::verify::{Mode, Verifier};

use crate::bundle::Bundle;
use crate::error::{Context as _, Error, Result};
use crate::remote::Place;
use crate::repo::{BOOKS, Pool, Repo};
use crate::state::State;
use crate::watch::Watch;
use contents::Contents;

/// What a device would not take.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// The file, by its key in the state where it has one.
    pub file: String,
    /// What is wrong there, with the place in it.
    pub what: String,
}

/// What was looked at, and what was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Where the state is.
    pub place: String,
    /// Its SHA-256, as far as it is one.
    pub digest: Option<String>,
    /// Its files.
    pub files: usize,
    /// Different objects, and the bytes of those that are there.
    pub objects: (usize, u64),
    /// Its containers.
    pub containers: usize,
    /// Its signatures that count.
    pub signatures: Vec<String>,
    /// Files that nobody signed, whether that is refused or not.
    pub unsigned: Vec<String>,
    /// What a device would refuse.
    pub findings: Vec<Finding>,
    /// What a person should hear about.
    pub warnings: Vec<String>,
}

impl Finding {
    pub(crate) fn new(file: impl Into<String>, what: impl ToString) -> Self {
        Self { file: file.into(), what: what.to_string() }
    }

    /// An error that begins with its place: `web/run.json: group: …`.
    pub(crate) fn of(error: &dyn std::fmt::Display) -> Self {
        let text = error.to_string();
        match text.split_once(": ") {
            Some((file, what)) => Self::new(file, what),
            None => Self::new("", text),
        }
    }

    /// As a line.
    #[must_use]
    pub fn to_line(&self) -> String {
        if self.file.is_empty() { self.what.clone() } else { format!("{}: {}", self.file, self.what) }
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Json {
        Json::object().with("file", self.file.as_str()).with("what", self.what.as_str())
    }
}

impl Report {
    /// For programs. Sizes are exact.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let (objects, bytes) = self.objects;
        Json::object()
            .with("place", self.place.as_str())
            .with("digest", self.digest.as_deref().map_or(Json::Null, Into::into))
            .with("files", self.files as u64)
            .with("objects", objects as u64)
            .with("bytes", bytes)
            .with("containers", self.containers as u64)
            .with("signatures", self.signatures.clone())
            .with("unsigned", self.unsigned.clone())
            .with("findings", self.findings.iter().map(Finding::to_json).collect::<Vec<_>>())
            .with("warnings", self.warnings.clone())
    }
}

/// Looks at the state of a place as a device does that asks so much of signatures and trusts these keys.
///
/// # Errors
/// There is no state, or something cannot be read at all; what is wrong with what can be read is a finding.
pub fn verify(place: &Place, mode: Mode, verifier: &impl Verifier, watch: &dyn Watch) -> Result<Report> {
    let mut report = Report { place: place.to_text(), ..Report::default() };
    match place {
        Place::Url(url) => Err(Error::user(format!("{url} is not on this machine"))
            .hint("`pvr clone` it first: only what is here can be looked at whole")),
        Place::Bundle(path) => {
            let bundle = Bundle::open_any(path, watch)?;
            let revision = text(&mut report, &bundle.text()?);
            if let Some(revision) = &revision {
                look(&mut report, revision, &Contents::Bundle(&bundle), mode, verifier, watch)?;
                let used: Vec<_> = revision.entries().filter_map(|entry| entry.object_id()).collect();
                let spare = bundle.objects().filter(|id| !used.contains(id)).count();
                report
                    .warnings
                    .extend((spare > 0).then(|| format!("{spare} objects are in it that its state does not name")));
            }
            Ok(report)
        }
        Place::Directory(root) => {
            let path = root.join(BOOKS).join("json");
            let mut bytes = Vec::new();
            let limit = Limits::STATE.bytes as u64 + 1;
            File::open(&path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).context("read", &path)?;
            let Some(revision) = text(&mut report, &bytes) else { return Ok(report) };
            let pool = pool(root)?;
            look(&mut report, &revision, &Contents::Pool(pool), mode, verifier, watch)?;
            if trail::is_one(root) {
                trail::look(&mut report, &revision, root, watch)?;
            }
            Ok(report)
        }
    }
}

/// The pool of a repository, or of a trail: beside `trails/` as on a device, whose own path to it means nothing here.
fn pool(root: &Path) -> Result<Pool> {
    match trail::pool_beside(root) {
        Some(pool) => Ok(Pool::at(pool)),
        None => Ok(Repo::at(root)?.pool().clone()),
    }
}

/// The text of a state. None: it is no revision, so there is nothing more to look at.
fn text(report: &mut Report, bytes: &[u8]) -> Option<Revision> {
    let file = PathBuf::from("json");
    match State::parse(bytes, &file) {
        Ok(state) if state.canonical().as_bytes() != bytes => {
            let what = "the state is not in canonical form: other tools compute another hash of it";
            report.findings.push(Finding::new("json", what));
        }
        Ok(_) => {}
        Err(error) => {
            report.findings.push(Finding::of(&error));
            return None;
        }
    }
    match Revision::parse(bytes) {
        Ok(revision) => {
            report.digest = Some(revision.digest().to_string());
            Some(revision)
        }
        Err(error) => {
            report.findings.push(Finding::new("json", error));
            None
        }
    }
}

/// All that holds wherever the objects are.
fn look(
    report: &mut Report,
    revision: &Revision,
    contents: &Contents<'_>,
    mode: Mode,
    verifier: &impl Verifier,
    watch: &dyn Watch,
) -> Result<()> {
    report.files = revision.entries().count();
    report.containers = revision.containers().len();
    documents::manifests(revision, &mut report.findings, &mut report.warnings);
    documents::configurations(revision, contents, &mut report.findings)?;
    documents::images(revision, contents, &mut report.findings)?;
    objects(report, revision, contents, watch)?;
    signatures::look(report, revision, mode, verifier);
    Ok(())
}

/// Hashes every object once.
fn objects(report: &mut Report, revision: &Revision, contents: &Contents<'_>, watch: &dyn Watch) -> Result<()> {
    let mut all: BTreeMap<ObjectId, &str> = BTreeMap::new();
    for entry in revision.entries() {
        if let Some(id) = entry.object_id() {
            all.entry(id).or_insert(entry.key);
        }
    }
    let mut total = 0;
    for (id, key) in &all {
        total += contents.size(key, *id)?.unwrap_or_default();
    }
    report.objects = (all.len(), total);
    watch.begin("checking", total);
    let looked = all.iter().try_for_each(|(id, key)| {
        let what = match contents.hash(key, *id, watch)? {
            None => format!("its object {id} is missing: {}", contents.place(key, *id).display()),
            Some((found, _)) if found != *id => {
                format!("its object has other bytes than its name says: {}", contents.place(key, *id).display())
            }
            Some(_) => return Ok(()),
        };
        report.findings.push(Finding::new(*key, what));
        Ok(())
    });
    watch.end();
    looked
}
