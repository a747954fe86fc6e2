//! What a container sees of files, and what it can do to them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use container::Launch;
use container::failure::Step;
use container::image::{self, Kind, Unmounted};
use container::launch::{Attributes, Mount, Source, Writable};
use container::loopdev::Loop;
use harness::{Result, host, wait};
use rustix::fd::AsFd;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use statemachine::container::Outcome;

use crate::images;
use crate::world::{World, read_until};

pub(crate) fn a_write_goes_to_the_upper_layer_and_not_to_the_lower(world: &World) -> Result {
    world.file("image/etc/conf", "old\n")?;
    world.output(&world.launch("echo new > /etc/conf; echo x > /etc/added; rm /bin/wc"))?;
    assert_eq!(fs::read_to_string(world.ground.dir.join("image/etc/conf"))?, "old\n");
    assert!(!world.ground.dir.join("image/etc/added").exists() && world.ground.dir.join("image/bin/wc").is_symlink());
    assert_eq!(fs::read_to_string(world.ground.dir.join("upper/etc/conf"))?, "new\n");
    assert_eq!(world.output(&world.launch("cat /etc/conf; ls /bin/wc || echo gone"))?.lines().next(), Some("new"));
    Ok(())
}

pub(crate) fn upper_layers_cover_lower_ones(world: &World) -> Result {
    world.file("image/etc/a", "bottom\n")?;
    world.file("image/etc/b", "bottom\n")?;
    // A colon in a name would separate layers, were they told by name.
    world.file("top:1/etc/a", "top\n")?;
    let mut launch = world.launch("cat /etc/a /etc/b; touch /etc/x && echo written");
    launch.root.layers.insert(0, world.ground.path("top:1"));
    assert_eq!(world.output(&launch)?, "top\nbottom\nwritten\n");
    launch.root.writable = None;
    let run = world.run(&launch)?;
    assert_eq!(run.outcome, Outcome::Code(1));
    assert!(run.log.starts_with("top\nbottom\n") && run.log.contains("Read-only"), "{}", run.log);
    Ok(())
}

pub(crate) fn a_root_without_a_writable_layer_refuses_writes(world: &World) -> Result {
    let mut launch = world.launch("touch /etc/x; mount -o remount,rw / ; touch /etc/x");
    launch.root.writable = None;
    launch.process.capabilities.bounding = 0;
    let run = world.run(&launch)?;
    assert_eq!((run.failure, run.outcome), (None, Outcome::Code(1)));
    assert_eq!(run.log.matches("Read-only file system").count(), 2, "{}", run.log);
    assert!(!world.ground.dir.join("image/etc/x").exists());
    Ok(())
}

pub(crate) fn a_symbolic_link_of_an_image_does_not_lead_out(world: &World) -> Result {
    let outside = world.ground.path("outside");
    fs::create_dir(&outside)?;
    world.file("image/outside", "")?;
    symlink(&outside, world.ground.dir.join("image/abs"))?;
    symlink("../../../../../../..", world.ground.dir.join("image/up"))?;
    symlink(format!("../../../../../..{outside}"), world.ground.dir.join("image/etc/climb"))?;
    fs::create_dir_all(world.ground.dir.join("image").join(outside.trim_start_matches('/')))?;
    for (target, inside) in [("abs/a", ""), ("etc/climb/b", ""), ("up/tmp/c", "/tmp/c")] {
        let mut launch = world.launch("");
        let place = if inside.is_empty() {
            format!("{outside}/{}", target.rsplit('/').next().unwrap_or_default())
        } else {
            inside.into()
        };
        launch.process.argv = ["sh", "-c", "grep -c \" $0 tmpfs\" /proc/self/mounts", &place].map(String::from).into();
        launch.mounts.push(Mount::from_fstab("tmpfs", target, "tmpfs", ["create=dir", "size=4k"])?);
        assert_eq!(world.output(&launch)?, "1\n", "{target}");
    }
    // Nothing was made outside.
    assert_eq!(fs::read_dir(&outside)?.count(), 0);
    assert!(!Path::new("/tmp/c").exists());
    // A source within the container cannot climb out either.
    world.file("secret", "secret")?;
    symlink(world.ground.path("secret"), world.ground.dir.join("image/link"))?;
    let mut launch = world.launch("cat /etc/got");
    launch.mounts.push(Mount::from_fstab("link", "etc/got", "none", ["bind", "relative", "create=file"])?);
    assert_eq!(world.run(&launch)?.failure.map(|failure| failure.step), Some(Step::Source));
    Ok(())
}

