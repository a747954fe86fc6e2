//! Networks and ports: which pools a service is in, under which names, and what is published.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use formats::json::Json;
use formats::network::{Port, Subnet, Subnet6};

use super::at::At;
use super::plan::{Container, Pool};
use super::report::{Level, Report};
use super::world::{Service, World};
use crate::app::Beside;

/// The most ports of a range.
const RANGE_MAX: u16 = 64;

/// The most bytes of the name of an interface.
const LINK_MAX: usize = 15;

/// What is known of pools: those of the device, and those that the file adds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pools {
    /// The names of pools by the names of networks.
    names: BTreeMap<String, String>,
    there: BTreeSet<String>,
    subnets: Vec<Subnet>,
    bridges: BTreeSet<String>,
    pub(crate) new: Vec<Pool>,
    /// The networks that a service is in.
    used: BTreeSet<String>,
}

fn subnet(text: &str) -> Option<Subnet> {
    let (base, prefix) = text.split_once('/')?;
    Subnet::new(base.parse().ok()?, prefix.parse().ok()?)
}

impl Pools {
    /// Those of `device.json`.
    pub(crate) fn of(device: &Json) -> Self {
        let mut pools = Self::default();
        let Some(Json::Object(there)) = device.get("network").and_then(|network| network.get("pools")) else {
            return pools;
        };
        for (name, pool) in there {
            let text = |member: &str| pool.get(member).and_then(Json::as_str);
            pools.there.insert(name.clone());
            pools.subnets.extend(text("subnet").and_then(subnet));
            pools.bridges.extend(text("bridge").map(str::to_owned));
        }
        pools
    }

    /// Reads the networks of a file. `default` is the pool of those who name none.
    pub(crate) fn read(&mut self, top: Option<&At<'_>>, default: &str, used: BTreeSet<String>, report: &mut Report) {
        self.used = used;
        let declared = top.map(|top| top.entries(report)).unwrap_or_default();
        for (key, at) in &declared {
            let known = [
                "name",
                "external",
                "driver",
                "driver_opts",
                "internal",
                "ipam",
                "enable_ipv6",
                "enable_ipv4",
                "attachable",
                "labels",
            ];
            at.only(&known, report);
            let name = at.text_of("name", report).unwrap_or(if *key == "default" { default } else { key });
            self.names.insert((*key).to_owned(), name.to_owned());
            if self.used.contains(*key) {
                self.network(name, at, report);
            } else {
                at.say(report, Level::Idle, "no service is in it");
            }
        }
        if self.used.contains("default") && !self.names.contains_key("default") {
            self.names.insert("default".into(), default.to_owned());
            if !self.there.contains(default) {
                self.add(default, None, None, None, true);
            }
        }
        for (index, (key, name)) in self.names.iter().enumerate() {
            if let Some((other, _)) = self.names.iter().take(index).find(|(_, other)| *other == name) {
                let at = declared.iter().find(|(declared, _)| declared == key).or(declared.first());
                if let Some((_, at)) = at {
                    at.wrong(
                        report,
                        format!("the networks {other} and {key} would be one pool, {name}: give one a `name`"),
                    );
                }
            }
        }
    }

