//! From a compose file to a plan, and a report of what is not in it.

use std::collections::{BTreeMap, BTreeSet};

use formats::json::Json;
use formats::path::ContainerName;

use super::at::At;
use super::interpolate::Lookup;
use super::keys::{self, Fate};
use super::load::Loaded;
use super::net::{self, Pools};
use super::plan::{Container, Plan};
use super::report::{Level, Report};
use super::world::{Service, World};
use super::yaml::{Node, Place};
use super::{limits, mounts, process};
use crate::image::reference::Reference;

/// What a person asks for beside the file.
pub struct Wishes<'a> {
    /// The variables of the environment.
    pub environment: Lookup<'a>,
    /// Profiles whose services are taken.
    pub profiles: &'a [String],
    /// Rights that services may have.
    pub allow: &'a [String],
    /// The pool of those who name no network.
    pub pool: Option<&'a str>,
    /// `device.json`, as it is.
    pub device: &'a Json,
}

/// What a file comes to. With findings that stop, the plan is not to be followed.
#[must_use]
pub fn map(loaded: &Loaded, wishes: &Wishes<'_>) -> (Plan, Report) {
    let mut report = Report::default();
    let top_place = loaded.tree.place.clone();
    let top = At::new(&loaded.tree, &top_place, "");
    let of = |key: &str| {
        let entry = loaded.tree.entries().iter().find(|entry| entry.key == key)?;
        Some(At::new(&entry.value, &entry.place, key))
    };
    known(&top, keys::TOP, &mut report);
    for unset in &loaded.unset {
        let why = format!("the variable {} is not set, and empty", unset.name);
        report.add(Level::NotMapped, &unset.place, format!("${{{}}}", unset.name), why);
    }
    let project = project(loaded, wishes, of("name").as_ref(), &mut report);
    let all = of("services").map(|at| at.entries(&mut report)).unwrap_or_default();
    if all.is_empty() {
        report.add(Level::Error, &top_place, "services", "the file has no services");
    }
    let (services, left_out) = chosen(all, wishes, &mut report);
    let mut shared: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut used = BTreeSet::new();
    for service in &services {
        for mount in mounts::mounts(service, &mut Report::default()) {
            if let Some((volume, target)) = mount.volume() {
                shared.entry(volume.to_owned()).or_default().push((service.name.to_owned(), target.to_owned()));
            }
        }
        used.extend(net::named(service, &mut Report::default()).into_iter().map(|(name, _)| name.to_owned()));
    }
    let mut pools = Pools::of(wishes.device);
    pools.read(of("networks").as_ref(), wishes.pool.unwrap_or(&project), used, &mut report);
    let environment = wishes.environment;
    let mut world = World { loaded, environment, allow: wishes.allow, pools, shared, report };
    let names: Vec<&str> = services.iter().map(|service| service.name).collect();
    let links = links(&services, &mut world.report);
    let none = Vec::new();
    let mut containers: Vec<Container> = services
        .iter()
        .map(|service| container(service, links.get(service.name).unwrap_or(&none), &names, &left_out, &mut world))
        .collect();
    unused(loaded, &mut world);
    let order = circle(&containers);
    if let (Some(circle), Some(first)) = (order, containers.first()) {
        let place = circle.first().and_then(|name| containers.iter().find(|one| one.name == *name)).unwrap_or(first);
        let why = format!("they wait for each other: {}", circle.join(" → "));
        world.report.add(Level::Error, &place.place, "services", why);
    }
    for container in &mut containers {
        container.after.dedup();
    }
    let plan = Plan { project, containers, pools: world.pools.new, left_out };
    (plan, world.report)
}

/// Reports the keys of a map by their table; what the table does not have is an error.
fn known(at: &At<'_>, table: &[keys::Key], report: &mut Report) {
    for (key, mut at) in at.entries(report) {
        if key.starts_with("x-") || at.is_null() {
            continue;
        }
        at.path = at.path.trim_start_matches('.').to_owned();
        match keys::find(table, key).map(|key| key.fate) {
            Some(Fate::Mapped(_)) => {}
            Some(Fate::Reported(level, why)) => {
                // Said with the value that it has anyway.
                let is_no = matches!(at.node.text(), Some("false" | "0"));
                at.say(report, if is_no { Level::Idle } else { level }, why);
            }
            None => at.wrong(report, "is no key of Compose: write it as the Compose Specification does, or remove it"),
        }
    }
}

