//! From a recipe and an image to the two documents that a device reads.
//!
//! | template | |
//! |---|---|
//! | `confined` | see [`confined`] |
//! | `builtin-lxc-docker` | line for line what existing tools write: root with every capability, and the device's `/sys` |
//!
//! Both are read back as a device reads them before they are written, so no value of an image can add a line of its own
//! or make a container that is refused.

use formats::group::Goal;
use formats::json::Json;
use formats::lxc::Config;
use formats::path::ContainerName;

use super::facts::Facts;
use super::recipe::Recipe;
use super::{CONFIG, PATCH, ROOT, confined, docker, health, network, run, volume};
use crate::error::{Error, Result};
use crate::image::Image;

/// Where the device's `/etc/resolv.conf` appears, and memory for `/run`.
pub(super) const RESOLVER: &str = "etc/resolv.conf";
pub(super) const RUN: &str = "run";

/// What a container can have to reach.
pub const GOALS: &[&str] = Goal::WORDS;

/// How a container is started and confined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Template {
    /// As Docker would, and a bit less.
    #[default]
    Confined,
    /// As existing tools do.
    BuiltinLxcDocker,
}

impl Template {
    /// All names.
    pub const WORDS: &'static [&'static str] = &["confined", "builtin-lxc-docker"];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confined => "confined",
            Self::BuiltinLxcDocker => "builtin-lxc-docker",
        }
    }

    /// The one that it is not.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Confined => Self::BuiltinLxcDocker,
            Self::BuiltinLxcDocker => Self::Confined,
        }
    }

    /// The template of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "confined" => Some(Self::Confined),
            "builtin-lxc-docker" => Some(Self::BuiltinLxcDocker),
            _ => None,
        }
    }
}

/// The documents of a container.
pub(super) struct Rendered {
    /// `lxc.container.conf`; none for a container that only has volumes.
    pub(super) config: Option<String>,
    /// The filter of system calls that it names.
    pub(super) filter: Option<Vec<u8>>,
    /// `run.json`
    pub(super) run: Json,
    /// What a person should hear about.
    pub(super) warnings: Vec<String>,
}

/// Directories that every container needs to be started, made where an image has none.
pub(super) fn complete(image: &mut Image) -> Result<()> {
    let failed = |wrong: crate::image::flatten::FlattenError| Error::user(wrong.to_string());
    // A helper of builders on other machines, which no device runs.
    image.tree.remove_file(b"usr/bin/qemu-arm-static");
    for path in ["proc", "sys", "dev", "tmp", "var/tmp", "run", "var/run"] {
        image.tree.ensure_directory(path.as_bytes()).map_err(failed)?;
    }
    Ok(())
}

/// The documents of a container.
/// `first` is the device's number for root of the container, if its users are its own.
pub(super) fn render(name: &ContainerName, recipe: &Recipe, first: Option<u32>, facts: &Facts<'_>) -> Result<Rendered> {
    let volumes = volume::all(&recipe.volumes, &facts.config)?;
    let mut warnings = recipe.warnings.clone();
    let (config, filter) = match (starts(recipe), recipe.template) {
        (false, _) => (None, None),
        (true, Template::Confined) => {
            let (config, filter) = confined::lines(name, recipe, first, facts, &volumes, &mut warnings)?;
            (Some(config), filter)
        }
        (true, Template::BuiltinLxcDocker) => {
            (Some(docker::lines(name, recipe, facts, &volumes, &mut warnings)?), None)
        }
    };
    if let Some(text) = &config {
        Config::parse(text.as_bytes()).map_err(|error| {
            Error::user(format!("the container would be refused by a device: {CONFIG}: {error}"))
                .hint("the value comes from the image, or from an argument (--env is one too); write another")
        })?;
    }
    let readiness = if starts(recipe) { health::wanted(recipe, facts, &mut warnings)? } else { None };
    let run = run::document(name, recipe, &volumes, readiness.as_ref(), starts(recipe))?;
    network::check(name, &run)?;
    Ok(Rendered { config, filter, run, warnings })
}

/// Whether a program is started, and not only volumes are there.
pub(super) fn starts(recipe: &Recipe) -> bool {
    recipe.args.text("PV_STATUS_GOAL").as_deref() != Some(Goal::Mounted.as_str())
        && recipe.args.text("PV_RUNLEVEL").as_deref() != Some("data")
}

/// The images of its root: first the one that `run.json` calls so.
pub(super) fn images(recipe: &Recipe) -> Vec<&'static str> {
    match (recipe.text("base"), recipe.text("docker_ovl_digest")) {
        (Some(_), _) => vec![PATCH],
        (None, Some(_)) => vec![ROOT, PATCH],
        (None, None) => vec![ROOT],
    }
}

/// What its root is laid of, from the top down.
pub(super) fn lowers(name: &ContainerName, recipe: &Recipe) -> Vec<String> {
    let own = |file: &str| format!("/volumes/{name}/{file}");
    match (recipe.text("base"), recipe.text("docker_ovl_digest")) {
        (Some(base), _) => vec![own(PATCH), format!("/volumes/{base}/{ROOT}")],
        (None, Some(_)) => vec![own(PATCH), own(ROOT)],
        (None, None) => vec![own(ROOT)],
    }
}

/// The variables of the image.
pub(super) fn env(facts: &Facts<'_>) -> Result<Vec<(String, String)>> {
    let list = facts.config.list("Env").map_err(|why| Error::user(format!("the image's configuration: {why}")))?;
    list.iter()
        .map(|text| pair(text).ok_or_else(|| Error::user(format!("the image's variable {text:?} has no name"))))
        .collect()
}

/// The variables of the container's own.
pub(super) fn more_env(recipe: &Recipe) -> Result<Vec<(String, String)>> {
    let wrong = |text: &str| Error::user(format!("PV_LXC_EXTRA_ENV: {text:?} is not NAME=VALUE"));
    recipe.args.list("PV_LXC_EXTRA_ENV").iter().map(|text| pair(text).ok_or_else(|| wrong(text))).collect()
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty())?;
    Some((name.to_owned(), value.to_owned()))
}

/// A member of the image's configuration that is a text; empty if it is not there.
pub(super) fn text(facts: &Facts<'_>, member: &str) -> Result<String> {
    let text = facts.config.text(member).map_err(|why| Error::user(format!("the image's configuration: {why}")))?;
    Ok(text.to_owned())
}
