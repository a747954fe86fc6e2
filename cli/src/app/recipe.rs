//! `src.json`: where a container came from and with what arguments. What it says is enough to make the container again, and
//! nothing else is asked: the command line becomes such a document first, and the container is made of the document.
//!
//! Members that are known stand in the order that existing tools write, those that say nothing are left out, and all others
//! stay as they were.

use formats::json::Json;
use formats::lxc::Capability;

use super::arguments::Arguments;
use super::{Device, Grants, HostMount, Network, Options, Origin, Tasks, Template, Users, Volume, Wide, facts, health};
use crate::contents::layers;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::image::order::Where;
use crate::image::reference::{Place, Reference};

/// What the document is.
pub(super) const SPEC: &str = "service-manifest-src@1";

/// Its members in their order.
const MEMBERS: &[&str] = &[
    "base",
    "name",
    "#spec",
    "template",
    "args",
    "dm_enabled",
    "logs",
    "exports",
    "config",
    "docker_name",
    "docker_tag",
    "docker_digest",
    "docker_ovl_digest",
    "docker_source",
    "docker_config",
    layers::MEMBER,
    "docker_platform",
    "format_options",
    "pvr",
    "pvr_digest",
    "rootfs_url",
    "rootfs_digest",
    "persistence",
];

/// Whether a member has a meaning here.
pub(super) fn is_known(member: &str) -> bool {
    MEMBERS.contains(&member)
}

/// What a container is made of, and how.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Recipe {
    document: Json,
    pub(super) template: Template,
    pub(super) args: Arguments,
    pub(super) users: Users,
    pub(super) tasks: Option<Tasks>,
    pub(super) grants: Grants,
    pub(super) network: Network,
    pub(super) volumes: Vec<Volume>,
    /// What a person should hear about.
    pub(super) warnings: Vec<String>,
}

impl Recipe {
    /// What the command line says.
    pub(super) fn of(options: &Options, group: Option<&str>) -> Result<Self> {
        let mut document = Json::object().with("#spec", SPEC).with("template", options.template.as_str());
        set(&mut document, "args", arguments(options, group)?);
        set(&mut document, "config", options.config.clone());
        if let Some(platform) = &options.platform {
            document.set("docker_platform", platform.to_string());
        }
        if let Some(options) = &options.format_options {
            document.set("format_options", options.as_str());
        }
        let persistence =
            options.volumes.iter().fold(Json::object(), |all, one| all.with(&one.path, one.persistence()));
        set(&mut document, "persistence", persistence);
        let mut recipe = Self::parse(document)?;
        match &options.from {
            Origin::Image(from) => recipe.name_image(from),
            Origin::Rootfs { place, .. } => recipe.set("rootfs_url", place.name()),
        }
        if let Some(order) = &options.source {
            Where::parse(order)?;
            if recipe.text("docker_source") != Some("remote") {
                return Err(Error::user("--source says where to look for a name, and this is a file")
                    .hint("leave it out, or name an image like nginx:1.27"));
            }
            recipe.set("docker_source", order.as_str());
        }
        Ok(recipe)
    }

    /// Reads a document.
    pub(super) fn parse(document: Json) -> Result<Self> {
        let mut warnings = Vec::new();
        let text = |member: &str| document.get(member).and_then(Json::as_str);
        let template = match text("template") {
            Some(name) => Template::parse(name).ok_or_else(|| {
                Error::user(format!("`template`: {name:?} is not known"))
                    .hint(format!("there are {}", Template::WORDS.join(" and ")))
            })?,
            None => return Err(Error::user("`template` is missing").hint("it says how the container is made")),
        };
        let args = document.get("args").cloned().unwrap_or_else(Json::object);
        let args = Arguments::read(args, template, &mut warnings)?;
        let object = |member: &str| match document.get(member) {
            None | Some(Json::Null) => Ok(Json::object()),
            Some(object @ Json::Object(_)) => Ok(object.clone()),
            Some(_) => Err(Error::user(format!("`{member}` is no JSON object"))),
        };
        warnings.extend(facts::doubts(&object("config")?));
        let Json::Object(kept) = object("persistence")? else { return Err(Error::internal("an object is none")) };
        let volume = |(path, kept): &(String, Json)| {
            let kept = kept.as_str().ok_or_else(|| Error::user(format!("`persistence`: {path}: no text")))?;
            Volume::of(path, kept, &format!("{path}:{kept}"))
        };
        Ok(Self {
            template,
            users: match args.text("PV_USERS") {
                None => Users::default(),
                Some(word) => Users::parse(&word)
                    .ok_or_else(|| Error::user(format!("PV_USERS: {word:?} is none of {}", Users::WORDS.join(", "))))?,
            },
            tasks: args.text("PV_CONFINED_TASKS").map(|text| Tasks::parse(&text)).transpose()?,
            grants: grants(&args)?,
            network: Network::read(&args),
            volumes: kept.iter().map(volume).collect::<Result<_>>()?,
            args,
            warnings,
            document,
        })
    }

