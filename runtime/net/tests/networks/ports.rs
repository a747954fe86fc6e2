//! Published ports.

use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use net::Namespace;
use net::nft::{self, Attempts, PORTS_MAX, Port, Protocol};
use net::route::Setup;

use super::ground::{
    MOMENT, PATIENCE, World, at, borrow, cidr, closed, connect, container, device, name, port, seen, serve, silent,
    world,
};

fn publish(ports: &[Port]) {
    let mut ruleset = closed();
    ruleset.ports = ports.into();
    nft::replace(&ruleset).unwrap();
}

#[test]
fn a_published_port_is_reached_from_everywhere_by_any_address_of_the_device() {
    device(|route| {
        let World { web, app, outside } = world(route);
        let own = Namespace::own().unwrap();
        let server = serve(&web, "0.0.0.0:80");
        publish(&[port(Protocol::Tcp, None, 8080, "10.0.3.2:80")]);
        assert_eq!(seen(&outside, "192.0.2.1:8080", &server).to_string(), "192.0.2.9");
        for address in ["192.0.2.1:8080", "10.0.3.1:8080", "10.0.4.1:8080"] {
            seen(&own, address, &server);
            seen(&app, address, &server);
            // By a neighbour, and by the very container: under the device's address, so that the answer comes back.
            assert_eq!(seen(&web, address, &server).to_string(), "10.0.3.1", "{address}");
        }
        // What is published is the port, and nothing else of the container.
        let closed = serve(&web, "0.0.0.0:81");
        silent(&app, "10.0.3.2:81");
        assert!(connect(&outside, "192.0.2.1:81", PATIENCE).is_err() && closed.accept().is_err());
    });
}

#[test]
fn a_published_port_takes_nothing_that_is_for_others() {
    device(|route| {
        let World { web, outside, .. } = world(route);
        let (server, theirs) = (serve(&web, "0.0.0.0:80"), serve(&outside, "0.0.0.0:8080"));
        publish(&[port(Protocol::Tcp, None, 8080, "10.0.3.2:80")]);
        seen(&web, "192.0.2.9:8080", &theirs);
        seen(&Namespace::own().unwrap(), "192.0.2.9:8080", &theirs);
        assert!(server.accept().is_err());
    });
}

#[test]
fn a_port_on_one_address_is_not_on_the_others() {
    device(|route| {
        let World { web, app, outside } = world(route);
        let server = serve(&web, "0.0.0.0:80");
        publish(&[port(Protocol::Tcp, Some("192.0.2.1"), 8080, "10.0.3.2:80")]);
        seen(&outside, "192.0.2.1:8080", &server);
        assert!(connect(&app, "10.0.4.1:8080", PATIENCE).is_err());
    });
}

#[test]
fn a_port_on_the_loopback_is_reached_by_the_device_and_by_nobody_who_borrows_the_address() {
    device(|route| {
        let World { web, outside, .. } = world(route);
        let own = Namespace::own().unwrap();
        let server = serve(&web, "0.0.0.0:80");
        publish(&[port(Protocol::Tcp, Some("127.0.0.1"), 8080, "10.0.3.2:80")]);
        net::sysctl::reach_from_loopback(&name("lxcbr0")).unwrap();
        assert_eq!(seen(&own, "127.0.0.1:8080", &server).to_string(), "10.0.3.1");
        assert!(connect(&outside, "192.0.2.1:8080", PATIENCE).is_err());
        // A neighbour of the device who takes the loopback of that for a host behind it.
        let neighbour = container(route, "wire1", None, &["198.51.100.9/24"], None);
        route.configure(&name("wire1"), &Setup { addresses: &[cidr("198.51.100.1/24")], defaults: &[] }).unwrap();
        borrow(&neighbour, &["198.51.100.9/24"], "198.51.100.1");
        silent(&neighbour, "127.0.0.1:8080");
        assert!(server.accept().is_err());
    });
}

