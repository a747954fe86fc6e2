//! The hands of PID 1 for containers: mounts, starts, ends and unmounts what an [assembly](crate::assembly) says.
//!
//! ```text
//!   RUN/volumes/web/root.squashfs     the image, through a loop device      RUN/control/web   ──▶ /pantavisor, read-only
//!                  /lxc-overlay       a directory of:
//!   RUN/exports/web/PATH.rw           what `web` exports, see `exports.rs`
//!   RUN/boot/web/KEY/VOLUME           a tmpfs, until the next boot or the next change of the container
//!   STORAGE/disks/perm/web/VOLUME     permanent
//!           disks/rev/KEY/web/VOLUME  of the last revision that changed the container
//!           pv/volume-disk/DISK/{perm/web,rev/KEY/web,boot/web}/VOLUME
//!           trails/REVISION/_config/web    the top layer of the root
//!   RUN/dev/web                       its `/dev`, if `mdev.json` wants nodes in it, see `nodes.rs`
//! ```
//!
//! Every call blocks, and may be made from any thread; calls for one container are made one after the other. Each can
//! be repeated: it looks at what is there and remembers nothing that it needs, so it also ends what an earlier life of PID 1
//! has left.
//! What fails half-way is undone before the error is returned. Where the storage cannot be written, volumes are as
//! `memory` says.

mod error;
mod exports;
mod hooks;
mod kept;
mod launch;
mod memory;
mod metadata;
mod mounts;
mod network;
mod nodes;
mod wires;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use container::cgroup::{Access, DeviceRule, Group, Instance, NodeKind, Nodes};
use container::enter::{Entered, Entry, Streams, enter};
use container::launch::Output;
use container::{Held, Spawned, halt, image, spawn, spawn_held};
use formats::control::Program as Wanted;
use formats::lxc;
use formats::path::ContainerName;
use formats::volume::Persistence;
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::Pid;
use statemachine::ids::RevisionId;
use store::volumes::VolumeKeys;

pub use error::EngineError;
pub use hooks::BASE;
pub(crate) use network::LEASES;

use kept::Kept;
use memory::Frozen;

use crate::assembly::{Assembled, DeviceAccess, GroupSetting, Program, Setting, Volume, What};

/// How long what was killed may take to be gone: longer than the kernel takes to end a process that does no I/O,
/// shorter than a watchdog.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where things lie on this device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paths {
    /// The storage partition.
    pub storage: PathBuf,
    /// The runtime directory, empty at boot.
    pub run: PathBuf,
}

impl Paths {
    /// The usual places below a root, which is `/` on a device.
    #[must_use]
    pub fn under(root: &Path) -> Self {
        Self { storage: root.join("storage"), run: root.join("run/pantavisor/pv") }
    }

    /// The directory that a container sees as `/pantavisor`.
    #[must_use]
    pub fn control(&self, container: &str) -> PathBuf {
        self.run.join("control").join(container)
    }

    /// Where the volumes of a container lie that end with this boot.
    #[must_use]
    pub fn boot(&self, container: &str) -> PathBuf {
        self.run.join("boot").join(container)
    }

    /// Where the volumes of a container are mounted.
    #[must_use]
    pub fn volumes(&self, container: &str) -> PathBuf {
        self.run.join("volumes").join(container)
    }

    /// Where stages show what their containers export.
    #[must_use]
    pub fn exports(&self) -> PathBuf {
        self.run.join("exports")
    }

    /// The directory of a revision.
    #[must_use]
    pub fn trail(&self, id: &RevisionId) -> PathBuf {
        self.storage.join("trails").join(id.as_str())
    }

    /// What a path of a configuration means here.
    fn real(&self, path: &str) -> PathBuf {
        let below = |dir: &str| crate::assembly::below(path, dir).filter(|_| path != "/");
        match (below("/volumes"), below("/storage")) {
            (Some(rest), _) => self.run.join("volumes").join(rest),
            (_, Some(rest)) => self.storage.join(rest),
            _ => PathBuf::from(path),
        }
    }
}

