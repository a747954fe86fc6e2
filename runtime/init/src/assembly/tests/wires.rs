//! Interfaces of `lxc.net`, of one container and of several.

use std::net::Ipv4Addr;

use formats::lxc::wire::Origin;

use super::*;

const POOLS: &str = r#"{"network":{"pools":{
    "apps":{"type":"bridge","bridge":"br-apps","subnet":"10.0.3.0/24"},
    "lan":{"type":"macvlan","parent":"eth0","subnet":"192.168.1.0/24"}}}}"#;

/// What a template writes, with a network of its own, and lines about interfaces without what they begin with.
fn lines(name: &str, net: &str) -> String {
    let net: String = net.split(';').map(|line| format!("lxc.net.{}\n", line.trim())).collect();
    template(name).replace("user  net  ipc", "user  ipc") + &net
}

/// Containers `a`, `b` and so on, beside pools.
fn assemble(all: &[&str]) -> Result<Assembly, String> {
    let mut state = State::new().with("device.json", POOLS);
    for (name, net) in ["a", "b", "c"].into_iter().zip(all) {
        state = state.container(name, "", &lines(name, net));
    }
    state.assemble_with(&Settings::default()).map_err(|error| error.to_string())
}

#[test]
fn interfaces_are_a_network_of_its_own_and_no_pool() {
    let net = "0.type = veth; 0.link = br0; 0.flags = up; 1.type = phys; 1.link = can0";
    let assembly = assemble(&[net]).unwrap();
    let a = assembly.get("a").unwrap();
    let program = a.program.as_ref().unwrap();
    assert!(program.launch.namespaces.net && a.network.is_none());
    let names: Vec<_> = program.wires.iter().map(|wire| (wire.name.as_str(), wire.origin.link(), wire.up)).collect();
    assert_eq!(names, [("eth0", "br0", true), ("can0", "can0", false)]);
    // Another one is another container, which is started anew.
    assert_ne!(assemble(&[&net.replace("can0", "can1")]).unwrap().get("a"), Some(a));
    let pool =
        State::new().with("device.json", POOLS).container("a", r#","network":{"pool":"apps"}"#, &lines("a", net));
    let error = pool.assemble_with(&Settings::default()).unwrap_err().to_string();
    assert!(error.contains("lxc.net and a pool in run.json exclude each other"), "{error}");
}

#[test]
fn what_two_containers_cannot_both_have_is_refused_and_names_both() {
    let veth = "0.type = veth; 0.link = br0;";
    for (one, other, expected) in [
        (
            "0.type = phys; 0.link = eth1",
            "0.type = phys; 0.link = eth1; 0.name = x",
            "eth1, of which one container would have all",
        ),
        (
            "0.type = phys; 0.link = eth1",
            "0.type = macvlan; 0.link = eth1",
            "eth1, of which one container would have all",
        ),
        (
            "0.type = vlan; 0.link = eth1; 0.vlan.id = 7",
            "0.type = phys; 0.link = eth1",
            "eth1, of which one container would",
        ),
        (
            "0.type = macvlan; 0.link = eth1; 0.macvlan.mode = passthru",
            "0.type = macvlan; 0.link = eth1",
            "eth1, of which one container would have all",
        ),
        (
            "0.type = vlan; 0.link = eth1; 0.vlan.id = 7",
            "0.type = vlan; 0.link = eth1; 0.vlan.id = 7; 0.name = x",
            "VLAN 7 of eth1 is also that of",
        ),
        (
            &format!("{veth} 0.veth.pair = out"),
            "0.type = veth; 0.link = br1; 0.veth.pair = out",
            "out on the device is also asked for by",
        ),
        (
            &format!("{veth} 0.veth.pair = eth1"),
            "0.type = phys; 0.link = eth1",
            "eth1 on the device is also asked for by",
        ),
        (
            &format!("{veth} 0.hwaddr = 02:00:00:00:00:01"),
            &format!("{veth} 0.hwaddr = 02:00:00:00:00:01"),
            "the Ethernet address of eth0 on br0",
        ),
        (
            &format!("{veth} 0.ipv6.address = fd00::1"),
            &format!("{veth} 0.ipv6.address = fd00::1"),
            "fd00::1 on br0 is also that of",
        ),
    ] {
        for (first, second) in [(one, other), (other, one)] {
            let error = assemble(&[first, second]).unwrap_err();
            assert!(error.starts_with(&format!("b/lxc.container.conf: lxc.net: {expected}")), "{error}");
            assert!(error.ends_with(" a; give one of them another"), "{error}");
        }
    }
    let alone = "0.type = phys; 0.link = eth1; 1.type = macvlan; 1.link = eth1; 1.name = x";
    assert!(assemble(&[alone]).unwrap_err().contains("of which one container would have all"));
    for fine in [
        ["0.type = vlan; 0.link = eth1; 0.vlan.id = 7", "0.type = vlan; 0.link = eth1; 0.vlan.id = 8"],
        [
            "0.type = macvlan; 0.link = eth1; 0.ipv4.address = 10.0.0.2/24",
            "0.type = macvlan; 0.link = eth2; 0.ipv4.address = 10.0.0.2/24",
        ],
        ["0.type = phys; 0.link = eth1", "0.type = phys; 0.link = eth2"],
    ] {
        assert!(assemble(&fine).is_ok(), "{fine:?}");
    }
}

#[test]
fn what_a_pool_has_is_not_taken_from_it_and_addresses_on_its_bridge_are_its() {
    for (net, expected) in [
        ("0.type = phys; 0.link = eth0", "all of eth0 is not to be had: it is the parent of the pool lan"),
        ("0.type = macvlan; 0.link = br-apps", "br-apps is the bridge of the pool apps, where only a veth can be"),
        ("0.type = veth; 0.link = br0; 0.veth.pair = br-apps", "br-apps on the device is what the pool apps is on"),
        (
            "0.type = veth; 0.link = br-apps; 0.ipv4.address = 10.0.3.1/24",
            "pool apps: 10.0.3.1 is the address of its gateway",
        ),
        (
            "0.type = veth; 0.link = br-apps; 0.ipv4.address = 10.9.3.7/24",
            "pool apps: 10.9.3.7 is no address of a host",
        ),
        (
            "0.type = veth; 0.link = br-apps; 0.ipv4.address = 10.0.3.7/24; 0.ipv4.address = 10.0.3.8/24",
            "a container has one address of a pool",
        ),
    ] {
        let error = assemble(&[net]).unwrap_err();
        assert!(error.starts_with(&format!("a/lxc.container.conf: lxc.net: {expected}")), "{error}");
    }
    let state = State::new()
        .with("device.json", POOLS)
        .container("a", r#","network":{"pool":"apps"}"#, &template("a"))
        .container("b", "", &lines("b", "0.type = veth; 0.link = br-apps; 0.ipv4.address = 10.0.3.2/24"));
    let assembly = state.assemble();
    let address = |name: &str| assembly.leases.get("apps", name);
    assert_eq!((address("a"), address("b")), (Some(Ipv4Addr::new(10, 0, 3, 3)), Some(Ipv4Addr::new(10, 0, 3, 2))));
    assert!(assembly.get("b").unwrap().network.is_none());
    let wires = &assembly.get("b").unwrap().program.as_ref().unwrap().wires;
    assert!(matches!(wires.as_slice(), [wire] if matches!(wire.origin, Origin::Bridge { .. })));
}
