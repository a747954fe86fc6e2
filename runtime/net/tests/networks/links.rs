//! Links, addresses and routes.

use std::os::fd::AsFd as _;
use std::time::Instant;

use net::route::{Macvlan, Setup, Way};
use net::{Inside, Mac, Namespace, Route};

use super::ground::{MOMENT, PATIENCE, cidr, connect, container, device, name, seen, serve};

fn inside<'a>(namespace: &'a Namespace, eth0: &'a net::Name) -> Inside<'a> {
    Inside { namespace: namespace.as_fd(), name: eth0, mac: None, mtu: None }
}

fn names(route: &mut Route) -> Vec<String> {
    route.links().unwrap().into_iter().map(|link| link.name).collect()
}

#[test]
fn a_bridge_that_is_told_twice_is_one_and_has_the_addresses_that_were_told_last() {
    device(|route| {
        let bridge = name("lxcbr0");
        let told = [cidr("10.0.3.1/24"), cidr("10.0.3.9/24"), cidr("fd03::1/64")];
        route.bridge(&bridge, None, &told).unwrap();
        let first = route.find(&bridge).unwrap().unwrap();
        assert!(first.kind == "bridge" && first.is_up(), "{first:?}");
        // The first address of the network goes, and the second stays though the kernel takes it with the first.
        route.bridge(&bridge, None, &told[1..]).unwrap();
        assert_eq!(route.addresses_of(&bridge).unwrap(), told[1..]);
        assert_eq!(route.find(&bridge).unwrap().unwrap().index, first.index);
        route.remove(&bridge).unwrap();
        route.remove(&bridge).unwrap();
        assert_eq!(names(route), ["lo"]);
    });
}

#[test]
fn a_bridge_keeps_its_ethernet_address_while_containers_come_and_go() {
    device(|route| {
        let (bridge, low): (_, Mac) = (name("lxcbr0"), "02:00:00:00:00:01".parse().unwrap());
        route.bridge(&bridge, None, &[cidr("10.0.3.1/24")]).unwrap();
        let mac = route.find(&bridge).unwrap().unwrap().mac;
        let container = Namespace::new().unwrap();
        // The lowest address of all ports, which a bridge would take without being told otherwise.
        let (web, eth0) = (name("web"), name("eth0"));
        let end = Inside { mac: Some(low), ..inside(&container, &eth0) };
        route.veth(&web, Some(&bridge), &end).unwrap();
        route.veth(&name("wire0"), None, &Inside { name: &name("eth1"), ..inside(&container, &eth0) }).unwrap();
        assert_eq!(route.find(&bridge).unwrap().unwrap().mac, mac);
        let chosen: Mac = "02:00:00:00:00:77".parse().unwrap();
        route.bridge(&bridge, Some(chosen), &[cidr("10.0.3.1/24")]).unwrap();
        assert_eq!(route.find(&bridge).unwrap().unwrap().mac, Some(chosen.octets()));
    });
}

#[test]
fn two_containers_on_a_bridge_speak_to_each_other_and_to_the_device() {
    device(|route| {
        route.bridge(&name("lxcbr0"), None, &[cidr("10.0.3.1/24"), cidr("fd03::1/64")]).unwrap();
        let web = container(route, "web", Some("lxcbr0"), &["10.0.3.2/24", "fd03::2/64"], Some("10.0.3.1"));
        let app = container(route, "app", Some("lxcbr0"), &["10.0.3.3/24", "fd03::3/64"], Some("10.0.3.1"));
        let own = Namespace::own().unwrap();
        let four = serve(&web, "0.0.0.0:80");
        assert_eq!(seen(&app, "10.0.3.2:80", &four).to_string(), "10.0.3.3");
        assert_eq!(seen(&own, "10.0.3.2:80", &four).to_string(), "10.0.3.1");
        // At once, without a second in which the kernel asks whether somebody else has the address.
        let six = serve(&web, "[fd03::2]:81");
        assert_eq!(seen(&app, "[fd03::2]:81", &six).to_string(), "fd03::3");
        let bridge = route.find(&name("lxcbr0")).unwrap().unwrap().index;
        let port = route.find(&name("web")).unwrap().unwrap();
        assert_eq!((port.kind.as_str(), port.master, port.is_up()), ("veth", Some(bridge), true));
    });
}