impl Paths {
    /// A directory of a volume that the kernel will look up once more: there may be no link on the way to it, for whoever
    /// writes to the volume could have it lead anywhere on the device.
    fn plain(&self, path: &str, create: bool) -> Result<PathBuf, EngineError> {
        let real = self.real(path);
        let volumes = self.run.join("volumes");
        let rest = real.strip_prefix(&volumes).map_err(|_| EngineError::Path(real.clone()))?;
        mounts::plain(&volumes, rest, create)?;
        Ok(real)
    }
}

/// The volumes of a container, mounted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mounts {
    /// The layer of the revision's own files, if it has any.
    overlay: Option<PathBuf>,
    /// Volumes whose changes are in memory.
    frozen: Vec<Frozen>,
}

/// A container on its way: see [`Spawned`].
#[derive(Debug)]
pub struct Running {
    /// Its first process.
    pub pid: Pid,
    /// The same, for signals and for being told its end.
    pub pidfd: OwnedFd,
    /// What it writes to its outputs.
    pub log: OwnedFd,
    /// End of file when its program runs, else a [`Failure`](container::failure::Failure).
    pub error: OwnedFd,
    /// Where its console comes from, if that is a terminal.
    pub console: Option<OwnedFd>,
    /// All of its processes.
    pub group: Group,
    /// Keys of optional limits that no tree of this device has.
    pub missed: Vec<String>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Engine {
    paths: Paths,
    instance: Instance,
    read_only: bool,
    /// Remembered, for the kernel does not say which of its bridges were made here.
    networks: Arc<Mutex<network::Networks>>,
    /// What was made in the `/dev` of containers.
    nodes: Arc<nodes::Trees>,
    /// Metadata is shown by one at a time.
    showing: Arc<Mutex<()>>,
    /// What saves time, and is missed by nobody.
    kept: Arc<kept::Keeper>,
}

impl Engine {
    /// An engine for the containers of one device.
    #[must_use]
    pub fn new(paths: Paths, instance: Instance) -> Self {
        Self {
            paths,
            instance,
            read_only: false,
            networks: Arc::default(),
            nodes: Arc::default(),
            showing: Arc::default(),
            kept: Arc::default(),
        }
    }

    /// The same for a storage that cannot be written: what containers write goes to memory, and ends with the boot.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// Where things lie.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Ends what an earlier life has left: groups, and volumes below the runtime directory. For the start of PID 1.
    ///
    /// # Errors
    /// Something stays; the rest is gone.
    pub fn sweep(&self) -> Result<(), EngineError> {
        let groups = self.instance.sweep(PATIENCE).map_err(EngineError::from);
        let cleared = ["volumes", "boot", "network", "dev"].map(|dir| mounts::clear(&self.paths.run.join(dir)));
        cleared.into_iter().fold(groups.and(exports::sweep(&self.paths)), Result::and).and(self.bring_home())
    }

    /// Mounts all volumes of a container of the revision `id`. What was mounted for it before is unmounted first.
    ///
    /// # Errors
    /// [`EngineError`] names the volume or the path. Nothing of the container is mounted then.
    pub fn mount(&self, assembled: &Assembled, id: &RevisionId, keys: &VolumeKeys) -> Result<Mounts, EngineError> {
        let name = assembled.name.as_str();
        let mut kept = self.kept.take(name);
        self.unmount(name)?;
        // What another generation of it has left in memory is of no use to this one.
        let key = generation(&assembled.name, id, keys);
        mounts::clear_others(&self.paths.boot(name), &key)?;
        let mut frozen = Vec::new();
        for volume in &assembled.volumes {
            match self.mount_one(&assembled.name, volume, id, keys, &mut kept) {
                Ok(one) => frozen.extend(one),
                Err(error) => {
                    // The first error is the one that explains; what this leaves is told by the next call.
                    let _ = mounts::clear(&self.paths.volumes(name));
                    return Err(error);
                }
            }
        }
        let overlay = assembled.overlay.then(|| self.paths.trail(id).join("_config").join(name));
        Ok(Mounts { overlay, frozen })
    }

