//! From the lines of an LXC configuration to a launch.
//!
//! ```text
//!   lxc.rootfs.path = overlayfs:/volumes/web/root.squashfs:/volumes/web/lxc-overlay/upper
//!                               └ a layer                  └ upper; its work directory is beside it
//!   layers of the root, the top one first:  [files of `_config/web`]  lower 1  lower 2 …
//! ```
//!
//! What a configuration does not say is as LXC has it, so that configurations of existing devices mean the same here:
//! everything has a namespace of its own but users, all capabilities stay, `/dev` is made anew. What LXC leaves open
//! besides is hidden: see [`confine`](super::confine). The first program is `/sbin/init`.

use std::collections::{BTreeMap, BTreeSet};

use container::launch::{CgroupMode, Create, Dev, Launch, Mount, Output, Process, Rlimit, Root, Source, Writable};
use formats::lxc::wire::{self, Wire};
use formats::lxc::{self, AutoMount, Item, MountEntry, MountOption, Said};
use formats::mdev::Rules;
use formats::path::ContainerName;
use formats::run_json::Manifest;

use super::Settings;
use super::confine::{Confinement, Network};
use super::error::{AssemblyError, Refusal, Where};
use super::exports::{self, Exports};
use super::limits::{self, DeviceAccess, GroupSetting, setting, settle};
use super::volumes::{Volume, What};

/// What is started in a container. Its paths are those of configurations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// All but what is known only at run time: where volumes lie, v1 groups, the layer of `_config`, `/pantavisor`.
    pub launch: Launch,
    /// Whether it gets a group of its own to divide, below the one that its limits are set in. With users of its own it
    /// needs none: the limits are files of somebody else.
    pub divides: bool,
    /// What the whole container may use up.
    pub settings: Vec<GroupSetting>,
    /// Which device nodes it may use.
    pub devices: DeviceAccess,
    /// Which further nodes are in its `/dev`, of those that it may use.
    pub nodes: Rules,
    /// Directories within its storage that an overlay needs.
    pub dirs: Vec<String>,
    /// The signal that asks it to end, if it names one.
    pub halt: Option<u8>,
    /// Containers whose exports it needs: they have to be up first.
    pub after: BTreeSet<String>,
    /// What it has mounted of the exports of others.
    pub imports: Vec<Imported>,
    /// Its interfaces, if they are not those of pools.
    pub wires: Vec<Wire>,
}

/// A path of another container, and where it is in this one. Both are relative to the root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Imported {
    /// The other container.
    pub owner: ContainerName,
    /// The path there.
    pub path: String,
    /// The path here.
    pub target: String,
}

/// All that a configuration is read with.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    /// The file, by its key in the state.
    pub(super) document: &'a str,
    pub(super) manifest: &'a Manifest,
    pub(super) group: &'a str,
    /// The volumes of every container of the revision.
    pub(super) volumes: &'a BTreeMap<ContainerName, Vec<Volume>>,
    /// What every container of the revision exports.
    pub(super) exports: &'a Exports,
    pub(super) settings: &'a Settings,
}

/// What has been read so far.
struct Draft {
    rootfs: Option<lxc::Rootfs>,
    argv: Vec<String>,
    hooks: Vec<Vec<String>>,
    cwd: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    env: Vec<(String, String)>,
    autodev: bool,
    ptys: u32,
    dev_size: u64,
    limits: Vec<Rlimit>,
    sysctls: Vec<(String, String)>,
    oom_score_adj: i16,
    halt: Option<u8>,
    output: Output,
    mounts: Vec<Mount>,
    settings: Vec<GroupSetting>,
    devices: DeviceAccess,
    dirs: Vec<String>,
    uses: BTreeSet<String>,
    after: BTreeSet<String>,
    imports: Vec<Imported>,
    confinement: Confinement,
}

/// What LXC has where nothing is said.
const PTYS: u32 = 1024;
/// Far more than nodes and links take, in bytes; also what LXC gives to it.
const DEV_SIZE: u64 = 500_000;
/// What other container engines give to `/dev/shm`, in bytes. It is memory only once it is used.
const SHM: u64 = 64 << 20;
/// What the kernel and shells give to a first process that is told nothing.
const ENV: [(&str, &str); 3] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/"), ("TERM", "linux")];

