//! `pvr app install` and `pvr app update`: a container made again of its `src.json`.
//!
//! | | the image | the documents |
//! |---|---|---|
//! | install | the one that `src.json` names; fetched if `root.squashfs` is not of it | anew |
//! | update | the one that its name means now; fetched if it is another | anew, if it is another |
//!
//! Files of the container that are not made of the recipe stay. What somebody wrote into those that are is never lost
//! silently.

use std::fs;

use formats::json::{self, Json, Limits};
use formats::path::ContainerName;

use super::facts::Facts;
use super::info::existing;
use super::make::{MADE, Made, Making, Means, Packed, rendered};
use super::recipe::Recipe;
use super::template::Rendered;
use super::{MARKER, PATCH, ROOT, SRC, edits, part, read_json};
use crate::error::{Error, Result};
use crate::http::Client;
use crate::image::Image;
use crate::image::digest::Digest;
use crate::image::manifest::Platform;
use crate::image::reference::{Place, Reference};
use crate::repo::Repo;
use crate::watch::Watch;

/// How a container is made again.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// Another image, or the address of another state; `None` is what `src.json` names.
    pub from: Option<From>,
    /// What short addresses of other states are below.
    pub base: Option<String>,
    /// What the device runs.
    pub platform: Option<Platform>,
    /// Options for the writer of the squashfs.
    pub format_options: Option<String>,
    /// Whether what somebody wrote by hand may be lost.
    pub force: bool,
    /// How images are had and packed.
    pub means: Means,
}

/// Where a container comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum From {
    /// An image.
    Image(Reference),
    /// Parts of another state.
    State(crate::remote::Address),
}

/// What an update came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Updated {
    /// It is what it was: this is the image.
    Same(String),
    /// It was made again.
    Made(Made),
}

/// A container of the work tree that was made of a recipe.
struct Old<'r> {
    repo: &'r Repo,
    name: ContainerName,
    directory: std::path::PathBuf,
    recipe: Recipe,
}

/// Makes a container again of what its `src.json` names.
///
/// # Errors
/// It has none, its image cannot be had, or something written by hand would be lost; it is as it was then.
pub fn install(repo: &Repo, name: &str, renewal: &Renewal, watch: &dyn Watch) -> Result<Made> {
    let old = Old::open(repo, name)?;
    let mut recipe = old.recipe.clone();
    change(&mut recipe, renewal);
    let making = Making::begin(repo, &old.name, &renewal.means, watch)?;
    let wanted = digest_of(&recipe);
    let image = match wanted {
        Some(digest) if old.has(digest) && !repacks(&old.recipe, &recipe) => None,
        _ => {
            let from = pinned(&recipe, wanted)?;
            let image = making.fetch(&from, &mut recipe)?;
            if let Some(wanted) = wanted.filter(|wanted| *wanted != image.digest) {
                return Err(Error::user(format!(
                    "{} is another image now: {} and not {wanted}",
                    from.name, image.digest
                ))
                .hint(format!("`pvr app update {name}` takes what it is now")));
            }
            Some(image)
        }
    };
    old.finish(making, recipe, image, renewal)
}