#[test]
fn the_end_in_a_container_is_what_was_asked_for_and_both_go_together() {
    device(|route| {
        let (web, eth0, mac) = (name("web"), name("eth0"), "02:00:00:00:00:07".parse::<Mac>().unwrap());
        let namespace = Namespace::new().unwrap();
        let mut within = Route::open_in(namespace.as_fd()).unwrap();
        let wanted = Inside { mac: Some(mac), mtu: Some(1400), ..inside(&namespace, &eth0) };
        route.veth(&web, None, &wanted).unwrap();
        let end = within.find(&eth0).unwrap().unwrap();
        assert_eq!((end.mac, end.mtu, end.is_up()), (Some(mac.octets()), 1400, false));
        assert_eq!(
            (names(&mut within), names(route)),
            (vec!["lo".into(), "eth0".into()], vec!["lo".into(), "web".into()])
        );
        route.remove(&web).unwrap();
        assert_eq!((names(&mut within), names(route)), (vec!["lo".to_owned()], vec!["lo".to_owned()]));

        // And with the namespace, a moment after the last who holds it has gone.
        route.veth(&web, None, &wanted).unwrap();
        drop((within, namespace));
        let begin = Instant::now();
        while route.find(&web).unwrap().is_some() {
            assert!(begin.elapsed() < PATIENCE, "the link of a container that has ended is still there");
            std::thread::sleep(MOMENT / 50);
        }
    });
}

#[test]
fn containers_with_addresses_of_their_own_on_the_wire_of_the_device_speak_to_who_is_on_it() {
    device(|route| {
        let outside = container(route, "wire0", None, &["192.0.2.9/24"], None);
        let (wire, eth0) = (name("wire0"), name("eth0"));
        route.up(&wire).unwrap();
        let join = |route: &mut Route, address: &str| {
            let namespace = Namespace::new().unwrap();
            route.macvlan(&wire, Macvlan::Bridge, &inside(&namespace, &eth0)).unwrap();
            let mut within = Route::open_in(namespace.as_fd()).unwrap();
            within.configure(&eth0, &Setup { addresses: &[cidr(address)], defaults: &[] }).unwrap();
            assert_eq!(within.find(&eth0).unwrap().unwrap().kind, "macvlan");
            namespace
        };
        let (web, app) = (join(route, "192.0.2.2/24"), join(route, "192.0.2.3/24"));
        let server = serve(&web, "0.0.0.0:80");
        assert_eq!(seen(&outside, "192.0.2.2:80", &server).to_string(), "192.0.2.9");
        assert_eq!(seen(&app, "192.0.2.2:80", &server).to_string(), "192.0.2.3");
        assert_eq!(names(route), ["lo", "wire0"]);
    });
}

#[test]
fn a_link_on_the_wire_is_called_in_the_container_as_the_wire_is_on_the_device() {
    device(|route| {
        let _outside = container(route, "eth0", None, &[], None);
        let (eth0, namespace) = (name("eth0"), Namespace::new().unwrap());
        let mut within = Route::open_in(namespace.as_fd()).unwrap();
        let wanted = Inside { mac: Some("02:00:00:00:00:07".parse().unwrap()), ..inside(&namespace, &eth0) };
        route.macvlan(&eth0, Macvlan::Bridge, &wanted).unwrap();
        let made = within.find(&eth0).unwrap().unwrap();
        assert_eq!((made.kind.as_str(), made.mac), ("macvlan", Some([2, 0, 0, 0, 0, 7])));
        // What cannot have its name is nowhere.
        let error = route.macvlan(&eth0, Macvlan::Bridge, &inside(&namespace, &eth0)).unwrap_err().to_string();
        assert!(error.starts_with("macvlan eth0, eth0 in the container: cannot make it: File exists"), "{error}");
        assert_eq!(
            (names(route), names(&mut within)),
            (vec!["lo".into(), "eth0".into()], vec!["lo".into(), "eth0".into()])
        );
    });
}

#[test]
fn a_link_is_made_for_one_vlan_or_the_kernel_is_said_to_have_none() {
    device(|route| {
        let _outside = container(route, "wire0", None, &[], None);
        let (wire, eth0) = (name("wire0"), name("eth0"));
        let namespace = Namespace::new().unwrap();
        let end = inside(&namespace, &eth0);
        for id in [0, 4095] {
            let text = route.vlan(&wire, id, &end).unwrap_err().to_string();
            assert!(
                text.starts_with("vlan wire0, eth0 in the container: cannot make it")
                    && text.ends_with("from 1 to 4094"),
                "{text}"
            );
        }
        match route.vlan(&wire, 7, &end) {
            Ok(()) => assert_eq!(Route::open_in(namespace.as_fd()).unwrap().find(&eth0).unwrap().unwrap().kind, "vlan"),
            Err(error) => assert_eq!(error.needs, "CONFIG_VLAN_8021Q", "{error}"),
        }
    });
}

