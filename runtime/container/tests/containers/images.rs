//! Images: a file, a loop device, a mount, and nothing left of them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use container::image::{self, Kind, Unmounted};
use container::loopdev::Loop;
use harness::{PATIENCE, Result, host, loop_files};

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
        launch.root.writable = None;
        let alone = world.run(&launch);
        let ended = image::unmount(&dir)?;
        assert_eq!((log?.as_str(), ended), ("from the image\nnew\n", Unmounted::Clean), "{kind:?}");
        let alone = alone?.log;
        assert!(alone.starts_with("from the image\n") && alone.contains("Read-only file system"), "{kind:?}: {alone}");
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

/// The role of this program within [`a_loop_device_is_gone_with_the_process_that_mounted_it`].
pub(crate) const HOLDER: &str = "holder";

/// Mounts an image where only this process sees it, says so, and waits for its end.
pub(crate) fn hold(mut args: impl Iterator<Item = String>) -> Result {
    let (file, dir) = (args.next().ok_or("no image")?, args.next().ok_or("no directory")?);
    image::mount(file.as_ref(), Kind::Squashfs, dir.as_ref())?;
    // Attached, and not mounted yet.
    let _other = Loop::attach(file.as_ref())?;
    println!("mounted");
    loop {
        std::thread::park();
    }
}

pub(crate) fn a_loop_device_is_gone_with_the_process_that_mounted_it(world: &World) -> Result {
    let (file, dir) = (squashfs(world)?, point(world)?);
    let own = std::env::current_exe()?;
    // As PID 1 that is killed: nothing of it has a chance to undo anything.
    let mut holder = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .args([own.as_path(), HOLDER.as_ref(), &file, &dir])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let said = holder.stdout.take().ok_or("no output").map(|out| BufReader::new(out).read_line(&mut line));
    let before = attached(world)?;
    holder.kill()?;
    holder.wait()?;
    said??;
    assert_eq!((line.as_str(), before), ("mounted\n", 2));
    // A mount namespace ends after its last process.
    let patience = Instant::now() + PATIENCE;
    while attached(world)? > 0 {
        assert!(Instant::now() < patience, "{} loop devices are left", attached(world)?);
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

pub(crate) fn an_image_is_read_past_the_page_cache_of_its_file_where_that_can_be(world: &World) -> Result {
    let file = squashfs(world)?;
    let direct = |file: &Path| -> Result<String> {
        let device = Loop::attach(file)?;
        let name = device.path().file_name().ok_or("no name")?.to_owned();
        Ok(fs::read_to_string(Path::new("/sys/block").join(name).join("loop/dio"))?)
    };
    let can = |file: &Path| {
        use rustix::fs::{Mode, OFlags};
        rustix::fs::open(file, OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty()).is_ok()
    };
    assert_eq!((direct(&file)?.as_str(), can(&file)), ("1\n", true), "needs a temporary directory on a disk");
    // A file system without it: the image is attached all the same.
    let dir = point(world)?;
    let ramfs = dir.display().to_string();
    host("mount", &["-t", "ramfs", "ramfs", &ramfs])?;
    let there = dir.join("root.squashfs");
    let done = (|| {
        fs::copy(&file, &there)?;
        Ok::<_, Box<dyn std::error::Error>>((can(&there), direct(&there)?))
    })();
    host("umount", &[&ramfs])?;
    assert_eq!(done?, (false, "0\n".to_owned()));
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
