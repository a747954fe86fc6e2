//! Interfaces of `lxc.net`: on a device whose network nobody else has, with somebody on each of its wires.

use std::thread;
use std::time::Duration;

use harness::Result;
use init::assembly::{Assembled, Assembly};
use init::engine::Running;
use net::route::Macvlan;
use net::{Cidr, Inside, Link, Name, Namespace, Route};
use rustix::fd::AsFd as _;

use crate::networks::{end, fetch, on_a_device, outside, said, start};
use crate::world::{BOOT, World, config, read_until, wait};

const SERVES: &str = "httpd -p 80 -h /srv && echo up; while true; do sleep 1000; done";

/// Containers: name, script, and lines about interfaces without what they begin with.
fn assemble(world: &World, rows: &[(&str, &str, &str)]) -> Result<Assembly> {
    let configs: Vec<_> = rows
        .iter()
        .map(|(name, script, net)| {
            let net: String = net.split(';').map(|line| format!("lxc.net.{}\n", line.trim())).collect();
            (*name, config(name, script, &net).replace("user  net  ipc", "user  ipc"))
        })
        .collect();
    let rows: Vec<_> = configs.iter().map(|(name, config)| (*name, BOOT, config.as_str())).collect();
    let assembly = world.assemble_all(&rows)?;
    assert_eq!(world.engine.settle(&assembly), [""; 0]);
    Ok(assembly)
}

fn only(world: &World, script: &str, net: &str) -> Result<Assembled> {
    let assembly = assemble(world, &[("web", script, net)])?;
    Ok(assembly.get("web").cloned().ok_or("not assembled")?)
}

fn link(name: &Name) -> Result<Option<Link>> {
    Ok(Route::open()?.find(name)?)
}

/// Why a container does not start.
fn refused(world: &World, web: &Assembled) -> Result<String> {
    let mounts = world.mount(web)?;
    let error = world.engine.start(web, &mounts).err().ok_or("it runs")?.to_string();
    world.engine.unmount("web")?;
    Ok(error)
}

pub(crate) fn a_veth_is_on_its_bridge_with_all_that_its_lines_say(world: &World) -> Result {
    on_a_device(world, || {
        let (bridge, pair): (Name, Name) = ("br-own".parse()?, "pair0".parse()?);
        let addresses = ["10.93.0.1/24".parse::<Cidr>()?, "fd93::1/64".parse()?];
        Route::open()?.bridge(&bridge, None, &addresses)?;
        let shows = "ip -4 addr show lan0 | grep -c 10.93.0.2/24; ip link show lan0 | grep -c mtu.1400; \
                     ip link show lan0 | grep -o 02:00:00:00:00:07; ip route | grep -c default.via.10.93.0.1; \
                     ip -6 route | grep -c default.via.fd93::1; ip -6 addr show lan0 | grep -c fd93::2/64; \
                     ip link show eth0 | grep -q UP || echo down; ip link show br-own 2>/dev/null || echo alone";
        let net = "0.type = veth; 0.link = br-own; 0.name = lan0; 0.flags = up; 0.hwaddr = 02:00:00:00:00:07; 0.mtu = 1400;
                   0.ipv4.address = 10.93.0.2/24; 0.ipv4.gateway = auto; 0.ipv6.address = fd93::2/64;
                   0.ipv6.gateway = auto; 0.veth.pair = pair0; 1.type = veth; 1.link = br-own; 1.ipv4.address = 10.93.0.3/24";
        let assembly = assemble(world, &[("web", shows, net)])?;
        for _ in 0..2 {
            assert_eq!(said(world, &assembly, "web")?, "1\n1\n02:00:00:00:00:07\n1\n1\n1\ndown\nalone\n");
            assert_eq!(link(&pair)?, None);
        }
        let web = start(world, &assemble(world, &[("web", SERVES, net)])?, "web")?;
        read_until(&web, "up")?;
        assert!(fetch([10, 93, 0, 2], 80)?.ends_with("old\n"));
        let ports = |links: Vec<Link>| links.into_iter().filter(|link| link.master.is_some()).count();
        assert_eq!(ports(Route::open()?.links()?), 2);
        assert_eq!(link(&pair)?.map(|pair| pair.mtu), Some(1400));
        // What its programs do with their end changes nothing of that.
        let namespace = Namespace::of(web.pid)?;
        Route::open_in(namespace.as_fd())?.remove(&"eth0".parse()?)?;
        drop(namespace);
        end(world, "web", web)?;
        assert_eq!(ports(Route::open()?.links()?), 0);
        // A name that somebody else has is not taken from it.
        let other = Namespace::new()?;
        let inside = Inside { namespace: other.as_fd(), name: &"x".parse()?, mac: None, mtu: None };
        Route::open()?.veth(&pair, None, &inside)?;
        let error = refused(world, assembly.get("web").ok_or("not assembled")?)?;
        assert!(error.starts_with("veth pair0, lan0 in the container: cannot make it: File exists"), "{error}");
        assert!(link(&pair)?.is_some());
        [pair, bridge].iter().try_for_each(|link| Route::open()?.remove(link))?;
        Ok(())
    })
}

