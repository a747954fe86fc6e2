//! What is mounted for a container, how long it lives, and what it cannot do to the device.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use formats::state::Revision;
use harness::Result;
use init::engine::{Engine, EngineError};
use statemachine::ids::RevisionId;
use store::volumes::VolumeKeys;

use crate::world::{BOOT, World, id, wait};

pub(crate) fn each_storage_lives_as_long_as_it_says(world: &World) -> Result {
    let members = r#","storage":{"lxc-overlay":{"persistence":"revision"},"p":{"persistence":"permanent"},"b":{"persistence":"boot"}}"#;
    let entry = |name: &str| format!("lxc.mount.entry = /volumes/web/{name} mnt/{name} none bind,rw,create=dir 0 0\n");
    let lines = entry("p") + &entry("b");
    let script = "cd /mnt; ls p b /tmp; touch p/x b/x /tmp/x";
    assert_eq!(world.output(members, script, &lines)?, "/tmp:\n\nb:\n\np:\n");
    assert_eq!(world.output(members, script, &lines)?, "/tmp:\nx\n\nb:\nx\n\np:\nx\n", "started again in one boot");
    world.engine.forget("web")?;
    assert_eq!(world.output(members, script, &lines)?, "/tmp:\nx\n\nb:\n\np:\nx\n", "as after a boot");
    let disks = world.engine.paths().storage.join("disks");
    assert!(disks.join("perm/web/p/x").exists());
    assert!(disks.join("rev").join(id().as_str()).join("web/lxc-overlay/upper/tmp/x").exists());
    Ok(())
}

pub(crate) fn storage_on_a_disk_of_its_own_lives_as_long_as_it_says(world: &World) -> Result {
    world.inline("disks.json", r#"[{"name":"big","type":"volume-disk"}]"#);
    let members = r#","storage":{"lxc-overlay":{"persistence":"boot","disk":"big"},
        "p":{"persistence":"permanent","disk":"big"},"r":{"persistence":"revision","disk":"big"}}"#;
    let entry = |name: &str| format!("lxc.mount.entry = /volumes/web/{name} mnt/{name} none bind,rw,create=dir 0 0\n");
    let lines = entry("p") + &entry("r");
    let script = "cd /mnt; ls p r /tmp; mkdir -p /tmp/x; touch p/x r/x";
    let before = world.mounted()?.len();
    assert_eq!(world.output(members, script, &lines)?, "/tmp:\n\np:\n\nr:\n");
    assert_eq!(world.mounted()?.len(), before, "no memory is taken");
    assert_eq!(world.output(members, script, &lines)?, "/tmp:\nx\n\np:\nx\n\nr:\nx\n", "in the same boot");
    world.engine.forget("web")?;
    assert_eq!(world.output(members, script, &lines)?, "/tmp:\n\np:\nx\n\nr:\nx\n", "as after a boot");
    let disk = world.engine.paths().storage.join("pv/volume-disk/big");
    assert!(disk.join("perm/web/p/x").exists());
    assert!(disk.join("rev").join(id().as_str()).join("web/r/x").exists());
    assert!(disk.join("boot/web/lxc-overlay/upper/tmp/x").exists());
    Ok(())
}

