//! What a container is to have of the device's networks, and what its image expects of them.
//!
//! ```text
//!   --pool apps --ip 10.0.3.9 --publish 8080:80     src.json  args.PV_NETWORK_POOL, …
//!                                                   run.json  network {pool, hostname, ip, mac}, ports
//! ```

use formats::document::Warning;
use formats::json::Json;
use formats::path::ContainerName;
use formats::run_json::Manifest;

use super::arguments::Arguments;
use super::facts::Facts;
use crate::error::{Error, Result};

/// What was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Network {
    /// The pool.
    pub pool: Option<String>,
    /// Its host name.
    pub hostname: Option<String>,
    /// A fixed address.
    pub ip: Option<String>,
    /// A fixed Ethernet address.
    pub mac: Option<String>,
    /// What it publishes, `DEVICE:CONTAINER`.
    pub ports: Vec<String>,
    /// Further pools, each with an interface of its own.
    pub beside: Vec<Beside>,
    /// It has no network at all: only itself.
    pub alone: bool,
}

/// A place in a further pool.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Beside {
    /// The pool.
    pub pool: String,
    /// A fixed address.
    pub ip: Option<String>,
    /// A fixed Ethernet address.
    pub mac: Option<String>,
}

impl Beside {
    /// Reads `POOL[,ip=ADDRESS][,mac=ADDRESS]`.
    fn parse(text: &str) -> Self {
        let mut parts = text.split(',');
        let mut beside = Self { pool: parts.next().unwrap_or_default().to_owned(), ..Self::default() };
        for part in parts {
            match part.split_once('=') {
                Some(("ip", address)) => beside.ip = Some(address.to_owned()),
                Some(("mac", address)) => beside.mac = Some(address.to_owned()),
                // Not the name of a pool either, and refused as such.
                _ => beside.pool.push_str(&format!(",{part}")),
            }
        }
        beside
    }

    fn to_json(&self) -> Json {
        let mut json = Json::object().with("pool", self.pool.as_str());
        for (member, value) in [("ip", &self.ip), ("mac", &self.mac)] {
            if let Some(value) = value {
                json.set(member, value.as_str());
            }
        }
        json
    }
}

/// As it is read.
impl std::fmt::Display for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.pool)?;
        self.ip.iter().try_for_each(|ip| write!(f, ",ip={ip}"))?;
        self.mac.iter().try_for_each(|mac| write!(f, ",mac={mac}"))
    }
}

impl Network {
    fn members(&self) -> [(&'static str, &'static str, &Option<String>); 4] {
        [
            ("PV_NETWORK_POOL", "pool", &self.pool),
            ("PV_NETWORK_HOSTNAME", "hostname", &self.hostname),
            ("PV_NETWORK_IP", "ip", &self.ip),
            ("PV_NETWORK_MAC", "mac", &self.mac),
        ]
    }

    /// The arguments that it can be made again with, in the words of existing tools.
    pub(super) fn arguments(&self, args: &mut Json) {
        for (name, _, value) in self.members() {
            if let Some(value) = value {
                args.set(name, value.as_str());
            }
        }
        if !self.ports.is_empty() {
            args.set("PV_NETWORK_PORTS", self.ports.iter().map(|port| port.as_str().into()).collect::<Vec<Json>>());
        }
        if !self.beside.is_empty() {
            args.set("PV_NETWORK_BESIDE", self.beside.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
        if self.alone {
            args.set("PV_NETWORK_NONE", "yes");
        }
    }

    /// What the arguments say.
    pub(super) fn read(args: &Arguments) -> Self {
        Self {
            pool: args.text("PV_NETWORK_POOL"),
            hostname: args.text("PV_NETWORK_HOSTNAME"),
            ip: args.text("PV_NETWORK_IP"),
            mac: args.text("PV_NETWORK_MAC"),
            ports: args.list("PV_NETWORK_PORTS"),
            beside: args.list("PV_NETWORK_BESIDE").iter().map(|text| Beside::parse(text)).collect(),
            alone: args.yes("PV_NETWORK_NONE"),
        }
    }

    /// Whether it is that of the device.
    pub(super) fn is_of_the_device(&self) -> bool {
        self.pool.is_none() && self.beside.is_empty() && !self.alone
    }

    /// The members of `run.json`.
    pub(super) fn run(&self, run: &mut Json) {
        let mut network = Json::object();
        for (_, member, value) in self.members() {
            // Of several interfaces, each has its own.
            if let Some(value) = value.as_ref().filter(|_| self.beside.is_empty() || member == "hostname") {
                network.set(member, value.as_str());
            }
        }
        if !self.beside.is_empty() {
            let first =
                self.pool.iter().map(|pool| Beside { pool: pool.clone(), ip: self.ip.clone(), mac: self.mac.clone() });
            let all = first.chain(self.beside.iter().cloned()).map(|one| one.to_json());
            network.set("interfaces", all.collect::<Vec<Json>>());
        }
        if network != Json::object() {
            run.set("network", network);
        }
        if !self.ports.is_empty() {
            run.set("ports", self.ports.iter().map(|port| port.as_str().into()).collect::<Vec<Json>>());
        }
    }
}

/// Whether a device would read this manifest.
pub(super) fn check(name: &ContainerName, run: &Json) -> Result<()> {
    let mut warnings: Vec<Warning> = Vec::new();
    Manifest::parse(name, &run.compact(), &mut warnings).map(drop).map_err(|error| {
        Error::user(format!("the container would be refused by a device: {error}"))
            .hint("write another value; docs/networks.md and docs/pvr.md have the forms")
    })
}

/// The ports that an image expects to be reached at, like `80/tcp`.
pub(super) fn exposed(facts: &Facts<'_>) -> Result<Vec<String>> {
    let ports = facts.config.names("ExposedPorts");
    let ports = ports.map_err(|why| Error::user(format!("the image's configuration: {why}")))?;
    let plain = |port: &&str| port.len() <= 16 && port.bytes().all(|byte| byte.is_ascii_graphic());
    Ok(ports.into_iter().filter(plain).map(str::to_owned).collect())
}

/// What `run.json` says of networks, for people.
#[must_use]
pub fn lines(run: &Json) -> Vec<String> {
    let text = |json: &Json, member: &str| json.get(member).and_then(Json::as_str).map(str::to_owned);
    let interface = |json: &Json| {
        let pool = text(json, "pool")?;
        let more = ["ip", "mac"].iter().filter_map(|member| text(json, member));
        Some(std::iter::once(format!("pool {pool}")).chain(more).collect::<Vec<_>>().join(", "))
    };
    let network = run.get("network");
    let mut lines: Vec<String> = match network.and_then(|network| network.get("interfaces")) {
        Some(Json::Array(list)) => list.iter().filter_map(interface).collect(),
        _ => network.and_then(interface).into_iter().collect(),
    };
    if let Some(Json::Array(ports)) = run.get("ports") {
        lines.extend(ports.iter().filter_map(Json::as_str).map(|port| format!("publishes {port}")));
    }
    lines
}
