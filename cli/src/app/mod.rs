//! `pvr app`: containers made of images.
//!
//! ```text
//!   image ──▶ NAME/root.squashfs                  its files
//!     │       NAME/root.squashfs.docker-digest    which image they are of
//!     ├─────▶ NAME/lxc.container.conf             how it is started and confined   (template)
//!     │       NAME/seccomp.bpf                    which system calls it may make   (template)
//!     ├─────▶ NAME/run.json                       what it asks of the device       (template)
//!     └─────▶ NAME/src.json                       where it came from, with what arguments
//! ```
//!
//! All of it is made beside its place and put there with one rename, so a container is there whole or not at all. Only
//! the rename holds the lock of the repository: fetching takes minutes.

mod again;
mod arguments;
mod build;
mod confined;
mod docker;
mod edits;
mod facts;
mod grants;
mod health;
mod imports;
mod info;
mod line;
mod make;
mod network;
mod origin;
mod part;
mod recipe;
mod rm;
mod root;
mod rootfs;
mod run;
mod tasks;
mod template;
mod user;
mod users;
mod volume;

use std::fs;
use std::path::Path;

use formats::json::{self, Json};
use formats::path::ContainerName;

pub use again::{From, Renewal, Updated, install, is_part, parse_json, update};
pub use arguments::{ARGUMENTS, Argument, Form, Use, table as arguments_table};
pub use confined::KEPT;
pub use grants::{Device, Grants, HostMount, Wide};
pub use info::{Info, info, list};
pub use make::{Made, Means};
pub use network::{Beside, Network, lines as network};
pub use origin::Origin;
pub use part::take;
pub use rm::remove;
pub use rootfs::add_rootfs;
pub use tasks::Tasks;
pub use template::{GOALS, Template};
pub use users::Users;
pub use volume::Volume;

use crate::error::{Context as _, Error, Result};
use crate::image::manifest::Platform;
use crate::image::reference::Reference;
use crate::image::registry::Reach;
use crate::image::{Limits, squashfs};
use crate::repo::Repo;
use crate::watch::Watch;
pub(crate) use build::Build;
use facts::Facts;
use make::Making;
use recipe::Recipe;
pub(crate) use recipe::indented;

/// The files of a container.
pub(crate) const SRC: &str = "src.json";
pub(crate) const RUN: &str = "run.json";
pub(crate) const CONFIG: &str = "lxc.container.conf";
const FILTER: &str = "seccomp.bpf";
pub(crate) const ROOT: &str = "root.squashfs";
/// What is laid over that, or over the root of another container: the difference to it.
const PATCH: &str = "root.ovl.squashfs";
const MARKER: &str = "root.squashfs.docker-digest";

/// What a container is made of, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name; without one it is called like the image.
    pub name: Option<String>,
    /// The image.
    pub from: Origin,
    /// Where an image that a registry names is looked for, like `remote,local`; `None`: there.
    pub source: Option<String>,
    /// What the device runs.
    pub platform: Option<Platform>,
    /// How it is started and confined.
    pub template: Template,
    /// Whose its users are.
    pub users: Users,
    /// The group it belongs to.
    pub group: Option<String>,
    /// What it must reach.
    pub status_goal: Option<String>,
    /// What is started again with it.
    pub restart_policy: Option<String>,
    /// Whether the device asks it by the health check of its image whether it is ready.
    pub healthcheck: bool,
    /// Containers that have to be up before it.
    pub after: Vec<String>,
    /// Variables, over those of the image.
    pub env: Vec<(String, String)>,
    /// What it is to have of networks.
    pub network: Network,
    /// Writable directories, beside those of the image.
    pub volumes: Vec<Volume>,
    /// How many processes it can have; `None` is what its template says.
    pub tasks: Option<Tasks>,
    /// What it may do beyond its template.
    pub grants: Grants,
    /// What stands for members of the image's own configuration, by member: `Entrypoint`, `Cmd`, `User`, `Env` and so on.
    pub config: Json,
    /// Further arguments of the template, by name: see [`ARGUMENTS`].
    pub args: Json,
    /// When it is started again after it ended: `auto_recovery` of `run.json`.
    pub recovery: Option<Json>,
    /// Options for the writer of the squashfs.
    pub format_options: Option<String>,
    /// The times of the squashfs.
    pub times: squashfs::Times,
    /// Whether a container of this name is replaced.
    pub force: bool,
    /// What is believed of an image.
    pub limits: Limits,
    /// How registries are reached.
    pub reach: Reach,
}