pub(crate) fn an_interface_on_the_wire_of_another_is_there_again_at_once(world: &World) -> Result {
    on_a_device(world, || {
        let (neighbour, out) = outside(5)?;
        let net =
            "0.type = macvlan; 0.link = out5; 0.macvlan.mode = bridge; 0.flags = up; 0.hwaddr = 02:00:00:00:00:08;
                   0.ipv4.address = 10.99.5.9/24; 0.ipv4.gateway = 10.99.5.2; 1.type = empty";
        let assembly = assemble(world, &[("web", SERVES, net)])?;
        for _ in 0..3 {
            let web = start(world, &assembly, "web")?;
            read_until(&web, "up")?;
            let page = neighbour.run(|| fetch([10, 99, 5, 9], 80).map_err(|error| error.to_string()))??;
            assert!(page.ends_with("old\n"), "{page}");
            end(world, "web", web)?;
        }
        // A number on the wire, or the reason why this kernel has none.
        let web = only(world, "ip link show eth0 | grep -c eth0", "0.type = vlan; 0.link = out5; 0.vlan.id = 7")?;
        let mounts = world.mount(&web)?;
        match world.engine.start(&web, &mounts) {
            Ok(running) => {
                assert_eq!(wait(running)?.output()?, "1\n");
            }
            Err(error) => {
                assert!(error.to_string().ends_with("needs CONFIG_VLAN_8021Q, built in or loaded"), "{error}")
            }
        }
        world.engine.unmount("web")?;
        Ok(Route::open()?.remove(&out)?)
    })
}

pub(crate) fn an_interface_that_a_container_takes_comes_back_however_that_ends(world: &World) -> Result {
    on_a_device(world, || {
        let (neighbour, out) = outside(6)?;
        let before = link(&out)?.ok_or("no out6")?;
        let is_back = |after: &str| {
            let now = link(&out)?.ok_or_else(|| format!("{after}: it is gone"))?;
            assert_eq!((now.mac, now.mtu, now.alias.as_str()), (before.mac, before.mtu, ""), "{after}");
            Ok::<_, Box<dyn std::error::Error>>(())
        };
        let net =
            "0.type = phys; 0.link = out6; 0.name = wan0; 0.flags = up; 0.hwaddr = 02:00:00:00:00:0b; 0.mtu = 1400;
                   0.ipv4.address = 10.99.6.7/24";
        let takes = |script: &str| only(world, script, net);
        let run = |web: &Assembled| {
            let running = world.start(web)?;
            read_until(&running, "up")?;
            assert_eq!(link(&out)?, None, "the device has it, too");
            Ok::<Running, Box<dyn std::error::Error>>(running)
        };
        let web = run(&takes(SERVES)?)?;
        let page = neighbour.run(|| fetch([10, 99, 6, 7], 80).map_err(|error| error.to_string()))??;
        assert!(page.ends_with("old\n"), "{page}");
        end(world, "web", web)?;
        is_back("killed")?;

        let renames = "ip link set wan0 down; ip link set wan0 name mine; ip link set mine mtu 1300; ip link set mine up; \
                       ip link show mine | grep -c mtu.1300; echo up; test -e /srv/old";
        let web = takes(renames)?;
        for _ in 0..2 {
            let running = world.start(&web)?;
            assert_eq!(wait(running)?.output()?, "1\nup\n");
            assert_eq!(link(&out)?, None, "it is the container's until that is taken down");
            world.engine.unmount("web")?;
            is_back("ended by itself")?;
        }

        // Its stage fails, after it was connected.
        let mut nothing = web.clone();
        if let Some(program) = nothing.program.as_mut() {
            program.launch.process.argv = vec!["/no/such".to_owned()];
        }
        assert!(wait(world.start(&nothing)?)?.output().is_err());
        world.engine.unmount("web")?;
        is_back("never ran")?;

        // Another of its interfaces cannot be made.
        let both = format!("{net}; 1.type = veth; 1.link = br-none");
        let error = refused(world, &only(world, SERVES, &both)?)?;
        assert_eq!(error, "bridge br-none: cannot connect a container to it: No such device (os error 19)");
        is_back("half connected")?;
        drop(neighbour);
        Ok(Route::open()?.remove(&out)?)
    })
}

