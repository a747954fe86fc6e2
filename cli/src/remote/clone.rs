//! `pvr clone`: a repository with the state of a remote, and its files.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::check::check_configurations;
use crate::error::{Context as _, Error, Result};
use crate::history::{self, Deed};
use crate::http::{Client, host};
use crate::remote::address::{Address, Place};
use crate::remote::get::overlay;
use crate::remote::objects;
use crate::remote::origin::{Origin, doubts};
use crate::repo::building::{Building, may_be_replaced};
use crate::repo::durable::{self, parent};
use crate::repo::{Remembered, Repo, absolute};
use crate::reset;
use crate::state::State;
use crate::watch::Watch;

/// How a clone is made.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// A pool that other repositories may share. None is one of its own.
    pub objects: Option<PathBuf>,
    /// Whether inline files get the canonical text, not the indented one.
    pub canonical: bool,
    /// When it is done, in seconds since 1970, for its history.
    pub moment: Option<u64>,
}

/// What was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cloned {
    /// Where.
    pub directory: PathBuf,
    /// Files of the work tree.
    pub files: usize,
    /// Objects that were fetched.
    pub objects: usize,
    /// What a person should hear about.
    pub warnings: Vec<String>,
}

/// Where a clone goes that nobody has said a place for: the last part of the address, or its host.
#[must_use]
pub fn default_directory(address: &Address) -> PathBuf {
    let url = match &address.place {
        Place::Url(url) => host(url),
        Place::Directory(_) | Place::Bundle(_) => "clone",
    };
    let name = address.name.as_deref().filter(|name| !matches!(*name, "." | ".."));
    PathBuf::from(name.unwrap_or(url))
}

/// Clones into `directory`, which is new or empty.
///
/// # Errors
/// There is something, or what is to be cloned cannot be had; then `directory` is as it was.
pub fn clone(
    client: &Client,
    address: &Address,
    directory: &Path,
    options: &Options,
    watch: &dyn Watch,
) -> Result<Cloned> {
    let directory = absolute(directory)?;
    if !may_be_replaced(&directory, false)? {
        return Err(Error::user(format!("{} exists and is not empty", directory.display()))
            .hint("name another directory: pvr clone ADDRESS DIR"));
    }
    let origin = Origin::open(client, &address.place, watch)?;
    let source = origin.state(watch)?;
    let spec = source.get("#spec").and_then(|spec| spec.as_str()).unwrap_or_default().to_owned();
    let state = overlay(&State::new(&spec), &source, &address.selector);
    let revision = state.revision()?;
    let mut warnings = if address.selector.is_everything() { doubts(&state)? } else { Vec::new() };
    let above = parent(&directory);
    fs::create_dir_all(above).context("create", above)?;
    let building = Building::begin(&directory)?;
    fs::set_permissions(&building.path, Permissions::from_mode(0o700)).context("change the mode of", &building.path)?;
    let repo = Repo::init(&building.path, options.objects.as_deref(), &spec)?;
    let objects = origin.bring(&objects::of(&state, |_| true), repo.pool(), watch)?;
    durable::replace(&repo.books().join("json"), state.canonical().as_bytes(), 0o644)?;
    let repo = match options.moment {
        Some(moment) => repo.at_moment(moment),
        None => repo,
    };
    let deed = Deed { command: "clone", message: &address.to_text(), signer: None };
    warnings.extend(history::note(&repo, deed, None, &state));
    let options = reset::Options { canonical: options.canonical, ..reset::Options::default() };
    let files = reset::reset(&repo, options, watch)?.written.len();
    if let Err(error) = check_configurations(&revision, repo.root()) {
        warnings.push(format!("{error}; devices refuse such a container"));
    }
    // Nobody has a bundle in use: there is nothing to be equal with, and nowhere to go.
    if !matches!(address.place, Place::Bundle(_)) {
        repo.set_base(&state)?;
        let place = Some(address.place.to_text());
        repo.remember(&Remembered { get: Some(address.to_text()), post: place.clone(), put: place })?;
    }
    building.publish(&directory)?;
    Ok(Cloned { directory, files, objects, warnings })
}