    fn mount_one(
        &self,
        owner: &ContainerName,
        volume: &Volume,
        id: &RevisionId,
        keys: &VolumeKeys,
        kept: &mut Vec<Kept>,
    ) -> Result<Option<Frozen>, EngineError> {
        let Volume { name, what } = volume;
        let place = self.paths.volumes(owner.as_str()).join(name);
        let file = self.paths.trail(id).join(owner.as_str()).join(name);
        match what {
            What::Image(kind) => {
                mounts::make_dir(&place)?;
                kept::mount(kept, &file, *kind, &place)?;
            }
            What::Copy => mounts::copy(&file, &place)?,
            What::Tree => mounts::bind(&file, &place, true)?,
            What::Storage { persistence, disk } => {
                let base = match disk {
                    Some(disk) => self.paths.storage.join("pv/volume-disk").join(disk),
                    None => self.paths.storage.join("disks"),
                };
                let kept = || self.paths.boot(owner.as_str()).join(generation(owner, id, keys)).join(name);
                let dir = match persistence {
                    Persistence::Boot if disk.is_some() && !self.read_only => base.join("boot"),
                    Persistence::Boot => {
                        mounts::tmpfs(&kept())?;
                        mounts::bind(&kept(), &place, false)?;
                        return Ok(None);
                    }
                    Persistence::Permanent => base.join("perm"),
                    // A trail that knows no keys was made by other tools: there the revision is the key.
                    Persistence::Revision => base.join("rev").join(keys.get(owner).unwrap_or(id).as_str()),
                };
                let dir = dir.join(owner.as_str()).join(name);
                if self.read_only {
                    let frozen = Frozen::new(place, dir, kept());
                    frozen.mount()?;
                    return Ok(Some(frozen));
                }
                if *persistence == Persistence::Boot && !kept().is_dir() {
                    // What is there is of an earlier boot, or of another generation of the container.
                    mounts::discard(&self.paths.storage, &dir)?;
                    mounts::make_dir(&kept())?;
                }
                mounts::make_dir(&dir)?;
                mounts::bind(&dir, &place, false)?;
            }
        }
        Ok(None)
    }

    /// Keeps the images of a container, mounted from the revision `id`, for its next [`mount`](Self::mount). For a container
    /// that leaves and comes back at once.
    pub fn keep_images(&self, assembled: &Assembled, id: &RevisionId) {
        let name = assembled.name.as_str();
        for Volume { name: volume, what } in &assembled.volumes {
            let What::Image(kind) = what else { continue };
            let (file, place) = (self.paths.trail(id).join(name).join(volume), self.paths.volumes(name).join(volume));
            Kept::of(name, &file, *kind, &place).into_iter().for_each(|kept| self.kept.keep(kept));
        }
    }

    /// Starts the program of a container whose volumes are mounted.
    ///
    /// # Errors
    /// [`EngineError::NoProgram`], or what could not be prepared. No process and no group is left then.
    pub fn start(&self, assembled: &Assembled, mounts: &Mounts) -> Result<Running, EngineError> {
        Ok(self.begin(assembled, mounts, false)?.0)
    }

    /// The same up to the moment at which it is in its group and its namespaces. There it waits, before anything else, until
    /// it is let go. `None` where it has failed before.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn hold(&self, assembled: &Assembled, mounts: &Mounts) -> Result<(Running, Option<Held>), EngineError> {
        self.begin(assembled, mounts, true)
    }

    fn begin(
        &self,
        assembled: &Assembled,
        mounts: &Mounts,
        hold: bool,
    ) -> Result<(Running, Option<Held>), EngineError> {
        let name = assembled.name.as_str();
        let program = assembled.program.as_ref().ok_or_else(|| EngineError::NoProgram(name.to_owned()))?;
        let mut group = self.instance.create(name)?;
        let mut missed = Vec::new();
        match self.start_in(&mut group, assembled, program, mounts, hold, &mut missed) {
            Ok((Spawned { pid, pidfd, log, error, console }, held)) => {
                Ok((Running { pid, pidfd, log, error, console, group, missed }, held))
            }
            Err(error) => {
                let _ = group.end(PATIENCE);
                let _ = self.disconnect(name);
                let _ = self.unwire(name);
                let _ = self.drop_nodes(name);
                Err(error)
            }
        }
    }

