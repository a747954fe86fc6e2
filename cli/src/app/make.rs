//! The steps that make a container, shared by those who make one anew and those who make it again.
//!
//! ```text
//!   recipe ──fetch──▶ image ──pack──▶ root.squashfs, its marker
//!     └───────────────┴─────render──▶ lxc.container.conf, seccomp.bpf, run.json, src.json
//!                                     └ all of it in a directory of its own, put in place with one rename
//! ```

use std::fs;
use std::path::Path;

use formats::json::Json;
use formats::path::ContainerName;

use super::build::Build;
use super::facts::Facts;
use super::recipe::Recipe;
use super::root::Root;
use super::template::{self, Rendered};
use super::{CONFIG, FILTER, MARKER, ROOT, RUN, SRC, Users, edits, network, read_json, recipe, users};
use crate::error::{Context as _, Error, Result};
use crate::image::daemon::Daemon;
use crate::image::digest::Digest;
use crate::image::layout::{DockerArchive, Layout};
use crate::image::manifest::{Config, Platform};
use crate::image::order::{Order, Where};
use crate::image::reference::{Place, Reference};
use crate::image::registry::{Reach, Registry};
use crate::image::source::{Choice, Source};
use crate::image::{Image, Limits, describe, listing, squashfs};
use crate::repo::Repo;
use crate::watch::Watch;

/// How images are had and packed: whatever is no part of a recipe.
#[derive(Clone, Debug)]
pub struct Means {
    /// The times of the squashfs.
    pub times: squashfs::Times,
    /// What is believed of an image.
    pub limits: Limits,
    /// How registries are reached.
    pub reach: Reach,
}

impl Means {
    /// Those of somebody who makes a container.
    pub(super) fn of(options: &super::Options) -> Self {
        Self { times: options.times, limits: options.limits, reach: options.reach.clone() }
    }
}

/// The files of a container that are made of its recipe; all others are somebody's.
pub(super) const MADE: &[&str] = &[SRC, RUN, CONFIG, FILTER, ROOT, MARKER];

/// A container that is being made.
pub(super) struct Making<'a> {
    pub(super) repo: &'a Repo,
    pub(super) name: &'a ContainerName,
    pub(super) build: Build,
    pub(super) means: &'a Means,
    pub(super) watch: &'a dyn Watch,
}

impl<'a> Making<'a> {
    pub(super) fn begin(
        repo: &'a Repo,
        name: &'a ContainerName,
        means: &'a Means,
        watch: &'a dyn Watch,
    ) -> Result<Self> {
        let build = Build::new(repo.books())?;
        let directory = build.path().join(name.as_str());
        fs::create_dir(&directory).context("create", &directory)?;
        Ok(Self { repo, name, build, means, watch })
    }

    /// The digest of the image that a reference means now.
    pub(super) fn resolve(&self, from: &Reference, recipe: &Recipe) -> Result<Digest> {
        let choice = Choice(self.platforms(recipe)?);
        let source = self.source(from, recipe)?;
        let digest = source.parts(&choice)?.digest;
        source.told().iter().for_each(|line| self.watch.say(line));
        Ok(digest)
    }

    /// Fetches the image that a reference means, and notes it in the recipe. Of one that was packed before it is an outline.
    pub(super) fn fetch(&self, from: &Reference, recipe: &mut Recipe) -> Result<Image> {
        let choice = Choice(self.platforms(recipe)?);
        let source = self.source(from, recipe)?;
        let described = describe(source.as_ref(), &choice, self.means.limits)?;
        source.told().iter().for_each(|line| self.watch.say(line));
        let root = self.root(&described.digest, recipe);
        let image = root.image(source.as_ref(), described, self.build.path(), self.watch)?;
        recipe.made_of(&image);
        Ok(image)
    }

    /// Packs the files of an image.
    pub(super) fn pack(&self, image: &Image, recipe: &Recipe) -> Result<()> {
        self.root(&image.digest, recipe).write(image, self.watch)?;
        let digest = recipe.text("docker_digest").unwrap_or_default();
        self.build.write(self.name.as_str(), MARKER, digest.as_bytes())
    }

