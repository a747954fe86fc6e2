//! A container with users of its own, from its image and on its storage.

use std::fs;
use std::os::unix::fs::MetadataExt;

use container::failure::Step;
use harness::Result;

use crate::world::World;

/// The lines that ask for users, over those of the template.
fn lines(first: u32) -> String {
    format!(
        "lxc.namespace.keep = net ipc\nlxc.idmap = u 0 {first} 65536\nlxc.idmap = g 0 {first} 65536\n\
         lxc.mount.entry = /volumes/web/data data none bind,create=dir 0 0\n"
    )
}

const STORAGE: &str = r#","storage":{"lxc-overlay":{"persistence":"permanent"},"data":{"persistence":"permanent"}}"#;

pub(crate) fn what_users_of_its_own_write_is_root_s_on_the_storage_and_outlives_their_range(world: &World) -> Result {
    world.file("_config/web/etc/own", "config")?;
    let script = "id -u; cat /etc/origin /etc/own; echo x > /data/f; echo y > /etc/new; ls -ld /data /pantavisor";
    let log = world.output(STORAGE, script, &lines(7_000_000))?;
    assert!(log.starts_with("0\nimage\nconfig"), "{log}");
    assert!(log.lines().any(|line| line.contains(" root ") || line.contains(" 0 ")), "{log}");
    let storage = world.engine.paths().storage.join("disks/perm/web");
    for file in ["data/f", "lxc-overlay/upper/etc/new", "lxc-overlay/work"] {
        let stat = fs::metadata(storage.join(file))?;
        assert_eq!((stat.uid(), stat.gid()), (0, 0), "{file}");
    }
    // Another range, and then none: nothing has to be changed for it.
    let script = "cat /data/f /etc/new; echo z >> /data/f";
    assert_eq!(world.output(STORAGE, script, &lines(9_000_000))?, "x\ny\n");
    let plain = lines(0).replace("lxc.idmap", "# lxc.idmap");
    assert_eq!(world.output(STORAGE, script, &plain)?, "x\nz\ny\n");
    world.engine.forget("web")?;
    assert_eq!(world.mounted()?, [""; 0]);
    Ok(())
}

pub(crate) fn a_volume_that_cannot_be_mapped_is_named_and_not_opened_to_others(world: &World) -> Result {
    let engine = world.reborn().read_only();
    let assembled = world.assemble(STORAGE, "echo runs", &lines(7_000_000))?;
    let mounts = engine.mount(&assembled, &crate::world::id(), &store::volumes::VolumeKeys::default())?;
    let run = crate::world::wait(engine.start(&assembled, &mounts)?)?;
    engine.unmount("web")?;
    engine.forget("web")?;
    // What is read and kept in memory is an overlay, of which no kernel maps the owners.
    let failure = run.failure.ok_or("it runs")?;
    assert_eq!(failure.step, Step::Map);
    assert!(failure.path.ends_with("volumes/web/data"), "{failure}");
    Ok(())
}
