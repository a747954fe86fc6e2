//! `<container>/run.json`: what a container asks of the device.
//!
//! Members are matched whole. What older runtimes refuse is refused here (`restart_policy`, `status_goal`, groups that
//! do not exist); what they warn of is a warning (`runlevel`, `roles`, persistence). The spec string is not checked
//! there and not here. `env` and `ports` are additions: variables that are set for the first process, over those of the
//! container's own configuration, and what it publishes; so is [`readiness`](crate::readiness). `conditions` meant nothing so
//! far: names of containers that must have reached their goals before this one starts.
//!
//! Without `roles` a container may only say that it is ready. Older runtimes made it a manager then; [`AbsentRoles`]
//! restores that where the signed configuration of a device asks for it.
//!
//! API: [`Manifest::parse`] from a [`crate::state::Entry`]; [`crate::resolve`] puts manifests and groups together.

use alloc::string::String;
use alloc::vec::Vec;

use crate::document::{self, DocumentError, Doubt, Item, Members, Read, Warning, Wrong, shown};
use crate::group::{AutoRecovery, Goal, RestartPolicy};
use crate::json::Value;
use crate::network::{self, Network, Port};
use crate::path::ContainerName;
use crate::readiness::Readiness;
use crate::volume::{Storage, Volume, read_storage};
use crate::words::words;

/// The members that older runtimes look for, by as many bytes as these names have.
const OLDER: &[&str] = &[
    "name",
    "type",
    "runlevel",
    "automodfw",
    "group",
    "restart_policy",
    "status_goal",
    "roles",
    "auto_recovery",
    "network",
    "config",
    "share",
    "root-volume",
    "volumes",
    "logs",
    "storage",
    "drivers",
    "services",
    "exports",
    "dev-log",
];

/// Members that are read by others, or that are ours.
const OTHERS: &[&str] = &["#spec", "remount", "conditions", "env", "ports", "readiness"];

words! {
    /// What runs a container.
    pub enum Kind {
        /// A configuration in the LXC format.
        Lxc = "lxc",
    }
}

words! {
    /// What a container may do to the device.
    pub enum Role {
        /// Manage it.
        Mgmt = "mgmt",
        /// Nothing beyond itself.
        Nobody = "nobody",
    }
}

words! {
    /// The old spelling of four group names.
    pub enum Runlevel {
        /// Group `data`.
        Data = "data",
        /// Group `root`.
        Root = "root",
        /// Group `platform`.
        Platform = "platform",
        /// Group `app`.
        App = "app",
    }
}

/// What a manifest without `roles` means on this device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AbsentRoles {
    /// The container may say that it is ready, and nothing else.
    #[default]
    ReadinessOnly,
    /// The container is a manager, as with older runtimes.
    Mgmt,
}

/// What a container asks for. `None` is what it does not say and inherits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Its name, equal to its directory.
    pub name: ContainerName,
    /// What runs it; nothing does where only its volumes are wanted.
    pub kind: Option<Kind>,
    /// The file of its configuration, below its directory.
    pub config: Option<String>,
    /// The image of its root.
    pub root_volume: Option<Volume>,
    /// Further images.
    pub volumes: Vec<Volume>,
    /// Its writable directories.
    pub storage: Vec<Storage>,
    /// Its group, by `group` or else by `runlevel`.
    pub group: Option<String>,
    /// Its own restart policy.
    pub restart_policy: Option<RestartPolicy>,
    /// Its own goal.
    pub status_goal: Option<Goal>,
    /// How it is asked whether it is ready, if it does not only say so itself.
    pub readiness: Option<Readiness>,
    /// Its roles; `None` without the member, which differs from an empty list.
    pub roles: Option<Vec<Role>>,
    /// Whether the device's firmware and modules appear in it.
    pub automodfw: bool,
    /// Its own recovery.
    pub auto_recovery: Option<AutoRecovery>,
    /// Its network, if it says anything about it.
    pub network: Option<Network>,
    /// The ports that it publishes.
    pub ports: Vec<Port>,
    /// Drivers it needs.
    pub drivers: Drivers,
    /// What it needs from other containers.
    pub services: Services,
    /// Names of containers that must have reached their goals before it starts.
    pub conditions: Vec<String>,
    /// Where its logs are, as flat maps.
    pub logs: Vec<Vec<(String, String)>>,
    /// Paths that others may import, relative to its root.
    pub exports: Vec<String>,
    /// Whether `/dev/log` of the device appears in it; `None` is what the device is configured for.
    pub dev_log: Option<bool>,
    /// Variables for its first process.
    pub env: Vec<(String, String)>,
    /// Mount options by policy, see [`Remount`].
    pub remount: Vec<Remount>,
}