pub(super) fn of(
    lines: &[Said],
    sight: &Sight<'_>,
    warnings: &mut Vec<String>,
) -> Result<(Program, BTreeSet<String>), AssemblyError> {
    let mut draft = Draft::new();
    for (name, value) in ENV {
        draft.set(name, value);
    }
    draft.set("container", &format!("pv-{}", sight.group));
    for line in lines {
        let sight = Sight { document: &line.document, ..*sight };
        draft.take(&line.item, &sight, warnings).map_err(|why| refused(line, why))?;
    }
    for (name, value) in &sight.manifest.env {
        draft.set(name, value);
    }
    draft.firmware(sight);
    let wires = draft.net(lines)?;
    let whole = |why| AssemblyError::refused(sight.document, Where::Whole, why);
    if sight.manifest.network.as_ref().is_some_and(|network| !network.interfaces.is_empty()) {
        if draft.confinement.network.is_some() {
            let why = "lxc.net and a pool in run.json exclude each other; remove the lines or the pool";
            return Err(whole(Refusal::Contradiction(why)));
        }
        draft.confinement.network = Some(Network::Pool);
    }
    let root = draft.root(sight).map_err(whole)?;
    let host = sight.manifest.network.as_ref().and_then(|network| network.hostname.as_deref());
    let confined = draft.confinement.settle(sight.manifest.name.as_str(), host, draft.uid).map_err(whole)?;
    for (name, _) in &mut draft.sysctls {
        if !confined.owns(name) {
            return Err(whole(Refusal::Sysctl(name.clone())));
        }
        *name = name.replace('.', "/");
    }
    warnings.extend(confined.warnings.iter().map(|warning| format!("{}: {warning}", sight.document)));
    // Its layers would be read with the users of the device.
    let is_overlay = |mount: &Mount| matches!(&mount.source, Source::Filesystem { fstype, .. } if fstype == "overlay");
    if confined.users.is_some() && draft.mounts.iter().any(is_overlay) {
        let why = "lxc.idmap and an overlay as a mount entry exclude each other; put the layers into lxc.rootfs.path";
        return Err(whole(Refusal::Contradiction(why)));
    }
    let exports = exports::of(sight.manifest);
    let imports = draft.mounts.iter().any(|mount| matches!(mount.source, Source::Import { .. }));
    let output = match draft.output {
        // Any other may, for all that is known, write a gigabyte as it is.
        Output::Log if draft.autodev && draft.argv.first().is_some_and(|first| lxc::is_init(first)) => Output::Terminal,
        output => output,
    };
    let launch = Launch {
        hostname: confined.hostname,
        namespaces: confined.namespaces,
        users: confined.users,
        cgroups: vec![],
        root,
        nodes: None,
        dev: draft.autodev.then_some(Dev { ptys: draft.ptys, shm: SHM, size: draft.dev_size }),
        proc: confined.proc,
        sys: confined.sys,
        cgroup: confined.cgroup,
        mounts: draft.mounts,
        showcase: (imports || !exports.is_empty()).then(|| "/exports".to_owned()),
        exports,
        masked: confined.masked,
        read_only: confined.read_only,
        hardened: vec![],
        sysctls: draft.sysctls,
        process: Process {
            argv: draft.argv,
            hooks: draft.hooks,
            env: draft.env,
            cwd: draft.cwd,
            uid: draft.uid,
            gid: draft.gid,
            groups: draft.groups,
            capabilities: confined.capabilities,
            no_new_privs: confined.no_new_privs,
            limits: draft.limits,
            seccomp: None,
            oom_score_adj: draft.oom_score_adj,
            output,
        },
    };
    // What only the stage would find out would be found out too late.
    launch.encode().map_err(|why| whole(Refusal::Launch(why)))?;
    let Draft { settings, devices, dirs, halt, uses, after, imports, .. } = draft;
    let settings = settle(settings).map_err(whole)?;
    let divides = launch.cgroup == Some(CgroupMode::Writable) && launch.users.is_none();
    let nodes = Rules::default();
    let program = Program { launch, divides, settings, devices, nodes, dirs, halt, after, imports, wires };
    Ok((program, uses))
}

