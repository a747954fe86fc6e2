//! What containers can do by IPv6: in pools that have it, what they can by IPv4; in others, nothing beyond their own pool.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use harness::Result;
use net::route::{Setup, Way};
use net::{Cidr, Name, Namespace, Route};
use rustix::fd::AsFd as _;
use rustix::net::sockopt::{set_ipv6_multicast_hops, set_ipv6_multicast_if};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};

use crate::networks::{assemble, end, on_a_device, outside, start};
use crate::world::{World, read_until};

const WAITS: &str = "echo up; while true; do sleep 1000; done";

/// The address that a kernel gives a link for itself.
fn own_address(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(0xfe80, 0, 0, 0, word(a ^ 2, b), word(c, 0xff), word(0xfe, d), word(e, f))
}

/// The link of a container, by its number there, with these addresses beside that of its pool.
fn address(container: &Namespace, addresses: &[&str]) -> Result<u32> {
    let eth0 = "eth0".parse()?;
    let mut there = Route::open_in(container.as_fd())?;
    let mut all = there.addresses_of(&eth0)?;
    for address in addresses {
        all.push(address.parse::<Cidr>()?);
    }
    there.configure(&eth0, &Setup { addresses: &all, defaults: &[] })?;
    Ok(there.find(&eth0)?.ok_or("no eth0")?.index)
}

/// Says to everybody on a link: the way to everything else is by me.
fn announce_a_router(link: u32) -> Result {
    let socket = socket_with(AddressFamily::INET6, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::ICMPV6))?;
    set_ipv6_multicast_hops(&socket, 255)?;
    set_ipv6_multicast_if(&socket, link)?;
    // A router's announcement for half an hour, whose checksum the kernel writes.
    let announcement = [134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    let everybody = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, link);
    sendto(&socket, &announcement, SendFlags::empty(), &everybody)?;
    Ok(())
}

/// The links by which this namespace leads to everything else by IPv6.
fn ways_out() -> Result<Vec<String>> {
    let table = fs::read_to_string("/proc/thread-self/net/ipv6_route")?;
    let default = |line: &&str| line.starts_with(&format!("{} 00 ", "0".repeat(32))) && !line.ends_with(" lo");
    Ok(table.lines().filter(default).filter_map(|line| Some(line.split_whitespace().last()?.to_owned())).collect())
}

pub(crate) fn by_ipv6_a_container_reaches_no_further_than_its_pool_and_leads_nobody(world: &World) -> Result {
    on_a_device(world, || {
        let names = ["web", "app", "lab"];
        let pools = ["apps", "apps", "lab"].map(|pool| format!(r#","network":{{"pool":"{pool}"}}"#));
        let [one, two, three] = &pools;
        let rows = [("web", one.as_str(), WAITS), ("app", two, WAITS), ("lab", three, WAITS)];
        let assembly = assemble(world, &rows)?;
        let mut running = Vec::new();
        for name in names {
            let one = start(world, &assembly, name)?;
            read_until(&one, "up")?;
            running.push(one);
        }
        let namespaces =
            running.iter().map(|one| Namespace::of(one.pid)).collect::<std::result::Result<Vec<_>, _>>()?;
        let [web, app, lab] = namespaces.as_slice() else { return Err("not three".into()) };
        let link = address(web, &["fe80::a/64", "fd91::a/64"])?;
        address(app, &["fe80::b/64", "fd91::b/64"])?;
        address(lab, &["fe80::c/64", "fd91::c/64"])?;
        let listen = |at: &Namespace| at.run(|| TcpListener::bind("[::]:7000"));
        let _listening = (listen(app)??, listen(lab)??, TcpListener::bind("[::]:7000")?);
        let reaches = |address: Ipv6Addr| {
            let to = SocketAddrV6::new(address, 7000, 0, link);
            web.run(|| TcpStream::connect_timeout(&to.into(), Duration::from_secs(2)).is_ok())
        };
        assert!(reaches("fe80::b".parse()?)? && reaches("fd91::b".parse()?)?, "others of its pool it reaches");
        assert!(!reaches("fe80::c".parse()?)? && !reaches("fd91::c".parse()?)?, "another pool");
        let bridge = Route::open()?.find(&"br-apps".parse()?)?.and_then(|bridge| bridge.mac).ok_or("no bridge")?;
        assert!(!reaches(own_address(bridge))?, "the device");
        web.run(|| announce_a_router(link).map_err(|error| error.to_string()))??;
        sleep(Duration::from_millis(300));
        assert_eq!(ways_out()?, [""; 0], "a container is the router of the device");
        drop(namespaces);
        names.into_iter().zip(running).try_for_each(|(name, running)| end(world, name, running))
    })
}

/// The same two pools, with IPv6.
const POOLS: &str = r#"{"network":{"pools":{
    "apps":{"type":"bridge","bridge":"br-apps","subnet":"10.91.0.0/24","subnet6":"fd91::/64","nat":true},
    "lab":{"type":"bridge","bridge":"br-lab","subnet":"10.92.0.0/24","subnet6":"fd92::/64","nat":true}}}}"#;

/// Connects, and says who is seen.
fn seen(from: &Namespace, to: &str, server: &TcpListener) -> Result<String> {
    let to: SocketAddr = to.parse()?;
    let client = from.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(10)))?;
    let _client = client.map_err(|error| format!("{to}: {error}"))?;
    server.set_nonblocking(true)?;
    Ok(server.accept().map_err(|error| format!("{to} is somebody else: {error}"))?.1.ip().to_string())
}

