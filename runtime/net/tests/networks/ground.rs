//! A device, containers on it, and somebody outside.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

use net::nft::{Attempts, Pool, Port, Protocol, Ruleset};
use net::route::{Setup, Way};
use net::wire::{Answer, Writer, messages};
use net::{Cidr, Inside, Name, Namespace, Route};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

/// Longer than anything takes on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for what is nothing but a few packets on one machine, where the proof is that it does not come.
pub(crate) const MOMENT: Duration = Duration::from_millis(700);

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Runs a test as a device of its own, and looks whether it leaves links where the tests run.
pub(crate) fn device(test: impl FnOnce(&mut Route) + Send) {
    let mut here = Route::open().unwrap();
    let namespace = Namespace::new().expect("these tests need root");
    let tested = namespace.run(|| test(&mut Route::open().unwrap()));
    tested.unwrap();
    let names = ["lxcbr", "other", "web", "app", "wire", "eth9"];
    let left: Vec<_> =
        here.links().unwrap().into_iter().filter(|link| names.iter().any(|name| link.name.starts_with(name))).collect();
    assert!(left.is_empty(), "left where the tests run: {left:?}");
}

/// A container with one link to a bridge, or with a link of its own to the device.
pub(crate) fn container(
    route: &mut Route,
    outside: &str,
    bridge: Option<&str>,
    addresses: &[&str],
    router: Option<&str>,
) -> Namespace {
    let namespace = Namespace::new().unwrap();
    let eth0 = name("eth0");
    let inside = Inside { namespace: namespace.as_fd(), name: &eth0, mac: None, mtu: None };
    route.veth(&name(outside), bridge.map(name).as_ref(), &inside).unwrap();
    let addresses: Vec<_> = addresses.iter().map(|text| cidr(text)).collect();
    let defaults: Vec<_> = router.iter().map(|text| Way::By(text.parse().unwrap())).collect();
    let mut within = Route::open_in(namespace.as_fd()).unwrap();
    within.up(&name("lo")).unwrap();
    within.configure(&eth0, &Setup { addresses: &addresses, defaults: &defaults }).unwrap();
    namespace
}

/// Two pools with a container each, and a host outside that knows no way to them.
///
/// ```text
///   web 10.0.3.2 ── lxcbr0 10.0.3.1 ┐
///                                   ├ device ── wire0 192.0.2.1 ── 192.0.2.9 outside
///   app 10.0.4.2 ── other0 10.0.4.1 ┘
/// ```
pub(crate) struct World {
    pub(crate) web: Namespace,
    pub(crate) app: Namespace,
    pub(crate) outside: Namespace,
}

pub(crate) fn world(route: &mut Route) -> World {
    route.up(&name("lo")).unwrap();
    route.bridge(&name("lxcbr0"), None, &[cidr("10.0.3.1/24"), cidr("fd03::1/64")]).unwrap();
    route.bridge(&name("other0"), None, &[cidr("10.0.4.1/24")]).unwrap();
    let web = container(route, "web", Some("lxcbr0"), &["10.0.3.2/24", "fd03::2/64"], Some("10.0.3.1"));
    Route::open_in(web.as_fd())
        .unwrap()
        .configure(
            &name("eth0"),
            &Setup {
                addresses: &[cidr("10.0.3.2/24"), cidr("fd03::2/64")],
                defaults: &[Way::By("fd03::1".parse().unwrap())],
            },
        )
        .unwrap();
    let app = container(route, "app", Some("other0"), &["10.0.4.2/24"], Some("10.0.4.1"));
    let outside = container(route, "wire0", None, &["192.0.2.9/24", "fd99::9/64"], None);
    route
        .configure(&name("wire0"), &Setup { addresses: &[cidr("192.0.2.1/24"), cidr("fd99::1/64")], defaults: &[] })
        .unwrap();
    net::sysctl::forward().unwrap();
    net::sysctl::forward6().unwrap();
    World { web, app, outside }
}

/// Both pools, closed to each other and to the outside.
pub(crate) fn closed() -> Ruleset {
    let pool = |bridge: &str, subnets: &[&str]| Pool {
        bridge: name(bridge),
        subnets: subnets.iter().map(|text| cidr(text)).collect(),
        nat: true,
        routed: false,
    };
    Ruleset {
        pools: vec![pool("lxcbr0", &["10.0.3.0/24", "fd03::/64"]), pool("other0", &["10.0.4.0/24"])],
        ports: Vec::new(),
        isolated: true,
        transit: false,
        transit6: false,
    }
}

pub(crate) fn port(protocol: Protocol, on: Option<&str>, port: u16, to: &str) -> Port {
    Port { protocol, on: on.map(|on| on.parse().unwrap()), port, to: at(to), attempts: Attempts::Led }
}

/// A server in a namespace. Its socket stays there, whoever asks it.
pub(crate) fn serve(namespace: &Namespace, on: &str) -> TcpListener {
    let listener = namespace.run(|| TcpListener::bind(on)).unwrap().unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// Connects out of a namespace, and says who the server sees.
pub(crate) fn seen(from: &Namespace, to: &str, server: &TcpListener) -> IpAddr {
    let _client = connect(from, to, PATIENCE).unwrap_or_else(|error| panic!("{to}: {error}"));
    server.accept().unwrap_or_else(|error| panic!("{to} is somebody else: {error}")).1.ip()
}

pub(crate) fn connect(from: &Namespace, to: &str, patience: Duration) -> io::Result<TcpStream> {
    from.run(|| TcpStream::connect_timeout(&at(to), patience)).unwrap()
}

/// Nobody answers, not even to say no.
pub(crate) fn silent(from: &Namespace, to: &str) {
    let error = connect(from, to, MOMENT).expect_err(to);
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{to}: {error}");
}

/// Sets something below `/proc/sys/net` of a namespace.
pub(crate) fn set(namespace: &Namespace, path: &str, value: &str) {
    namespace.run(|| fs::write(format!("/proc/sys/net/{path}"), value)).unwrap().unwrap();
}

/// Has a namespace send what is for `127.0.0.0/8` to a router.
pub(crate) fn borrow(namespace: &Namespace, addresses: &[&str], router: &str) {
    let addresses: Vec<_> = addresses.iter().map(|text| cidr(text)).collect();
    set(namespace, "ipv4/conf/all/route_localnet", "1");
    let mut within = Route::open_in(namespace.as_fd()).unwrap();
    // With the addresses of the loopback goes the rule that they are here.
    within.configure(&name("lo"), &Setup::default()).unwrap();
    let defaults = [Way::By(router.parse().unwrap())];
    within.configure(&name("eth0"), &Setup { addresses: &addresses, defaults: &defaults }).unwrap();
}

/// How many rules there are in this namespace, as the kernel lists them.
pub(crate) fn rules_in_the_kernel() -> usize {
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER)).unwrap();
    let mut writer = Writer::new();
    // NFT_MSG_GETRULE as a list, of any family.
    let open = writer.begin(10 << 8 | 7, 0x301, 1);
    writer.raw(&[0; 4]);
    writer.end(open);
    send(&socket, &writer.finish().unwrap(), SendFlags::empty()).unwrap();
    let (mut rules, mut packet) = (0, [0; 32 * 1024]);
    loop {
        let (_, length) = recv(&socket, packet.as_mut_slice(), RecvFlags::empty()).unwrap();
        for message in messages(&packet[..length]) {
            match message.unwrap().answer().unwrap() {
                Answer::Part(_) => rules += 1,
                Answer::End(error, _) => {
                    assert_eq!(error, 0);
                    return rules;
                }
            }
        }
    }
}