impl Draft {
    fn new() -> Self {
        Self {
            rootfs: None,
            argv: vec!["/sbin/init".to_owned()],
            hooks: vec![],
            cwd: "/".to_owned(),
            uid: 0,
            gid: 0,
            groups: vec![],
            env: vec![],
            autodev: true,
            ptys: PTYS,
            dev_size: DEV_SIZE,
            limits: vec![],
            sysctls: vec![],
            oom_score_adj: 0,
            halt: None,
            output: Output::Log,
            mounts: vec![],
            settings: vec![],
            devices: DeviceAccess::All,
            dirs: vec![],
            uses: BTreeSet::new(),
            after: BTreeSet::new(),
            imports: vec![],
            confinement: Confinement::default(),
        }
    }

    /// Takes in one line. Where a key may stand once, the last one counts, as with LXC.
    fn take(&mut self, item: &Item, sight: &Sight<'_>, warnings: &mut Vec<String>) -> Result<(), Refusal> {
        match item {
            // Terminals that only a monitor between PID 1 and the container could lend. Every template wants some.
            Item::TtyMax(_) | Item::TtyMin(_) => {}
            Item::Ignored { why, .. } => warnings.push(format!("{}: {item}: has no effect: {why}", sight.document)),
            // Put in place, and taken back, before the lines came here.
            Item::Include(_) | Item::Fstab(_) | Item::Reset(_) => {}
            Item::PtyMax(count) => self.ptys = *count,
            Item::Devices { version: _, allow, rule } => self.devices.take(*allow, *rule),
            Item::Cgroup { version, file, value } => self.settings.extend(setting(*version, file, value)?),
            Item::Optional { version, file } => limits::optional(&mut self.settings, *version, file)?,
            Item::Rootfs(rootfs) => self.rootfs = Some(rootfs.clone()),
            Item::InitCmd(command) => self.argv = command.words().to_vec(),
            Item::InitCwd(dir) => self.cwd.clone_from(dir),
            Item::InitUid(uid) => self.uid = *uid,
            Item::InitGid(gid) => self.gid = *gid,
            Item::InitGroups(groups) => self.groups.extend(groups),
            Item::SignalHalt(signal) => self.halt = Some(signal.number()),
            Item::Environment { name, value } => self.set(name, value),
            Item::NamespaceKeep(list) => self.confinement.keep = Some(list.clone()),
            Item::NamespaceClone(list) => self.confinement.clone = Some(list.clone()),
            Item::IdMap(map) => self.confinement.idmaps.push(*map),
            Item::NoConsole => self.output = Output::Discard,
            Item::MountAuto(list) => list.iter().for_each(|one| self.auto(*one)),
            Item::Autodev(on) => self.autodev = *on,
            Item::AutodevSize(size) => self.dev_size = *size,
            Item::Mount(entry) => self.mount(entry, sight, warnings)?,
            Item::CapDrop(list) => self.confinement.drop.extend(list),
            Item::CapKeep(list) => self.confinement.retain.get_or_insert_default().extend(list),
            Item::NoNewPrivs(on) => self.confinement.no_new_privs = *on,
            // A file of its own, which is read where this is put together.
            Item::SeccompProfile(_) => {}
            // All lines of one interface are one thing.
            Item::Net { .. } => {}
            Item::UtsName(name) => self.confinement.hostname = Some(name.clone()),
            // Programs that the reference adds to every container. What they do, the engine does.
            Item::HookMount(path) if matches!(path.rsplit('/').next(), Some("export.sh" | "mdev.sh" | "remount")) => {}
            Item::HookMount(_) => return Err(Refusal::Hook),
            Item::HookStart(command) => {
                let told = [sight.manifest.name.as_str(), "lxc", "start"].map(str::to_owned);
                self.hooks.push([command.words(), &told].concat());
            }
            Item::Limit { resource, limits } => {
                let resource = limits::resource(*resource);
                self.limits.retain(|other| other.resource != resource);
                self.limits.push(Rlimit { resource, soft: limits.soft, hard: limits.hard });
            }
            Item::Sysctl { name, value } => {
                self.sysctls.retain(|(other, _)| other != name);
                self.sysctls.push((name.clone(), value.clone()));
            }
            Item::OomScoreAdj(score) => self.oom_score_adj = *score,
        }
        Ok(())
    }