    /// Where a reference leads. Files of this machine are looked for from the work tree.
    fn source(&self, from: &Reference, recipe: &Recipe) -> Result<Box<dyn Source + 'a>> {
        let (tag, limits) = (from.tag.as_deref(), self.means.limits);
        let here = |path: &Path| self.repo.root().join(path);
        Ok(match &from.place {
            Place::Registry { .. } => return self.looked_for(from, recipe),
            _ if self.means.reach.signer.is_some() => {
                return Err(Error::user(format!("{}: it is in no registry, where its signature would be", from.name))
                    .hint("--require-signed is for images of registries"));
            }
            Place::Layout(path) => Box::new(Layout::directory(&here(path), tag, limits)),
            Place::OciArchive(path) => Box::new(Layout::archive(&here(path), tag, limits)?),
            Place::DockerArchive(path) => Box::new(DockerArchive::open(&here(path), tag, limits)?),
        })
    }

    /// Where a name that is one of a registry is looked for, as its recipe says.
    fn looked_for(&self, from: &Reference, recipe: &Recipe) -> Result<Box<dyn Source + 'a>> {
        let Place::Registry { registry, repository, digest } = &from.place else {
            return Err(Error::internal("a file where a name was expected"));
        };
        let (means, digest) = (self.means, digest.map(|digest| digest.to_string()));
        let what = digest.as_deref().or(from.tag.as_deref()).unwrap_or("latest");
        let mut order = recipe.text("docker_source").map_or(Ok(vec![Where::Remote]), Where::parse)?;
        if means.reach.signer.is_some() {
            // A signature is beside its image in the registry, and nowhere else.
            order = vec![Where::Remote];
        }
        // Whether it is there at all is known when it is asked.
        let place = |place: &Where| -> Result<Box<dyn Source>> {
            Ok(match place {
                Where::Remote => Box::new(Registry::new(registry, repository, what, &means.reach, means.limits)?),
                Where::Local => {
                    let name = digest.clone().unwrap_or_else(|| format!("{registry}/{repository}:{what}"));
                    Box::new(Daemon::here(&name, self.build.path(), means.limits)?)
                }
            })
        };
        Ok(Box::new(Order::of(order.iter().map(place).collect())))
    }

    /// The platforms that will do.
    pub(super) fn platforms(&self, recipe: &Recipe) -> Result<Vec<Platform>> {
        platforms(self.repo, recipe)
    }

    fn root<'r>(&'r self, image: &Digest, recipe: &'r Recipe) -> Root<'r> {
        let target = self.build.path().join(self.name.as_str()).join(ROOT);
        Root::of(self.means, image, recipe.text("format_options"), target)
    }

    /// What its template makes of a recipe.
    pub(super) fn render(&self, recipe: &Recipe, facts: &Facts<'_>) -> Result<Rendered> {
        rendered(self.repo, self.name, recipe, facts)
    }

    /// Writes the documents, puts the container in place, and says what was made.
    pub(super) fn publish(
        self,
        recipe: &mut Recipe,
        rendered: Rendered,
        facts: &Facts<'_>,
        replace: bool,
    ) -> Result<Made> {
        let (repo, name) = (self.repo, self.name);
        let (build, made) = self.finish(recipe, rendered, facts)?;
        build.publish(repo, name.as_str(), replace)?;
        Ok(made)
    }

    /// Writes the documents, and says what was made and where it is.
    pub(super) fn finish(self, recipe: &mut Recipe, rendered: Rendered, facts: &Facts<'_>) -> Result<(Build, Made)> {
        let name = self.name.as_str();
        if let Some(config) = &rendered.config {
            self.build.write(name, CONFIG, config.as_bytes())?;
        }
        if let Some(filter) = &rendered.filter {
            self.build.write(name, FILTER, filter)?;
        }
        self.build.write(name, RUN, crate::diff::tabbed(&rendered.run).as_bytes())?;
        edits::note(recipe, &rendered);
        self.build.write(name, SRC, recipe::indented(&recipe.to_json()).as_bytes())?;
        let exposed = if recipe.network.ports.is_empty() { network::exposed(facts)? } else { Vec::new() };
        let image = recipe.text("docker_digest").or_else(|| recipe.text("rootfs_url")).unwrap_or_default().to_owned();
        let made = Made { name: self.name.clone(), image, exposed, warnings: rendered.warnings };
        Ok((self.build, made))
    }
}

