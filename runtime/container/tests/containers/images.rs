//! Images: a file, a loop device, a mount, and nothing left of them.

use std::fs;
use std::path::PathBuf;

use container::image::{self, Kind, Unmounted};
use container::loopdev::Loop;
use harness::{Result, host, loop_files};

use crate::world::World;

/// An image of the image.
pub(crate) fn squashfs(world: &World) -> Result<PathBuf> {
    let file = world.ground.dir.join("root.squashfs");
    host(
        "mksquashfs",
        &[&world.ground.path("image"), &world.ground.path("root.squashfs"), "-quiet", "-no-progress", "-noappend"],
    )?;
    Ok(file)
}

/// Where to mount it.
pub(crate) fn point(world: &World) -> Result<PathBuf> {
    let dir = world.ground.dir.join("mnt");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// How many loop devices hold files of this world.
pub(crate) fn attached(world: &World) -> Result<usize> {
    Ok(loop_files()?.iter().filter(|file| file.contains(&world.ground.name)).count())
}

pub(crate) fn a_container_runs_from_an_image_of_each_kind(world: &World) -> Result {
    world.file("image/etc/conf", "from the image\n")?;
    squashfs(world)?;
    let image = world.ground.path("image");
    host("mke2fs", &["-q", "-t", "ext4", "-d", &image, &world.ground.path("root.ext4"), "16M"])?;
    host("mkfs.erofs", &["--quiet", &world.ground.path("root.erofs"), &image])?;
    let dir = point(world)?;
    for kind in [Kind::Squashfs, Kind::Ext4, Kind::Erofs] {
        let file = world.ground.dir.join(format!("root.{}", kind.as_str()));
        let before = fs::read(&file)?;
        image::mount(&file, kind, &dir)?;
        let mut launch = world.launch("cat /etc/conf; echo new > /etc/conf; cat /etc/conf");
        launch.root.layers = vec![dir.display().to_string()];
        let log = world.output(&launch);
        let ended = image::unmount(&dir)?;
        assert_eq!((log?.as_str(), ended), ("from the image\nnew\n", Unmounted::Clean), "{kind:?}");
        assert!(before == fs::read(&file)?, "{kind:?} was written to");
        fs::remove_file(world.ground.dir.join("upper/etc/conf"))?;
    }
    Ok(())
}

pub(crate) fn a_loop_device_is_gone_after_the_unmount(world: &World) -> Result {
    let (file, dir) = (squashfs(world)?, point(world)?);
    image::mount(&file, Kind::Squashfs, &dir)?;
    assert_eq!(attached(world)?, 1);
    assert!(fs::write(dir.join("x"), "").is_err());
    assert_eq!(image::unmount(&dir)?, Unmounted::Clean);
    assert_eq!(attached(world)?, 0);
    assert_eq!(image::unmount(&dir)?, Unmounted::Nothing);
    Ok(())
}

pub(crate) fn a_busy_image_is_detached_and_gone_with_its_last_user(world: &World) -> Result {
    let (file, dir) = (squashfs(world)?, point(world)?);
    image::mount(&file, Kind::Squashfs, &dir)?;
    let user = fs::File::open(dir.join("bin/busybox"))?;
    assert_eq!(image::unmount(&dir)?, Unmounted::Detached);
    assert_eq!((fs::read_dir(&dir)?.count(), attached(world)?), (0, 1));
    drop(user);
    assert_eq!(attached(world)?, 0);
    Ok(())
}

pub(crate) fn no_two_images_share_a_loop_device(world: &World) -> Result {
    let file = squashfs(world)?;
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let file = file.clone();
            std::thread::spawn(move || (0..4).map(|_| Loop::attach(&file)).collect::<std::result::Result<Vec<_>, _>>())
        })
        .collect();
    let mut devices = Vec::new();
    for thread in threads {
        devices.extend(thread.join().map_err(|_| "a thread panicked")??);
    }
    let mut paths: Vec<_> = devices.iter().map(|device| device.path().to_owned()).collect();
    paths.sort();
    paths.dedup();
    assert_eq!((paths.len(), attached(world)?), (16, 16));
    drop(devices);
    assert_eq!(attached(world)?, 0);
    Ok(())
}

pub(crate) fn a_file_that_is_no_image_leaves_nothing_attached(world: &World) -> Result {
    let (file, dir) = (world.file("bad.squashfs", &"x".repeat(8192))?, point(world)?);
    let error = image::mount(&file, Kind::Squashfs, &dir).err().ok_or("it was mounted")?.to_string();
    assert!(error.contains("bad.squashfs") && error.contains("read a file system"), "{error}");
    assert_eq!(attached(world)?, 0);
    let error = image::mount(&world.ground.dir.join("missing"), Kind::Squashfs, &dir).err().ok_or("it was mounted")?;
    assert!(error.to_string().contains("missing: No such file"), "{error}");
    Ok(())
}