pub(crate) fn entries_are_mounted_in_order_and_as_they_say(world: &World) -> Result {
    world.file("data/file", "data\n")?;
    world.file("conf", "conf\n")?;
    let mut launch = world.launch(
        "cat /data/file /etc/conf /run/again/conf; echo x > /data/new && echo w; echo x > /etc/conf; \
         echo '#!/bin/sh' > /run/x; chmod +x /run/x; /run/x; dd if=/dev/zero of=/run/big bs=1024 count=2000; \
         grep -E ' (/run|/etc/conf|/data|/made) ' /proc/self/mounts",
    );
    let made = world.ground.path("made/by/us");
    for (source, target, fstype, options) in [
        (world.ground.path("data").as_str(), "/data", "none", vec!["bind", "rw", "create=dir"]),
        (world.ground.path("conf").as_str(), "etc/conf", "none", vec!["bind", "ro", "create=file"]),
        ("tmpfs", "run", "tmpfs", vec!["nodev", "noexec", "nosuid", "create=dir", "mode=755", "size=1m"]),
        ("etc", "run/again", "none", vec!["rbind", "relative", "ro", "create=dir"]),
        (made.as_str(), "made", "none", vec!["bind", "origin=mkdir", "nodev", "create=dir"]),
    ] {
        launch.mounts.push(Mount::from_fstab(source, target, fstype, options)?);
    }
    let run = world.run(&launch)?;
    let log = &run.log;
    assert_eq!(run.failure, None);
    assert!(log.starts_with("data\nconf\nconf\nw\n"), "{log}");
    assert!(log.contains("/etc/conf: Read-only file system"), "{log}");
    assert!(log.contains("/run/x: Permission denied") && log.contains("No space left"), "{log}");
    assert!(log.contains(" /run tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k,mode=755"), "{log}");
    assert_eq!(fs::read_to_string(world.ground.dir.join("data/new"))?, "x\n");
    assert!(world.ground.dir.join("made/by/us").is_dir());
    Ok(())
}

pub(crate) fn a_block_device_is_mounted_by_the_container_that_names_it(world: &World) -> Result {
    world.file("image/etc/conf", "on the device\n")?;
    let device = Loop::attach(&images::squashfs(world)?)?;
    let device = (device.path().display().to_string(), device);
    let mut launch = world.launch("cat /srv/etc/conf; touch /srv/x");
    launch.mounts.push(Mount::from_fstab(&device.0, "srv", "squashfs", ["ro", "nodev"])?);
    let log = world.run(&launch)?.log;
    assert!(log.starts_with("on the device\n") && log.contains("Read-only file system"), "{log}");
    Ok(())
}

pub(crate) fn a_source_within_a_directory_does_not_lead_out_of_it(world: &World) -> Result {
    world.file("data/own/file", "own\n")?;
    let outside = world.file("outside/file", "outside\n")?;
    symlink(outside.parent().ok_or("no parent")?, world.ground.dir.join("data/out"))?;
    symlink("/own", world.ground.dir.join("data/in"))?;
    let within = |path: &str, create| Mount {
        source: Source::Within { dir: world.ground.path("data"), path: path.into(), recursive: false, create },
        target: "srv".into(),
        attributes: Attributes::default(),
        create: None,
        optional: false,
    };
    let mut launch = world.launch("cat /srv/file; ls -a /srv");
    for (path, log) in [("own", "own\n.\n..\nfile\n"), ("in", "own\n.\n..\nfile\n")] {
        launch.mounts = vec![within(path, false)];
        assert_eq!(world.output(&launch)?, log, "{path}");
    }
    launch.mounts = vec![within("out", false)];
    let failure = world.run(&launch)?.failure.ok_or("it leads out")?;
    assert_eq!((failure.step, failure.errno), (Step::Source, Errno::NOENT.raw_os_error()));
    launch.mounts = vec![within("new/dir", true), within("", false)];
    world.run(&launch)?;
    assert!(world.ground.dir.join("data/new/dir").is_dir());
    Ok(())
}

