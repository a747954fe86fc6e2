//! What one container exports and another imports: two containers, a showcase between, no process.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use container::Spawned;
use container::cgroup::Group;
use container::failure::Step;
use container::launch::{Attributes, Create, Export, Launch, Mount, Source};
use harness::{PATIENCE, Result, host, wait};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use statemachine::container::Outcome;

use crate::world::{World, read_until};

/// The showcase of a test, as PID 1 makes it.
pub(crate) struct Showcase(PathBuf);

impl Showcase {
    pub(crate) fn new(world: &World) -> Result<Self> {
        let dir = world.ground.dir.join("showcase");
        fs::create_dir_all(&dir)?;
        host("mount", &["-t", "tmpfs", "tmpfs", &dir.display().to_string()])?;
        let showcase = Self(dir);
        mount_change(&showcase.0, MountPropagationFlags::SHARED)?;
        fs::create_dir(showcase.0.join("one"))?;
        Ok(showcase)
    }

    /// How many mounts are on it, and below those.
    fn shown(&self) -> Result<usize> {
        let table = fs::read_to_string("/proc/self/mounts")?;
        let prefix = format!("{}/", self.0.display());
        Ok(table.lines().filter(|line| line.split(' ').nth(1).is_some_and(|at| at.starts_with(&prefix))).count())
    }

    /// Takes away what is exported, as PID 1 does at the end of its container.
    pub(crate) fn withdraw(&self) -> Result {
        for entry in fs::read_dir(self.0.join("one"))? {
            let path = entry?.path();
            while unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
        }
        assert_eq!(self.shown()?, 0);
        Ok(())
    }
}