    fn network(&mut self, name: &str, at: &At<'_>, report: &mut Report) {
        let external = at.flag_of("external", report) == Some(true);
        if self.there.contains(name) {
            if !external
                && at
                    .node
                    .entries()
                    .iter()
                    .any(|entry| ["ipam", "internal", "enable_ipv6"].contains(&entry.key.as_str()))
            {
                at.say(
                    report,
                    Level::Differs,
                    format!("the pool {name} is in device.json already, and stays as it is there"),
                );
            }
            return;
        }
        if external {
            return at.wrong(
                report,
                format!("device.json has no pool {name}: add it there (docs/networks.md), or leave out `external`"),
            );
        }
        match at.text_of("driver", report) {
            None | Some("bridge") => {}
            Some("host" | "none") => return at.wrong(report, "write `network_mode` in the service"),
            Some(other) => {
                let why = format!(
                    "a pool of {other} has to be in device.json first (docs/networks.md), and `external: true` here"
                );
                return at.wrong(report, why);
            }
        }
        at.report_keys(
            Level::NotMapped,
            &[("driver_opts", "bridges have no options here"), ("enable_ipv4", "every pool has addresses of IPv4")],
            report,
        );
        at.report_keys(Level::Idle, &[("labels", "nothing reads them"), ("attachable", "there is no swarm")], report);
        let (mut own, mut own6, mut gateway) = (None, None, None);
        if let Some(ipam) = at.get("ipam") {
            ipam.only(&["driver", "config", "options"], report);
            for one in ipam.get("config").map(|config| config.items(report)).unwrap_or_default() {
                one.only(&["subnet", "gateway", "ip_range", "aux_addresses"], report);
                let why = "addresses are given from the first free one on; fix those that matter";
                one.report_keys(Level::NotMapped, &[("ip_range", why), ("aux_addresses", why)], report);
                let Some(text) = one.text_of("subnet", report) else { continue };
                let six = text
                    .split_once('/')
                    .and_then(|(base, prefix)| Subnet6::new(base.parse().ok()?, prefix.parse().ok()?));
                match (subnet(text), six) {
                    (Some(subnet), _) if self.subnets.iter().any(|other| other.overlaps(subnet)) => {
                        one.wrong(report, format!("{text} overlaps the addresses of another pool"));
                    }
                    (Some(subnet), _) => {
                        own = Some(subnet);
                        gateway = one.text_of("gateway", report).map(str::to_owned);
                    }
                    (None, Some(_)) => own6 = Some(text.to_owned()),
                    (None, None) => one.wrong(
                        report,
                        format!("{text:?} is no subnet with a prefix of 8 to 30, or of IPv6 of 7 to 96"),
                    ),
                }
            }
        }
        if at.flag_of("enable_ipv6", report) == Some(true) && own6.is_none() {
            at.say(report, Level::NotMapped, "IPv6 needs a `subnet` of it in `ipam`, like fd00:3::/64");
        }
        let nat = at.flag_of("internal", report) != Some(true);
        self.add(name, own, own6, gateway, nat);
    }

    fn add(&mut self, name: &str, own: Option<Subnet>, subnet6: Option<String>, gateway: Option<String>, nat: bool) {
        let free = |third: u8| {
            let subnet = Subnet::new(Ipv4Addr::new(10, 0, third, 0), 24)?;
            (!self.subnets.iter().any(|other| other.overlaps(subnet))).then_some(subnet)
        };
        let Some(subnet) = own.or_else(|| (3..=254).find_map(free)) else { return };
        let short: String =
            name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(LINK_MAX - 3).collect();
        let bridge = (0..1000)
            .map(|count| {
                if count == 0 {
                    format!("br-{short}")
                } else {
                    format!("br{count}-{short}").chars().take(LINK_MAX).collect()
                }
            })
            .find(|bridge| !self.bridges.contains(bridge));
        let Some(bridge) = bridge else { return };
        self.subnets.push(subnet);
        self.bridges.insert(bridge.clone());
        self.there.insert(name.to_owned());
        let subnet = format!("{}/{}", subnet.base(), subnet.prefix());
        self.new.push(Pool { name: name.to_owned(), bridge, subnet, gateway, subnet6, nat });
    }
}

/// The networks that a service names.
pub(crate) fn named<'a>(service: &Service<'a>, report: &mut Report) -> Vec<(&'a str, Option<At<'a>>)> {
    match service.get("network_mode").and_then(|mode| mode.node.text()) {
        None | Some("bridge" | "default") => {}
        Some(_) => return Vec::new(),
    }
    match service.get("networks") {
        Some(at) => at.named(report).into_iter().map(|(name, at)| (name, Some(at))).collect(),
        None => vec![("default", None)],
    }
}

