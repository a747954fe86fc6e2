//! `src.json`: where a container came from and with what arguments, so that it can be made again.
//!
//! Members stand in the order that existing tools write, and those that say nothing are left out.

use formats::json::Json;

use super::{Options, Users};
use crate::error::Result;
use crate::image::Image;
use crate::image::reference::Place;

/// The document of a container.
pub(super) fn of(options: &Options, image: &Image) -> Result<Json> {
    let mut args = Json::object();
    for (name, value) in [
        ("PV_GROUP", &options.group),
        ("PV_RESTART_POLICY", &options.restart_policy),
        ("PV_STATUS_GOAL", &options.status_goal),
    ] {
        if let Some(value) = value {
            args.set(name, value.as_str());
        }
    }
    if !options.after.is_empty() {
        args.set("PV_CONDITIONS", options.after.iter().map(|name| name.as_str().into()).collect::<Vec<Json>>());
    }
    options.network.arguments(&mut args);
    if options.users == Users::Own {
        args.set("PV_USERS", "own");
    }
    if let Some(tasks) = options.tasks {
        args.set("PV_CONFINED_TASKS", tasks.to_string());
    }
    if !options.env.is_empty() {
        let pairs: Vec<Json> = options.env.iter().map(|(name, value)| format!("{name}={value}").into()).collect();
        args.set("PV_LXC_EXTRA_ENV", pairs);
    }
    for wide in &options.grants.wide {
        args.set(wide.argument(), "yes");
    }
    let lists = [
        ("PV_CONFINED_DEVICES", options.grants.devices.iter().map(ToString::to_string).collect::<Vec<_>>()),
        ("PV_CONFINED_CAPS", options.grants.capabilities.iter().map(ToString::to_string).collect()),
        ("PV_CONFINED_MOUNTS", options.grants.mounts.iter().map(ToString::to_string).collect()),
    ];
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        args.set(name, list);
    }
    let mut src = Json::object().with("#spec", "service-manifest-src@1").with("template", options.template.as_str());
    if args != Json::object() {
        src.set("args", args);
    }
    let registry = match &options.from.place {
        Place::Registry { digest, .. } => Some(digest.is_some()),
        _ => None,
    };
    src.set("docker_name", options.from.name.as_str());
    match (&options.from.tag, registry) {
        (Some(tag), _) => src.set("docker_tag", tag.as_str()),
        (None, Some(false)) => src.set("docker_tag", "latest"),
        (None, _) => {}
    }
    src.set("docker_digest", digest(options, image));
    src.set("docker_source", if registry.is_some() { "remote" } else { "local" });
    src.set("docker_config", image.config.config.clone());
    let platform = options.platform.as_ref().unwrap_or(&image.config.platform);
    if !platform.architecture.is_empty() {
        src.set("docker_platform", platform.to_string());
    }
    if let Some(options) = &options.format_options {
        src.set("format_options", options.as_str());
    }
    if !options.volumes.is_empty() {
        let persistence =
            options.volumes.iter().fold(Json::object(), |all, one| all.with(&one.path, one.persistence()));
        src.set("persistence", persistence);
    }
    Ok(src)
}

/// `NAME@sha256:…`
pub(super) fn digest(options: &Options, image: &Image) -> String {
    format!("{}@{}", options.from.name, image.digest)
}

/// Indented by one blank per level, and one more on every line but the first.
pub(super) fn indented(json: &Json) -> String {
    let mut text = String::new();
    for (number, line) in json.pretty().lines().enumerate() {
        let bare = line.trim_start_matches(' ');
        if number > 0 {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', (line.len() - bare.len()) / 4 + 1));
        }
        text.push_str(bare);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_indented_as_existing_tools_do() {
        let json = Json::object().with("a", Json::object().with("b", "    c")).with("d", Json::object());
        assert_eq!(indented(&json), "{\n  \"a\": {\n   \"b\": \"    c\"\n  },\n  \"d\": {}\n }");
    }
}