#[test]
fn a_port_of_udp_and_one_of_ipv6_are_published_like_any_other() {
    device(|route| {
        let World { web, outside, .. } = world(route);
        let names = web.run(|| UdpSocket::bind("0.0.0.0:53")).unwrap().unwrap();
        names.set_read_timeout(Some(PATIENCE)).unwrap();
        let six = serve(&web, "[::]:80");
        publish(&[port(Protocol::Udp, None, 5353, "10.0.3.2:53"), port(Protocol::Tcp, None, 8080, "[fd03::2]:80")]);
        let client = outside.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.send_to(b"who", at("192.0.2.1:5353")).unwrap();
        let mut packet = [0; 8];
        let (length, from) = names.recv_from(&mut packet).unwrap();
        assert_eq!((&packet[..length], from.ip().to_string().as_str()), (b"who".as_slice(), "192.0.2.9"));
        names.send_to(b"me", from).unwrap();
        let (length, from) = client.recv_from(&mut packet).unwrap();
        assert_eq!((&packet[..length], from), (b"me".as_slice(), at("192.0.2.1:5353")));
        assert_eq!(seen(&outside, "[fd99::1]:8080", &six).to_string(), "fd99::9");
        // Of one kind of IP only.
        assert!(connect(&outside, "192.0.2.1:8080", PATIENCE).is_err());
    });
}

#[test]
fn who_goes_on_sending_is_led_to_the_new_place_of_a_port_once_the_old_is_forgotten() {
    device(|route| {
        let World { web, app, outside } = world(route);
        let socket = |namespace: &Namespace, on: &str| namespace.run(|| UdpSocket::bind(on)).unwrap().unwrap();
        let (old, new, client) =
            (socket(&web, "0.0.0.0:53"), socket(&app, "0.0.0.0:53"), socket(&outside, "0.0.0.0:0"));
        let say = |word: &str| assert_eq!(client.send_to(word.as_bytes(), at("192.0.2.1:53")).unwrap(), word.len());
        let heard = |by: &UdpSocket, patience: Duration| {
            let mut packet = [0; 8];
            by.set_read_timeout(Some(patience)).unwrap();
            by.recv_from(&mut packet).map(|(length, _)| String::from_utf8_lossy(&packet[..length]).into_owned()).ok()
        };
        publish(&[port(Protocol::Udp, None, 53, "10.0.3.2:53")]);
        say("first");
        assert_eq!(heard(&old, PATIENCE).as_deref(), Some("first"));
        // The rules have another place by now, and the connection does not know.
        publish(&[port(Protocol::Udp, None, 53, "10.0.4.2:53")]);
        say("second");
        assert_eq!((heard(&old, PATIENCE).as_deref(), heard(&new, MOMENT)), (Some("second"), None));
        for other in ["10.0.9.9", "fd03::2"] {
            nft::forget(other.parse().unwrap()).unwrap();
        }
        say("third");
        assert_eq!(heard(&old, PATIENCE).as_deref(), Some("third"));
        nft::forget("10.0.3.2".parse().unwrap()).unwrap();
        say("fourth");
        assert_eq!((heard(&new, PATIENCE).as_deref(), heard(&old, MOMENT)), (Some("fourth"), None));
    });
}

#[test]
fn who_connects_while_a_container_is_replaced_waits_and_is_not_refused() {
    device(|route| {
        let World { web, app, outside } = world(route);
        let own = Namespace::own().unwrap();
        let published = port(Protocol::Tcp, None, 8080, "10.0.3.2:80");
        publish(&[published]);
        for from in [&outside, &app, &own] {
            let refused = connect(from, "192.0.2.1:8080", PATIENCE).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        }
        // Nobody is there; then somebody is who does not listen yet.
        for attempts in [Attempts::Unanswered, Attempts::Tolerant] {
            publish(&[Port { attempts, ..published }]);
            thread::scope(|scope| {
                let clients = [&outside, &app, &own, &web];
                let clients = clients.map(|from| scope.spawn(move || connect(from, "192.0.2.1:8080", PATIENCE)));
                thread::sleep(MOMENT);
                assert!(clients.iter().all(|client| !client.is_finished()), "{attempts:?}");
                let server = serve(&web, "0.0.0.0:80");
                // A container that listens need not be told of.
                if attempts == Attempts::Unanswered {
                    publish(&[published]);
                }
                for client in clients {
                    client.join().unwrap().unwrap();
                    server.accept().unwrap();
                }
            });
        }
        publish(&[published]);
        let refused = connect(&outside, "192.0.2.1:8080", PATIENCE).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "it is over");
    });
}