/// What was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    /// The container.
    pub name: ContainerName,
    /// The image, with its digest; for what was taken from another state, the address.
    pub image: String,
    /// The ports that the image expects to be reached at, and that nothing publishes.
    pub exposed: Vec<String>,
    /// What a person should hear about.
    pub warnings: Vec<String>,
}

/// What a template makes of a recipe.
pub(super) fn rendered(repo: &Repo, name: &ContainerName, recipe: &Recipe, facts: &Facts<'_>) -> Result<Rendered> {
    let first = match recipe.users {
        Users::Device => None,
        Users::Own => Some(users::first(repo, name)?),
    };
    template::render(name, recipe, first, facts)
}

/// An image that was packed before, as a template sees it.
pub(super) struct Packed {
    tree: crate::image::tree::Tree,
    passwd: Vec<u8>,
    group: Vec<u8>,
}

impl Packed {
    /// Looks into `root.squashfs` of a container. A template that asks for nothing in it is not kept waiting.
    pub(super) fn look(directory: &Path, recipe: &Recipe, limits: Limits) -> Result<Self> {
        if recipe.template != super::Template::Confined || !template::starts(recipe) {
            let tree = crate::image::tree::Tree::new(limits);
            return Ok(Self { tree, passwd: Vec::new(), group: Vec::new() });
        }
        let image = directory.join(ROOT);
        let tree = listing::list(&image, limits)?;
        let book = |name: &str| match listing::path(&tree, name) {
            Some(path) => listing::read(&image, &path, super::facts::BOOK_MAX),
            None => Ok(Vec::new()),
        };
        let (passwd, group) = (book(super::facts::PASSWD)?, book(super::facts::GROUP)?);
        Ok(Self { tree, passwd, group })
    }

    /// What a template asks of it.
    pub(super) fn facts(&self, recipe: &Recipe) -> Result<Facts<'_>> {
        let config = match recipe.member("docker_config") {
            Some(config @ Json::Object(_)) => config.clone(),
            None | Some(Json::Null) => Json::object(),
            Some(_) => return Err(Error::user("`docker_config` is no JSON object")),
        };
        let platform = recipe.text("docker_platform").and_then(Platform::parse).ok_or_else(|| {
            Error::user("`docker_platform` does not say what the image runs on").hint("like linux/arm64")
        });
        let platform = match (platform, recipe.template) {
            (Ok(platform), _) => platform,
            // It matters to nothing there.
            (Err(_), super::Template::BuiltinLxcDocker) => {
                Platform { os: String::new(), architecture: String::new(), variant: String::new() }
            }
            (Err(error), _) => return Err(error),
        };
        let config = Config { config, platform, created: 0, diff_ids: Vec::new() };
        Ok(Facts::packed(&config, &recipe.overrides(), &self.tree, &self.passwd, &self.group))
    }
}

/// The platforms that will do: the one that was named, else those that the work tree names for its device.
fn platforms(repo: &Repo, recipe: &Recipe) -> Result<Vec<Platform>> {
    if let Some(text) = recipe.text("docker_platform") {
        let platform = Platform::parse(text);
        return Ok(vec![platform.ok_or_else(|| Error::user(format!("`docker_platform`: {text:?} is no platform")))?]);
    }
    let path = repo.root().join("_hostconfig/pvr/docker.json");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let json = read_json(&path)?;
    let wrong = || Error::user(format!("{}: `platforms` is no list of OS/ARCH[/VARIANT]", path.display()));
    match json.get("platforms") {
        None => Ok(Vec::new()),
        Some(Json::Array(list)) => {
            list.iter().map(|one| one.as_str().and_then(Platform::parse).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}
