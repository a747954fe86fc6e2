//! `run.json`: what a container asks of the device, its members in the order of existing tools.

use formats::group::Goal;
use formats::json::Json;
use formats::path::ContainerName;
use formats::readiness::Readiness;
use formats::volume::Persistence;

use super::imports::Imports;
use super::recipe::Recipe;
use super::volume::{OVERLAY, Volume};
use super::{CONFIG, health, template};
use crate::error::Result;

/// The document.
pub(super) fn document(
    name: &ContainerName,
    recipe: &Recipe,
    volumes: &[Volume],
    readiness: Option<&Readiness>,
    starts: bool,
) -> Result<Json> {
    let args = &recipe.args;
    let mut run = Json::object().with("#spec", "service-manifest-run@1").with("name", name.as_str());
    let copy = |run: &mut Json, member: &str, argument: &str| {
        if let Some(value) = args.json(argument) {
            run.set(member, value.clone());
        }
    };
    let text = |run: &mut Json, member: &str, argument: &str| {
        if let Some(value) = args.text(argument) {
            run.set(member, value);
        }
    };
    if starts {
        run.set("config", CONFIG);
    }
    copy(&mut run, "conditions", "PV_CONDITIONS");
    let drivers =
        [("manual", "PV_DRIVERS_MANUAL"), ("required", "PV_DRIVERS_REQUIRED"), ("optional", "PV_DRIVERS_OPTIONAL")];
    let drivers = drivers.into_iter().fold(Json::object(), |all, (member, name)| all.with(member, args.list(name)));
    run.set("drivers", drivers);
    for (member, argument) in [
        ("group", "PV_GROUP"),
        ("runlevel", "PV_RUNLEVEL"),
        ("restart_policy", "PV_RESTART_POLICY"),
        ("status_goal", "PV_STATUS_GOAL"),
        ("automodfw", "PV_AUTOMODFW"),
    ] {
        text(&mut run, member, argument);
    }
    if let Some(readiness) = readiness {
        run.set("status_goal", Goal::Ready.as_str());
        run.set("readiness", health::member(readiness));
    }
    copy(&mut run, "remount", "PV_REMOUNT");
    let mut services = Json::object();
    for (member, argument) in [("required", "PV_SERVICES_REQUIRED"), ("optional", "PV_SERVICES_OPTIONAL")] {
        copy(&mut services, member, argument);
    }
    if services != Json::object() {
        run.set("services", services);
    }
    copy(&mut run, "auto_recovery", "PV_AUTO_RECOVERY");
    recipe.network.run(&mut run);
    let mut storage = Json::object();
    for volume in volumes.iter().filter(|volume| !volume.is_overlay()) {
        storage.set(&volume.directory(), volume.to_json());
    }
    let overlay = volumes.iter().find(|volume| volume.is_overlay()).map(Volume::to_json);
    storage.set(OVERLAY, overlay.unwrap_or_else(|| Json::object().with("persistence", Persistence::Boot.as_str())));
    run.set("storage", storage);
    for member in ["exports", "logs"] {
        if let Some(Json::Array(list)) = recipe.member(member)
            && !list.is_empty()
        {
            run.set(member, list.clone());
        }
    }
    if starts {
        run.set("type", "lxc");
    }
    let roles = args.list("PV_ROLES");
    if !roles.is_empty() {
        run.set("roles", roles);
    }
    let checked = |file: &str| {
        let verity = recipe.member("dm_enabled").and_then(|all| all.get(file)) == Some(&Json::Bool(true));
        format!("{}{file}", if verity { "dm:" } else { "" })
    };
    let images = template::images(recipe);
    let (root, patches) = images.split_first().map_or((super::ROOT, &[][..]), |(root, rest)| (*root, rest));
    run.set("root-volume", checked(root));
    let imports = Imports::read(args)?;
    let more = args.commas("PV_EXTRA_VOLUMES").into_iter().chain(imports.images().map(str::to_owned));
    let mut further: Vec<String> = Vec::new();
    for file in more.chain(patches.iter().map(|file| (*file).to_owned())) {
        let file = checked(&file);
        if !further.contains(&file) {
            further.push(file);
        }
    }
    Ok(run.with("volumes", further))
}
