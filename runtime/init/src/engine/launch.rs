//! The last words of a launch: where this device has what a configuration names.

use std::path::Path;

use container::Launch;
use container::cgroup::Group;
use container::launch::{Create, Mount, Source};

use super::memory::Thawed;
use super::{EngineError, Mounts, Paths, mounts};
use crate::assembly::Program;

/// Where a container finds its socket.
const CONTROL: &str = "pantavisor";

/// Of templates: every container wants it, and not every device has one.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The launch of a program, with the paths of this device.
pub(super) fn complete(
    program: &Program,
    paths: &Paths,
    name: &str,
    mounted: &Mounts,
    group: &Group,
) -> Result<Launch, EngineError> {
    let mut launch = program.launch.clone();
    let real = |path: &mut String| {
        *path = text(&paths.real(path))?;
        Ok::<_, EngineError>(())
    };
    let layer = |path: &mut String| {
        *path = text(&paths.plain(path, false)?)?;
        Ok::<_, EngineError>(())
    };
    launch.root.layers.iter_mut().try_for_each(layer)?;
    if let Some(overlay) = &mounted.overlay {
        launch.root.layers.insert(0, text(overlay)?);
    }
    match &mut launch.root.writable {
        Some(writable) => {
            layer(&mut writable.upper)?;
            layer(&mut writable.work)?;
            if let Some(Thawed { below, upper, work }) = thaw(mounted, &writable.upper)? {
                launch.root.layers.splice(0..0, below.as_deref().map(text).transpose()?);
                (writable.upper, writable.work) = (text(&upper)?, text(&work)?);
            }
        }
        // Nothing can be made in there any more.
        None => launch.root.layers.push(places(paths)?),
    }
    launch.showcase = launch.showcase.as_ref().map(|_| text(&paths.exports())).transpose()?;
    for mount in &mut launch.mounts {
        match &mut mount.source {
            Source::Device { path, .. } if path == RESOLV_CONF => *path = resolv_conf(paths)?,
            Source::Device { path, .. } => real(path)?,
            Source::Within { dir, .. } => real(dir)?,
            Source::Inside { .. } | Source::Import { .. } => {}
            Source::Filesystem { options, .. } => {
                options.iter_mut().try_for_each(|option| layers(option, paths))?;
                thaw_options(options, mounted)?;
            }
        }
    }
    let layers = launch.root.layers.iter_mut();
    let written = launch.root.writable.iter_mut().flat_map(|writable| [&mut writable.upper, &mut writable.work]);
    layers.chain(written).try_for_each(|path| settle(path, paths))?;
    // Last, so that nothing of the configuration covers it. Sockets answer on a read-only mount, too.
    launch.mounts.push(Mount {
        source: Source::Device { path: text(&paths.control(name))?, recursive: false, create: false },
        target: CONTROL.to_owned(),
        attributes: crate::assembly::READ_ONLY,
        create: Some(Create::Dir),
        optional: false,
    });
    launch.cgroups = group.joined().map(text).collect::<Result<_, _>>()?;
    Ok(launch)
}

/// What a container in a pool has in its `/etc`, from a directory of the device, where its configuration mounts nothing
/// there itself.
pub(super) fn name(launch: &mut Launch, paths: &Paths, files: &Path) -> Result<(), EngineError> {
    let resolver = resolv_conf(paths)?;
    if launch.root.writable.is_none() {
        // Above the places of all containers, for these have a place more.
        let base = paths.run.join("places-of-names");
        mounts::make_dir(&base.join("etc"))?;
        for file in ["hosts", "hostname", "resolv.conf"] {
            let path = base.join("etc").join(file);
            let made = std::fs::OpenOptions::new().create(true).append(true).open(&path);
            made.map_err(EngineError::file("make", &path))?;
        }
        let mut base = text(&base)?;
        settle(&mut base, paths)?;
        launch.root.layers.push(base);
    }
    let sources = [text(&files.join("hosts"))?, text(&files.join("hostname"))?, resolver];
    for (target, path) in ["etc/hosts", "etc/hostname", "etc/resolv.conf"].into_iter().zip(sources) {
        if launch.mounts.iter().any(|mount| mount.target == target) {
            continue;
        }
        launch.mounts.push(Mount {
            source: Source::Device { path, recursive: false, create: false },
            target: target.to_owned(),
            attributes: crate::assembly::READ_ONLY,
            create: Some(Create::File),
            // An image may have a link to somewhere in its place, which is its own affair.
            optional: true,
        });
    }
    Ok(())
}