fn project(loaded: &Loaded, wishes: &Wishes<'_>, name: Option<&At<'_>>, report: &mut Report) -> String {
    let said = name.and_then(|name| name.text(report)).map(str::to_owned);
    let said = said.or_else(|| (wishes.environment)("COMPOSE_PROJECT_NAME")).or_else(|| {
        let directory = loaded.directory.canonicalize().ok()?;
        Some(directory.file_name()?.to_string_lossy().into_owned())
    });
    let word = said.unwrap_or_default().to_lowercase();
    let word: String = word.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    let word = word.trim_start_matches(['-', '_']);
    if word.is_empty() { "compose".to_owned() } else { word.to_owned() }
}

/// The services that are taken, and the names of the others.
pub(super) fn chosen<'a>(
    all: Vec<(&'a str, At<'a>)>,
    wishes: &Wishes<'_>,
    report: &mut Report,
) -> (Vec<Service<'a>>, Vec<String>) {
    let (mut services, mut left_out) = (Vec::new(), Vec::new());
    for (name, at) in all {
        let service = Service::new(name, at);
        let profiles = service.get("profiles").map(|at| at.items(report)).unwrap_or_default();
        let is_on = |profile: &At<'_>| {
            profile.node.text().is_some_and(|name| wishes.profiles.iter().any(|on| on == name || on == "*"))
        };
        if let Some(first) = profiles.first()
            && !profiles.iter().any(is_on)
        {
            let named: Vec<&str> = profiles.iter().filter_map(|profile| profile.node.text()).collect();
            first.say(
                report,
                Level::Idle,
                format!("left out: it is for the profile {}; `--profile` takes it", named.join(", ")),
            );
            left_out.push(name.to_owned());
            continue;
        }
        let deploy = service.get("deploy");
        let count = deploy.as_ref().and_then(|deploy| deploy.get("replicas")).or(service.get("scale"));
        match count.as_ref().filter(|count| !count.is_null()).map(|count| (count, count.number(report))) {
            Some((_, Some(0))) => {
                left_out.push(name.to_owned());
                continue;
            }
            Some((at, Some(count))) if count != 1 => {
                at.wrong(report, "a device runs one of each container: copy the service under other names");
            }
            _ => {}
        }
        services.push(service);
    }
    (services, left_out)
}