    /// Sets a variable, over what was said before.
    fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(other, _)| other != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// What the lines about interfaces come to.
    fn net(&mut self, lines: &[Said]) -> Result<Vec<Wire>, AssemblyError> {
        let (network, wires) = match wire::of(lines)? {
            wire::Network::Unsaid => (None, Vec::new()),
            wire::Network::Shared => (Some(Network::Shared), Vec::new()),
            wire::Network::Empty => (Some(Network::Empty), Vec::new()),
            wire::Network::Wires(wires) => (Some(Network::Wires), wires),
        };
        self.confinement.network = network;
        Ok(wires)
    }

    fn auto(&mut self, what: AutoMount) {
        use container::launch::{ProcMode, SysMode};
        let confinement = &mut self.confinement;
        match what {
            AutoMount::Proc | AutoMount::ProcMixed => confinement.proc = Some(ProcMode::Mixed),
            AutoMount::ProcRw => confinement.proc = Some(ProcMode::Writable),
            AutoMount::Sys | AutoMount::SysMixed => confinement.sys = Some(SysMode::Mixed),
            AutoMount::SysRo => confinement.sys = Some(SysMode::ReadOnly),
            AutoMount::SysRw => confinement.sys = Some(SysMode::Writable),
            AutoMount::CgroupRo => confinement.cgroup = Some(CgroupMode::ReadOnly),
            AutoMount::Cgroup | AutoMount::CgroupMixed | AutoMount::CgroupRw => {
                confinement.cgroup = Some(CgroupMode::Writable);
            }
        }
    }

    fn mount(&mut self, entry: &MountEntry, sight: &Sight<'_>, warnings: &mut Vec<String>) -> Result<(), Refusal> {
        let options = entry.options.iter().map(|option| match option {
            MountOption::Create(lxc::Create::Dir) => "create=dir",
            MountOption::Create(lxc::Create::File) => "create=file",
            MountOption::Optional => "optional",
            MountOption::OriginMkdir => "origin=mkdir",
            MountOption::Relative => "relative",
            MountOption::Kernel(text) => text,
        });
        let mut mount =
            Mount::from_fstab(&entry.source, &entry.target, &entry.fstype, options).map_err(Refusal::Mount)?;
        match &mut mount.source {
            Source::Device { path, .. } if below(path, "/exports").is_some() => {
                let path = path.clone();
                let Some((source, owner)) = exports::import(&path, &mount, entry, &sight.manifest.name, sight.exports)
                else {
                    if !mount.optional {
                        return Err(Refusal::Exports(path));
                    }
                    let document = sight.document;
                    warnings.push(format!("{document}: {path}: is left out: no other container exports it"));
                    return Ok(());
                };
                // What is live comes and goes by itself.
                self.uses.extend((!matches!(source, Source::Import { live: true, .. })).then(|| owner.to_string()));
                self.after.extend((!mount.optional).then(|| owner.to_string()));
                let there = below(&path, "/exports").and_then(|rest| below(rest, owner.as_str())).unwrap_or_default();
                let (path, target) = (there.trim_matches('/').to_owned(), mount.target.trim_matches('/').to_owned());
                self.imports.push(Imported { owner: owner.clone(), path, target });
                mount.source = source;
            }
            Source::Device { path, recursive, create } => match sight.find(path) {
                // Who writes to a volume shall not choose what of the device is mounted.
                Ok(Some((owner, volume, rest))) => {
                    self.uses.extend(sight.other(owner));
                    let (dir, path) = (format!("/volumes/{owner}/{}", volume.name), rest.to_owned());
                    mount.source = Source::Within { dir, path, recursive: *recursive, create: *create };
                }
                Err(_) if mount.optional => {}
                found => found.map(drop)?,
            },
            Source::Filesystem { options, .. } => self.overlay(options, sight)?,
            Source::Within { .. } | Source::Inside { .. } | Source::Import { .. } => {}
        }
        self.mounts.push(mount);
        Ok(())
    }

    /// The directories that an overlay has: volumes, or the container's own storage where it writes.
    fn overlay(&mut self, options: &[String], sight: &Sight<'_>) -> Result<(), Refusal> {
        for option in options {
            match option.split_once('=') {
                Some(("lowerdir", list)) => {
                    for path in list.split(':') {
                        self.uses.extend(sight.layer(path)?);
                    }
                }
                Some(("upperdir" | "workdir", dir)) => self.dirs.push(sight.own_storage(dir)?),
                _ => {}
            }
        }
        Ok(())
    }

