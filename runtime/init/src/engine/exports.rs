//! The showcase: where stages show what their containers export, and from where it is withdrawn.
//!
//! ```text
//!   RUN/exports             a tmpfs, shared: made when it is first needed
//!       web/run%2fdbus.rw   a spot: what `web` has at /run/dbus; empty while `web` is down
//! ```
//!
//! Importers follow a spot, not the container that is behind it: when an exporter goes down, what it has exported leaves
//! the importers as well, and comes back with it. Were it kept, the layers of the old root would still be in use when the
//! new one is mounted; were importers restarted, the crash of one container would be that of all who use it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use container::Launch;
use container::launch::{Create, Export, Source};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};

use super::{EngineError, Paths, mounts};

/// Makes the showcase, if a launch needs it, and the spots that its imports name as far as they say of which kind: an
/// exporter that comes later finds them. The path of the showcase in the launch is that of this device by now.
pub(super) fn prepare(launch: &Launch, name: &str) -> Result<(), EngineError> {
    let Some(showcase) = launch.showcase.as_deref().map(Path::new) else { return Ok(()) };
    mounts::tmpfs(showcase)?;
    let share = MountPropagationFlags::SHARED;
    mount_change(showcase, share).map_err(|errno| EngineError::file("share", showcase)(errno.into()))?;
    mounts::make_dir(&showcase.join(name))?;
    for mount in &launch.mounts {
        let Source::Import { spot, live: true, .. } = &mount.source else { continue };
        let spot = showcase.join(format!("{spot}.{}", Export::extension(mount.attributes.read_only)));
        if let Some(owner) = spot.parent() {
            mounts::make_dir(owner)?;
        }
        // What is exported already is on the spot; nothing of it is touched.
        let made = match mount.create {
            Some(Create::Dir) => fs::create_dir(&spot),
            Some(Create::File) => fs::OpenOptions::new().write(true).create_new(true).open(&spot).map(drop),
            None => Ok(()),
        };
        match made {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(EngineError::file("make the spot", &spot)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Takes away what a container exports, from all who have imported it. Its spots stay: they follow what comes next.
///
/// No mount below those of the spots is looked up by its path: whoever may write there chooses where it leads.
pub(super) fn withdraw(paths: &Paths, name: &str) -> Result<(), EngineError> {
    for spot in entries(&paths.exports().join(name))? {
        // One export covers another that was left by a life of PID 1 that ended.
        while unmount(&spot, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
    }
    Ok(())
}

/// Gives up the spots of a container that is no longer part of what runs.
pub(super) fn forget(paths: &Paths, name: &str) -> Result<(), EngineError> {
    let dir = paths.exports().join(name);
    withdraw(paths, name)?;
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(EngineError::file("remove", &dir)(error)),
        _ => Ok(()),
    }
}

/// Takes the showcase away.
pub(super) fn sweep(paths: &Paths) -> Result<(), EngineError> {
    for owner in entries(&paths.exports())? {
        if let Some(name) = owner.file_name().and_then(|name| name.to_str()) {
            withdraw(paths, name)?;
        }
    }
    mounts::clear(&paths.exports())
}

fn entries(dir: &Path) -> Result<Vec<std::path::PathBuf>, EngineError> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        found => found
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
            .map_err(EngineError::file("read", dir)),
    }
}