/// Exchanges two names for as long as it lives: what a container does with a volume that another one mounts.
struct Turning(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Turning {
    fn new(one: PathBuf, other: PathBuf) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ends);
        let turn = move || {
            while !seen.load(Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
                std::thread::yield_now();
            }
        };
        Self(ends, Some(std::thread::spawn(turn)))
    }
}

impl Drop for Turning {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().map(JoinHandle::join);
    }
}

/// Starts containers until one has seen the directory and one was refused, and many have been tried.
fn no_run_leads_out(world: &World, launch: &Launch, step: Step) -> Result {
    let (mut inside, mut refused) = (0, 0);
    for run in 0..2000 {
        let run = (run, world.run(launch)?);
        match (&run.1.failure, run.1.log.as_str()) {
            (None, "own\n") => inside += 1,
            (Some(failure), _) if failure.step == step => refused += 1,
            other => return Err(format!("run {}: {other:?}", run.0).into()),
        }
        if inside > 0 && refused > 0 && inside + refused >= 50 {
            return Ok(());
        }
    }
    Err(format!("nothing turned: {inside} runs were inside and {refused} were refused").into())
}

pub(crate) fn a_link_that_is_turned_while_it_is_looked_up_leads_nowhere_else(world: &World) -> Result {
    world.file("data/spot/file", "own\n")?;
    world.file("data/spot/upper/x", "")?;
    world.file("data/spot/work/x", "")?;
    fs::remove_file(world.ground.dir.join("data/spot/work/x"))?;
    let outside = world.file("outside/file", "outside\n")?;
    world.file("outside/upper/x", "")?;
    fs::create_dir_all(world.ground.dir.join("outside/work"))?;
    let data = world.ground.dir.join("data");
    symlink(outside.parent().ok_or("no parent")?, data.join("link"))?;
    let turning = Turning::new(data.join("spot"), data.join("link"));
    let mut launch = world.launch("cat /srv/file");
    launch.mounts = vec![Mount {
        source: Source::Within { dir: world.ground.path("data"), path: "spot".into(), recursive: false, create: false },
        target: "srv".into(),
        attributes: Attributes::default(),
        create: None,
        optional: false,
    }];
    no_run_leads_out(world, &launch, Step::Source)?;
    // The same of a layer of an overlay, and of one of the root.
    let layer = |name: &str| world.ground.path(&format!("data/spot/{name}"));
    let lower = format!("lowerdir={}:{}", world.ground.path("data/spot"), world.ground.path("image/etc"));
    launch.mounts = vec![Mount::from_fstab("x", "srv", "overlay", [lower.as_str()])?];
    no_run_leads_out(world, &launch, Step::Layer)?;
    launch.mounts.clear();
    launch.process.argv = ["sh", "-c", "echo own; touch /made"].map(String::from).into();
    launch.root.writable = Some(Writable { upper: layer("upper"), work: layer("work") });
    no_run_leads_out(world, &launch, Step::Layer)?;
    drop(turning);
    assert!(!world.ground.dir.join("outside/upper/made").exists());
    Ok(())
}

pub(crate) fn an_optional_mount_may_be_missing_and_no_other(world: &World) -> Result {
    let entry = |options: &[&str]| Mount::from_fstab("/no/such", "srv", "none", options.iter().copied());
    let mut launch = world.launch("echo runs");
    launch.mounts.push(entry(&["bind", "optional"])?);
    launch.mounts.push(Mount::from_fstab("/tmp", "no/such", "none", ["bind", "optional"])?);
    assert_eq!(world.output(&launch)?, "runs\n");
    launch.mounts.push(entry(&["bind"])?);
    assert_eq!(world.run(&launch)?.failure.map(|failure| failure.step), Some(Step::Source));
    Ok(())
}

pub(crate) fn nothing_that_is_mounted_inside_is_seen_outside(world: &World) -> Result {
    // On a tree that the device shares with everybody, which is the worst case.
    let shared = world.ground.path("shared");
    fs::create_dir(&shared)?;
    host("mount", &["-t", "tmpfs", "tmpfs", &shared])?;
    let run = (|| {
        host("mount", &["--make-shared", &shared])?;
        fs::create_dir(world.ground.dir.join("shared/below"))?;
        let mut launch = world.launch("mount -t tmpfs inside /srv/below && touch /srv/below/x && ls /srv/below");
        launch.mounts.push(Mount::from_fstab(&shared, "srv", "none", ["rbind", "rslave"])?);
        world.output(&launch)
    })();
    let outside = fs::read_dir(world.ground.dir.join("shared/below"))?.count();
    host("umount", &[&shared])?;
    assert_eq!((run?.as_str(), outside), ("x\n", 0));
    Ok(())
}