/// Names of drivers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Drivers {
    /// Without which it does not start.
    pub required: Vec<String>,
    /// Loaded if they can be.
    pub optional: Vec<String>,
    /// Loaded when it asks.
    pub manual: Vec<String>,
}

/// What a container needs from others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Services {
    /// Without which it does not start.
    pub required: Vec<Requirement>,
    /// Linked if they are there.
    pub optional: Vec<Requirement>,
}

/// One service that a container wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requirement {
    /// The name that a provider gives it.
    pub name: String,
    /// Its kind, where the name alone does not say.
    pub kind: Option<String>,
    /// The role it is used in.
    pub role: Option<String>,
    /// The interface of it that is used.
    pub interface: Option<String>,
    /// Where it appears in this container.
    pub target: String,
}

/// Mount options that a policy adds to mounts of a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remount {
    /// The policy under which they apply.
    pub policy: String,
    /// Pattern of mount points, and options.
    pub rules: Vec<(String, String)>,
}

impl Manifest {
    /// Reads the manifest of the container whose directory is `name`. Warnings are added to the list.
    ///
    /// # Errors
    /// [`DocumentError`] names the member.
    pub fn parse(name: &ContainerName, text: &str, warnings: &mut Vec<Warning>) -> Result<Self, DocumentError> {
        let document = alloc::format!("{name}/run.json");
        let value = document::parse(&document, text)?;
        let root = Item::root(&document, &value);
        let members = root.members()?;
        let known = [OLDER, OTHERS].concat();
        members.none_like(OLDER, &known)?;
        members.only(&known, warnings);
        warnings.extend(members.get("share").map(|item| item.warning(Doubt::NoEffect("it never had one"))));
        let said = members.need("name")?;
        if said.text()? != name.as_str() {
            // Files belong to the container that their directory is named after, so another name would own nothing.
            return Err(said.error(Wrong::Form { found: shown(said.text()?), wanted: "the name of its directory" }));
        }
        Ok(Self {
            name: name.clone(),
            kind: members.read("type", Item::word)?,
            config: members.read("config", Item::file)?,
            root_volume: members.read("root-volume", Volume::read)?,
            volumes: members
                .read("volumes", |item| item.items()?.iter().map(Volume::read).collect())?
                .unwrap_or_default(),
            storage: members.read("storage", |item| read_storage(item, warnings))?.unwrap_or_default(),
            group: group(&members, warnings)?,
            restart_policy: members.read("restart_policy", Item::word)?,
            status_goal: members.read("status_goal", Item::word)?,
            readiness: members.read("readiness", |item| Readiness::read(item, warnings))?,
            roles: members.read("roles", |item| roles(item, warnings))?,
            automodfw: members.read("automodfw", Item::text)? != Some("no"),
            auto_recovery: members.read("auto_recovery", |item| AutoRecovery::read(item, warnings))?,
            network: members.read("network", |item| network::network(item, warnings))?,
            ports: members.read("ports", network::ports)?.unwrap_or_default(),
            drivers: members.read("drivers", |item| drivers(item, warnings))?.unwrap_or_default(),
            services: members.read("services", |item| services(item, warnings))?.unwrap_or_default(),
            conditions: members.read("conditions", |item| conditions(item, warnings))?.unwrap_or_default(),
            logs: members.read("logs", |item| item.items()?.iter().map(texts_by_name).collect())?.unwrap_or_default(),
            exports: members.read("exports", |item| item.items()?.iter().map(inside).collect())?.unwrap_or_default(),
            dev_log: members.read("dev-log", Item::flag)?,
            env: members.read("env", env)?.unwrap_or_default(),
            remount: members.read("remount", remount)?.unwrap_or_default(),
        })
    }

