//! System hooks: programs in the root of the base system.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use container::image::Kind;
use harness::{Result, host};
use init::assembly::BaseRoot;
use statemachine::container::Outcome;

use crate::world::{World, id, read_until, wait};

const DIRECTORY: &str = "usr/lib/pantavisor/pv/hooks/system.d";

/// A base system with BusyBox and these hooks, as an image of the revision.
fn base(world: &World, hooks: &[(&str, &str)]) -> Result<BaseRoot> {
    let dir = root(world)?;
    for (name, script) in hooks {
        let path = dir.join(DIRECTORY).join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    pack(world)
}

fn root(world: &World) -> Result<PathBuf> {
    let dir = world.ground.dir.join("image");
    fs::create_dir_all(dir.join(DIRECTORY))?;
    Ok(dir)
}

fn pack(world: &World) -> Result<BaseRoot> {
    let file = world.file("bsp/root.squashfs", "")?;
    fs::remove_file(&file)?;
    let (from, to) = (world.ground.path("image"), file.display().to_string());
    host("mksquashfs", &[&from, &to, "-quiet", "-no-progress"])?;
    Ok(BaseRoot { file: "root.squashfs".into(), kind: Kind::parse("squashfs").ok_or("no squashfs")? })
}

fn told() -> Vec<(String, String)> {
    vec![("PV_OP".into(), "system-start".into())]
}

pub(crate) fn hooks_are_the_programs_of_their_directory_by_name_and_links_end_in_the_image(world: &World) -> Result {
    let dir = root(world)?.join(DIRECTORY);
    fs::write(dir.join("README"), "not a program")?;
    fs::create_dir(dir.join("50-dir"))?;
    symlink("/bin/busybox", dir.join("30-inside"))?;
    symlink("../../../../../../../../../../../etc/hostname-of-nobody", dir.join("40-outside"))?;
    let base = base(world, &[("90-last", "true"), ("10-first", "true")])?;
    let hooks = world.engine.open_hooks(&base, &id())?;
    let expected = ["10-first", "30-inside", "90-last"].map(|name| format!("/{DIRECTORY}/{name}"));
    assert_eq!(hooks, expected);
    world.engine.close_hooks()?;
    assert_eq!(world.mounted()?, [""; 0]);
    Ok(())
}

pub(crate) fn a_base_without_hooks_has_none_and_one_that_is_no_image_says_so(world: &World) -> Result {
    let base = pack(world)?;
    assert_eq!(world.engine.open_hooks(&base, &id())?, [""; 0]);
    world.engine.close_hooks()?;
    world.file("bsp/root.squashfs", "nothing of the kind")?;
    let error = world.engine.open_hooks(&base, &id()).err().ok_or("it is opened")?.to_string();
    assert!(error.contains("root.squashfs"), "{error}");
    world.engine.close_hooks()?;
    assert_eq!(world.mounted()?, [""; 0]);
    Ok(())
}

pub(crate) fn a_hook_has_the_device_and_not_what_is_pid_1_s_to_decide(world: &World) -> Result {
    let script = "echo $PV_OP $$; test -c /dev/loop-control && echo dev; test -d /sys/class && echo sys; \
                  cat /storage/x; echo y 2>&1 > /storage/x; echo z > /run/z && cat /run/z; touch /etc/new 2>&1; \
                  grep -c . /proc/1/cmdline; grep CapBnd /proc/self/status; grep NoNew /proc/self/status";
    let base = base(world, &[("10-all", script)])?;
    fs::create_dir_all(&world.engine.paths().storage)?;
    fs::write(world.engine.paths().storage.join("x"), "kept\n")?;
    let hooks = world.engine.open_hooks(&base, &id())?;
    let run = wait(world.engine.start_hook(hooks.first().ok_or("no hook")?, told())?)?;
    world.engine.end_hook()?;
    world.engine.close_hooks()?;
    let log = run.output()?;
    for line in ["system-start 1", "dev", "sys", "kept", "z", "NoNewPrivs:\t1"] {
        assert!(log.lines().any(|one| one == line), "{line}: {log}");
    }
    assert!(log.contains("/etc/new: Read-only file system"), "{log}");
    assert_eq!(fs::read_to_string(world.engine.paths().storage.join("x"))?, "kept\n");
    let bounding = log.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).ok_or("no capabilities")?;
    let bounding = u64::from_str_radix(bounding, 16)?;
    // To load modules, and to end the boot; but not to speak to disks.
    assert_eq!([16, 22, 17, 21].map(|bit| bounding & 1 << bit != 0), [false, false, true, true]);
    assert_eq!(world.mounted()?, [""; 0]);
    Ok(())
}

pub(crate) fn a_hook_is_ended_with_all_that_it_has_started(world: &World) -> Result {
    let base = base(world, &[("10-never", "sleep 1000 & echo up; exec sleep 1000")])?;
    let hooks = world.engine.open_hooks(&base, &id())?;
    let running = world.engine.start_hook(hooks.first().ok_or("no hook")?, told())?;
    read_until(&running, "up")?;
    world.engine.kill(init::engine::BASE)?;
    assert_eq!(wait(running)?.outcome, Outcome::Signal(9));
    world.engine.end_hook()?;
    world.engine.close_hooks()?;
    let left = harness::groups(&format!("{}/{}", world.ground.name, init::engine::BASE));
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}
