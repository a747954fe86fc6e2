//! What containers in pools can do by IPv6, which pools do not have: nothing beyond their own pool.

use std::fs;
use std::net::{Ipv6Addr, SocketAddrV6, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use harness::Result;
use net::route::Setup;
use net::{Cidr, Namespace, Route};
use rustix::fd::AsFd as _;
use rustix::net::sockopt::{set_ipv6_multicast_hops, set_ipv6_multicast_if};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};

use crate::networks::{assemble, end, on_a_device, start};
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