#[test]
fn hardware_that_was_given_to_a_container_comes_back_under_its_old_name() {
    device(|route| {
        let (wire, eth0) = (name("wire0"), name("eth0"));
        let _outside = container(route, "wire0", None, &["192.0.2.9/24"], None);
        route.configure(&wire, &Setup { addresses: &[cidr("192.0.2.1/24")], defaults: &[] }).unwrap();
        let (own, namespace) = (Namespace::own().unwrap(), Namespace::new().unwrap());
        route.give(&wire, &inside(&namespace, &eth0)).unwrap();
        let mut within = Route::open_in(namespace.as_fd()).unwrap();
        assert_eq!((names(route), names(&mut within)), (vec!["lo".to_owned()], vec!["lo".to_owned(), "eth0".into()]));
        assert_eq!(within.addresses_of(&eth0).unwrap(), []);
        // Even where another has the name by now that it had there.
        let _other = container(route, "eth0", None, &[], None);
        within.give(&eth0, &inside(&own, &wire)).unwrap();
        assert_eq!(names(&mut within), ["lo"]);
        assert!(names(route).contains(&"wire0".to_owned()) && names(route).contains(&"eth0".to_owned()));
        assert!(!route.find(&wire).unwrap().unwrap().is_up());
    });
}

#[test]
fn a_link_that_was_lent_comes_back_as_it_was_whatever_its_container_made_of_it() {
    device(|route| {
        let (wire, lan0) = (name("wire0"), name("lan0"));
        let _outside = container(route, "wire0", None, &["192.0.2.9/24"], None);
        let before = route.find(&wire).unwrap().unwrap();
        let (own, namespace) = (Namespace::own().unwrap(), Namespace::new().unwrap());
        let mut within = Route::open_in(namespace.as_fd()).unwrap();
        let mac: Mac = "02:00:00:00:00:09".parse().unwrap();
        let end = Inside { mac: Some(mac), mtu: Some(1400), ..inside(&namespace, &lan0) };
        for _ in 0..2 {
            let (index, home) = route.lend(&wire, &end, &mut within).unwrap();
            let there = within.find(&lan0).unwrap().unwrap();
            assert_eq!((there.index, there.mac, there.mtu), (index, Some(mac.octets()), 1400));
            assert_eq!(names(route), ["lo"]);
            within.rename(&lan0, &name("mine")).unwrap();
            within.up(&name("mine")).unwrap();
            within.take_back(index, &home, own.as_fd(), route).unwrap();
            let back = route.find(&wire).unwrap().unwrap();
            assert_eq!((back.mac, back.mtu, back.is_up(), back.alias.as_str()), (before.mac, before.mtu, false, ""));
        }
        // One that cannot be given stays what it was.
        route.bridge(&name("lxcbr0"), None, &[]).unwrap();
        assert!(route.lend(&name("lxcbr0"), &end, &mut within).is_err());
        assert_eq!(route.find(&name("lxcbr0")).unwrap().unwrap().alias, "");
    });
}

#[test]
fn a_link_whose_name_was_taken_meanwhile_comes_back_under_another_and_has_its_own_when_that_is_free() {
    device(|route| {
        let (wire, lan0) = (name("wire0"), name("lan0"));
        let _outside = container(route, "wire0", None, &[], None);
        let (own, namespace) = (Namespace::own().unwrap(), Namespace::new().unwrap());
        let mut within = Route::open_in(namespace.as_fd()).unwrap();
        let (index, home) = route.lend(&wire, &inside(&namespace, &lan0), &mut within).unwrap();
        let mac = within.find(&lan0).unwrap().unwrap().mac;
        let _other = container(route, "wire0", None, &[], None);
        let text = within.take_back(index, &home, own.as_fd(), route).unwrap_err().to_string();
        assert!(text.starts_with("link wire0: cannot take it back from a container: File exists"), "{text}");
        assert_eq!((names(&mut within).len(), names(route).len()), (1, 3));
        assert!(route.come_home().is_err());
        route.remove(&wire).unwrap();
        route.come_home().unwrap();
        assert_eq!(names(route), ["lo", "wire0"]);
        assert_eq!(route.find(&wire).unwrap().unwrap().mac, mac);
    });
}