    /// A text of the document.
    pub(super) fn text(&self, member: &str) -> Option<&str> {
        self.document.get(member).and_then(Json::as_str)
    }

    /// A member of the document.
    pub(super) fn member(&self, member: &str) -> Option<&Json> {
        self.document.get(member)
    }

    /// What stands for members of the image's own configuration.
    pub(super) fn overrides(&self) -> Json {
        self.document.get("config").cloned().unwrap_or_else(Json::object)
    }

    /// Sets a member. What follows from it is as before until the document is [read again](Self::read_again).
    pub(super) fn set(&mut self, member: &str, value: impl Into<Json>) {
        self.document.set(member, value);
    }

    /// Takes a member out.
    pub(super) fn remove(&mut self, member: &str) {
        drop(self.document.remove(member));
    }

    /// The same document, read anew.
    pub(super) fn read_again(self) -> Result<Self> {
        Self::parse(self.document)
    }

    /// Says where the image is.
    pub(super) fn name_image(&mut self, from: &Reference) {
        self.set("docker_name", from.name.as_str());
        match (&from.tag, &from.place) {
            (Some(tag), _) => self.set("docker_tag", tag.as_str()),
            (None, Place::Registry { digest: None, .. }) => self.set("docker_tag", "latest"),
            (None, _) => self.remove("docker_tag"),
        }
        let remote = matches!(from.place, Place::Registry { .. });
        // Who looks in both places goes on doing so, whatever the name.
        if !remote || !self.text("docker_source").is_some_and(|order| order.contains(',')) {
            self.set("docker_source", if remote { "remote" } else { "local" });
        }
    }

    /// Notes of which image it is made.
    pub(super) fn made_of(&mut self, image: &Image) {
        let name = self.text("docker_name").unwrap_or_default();
        let digest = format!("{name}@{}", image.digest);
        self.document.set("docker_digest", digest);
        self.document.set("docker_config", image.config.config.clone());
        self.document.set(layers::MEMBER, layers::member(&image.config.diff_ids));
        if self.text("docker_platform").is_none() && !image.config.platform.architecture.is_empty() {
            self.document.set("docker_platform", image.config.platform.to_string());
        }
    }

    /// The document, members in their order.
    pub(super) fn to_json(&self) -> Json {
        let mut ordered = Json::object();
        for name in MEMBERS {
            if let Some(value) = self.document.get(name) {
                ordered.set(name, value.clone());
            }
        }
        if let Json::Object(members) = &self.document {
            for (name, value) in members.iter().filter(|(name, _)| !MEMBERS.contains(&name.as_str())) {
                ordered.set(name, value.clone());
            }
        }
        ordered
    }
}

/// Sets a member that says something.
fn set(document: &mut Json, member: &str, value: Json) {
    if value != Json::Null && value != Json::object() {
        document.set(member, value);
    }
}

