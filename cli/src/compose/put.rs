//! Makes a plan so: fetches and builds every container beside its place, then puts all of it there.
//!
//! ```text
//!   .pvr/app.…/web/          a container, as `pvr app add` makes it        ─▶ web/
//!   .pvr/app.…/files/0, …    what goes to `_config/NAME`                   ─▶ _config/web/etc/…
//!              device.json   with the new pools                           ─▶ device.json
//! ```
//!
//! `src.json` of each container remembers its project and the files that came with it, so that the next import knows what is
//! its own.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use formats::group::Goal;
use formats::json::Json;
use formats::path::ContainerName;

use super::place::{Moves, sync};
use super::plan::{Container, Contents, Plan};
use super::report::{Level, Report};
use crate::app::{self, Build, Options, Origin, Volume, read_json};
use crate::error::{Context as _, Error, Result};
use crate::image::manifest::Platform;
use crate::image::reference::Reference;
use crate::repo::Repo;
use crate::repo::durable;
use crate::watch::Watch;

/// The member of `src.json` that remembers where a container is from.
const MEMBER: &str = "compose";

const DEVICE: &str = "device.json";

/// The most bytes of one file of the project.
const FILE_MAX: u64 = 64 << 20;

/// How containers are made, as far as the file does not say.
pub struct Making<'a> {
    /// Everything else of a container: how registries are reached, the platform, the group.
    pub options: &'a Options,
    /// Whether containers that are not of this project are replaced.
    pub force: bool,
}

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Done {
    /// Each container and its image, and whether it was there before.
    pub made: Vec<(String, String, bool)>,
    /// Files that went with what is no longer in the file.
    pub removed: Vec<String>,
    /// Containers of the project that the file no longer has.
    pub left: Vec<String>,
    /// What a person should hear about.
    pub warnings: Vec<String>,
}

/// The pools that `device.json` has, or nothing where there is none.
///
/// # Errors
/// It cannot be read.
pub fn device(repo: &Repo) -> Result<Json> {
    let path = repo.root().join(DEVICE);
    if path.exists() { read_json(&path) } else { Ok(Json::object()) }
}

/// Makes everything and puts it in place.
///
/// # Errors
/// Something cannot be fetched, made or put; nothing has changed then.
pub fn make(repo: &Repo, plan: &Plan, report: &Report, making: &Making<'_>, watch: &dyn Watch) -> Result<Done> {
    if report.stops() {
        let count = report.count(Level::Error) + report.count(Level::Right);
        return Err(Error::user(format!("{count} lines stand in the way of an import")).hint("see the report"));
    }
    let mut done = Done::default();
    let before: Vec<Option<Memory>> =
        plan.containers.iter().map(|one| taken(repo, plan, one, making.force)).collect::<Result<_>>()?;
    let build = Build::new(repo.books())?;
    let files = build.path().join("files");
    fs::create_dir(&files).context("create", &files)?;
    let mut moves: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut gone: Vec<PathBuf> = Vec::new();
    let mut builds: Vec<(String, Build)> = Vec::new();
    for (container, before) in plan.containers.iter().zip(&before) {
        let name = ContainerName::parse(&container.name).map_err(|why| Error::user(why.to_string()))?;
        let options = options(container, making.options)?;
        let (own, made) = app::make(repo, &options, &name, watch).map_err(|error| Error {
            message: format!("{}: services.{name}: {}", container.place, error.message),
            ..error
        })?;
        done.warnings.extend(made.warnings.iter().map(|warning| format!("{name}: {warning}")));
        let is_there = repo.root().join(name.as_str()).exists();
        done.made.push((container.name.clone(), made.image, is_there));
        let directory = own.path().join(name.as_str());
        remember(&directory, plan, container)?;
        for (path, contents) in &container.files {
            let staged = files.join(moves.len().to_string());
            write(&staged, contents)?;
            moves.push((staged, repo.root().join(format!("_config/{name}/{path}"))));
        }
        let stale = before.iter().flat_map(|before| &before.files).filter(|path| !container.files.contains_key(*path));
        for path in stale {
            let path = format!("_config/{name}/{path}");
            if repo.root().join(&path).is_file() {
                gone.push(repo.root().join(&path));
                done.removed.push(path);
            }
        }
        moves.push((directory, repo.root().join(name.as_str())));
        builds.push((container.name.clone(), own));
    }
    healthy(&builds, plan)?;
    if !plan.pools.is_empty() {
        let path = build.path().join(DEVICE);
        let mut file = durable::create(&path, 0o644)?;
        file.write_all(crate::diff::tabbed(&with_pools(device(repo)?, plan)?).as_bytes()).context("write", &path)?;
        moves.push((path, repo.root().join(DEVICE)));
    }
    for build in builds.iter().map(|(_, build)| build).chain([&build]) {
        sync(build.path())?;
    }
    done.left = others(repo, plan)?;
    {
        let _lock = repo.lock()?;
        let mut placing = Moves::new();
        for (from, to) in &moves {
            placing.put(from, to)?;
        }
        for (number, path) in gone.iter().enumerate() {
            placing.take(path, &build.path().join(format!("gone.{number}")))?;
        }
        placing.settle()?;
    }
    for path in &gone {
        empty(path.parent(), &repo.root().join("_config"));
    }
    Ok(done)
}

/// A directory with nothing left in it is no part of a state; one with something stays.
fn empty(directory: Option<&Path>, top: &Path) {
    let mut next = directory;
    while let Some(directory) = next.filter(|directory| directory.starts_with(top)) {
        if fs::remove_dir(directory).is_err() {
            return;
        }
        next = directory.parent();
    }
}