pub(crate) fn a_mount_that_fails_leaves_nothing_of_the_others(world: &World) -> Result {
    world.file("web/bad.squashfs", &"x".repeat(8192))?;
    let assembled = world.assemble(&(BOOT.to_owned() + r#","volumes":["bad.squashfs"]"#), "true", "")?;
    let error = world.mount(&assembled).err().ok_or("it was mounted")?.to_string();
    assert!(error.contains("bad.squashfs"), "{error}");
    world.engine.forget("web")?;
    assert_eq!(world.mounted()?, [""; 0]);
    assert!(!world.engine.paths().volumes("web").exists());
    Ok(())
}

pub(crate) fn an_image_that_stays_in_an_update_is_not_opened_again_and_another_is(world: &World) -> Result {
    let assembled = world.assemble(BOOT, "true", "")?;
    let engine = &world.engine;
    let (image, place) = (engine.paths().trail(&id()).join("web/root.squashfs"), engine.paths().volumes("web"));
    let two = RevisionId::parse("locals/two")?;
    let next = engine.paths().trail(&two).join("web");
    fs::create_dir_all(&next)?;
    // The same object in another revision.
    fs::hard_link(&image, next.join("root.squashfs"))?;
    world.mount(&assembled)?;
    let before = mounted_from(&place)?;
    engine.keep_images(&assembled, &id());
    engine.unmount("web")?;
    assert!(attached(&image, 1)?, "it is open while nothing is mounted");
    engine.mount(&assembled, &two, &VolumeKeys::default())?;
    assert_eq!(mounted_from(&place)?, before);
    assert!(attached(&image, 1)?);
    assert!(fs::write(place.join("root.squashfs/x"), "").is_err(), "it is read-only");

    // Another image by the same name.
    engine.keep_images(&assembled, &two);
    fs::remove_file(next.join("root.squashfs"))?;
    fs::copy(&image, next.join("root.squashfs"))?;
    engine.mount(&assembled, &two, &VolumeKeys::default())?;
    assert!(attached(&image, 0)? && attached(&next.join("root.squashfs"), 1)?);

    // Kept for a container that does not come back.
    engine.keep_images(&assembled, &two);
    engine.unmount("web")?;
    assert!(attached(&next.join("root.squashfs"), 1)?);
    engine.forget("web")?;
    assert!(attached(&next.join("root.squashfs"), 0)?);
    assert_eq!(world.mounted()?, [""; 0]);
    Ok(fs::remove_dir_all(engine.paths().trail(&two))?)
}

/// The device that the image of a container is mounted from.
fn mounted_from(volumes: &Path) -> Result<String> {
    let place = volumes.join("root.squashfs");
    let table = fs::read_to_string("/proc/self/mounts")?;
    let line = table.lines().find(|line| line.split(' ').nth(1) == place.to_str());
    let device = line.and_then(|line| line.split(' ').next()).ok_or("it is not mounted")?;
    Ok(device.to_owned())
}

/// Whether so many loop devices have this file, once the kernel has let go of those that nobody uses: it does that after
/// the call that ends the last mount.
fn attached(file: &Path, wanted: usize) -> Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let of = |entry: std::io::Result<fs::DirEntry>| {
        let backing = fs::read_to_string(entry.ok()?.path().join("loop/backing_file")).ok()?;
        fs::metadata(backing.trim_end()).ok().map(|meta| (meta.dev(), meta.ino()))
    };
    let own = fs::metadata(file)?;
    for _ in 0..1000 {
        let all = fs::read_dir("/sys/block")?.filter_map(of);
        if all.filter(|one| *one == (own.dev(), own.ino())).count() == wanted {
            return Ok(true);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    Ok(false)
}

pub(crate) fn a_changed_container_begins_with_empty_memory(world: &World) -> Result {
    let assembled = world.assemble(BOOT, "true", "")?;
    let kept = world.engine.paths().boot("web");
    world.mount(&assembled)?;
    fs::write(kept.join("0/lxc-overlay/x"), "old")?;
    let state = r##"{"#spec":"pantavisor-service-system@1","web/run.json":{}}"##;
    let keys = VolumeKeys::own(&Revision::parse(state.as_bytes())?, &RevisionId::parse("locals/two")?);
    world.engine.mount(&assembled, &id(), &keys)?;
    assert!(!kept.join("0").exists());
    assert_eq!(fs::read_dir(kept.join("locals-two/lxc-overlay"))?.count(), 0);
    world.engine.unmount("web")?;
    world.engine.forget("web")?;
    assert_eq!(world.mounted()?, [""; 0]);
    Ok(())
}

pub(crate) fn objects_of_the_store_are_never_written(world: &World) -> Result {
    let (tree, bind) = (world.file("web/t.data/x", "x\n")?, world.file("web/c.bind", "c\n")?);
    let members = BOOT.to_owned() + r#","volumes":["t.data","c.bind"]"#;
    let lines = "lxc.mount.entry = /volumes/web/t.data mnt none bind,rw,create=dir 0 0\n\
                 lxc.mount.entry = /volumes/web/c.bind etc/c none bind,rw,create=file 0 0\n";
    let script = "cat /mnt/x /etc/c; echo new > /etc/c; cat /etc/c; echo new > /mnt/x || echo read-only";
    let log = world.output(&members, script, lines)?;
    assert!(log.starts_with("x\nc\nnew\n") && log.ends_with("read-only\n"), "{log}");
    assert_eq!((fs::read_to_string(tree)?, fs::read_to_string(bind)?), ("x\n".into(), "c\n".into()));
    Ok(())
}

pub(crate) fn files_of_the_revision_lie_over_the_image(world: &World) -> Result {
    let file = world.file("_config/web/etc/origin", "revision\n")?;
    assert_eq!(world.output(BOOT, "cat /etc/origin; echo new > /etc/origin; cat /srv/old", "")?, "revision\nold\n");
    assert_eq!(fs::read_to_string(file)?, "revision\n");
    Ok(())
}

pub(crate) fn an_overlay_of_a_directory_keeps_what_is_written(world: &World) -> Result {
    let members = r#","storage":{"lxc-overlay":{"persistence":"boot"},"o":{"persistence":"permanent"}}"#;
    let lines = "lxc.mount.entry = /volumes/web/o srv overlay lowerdir=/volumes/web/root.squashfs/srv,\
                 upperdir=/volumes/web/o/upper,workdir=/volumes/web/o/work,create=dir 0 0\n";
    let script = "ls /srv; touch /srv/new";
    assert_eq!(world.output(members, script, lines)?, "old\n");
    assert_eq!(world.output(members, script, lines)?, "new\nold\n");
    assert!(world.engine.paths().storage.join("disks/perm/web/o/upper/new").exists());
    Ok(())
}

pub(crate) fn on_a_storage_to_be_read_everything_is_there_and_changes_end_with_the_boot(world: &World) -> Result {
    let members = r#","storage":{"lxc-overlay":{"persistence":"permanent"},"p":{"persistence":"permanent"},
        "n":{"persistence":"revision"},"o":{"persistence":"permanent"}}"#;
    let lines = "lxc.mount.entry = /volumes/web/p mnt none bind,rw,create=dir 0 0\n\
                 lxc.mount.entry = /volumes/web/o opt overlay lowerdir=/volumes/web/root.squashfs/srv,\
                 upperdir=/volumes/web/o/upper,workdir=/volumes/web/o/work,create=dir 0 0\n";
    let output = |engine: &Engine, script: &str| -> Result<String> {
        let assembled = world.assemble(members, script, lines)?;
        let mounts = engine.mount(&assembled, &id(), &VolumeKeys::default())?;
        let run = wait(engine.start(&assembled, &mounts)?)?;
        engine.unmount("web")?;
        run.output()
    };
    // What is removed in an overlay leaves a mark in its upper layer, which has to count below another one, too.
    let script = "echo one > /mnt/x; echo one > /root-x; rm /etc/origin /opt/old; echo one > /opt/new; echo done";
    assert_eq!(output(&world.engine, script)?, "done\n");
    let disks = world.engine.paths().storage.join("disks");
    let before = tree(&disks)?;

    let frozen = world.reborn().read_only();
    let look = "cat /mnt/x /root-x /opt/new; ls /etc /opt; echo two > /mnt/x; echo two > /root-x; echo two > /opt/new";
    let first = output(&frozen, look)?;
    assert!(first.starts_with("one\none\none\n") && first.contains("/opt:\nnew\n"), "{first}");
    assert!(!first.contains("origin") && !first.contains("old"), "{first}");
    assert!(output(&frozen, "cat /mnt/x /root-x /opt/new")?.starts_with("two\ntwo\ntwo\n"), "in the same boot");
    frozen.forget("web")?;
    assert!(output(&frozen, "cat /mnt/x /root-x /opt/new")?.starts_with("one\none\none\n"), "as after a boot");
    assert_eq!(tree(&disks)?, before, "nothing was written there");
    frozen.forget("web")?;
    assert_eq!(world.mounted()?, [""; 0]);
    Ok(())
}

/// Every path below a directory, with what is in its file.
fn tree(dir: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let (mut left, mut found) = (vec![dir.to_owned()], BTreeMap::new());
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let content = if kind.is_file() { fs::read(entry.path())? } else { Vec::new() };
            left.extend(kind.is_dir().then(|| entry.path()));
            found.insert(entry.path(), content);
        }
    }
    Ok(found)
}

