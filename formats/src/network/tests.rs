//! What is read of networks, and what is not.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::*;
use crate::device_json::Device;
use crate::path::ContainerName;
use crate::run_json::Manifest;
use crate::state::Revision;

/// The pools of a device, each `"name": {…}`.
fn pools(text: &str) -> Result<Vec<Pool>, String> {
    let text = format!(
        r##"{{"#spec":"pantavisor-service-system@1","device.json":{{"groups":[{{"name":"a"}}],"network":{{"pools":{{{text}}}}}}}}}"##
    );
    let revision = Revision::parse(text.as_bytes()).map_err(|error| error.to_string())?;
    let device = Device::of(&revision, &mut Vec::new()).map_err(|error| error.to_string())?;
    Ok(device.pools)
}

fn manifest(members: &str) -> Result<(Manifest, usize), String> {
    let mut warnings = Vec::new();
    let name = ContainerName::parse("web").unwrap();
    let manifest = Manifest::parse(&name, &format!(r#"{{"name":"web",{members}}}"#), &mut warnings);
    Ok((manifest.map_err(|error| error.to_string())?, warnings.len()))
}

fn network(members: &str) -> Result<Network, String> {
    Ok(manifest(&format!(r#""network":{{{members}}}"#))?.0.network.unwrap())
}

const BRIDGE: &str = r#""type":"bridge","bridge":"br0""#;

#[test]
fn a_pool_is_read_with_what_it_does_not_say() {
    let found = pools(&format!(r#""n":{{{BRIDGE},"subnet":"10.0.3.0/24"}}"#)).unwrap();
    assert_eq!(found[0].reach, Reach::Bridge("br0".into()));
    assert_eq!((found[0].gateway, found[0].nat), (Some(Ipv4Addr::new(10, 0, 3, 1)), false));
    let beside = r#""n":{"type":"macvlan","parent":"eth0","subnet":"192.168.1.0/24"}"#;
    assert_eq!(pools(beside).unwrap()[0].gateway, None);
}

#[test]
fn a_pool_with_an_error_in_it_is_refused_with_its_place() {
    let bridge = |rest: &str| format!(r#"{{{BRIDGE},{rest}}}"#);
    for (pool, why) in [
        ("{}".into(), "network.pools.n.subnet: is missing"),
        (r#"{"subnet":"10.0.3.0/24"}"#.into(), "network.pools.n.type: is missing"),
        (r#"{"type":"tunnel","subnet":"10.0.3.0/24"}"#.into(), "network.pools.n.type: \"tunnel\" is none of bridge"),
        (r#"{"type":"bridge","subnet":"10.0.3.0/24"}"#.into(), "network.pools.n.bridge: is missing"),
        (r#"{"type":"macvlan","subnet":"10.0.3.0/24"}"#.into(), "network.pools.n.parent: is missing"),
        (r#"{"type":"macvlan","parent":"e","bridge":"b","subnet":"10.0.3.0/24"}"#.into(), "pools.n.bridge: is for"),
        (r#"{"type":"macvlan","parent":"e","nat":true,"subnet":"10.0.3.0/24"}"#.into(), "pools.n.nat: is for bridges"),
        (
            r#"{"type":"bridge","bridge":"a/b","subnet":"10.0.3.0/24"}"#.into(),
            "pools.n.bridge: \"a/b\" is not the name",
        ),
        (r#"{"type":"bridge","bridge":"lo","subnet":"10.0.3.0/24"}"#.into(), "is not the name"),
        (r#"{"type":"bridge","bridge":"br%d","subnet":"10.0.3.0/24"}"#.into(), "is not the name"),
        (r#"{"type":"bridge","bridge":"0123456789abcdef","subnet":"10.0.3.0/24"}"#.into(), "is not the name"),
        (bridge(r#""subnet":"10.0.3.0""#), "pools.n.subnet: \"10.0.3.0\" is not a subnet like"),
        (bridge(r#""subnet":"10.0.3.0/31""#), "less than four addresses"),
        (bridge(r#""subnet":"10.0.3.0/32""#), "less than four addresses"),
        (bridge(r#""subnet":"0.0.0.0/0""#), "a prefix of 8 to 30"),
        (bridge(r#""subnet":"10.0.3.1/24""#), "the bits behind its prefix"),
        (bridge(r#""subnet":"127.0.0.0/24""#), "that hosts can have"),
        (bridge(r#""subnet":"224.0.0.0/24""#), "that hosts can have"),
        (bridge(r#""subnet":"10.0.3.0/24","gateway":"10.0.4.1""#), "pools.n.gateway: \"10.0.4.1\" is not an address"),
        (bridge(r#""subnet":"10.0.3.0/24","gateway":"10.0.3.0""#), "gateway"),
        (bridge(r#""subnet":"10.0.3.0/24","gateway":"10.0.3.255""#), "gateway"),
        (bridge(r#""subnet":"10.0.3.0/24","nat":"yes""#), "pools.n.nat: must be true or false"),
        (bridge(r#""subnet":"fd00:3::/64""#), "pools.n.subnet: \"fd00:3::/64\" is not an address of IPv4; for those"),
        (
            bridge(r#""subnet":"10.0.3.0/24","gateway":"fd00::1""#),
            "pools.n.gateway: \"fd00::1\" is not an address of IPv4",
        ),
        (bridge(r#""subnet":"10.0.3.0/24","gateway6":"fd00:3::1""#), "pools.n.gateway6: is worked out"),
        (
            bridge(r#""subnet":"10.0.3.0/24","subnet6":"fd00:3::""#),
            "pools.n.subnet6: \"fd00:3::\" is not a subnet like",
        ),
        (bridge(r#""subnet":"10.0.3.0/24","subnet6":"10.0.3.0/24""#), "is not a subnet like fd00:3::/64"),
        (bridge(r#""subnet":"10.0.3.0/24","subnet6":"fd00:3::/97""#), "a prefix of 7 to 96"),
        (bridge(r#""subnet":"10.0.3.0/24","subnet6":"fd00:3::1/64""#), "the bits behind it 0"),
        (bridge(r#""subnet":"10.0.3.0/24","subnet6":"fe80::/64""#), "in fc00::/7, or in 2000::/3"),
        (bridge(r#""subnet":"10.0.3.0/24","subnet6":"ff02::/64""#), "in fc00::/7, or in 2000::/3"),
        (
            r#"{"type":"macvlan","parent":"e","subnet":"10.0.3.0/24","subnet6":"fd00:3::/64"}"#.into(),
            "pools.n.subnet6: is for bridges",
        ),
    ] {
        let error = pools(&format!(r#""n":{pool}"#)).unwrap_err();
        assert!(error.starts_with("device.json: ") && error.contains(why), "{pool}: {error}");
    }
}

#[test]
fn two_pools_share_neither_addresses_nor_a_bridge() {
    let two = |subnet: &str, bridge: &str| {
        pools(&format!(
            r#""a":{{{BRIDGE},"subnet":"10.0.0.0/16"}},"b":{{"type":"bridge","bridge":"{bridge}","subnet":"{subnet}"}}"#
        ))
    };
    assert_eq!(two("10.0.3.0/24", "br1").unwrap_err(), "device.json: network.pools.b.subnet: overlaps that of pool a");
    assert!(two("10.0.0.0/8", "br1").unwrap_err().contains("overlaps"));
    assert!(two("10.1.0.0/16", "br0").unwrap_err().contains("\"br0 (by pool a)\" is taken"));
    assert_eq!(two("10.1.0.0/16", "br1").unwrap().len(), 2);
}

#[test]
fn an_address_of_ipv6_is_that_of_ipv4_behind_the_subnet_and_subnets_do_not_overlap() {
    let two = |one: &str, other: &str| {
        pools(&format!(
            r#""a":{{{BRIDGE},"subnet":"10.0.3.0/24","subnet6":"{one}"}},
               "b":{{"type":"bridge","bridge":"br1","subnet":"10.0.4.0/24","subnet6":"{other}"}}"#
        ))
    };
    let found = two("fd00:3::/64", "2001:db8::/96").unwrap();
    let address = |at: usize| found[at].subnet6.unwrap().host([10, 0, 3, 9].into()).to_string();
    assert_eq!((address(0).as_str(), address(1).as_str()), ("fd00:3::a00:309", "2001:db8::a00:309"));
    assert_eq!(found[0].subnet6.unwrap().to_string(), "fd00:3::/64");
    for (one, other) in [("fd00:3::/64", "fd00:3::/96"), ("fd00::/16", "fd00:3::/64")] {
        let error = two(one, other).unwrap_err();
        assert_eq!(error, "device.json: network.pools.b.subnet6: overlaps that of pool a");
    }
}

#[test]
fn a_container_has_one_interface_in_the_pool_it_names_or_those_that_it_lists() {
    let one = network(r#""pool":"n","hostname":"w","ip":"10.0.3.9/24","mac":"02:00:0a:00:03:09""#).unwrap();
    let interface = PoolInterface {
        name: "eth0".into(),
        pool: "n".into(),
        ip: Some(Ipv4Addr::new(10, 0, 3, 9)),
        mac: Some([2, 0, 10, 0, 3, 9]),
    };
    assert_eq!(one, Network { interfaces: [interface].into(), hostname: Some("w".into()) });
    let many =
        network(r#""interfaces":[{"pool":"a"},{"name":"lan","pool":"b","ip":"10.1.0.2"},{"pool":"c"}]"#).unwrap();
    let names: Vec<_> = many.interfaces.iter().map(|one| (one.name.as_str(), one.pool.as_str())).collect();
    assert_eq!(names, [("eth0", "a"), ("lan", "b"), ("eth2", "c")]);
    assert_eq!(network(r#""mode":"host""#).unwrap(), Network::default());
    assert_eq!(network(r#""mode":"pool","interfaces":[{"pool":"a"}]"#).unwrap().interfaces.len(), 1);
}

#[test]
fn a_network_that_contradicts_itself_is_refused_with_its_place() {
    let eleven = [r#"{"pool":"a"}"#; 9].join(",");
    for (members, why) in [
        (r#""mode":"pool""#.into(), "network.mode: this revision has no pool"),
        (r#""mode":"bridge""#.into(), "none of host, pool"),
        (r#""ip":"10.0.3.9""#.into(), "network.ip: needs a pool"),
        (r#""mode":"host","mac":"02:00:0a:00:03:09""#.into(), "network.mac: needs a pool"),
        (r#""pool":"n","mac":"03:00:0a:00:03:09""#.into(), "the address of one interface"),
        (r#""pool":"n","mac":"00:00:00:00:00:00""#.into(), "the address of one interface"),
        (r#""pool":"n","ip":"10.0.3""#.into(), "network.ip: \"10.0.3\" is not"),
        (r#""pool":"n","ip":"fd00::9""#.into(), "network.ip: \"fd00::9\" is not an address of IPv4"),
        (r#""pool":"n","ip6":"fd00::9""#.into(), "network.ip6: is worked out"),
        (r#""interfaces":[{"pool":"a","ip6":"fd00::9"}]"#.into(), "network.interfaces[0].ip6: is worked out"),
        (r#""pool":"n","hostname":"a b""#.into(), "a host name"),
        (r#""pool":"n","hostname":"-a""#.into(), "a host name"),
        (r#""pool":"n","hostname":"a..b""#.into(), "a host name"),
        (r#""pool":"n","interfaces":[{"pool":"n"}]"#.into(), "exclude each other"),
        (r#""interfaces":[]"#.into(), "at least one"),
        (r#""interfaces":[{"pool":"a"}],"ip":"10.0.3.9""#.into(), "belongs into one of the interfaces"),
        (r#""interfaces":[{"name":"eth0"}]"#.into(), "network.interfaces[0].pool: is missing"),
        (r#""interfaces":[{"pool":"a"},{"pool":"a"}]"#.into(), "network.interfaces[1]: the name \"a\" is taken"),
        (r#""interfaces":[{"pool":"a"},{"name":"eth0","pool":"b"}]"#.into(), "the name \"eth0\" is taken"),
        (r#""interfaces":[{"pool":"a","name":"lo"}]"#.into(), "the name of a network interface"),
        (format!(r#""interfaces":[{eleven}]"#), "more than 8"),
    ] {
        let error = network(&members).unwrap_err();
        assert!(error.starts_with("web/run.json: ") && error.contains(why), "{members}: {error}");
    }
    let (manifest, warnings) = manifest(r#""network":{"mode":"host","pool":"n"}"#).unwrap();
    assert_eq!((manifest.network.unwrap().interfaces.len(), warnings), (1, 1));
}

#[test]
fn ports_are_those_of_compose_without_guesses() {
    let read = |text: &str| Port::parse(text).map(|port| port.to_string());
    for text in ["8080:80", "53:53/udp", "127.0.0.1:8080:80", "10.0.0.1:53:5353/udp"] {
        assert_eq!(read(text).as_deref(), Some(text));
    }
    assert_eq!(read("8080:80/tcp").as_deref(), Some("8080:80"));
    assert_eq!(read("0.0.0.0:8080:80").as_deref(), Some("8080:80"));
    for text in [
        "",
        "80",
        ":80",
        "80:",
        "0:80",
        "80:0",
        "65536:80",
        "8000-8010:80",
        "+80:80",
        "80:80/sctp",
        "80:80/",
        "x:80:80",
        "1:2:3:4",
        "::1:80:80",
        " 80:80",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn a_port_is_published_once() {
    let ports = |list: &str| manifest(&format!(r#""ports":[{list}]"#)).map(|(manifest, _)| manifest.ports.len());
    assert_eq!(ports(r#""53:53","53:53/udp","127.0.0.1:80:80","10.0.0.1:80:80""#), Ok(4));
    assert_eq!(ports(r#""80:80","127.0.0.1:80:81""#).unwrap_err(), "web/run.json: ports[1]: overlaps 80:80");
    assert!(ports(r#""80""#).unwrap_err().contains("is not DEVICE:CONTAINER"));
    let many = (1..=65).map(|port| format!(r#""{port}:80""#)).collect::<Vec<_>>().join(",");
    assert!(ports(&many).unwrap_err().contains("more than 64"));
}

#[test]
fn addresses_are_exact() {
    for bad in ["10.0.3", "10.0.3.7/33", "10.0.3.7/", "10.0.3.7/+8", "10.0.3.256", "10.0.3.7/24/1", "::1", ""] {
        assert_eq!(parse_address(bad), None, "{bad}");
    }
    for bad in [
        "02:00",
        "02:00:0a:00:03:0",
        "02:00:0a:00:03:07:01",
        "02-00-0a-00-03-07",
        "0x:00:0a:00:03:07",
        "+1:00:0a:00:03:07",
    ] {
        assert_eq!(parse_hardware_address(bad), None, "{bad}");
    }
}

#[test]
fn a_subnet_has_hosts_between_its_first_and_its_last_address() {
    let subnet = Subnet::new(Ipv4Addr::new(10, 0, 3, 4), 30).unwrap();
    let hosts: Vec<_> = (0..8).map(|last| subnet.has_host(Ipv4Addr::new(10, 0, 3, last))).collect();
    assert_eq!(hosts, [false, false, false, false, false, true, true, false]);
    assert_eq!((subnet.first(), subnet.last()), (Ipv4Addr::new(10, 0, 3, 5), Ipv4Addr::new(10, 0, 3, 6)));
    assert_eq!(Subnet::new(Ipv4Addr::new(10, 0, 3, 0), 31), None);
}