    /// Whether this container may manage the device.
    #[must_use]
    pub fn is_manager(&self, absent: AbsentRoles) -> bool {
        match &self.roles {
            Some(roles) => roles.contains(&Role::Mgmt),
            None => absent == AbsentRoles::Mgmt,
        }
    }

    /// The root image and all others.
    pub fn images(&self) -> impl Iterator<Item = &Volume> {
        self.root_volume.iter().chain(&self.volumes)
    }
}

/// `group`, or the group that an old `runlevel` stands for.
fn group(members: &Members<'_, '_>, warnings: &mut Vec<Warning>) -> Read<Option<String>> {
    let mut named = None;
    if let Some(item) = members.get("runlevel") {
        match Runlevel::parse(item.text()?) {
            Some(level) => named = Some(level.as_str().into()),
            None => warnings.push(item.warning(Doubt::NoEffect("it is none of data, root, platform, app"))),
        }
    }
    Ok(members.c_text("group")?.or(named))
}

fn roles(item: &Item<'_, '_>, warnings: &mut Vec<Warning>) -> Read<Vec<Role>> {
    if item.value.as_object().is_some() {
        warnings.push(item.warning(Doubt::NoEffect("roles are a list; this one counts as empty")));
        return Ok(Vec::new());
    }
    let mut roles = Vec::new();
    for item in item.items()? {
        match Role::parse(item.text()?) {
            Some(role) => roles.push(role),
            None => warnings.push(item.warning(Doubt::NoEffect("it is none of mgmt, nobody"))),
        }
    }
    Ok(roles)
}

fn drivers(item: &Item<'_, '_>, warnings: &mut Vec<Warning>) -> Read<Drivers> {
    let members = item.members()?;
    members.only(&["required", "optional", "manual"], warnings);
    Ok(Drivers {
        required: members.texts("required")?,
        optional: members.texts("optional")?,
        manual: members.texts("manual")?,
    })
}

fn services(item: &Item<'_, '_>, warnings: &mut Vec<Warning>) -> Read<Services> {
    let members = item.members()?;
    members.only(&["required", "optional"], warnings);
    let mut list = |member: &str| -> Read<Vec<Requirement>> {
        let Some(item) = members.get(member) else { return Ok(Vec::new()) };
        item.items()?.iter().map(|item| requirement(item, warnings)).collect()
    };
    Ok(Services { required: list("required")?, optional: list("optional")? })
}

fn requirement(item: &Item<'_, '_>, warnings: &mut Vec<Warning>) -> Read<Requirement> {
    let members = item.members()?;
    members.only(&["name", "type", "role", "interface", "target"], warnings);
    Ok(Requirement {
        name: members.need("name")?.c_text()?,
        kind: members.c_text("type")?,
        role: members.c_text("role")?,
        interface: members.c_text("interface")?,
        target: members.need("target")?.c_text()?,
    })
}

/// A list of names. What else tools have written there was never read by anybody.
fn conditions(item: &Item<'_, '_>, warnings: &mut Vec<Warning>) -> Read<Vec<String>> {
    let is_list = |list: &[Value<'_>]| list.iter().all(|one| one.as_str().is_some());
    if item.value.as_array().is_none_or(|list| !is_list(list)) {
        warnings.push(item.warning(Doubt::NoEffect("it is no list of names of containers")));
        return Ok(Vec::new());
    }
    item.texts()
}

/// A flat map of texts.
fn texts_by_name(item: &Item<'_, '_>) -> Read<Vec<(String, String)>> {
    item.members()?.iter().map(|(name, item)| Ok((name.into(), item.c_text()?))).collect()
}

/// An absolute path within the container, returned without its leading slash.
pub(crate) fn inside(item: &Item<'_, '_>) -> Read<String> {
    let text = item.text()?;
    let path = text.strip_prefix('/').unwrap_or(text).trim_end_matches('/');
    crate::path::relative(path).map_err(|why| item.error(Wrong::Path(why)))?;
    Ok(path.into())
}

fn env(item: &Item<'_, '_>) -> Read<Vec<(String, String)>> {
    let list = texts_by_name(item)?;
    let is_name = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && !name.is_empty()
    };
    match list.iter().find(|(name, _)| !is_name(name)) {
        Some((bad, _)) => {
            Err(item.error(Wrong::Form { found: shown(bad), wanted: "a name of letters, digits and `_`" }))
        }
        None => Ok(list),
    }
}