pub(crate) fn network(
    service: &Service<'_>,
    world: &mut World<'_>,
    container: &mut Container,
    further: &[(String, At<'_>)],
) {
    let mode = service.get("network_mode");
    if let (Some(at), Some(networks)) = (&mode, service.get("networks")) {
        networks.wrong(&mut world.report, format!("it excludes `network_mode`, which {} has", at.place));
    }
    match mode.as_ref().and_then(|mode| mode.node.text()) {
        None | Some("bridge" | "default") => {}
        Some("none") => container.network.alone = true,
        Some("host") => {
            if let Some(at) = &mode {
                world.right(
                    service.name,
                    "network",
                    at,
                    "the network of the device, with all that listens at its 127.0.0.1",
                );
            }
        }
        Some(_) => {
            if let Some(at) = &mode {
                at.wrong(
                    &mut world.report,
                    "a container has no part in the network of another: put both into one network",
                );
            }
        }
    }
    let hostname = service.get("hostname");
    container.network.hostname = hostname.as_ref().and_then(|at| at.text(&mut world.report)).map(str::to_owned);
    let mut names: Vec<(String, At<'_>)> = further.to_vec();
    if let Some(at) = service.get("container_name")
        && let Some(text) = at.text(&mut world.report)
    {
        names.push((text.to_owned(), at));
    }
    let mac = service.get("mac_address").and_then(|at| at.text(&mut world.report)).map(str::to_owned);
    for (index, (key, at)) in named(service, &mut world.report).into_iter().enumerate() {
        let Some(pool) = world.pools.names.get(key).cloned() else {
            if let Some(at) = at.as_ref().or(mode.as_ref()) {
                at.wrong(&mut world.report, format!("the file has no network {key}: declare it below `networks`"));
            }
            continue;
        };
        let mut beside = Beside { pool, ip: None, mac: if index == 0 { mac.clone() } else { None } };
        if let Some(at) = at.filter(|at| at.node.text().is_none()) {
            let known = [
                "aliases",
                "ipv4_address",
                "ipv6_address",
                "link_local_ips",
                "mac_address",
                "priority",
                "gw_priority",
                "driver_opts",
                "interface_name",
            ];
            at.only(&known, &mut world.report);
            let order = "the first network in the file is the way out";
            let lost = [
                ("ipv6_address", "it follows from the address of IPv4 (docs/networks.md)"),
                ("link_local_ips", "a container has one address in a pool"),
                ("driver_opts", "pools have no drivers"),
                ("interface_name", "interfaces are called eth0, eth1, …"),
                ("priority", order),
                ("gw_priority", order),
            ];
            at.report_keys(Level::NotMapped, &lost, &mut world.report);
            beside.ip = at.text_of("ipv4_address", &mut world.report).map(str::to_owned);
            beside.mac = at.text_of("mac_address", &mut world.report).map(str::to_owned).or(beside.mac);
            for alias in at.get("aliases").map(|aliases| aliases.items(&mut world.report)).unwrap_or_default() {
                if let Some(text) = alias.text(&mut world.report) {
                    names.push((text.to_owned(), alias));
                }
            }
        }
        if index == 0 {
            container.network.pool = Some(beside.pool);
            (container.network.ip, container.network.mac) = (beside.ip, beside.mac);
        } else {
            container.network.beside.push(beside);
        }
    }
    if container.network.pool.is_none() {
        if let (Some(name), Some(at)) = (container.network.hostname.take(), hostname) {
            world.line(container, &at, format!("lxc.uts.name = {name}"));
        }
    } else {
        for (name, at) in names {
            if name == container.name || container.network.hostname.as_deref() == Some(&name) {
                continue;
            }
            if container.network.hostname.is_none() {
                container.network.hostname = Some(name);
            } else {
                let why = format!(
                    "others find a container by its name and one more: {name:?} is one too many; call it {}",
                    container.name
                );
                at.say(&mut world.report, Level::NotMapped, why);
            }
        }
    }
    ports(service, world, container);
}

fn ports(service: &Service<'_>, world: &mut World<'_>, container: &mut Container) {
    let Some(at) = service.get("ports") else { return };
    let mut all = Vec::new();
    for item in at.items(&mut world.report) {
        let found = match item.node.text() {
            Some(text) => short(text),
            None => long(&item, &mut world.report),
        };
        match found {
            Ok(ports) => all.extend(ports.into_iter().map(|port| (port, item.clone()))),
            Err(why) => item.wrong(&mut world.report, why),
        }
    }
    for (text, item) in all {
        let Some(port) = Port::parse(&text) else {
            item.wrong(
                &mut world.report,
                format!("{text:?} is no [ADDRESS:]DEVICE:CONTAINER[/udp] with an address of IPv4"),
            );
            continue;
        };
        if container.network.pool.is_none() {
            let host = !container.network.alone;
            let (level, why) = if host {
                (Level::Idle, "in the network of the device every port is the device's")
            } else {
                (Level::NotMapped, "it has no network")
            };
            item.say(&mut world.report, level, why);
        } else if !container.network.ports.contains(&port.to_string()) {
            container.network.ports.push(port.to_string());
        }
    }
}

const NO_PORT: &str = "the device chooses no ports: write DEVICE:CONTAINER";

/// `[ADDRESS:]DEVICE[-LAST]:CONTAINER[-LAST][/PROTOCOL]`
fn short(text: &str) -> Result<Vec<String>, String> {
    let (ports, protocol) = text.split_once('/').map_or((text, "tcp"), |(ports, protocol)| (ports, protocol));
    let (rest, inside) = ports.rsplit_once(':').ok_or(NO_PORT)?;
    let (address, outside) = match rest.rsplit_once(':') {
        Some((address, outside)) => (Some(address), outside),
        None => (None, rest),
    };
    if outside.is_empty() {
        return Err(NO_PORT.into());
    }
    pairs(address, outside, inside, protocol)
}

fn long(item: &At<'_>, report: &mut Report) -> Result<Vec<String>, String> {
    item.only(&["target", "published", "host_ip", "protocol", "mode", "app_protocol", "name"], report);
    let target = item.text_of("target", report).ok_or("`target` is missing")?;
    let published = item.text_of("published", report).ok_or(NO_PORT)?;
    let protocol = item.text_of("protocol", report).unwrap_or("tcp");
    pairs(item.text_of("host_ip", report), published, target, protocol)
}

fn pairs(address: Option<&str>, outside: &str, inside: &str, protocol: &str) -> Result<Vec<String>, String> {
    let range = |text: &str| -> Result<(u16, u16), String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.parse::<u16>().map_err(|_| format!("{text:?} is no port"));
        let (first, last) = (number(first)?, number(last)?);
        if last < first || last - first >= RANGE_MAX {
            return Err(format!("the range {text} is empty, or has more than {RANGE_MAX} ports"));
        }
        Ok((first, last))
    };
    let ((first, last), (own, own_last)) = (range(outside)?, range(inside)?);
    if last - first != own_last - own {
        return Err(format!("the ranges {outside} and {inside} have not the same length"));
    }
    let protocol = match protocol {
        "tcp" => "",
        "udp" => "/udp",
        other => return Err(format!("ports of {other} are not published: tcp or udp")),
    };
    let address =
        address.filter(|address| *address != "0.0.0.0").map(|address| format!("{address}:")).unwrap_or_default();
    Ok((0..=last - first).map(|at| format!("{address}{}:{}{protocol}", first + at, own + at)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_out() {
        for (text, wanted) in [
            ("8080:80", vec!["8080:80"]),
            ("127.0.0.1:8080:80/tcp", vec!["127.0.0.1:8080:80"]),
            ("53:53/udp", vec!["53:53/udp"]),
            ("3000-3002:4000-4002", vec!["3000:4000", "3001:4001", "3002:4002"]),
        ] {
            assert_eq!(short(text).unwrap(), wanted, "{text}");
        }
        for text in ["80", ":80", "8080:80/sctp", "1-3:1-2", "1-100:1-100", "5-4:5-4", "x:80"] {
            assert!(short(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_new_pool_has_addresses_and_a_bridge_that_nobody_has() {
        let device = formats::json::parse(
            br#"{"network":{"pools":{"a":{"type":"bridge","bridge":"br-shop","subnet":"10.0.2.0/23"}}}}"#,
            formats::json::Limits::STATE,
        );
        let mut pools = Pools::of(&device.unwrap().to_json());
        pools.read(None, "shop", BTreeSet::from(["default".to_owned()]), &mut Report::default());
        let new: Vec<_> = pools.new.iter().map(|pool| (&*pool.name, &*pool.bridge, &*pool.subnet)).collect();
        assert_eq!(new, [("shop", "br1-shop", "10.0.4.0/24")]);
    }
}