pub(crate) fn mounting_and_unmounting_again_changes_nothing(world: &World) -> Result {
    let assembled = world.assemble(BOOT, "true", "")?;
    let first = world.mount(&assembled)?;
    let sorted = || world.mounted().map(BTreeSet::from_iter);
    let places = sorted()?;
    assert_eq!(world.mount(&assembled)?, first);
    assert_eq!(sorted()?, places);
    world.engine.unmount("web")?;
    world.engine.unmount("web")?;
    world.engine.forget("web")?;
    world.engine.forget("web")?;
    assert_eq!(world.mounted()?, [""; 0]);
    let error = world.engine.start(&assembled, &first).err().ok_or("it runs")?;
    assert!(matches!(error, EngineError::File { .. } | EngineError::Upper(_)), "{error}");
    Ok(())
}

pub(crate) fn a_link_in_storage_does_not_lead_out(world: &World) -> Result {
    let members = r#","storage":{"lxc-overlay":{"persistence":"boot"},"p":{"persistence":"permanent"}}"#;
    let outside = world.ground.dir.join("outside");
    fs::create_dir_all(&outside)?;
    fs::write(outside.join("secret"), "secret\n")?;
    let storage = world.engine.paths().storage.join("disks/perm/web/p");
    fs::create_dir_all(&storage)?;
    symlink(&outside, storage.join("link"))?;
    let entry = "lxc.mount.entry = /volumes/web/p/link mnt none bind,create=dir 0 0\n";
    let run = world.run(&world.assemble(members, "ls /mnt", entry)?)?;
    assert!(run.failure.is_some() && !run.log.contains("secret"), "{}", run.log);
    let overlay = "lxc.mount.entry = x mnt overlay lowerdir=/volumes/web/root.squashfs/srv,\
                   upperdir=/volumes/web/p/link,workdir=/volumes/web/p/work,create=dir 0 0\n";
    let assembled = world.assemble(members, "touch /mnt/x", overlay)?;
    let mounts = world.mount(&assembled)?;
    assert!(world.engine.start(&assembled, &mounts).is_err());
    world.engine.unmount("web")?;
    assert_eq!(fs::read_dir(&outside)?.count(), 1);
    Ok(())
}

pub(crate) fn an_image_without_a_writable_layer_is_a_root_as_it_is(world: &World) -> Result {
    let config = "lxc.init.cmd = /bin/sh -c \"cat /etc/origin; ls -d /pantavisor; touch /x\"\n\
                  lxc.mount.auto = proc\n";
    let run = world.run(&world.assemble_whole("", config)?)?;
    assert!(run.log.starts_with("image\n/pantavisor\n") && run.log.contains("Read-only file system"), "{}", run.log);
    Ok(())
}