#[test]
fn a_connection_that_stands_is_ended_as_its_container_ends_it_while_refusals_are_kept_back() {
    device(|route| {
        let World { web, outside, .. } = world(route);
        let server = serve(&web, "0.0.0.0:80");
        publish(&[Port { attempts: Attempts::Tolerant, ..port(Protocol::Tcp, None, 8080, "10.0.3.2:80") }]);
        let mut client = connect(&outside, "192.0.2.1:8080", PATIENCE).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"never read").unwrap();
        thread::sleep(MOMENT);
        // What was sent is thrown away unread, and the kernel says so at once.
        drop(server.accept().unwrap());
        let error = client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn as_many_ports_as_there_may_be_are_published() {
    device(|route| {
        let World { web, outside, .. } = world(route);
        let server = serve(&web, "0.0.0.0:80");
        let ports: Vec<_> =
            (10_000..).take(PORTS_MAX).map(|number| port(Protocol::Tcp, None, number, "10.0.3.2:80")).collect();
        publish(&ports);
        seen(&outside, &format!("192.0.2.1:{}", 9_999 + PORTS_MAX), &server);
    });
}

#[test]
fn a_ruleset_that_contradicts_itself_is_refused_with_the_pool_or_the_port_and_changes_nothing() {
    device(|route| {
        let World { web, outside, .. } = world(route);
        let server = serve(&web, "0.0.0.0:80");
        let good = port(Protocol::Tcp, None, 8080, "10.0.3.2:80");
        publish(&[good]);
        let refused = |ports: &[Port], expected: &str| {
            let mut ruleset = closed();
            ruleset.ports = ports.into();
            let text = nft::replace(&ruleset).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        };
        refused(
            &[good, good],
            "port tcp 8080 to 10.0.3.2:80: cannot have it: Invalid argument (os error 22): it is published twice",
        );
        refused(
            &[good, port(Protocol::Tcp, Some("10.0.4.1"), 8080, "10.0.4.2:80")],
            "port tcp 10.0.4.1:8080 to 10.0.4.2:80",
        );
        refused(&[port(Protocol::Tcp, None, 0, "10.0.3.2:80")], "0 is no port");
        refused(&[port(Protocol::Tcp, None, 1, "10.0.9.2:80")], "is of no pool");
        refused(&[port(Protocol::Tcp, Some("::1"), 1, "[fd03::2]:80")], "::1 leads nowhere else");
        refused(&[port(Protocol::Tcp, Some("fd99::1"), 1, "10.0.3.2:80")], "two kinds of IP");
        refused(&[port(Protocol::Tcp, Some("0.0.0.0"), 1, "10.0.3.2:80")], "no address stands for all");
        let mut twice = closed();
        twice.pools[1].bridge = name("lxcbr0");
        assert!(nft::replace(&twice).unwrap_err().to_string().starts_with("pool lxcbr0: cannot have it"));
        let mut over = closed();
        over.pools[1].subnets = vec![cidr("10.0.0.0/16")];
        let text = nft::replace(&over).unwrap_err().to_string();
        assert!(text.contains("10.0.0.0/16 has addresses of pool lxcbr0"), "{text}");
        seen(&outside, "192.0.2.1:8080", &server);
    });
}