/// The same place without links on the way to this device's own directories. The stage follows none on the way to a layer.
fn settle(path: &mut String, paths: &Paths) -> Result<(), EngineError> {
    for base in [&paths.run, &paths.storage] {
        if let Ok(rest) = Path::new(path.as_str()).strip_prefix(base) {
            let base = std::fs::canonicalize(base).map_err(EngineError::file("find", base))?;
            *path = text(&base.join(rest))?;
            break;
        }
    }
    Ok(())
}

/// A layer of places to mount on, below all others.
fn places(paths: &Paths) -> Result<String, EngineError> {
    let base = paths.run.join("places");
    for place in [CONTROL, "dev", "proc", "sys"] {
        mounts::make_dir(&base.join(place))?;
    }
    text(&base)
}

/// Directories in an option of an overlay.
fn layers(option: &mut String, paths: &Paths) -> Result<(), EngineError> {
    if let Some((name @ ("lowerdir" | "upperdir" | "workdir"), list)) = option.split_once('=') {
        let plain = |path| {
            let mut plain = text(&paths.plain(path, false)?)?;
            settle(&mut plain, paths)?;
            Ok::<_, EngineError>(plain)
        };
        let list: Vec<_> = list.split(':').map(plain).collect::<Result<_, _>>()?;
        *option = format!("{name}={}", list.join(":"));
    }
    Ok(())
}

/// What an overlay has instead of an upper layer in a volume whose changes are in memory.
fn thaw(mounted: &Mounts, upper: &str) -> Result<Option<Thawed>, EngineError> {
    for frozen in &mounted.frozen {
        if let Some(thawed) = frozen.thaw(Path::new(upper))? {
            return Ok(Some(thawed));
        }
    }
    Ok(None)
}

/// The same for an overlay that is described by options.
fn thaw_options(options: &mut [String], mounted: &Mounts) -> Result<(), EngineError> {
    let upper = options.iter().find_map(|option| option.strip_prefix("upperdir="));
    let Some(Thawed { below, upper, work }) = upper.map_or(Ok(None), |upper| thaw(mounted, upper))? else {
        return Ok(());
    };
    for option in options {
        match (option.split_once('='), &below) {
            (Some(("upperdir", _)), _) => *option = format!("upperdir={}", text(&upper)?),
            (Some(("workdir", _)), _) => *option = format!("workdir={}", text(&work)?),
            (Some(("lowerdir", list)), Some(below)) => *option = format!("lowerdir={}:{list}", text(below)?),
            _ => {}
        }
    }
    Ok(())
}

/// The device's, or an empty one where it has none: a container that looks up no names shall start all the same.
fn resolv_conf(paths: &Paths) -> Result<String, EngineError> {
    if Path::new(RESOLV_CONF).exists() {
        return Ok(RESOLV_CONF.to_owned());
    }
    let path = paths.run.join("resolv.conf");
    mounts::make_dir(&paths.run)?;
    std::fs::OpenOptions::new().create(true).append(true).open(&path).map_err(EngineError::file("make", &path))?;
    text(&path)
}

pub(super) fn text(path: &Path) -> Result<String, EngineError> {
    path.to_str().map(str::to_owned).ok_or_else(|| EngineError::Path(path.to_owned()))
}