    fn start_in(
        &self,
        group: &mut Group,
        assembled: &Assembled,
        program: &Program,
        mounts: &Mounts,
        hold: bool,
        missed: &mut Vec<String>,
    ) -> Result<(Spawned, Option<Held>), EngineError> {
        *missed = limit(group, &program.settings)?;
        restrict(group, &program.devices, program.launch.dev.is_some())?;
        if program.divides {
            group.divide()?;
        }
        for dir in &program.dirs {
            self.paths.plain(dir, true)?;
        }
        mounts::make_dir(&self.paths.control(assembled.name.as_str()))?;
        self.show_metadata(assembled)?;
        let mut launch = launch::complete(program, &self.paths, assembled.name.as_str(), mounts, group)?;
        if assembled.network.is_some() {
            launch::name(&mut launch, &self.paths, &self.network_files(assembled)?)?;
        }
        let nodes = self.make_nodes(assembled.name.as_str(), program)?;
        launch.nodes = nodes.as_deref().map(launch::text).transpose()?;
        exports::prepare(&launch, assembled.name.as_str())?;
        if let Some(writable) = &launch.root.writable {
            image::check_upper(Path::new(&writable.upper), Path::new(&writable.work)).map_err(EngineError::Upper)?;
        }
        let network = assembled.network.as_ref();
        if network.is_none() && program.wires.is_empty() && !hold {
            return Ok((spawn(&launch, group.open()?.as_fd())?, None));
        }
        network.map_or(Ok(()), |network| self.prepare(network))?;
        let (spawned, held) = spawn_held(&launch, group.open()?.as_fd())?;
        let Some(held) = held else { return Ok((spawned, None)) };
        network.map_or(Ok(()), |network| self.connect(assembled.name.as_str(), network, &spawned))?;
        self.wire(assembled.name.as_str(), &program.wires, &spawned)?;
        if hold {
            return Ok((spawned, Some(held)));
        }
        held.release()?;
        Ok((spawned, None))
    }

    /// Starts another program in a container that runs, as the container's own is: what the revision says of user, rights,
    /// limits, variables and directory holds for it, too.
    ///
    /// # Errors
    /// [`EngineError::NoProgram`], or what could not be prepared. No process is left then.
    pub fn enter(
        &self,
        assembled: &Assembled,
        group: &Group,
        init: (Pid, &OwnedFd),
        wanted: Wanted,
        streams: Streams,
    ) -> Result<Entered, EngineError> {
        let program = assembled.program.as_ref();
        let program = program.ok_or_else(|| EngineError::NoProgram(assembled.name.as_str().to_owned()))?;
        let mut process = program.launch.process.clone();
        (process.argv, process.output, process.hooks) = (wanted.argv, Output::Log, Vec::new());
        for (name, value) in wanted.env.iter().filter_map(|one| one.split_once('=')) {
            process.env.retain(|(known, _)| known != name);
            process.env.push((name.to_owned(), value.to_owned()));
        }
        let cgroups = group.joined().map(launch::text).collect::<Result<_, _>>()?;
        let entry = Entry { cgroups, process, terminal: wanted.terminal, user: false };
        Ok(enter(&entry, group, (init.0, init.1.as_fd()), streams)?)
    }

    /// Asks the first process of a container to end. One that has ended was asked.
    ///
    /// # Errors
    /// The kernel refuses the signal.
    pub fn terminate(&self, assembled: &Assembled, running: &Running) -> Result<(), EngineError> {
        halt::ask(running.pid, &running.pidfd, assembled.halt())?;
        Ok(())
    }

    /// Kills every process of a container. Where there is none, nothing is to be done.
    ///
    /// # Errors
    /// The group is there and cannot be killed.
    pub fn kill(&self, name: &str) -> Result<(), EngineError> {
        let group = self.instance.group(name)?;
        match group.kill() {
            Err(_) if !group.exists() => Ok(()),
            other => Ok(other?),
        }
    }

