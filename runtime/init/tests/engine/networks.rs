//! Containers in pools: each test is a device with a network namespace of its own, in which the engine works.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use formats::leases::Leases;
use harness::Result;
use init::assembly::Assembly;
use init::engine::Running;
use net::route::{Setup, Way};
use net::{Cidr, Inside, Name, Namespace, Route};
use rustix::fd::AsFd as _;

use crate::world::{BOOT, World, config, lock, read_until, wait};

/// Two bridges; containers of the first reach out.
const POOLS: &str = r#"{"network":{"pools":{
    "apps":{"type":"bridge","bridge":"br-apps","subnet":"10.91.0.0/24","nat":true},
    "lab":{"type":"bridge","bridge":"br-lab","subnet":"10.92.0.0/24"}}}}"#;

/// A script that serves `/srv` on port 80.
const SERVES: &str = "httpd -p 80 -h /srv && echo up; while true; do sleep 1000; done";

/// A container: name, members about its network, script.
type Row<'a> = (&'a str, &'a str, &'a str);

/// Runs a test as a device whose network nobody else has, and looks for what is left of it.
pub(crate) fn on_a_device(world: &World, test: impl FnOnce() -> Result + Send) -> Result {
    let namespace = Namespace::new()?;
    let ran: std::result::Result<(), String> = namespace.run(|| {
        let result = (|| {
            Route::open()?.up(&"lo".parse()?)?;
            world.inline("device.json", POOLS);
            test()?;
            world.inline("device.json", "{}");
            world.engine.settle(&world.assemble_all(&[])?);
            let links: Vec<_> = Route::open()?.links()?.into_iter().map(|link| link.name).collect();
            assert_eq!(links, ["lo"], "left when no revision has pools");
            assert!(!world.engine.paths().run.join("network/web").exists());
            assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward")?, "1\n", "it had pools");
            assert!(!passes_on()?, "a device that passed on nothing before it had pools does after");
            Ok::<_, Box<dyn std::error::Error>>(())
        })();
        result.map_err(|error| error.to_string())
    })?;
    Ok(ran?)
}

/// Somebody outside, `10.99.INDEX.2`, with a link to the device.
pub(crate) fn outside(index: u8) -> Result<(Namespace, Name)> {
    let inside = "eth0".parse::<Name>()?;
    let (namespace, outside) = (Namespace::new()?, format!("out{index}").parse::<Name>()?);
    let at = |host| Cidr::new([10, 99, index, host].into(), 24).ok_or("no address");
    let mut here = Route::open()?;
    here.veth(&outside, None, &Inside { namespace: namespace.as_fd(), name: &inside, mac: None, mtu: None })?;
    here.configure(&outside, &Setup { addresses: &[at(1)?], defaults: &[] })?;
    let router = [Way::By([10, 99, index, 1].into())];
    Route::open_in(namespace.as_fd())?.configure(&inside, &Setup { addresses: &[at(2)?], defaults: &router })?;
    Ok((namespace, outside))
}

/// Whether the device passes on what is neither for it nor for a pool.
fn passes_on() -> Result<bool> {
    let ((from, one), (to, other)) = (outside(1)?, outside(2)?);
    let _server = to.run(|| TcpListener::bind("10.99.2.2:80"))??;
    let address = SocketAddr::from(([10, 99, 2, 2], 80));
    let passed = from.run(|| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())?;
    [one, other].iter().try_for_each(|link| Route::open()?.remove(link))?;
    Ok(passed)
}