/// Nobody answers, not even to say no.
fn is_silent(from: &Namespace, to: &str) -> Result<bool> {
    let to: SocketAddr = to.parse()?;
    let made = from.run(|| TcpStream::connect_timeout(&to, Duration::from_millis(1500)))?;
    Ok(made.err().map(|error| error.kind()) == Some(ErrorKind::TimedOut))
}

/// Somebody behind a link of the device, whose way out it is: with `.2` and `::2` where the device has `.1` and `::1`.
fn behind(link: &Name, namespace: &Namespace, four: &str, six: &str) -> Result {
    let addresses = |host: u8| -> Result<[Cidr; 2]> {
        Ok([format!("{four}.{host}/24").parse()?, format!("{six}::{host}/64").parse()?])
    };
    Route::open()?.configure(link, &Setup { addresses: &addresses(1)?, defaults: &[] })?;
    let defaults = [Way::By(format!("{six}::1").parse()?)];
    let setup = Setup { addresses: &addresses(2)?, defaults: &defaults };
    Ok(Route::open_in(namespace.as_fd())?.configure(&"eth0".parse()?, &setup)?)
}

pub(crate) fn a_pool_with_ipv6_has_by_that_what_it_has_by_ipv4_and_no_more(world: &World) -> Result {
    on_a_device(world, || {
        world.inline("device.json", POOLS);
        let rows = [
            ("app", r#","network":{"pool":"apps"}"#, WAITS),
            ("lab", r#","network":{"pool":"lab"}"#, WAITS),
            ("web", r#","network":{"pool":"apps"},"ports":["8080:80","127.0.0.1:8081:80"]"#, WAITS),
        ];
        let assembly = assemble(world, &rows)?;
        let (neighbour, out) = outside(3)?;
        behind(&out, &neighbour, "10.99.3", "fd99")?;
        let device = Namespace::own()?;
        for round in 0..2 {
            let mut running = Vec::new();
            for (name, ..) in rows {
                let one = start(world, &assembly, name)?;
                read_until(&one, "up")?;
                running.push(one);
            }
            let namespaces = running.iter().map(|one| Namespace::of(one.pid));
            let namespaces = namespaces.collect::<std::result::Result<Vec<_>, _>>()?;
            let [app, lab, web] = namespaces.as_slice() else { return Err("not three".into()) };
            let listen = |at: &Namespace| at.run(|| TcpListener::bind("[::]:80"));
            let (server, beyond, of_lab) = (listen(web)??, listen(&neighbour)??, listen(lab)??);
            assert_eq!(seen(app, "[fd91::a5b:3]:80", &server)?, "fd91::a5b:2");
            assert_eq!(seen(&device, "[fd91::a5b:3]:80", &server)?, "fd91::a5b:1");
            assert_eq!(seen(web, "[fd99::2]:80", &beyond)?, "fd99::1", "behind the device");
            // The published port, for everybody but who says ::1, which leads nowhere and is refused at once.
            assert_eq!(seen(&neighbour, "[fd99::1]:8080", &server)?, "fd99::2");
            for (from, to) in [(&device, "[fd99::1]:8080"), (lab, "[fd92::a5c:1]:8080"), (app, "[fd91::a5b:1]:8080")] {
                seen(from, to, &server)?;
            }
            let refused = TcpStream::connect("[::1]:8080").err().map(|error| error.kind());
            assert_eq!(refused, Some(ErrorKind::ConnectionRefused));
            assert!(neighbour.run(|| TcpStream::connect("[fd99::1]:8081").is_err())?, "published at 127.0.0.1 only");
            // Neither another pool, nor the outside.
            assert!(is_silent(web, "[fd92::a5c:2]:80")? && is_silent(&neighbour, "[fd91::a5b:3]:80")?);
            assert_eq!(seen(&device, "[fd92::a5c:2]:80", &of_lab)?, "fd92::a5c:1");
            // Nobody in a pool is the router of the device.
            let link = address(web, &["fe80::a/64"])?;
            web.run(|| announce_a_router(link).map_err(|error| error.to_string()))??;
            sleep(Duration::from_millis(300));
            assert_eq!(ways_out()?, [""; 0], "round {round}");
            drop(namespaces);
            rows.into_iter().zip(running).try_for_each(|((name, ..), running)| end(world, name, running))?;
        }
        // The next revision has none of it on the same bridges, and the device is no router because of this one.
        world.inline(
            "device.json",
            &POOLS.replace(r#","subnet6":"fd91::/64""#, "").replace(r#","subnet6":"fd92::/64""#, ""),
        );
        assemble(world, &rows[..1])?;
        assert_eq!(Route::open()?.addresses_of(&"br-apps".parse()?)?, ["10.91.0.1/24".parse::<Cidr>()?]);
        let (other, second) = outside(4)?;
        behind(&second, &other, "10.99.4", "fd98")?;
        let _server = other.run(|| TcpListener::bind("[::]:80"))??;
        assert!(
            is_silent(&neighbour, "[fd98::2]:80")?,
            "a device that passed on nothing before it had pools does after"
        );
        [out, second].iter().try_for_each(|link| Route::open()?.remove(link))?;
        Ok(())
    })
}