    /// Unmounts all volumes of a container and withdraws what it exports, after ending and removing its group. What is
    /// busy is detached.
    ///
    /// # Errors
    /// A process or a mount stays.
    pub fn unmount(&self, name: &str) -> Result<(), EngineError> {
        self.instance.group(name)?.end(PATIENCE)?;
        // What fails in one place leaves nothing in the others.
        let (left, withdrawn) = (self.disconnect(name), exports::withdraw(&self.paths, name));
        let (home, dropped) = (self.unwire(name), self.drop_nodes(name));
        mounts::clear(&self.paths.volumes(name))?;
        withdrawn?;
        dropped?;
        left.and(home)
    }

    /// Gives up what a container has kept in memory since the boot, and the places of what it exports: it is no longer
    /// part of what runs.
    ///
    /// # Errors
    /// A mount cannot be taken away.
    pub fn forget(&self, name: &str) -> Result<(), EngineError> {
        drop(self.kept.take(name));
        exports::forget(&self.paths, name)?;
        mounts::clear(&self.paths.boot(name))
    }
}

/// Sets all limits, and gives the keys of those that a container can do without and has to.
fn limit(group: &Group, settings: &[GroupSetting]) -> Result<Vec<String>, EngineError> {
    let limits: Vec<_> = settings.iter().filter_map(GroupSetting::limit).cloned().collect();
    let mut missed = Vec::new();
    for GroupSetting { key, optional, setting } in settings {
        let wrong = |why| EngineError::Setting { key: key.clone(), why };
        let there = || match setting {
            Setting::Limit(limit) => group.has_limit(limit, &limits),
            Setting::File(version, file, _) => group.has_file(*version, file),
        };
        if *optional && !there().map_err(wrong)? {
            missed.push(key.clone());
            continue;
        }
        let set = match setting {
            Setting::Limit(limit) => group.limit(limit, &limits),
            Setting::File(version, file, value) => group.set(*version, file, value),
        };
        set.map_err(wrong)?;
    }
    missed.dedup();
    Ok(missed)
}

/// Gives the group the device nodes that the configuration leaves it. With a `/dev` of its own, its nodes are made in
/// there, by the stage: it may make those, which is not to say that anybody may open them.
fn restrict(group: &Group, devices: &DeviceAccess, own_dev: bool) -> Result<(), EngineError> {
    let DeviceAccess::Rules(rules) = devices else { return Ok(()) };
    let rules = rules.iter().map(|(allow, rule)| DeviceRule { allow: *allow, nodes: nodes(*rule) });
    let own = container::launch::DEV_NODES.iter().filter(|_| own_dev).map(|(_, major, minor)| {
        let (major, minor) = (Some(*major), Some(*minor));
        let access = Access { read: false, write: false, mknod: true };
        DeviceRule { allow: true, nodes: Nodes::Some { kind: NodeKind::Character, major, minor, access } }
    });
    group.restrict(&rules.chain(own).collect::<Vec<_>>()).map_err(EngineError::Devices)
}

/// The engine's word for what a line is about.
fn nodes(rule: lxc::DeviceRule) -> Nodes {
    let lxc::DeviceRule::Nodes { kind, major, minor, access } = rule else { return Nodes::All };
    let kind = match kind {
        lxc::DeviceKind::Block => NodeKind::Block,
        lxc::DeviceKind::Character => NodeKind::Character,
    };
    let access = Access { read: access.read, write: access.write, mknod: access.mknod };
    Nodes::Some { kind, major, minor, access }
}

/// The directory name of the container as it is: the revision that changed it last. A slash stands behind `locals` only,
/// so no two revisions share a name.
fn generation(owner: &ContainerName, id: &RevisionId, keys: &VolumeKeys) -> String {
    keys.get(owner).unwrap_or(id).as_str().replace('/', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_configuration_is_found_where_it_lies_here() {
        let paths = Paths::under(Path::new("/tmp/x"));
        for (path, real) in [
            ("/volumes/web/a/b", "/tmp/x/run/pantavisor/pv/volumes/web/a/b"),
            ("/storage", "/tmp/x/storage/"),
            ("/storage/x", "/tmp/x/storage/x"),
            ("/storages", "/storages"),
            ("/", "/"),
            ("/dev/", "/dev/"),
        ] {
            assert_eq!(paths.real(path).to_str(), Some(real));
        }
    }
}