    /// The device's firmware and modules, where it has them and the container did not decline.
    fn firmware(&mut self, sight: &Sight<'_>) {
        if !sight.manifest.automodfw {
            return;
        }
        let modules = sight.settings.kernel.as_ref().map(|release| format!("/lib/modules/{release}"));
        for path in std::iter::once("/lib/firmware".to_owned()).chain(modules) {
            self.mounts.push(Mount {
                target: path.trim_start_matches('/').to_owned(),
                source: Source::Device { path, recursive: false, create: false },
                attributes: super::confine::READ_ONLY,
                create: Some(Create::Dir),
                optional: true,
            });
        }
    }

    fn root(&mut self, sight: &Sight<'_>) -> Result<Root, Refusal> {
        let own = &sight.manifest.name;
        // Nodes of an image work only for a container that brings its own `/dev`.
        let devices = !self.autodev;
        let Some(rootfs) = self.rootfs.take() else {
            let image = sight.manifest.root_volume.as_ref().ok_or(Refusal::NoRoot)?;
            return Ok(Root { layers: vec![format!("/volumes/{own}/{}", image.file)], writable: None, devices });
        };
        for lower in &rootfs.lowers {
            self.uses.extend(sight.layer(lower)?);
        }
        let Some(upper) = &rootfs.upper else {
            let storage =
                |path: &String| matches!(sight.find(path), Ok(Some((_, Volume { what: What::Storage { .. }, .. }, _))));
            if rootfs.lowers.iter().any(storage) {
                let why = "a root that is one directory cannot be written here; say overlayfs:LOWER:UPPER";
                return Err(Refusal::Contradiction(why));
            }
            return Ok(Root { layers: rootfs.lowers, writable: None, devices });
        };
        let upper = sight.own_storage(upper)?;
        let (parent, _) = upper.rsplit_once('/').ok_or_else(|| Refusal::Upper(upper.clone()))?;
        let work = sight.own_storage(&format!("{parent}/work"))?;
        if work == upper {
            return Err(Refusal::Upper(upper));
        }
        self.dirs.extend([upper.clone(), work.clone()]);
        Ok(Root { layers: rootfs.lowers, writable: Some(Writable { upper, work }), devices })
    }
}

impl Sight<'_> {
    /// The container whose volume a layer is, if it is another one.
    fn layer(&self, path: &str) -> Result<Option<String>, Refusal> {
        let (owner, _, _) = self.find(path)?.ok_or_else(|| Refusal::Layer(path.to_owned()))?;
        Ok(self.other(owner))
    }

    fn other(&self, owner: &ContainerName) -> Option<String> {
        (*owner != self.manifest.name).then(|| owner.to_string())
    }

    /// A directory within the container's own storage.
    fn own_storage(&self, path: &str) -> Result<String, Refusal> {
        match self.find(path)? {
            Some((owner, Volume { what: What::Storage { .. }, .. }, rest))
                if *owner == self.manifest.name && !rest.is_empty() =>
            {
                Ok(path.to_owned())
            }
            _ => Err(Refusal::Upper(path.to_owned())),
        }
    }

    /// Owner, volume and what follows it; `None` for a path that is not below `/volumes`.
    fn find<'p>(&self, path: &'p str) -> Result<Option<(&ContainerName, &Volume, &'p str)>, Refusal> {
        let Some(rest) = below(path, "/volumes") else { return Ok(None) };
        let found = self.volumes.iter().find_map(|(owner, volumes)| {
            let rest = below(rest, owner.as_str())?;
            volumes.iter().find_map(|volume| Some((owner, volume, below(rest, &volume.name)?)))
        });
        found.map(Some).ok_or_else(|| Refusal::NoVolume(path.to_owned()))
    }
}

/// What cannot be followed of a line.
pub(super) fn refused(line: &Said, why: Refusal) -> AssemblyError {
    let place = Where::Line { number: line.number, key: line.item.key() };
    AssemblyError::refused(&*line.document, place, why)
}

/// What is left of a path below a directory, without the slash; empty for the directory itself.
pub(crate) fn below<'p>(path: &'p str, dir: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(dir)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_below_a_directory_by_whole_names() {
        assert_eq!(below("/volumes/web/x", "/volumes"), Some("web/x"));
        assert_eq!(below("/volumes", "/volumes"), Some(""));
        assert_eq!(below("/volumes2/x", "/volumes"), None);
    }
}
