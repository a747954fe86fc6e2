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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::manifest::Platform;
    use crate::image::tree::Tree;
    use crate::image::{Limits, manifest};
    use formats::json::{self, Json};

    /// What a recipe makes of an image with no files.
    fn made(src: &str) -> Result<(Option<String>, String)> {
        let document = json::parse(src.as_bytes(), json::Limits::DOCUMENT).unwrap().to_json();
        let config = document.get("docker_config").cloned().unwrap_or_else(Json::object);
        let config =
            manifest::Config { config, platform: Platform::parse("amd64").unwrap(), created: 0, diff_ids: vec![] };
        let (recipe, tree) = (Recipe::parse(document)?, Tree::new(Limits::DEFAULT));
        let facts = Facts::packed(&config, &recipe.overrides(), &tree, b"", b"");
        let rendered = render(&ContainerName::parse("web").unwrap(), &recipe, None, &facts)?;
        Ok((rendered.config, crate::diff::tabbed(&rendered.run)))
    }

    #[test]
    fn the_older_template_writes_the_bytes_of_existing_tools_for_every_argument() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/formats/golden/templates");
        let mut seen = String::new();
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let part = |name: &str| {
                let (_, rest) = text.split_once(&format!("--- {name}\n"))?;
                let end = rest.find("\n--- ").map_or(rest.len(), |end| end + 1);
                rest.get(..end)
            };
            let src = part("src.json").unwrap();
            let (config, run) = made(src).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(config.as_deref(), part("lxc.container.conf"), "{}", path.display());
            assert_eq!(run, part("run.json").unwrap().trim_end(), "{}", path.display());
            seen += src;
        }
        for argument in crate::app::ARGUMENTS {
            let taken = argument.builtin == crate::app::Use::Taken;
            // Ours, or of some versions of existing tools only.
            let ours = ["PV_NETWORK_PORTS", "PV_LXC_NETWORK_IPV4_GATEWAY", "PV_SERVICES_OPTIONAL", health::DISABLE];
            let ours = ours.contains(&argument.name);
            assert!(!taken || ours || seen.contains(argument.name), "no golden case has {}", argument.name);
        }
    }

    #[test]
    fn what_existing_tools_write_and_no_device_can_read_is_refused() {
        let of = |more: &str| made(&format!(r#"{{"template":"builtin-lxc-docker","docker_name":"x",{more}}}"#));
        for (more, why) in [
            (r#""docker_config":{"Volumes":{"/a/b":{},"/a-b":{}}}"#, "would be one directory"),
            (r#""docker_config":{"Cmd":["a","'\""]}"#, "one line"),
            (r#""docker_config":{"Env":["A=b\nlxc.cap.keep = sys_admin"]}"#, "control character"),
            (r#""args":{"PV_LXC_EXTRA_ENV":["A=b\nx"]}"#, "control character"),
            (r#""args":{"PV_LXC_EXTRA_ENV":["=b"]}"#, "is not NAME=VALUE"),
            (r#""args":{"PV_LXC_EXTRA_CONF":"no line"}"#, "refused by a device"),
            (r#""args":{"PV_LXC_NETWORK_TYPE":"phys"}"#, "PV_LXC_NETWORK_LINK is missing"),
            (r#""args":{"PV_LXC_NETWORK_TYPE":"wifi"}"#, "\"wifi\" is none of"),
            (r#""args":{"PV_FILEIMPORTS":"db"}"#, "\"db\" is not SOURCE:TARGET"),
            (r#""args":{"PV_VOLUME_IMPORTS":["db:/x"]}"#, "another form"),
            (r#""args":{"PV_VOLUME_IMPORTS":["db:/x y:z"]}"#, "another form"),
            (r#""args":{"PV_STATUS_GOAL":"RUNNING"}"#, "none of MOUNTED"),
            (r#""args":{"PV_AUTO_RECOVERY":{"max_retries":"x"}}"#, "max_retries"),
            (r#""persistence":{"/var":"boot","ovl:/var":"boot"}"#, "volumes at the same place"),
        ] {
            let error = of(more).unwrap_err();
            assert!(error.message.contains(why), "{more}: {error}");
        }
    }

    #[test]
    fn what_both_templates_take_means_the_same_in_the_confined_one() {
        let of = |args: &str| {
            made(&format!(r#"{{"template":"confined","docker_config":{{"Cmd":["/bin/web"]}},"args":{args}}}"#)).unwrap()
        };
        let (plain, run) = of("{}");
        let plain = plain.unwrap();
        for (args, line) in [
            (r#"{"LXC_TTY_MAX":4}"#, "+lxc.tty.max = 4 -lxc.tty.max = 8"),
            (r#"{"PV_DEBUG_MODE":"yes"}"#, "+lxc.log.file = /pv/logs/web.log"),
            (r#"{"PV_CONFINED_LIMITS":["memory.max = 10M"]}"#, "+lxc.cgroup2.memory.max = 10M"),
            (r#"{"PV_LXC_EXTRA_ENV":"A=b"}"#, "+lxc.environment = A=b"),
            (r#"{"PV_LXC_DISABLE_CONSOLE":true}"#, "+lxc.console.path = none"),
            (
                r#"{"PV_RESOLV_CONF_DISABLE":"yes"}"#,
                "-lxc.mount.entry = /etc/resolv.conf etc/resolv.conf none bind,ro,create=file,optional 0 0",
            ),
            (
                r#"{"PV_RUN_TMPFS_DISABLE":"yes"}"#,
                "-lxc.mount.entry = tmpfs run tmpfs rw,nosuid,nodev,relatime,mode=755,create=dir 0 0",
            ),
            (r#"{"PV_FILEIMPORTS":"a:b"}"#, "+lxc.mount.entry = /exports/a b none bind,rw,create=file 0 0"),
            (r#"{"PV_LXC_EXTRA_CONF":"lxc.prlimit.nofile = 9"}"#, "+lxc.prlimit.nofile = 9"),
        ] {
            let made = of(args).0.unwrap();
            let (has, had) = (
                |line: &&str| made.lines().any(|one| one == *line),
                |line: &&str| plain.lines().any(|one| one == *line),
            );
            let new = made.lines().filter(|line| !had(line)).map(|line| format!("+{line}"));
            let gone = plain.lines().filter(|line| !has(line)).map(|line| format!("-{line}"));
            assert_eq!(new.chain(gone).collect::<Vec<_>>().join(" "), line, "{args}");
        }
        let kept = of(r#"{"PV_LXC_CAP_DROP":["CHOWN"]}"#).0.unwrap();
        assert!(plain.contains("lxc.cap.keep = chown dac") && kept.contains("lxc.cap.keep = dac"), "{kept}");
        let (config, data) = of(r#"{"PV_RUNLEVEL":"data"}"#);
        assert!(config.is_none() && data != run);
    }
}