/// What `src.json` remembers.
struct Memory {
    project: String,
    files: Vec<String>,
}

fn memory(repo: &Repo, name: &str) -> Option<Memory> {
    let src = read_json(&repo.root().join(name).join(app::SRC)).ok()?;
    let own = src.get(MEMBER)?;
    let files = if let Some(Json::Array(files)) = own.get("files") { files.as_slice() } else { &[] };
    let files = files.iter().filter_map(Json::as_str).filter(|path| formats::path::relative(path).is_ok());
    Some(Memory { project: own.get("project")?.as_str()?.to_owned(), files: files.map(str::to_owned).collect() })
}

/// What is at the place of a container, if it may be replaced.
fn taken(repo: &Repo, plan: &Plan, container: &Container, force: bool) -> Result<Option<Memory>> {
    let name = &container.name;
    let memory = memory(repo, name);
    let is_own = memory.as_ref().is_some_and(|memory| memory.project == plan.project);
    if repo.root().join(name).symlink_metadata().is_ok() && !is_own && !force {
        return Err(Error::user(format!("there is a {name} already, which is not of the project {}", plan.project))
            .hint("rename the service; --force replaces the directory; `pvr app rm` removes it"));
    }
    Ok(memory.filter(|_| is_own))
}

/// Containers of the project that its file does not have any more.
fn others(repo: &Repo, plan: &Plan) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repo.root()).context("read", repo.root())? {
        let name = entry.context("read", repo.root())?.file_name().to_string_lossy().into_owned();
        let is_own = memory(repo, &name).is_some_and(|memory| memory.project == plan.project);
        if is_own && !plan.containers.iter().any(|container| container.name == name) {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

fn options(container: &Container, base: &Options) -> Result<Options> {
    let mut args = base.args.clone();
    if !container.lines.is_empty() {
        args.set("PV_LXC_EXTRA_CONF", container.lines.join("\n"));
    }
    if !container.dropped.is_empty() {
        let words: Vec<String> = container.dropped.iter().map(ToString::to_string).collect();
        args.set("PV_LXC_CAP_DROP", words);
    }
    let platform = match (&base.platform, &container.platform) {
        (None, Some(text)) => Some(
            Platform::parse(text)
                .ok_or_else(|| container.place.error(format!("{text:?} is no platform like linux/arm64")))?,
        ),
        (said, _) => said.clone(),
    };
    Ok(Options {
        name: Some(container.name.clone()),
        from: Origin::Image(Reference::parse(&container.image)?),
        platform,
        after: container.after.clone(),
        env: container.env.clone(),
        network: container.network.clone(),
        volumes: container.volumes.iter().map(|text| Volume::parse(text)).collect::<Result<_>>()?,
        tasks: container.tasks,
        grants: container.grants.clone(),
        config: container.config.clone(),
        args,
        recovery: container.recovery.clone(),
        ..base.clone()
    })
}

/// Notes in `src.json` where the container is from.
fn remember(directory: &Path, plan: &Plan, container: &Container) -> Result<()> {
    let path = directory.join(app::SRC);
    let mut src = read_json(&path)?;
    let files: Vec<String> = container.files.keys().cloned().collect();
    src.set(MEMBER, Json::object().with("project", plan.project.as_str()).with("files", files));
    fs::write(&path, app::indented(&src)).context("write", &path)
}

fn write(place: &Path, contents: &Contents) -> Result<()> {
    let mut file = durable::create(place, 0o644)?;
    match contents {
        Contents::Text(text) => file.write_all(text.as_bytes()).context("write", place),
        Contents::File(from) => {
            let mut source = File::open(from).context("read", from)?.take(FILE_MAX + 1);
            let copied = io::copy(&mut source, &mut file).context("copy", from)?;
            if copied > FILE_MAX {
                return Err(Error::user(format!("{} has more than {} MiB", from.display(), FILE_MAX >> 20))
                    .hint("make it part of an image"));
            }
            Ok(())
        }
    }
}

/// Whoever is waited for until it is healthy has to be able to say so.
fn healthy(builds: &[(String, Build)], plan: &Plan) -> Result<()> {
    for container in &plan.containers {
        for other in &container.healthy {
            let Some((_, build)) = builds.iter().find(|(name, _)| name == other) else { continue };
            let run = read_json(&build.path().join(other).join(app::RUN))?;
            let goal = run.get("status_goal").and_then(Json::as_str);
            if goal != Some(Goal::Ready.as_str()) {
                let what = format!("services.{}.depends_on.{other}: {other} has no health check", container.name);
                return Err(container
                    .place
                    .error(what)
                    .hint("write a `healthcheck` there, or wait with `condition: service_started`"));
            }
        }
    }
    Ok(())
}

fn with_pools(mut device: Json, plan: &Plan) -> Result<Json> {
    let wrong =
        || Error::user("device.json: `network` is no object with `pools`").hint("docs/networks.md has the form");
    if device.get("network").is_none() {
        device.set("network", Json::object());
    }
    let network = device.get_mut("network").ok_or_else(wrong)?;
    if network.get("pools").is_none() {
        if !matches!(network, Json::Object(_)) {
            return Err(wrong());
        }
        network.set("pools", Json::object());
    }
    let Some(pools @ Json::Object(_)) = network.get_mut("pools") else { return Err(wrong()) };
    for pool in &plan.pools {
        pools.set(&pool.name, pool.to_json());
    }
    Ok(device)
}