/// `{ "<policy>": [ {"<pattern>": "<options>"} ] }`; of each element the first member counts.
pub(crate) fn remount(item: &Item<'_, '_>) -> Read<Vec<Remount>> {
    let mut list = Vec::new();
    for (policy, item) in item.members()?.iter() {
        let mut rules = Vec::new();
        for item in item.items()? {
            rules.extend(texts_by_name(&item)?.into_iter().next());
        }
        list.push(Remount { policy: policy.into(), rules });
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::{Backoff, RecoveryPolicy};
    use crate::volume::Persistence;
    use alloc::format;
    use alloc::string::ToString;

    fn parse(members: &str) -> Result<(Manifest, Vec<String>), String> {
        let comma = if members.is_empty() { "" } else { "," };
        let mut warnings = Vec::new();
        let name = ContainerName::parse("web").unwrap();
        let manifest = Manifest::parse(&name, &format!(r#"{{"name":"web"{comma}{members}}}"#), &mut warnings);
        let warnings = warnings.iter().map(ToString::to_string).collect();
        manifest.map(|manifest| (manifest, warnings)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_manifest_as_tools_write_it_is_read_without_a_warning() {
        let (manifest, warnings) = parse(
            r##""#spec":"service-manifest-run@1","type":"lxc","config":"lxc.container.conf","group":"app",
            "drivers":{"manual":[],"optional":["wifi"],"required":[]},"root-volume":"dm:root.squashfs","volumes":["a.bind"],
            "storage":{"docker--var-lib-web":{"persistence":"permanent","disk":"dm"},"lxc-overlay":{"persistence":"boot"}},
            "auto_recovery":{"policy":"on-failure","max_retries":3,"retry_delay":2,"backoff_policy":"10min"},
            "network":{"pool":"net","hostname":"w","ip":"10.0.3.9/24","mac":"02:00:0a:00:03:09"},"roles":["mgmt"],
            "ports":["80:80","53:53/udp"],
            "services":{"required":[{"name":"api","target":"/run/api.sock"}]},"exports":["/run/web"],"dev-log":true,"conditions":["db"],
            "logs":[{"type":"filelog","path":"/var/log/x"}],"env":{"LANG":"C"},"automodfw":"no",
            "remount":{"default":[{"/proc.*":"nosuid"}]}"##,
        )
        .unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        assert_eq!(manifest.kind, Some(Kind::Lxc));
        assert_eq!(manifest.root_volume, Some(Volume { file: "root.squashfs".into(), verity: true }));
        assert_eq!(manifest.storage[0].persistence, Persistence::Permanent);
        let recovery = manifest.auto_recovery.unwrap();
        assert_eq!((recovery.policy, recovery.backoff), (RecoveryPolicy::OnFailure, Some(Backoff::Wait(600))));
        let network = manifest.network.clone().unwrap();
        assert_eq!(network.interfaces[0].ip, Some([10, 0, 3, 9].into()));
        assert_eq!(network.interfaces[0].mac, Some([2, 0, 10, 0, 3, 9]));
        assert_eq!(manifest.ports.len(), 2);
        assert_eq!(manifest.services.required[0].target, "/run/api.sock");
        assert_eq!((manifest.exports, manifest.conditions), (alloc::vec!["run/web".into()], alloc::vec!["db".into()]));
        assert_eq!(manifest.env, [("LANG".into(), "C".into())]);
        assert_eq!((manifest.dev_log, manifest.automodfw), (Some(true), false));
        assert_eq!(manifest.remount[0].rules, [("/proc.*".into(), "nosuid".into())]);
    }

    #[test]
    fn without_roles_a_container_may_only_say_that_it_is_ready() {
        let (absent, _) = parse("").unwrap();
        assert!(!absent.is_manager(AbsentRoles::default()));
        assert!(absent.is_manager(AbsentRoles::Mgmt));
        for empty in [r#""roles":[]"#, r#""roles":{}"#, r#""roles":["nobody"]"#, r#""roles":["admin"]"#] {
            assert!(!parse(empty).unwrap().0.is_manager(AbsentRoles::Mgmt), "{empty}");
        }
        assert!(parse(r#""roles":["mgmt"]"#).unwrap().0.is_manager(AbsentRoles::ReadinessOnly));
    }

    #[test]
    fn what_older_runtimes_refuse_is_refused() {
        for (members, why) in [
            (r#""restart_policy":"always""#, "none of system, container"),
            (r#""status_goal":"RUNNING""#, "none of MOUNTED, STARTED, READY"),
            (r#""type":"docker""#, "none of lxc"),
        ] {
            let error = parse(members).unwrap_err();
            assert!(error.contains(why), "{members}: {error}");
        }
        let web = ContainerName::parse("web").unwrap();
        for text in ["{}", r#"{"name":"other"}"#, r#"{"name":1}"#, "[]", "{"] {
            assert!(Manifest::parse(&web, text, &mut Vec::new()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_older_runtimes_warn_of_is_a_warning() {
        for (members, why) in [
            (r#""runlevel":"high""#, "data, root, platform, app"),
            (r#""roles":["admin"]"#, "mgmt, nobody"),
            (r#""storage":{"a":{"persistence":"built-in"}}"#, "\"boot\" is used"),
            (r#""storage":{"a":{}}"#, "no persistence"),
            (r#""auto_recovery":{"policy":"maybe"}"#, "\"no\" is used"),
            (r#""conditions":{}"#, "no list of names"),
            (r#""conditions":["a",{"plat":"b"}]"#, "no list of names"),
            (r#""colour":"red""#, "not known"),
        ] {
            let (_, warnings) = parse(members).unwrap();
            assert!(warnings.len() == 1 && warnings[0].contains(why), "{members}: {warnings:?}");
        }
    }

    #[test]
    fn a_member_that_older_runtimes_would_mistake_is_refused() {
        for member in ["name_x", "groups", "config2", "rolesx", "storage-class"] {
            let error = parse(&format!("{member:?}:1")).unwrap_err();
            assert!(error.contains("older runtimes"), "{error}");
        }
    }

    #[test]
    fn a_path_out_of_the_container_is_refused() {
        for members in [
            r#""config":"../x""#,
            r#""config":"/etc/x""#,
            r#""root-volume":"../x.squashfs""#,
            r#""volumes":["/x.squashfs"]"#,
            r#""storage":{"../x":{"persistence":"permanent"}}"#,
            r#""exports":["/run/../../x"]"#,
            r#""exports":["/"]"#,
        ] {
            assert!(parse(members).is_err(), "{members}");
        }
    }

    #[test]
    fn a_runlevel_is_a_group_until_a_group_is_named() {
        assert_eq!(parse(r#""runlevel":"root""#).unwrap().0.group.as_deref(), Some("root"));
        assert_eq!(parse(r#""runlevel":"root","group":"app""#).unwrap().0.group.as_deref(), Some("app"));
    }

    #[test]
    fn a_variable_name_cannot_smuggle_an_assignment() {
        for name in ["", "A=B", "1A", "A B", "A\\u0000"] {
            assert!(parse(&format!(r#""env":{{"{name}":"x"}}"#)).is_err(), "{name}");
        }
        assert!(parse(r#""env":{"A":"x\u0000"}"#).is_err());
        assert!(parse(r#""env":{"A":1}"#).is_err());
    }

    #[test]
    fn lists_are_bounded() {
        let many = alloc::vec!["\"a\""; 257].join(",");
        assert!(parse(&format!(r#""exports":[{many}]"#)).unwrap_err().contains("more than 256"));
    }
}
