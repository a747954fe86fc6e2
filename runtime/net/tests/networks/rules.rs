//! Who may speak to whom, and under whose address.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;

use net::nft::{self, Protocol};
use net::route::{Setup, Way};
use net::{Namespace, Route};

use super::ground::{
    PATIENCE, World, borrow, cidr, closed, connect, container, device, name, port, rules_in_the_kernel, seen, serve,
    set, silent, world,
};

/// Leads a namespace to the pools by way of the device.
fn knows_the_way(outside: &Namespace) {
    let setup = Setup {
        addresses: &[cidr("192.0.2.9/24"), cidr("fd99::9/64")],
        defaults: &[Way::By("192.0.2.1".parse().unwrap()), Way::By("fd99::1".parse().unwrap())],
    };
    Route::open_in(outside.as_fd()).unwrap().configure(&name("eth0"), &setup).unwrap();
}

#[test]
fn what_leaves_a_pool_has_the_address_of_the_device_if_it_is_to_and_its_own_otherwise() {
    device(|route| {
        let World { web, outside, .. } = world(route);
        let (four, six) = (serve(&outside, "0.0.0.0:80"), serve(&outside, "[::]:81"));
        let mut ruleset = closed();
        nft::replace(&ruleset).unwrap();
        assert_eq!(seen(&web, "192.0.2.9:80", &four).to_string(), "192.0.2.1");
        assert_eq!(seen(&web, "[fd99::9]:81", &six).to_string(), "fd99::1");
        ruleset.pools[0].nat = false;
        nft::replace(&ruleset).unwrap();
        // Its answer finds the way back only where that is known.
        silent(&web, "192.0.2.9:80");
        let _ = four.accept();
        knows_the_way(&outside);
        assert_eq!(seen(&web, "192.0.2.9:80", &four).to_string(), "10.0.3.2");
    });
}

#[test]
fn a_pool_does_not_reach_another_and_without_the_rule_it_does() {
    device(|route| {
        let World { web, app, .. } = world(route);
        let server = serve(&app, "0.0.0.0:80");
        let mut ruleset = closed();
        nft::replace(&ruleset).unwrap();
        silent(&web, "10.0.4.2:80");
        // Nor does who has another's address: the link counts.
        assert!(server.accept().is_err());
        ruleset.isolated = false;
        ruleset.pools[1].routed = true;
        nft::replace(&ruleset).unwrap();
        seen(&web, "10.0.4.2:80", &server);
        // Also where outsiders do not.
        ruleset.pools[1].routed = false;
        nft::replace(&ruleset).unwrap();
        seen(&web, "10.0.4.2:80", &server);
        nft::replace(&closed()).unwrap();
        silent(&web, "10.0.4.2:80");
        nft::remove().unwrap();
        assert_eq!(seen(&web, "10.0.4.2:80", &server).to_string(), "10.0.3.2");
    });
}

#[test]
fn a_pool_does_not_reach_another_by_ipv6_either_though_the_device_passes_that_on() {
    device(|route| {
        let World { web, .. } = world(route);
        route.bridge(&name("other0"), None, &[cidr("10.0.4.1/24"), cidr("fd04::1/64")]).unwrap();
        let app = container(route, "app2", Some("other0"), &["fd04::2/64"], Some("fd04::1"));
        let server = serve(&app, "[::]:80");
        // By the rule of the link: no network of IPv6 is said of this pool.
        nft::replace(&closed()).unwrap();
        silent(&web, "[fd04::2]:80");
        nft::remove().unwrap();
        assert_eq!(seen(&web, "[fd04::2]:80", &server).to_string(), "fd03::2");
    });
}

#[test]
fn within_a_pool_and_with_the_device_everybody_speaks() {
    device(|route| {
        let World { web, .. } = world(route);
        let next = container(route, "web2", Some("lxcbr0"), &["10.0.3.3/24"], Some("10.0.3.1"));
        nft::replace(&closed()).unwrap();
        let own = Namespace::own().unwrap();
        let (server, here) = (serve(&web, "0.0.0.0:80"), serve(&own, "0.0.0.0:22"));
        assert_eq!(seen(&next, "10.0.3.2:80", &server).to_string(), "10.0.3.3");
        assert_eq!(seen(&own, "10.0.3.2:80", &server).to_string(), "10.0.3.1");
        assert_eq!(seen(&web, "10.0.3.1:22", &here).to_string(), "10.0.3.2");
    });
}

#[test]
fn a_kernel_that_shows_the_rules_what_stays_within_a_bridge_changes_nothing() {
    let switch = "bridge/bridge-nf-call-iptables";
    device(|route| {
        let World { web, app, .. } = world(route);
        let next = container(route, "web2", Some("lxcbr0"), &["10.0.3.3/24"], Some("10.0.3.1"));
        // A kernel without br_netfilter shows them nothing, with the same result.
        if std::path::Path::new("/proc/sys/net").join(switch).exists() {
            set(&Namespace::own().unwrap(), switch, "1");
        }
        let mut ruleset = closed();
        ruleset.ports = vec![port(Protocol::Tcp, None, 8080, "10.0.3.2:80")];
        nft::replace(&ruleset).unwrap();
        let server = serve(&web, "0.0.0.0:80");
        assert_eq!(seen(&next, "10.0.3.2:80", &server).to_string(), "10.0.3.3");
        seen(&next, "10.0.3.1:8080", &server);
        silent(&app, "10.0.3.2:80");
    });
}

