//! Containers of one revision that export to each other.

use std::fs;

use harness::{PATIENCE, Result};
use init::assembly::{Assembled, Assembly};
use init::engine::Running;
use rustix::process::Signal;

use crate::world::{BOOT, World, config, read_until, wait};

/// `web` exports `/run/web`, in a tmpfs of its own, with a file of a word in it; `app` imports it and runs a script.
fn pair(world: &World, word: &str, options: &str, script: &str) -> Result<Assembly> {
    let say = format!("mkdir -p /run/web; echo {word} > /run/web/{word}; echo up; while true; do sleep 1000; done");
    let entry = format!("lxc.mount.entry = /exports/web/run/web in none {options} 0 0\n");
    world.assemble_all(&[
        ("web", &(BOOT.to_owned() + r#","exports":["/run/web"]"#), &config("web", &say, "")),
        ("app", BOOT, &config("app", script, &entry)),
    ])
}

fn get<'a>(assembly: &'a Assembly, name: &str) -> Result<&'a Assembled> {
    assembly.get(name).ok_or_else(|| "not assembled".into())
}

/// A shell that waits until a file is there.
fn until(word: &str) -> String {
    format!("until test -e /in/{word}; do sleep 0.02; done")
}

fn begin(world: &World, assembly: &Assembly, name: &str) -> Result<Running> {
    let running = world.start(get(assembly, name)?)?;
    read_until(&running, "up")?;
    Ok(running)
}

fn end(world: &World, name: &str, running: Running) -> Result {
    world.engine.kill(name)?;
    wait(running)?;
    world.engine.unmount(name)?;
    Ok(())
}

fn nothing_is_left(world: &World) -> Result {
    for name in ["web", "app"] {
        world.engine.unmount(name)?;
        world.engine.forget(name)?;
        assert!(!world.engine.paths().exports().join(name).join("run%2fweb.rw").exists());
    }
    world.engine.sweep()?;
    assert_eq!(world.mounted()?, [""; 0]);
    assert!(!world.engine.paths().exports().exists());
    Ok(())
}

pub(crate) fn a_container_has_what_another_exports_for_as_long_as_that_is_up(world: &World) -> Result {
    let script = format!(
        "cat /in/hello; echo mine > /in/g; echo up; while test -e /in/g; do sleep 0.02; done; ls -a /in; \
         touch /in/x || echo empty; {}; cat /in/hello",
        until("hello")
    );
    let assembly = pair(world, "hello", "bind,create=dir", &script)?;
    assert_eq!(get(&assembly, "app")?.member.after, ["web"]);
    let web = begin(world, &assembly, "web")?;
    let app = world.start(get(&assembly, "app")?)?;
    let first = read_until(&app, "up")?;
    let image = format!("{}/device/storage/trails/0/web/root.squashfs", world.ground.name);
    let attached = || harness::loop_files().map(|files| files.iter().filter(|file| file.ends_with(&image)).count());
    let before = attached()?;
    end(world, "web", web)?;
    // What is exported pins nothing of the exporter: not even while an importer runs.
    let after = attached()?;
    let away = read_until(&app, "empty")?;
    let web = begin(world, &assembly, "web")?;
    let run = wait(app)?;
    end(world, "web", web)?;
    assert_eq!((first.as_str(), before, after), ("hello\nup\n", 1, 0));
    assert!(away.starts_with(".\n..\n") && away.contains("Read-only file system"), "{away}");
    assert_eq!(run.output()?, "hello\n");
    nothing_is_left(world)
}

pub(crate) fn an_import_may_be_there_before_its_exporter(world: &World) -> Result {
    let script = format!("ls /in; echo up; {}; echo there", until("late"));
    let assembly = pair(world, "late", "bind,optional,create=dir", &script)?;
    assert!(get(&assembly, "app")?.member.after.is_empty());
    let app = world.start(get(&assembly, "app")?)?;
    assert_eq!(read_until(&app, "up")?, "up\n");
    let web = begin(world, &assembly, "web")?;
    let run = wait(app)?;
    end(world, "web", web)?;
    assert_eq!(run.output()?, "there\n");
    nothing_is_left(world)
}

pub(crate) fn an_exporter_is_mounted_anew_while_its_importers_run(world: &World) -> Result {
    let script = format!("{}; echo up; {}; echo two", until("one"), until("two"));
    let old = pair(world, "one", "bind,ro,create=dir", &script)?;
    let web = begin(world, &old, "web")?;
    let app = begin(world, &old, "app")?;
    // As an update in place does: the importer does not change.
    let new = pair(world, "two", "bind,ro,create=dir", &script)?;
    assert_eq!(get(&old, "app")?, get(&new, "app")?);
    rustix::process::pidfd_send_signal(&web.pidfd, Signal::KILL)?;
    wait(web)?;
    world.engine.unmount("web")?;
    let web = begin(world, &new, "web")?;
    let run = wait(app)?;
    end(world, "web", web)?;
    assert_eq!(run.output()?, "two\n");
    nothing_is_left(world)
}

pub(crate) fn what_an_earlier_life_has_exported_is_swept(world: &World) -> Result {
    let assembly = pair(world, "hello", "bind,create=dir", "echo up; while true; do sleep 1000; done")?;
    let web = begin(world, &assembly, "web")?;
    let app = begin(world, &assembly, "app")?;
    let spots = fs::read_dir(world.engine.paths().exports().join("web"))?.count();
    world.reborn().sweep()?;
    // Both are told to this process; `wait` takes what is asked for and drops the other.
    let ended = [&web, &app].iter().all(|one| {
        let timeout = rustix::event::Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
        let mut fds = [rustix::event::PollFd::new(&one.pidfd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&timeout)).is_ok_and(|count| count > 0)
    });
    while container::reaper::next()?.is_some() {}
    assert_eq!((spots, ended), (2, true));
    nothing_is_left(world)
}