/// The role of this program within [`a_root_that_cannot_be_pivoted_is_covered`].
pub(crate) const COVERED: &str = "covered";

/// The root of an initramfs cannot be pivoted. Such a root lies below that of every machine; the same test program,
/// with mounts of its own, goes down to it.
pub(crate) fn a_root_that_cannot_be_pivoted_is_covered(_: &World) -> Result {
    let own = std::env::current_exe()?.display().to_string();
    host("unshare", &["--mount", "--propagation", "private", &own, COVERED]).map(drop)
}

/// Makes the lowest root of the machine that of this process, with everything that was to be seen before on it.
pub(crate) fn descend() -> Result<Vec<PathBuf>> {
    use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_bind_recursive, move_mount, open_tree};
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let old = open_tree(CWD, "/", flags)?;
    let namespace = fs::File::open("/proc/self/ns/mnt")?;
    rustix::mount::unmount("/", UnmountFlags::DETACH)?;
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(rustix::thread::LinkNameSpaceType::Mount))?;
    let all = PathBuf::from("/cairn-test-old");
    fs::create_dir_all(&all)?;
    move_mount(&old, "", CWD, &all, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    let mut made = vec![all.clone()];
    for entry in fs::read_dir(&all)? {
        let (old, new) = (entry?.path(), |path: &Path| Path::new("/").join(path.file_name().unwrap_or_default()));
        if let Ok(link) = fs::read_link(&old) {
            symlink(link, new(&old))?;
        } else if old.is_dir() {
            fs::create_dir_all(new(&old))?;
            mount_bind_recursive(&old, new(&old))?;
        } else {
            continue;
        }
        made.push(new(&old));
    }
    Ok(made)
}

/// Takes away what [`descend`] has made: that root is the machine's, and lives longer than this process.
pub(crate) fn ascend(made: &[PathBuf]) {
    for path in made.iter().rev() {
        let _ =
            rustix::mount::unmount(path, rustix::mount::UnmountFlags::DETACH | rustix::mount::UnmountFlags::NOFOLLOW);
        let _ = fs::remove_dir(path).or_else(|_| fs::remove_file(path));
    }
}

pub(crate) fn covered(world: &World) -> Result {
    let log = world.output(&world.launch("ls /; cat /proc/self/mounts; cd ..; ls; readlink /proc/self/root"))?;
    let listed = "bin\ndev\netc\nproc\nsrv\nsys\ntmp\n";
    assert!(log.starts_with(listed), "{log}");
    let mounts: Vec<_> = log.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert!(mounts.iter().all(|dir| *dir == "/" || dir.starts_with("/dev") || dir.starts_with("/proc")), "{log}");
    assert!(log.ends_with(&format!("{listed}/\n")), "{log}");
    crate::users::its_mounts_cannot_be_taken_apart(world)?;
    crate::users::dev_and_console_are_as_for_every_container(world)?;
    crate::exports::an_import_follows_an_exporter_that_comes_anew(world)?;
    a_container_keeps_no_mount_of_the_device_alive(world)
}

pub(crate) fn a_container_keeps_no_mount_of_the_device_alive(world: &World) -> Result {
    let (file, dir) = (images::squashfs(world)?, images::point(world)?);
    image::mount(&file, Kind::Squashfs, &dir)?;
    let started = world.start(&world.launch("echo up; while true; do sleep 1000; done"));
    let up = started.and_then(|(spawned, group)| read_until(&spawned, "up").map(|_| (spawned, group)));
    let ended = image::unmount(&dir)?;
    let (spawned, group) = up?;
    // Held by nobody, least of all by a copy in the container's namespace.
    let attached = images::attached(world)?;
    group.kill()?;
    wait(spawned)?;
    group.remove()?;
    assert_eq!((ended, attached), (Unmounted::Clean, 0));
    Ok(())
}