pub(crate) fn assemble(world: &World, rows: &[Row<'_>]) -> Result<Assembly> {
    let owned: Vec<_> = rows
        .iter()
        .map(|(name, network, script)| (*name, format!("{BOOT}{network}"), config(name, script, "")))
        .collect();
    let rows: Vec<_> = owned.iter().map(|(name, members, config)| (*name, members.as_str(), config.as_str())).collect();
    let assembly = world.assemble_all(&rows)?;
    let warnings = world.engine.settle(&assembly);
    assert_eq!(warnings, [""; 0]);
    Ok(assembly)
}

pub(crate) fn start(world: &World, assembly: &Assembly, name: &str) -> Result<Running> {
    world.start(assembly.get(name).ok_or("not assembled")?)
}

/// Runs a container that ends, and says what it said.
pub(crate) fn said(world: &World, assembly: &Assembly, name: &str) -> Result<String> {
    let run = wait(start(world, assembly, name)?)?;
    world.engine.unmount(name)?;
    run.output()
}

pub(crate) fn end(world: &World, name: &str, running: Running) -> Result {
    world.engine.kill(name)?;
    wait(running)?;
    Ok(world.engine.unmount(name)?)
}

/// What a server at an address of the device says.
pub(crate) fn fetch(address: [u8; 4], port: u16) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, port)), Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /old HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