#[test]
fn who_is_outside_reaches_a_pool_only_if_it_is_open_to_that() {
    device(|route| {
        let World { web, outside, .. } = world(route);
        knows_the_way(&outside);
        let (four, six) = (serve(&web, "0.0.0.0:80"), serve(&web, "[fd03::2]:81"));
        let mut ruleset = closed();
        nft::replace(&ruleset).unwrap();
        silent(&outside, "10.0.3.2:80");
        silent(&outside, "[fd03::2]:81");
        ruleset.pools[0].routed = true;
        nft::replace(&ruleset).unwrap();
        assert_eq!(seen(&outside, "10.0.3.2:80", &four).to_string(), "192.0.2.9");
        assert_eq!(seen(&outside, "[fd03::2]:81", &six).to_string(), "fd99::9");
    });
}

#[test]
fn a_device_that_was_no_router_is_none_because_of_its_pools() {
    device(|route| {
        let World { outside, .. } = world(route);
        knows_the_way(&outside);
        let beyond = container(route, "wire1", None, &["198.51.100.9/24"], Some("198.51.100.1"));
        route.configure(&name("wire1"), &Setup { addresses: &[cidr("198.51.100.1/24")], defaults: &[] }).unwrap();
        let server = serve(&beyond, "0.0.0.0:80");
        let mut ruleset = closed();
        nft::replace(&ruleset).unwrap();
        silent(&outside, "198.51.100.9:80");
        ruleset.transit = true;
        nft::replace(&ruleset).unwrap();
        assert_eq!(seen(&outside, "198.51.100.9:80", &server).to_string(), "192.0.2.9");
    });
}

#[test]
fn whether_the_device_was_a_router_before_is_told() {
    device(|_| {
        set(&Namespace::own().unwrap(), "ipv4/ip_forward", "0");
        assert_eq!([net::sysctl::forward().unwrap(), net::sysctl::forward().unwrap()], [false, true]);
    });
}

#[test]
fn a_device_that_passes_ipv6_on_still_takes_its_own_address_from_who_announces_it() {
    device(|route| {
        let _outside = container(route, "wire0", None, &[], None);
        let own = Namespace::own().unwrap();
        let at = |path: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{path}")).unwrap();
        set(&own, "ipv6/conf/wire0/accept_ra", "1");
        set(&own, "ipv6/conf/lo/accept_ra", "0");
        net::sysctl::forward().unwrap();
        // Of IPv4 alone: nothing changes for IPv6.
        assert_eq!((at("all/forwarding").as_str(), at("wire0/accept_ra").as_str()), ("0\n", "1\n"));
        assert_eq!([net::sysctl::forward6().unwrap(), net::sysctl::forward6().unwrap()], [false, true]);
        assert_eq!((at("all/forwarding").as_str(), at("wire0/accept_ra").as_str()), ("1\n", "2\n"));
        // Nor does who wanted none get some.
        assert_eq!(at("lo/accept_ra"), "0\n");
    });
}

#[test]
fn the_loopback_of_the_device_is_closed_to_containers_though_ports_on_it_lead_to_them() {
    device(|route| {
        let _world = world(route);
        let own = Namespace::own().unwrap();
        net::sysctl::reach_from_loopback(&name("lxcbr0")).unwrap();
        let begin = container(route, "web2", Some("lxcbr0"), &["10.0.3.3/24"], Some("10.0.3.1"));
        borrow(&begin, &["10.0.3.3/24"], "10.0.3.1");
        let secret = serve(&own, "127.0.0.1:9");
        nft::replace(&closed()).unwrap();
        silent(&begin, "127.0.0.1:9");
        assert!(secret.accept().is_err());
        nft::remove().unwrap();
        connect(&begin, "127.0.0.1:9", PATIENCE).unwrap();
        secret.accept().unwrap();
    });
}

#[test]
fn a_connection_that_stands_goes_on_while_the_table_is_replaced() {
    device(|route| {
        let World { web, outside, .. } = world(route);
        let mut ruleset = closed();
        ruleset.ports = vec![port(Protocol::Tcp, None, 8080, "10.0.3.2:80")];
        nft::replace(&ruleset).unwrap();
        let server = serve(&web, "0.0.0.0:80");
        let mut client = connect(&outside, "192.0.2.1:8080", PATIENCE).unwrap();
        let mut peer = server.accept().unwrap().0;
        ruleset.ports.clear();
        nft::replace(&ruleset).unwrap();
        assert!(connect(&outside, "192.0.2.1:8080", PATIENCE).is_err());
        peer.set_nonblocking(false).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"still here").unwrap();
        let mut read = [0; 10];
        peer.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"still here");
    });
}

#[test]
fn a_table_that_was_replaced_holds_the_new_rules_and_nothing_else() {
    device(|route| {
        let World { web, outside, .. } = world(route);
        let server = serve(&web, "0.0.0.0:80");
        let mut ruleset = closed();
        ruleset.ports = (8080..8090).map(|number| port(Protocol::Tcp, None, number, "10.0.3.2:80")).collect();
        nft::replace(&ruleset).unwrap();
        let many = rules_in_the_kernel();
        seen(&outside, "192.0.2.1:8089", &server);
        ruleset.ports.truncate(1);
        nft::replace(&ruleset).unwrap();
        assert_eq!(rules_in_the_kernel(), many - 9);
        assert!(connect(&outside, "192.0.2.1:8089", PATIENCE).is_err());
        seen(&outside, "192.0.2.1:8080", &server);
        nft::remove().unwrap();
        nft::remove().unwrap();
        assert_eq!(rules_in_the_kernel(), 0);
    });
}