impl Options {
    /// A container of an image, and nothing more said.
    #[must_use]
    pub fn new(from: Reference, times: squashfs::Times) -> Self {
        Self {
            name: None,
            from: Origin::Image(from),
            source: None,
            platform: None,
            template: Template::default(),
            users: Users::default(),
            group: None,
            status_goal: None,
            restart_policy: None,
            healthcheck: true,
            after: Vec::new(),
            env: Vec::new(),
            network: Network::default(),
            volumes: Vec::new(),
            tasks: None,
            grants: Grants::default(),
            config: Json::object(),
            args: Json::object(),
            recovery: None,
            format_options: None,
            times,
            force: false,
            limits: Limits::DEFAULT,
            reach: Reach::default(),
        }
    }
}

/// Makes a container of an image.
///
/// # Errors
/// The image cannot be had or used, the container would not be one, or there is one already; nothing is left behind.
pub fn add(repo: &Repo, options: &Options, watch: &dyn Watch) -> Result<Made> {
    let (name, recipe) = named(repo, options)?;
    let (build, made) = made_of(repo, options, &name, recipe, watch)?;
    build.publish(repo, name.as_str(), options.force)?;
    Ok(made)
}

/// Makes a container in a directory beside its place, from where it goes there.
pub(crate) fn make(repo: &Repo, options: &Options, name: &ContainerName, watch: &dyn Watch) -> Result<(Build, Made)> {
    made_of(repo, options, name, recipe_of(repo, options)?, watch)
}

fn made_of(
    repo: &Repo,
    options: &Options,
    name: &ContainerName,
    mut recipe: Recipe,
    watch: &dyn Watch,
) -> Result<(Build, Made)> {
    let Origin::Image(from) = &options.from else {
        return Err(Error::internal("a root file system where an image was expected"));
    };
    let means = Means::of(options);
    let making = Making::begin(repo, name, &means, watch)?;
    let image = making.fetch(from, &mut recipe)?;
    let facts = Facts::of(&image, &recipe.overrides())?;
    let rendered = making.render(&recipe, &facts)?;
    making.pack(&image, &recipe)?;
    making.finish(&mut recipe, rendered, &facts)
}

/// The name of a container that is to be made, and its recipe.
fn named(repo: &Repo, options: &Options) -> Result<(ContainerName, Recipe)> {
    let name = name(options)?;
    let place = repo.root().join(name.as_str());
    if place.symlink_metadata().is_ok() && !options.force {
        return Err(Error::user(format!("there is a {name} already"))
            .hint("give another name; --force replaces the directory; `pvr app rm` removes it"));
    }
    let recipe = recipe_of(repo, options)?;
    Ok((name, recipe))
}

fn recipe_of(repo: &Repo, options: &Options) -> Result<Recipe> {
    let group = match options.template {
        Template::Confined if !names_group(&options.args) => group(repo)?,
        _ => None,
    };
    Recipe::of(options, group)
}

/// Whether arguments say which group a container belongs to.
fn names_group(args: &Json) -> bool {
    ["PV_GROUP", "PV_RUNLEVEL"].into_iter().any(|name| args.get(name).is_some())
}

fn name(options: &Options) -> Result<ContainerName> {
    let text = match (&options.name, options.from.short_name()) {
        (Some(name), _) => name.clone(),
        (None, Some(name)) => name,
        (None, None) => return Err(Error::user("the image has no name to call a container by").hint("give a NAME")),
    };
    ContainerName::parse(&text).map_err(|why| {
        Error::user(format!("a container cannot be called {text:?}: {why}"))
            .hint("a name is letters and digits, then also `-`, `_` and `.`; at most 64; and not `bsp`")
    })
}

/// The group of apps, if the device has one. A container without a group would be a part of the system on most devices,
/// and every change of it a reboot.
fn group(repo: &Repo) -> Result<Option<&'static str>> {
    const APPS: &str = "app";
    let path = repo.root().join("device.json");
    let groups = if path.exists() { read_json(&path)?.get("groups").cloned() } else { None };
    let has = match &groups {
        // The default groups, of which it is the last.
        None => true,
        Some(Json::Array(groups)) => groups.iter().any(|group| group.get("name").and_then(Json::as_str) == Some(APPS)),
        Some(_) => false,
    };
    Ok(has.then_some(APPS))
}

/// A small JSON file of the work tree.
pub(crate) fn read_json(path: &Path) -> Result<Json> {
    let bytes = fs::read(path).context("read", path)?;
    let limits = json::Limits::STATE;
    let value = json::parse(&bytes, limits).map_err(|error| Error::user(format!("{}: {error}", path.display())))?;
    Ok(value.to_json())
}