pub(crate) fn containers_of_a_pool_speak_by_name_and_those_of_another_do_not_hear_them(world: &World) -> Result {
    on_a_device(world, || {
        // A static wget of glibc cannot look up names; nc does it in another way.
        let fetches = "(echo GET /old HTTP/1.0; echo) | nc -w 3 web 80 | grep -x old; cat /etc/hostname; ip -4 addr show eth0 | grep -c 10.91.0.2/24; \
                       ip route | grep -c via.10.91.0.1";
        let stranger = "grep -c web /etc/hosts; wget -q -T 2 -O - http://10.91.0.3/old 2>/dev/null || echo unreached; \
                        wget -q -T 2 -O - http://10.91.0.1:8080/old 2>/dev/null || echo not by the port either";
        let assembly = assemble(
            world,
            &[
                ("app", r#","network":{"pool":"apps","hostname":"shop"}"#, fetches),
                ("web", r#","network":{"pool":"apps"}"#, SERVES),
                ("lab", r#","network":{"pool":"lab"}"#, stranger),
            ],
        )?;
        let web = start(world, &assembly, "web")?;
        read_until(&web, "up")?;
        assert_eq!(said(world, &assembly, "app")?, "old\nshop\n1\n1\n");
        assert_eq!(said(world, &assembly, "lab")?, "0\nunreached\nnot by the port either\n");
        end(world, "web", web)
    })
}

pub(crate) fn a_port_is_published_while_its_container_runs(world: &World) -> Result {
    on_a_device(world, || {
        let rows = [("web", r#","network":{"pool":"apps"},"ports":["8080:80"]"#, SERVES)];
        let assembly = assemble(world, &rows)?;
        assert!(fetch([127, 0, 0, 1], 8080).is_err(), "nothing runs yet");
        for _ in 0..2 {
            let web = start(world, &assembly, "web")?;
            read_until(&web, "up")?;
            for address in [[10, 91, 0, 1], [10, 92, 0, 1], [127, 0, 0, 1]] {
                assert!(fetch(address, 8080)?.ends_with("old\n"), "{address:?}");
            }
            end(world, "web", web)?;
            assert!(fetch([127, 0, 0, 1], 8080).is_err(), "it has ended");
        }
        Ok(())
    })
}

/// Connects to an address of the device again and again, from there and from outside, as long as something takes. How many
/// connections there were, and what the others came to.
fn connect_during<T>(to: &str, during: impl FnOnce() -> Result<T>) -> Result<(T, usize, Vec<ErrorKind>)> {
    let (somebody, link) = outside(3)?;
    let (to, over): (SocketAddr, _) = (to.parse()?, AtomicBool::new(false));
    let repeat = || {
        let mut all = Vec::new();
        while !over.load(Ordering::Relaxed) {
            all.push(TcpStream::connect_timeout(&to, Duration::from_secs(20)).map(drop).map_err(|error| error.kind()));
            thread::sleep(Duration::from_millis(10));
        }
        all
    };
    let (done, all_of) = thread::scope(|scope| {
        let clients = [scope.spawn(|| Ok(repeat())), scope.spawn(|| somebody.run(repeat))];
        let done = during();
        over.store(true, Ordering::Relaxed);
        (done, clients.map(|client| client.join()))
    });
    Route::open()?.remove(&link)?;
    let mut all = Vec::new();
    for connections in all_of {
        all.extend(connections.map_err(|_| "a thread that connects has panicked")??);
    }
    let failed: Vec<_> = all.iter().filter_map(|one| one.err()).collect();
    Ok((done?, all.len() - failed.len(), failed))
}

pub(crate) fn nobody_is_refused_while_a_container_behind_a_port_is_replaced(world: &World) -> Result {
    on_a_device(world, || {
        let late = format!("sleep 0.5; {SERVES}");
        let assembly = assemble(world, &[("web", r#","network":{"pool":"apps"},"ports":["8080:80"]"#, &late)])?;
        let web = start(world, &assembly, "web")?;
        read_until(&web, "up")?;
        let replaced = |web, held: bool| {
            connect_during("10.99.3.1:8080", || {
                if held {
                    world.engine.hold_ports(&["web".to_owned()])?;
                }
                end(world, "web", web)?;
                assert_eq!(world.engine.settle(&assembly), [""; 0]);
                if !held {
                    // Or this would show nothing.
                    let address = SocketAddr::from(([10, 99, 3, 1], 8080));
                    let error = TcpStream::connect_timeout(&address, Duration::from_secs(5)).err().ok_or("held")?;
                    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                }
                let web = start(world, &assembly, "web")?;
                read_until(&web, "up")?;
                Ok(web)
            })
        };
        let (web, ..) = replaced(web, false)?;
        let (web, made, failed) = replaced(web, true)?;
        assert!(made > 0, "nobody came through");
        assert_eq!(failed, []);
        // One that does not listen is covered up for, until that has had its time.
        end(world, "web", web)?;
        let address = SocketAddr::from(([10, 91, 0, 1], 8080));
        let error = TcpStream::connect_timeout(&address, Duration::from_millis(700)).err().ok_or("it is published")?;
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        world.engine.release_ports()?;
        let error = TcpStream::connect_timeout(&address, Duration::from_secs(5)).err().ok_or("it is published")?;
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    })
}

pub(crate) fn a_port_that_the_next_revision_does_not_publish_is_not_held_for_it(world: &World) -> Result {
    on_a_device(world, || {
        let pool = r#","network":{"pool":"apps"}"#;
        let old = assemble(world, &[("web", &format!(r#"{pool},"ports":["8080:80"]"#), SERVES)])?;
        let web = start(world, &old, "web")?;
        read_until(&web, "up")?;
        world.engine.hold_ports(&["web".to_owned()])?;
        end(world, "web", web)?;
        assemble(world, &[("web", pool, SERVES)])?;
        let address = SocketAddr::from(([10, 91, 0, 1], 8080));
        let error = TcpStream::connect_timeout(&address, Duration::from_secs(5)).err().ok_or("it is published")?;
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    })
}

pub(crate) fn an_address_survives_restarts_and_updates_and_the_others_hear_of_new_ones(world: &World) -> Result {
    on_a_device(world, || {
        let shows = "ip -4 addr show eth0 | grep -o 10.91.0.[0-9]*/24; ip link show eth0 | grep -o 02:00:0a:5b:00:09";
        let fixed = (r#","network":{"pool":"apps","ip":"10.91.0.9"}"#, shows);
        let waits = "echo up; while ! grep -q late /etc/hosts; do sleep 0.05; done; grep late /etc/hosts; echo knows; \
                     while true; do sleep 1000; done";
        let old = [("app", fixed.0, fixed.1), ("web", r#","network":{"pool":"apps"}"#, waits)];
        let first = assemble(world, &old)?;
        let web = start(world, &first, "web")?;
        read_until(&web, "up")?;
        for _ in 0..3 {
            assert_eq!(said(world, &first, "app")?, "10.91.0.9/24\n02:00:0a:5b:00:09\n");
        }
        // An update in place: one container more, before the others by its name.
        let late = ("a-late", r#","network":{"pool":"apps"}"#, "ip -4 addr show eth0 | grep -o 10.91.0.[0-9]*/24");
        let mut new = old.to_vec();
        new.push(late);
        let leases = Leases::parse(&fs::read(world.engine.paths().storage.join("config/leases"))?)?;
        assert_eq!(leases, first.leases, "kept before anything starts");
        *lock(&world.leases) = leases;
        let second = assemble(world, &new)?;
        assert_eq!(second.get("web"), first.get("web"));
        assert_eq!(said(world, &second, "a-late")?, "10.91.0.3/24\n");
        let heard = read_until(&web, "knows")?;
        assert!(heard.contains("10.91.0.3 a-late\n"), "{heard}");
        end(world, "web", web)
    })
}

pub(crate) fn who_goes_on_sending_is_led_to_the_next_container_and_not_to_where_the_last_one_was(
    world: &World,
) -> Result {
    on_a_device(world, || {
        let rows = |name| {
            [(
                name,
                r#","network":{"pool":"apps"},"ports":["5353:53/udp"]"#,
                "echo up; while true; do sleep 1000; done",
            )]
        };
        let client = UdpSocket::bind("0.0.0.0:0")?;
        // Two containers with addresses of their own, one after the other.
        for name in ["web", "app"] {
            let assembly = assemble(world, &rows(name))?;
            *lock(&world.leases) = assembly.leases.clone();
            let running = start(world, &assembly, name)?;
            read_until(&running, "up")?;
            let server = Namespace::of(running.pid)?.run(|| UdpSocket::bind("0.0.0.0:53"))??;
            server.set_read_timeout(Some(Duration::from_secs(5)))?;
            client.send_to(name.as_bytes(), "10.91.0.1:5353")?;
            let mut packet = [0; 8];
            let length = server.recv(&mut packet).map_err(|error| format!("{name} hears nothing: {error}"))?;
            assert_eq!(packet.get(..length), Some(name.as_bytes()));
            drop(server);
            end(world, name, running)?;
        }
        Ok(())
    })
}

pub(crate) fn a_list_of_addresses_that_is_damaged_is_put_aside_and_named(world: &World) -> Result {
    on_a_device(world, || {
        let storage = &world.engine.paths().storage;
        let (list, aside) = (storage.join("config/leases"), storage.join("config/leases.damaged"));
        let rows = [("web", r#","network":{"pool":"apps"}"#, SERVES)];
        let assembly = assemble(world, &rows)?;
        let good = fs::read_to_string(&list)?;
        let damaged = good.replace("10.91", "10-91");
        fs::write(&list, &damaged)?;
        let expected = format!(
            "{}: line 2 is not understood; containers may have other addresses than before; what it says is in {} now",
            list.display(),
            aside.display()
        );
        assert_eq!(world.engine.settle(&assembly), [expected]);
        assert_eq!((fs::read_to_string(&list)?, fs::read_to_string(&aside)?), (good.clone(), damaged.clone()));
        assert_eq!(world.engine.settle(&assembly), [""; 0], "told once");
        // On a storage that is only read it stays where it is.
        fs::write(&list, &damaged)?;
        let told = world.engine.clone().read_only().settle(&assembly);
        let is_told = matches!(told.as_slice(), [one] if one.ends_with("may have other addresses than before"));
        assert!(is_told, "{told:?}");
        assert_eq!(fs::read_to_string(&list)?, damaged);
        Ok(())
    })
}

pub(crate) fn a_container_on_a_wire_of_the_device_speaks_to_who_is_there_and_not_to_the_device(
    world: &World,
) -> Result {
    on_a_device(world, || {
        let (neighbour, link) = outside(4)?;
        let lan = r#","lan":{"type":"macvlan","parent":"out4","subnet":"10.99.4.0/24"}}}}"#;
        world.inline("device.json", &POOLS.replace("}}}}", &format!("}}{lan}")));
        let assembly = assemble(world, &[("web", r#","network":{"pool":"lan","ip":"10.99.4.9"}"#, SERVES)])?;
        for _ in 0..2 {
            let web = start(world, &assembly, "web")?;
            read_until(&web, "up")?;
            let page = neighbour.run(|| fetch([10, 99, 4, 9], 80).map_err(|error| error.to_string()))??;
            assert!(page.ends_with("old\n"), "{page}");
            let address = SocketAddr::from(([10, 99, 4, 9], 80));
            let error = TcpStream::connect_timeout(&address, Duration::from_millis(700)).err();
            assert!(error.is_some(), "the device has its own address on this wire, and is beside it");
            end(world, "web", web)?;
        }
        Ok(Route::open()?.remove(&link)?)
    })
}

pub(crate) fn a_container_that_cannot_be_connected_says_why_and_leaves_nothing(world: &World) -> Result {
    on_a_device(world, || {
        // Something of another has the name of the bridge.
        let mut here = Route::open()?;
        let inside = Namespace::new()?;
        let (taken, peer) = ("br-apps".parse()?, "peer".parse()?);
        let end = Inside { namespace: inside.as_fd(), name: &peer, mac: None, mtu: None };
        here.veth(&taken, None, &end)?;
        let owned = config("web", SERVES, "");
        let assembly = world.assemble_all(&[("web", &format!(r#"{BOOT},"network":{{"pool":"apps"}}"#), &owned)])?;
        let warnings = world.engine.settle(&assembly);
        assert!(warnings.iter().any(|warning| warning.contains("bridge br-apps")), "{warnings:?}");
        let web = assembly.get("web").ok_or("not assembled")?;
        let mounts = world.mount(web)?;
        let error = world.engine.start(web, &mounts).err().ok_or("it runs")?.to_string();
        assert!(error.starts_with("bridge br-apps: cannot "), "{error}");
        world.engine.unmount("web")?;
        Ok(here.remove(&taken)?)
    })
}

pub(crate) fn a_root_that_cannot_be_written_has_names_all_the_same(world: &World) -> Result {
    on_a_device(world, || {
        let script = "cat /etc/hostname; grep -c web /etc/hosts; echo x > /etc/hosts || echo read-only";
        let lines = config("web", script, "").replace(":/volumes/web/lxc-overlay/upper", "").replace("overlayfs:", "");
        // Neither has this image a place for it.
        let lines: String = lines.split_inclusive('\n').filter(|line| !line.contains("tmpfs run")).collect();
        let assembly = world.assemble_all(&[("web", r#","network":{"pool":"apps"}"#, &lines)])?;
        world.engine.settle(&assembly);
        let said = said(world, &assembly, "web")?;
        assert!(said.starts_with("web\n1\n") && said.ends_with("read-only\n"), "{said}");
        Ok(())
    })
}

pub(crate) fn users_of_its_own_have_their_own_network_and_are_reached_in_it(world: &World) -> Result {
    on_a_device(world, || {
        let lines = |first: u32| format!("lxc.idmap = b 0 {first} 65536\n");
        let of = |name: &str, script: &str, first: u32| {
            config(name, script, &lines(first)).replace("lxc.namespace.keep = user  net  ipc\n", "")
        };
        let members = |more: &str| format!(r#"{BOOT},"network":{{"pool":"apps"}}{more}"#);
        let asks = "(echo GET /old HTTP/1.0; echo) | nc -w 3 web 80 | grep -x old; ip route | grep -c via.10.91.0.1; id -u; \
                    ip addr add 10.91.0.77/24 dev eth0 && echo its own; ip link show br-apps 2>/dev/null || echo alone";
        let (web, app) = (of("web", SERVES, 7_000_000), of("app", asks, 8_000_000));
        let (ports, none) = (members(r#","ports":["8080:80"]"#), members(""));
        let assembly = world.assemble_all(&[("web", &ports, &web), ("app", &none, &app)])?;
        assert_eq!(world.engine.settle(&assembly), [""; 0]);
        let running = start(world, &assembly, "web")?;
        // Below 1024, which nobody could on the device's network.
        read_until(&running, "up")?;
        let status = fs::read_to_string(format!("/proc/{}/status", running.pid.as_raw_pid()))?;
        assert!(status.contains("\nUid:\t7000000\t"), "{status}");
        assert!(fetch([10, 91, 0, 1], 8080)?.ends_with("old\n"));
        assert_eq!(said(world, &assembly, "app")?, "old\n1\n0\nits own\nalone\n");
        end(world, "web", running)
    })
}