#[test]
fn what_the_kernel_brings_back_by_itself_has_its_name_again_also_when_it_is_up() {
    device(|route| {
        let (wire, lan0, left) = (name("wire0"), name("lan0"), name("dev7"));
        let _outside = container(route, "wire0", None, &[], None);
        let (own, namespace) = (Namespace::own().unwrap(), Namespace::new().unwrap());
        let mut within = Route::open_in(namespace.as_fd()).unwrap();
        let end = Inside { mtu: Some(1400), ..inside(&namespace, &lan0) };
        route.lend(&wire, &end, &mut within).unwrap();
        // As a namespace that dies gives hardware away: no link of a test is hardware.
        within.give(&lan0, &inside(&own, &left)).unwrap();
        route.up(&left).unwrap();
        route.come_home().unwrap();
        let back = route.find(&wire).unwrap().unwrap();
        assert_eq!((back.mtu, back.alias.as_str()), (1500, ""));
        // Links of others are left alone.
        route.come_home().unwrap();
        assert_eq!(names(route), ["lo", "wire0"]);
    });
}

#[test]
fn a_way_to_everything_else_may_be_a_router_outside_of_the_network_or_the_link_itself() {
    device(|route| {
        let eth0 = name("eth0");
        let outside = container(route, "wire0", None, &["192.0.2.9/32", "198.51.100.1/32"], None);
        route
            .configure(&name("wire0"), &Setup { addresses: &[cidr("203.0.113.5/32")], defaults: &[Way::Link4] })
            .unwrap();
        let mut within = Route::open_in(outside.as_fd()).unwrap();
        let addresses = [cidr("192.0.2.9/32"), cidr("198.51.100.1/32")];
        for _ in 0..2 {
            let by = [Way::By("203.0.113.5".parse().unwrap())];
            within.configure(&eth0, &Setup { addresses: &addresses, defaults: &by }).unwrap();
        }
        let server = serve(&outside, "198.51.100.1:80");
        assert_eq!(seen(&Namespace::own().unwrap(), "198.51.100.1:80", &server).to_string(), "203.0.113.5");
    });
}

#[test]
fn a_link_that_is_down_takes_another_name() {
    device(|route| {
        let _outside = container(route, "wire0", None, &[], None);
        let other = container(route, "eth9", None, &[], None);
        let mut within = Route::open_in(other.as_fd()).unwrap();
        let text = within.rename(&name("eth0"), &name("lo")).unwrap_err().to_string();
        assert!(text.starts_with("link eth0, then lo: cannot rename it"), "{text}");
        let lone = Namespace::new().unwrap();
        let eth0 = name("eth0");
        route.veth(&name("app"), None, &inside(&lone, &eth0)).unwrap();
        let mut within = Route::open_in(lone.as_fd()).unwrap();
        within.rename(&eth0, &name("lan0")).unwrap();
        assert_eq!(names(&mut within), ["lo", "lan0"]);
    });
}

#[test]
fn an_error_names_the_object_and_says_what_is_wrong_with_it() {
    device(|route| {
        let eth0 = name("eth0");
        let web = container(route, "web", None, &[], None);
        let fails = |result: Result<(), net::Error>, expected: &str| {
            let text = result.unwrap_err().to_string();
            assert!(text.starts_with(expected), "{text}");
        };
        fails(
            route.bridge(&name("web"), None, &[]),
            "bridge web: cannot make it: File exists (os error 17): a link of this name is there and is veth",
        );
        let end = inside(&web, &eth0);
        fails(route.veth(&name("web"), None, &end), "veth web, eth0 in the container: cannot make it: File exists");
        fails(route.veth(&name("app"), None, &end), "veth app, eth0 in the container: cannot make it: File exists");
        fails(
            route.veth(&name("app"), Some(&name("lxcbr0")), &end),
            "bridge lxcbr0: cannot connect a container to it: No such device",
        );
        let lone = Namespace::new().unwrap();
        fails(
            route.veth(&name("app"), Some(&name("web")), &inside(&lone, &eth0)),
            "link web: cannot connect a container to it: Invalid argument (os error 22): it is no bridge, but veth",
        );
        fails(
            route.macvlan(&name("wire9"), Macvlan::Bridge, &end),
            "link wire9: cannot be the parent of a container's: No such device",
        );
        fails(route.up(&name("wire9")), "link wire9: cannot bring it up: No such device");
        fails(route.remove(&name("lo")), "link lo: cannot remove it");
        let setup = Setup { addresses: &[], defaults: &[Way::By("224.0.0.1".parse().unwrap())] };
        fails(
            route.configure(&name("web"), &setup),
            "link web, router 224.0.0.1: cannot lead to everything else by it",
        );
        assert!(names(route).iter().all(|name| name == "lo" || name == "web"));
        assert!(connect(&web, "10.0.0.1:1", MOMENT).is_err());
    });
}