/// Makes a container again of what the name of its image means now.
///
/// # Errors
/// As [`install`].
pub fn update(repo: &Repo, client: &Client, name: &str, renewal: &Renewal, watch: &dyn Watch) -> Result<Updated> {
    let document = read_json(&existing(repo, name)?.join(SRC))?;
    let taken = document.get("pvr").and_then(Json::as_str);
    match (&renewal.from, taken) {
        (Some(From::State(address)), Some(_)) => {
            return part::update(repo, client, name, address, renewal.force, watch);
        }
        (None, Some(address)) => {
            let address = crate::remote::Address::parse(address, repo.root(), renewal.base.as_deref())?;
            return part::update(repo, client, name, &address, renewal.force, watch);
        }
        (Some(From::State(_)), None) => {
            return Err(Error::user(format!("{name} is made of an image, and not a part of another state"))
                .hint(format!("`pvr app add {name} --type pvr --from ADDRESS#PART --force` replaces it")));
        }
        (Some(From::Image(_)), Some(_)) => {
            return Err(Error::user(format!("{name} is a part of another state, and not made of an image")).hint(
                format!("`pvr app add {name} --from IMAGE --force` replaces it; --type pvr names another state"),
            ));
        }
        (_, None) => {}
    }
    let old = Old::open(repo, name)?;
    let mut recipe = old.recipe.clone();
    if let Some(From::Image(from)) = &renewal.from {
        recipe.name_image(from);
    }
    change(&mut recipe, renewal);
    let from = match &renewal.from {
        Some(From::Image(from)) => from.clone(),
        _ if recipe.text("docker_tag").is_none() => pinned(&recipe, digest_of(&recipe))?,
        _ => reference(&recipe)?,
    };
    let making = Making::begin(repo, &old.name, &renewal.means, watch)?;
    let digest = making.resolve(&from, &recipe)?;
    let same = old.has(digest) && !repacks(&old.recipe, &recipe) && recipe.text("docker_ovl_digest").is_none();
    if same {
        recipe.set("docker_digest", format!("{}@{digest}", from.name));
    }
    if same && recipe == old.recipe {
        return Ok(Updated::Same(recipe.text("docker_digest").unwrap_or_default().to_owned()));
    }
    let image = if same { None } else { Some(making.fetch(&from, &mut recipe)?) };
    old.finish(making, recipe, image, renewal).map(Updated::Made)
}

/// Whether a container came from another state, and not of an image.
///
/// # Errors
/// There is none of this name.
pub fn is_part(repo: &Repo, name: &str) -> Result<bool> {
    Ok(read_json(&existing(repo, name)?.join(SRC))?.get("pvr").is_some())
}

/// What was said beside the image.
fn change(recipe: &mut Recipe, renewal: &Renewal) {
    if let Some(platform) = &renewal.platform {
        recipe.set("docker_platform", platform.to_string());
    }
    if let Some(options) = &renewal.format_options {
        recipe.set("format_options", options.as_str());
    }
}

impl<'r> Old<'r> {
    fn open(repo: &'r Repo, name: &str) -> Result<Self> {
        let directory = existing(repo, name)?;
        let document = read_json(&directory.join(SRC))?;
        let wrong = |error: Error| Error { message: format!("{name}/{SRC}: {}", error.message), ..error };
        if document.get("template").is_none() && document.get("pvr").is_some() {
            return Err(Error::user(format!("{name} is a part of another state, and nothing is made of its {SRC}"))
                .hint(format!("`pvr app update {name}` takes it again")));
        }
        let recipe = Recipe::parse(document).map_err(wrong)?;
        if recipe.text("docker_name").is_none() {
            let error = Error::user(format!("{name}/{SRC} names no image (docker_name)"));
            return Err(match recipe.text("rootfs_url") {
                Some(url) => {
                    error.hint(format!("`pvr app add {name} --type rootfs --from {url} --force` reads it again"))
                }
                None => error,
            });
        }
        if let Some(base) = recipe.text("base") {
            return Err(Error::user(format!(
                "{name} is a difference to {base}, which is not made again by this version"
            ))
            .hint("make it anew with `pvr app add --force`, as a whole"));
        }
        let name = ContainerName::parse(name).map_err(|why| Error::user(format!("{name:?}: {why}")))?;
        Ok(Self { repo, name, directory, recipe })
    }

    /// Whether its packed image is the one of a digest.
    fn has(&self, digest: Digest) -> bool {
        let marker = fs::read_to_string(self.directory.join(MARKER)).unwrap_or_default();
        let said = marker.trim().rsplit_once('@').map_or(marker.trim(), |(_, digest)| digest).to_owned();
        self.directory.join(ROOT).is_file() && Digest::parse(&said) == Some(digest)
    }