/// `args` of a command line.
fn arguments(options: &Options, group: Option<&str>) -> Result<Json> {
    let mut args = Json::object();
    let texts = |list: &[String]| list.iter().map(|one| one.as_str().into()).collect::<Vec<Json>>();
    for (name, value) in [
        ("PV_GROUP", options.group.as_deref().or(group)),
        ("PV_RESTART_POLICY", options.restart_policy.as_deref()),
        ("PV_STATUS_GOAL", options.status_goal.as_deref()),
    ] {
        if let Some(value) = value {
            args.set(name, value);
        }
    }
    if !options.healthcheck {
        args.set(health::DISABLE, "yes");
    }
    if !options.after.is_empty() {
        args.set("PV_CONDITIONS", texts(&options.after));
    }
    options.network.arguments(&mut args);
    if options.users == Users::Own {
        args.set("PV_USERS", "own");
    }
    if let Some(tasks) = options.tasks {
        args.set("PV_CONFINED_TASKS", tasks.to_string());
    }
    if !options.env.is_empty() {
        let pairs: Vec<String> = options.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
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
    if let Some(recovery) = &options.recovery {
        args.set("PV_AUTO_RECOVERY", recovery.clone());
    }
    match &options.args {
        Json::Null => {}
        Json::Object(more) => {
            for (name, value) in more {
                if args.get(name).is_some_and(|said| said != value) {
                    return Err(Error::user(format!("the argument {name} is said twice, and differs"))
                        .hint("an option of its own says it too; leave out one of the two"));
                }
                args.set(name, value.clone());
            }
        }
        _ => return Err(Error::internal("arguments that are no object")),
    }
    Ok(args)
}

/// What is granted.
fn grants(args: &Arguments) -> Result<Grants> {
    let all = [Wide::FullDev, Wide::Host, Wide::HostProc, Wide::Storage];
    let capability = |word: &String| {
        Capability::parse(word).ok_or_else(|| Error::user(format!("{word:?} is no capability like sys_time")))
    };
    Ok(Grants {
        wide: all.into_iter().filter(|wide| args.yes(wide.argument())).collect(),
        devices: args.list("PV_CONFINED_DEVICES").iter().map(|text| Device::parse(text)).collect::<Result<_>>()?,
        capabilities: args.list("PV_CONFINED_CAPS").iter().map(capability).collect::<Result<_>>()?,
        mounts: args.list("PV_CONFINED_MOUNTS").iter().map(|text| HostMount::parse(text)).collect::<Result<_>>()?,
    })
}

/// Indented by one blank per level, and one more on every line but the first.
pub(crate) fn indented(json: &Json) -> String {
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
    use formats::json::{Limits, parse};

    fn read(text: &str) -> Result<Recipe> {
        Recipe::parse(parse(text.as_bytes(), Limits::DOCUMENT).unwrap().to_json())
    }

    #[test]
    fn it_is_indented_as_existing_tools_do() {
        let json = Json::object().with("a", Json::object().with("b", "    c")).with("d", Json::object());
        assert_eq!(indented(&json), "{\n  \"a\": {\n   \"b\": \"    c\"\n  },\n  \"d\": {}\n }");
    }

    #[test]
    fn members_go_into_their_order_and_what_is_not_known_stays() {
        let text = r##"{"mine":{"x":[1.50]},"docker_tag":"1","template":"builtin-lxc-docker","args":{"MY":[true]},"#spec":"s"}"##;
        let recipe = read(text).unwrap();
        assert_eq!(
            recipe.to_json().compact(),
            r##"{"#spec":"s","template":"builtin-lxc-docker","args":{"MY":[true]},"docker_tag":"1","mine":{"x":[1.50]}}"##
        );
        assert!(recipe.warnings.iter().any(|warning| warning.contains("\"MY\"")), "{:?}", recipe.warnings);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, why) in [
            ("{}", "`template` is missing"),
            (r#"{"template":"x"}"#, "\"x\" is not known"),
            (r#"{"template":"confined","args":{"MY":1}}"#, "\"MY\" is not known"),
            (r#"{"template":"confined","args":{"PV_LXC_CAP_KEEP":["chown"]}}"#, "does not take it"),
            (r#"{"template":"builtin-lxc-docker","args":{"PV_USERS":"own"}}"#, "does not take it"),
            (r#"{"template":"confined","args":{"PV_GROUP":["a"]}}"#, "PV_GROUP is [\"a\"] and not a text"),
            (r#"{"template":"confined","args":{"PV_LXC_EXTRA_ENV":[{}]}}"#, "not a list of texts"),
            (r#"{"template":"confined","args":{"PV_SECURITY_WITH_HOST":"no"}}"#, "PV_SECURITY_WITH_HOST is \"no\""),
            (r#"{"template":"confined","args":[]}"#, "`args` is no JSON object"),
            (r#"{"template":"confined","persistence":{"/a":"ever"}}"#, "the volume \"/a:ever\""),
            (r#"{"template":"confined","persistence":{"/a":1}}"#, "/a: no text"),
            (r#"{"template":"confined","config":7}"#, "`config` is no JSON object"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message.contains(why), "{text}: {error}");
        }
    }
}