impl Drop for Showcase {
    fn drop(&mut self) {
        let _ = self.withdraw();
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// A container that exports a path and runs a script.
pub(crate) fn exporter(world: &World, showcase: &Showcase, path: &str, script: &str) -> Launch {
    let mut launch = world.launch(script);
    launch.showcase = Some(showcase.0.display().to_string());
    launch.exports = vec![Export { path: path.into(), spot: Export::spot("one", path) }];
    launch
}

/// Its import at `/in`.
pub(crate) fn import(path: &str) -> Mount {
    Mount {
        source: Source::Import { spot: Export::spot("one", path), path: String::new(), recursive: true, live: true },
        target: "in".into(),
        attributes: Attributes::default(),
        create: Some(Create::Dir),
        optional: false,
    }
}

/// A container that imports and runs a script.
pub(crate) fn importer(world: &World, showcase: &Showcase, import: Mount, script: &str) -> Result<Launch> {
    let mut launch = world.launch(script);
    let dirs = ["other-upper", "other-work"].map(|name| world.ground.dir.join(name));
    dirs.iter().try_for_each(fs::create_dir_all)?;
    let writable = launch.root.writable.as_mut().ok_or("no writable layer")?;
    [writable.upper, writable.work] = dirs.map(|dir| dir.display().to_string());
    launch.showcase = Some(showcase.0.display().to_string());
    launch.mounts.push(import);
    Ok(launch)
}

/// Starts a container in a group of its own, and waits until it says `up`.
pub(crate) fn begin(world: &World, name: &str, launch: &Launch) -> Result<(Spawned, Group)> {
    let group = world.ground.instance.create(name)?;
    let spawned = world.start_in(launch, &group)?;
    read_until(&spawned, "up")?;
    Ok((spawned, group))
}

pub(crate) fn end((spawned, group): (Spawned, Group)) -> Result<String> {
    group.kill()?;
    let log = wait(spawned)?.log;
    group.end(PATIENCE)?;
    Ok(log)
}

/// Runs a container to its end beside others.
pub(crate) fn run(world: &World, launch: &Launch) -> Result<harness::Run> {
    let group = world.ground.instance.create("beside")?;
    let run = wait(world.start_in(launch, &group)?)?;
    group.end(PATIENCE)?;
    Ok(run)
}

pub(crate) const WAIT: &str = "while true; do sleep 1000; done";

pub(crate) fn what_one_container_exports_another_sees_and_writes(world: &World) -> Result {
    let showcase = Showcase::new(world)?;
    let script = format!("echo one > /data/out/f; echo up; {WAIT}");
    let one = begin(world, "one", &exporter(world, &showcase, "data/out", &script))?;
    let log = run(world, &importer(world, &showcase, import("data/out"), "cat /in/f; echo two > /in/g; ls /in")?);
    end(one)?;
    assert_eq!(log?.output()?, "one\nf\ng\n");
    assert_eq!(fs::read_to_string(world.ground.dir.join("upper/data/out/g"))?, "two\n");
    showcase.withdraw()
}

pub(crate) fn a_file_is_exported_like_a_directory(world: &World) -> Result {
    let showcase = Showcase::new(world)?;
    world.file("image/etc/conf", "conf\n")?;
    let one = begin(world, "one", &exporter(world, &showcase, "etc/conf", &format!("echo up; {WAIT}")))?;
    let mount = Mount { target: "etc/theirs".into(), create: Some(Create::File), ..import("etc/conf") };
    let launch = importer(world, &showcase, mount, "cat /etc/theirs")?;
    let log = run(world, &launch);
    end(one)?;
    assert_eq!(log?.output()?, "conf\n");
    Ok(())
}

pub(crate) fn what_an_exporter_mounts_later_is_seen_and_nothing_of_an_importer(world: &World) -> Result {
    let showcase = Showcase::new(world)?;
    let until = |file: &str| format!("until test -e {file}; do sleep 0.02; done");
    let script = format!(
        "cd /data; echo up; {}; mkdir later; mount -t tmpfs later later; echo deep > later/f; touch told; {}; \
         ls theirs; echo seen; {WAIT}",
        until("asked"),
        until("mounted"),
    );
    let one = begin(world, "one", &exporter(world, &showcase, "data", &script))?;
    let script = format!(
        "touch /in/asked; {}; cat /in/later/f; mkdir /in/theirs; mount -t tmpfs x /in/theirs; touch /in/theirs/x; \
         ls /in/theirs; touch /in/mounted",
        until("/in/told"),
    );
    let log = run(world, &importer(world, &showcase, import("data"), &script)?);
    let seen = read_until(&one.0, "seen");
    // Two spots, and below the writable one what came later.
    let shown = showcase.shown();
    end(one)?;
    assert_eq!(log?.output()?, "deep\nx\n");
    assert_eq!((seen?.as_str(), shown?), ("seen\n", 3));
    showcase.withdraw()
}

pub(crate) fn an_import_follows_an_exporter_that_comes_anew(world: &World) -> Result {
    let showcase = Showcase::new(world)?;
    let say = |word: &str| format!("mount -t tmpfs x /data; echo {word} > /data/f; echo up; {WAIT}");
    let launch = |word| exporter(world, &showcase, "data", &say(word));
    let one = begin(world, "one", &launch("first"))?;
    let wait_for = |word: &str| format!("until test \"$(cat /in/f 2>/dev/null)\" = \"{word}\"; do sleep 0.02; done");
    let script = format!(
        "{}; echo up; {}; ls -a /in; touch /in/x || echo read-only; echo empty; {}; echo back",
        wait_for("first"),
        wait_for(""),
        wait_for("second"),
    );
    let other = begin(world, "other", &importer(world, &showcase, import("data"), &script)?)?;
    end(one)?;
    showcase.withdraw()?;
    let empty = read_until(&other.0, "empty")?;
    let one = begin(world, "one", &launch("second"))?;
    let run = wait(other.0)?;
    other.1.end(PATIENCE)?;
    end(one)?;
    assert!(empty.starts_with(".\n..\n") && empty.ends_with("read-only\nempty\n"), "{empty}");
    assert_eq!((run.outcome, run.log.as_str()), (Outcome::Code(0), "back\n"));
    showcase.withdraw()
}

pub(crate) fn an_import_that_begins_while_its_exporter_changes_has_what_is_there_in_the_end(world: &World) -> Result {
    let showcase = Showcase::new(world)?;
    let launch = |word: &str| {
        exporter(world, &showcase, "data", &format!("mount -t tmpfs x /data; touch /data/{word}; echo up; {WAIT}"))
    };
    let script = "until test -e /in/second; do sleep 0.01; done; ls /in";
    let other = importer(world, &showcase, import("data"), script)?;
    for round in 0..16 {
        let one = begin(world, "one", &launch("first"))?;
        let group = world.ground.instance.create("other")?;
        let spawned = world.start_in(&other, &group)?;
        // Somewhere on the way of its stage.
        std::thread::sleep(Duration::from_micros(round * 400));
        showcase.withdraw()?;
        end(one)?;
        let one = begin(world, "one", &launch("second"))?;
        let run = wait(spawned);
        group.end(PATIENCE)?;
        end(one)?;
        showcase.withdraw()?;
        assert_eq!(run?.output()?, "second\n", "{round}");
    }
    Ok(())
}

pub(crate) fn a_read_only_import_stays_so_whoever_comes_anew(world: &World) -> Result {
    let showcase = Showcase::new(world)?;
    let launch = |word: &str| exporter(world, &showcase, "data", &format!("echo {word} > /data/f; echo up; {WAIT}"));
    let one = begin(world, "one", &launch("first"))?;
    let script = "try() { touch /in/x 2>/dev/null && echo written || echo read-only; }; try; echo up; \
                  until test \"$(cat /in/f 2>/dev/null)\" = second; do sleep 0.02; done; try";
    let attributes = Attributes { read_only: true, ..Attributes::default() };
    let launch_other = importer(world, &showcase, Mount { attributes, ..import("data") }, script)?;
    let group = world.ground.instance.create("other")?;
    let other = world.start_in(&launch_other, &group)?;
    let before = read_until(&other, "up")?;
    end(one)?;
    showcase.withdraw()?;
    let one = begin(world, "one", &launch("second"))?;
    let run = wait(other)?;
    group.end(PATIENCE)?;
    end(one)?;
    assert_eq!((before.as_str(), run.log.as_str()), ("read-only\nup\n", "read-only\n"));
    assert!(!world.ground.dir.join("upper/data/x").exists());
    Ok(())
}

pub(crate) fn a_link_in_what_is_exported_does_not_lead_out(world: &World) -> Result {
    let showcase = Showcase::new(world)?;
    let secret = world.file("secret/f", "secret\n")?;
    let dir = secret.parent().ok_or("no parent")?;
    // The path itself, and a place in it that an importer names.
    fs::create_dir_all(world.ground.dir.join("image/data"))?;
    symlink(dir, world.ground.dir.join("image/data/link"))?;
    symlink(dir, world.ground.dir.join("image/out"))?;
    fs::create_dir_all(world.ground.dir.join("image").join(dir.strip_prefix("/")?))?;
    fs::write(world.ground.dir.join("image").join(dir.strip_prefix("/")?).join("f"), "own\n")?;
    let one = begin(world, "one", &exporter(world, &showcase, "out", &format!("echo up; {WAIT}")))?;
    let log = run(world, &importer(world, &showcase, import("out"), "cat /in/f")?);
    end(one)?;
    assert_eq!(log?.output()?, "own\n", "it ends in the root of the exporter");
    showcase.withdraw()?;
    let one = begin(world, "one", &exporter(world, &showcase, "data", &format!("echo up; {WAIT}")))?;
    let spot = Export::spot("one", "data");
    let source = Source::Import { spot, path: "link".into(), recursive: false, live: false };
    let run = run(world, &importer(world, &showcase, Mount { source, ..import("data") }, "cat /in/f")?);
    end(one)?;
    let failure = run?.failure.ok_or("it leads out")?;
    assert_eq!((failure.step, failure.errno), (Step::Source, Errno::NOENT.raw_os_error()));
    showcase.withdraw()
}

pub(crate) fn a_place_in_what_is_exported_is_kept_as_it_was_at_the_start(world: &World) -> Result {
    let showcase = Showcase::new(world)?;
    let script = format!("mkdir -p /data/sub; echo old > /data/sub/f; echo up; {WAIT}");
    let one = begin(world, "one", &exporter(world, &showcase, "data", &script))?;
    let spot = Export::spot("one", "data");
    let source = Source::Import { spot, path: "sub".into(), recursive: false, live: false };
    let attributes = Attributes { noexec: true, ..Attributes::default() };
    let script = "cat /in/f; echo up; until test -e /go/now; do sleep 0.02; done; cat /in/f";
    let mut launch = importer(world, &showcase, Mount { source, attributes, ..import("data") }, script)?;
    fs::create_dir(world.ground.dir.join("go"))?;
    launch.mounts.push(Mount::from_fstab(&world.ground.path("go"), "go", "none", ["bind", "create=dir"])?);
    let other = begin(world, "other", &launch)?;
    end(one)?;
    showcase.withdraw()?;
    fs::write(world.ground.dir.join("go/now"), "")?;
    let run = wait(other.0)?;
    other.1.end(PATIENCE)?;
    assert_eq!(run.output()?, "old\n");
    Ok(())
}

pub(crate) fn what_nobody_exports_is_missed_unless_it_is_optional(world: &World) -> Result {
    let showcase = Showcase::new(world)?;
    let launch = |mount| importer(world, &showcase, mount, "echo runs; ls /in");
    let failure = run(world, &launch(import("data"))?)?.failure.ok_or("it runs")?;
    assert_eq!((failure.step, failure.path.as_str()), (Step::Source, "one/data"));
    let run = run(world, &launch(Mount { optional: true, ..import("data") })?)?;
    assert!(run.log.starts_with("runs\n"), "{}", run.log);
    Ok(())
}

pub(crate) fn a_slot_of_the_other_kind_is_made_anew(world: &World) -> Result {
    let showcase = Showcase::new(world)?;
    fs::write(showcase.0.join("one/data.rw"), "")?;
    fs::create_dir(showcase.0.join("one/data.ro"))?;
    let one = begin(world, "one", &exporter(world, &showcase, "data", &format!("echo x > /data/f; echo up; {WAIT}")))?;
    let log = run(world, &importer(world, &showcase, import("data"), "cat /in/f")?);
    end(one)?;
    assert_eq!(log?.output()?, "x\n");
    showcase.withdraw()
}
