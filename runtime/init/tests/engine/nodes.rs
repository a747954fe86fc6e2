//! Device nodes that a container's `mdev.json` wants.

use std::time::{Duration, Instant};

use harness::{PATIENCE, Result};
use init::uevents;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::life::usual;
use crate::sys::Come;
use crate::world::{BOOT, World, read_until, wait};

/// What every container with a `/dev` of its own and a writable root has in there.
const NODES: &str = "full\nnull\nrandom\ntty\nurandom\nzero\n";

/// The device nodes below `/dev`, but for terminals.
const LIST: &str = "cd /dev; find . -type c -o -type b | grep -v pts/ | sed s,^./,, | sort";

pub(crate) fn rules_make_the_nodes_that_the_device_rules_leave_and_no_other(world: &World) -> Result {
    world.inline("web/mdev.json", r#"{"rules":[".* 0:0 666"]}"#);
    // Without a right to it, a node would be of no use, and would tell of the device.
    let lines = usual("");
    assert_eq!(world.output(BOOT, LIST, &lines)?, NODES);
    let lines = usual("lxc.cgroup.devices.allow = c 10:237 rw\n");
    let script = format!("{LIST}; ls -ln loop-control | cut -c1-10; (: <> loop-control) && echo opened");
    let sorted = NODES.replace("full\n", "full\nloop-control\n");
    assert_eq!(world.output(BOOT, &script, &lines)?, format!("{sorted}crw-rw-rw-\nopened\n"));
    assert_eq!(world.mounted()?.iter().filter(|place| place.contains("/dev/")).count(), 0);
    // Nothing of that was done to the device's own.
    let own = std::fs::metadata("/dev/loop-control")?;
    assert_ne!(std::os::unix::fs::PermissionsExt::mode(&own.permissions()) & 0o777, 0o666);
    Ok(())
}

pub(crate) fn a_rule_says_whose_a_node_is_and_where_and_what_is_linked_to_it(world: &World) -> Result {
    let rules = r#"{"rules":["$SUBSYSTEM=mem 0:0 666 !", "loop-(control) 7:8 640 >disks/%1", ".* 0:0 600 !"]}"#;
    world.inline("web/mdev.json", rules);
    let lines = usual("lxc.cgroup.devices.allow = c *:* rw\n");
    let script = "cd /dev; ls -ln disks/control | sed 's/  */ /g' | cut -d' ' -f1-4; readlink loop-control; test -e mem || echo none";
    assert_eq!(world.output(BOOT, script, &lines)?, "crw-r----- 1 7 8\ndisks/control\nnone\n");
    Ok(())
}

pub(crate) fn users_of_its_own_have_nodes_that_are_theirs(world: &World) -> Result {
    world.inline("web/mdev.json", r#"{"rules":["loop-control 3:4 600 =disks/"]}"#);
    let mapped = "lxc.namespace.keep = net ipc\nlxc.idmap = b 0 7000000 65536\n";
    let lines = usual("lxc.cgroup.devices.allow = c 10:237 rw\n") + mapped;
    let script = "cd /dev; ls -ln disks/ | grep -o '3 *4 *10,'; ls -dln disks . | grep -c ' 0 *0 '; \
                  (: <> disks/loop-control) && echo opened";
    let log = world.output(BOOT, script, &lines)?;
    assert_eq!(log.split_ascii_whitespace().collect::<Vec<_>>(), ["3", "4", "10,", "2", "opened"], "{log}");
    world.inline("web/mdev.json", r#"{"rules":["loop-control 3:70000 600"]}"#);
    let refused = world.assemble(BOOT, "true", &lines).err().ok_or("it is assembled")?.to_string();
    assert_eq!(refused, "web/mdev.json: 3:70000 is nobody in this container: lxc.idmap has no line for it");
    Ok(())
}

pub(crate) fn a_device_that_comes_and_goes_does_so_in_a_container_that_runs(world: &World) -> Result {
    world.inline("web/mdev.json", r#"{"rules":["loop([0-9]{4}) 0:0 660 =late/%1"]}"#);
    let lines = usual("lxc.cgroup.devices.allow = b 7:* rw\n");
    let script = "ls /dev/late 2>/dev/null; echo up; until test -b /dev/late/*; do sleep 0.1; done; echo came; \
                  while test -b /dev/late/*; do sleep 0.1; done; echo went";
    let assembled = world.assemble(BOOT, script, &lines)?;
    let running = world.start(&assembled)?;
    assert_eq!(read_until(&running, "up")?, "up\n");
    let messages = uevents::open()?;
    let hears = || -> Result<bool> {
        let wait = Timespec { tv_sec: PATIENCE.as_secs().try_into()?, tv_nsec: 0 };
        while poll(&mut [PollFd::new(&messages, PollFlags::IN)], Some(&wait))? > 0 {
            if uevents::drain(&messages)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    // Other tests of this machine may bring devices as well: a message is no more than a hint.
    let until = |word: &str| -> Result {
        let since = Instant::now();
        let mut heard = String::new();
        while !heard.contains(word) {
            assert!(since.elapsed() < PATIENCE && hears()?, "no message before {word}: {heard}");
            assert_eq!(world.engine.settle_nodes(&assembled), [""; 0]);
            std::thread::sleep(Duration::from_millis(300));
            heard += &drained(&running)?;
        }
        Ok(())
    };
    let come = Come::new()?;
    until("came")?;
    drop(come);
    until("went")?;
    assert_eq!(wait(running)?.outcome, statemachine::container::Outcome::Code(0));
    world.engine.unmount("web")?;
    world.engine.forget("web")?;
    Ok(())
}

/// What is in the log by now.
fn drained(running: &init::engine::Running) -> Result<String> {
    let mut text = String::new();
    while poll(&mut [PollFd::new(&running.log, PollFlags::IN)], Some(&Timespec::default()))? > 0 {
        let mut piece = [0; 256];
        match rustix::io::read(&running.log, &mut piece)? {
            0 => break,
            length => text += &String::from_utf8_lossy(piece.get(..length).unwrap_or_default()),
        }
    }
    Ok(text)
}

pub(crate) fn what_the_container_has_put_in_the_way_stays_and_is_told(world: &World) -> Result {
    world.inline("web/mdev.json", r#"{"rules":["loop[0-9]{4} 0:0 666 =a/b/", "loop-control 0:0 666 =c"]}"#);
    let lines = usual("lxc.cgroup.devices.allow = a\n");
    // A link that would lead to the device's own directory, if anybody followed it.
    let script = "rm /dev/c; echo mine > /dev/c; mkdir /dev/a; ln -s /etc /dev/a/b; echo up; sleep 1000";
    let assembled = world.assemble(BOOT, script, &lines)?;
    let running = world.start(&assembled)?;
    read_until(&running, "up")?;
    let come = Come::new()?;
    let path = format!("a/b/loop{}", come.number);
    let said = format!("/dev/{path} cannot be made as mdev.json wants it: ");
    let remarks = world.engine.settle_nodes(&assembled);
    assert!(matches!(&remarks[..], [one] if one.starts_with(&said)), "{remarks:?}");
    assert_eq!(world.engine.settle_nodes(&assembled), [""; 0], "said twice");
    assert!(!std::path::Path::new("/etc").join(format!("loop{}", come.number)).exists());
    let dev = world.engine.paths().run.join("dev/web");
    assert_eq!(std::fs::read_to_string(dev.join("c"))?, "mine\n");
    drop(come);
    world.engine.kill("web")?;
    wait(running)?;
    world.engine.unmount("web")?;
    world.engine.forget("web")?;
    Ok(())
}

pub(crate) fn what_the_container_has_put_in_place_of_a_node_stays_when_the_device_goes(world: &World) -> Result {
    world.inline("web/mdev.json", r#"{"rules":["loop([0-9]{4}) 0:0 660 =late"]}"#);
    let lines = usual("lxc.cgroup.devices.allow = b 7:* rw\n");
    let come = Come::new()?;
    let script = "rm /dev/late && echo mine > /dev/late; echo up; sleep 1000";
    let assembled = world.assemble(BOOT, script, &lines)?;
    let running = world.start(&assembled)?;
    assert_eq!(read_until(&running, "up")?, "up\n");
    drop(come);
    assert_eq!(world.engine.settle_nodes(&assembled), [""; 0]);
    assert_eq!(std::fs::read_to_string(world.engine.paths().run.join("dev/web/late"))?, "mine\n");
    world.engine.kill("web")?;
    wait(running)?;
    world.engine.unmount("web")?;
    world.engine.forget("web")?;
    Ok(())
}