pub(crate) fn an_interface_that_is_not_there_is_named_and_nothing_starts(world: &World) -> Result {
    on_a_device(world, || {
        let (neighbour, out) = outside(7)?;
        for (net, expected) in [
            ("0.type = phys; 0.link = none0", "link none0: cannot give it to a container: No such device"),
            ("0.type = macvlan; 0.link = none0", "link none0: cannot be the parent of a container's: No such device"),
            ("0.type = veth; 0.link = out7", "link out7: cannot connect a container to it: Invalid argument"),
            (
                "0.type = macvlan; 0.link = out7; 0.flags = up; 0.ipv6.gateway = auto",
                "link out7: cannot be the way to everything else: Cannot assign requested address (os error 99): the device",
            ),
        ] {
            let error = refused(world, &only(world, SERVES, net)?)?;
            assert!(error.starts_with(expected), "{error}");
        }
        // One macvlan has the wire for itself.
        let other = Namespace::new()?;
        let inside = Inside { namespace: other.as_fd(), name: &"x".parse()?, mac: None, mtu: None };
        Route::open()?.macvlan(&out, Macvlan::Passthru, &inside)?;
        let error = refused(world, &only(world, SERVES, "0.type = macvlan; 0.link = out7")?)?;
        assert!(error.starts_with("macvlan out7, eth0 in the container: cannot make it"), "{error}");
        drop(neighbour);
        Ok(Route::open()?.remove(&out)?)
    })
}

pub(crate) fn the_next_life_of_pid_1_gives_an_interface_its_name_back(world: &World) -> Result {
    on_a_device(world, || {
        let (neighbour, out) = outside(8)?;
        let before = link(&out)?.ok_or("no out8")?;
        let takes = "0.type = phys; 0.link = out8; 0.name = wan0; 0.mtu = 1400";
        let web = world.start(&only(world, "echo up; while true; do sleep 1000; done", takes)?)?;
        read_until(&web, "up")?;
        // A namespace that ends with its last process and nobody who holds it gives hardware to the device, as it is called
        // there. No link of a test is hardware: so this is done for the kernel.
        let (own, theirs) = (Namespace::own()?, Namespace::of(web.pid)?);
        let name = "wan0".parse::<Name>()?;
        let inside = Inside { namespace: own.as_fd(), name: &name, mac: None, mtu: None };
        Route::open_in(theirs.as_fd())?.give(&name, &inside)?;
        drop(theirs);
        world.reborn().sweep()?;
        wait(web)?;
        let back = link(&out)?.ok_or("it has another name")?;
        assert_eq!((back.mac, back.mtu, back.alias.as_str()), (before.mac, before.mtu, ""));
        // And a life that had it in a namespace of which nothing is left finds it at home.
        world.engine.unmount("web")?;
        thread::sleep(Duration::from_millis(1));
        assert!(link(&out)?.is_some());
        drop(neighbour);
        Ok(Route::open()?.remove(&out)?)
    })
}

pub(crate) fn users_of_its_own_have_their_interfaces_too(world: &World) -> Result {
    on_a_device(world, || {
        let (neighbour, out) = outside(9)?;
        let script =
            "ip addr add 10.99.9.8/24 dev out9 && ip link set out9 up; id -u; echo up; while true; do sleep 1000; done";
        let lines = "lxc.idmap = b 0 7000000 65536\nlxc.net.0.type = phys\nlxc.net.0.link = out9\n";
        let config = config("web", script, lines).replace("lxc.namespace.keep = user  net  ipc\n", "");
        let assembly = world.assemble_all(&[("web", BOOT, &config)])?;
        world.engine.settle(&assembly);
        let web = start(world, &assembly, "web")?;
        assert_eq!(read_until(&web, "up")?, "0\nup\n");
        assert_eq!(link(&out)?, None);
        end(world, "web", web)?;
        assert!(link(&out)?.is_some());
        drop(neighbour);
        Ok(Route::open()?.remove(&out)?)
    })
}