    /// Renders, keeps what is somebody's, and puts it in place. Without an image the packed one stays.
    fn finish(&self, making: Making<'_>, mut recipe: Recipe, image: Option<Image>, renewal: &Renewal) -> Result<Made> {
        let packed;
        let facts = match &image {
            Some(image) => {
                recipe.remove("docker_ovl_digest");
                making.pack(image, &recipe)?;
                Facts::of(image, &recipe.overrides())?
            }
            None => {
                packed = Packed::look(&self.directory, &recipe, renewal.means.limits)?;
                packed.facts(&recipe)?
            }
        };
        // What follows from members must be read from them as they are now.
        recipe = recipe.read_again()?;
        let rendered = making.render(&recipe, &facts)?;
        if !renewal.force {
            edits::check(&self.directory, &self.recipe, || self.before(renewal), &rendered)?;
        }
        let kept: Vec<&str> = MADE.iter().copied().filter(|file| image.is_some() || *file != ROOT).collect();
        let gone: &[&str] = if image.is_some() { &[PATCH, "root.ovl.squashfs.docker-digest"] } else { &[] };
        making
            .build
            .adopt(&self.directory, self.name.as_str(), &|file| kept.contains(&file) || gone.contains(&file))?;
        if image.is_none() {
            let digest = recipe.text("docker_digest").unwrap_or_default();
            making.build.write(self.name.as_str(), MARKER, digest.as_bytes())?;
        } else if recipe.member("dm_enabled").and_then(|all| all.get(ROOT)) == Some(&Json::Bool(true)) {
            let directory = making.build.path().join(self.name.as_str());
            crate::verity::renew(self.repo, self.name.as_str(), &directory, ROOT, making.watch)?;
        }
        making.publish(&mut recipe, rendered, &facts, true)
    }

    /// What the recipes so far make: the one that is there, and the one that was committed. One that makes nothing any more
    /// made none of the files.
    fn before(&self, renewal: &Renewal) -> Vec<Rendered> {
        let key = format!("{}/{SRC}", self.name);
        let committed = self.repo.committed().ok().and_then(|state| state.get(&key).cloned());
        let recipes = [Some(self.recipe.clone()), committed.and_then(|document| Recipe::parse(document).ok())];
        let render = |recipe: Recipe| {
            let packed = Packed::look(&self.directory, &recipe, renewal.means.limits).ok()?;
            let facts = packed.facts(&recipe).ok()?;
            rendered(self.repo, &self.name, &recipe, &facts).ok()
        };
        recipes.into_iter().flatten().filter_map(render).collect()
    }
}

/// The digest that a recipe names.
fn digest_of(recipe: &Recipe) -> Option<Digest> {
    recipe.text("docker_digest").and_then(|text| text.rsplit_once('@')).and_then(|(_, digest)| Digest::parse(digest))
}

/// Whether the same files would be packed otherwise.
fn repacks(old: &Recipe, new: &Recipe) -> bool {
    ["format_options", "docker_platform"].iter().any(|member| old.text(member) != new.text(member))
}

/// The image by name, as it is called now.
fn reference(recipe: &Recipe) -> Result<Reference> {
    let name = recipe.text("docker_name").unwrap_or_default();
    let tag = recipe.text("docker_tag").map(|tag| format!(":{tag}")).unwrap_or_default();
    Reference::parse(&format!("{name}{tag}"))
}

/// The very image that a recipe was made of.
fn pinned(recipe: &Recipe, digest: Option<Digest>) -> Result<Reference> {
    let mut reference = reference(recipe)?;
    if let (Place::Registry { digest: pin, .. }, Some(digest)) = (&mut reference.place, digest) {
        *pin = Some(digest);
    }
    Ok(reference)
}

/// A JSON text of somebody's.
///
/// # Errors
/// It is none.
pub fn parse_json(text: &str) -> Result<Json> {
    json::parse(text.as_bytes(), Limits::DOCUMENT)
        .map(|value| value.to_json())
        .map_err(|error| Error::user(format!("{text:?} is no JSON: {error}")))
}
