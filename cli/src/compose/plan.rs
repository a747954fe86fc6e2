//! What a compose file comes to, before anything is fetched: containers, pools and files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use formats::json::Json;
use formats::lxc::Capability;

use super::yaml::Place;
use crate::app::{Grants, Network, Tasks};

/// All of it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Plan {
    /// The name of the project.
    pub project: String,
    /// A container for each service, each behind those it waits for.
    pub containers: Vec<Container>,
    /// Pools that `device.json` lacks.
    pub pools: Vec<Pool>,
    /// Services that are left out: profiles, or no replicas.
    pub left_out: Vec<String>,
}

/// A pool to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its bridge.
    pub bridge: String,
    /// Its addresses.
    pub subnet: String,
    /// The device's address, if it was said.
    pub gateway: Option<String>,
    /// Its addresses of IPv6.
    pub subnet6: Option<String>,
    /// Whether containers reach out.
    pub nat: bool,
}

impl Pool {
    /// As it stands in `device.json`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut json = Json::object().with("type", "bridge").with("bridge", self.bridge.as_str());
        json.set("subnet", self.subnet.as_str());
        for (member, value) in [("gateway", &self.gateway), ("subnet6", &self.subnet6)] {
            if let Some(value) = value {
                json.set(member, value.as_str());
            }
        }
        if self.nat {
            json.set("nat", true);
        }
        json
    }
}

/// Bytes of a file of the revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Contents {
    /// They stand in the compose file.
    Text(String),
    /// They are in a file of this machine.
    File(PathBuf),
}

/// A container to be.
#[derive(Clone, PartialEq, Debug)]
pub struct Container {
    /// Its name: that of the service.
    pub name: String,
    /// Where the service stands.
    pub place: Place,
    /// The image.
    pub image: String,
    /// What its image is for.
    pub platform: Option<String>,
    /// Members of the image's configuration that it has instead.
    pub config: Json,
    /// Variables.
    pub env: Vec<(String, String)>,
    /// Containers that have to be up before it.
    pub after: Vec<String>,
    /// Those of them that have to be healthy.
    pub healthy: Vec<String>,
    /// What happens when it ends.
    pub recovery: Option<Json>,
    /// What it is to have of networks.
    pub network: Network,
    /// Writable directories, as `--volume` has them.
    pub volumes: Vec<String>,
    /// How many processes it can have.
    pub tasks: Option<Tasks>,
    /// What it may do beyond the template.
    pub grants: Grants,
    /// What it may not do of the template.
    pub dropped: Vec<Capability>,
    /// Further lines of its configuration.
    pub lines: Vec<String>,
    /// Files below `_config/NAME`.
    pub files: BTreeMap<String, Contents>,
}

impl Container {
    /// One with an image and nothing else.
    #[must_use]
    pub fn new(name: &str, place: Place, image: &str) -> Self {
        Self {
            name: name.to_owned(),
            place,
            image: image.to_owned(),
            platform: None,
            config: Json::object(),
            env: Vec::new(),
            after: Vec::new(),
            healthy: Vec::new(),
            recovery: None,
            network: Network::default(),
            volumes: Vec::new(),
            tasks: None,
            grants: Grants::default(),
            dropped: Vec::new(),
            lines: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    /// For people: a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{}: {}", self.name, self.image)];
        let mut say = |what: &str, list: Vec<String>| {
            if !list.is_empty() {
                lines.push(format!("  {what:<10} {}", list.join(", ")));
            }
        };
        say("after", self.after.clone());
        let network = &self.network;
        let pools = network.pool.iter().chain(network.beside.iter().map(|beside| &beside.pool));
        say("pools", pools.cloned().collect());
        let without = match (&network.pool, network.alone) {
            (Some(_), _) => None,
            (None, true) => Some("none".to_owned()),
            (None, false) => Some("the device's".to_owned()),
        };
        say("network", without.into_iter().collect());
        say("names", network.hostname.iter().cloned().collect());
        say("publishes", network.ports.clone());
        say("keeps", self.volumes.clone());
        say("recovery", self.recovery.iter().map(Json::compact).collect());
        let config = if let Json::Object(members) = &self.config { members.as_slice() } else { &[] };
        say("overrides", config.iter().map(|(name, _)| name.clone()).collect());
        // Values may be secrets, and this is printed.
        say("variables", self.env.iter().map(|(name, _)| name.clone()).collect());
        say("grants", self.grants.of_the_device());
        say("drops", self.dropped.iter().map(ToString::to_string).collect());
        say("tasks", self.tasks.iter().map(ToString::to_string).collect());
        for line in &self.lines {
            say("line", vec![line.clone()]);
        }
        say("files", self.files.keys().map(|path| format!("/{path}")).collect());
        lines
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let list =
            |list: &[String]| -> Json { list.iter().map(|one| one.as_str().into()).collect::<Vec<Json>>().into() };
        let names: Vec<String> = self.env.iter().map(|(name, _)| name.clone()).collect();
        let network = &self.network;
        let pools: Vec<String> =
            network.pool.iter().chain(network.beside.iter().map(|beside| &beside.pool)).cloned().collect();
        let files: Vec<String> = self.files.keys().map(|path| format!("_config/{}/{path}", self.name)).collect();
        Json::object()
            .with("name", self.name.as_str())
            .with("image", self.image.as_str())
            .with("config", self.config.clone())
            .with("variables", list(&names))
            .with("after", list(&self.after))
            .with("auto_recovery", self.recovery.clone().unwrap_or(Json::Null))
            .with("pools", list(&pools))
            .with("ports", list(&network.ports))
            .with("volumes", list(&self.volumes))
            .with("grants", list(&self.grants.of_the_device()))
            .with("lines", list(&self.lines))
            .with("files", list(&files))
    }
}

impl Plan {
    /// For people: a line each.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.containers.iter().flat_map(Container::lines).collect();
        for pool in &self.pools {
            lines.push(format!(
                "pool {}: {}, bridge {}, new in device.json: the device reboots for it",
                pool.name, pool.subnet, pool.bridge
            ));
        }
        if !self.left_out.is_empty() {
            lines.push(format!("left out: {}", self.left_out.join(", ")));
        }
        lines
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let pools = self.pools.iter().fold(Json::object(), |all, pool| all.with(&pool.name, pool.to_json()));
        Json::object()
            .with("project", self.project.as_str())
            .with("containers", self.containers.iter().map(Container::to_json).collect::<Vec<_>>())
            .with("pools", pools)
            .with("left_out", self.left_out.iter().map(|name| name.as_str().into()).collect::<Vec<Json>>())
    }
}
