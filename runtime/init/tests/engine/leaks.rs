//! Again and again, with everything that can be mounted: what is there after the last time is what was there after the
//! first.

use std::fs;

use harness::{Result, host};
use init::assembly::Assembly;
use init::engine::{Engine, Running};
use store::volumes::VolumeKeys;

use crate::world::{World, config, id, read_until, wait};

/// How often, on a storage that can be written and on one that cannot. Each round starts and ends two containers.
const ROUNDS: u32 = 15;

/// What the kernel holds for the device of a test and for this process.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    loops: usize,
    mounts: usize,
    groups: usize,
    descriptors: usize,
    files: usize,
}

fn held(world: &World) -> Result<Held> {
    let name = &world.ground.name;
    let groups = ["web", "app"].map(|one| harness::groups(&format!("{name}/{one}")).len());
    Ok(Held {
        loops: harness::loop_files()?.iter().filter(|file| file.contains(name.as_str())).count(),
        mounts: world.mounted()?.len(),
        groups: groups.iter().sum(),
        descriptors: fs::read_dir("/proc/self/fd")?.count(),
        files: host("find", &[&world.engine.paths().run.display().to_string()])?.lines().count(),
    })
}

/// Two containers with images, copies, trees, storage, exports and imports of each kind.
fn assemble(world: &World) -> Result<Assembly> {
    world.file("web/t.data/x", "x\n")?;
    world.file("web/c.bind", "c\n")?;
    let (ext4, erofs) = (world.file("web/e.ext4", "")?, world.file("web/e.erofs", "")?);
    for file in [&ext4, &erofs] {
        fs::remove_file(file)?;
    }
    let image = world.ground.path("image");
    host("mke2fs", &["-q", "-t", "ext4", "-d", &image, &ext4.display().to_string(), "16M"])?;
    host("mkfs.erofs", &["--quiet", &erofs.display().to_string(), &image])?;
    let web = r#","volumes":["e.ext4","e.erofs","t.data","c.bind"],"exports":["/run/web","/srv"],
        "storage":{"lxc-overlay":{"persistence":"revision"},"p":{"persistence":"permanent"},"b":{"persistence":"boot"}}"#;
    let entry = |from: &str, to: &str, options: &str| format!("lxc.mount.entry = {from} mnt/{to} none {options} 0 0\n");
    let volumes: String = ["e.ext4", "e.erofs", "t.data", "c.bind", "p", "b"]
        .map(|name| {
            let create = if name == "c.bind" { "bind,create=file" } else { "bind,create=dir" };
            entry(&format!("/volumes/web/{name}"), name, create)
        })
        .concat();
    let imports = entry("/exports/web/run/web", "live", "bind,create=dir")
        + &entry("/exports/web/srv", "read", "bind,ro,create=dir")
        + &entry("/exports/web/srv/old", "kept", "bind,nosuid,create=file");
    let script = "ls /mnt/* > /dev/null && echo up; while true; do sleep 1000; done";
    world.assemble_all(&[
        ("web", web, &config("web", script, &volumes)),
        ("app", r#","storage":{"lxc-overlay":{"persistence":"boot"}}"#, &config("app", script, &imports)),
    ])
}

fn begin(engine: &Engine, assembly: &Assembly, name: &str) -> Result<Running> {
    let assembled = assembly.get(name).ok_or("not assembled")?;
    let mounts = engine.mount(assembled, &id(), &VolumeKeys::default())?;
    let running = engine.start(assembled, &mounts)?;
    read_until(&running, "up")?;
    Ok(running)
}

fn end(engine: &Engine, name: &str, running: Running) -> Result {
    engine.kill(name)?;
    wait(running)?;
    Ok(engine.unmount(name)?)
}

/// One round. An importer may outlive its exporter, and a container may end by itself.
fn round(engine: &Engine, assembly: &Assembly, number: u32, while_up: &mut dyn FnMut() -> Result) -> Result {
    let web = begin(engine, assembly, "web")?;
    let app = begin(engine, assembly, "app")?;
    while_up()?;
    if number.is_multiple_of(2) {
        end(engine, "web", web)?;
        end(engine, "app", app)
    } else {
        end(engine, "app", app)?;
        end(engine, "web", web)
    }
}

pub(crate) fn a_container_leaves_as_much_the_last_time_as_the_first(world: &World) -> Result {
    let assembly = assemble(world)?;
    fs::create_dir_all(&world.engine.paths().run)?;
    let before = held(world)?;
    for engine in [world.reborn(), world.reborn().read_only()] {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for number in 0..ROUNDS {
            round(&engine, &assembly, number, &mut || {
                up.push(held(world)?);
                Ok(())
            })?;
            down.push(held(world)?);
        }
        assert!(up.iter().all(|held| held.loops == 4 && held.groups > 0), "{:?}", up.first());
        for held in [&up, &down] {
            assert_eq!(held.iter().find(|one| Some(*one) != held.first()), None, "{:?}", held.first());
        }
        for name in ["web", "app"] {
            engine.forget(name)?;
        }
        engine.sweep()?;
        let after = Held { files: before.files, ..held(world)? };
        assert_eq!(after, before);
    }
    Ok(())
}