/// The further names by which others want to find a service.
fn links<'a>(services: &[Service<'a>], report: &mut Report) -> BTreeMap<String, Vec<(String, At<'a>)>> {
    let mut links: BTreeMap<String, Vec<(String, At<'a>)>> = BTreeMap::new();
    for service in services {
        for item in service.get("links").map(|at| at.items(report)).unwrap_or_default() {
            let Some(text) = item.text(report) else { continue };
            if let Some((other, name)) = text.split_once(':') {
                links.entry(other.to_owned()).or_default().push((name.to_owned(), item));
            }
        }
    }
    links
}

pub(super) fn container(
    service: &Service<'_>,
    further: &[(String, At<'_>)],
    names: &[&str],
    left_out: &[String],
    world: &mut World<'_>,
) -> Container {
    let (at, name) = (service.whole(), service.name);
    if at.node.entries().is_empty() {
        at.wrong(&mut world.report, "a service is a map with an `image`");
    }
    known(at, keys::SERVICE, &mut world.report);
    if let Err(why) = ContainerName::parse(name) {
        at.wrong(&mut world.report, format!("a container cannot be called so: {why}"));
    }
    let image = service.get("image").and_then(|at| at.text(&mut world.report).map(|text| (text, at)));
    if let Some(build) = service.get("build") {
        let (level, why) = match image {
            Some(_) => (Level::Idle, "the image is fetched, and not built: build and push it first"),
            None => (Level::Error, "nothing is built here: build and push the image, and name it with `image`"),
        };
        build.say(&mut world.report, level, why);
    } else if image.is_none() && !at.node.entries().is_empty() {
        at.wrong(&mut world.report, "it has no `image`");
    }
    if let Some((text, at)) = &image
        && let Err(error) = Reference::parse(text)
    {
        at.wrong(&mut world.report, error.message);
    }
    let image = image.map(|(text, _)| text).unwrap_or_default();
    let mut container = Container::new(name, service.place().clone(), image);
    waits(service, names, left_out, world, &mut container);
    process::process(service, world, &mut container);
    limits::rights(service, world, &mut container);
    limits::limits(service, world, &mut container);
    net::network(service, world, &mut container, further);
    mounts::map(service, world, &mut container);
    if let Some(deploy) = service.get("deploy") {
        let known = [
            "resources",
            "restart_policy",
            "replicas",
            "mode",
            "endpoint_mode",
            "labels",
            "placement",
            "update_config",
            "rollback_config",
            "job",
        ];
        deploy.only(&known, &mut world.report);
        let one = "a device is one machine, and updates as its groups say";
        for key in ["mode", "endpoint_mode", "labels", "placement", "update_config", "rollback_config", "job"] {
            deploy.report_keys(Level::Idle, &[(key, one)], &mut world.report);
        }
    }
    container
}

fn waits(service: &Service<'_>, names: &[&str], left_out: &[String], world: &mut World<'_>, container: &mut Container) {
    if let Some(at) = service.get("depends_on") {
        for (other, at) in at.named(&mut world.report) {
            wait(other, &at, names, left_out, world, container);
        }
    }
    if let Some(at) = service.get("links") {
        for item in at.items(&mut world.report) {
            let Some(text) = item.text(&mut world.report) else { continue };
            let other = text.split(':').next().unwrap_or_default();
            wait(other, &item, names, left_out, world, container);
        }
    }
}

fn wait(
    other: &str,
    at: &At<'_>,
    names: &[&str],
    left_out: &[String],
    world: &mut World<'_>,
    container: &mut Container,
) {
    let long = at.node.text().is_none();
    if long {
        at.only(&["condition", "required", "restart"], &mut world.report);
    }
    let required = !long || at.flag_of("required", &mut world.report).unwrap_or(true);
    if !names.contains(&other) {
        if required {
            let why = if left_out.iter().any(|one| one == other) {
                format!("{other} is left out: take it with `--profile`, or do not wait for it")
            } else {
                format!("the file has no service {other}")
            };
            at.wrong(&mut world.report, why);
        }
        return;
    }
    container.after.push(other.to_owned());
    if !long {
        return;
    }
    match at.text_of("condition", &mut world.report) {
        None | Some("service_started") => {}
        Some("service_healthy") => container.healthy.push(other.to_owned()),
        Some("service_completed_successfully") => {
            let why = format!(
                "it starts when {other} has started, and not when that has ended: let it try until the work is done, or do that work itself"
            );
            at.say(&mut world.report, Level::NotMapped, why);
        }
        Some(_) => {
            at.wrong(
                &mut world.report,
                "condition: write service_started, service_healthy or service_completed_successfully",
            );
        }
    }
    if at.flag_of("restart", &mut world.report) == Some(true) {
        at.say(
            &mut world.report,
            Level::NotMapped,
            format!("it is not started anew when {other} is: let it connect again"),
        );
    }
}

/// What is declared and that nobody uses changes nothing.
fn unused(loaded: &Loaded, world: &mut World<'_>) {
    let text = |node: &Node| node.text().map(str::to_owned);
    for what in ["configs", "secrets"] {
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        for service in loaded.tree.get("services").map(Node::entries).unwrap_or_default() {
            for item in service.value.get(what).map(Node::items).unwrap_or_default() {
                wanted.extend(text(item).or_else(|| text(item.get("source")?)));
            }
        }
        idle(loaded, what, |name| wanted.contains(name), &mut world.report);
    }
    let shared = &world.shared;
    idle(loaded, "volumes", |name| shared.contains_key(name), &mut world.report);
}

fn idle(loaded: &Loaded, what: &str, is_used: impl Fn(&str) -> bool, report: &mut Report) {
    for entry in loaded.tree.get(what).map(Node::entries).unwrap_or_default() {
        if !is_used(&entry.key) && !entry.key.starts_with("x-") {
            report.add(Level::Idle, &entry.place, format!("{what}.{}", entry.key), "no service that is taken uses it");
        }
    }
}

/// Containers that wait for each other, if there are some.
fn circle(containers: &[Container]) -> Option<Vec<String>> {
    let mut ready: BTreeSet<&str> = BTreeSet::new();
    let mut left: Vec<&Container> = containers.iter().collect();
    loop {
        let before = left.len();
        left.retain(|one| {
            let waits = one.after.iter().any(|other| !ready.contains(other.as_str()));
            if !waits {
                ready.insert(&one.name);
            }
            waits
        });
        if left.is_empty() {
            return None;
        }
        if left.len() == before {
            break;
        }
    }
    // Each of those waits for another of them: following one leads into a circle.
    let mut way: Vec<String> = vec![left.first()?.name.clone()];
    loop {
        let last = way.last()?.clone();
        let next = left
            .iter()
            .find(|one| one.name == last)?
            .after
            .iter()
            .find(|other| left.iter().any(|one| one.name == **other))?;
        let known = way.iter().position(|one| one == next);
        way.push(next.clone());
        if let Some(known) = known {
            return Some(way.split_off(known));
        }
    }
}

/// The place of a whole file.
#[must_use]
pub fn place_of(loaded: &Loaded) -> Place {
    loaded.tree.place.clone()
}
