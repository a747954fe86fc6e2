//! From an image to the two documents that a device reads.
//!
//! | template | |
//! |---|---|
//! | `confined` | the lines of the other one with what Docker allows at most: its capabilities, the device nodes of every container, the user that the image names, no new privileges, a filter of system calls, `/proc` and `/sys` without what tells of the device or changes it, a bounded number of processes; the network is the device's, without raw sockets, and so are the users unless they are asked for |
//! |   ‥ of a system | if the first program is an init: what that needs besides, and nothing of the device's: its own cgroups to divide, and to reboot and power off itself |
//! | `builtin-lxc-docker` | line for line what existing tools write: root with every capability, and the device's `/sys` |
//!
//! Both are read back as a device reads them before they are written, so no value of an image can add a line of its own
//! or make a container that is refused.

use std::collections::BTreeMap;

use formats::group::Goal;
use formats::json::Json;
use formats::lxc::{
    AutoMount, Capability, Command, Config, Create, Item, MountEntry, MountOption, Namespace, Rootfs, Signal,
};
use formats::path::ContainerName;
use formats::volume::Persistence;

use super::user::{program, user};
use super::{CONFIG, FILTER, Options, ROOT, line, network, tasks, users};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::seccomp;

/// What a container can have to reach.
pub const GOALS: &[&str] = Goal::WORDS;

/// The storage that takes all changes of a container outside of its volumes.
const OVERLAY: &str = "lxc-overlay";

pub use formats::lxc::rights::CONFINED as KEPT;

/// What a whole system keeps besides. In processes of its own a reboot is the end of the container; the other calls that
/// this capability is for, those that start another kernel, its filter refuses.
const SYSTEM: Capability = Capability::SysBoot;

/// What systemd calls it that nobody logs in at the console: `pvcontrol exec` enters, and asks for no password.
const NO_GETTY: (&str, &str) = ("SYSTEMD_GETTY_AUTO", "0");

/// How a container is started and confined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Template {
    /// As Docker would, and a bit less.
    #[default]
    Confined,
    /// As existing tools do.
    BuiltinLxcDocker,
}

impl Template {
    /// All names.
    pub const WORDS: &'static [&'static str] = &["confined", "builtin-lxc-docker"];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confined => "confined",
            Self::BuiltinLxcDocker => "builtin-lxc-docker",
        }
    }

    /// The template of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "confined" => Some(Self::Confined),
            "builtin-lxc-docker" => Some(Self::BuiltinLxcDocker),
            _ => None,
        }
    }
}

/// A writable directory of a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Volume {
    /// Its path in the container, or `lxc-overlay`.
    pub path: String,
    persistence: Persistence,
    disk: Option<String>,
}

impl Volume {
    /// Reads `PATH:PERSISTENCE[@DISK]`.
    ///
    /// # Errors
    /// It has another form.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::user(format!("the volume {text:?}: {why}"))
                .hint("write PATH:PERSISTENCE, like /var/lib/web:permanent or lxc-overlay:revision")
        };
        let (path, kept) = text.rsplit_once(':').ok_or_else(|| wrong("the persistence is missing"))?;
        let (word, disk) = kept.split_once('@').map_or((kept, None), |(word, disk)| (word, Some(disk)));
        let persistence = Persistence::parse(word).ok_or_else(|| wrong("it lives permanent, revision or boot"))?;
        if path != OVERLAY {
            check_path(path).map_err(|why| wrong(&why))?;
        }
        if disk.is_some_and(str::is_empty) {
            return Err(wrong("the disk has no name"));
        }
        Ok(Self { path: path.to_owned(), persistence, disk: disk.map(str::to_owned) })
    }

    /// `PERSISTENCE[@DISK]`
    #[must_use]
    pub fn persistence(&self) -> String {
        let disk = self.disk.as_ref().map(|disk| format!("@{disk}")).unwrap_or_default();
        format!("{}{disk}", self.persistence)
    }

    fn of_image(path: &str) -> Result<Self> {
        check_path(path).map_err(|why| Error::user(format!("the image's volume {path:?}: {why}")))?;
        Ok(Self { path: path.to_owned(), persistence: Persistence::Permanent, disk: None })
    }

    /// The path without slashes at its ends.
    fn inside(&self) -> &str {
        self.path.trim_matches('/')
    }

    /// The name of its directory on the device.
    fn directory(&self) -> String {
        if self.path == OVERLAY {
            return OVERLAY.to_owned();
        }
        format!("docker--{}", self.inside().replace('/', "-"))
    }

    fn to_json(&self) -> Json {
        let json = Json::object().with("persistence", self.persistence.as_str());
        match &self.disk {
            Some(disk) => json.with("disk", disk.as_str()),
            None => json,
        }
    }
}

fn check_path(path: &str) -> std::result::Result<(), String> {
    let inside = path.strip_prefix('/').ok_or("a path begins with `/`")?.trim_end_matches('/');
    formats::path::relative(inside).map_err(|why| why.to_string())?;
    if inside.contains(|c: char| c.is_whitespace() || c == '\\') { Err("no blanks, please".into()) } else { Ok(()) }
}

/// The documents of a container.
pub(super) struct Rendered {
    /// `lxc.container.conf`; none for a container that only has volumes.
    pub(super) config: Option<String>,
    /// The filter of system calls that it names.
    pub(super) filter: Option<Vec<u8>>,
    /// `run.json`
    pub(super) run: Json,
    /// What a person should hear about.
    pub(super) warnings: Vec<String>,
}

/// Directories that every container needs to be started, made where an image has none.
pub(super) fn complete(image: &mut Image) -> Result<()> {
    let failed = |wrong: crate::image::flatten::FlattenError| Error::user(wrong.to_string());
    // A helper of builders on other machines, which no device runs.
    image.tree.remove_file(b"usr/bin/qemu-arm-static");
    for path in ["proc", "sys", "dev", "tmp", "var/tmp", "run", "var/run"] {
        image.tree.ensure_directory(path.as_bytes()).map_err(failed)?;
    }
    Ok(())
}

/// The documents of a container made of an image.
/// `first` is the device's number for root of the container, if its users are its own.
pub(super) fn render(name: &ContainerName, options: &Options, first: Option<u32>, image: &Image) -> Result<Rendered> {
    let volumes = volumes(options, image)?;
    let starts = options.status_goal.as_deref() != Some(Goal::Mounted.as_str());
    let (mut warnings, mut filter) = (Vec::new(), None);
    let config = match (starts, options.template) {
        (false, _) => None,
        (true, Template::Confined) => {
            let kept = options.grants.kept(&kept(image, is_system(image)?, options.network.pool.is_none())?);
            filter = calls(image, &kept, &mut warnings)?;
            Some(confined(name, options, image, &volumes, kept, (filter.is_some(), first), &mut warnings)?)
        }
        (true, Template::BuiltinLxcDocker) if options.grants.is_narrow() => {
            return Err(Error::user("a container of this template has all devices and capabilities")
                .hint("--device, --cap and --mount are for `--template confined`"));
        }
        (true, Template::BuiltinLxcDocker) if options.tasks.is_some() => {
            return Err(Error::user("a container of this template has as many processes as the device can")
                .hint("--tasks is for `--template confined`"));
        }
        (true, Template::BuiltinLxcDocker) => Some(docker(name, options, image, &volumes, &mut warnings)?),
    };
    if let Some(text) = &config {
        Config::parse(text.as_bytes()).map_err(|error| {
            Error::user(format!("the container would be refused by a device: {CONFIG}: {error}"))
                .hint("the value comes from the image (or from --env); build the image without it")
        })?;
    }
    let run = run(name, options, &volumes, starts);
    network::check(name, &run)?;
    Ok(Rendered { config, filter, run, warnings })
}

/// The volumes of the image and those that were named, by path; the overlay is not among them unless it was named.
fn volumes(options: &Options, image: &Image) -> Result<Vec<Volume>> {
    let wrong = |why| Error::user(format!("the image's configuration: {why}"));
    let mut found: BTreeMap<String, Volume> = BTreeMap::new();
    for path in image.config.names("Volumes").map_err(wrong)? {
        let volume = Volume::of_image(path)?;
        found.insert(volume.inside().to_owned(), volume);
    }
    for volume in &options.volumes {
        found.insert(volume.inside().to_owned(), volume.clone());
    }
    let mut directories = BTreeMap::new();
    for volume in found.values() {
        if let Some(other) = directories.insert(volume.directory(), &volume.path) {
            let what = format!("the volumes {other} and {} would be one directory on the device", volume.path);
            return Err(Error::user(what).hint("they differ in nothing but `/` and `-`; rename one in the image"));
        }
    }
    Ok(found.into_values().collect())
}

/// The variables of the image.
fn env(image: &Image) -> Result<Vec<(String, String)>> {
    let list = image.config.list("Env").map_err(|why| Error::user(format!("the image's configuration: {why}")))?;
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty())?;
        Some((name.to_owned(), value.to_owned()))
    };
    list.iter()
        .map(|text| pair(text).ok_or_else(|| Error::user(format!("the image's variable {text:?} has no name"))))
        .collect()
}

fn text(image: &Image, member: &str) -> Result<String> {
    let text = image.config.text(member).map_err(|why| Error::user(format!("the image's configuration: {why}")))?;
    Ok(text.to_owned())
}

/// What the program of an image keeps. Whoever is not root has no capability in Docker either; what is kept for it here,
/// it would have from the start. In the network of the device, raw sockets would hear and forge what is everybody's.
fn kept(image: &Image, system: bool, of_the_device: bool) -> Result<Vec<Capability>> {
    let mut kept = match (user(image)?.uid, system) {
        (0, true) => [KEPT, &[SYSTEM]].concat(),
        (0, false) => KEPT.to_vec(),
        _ => Vec::new(),
    };
    kept.retain(|one| !of_the_device || *one != Capability::NetRaw);
    Ok(kept)
}

/// Whether it starts a whole system. Only where calls can be filtered: what a system keeps could else start another kernel.
fn is_system(image: &Image) -> Result<bool> {
    let words = line::words(&image.config)?;
    let init = words.first().is_some_and(|first| formats::lxc::is_init(first));
    Ok(init && user(image)?.uid == 0 && seccomp::arch(&image.config.platform.architecture).is_some())
}

/// The filter for what an image runs on.
fn calls(image: &Image, kept: &[Capability], warnings: &mut Vec<String>) -> Result<Option<Vec<u8>>> {
    let architecture = &image.config.platform.architecture;
    let Some(arch) = seccomp::arch(architecture) else {
        let why = "pvr has no table of its system calls, and the container may make all of them";
        warnings.push(format!("the image is for {architecture:?}: {why}"));
        return Ok(None);
    };
    let filter = seccomp::confined(arch, kept).map_err(|why| Error::internal(why.to_string()))?;
    Ok(Some(filter.to_bytes()))
}

fn confined(
    name: &ContainerName,
    options: &Options,
    image: &Image,
    volumes: &[Volume],
    kept: Vec<Capability>,
    (filtered, first): (bool, Option<u32>),
    warnings: &mut Vec<String>,
) -> Result<String> {
    let (user, system) = (user(image)?, kept.contains(&Capability::SysBoot));
    let mut env = env(image)?;
    if system && !env.iter().any(|(name, _)| name == NO_GETTY.0) {
        env.push((NO_GETTY.0.into(), NO_GETTY.1.into()));
    }
    if let (Some(home), None) = (&user.home, env.iter().find(|(name, _)| name == "HOME")) {
        env.push(("HOME".into(), home.clone()));
    }
    for (name, value) in &options.env {
        env.retain(|(other, _)| other != name);
        env.push((name.clone(), value.clone()));
    }
    let mut words = line::words(&image.config)?;
    match words.first_mut() {
        Some(first) => match program(image, first, &env) {
            Some(full) => *first = full,
            None => warnings.push(format!("{first:?}, which it starts, is nowhere along the PATH of the image")),
        },
        None => return Err(Error::internal("a command without words")),
    }
    let command = Command::new(words.clone()).ok_or_else(|| line::unwritable(&words.join(" ")))?;
    let mount = |source: String, target: &str, fstype: &str, create, options: &[&str]| {
        let mut list: Vec<_> = options.iter().map(|option| MountOption::Kernel((*option).to_owned())).collect();
        list.push(MountOption::Create(create));
        MountEntry { source, target: target.to_owned(), fstype: fstype.to_owned(), options: list }
    };
    let mut items = vec![Item::TtyMax(8), Item::PtyMax(1024)];
    items.extend(options.grants.rules());
    items.extend(tasks::lines(options.tasks));
    items.extend([
        Item::Rootfs(Rootfs {
            lowers: vec![format!("/volumes/{name}/{ROOT}")],
            upper: Some(format!("/volumes/{name}/{OVERLAY}/upper")),
        }),
        Item::InitCmd(command),
    ]);
    let cwd = text(image, "WorkingDir")?;
    items.extend((!cwd.is_empty()).then_some(Item::InitCwd(cwd)));
    if (user.uid, user.gid) != (0, 0) {
        items.extend([Item::InitUid(user.uid), Item::InitGid(user.gid)]);
    }
    items.extend(env.into_iter().map(|(name, value)| Item::Environment { name, value }));
    let mut shared = vec![];
    shared.extend(first.is_none().then_some(Namespace::User));
    shared.extend(options.network.pool.is_none().then_some(Namespace::Net));
    // Without the line, everything is its own.
    items.extend((!shared.is_empty()).then_some(Item::NamespaceKeep(shared)));
    if let Some(first) = first {
        items.extend(users::lines(first));
        warnings.extend(users::warnings(options, image)?);
    }
    let mut auto = vec![AutoMount::ProcMixed, AutoMount::SysRo];
    // As the root of all it sees.
    auto.extend(system.then_some(AutoMount::CgroupRw));
    items.push(Item::MountAuto(auto));
    items.extend(options.grants.mounts());
    let mut resolver = mount("/etc/resolv.conf".into(), "etc/resolv.conf", "none", Create::File, &["bind", "ro"]);
    resolver.options.push(MountOption::Optional);
    items.push(Item::Mount(resolver));
    let run = ["rw", "nosuid", "nodev", "relatime", "mode=755"];
    items.push(Item::Mount(mount("tmpfs".into(), "run", "tmpfs", Create::Dir, &run)));
    if system {
        // Debian's systemd mounts it, and does not go on without.
        let lock = ["rw", "nosuid", "nodev", "noexec", "relatime", "mode=1777", "size=5m"];
        items.push(Item::Mount(mount("tmpfs".into(), "run/lock", "tmpfs", Create::Dir, &lock)));
    }
    for volume in volumes.iter().filter(|volume| volume.path != OVERLAY) {
        let source = format!("/volumes/{name}/{}", volume.directory());
        items.push(Item::Mount(mount(source, volume.inside(), "none", Create::Dir, &["bind", "rw"])));
    }
    if let (true, Some(volume)) = (user.uid != 0, volumes.iter().find(|volume| volume.path != OVERLAY)) {
        let (path, uid) = (&volume.path, user.uid);
        warnings.push(format!(
            "{path} is empty and root's on a new device, and the image runs as user {uid}: can it start?"
        ));
    }
    items.push(Item::CapKeep(kept));
    items.push(Item::NoNewPrivs(true));
    items.extend(filtered.then(|| Item::SeccompProfile(FILTER.to_owned())));
    let signal = text(image, "StopSignal")?;
    match Signal::parse(&signal) {
        Some(signal) => items.push(Item::SignalHalt(signal)),
        // A device finds out by itself what it waits for.
        None if signal.is_empty() => {}
        None => {
            warnings.push(format!("the image wants to be stopped by {signal:?}, which is no signal; it gets SIGTERM"))
        }
    }
    items.into_iter().collect::<Config>().to_text().map_err(|error| {
        Error::user(format!("the image cannot be a container: {CONFIG}: {error}"))
            .hint("the value comes from the image (or from --env); build the image without it")
    })
}

fn docker(
    name: &ContainerName,
    options: &Options,
    image: &Image,
    volumes: &[Volume],
    warnings: &mut Vec<String>,
) -> Result<String> {
    let mut lines = vec![
        "lxc.tty.max = 8".to_owned(),
        "lxc.pty.max = 1024".to_owned(),
        "lxc.cgroup.devices.allow = a".to_owned(),
        format!("lxc.rootfs.path = overlayfs:/volumes/{name}/{ROOT}:/volumes/{name}/{OVERLAY}/upper"),
        format!("lxc.init.cmd = {}", line::quoted(&line::words(&image.config)?)?),
    ];
    let cwd = text(image, "WorkingDir")?;
    lines.extend((!cwd.is_empty()).then(|| format!("lxc.init.cwd = {cwd}")));
    let pairs = env(image)?.into_iter().chain(options.env.iter().cloned());
    lines.extend(pairs.map(|(name, value)| format!("lxc.environment = {name}={value}")));
    lines.push("lxc.namespace.keep = user  net  ipc".to_owned());
    lines.push("lxc.mount.auto = proc  sys:rw  cgroup".to_owned());
    lines.extend(options.grants.wide.iter().map(|wide| wide.line().to_owned()));
    lines.extend([
        "lxc.mount.entry = /etc/resolv.conf etc/resolv.conf none bind,rw,create=file 0 0".to_owned(),
        "lxc.mount.entry = tmpfs run tmpfs rw,nodev,relatime,create=dir,mode=755 0 0".to_owned(),
    ]);
    for volume in volumes.iter().filter(|volume| volume.path != OVERLAY) {
        let (directory, inside) = (volume.directory(), volume.inside());
        lines.push(format!("lxc.mount.entry = /volumes/{name}/{directory} {inside} none bind,rw,create=dir 0 0"));
    }
    if let Some(line) = lines.iter().find(|line| line.contains(char::is_control)) {
        return Err(Error::user(format!("the image cannot be a container: {line:?} has a control character in it"))
            .hint("build the image without it"));
    }
    let user = text(image, "User")?;
    if !matches!(user.as_str(), "" | "0" | "root" | "0:0" | "root:root") {
        warnings.push(format!("the image wants to run as {user:?}; this template runs it as root"));
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// `run.json`, its members in the order of existing tools.
fn run(name: &ContainerName, options: &Options, volumes: &[Volume], starts: bool) -> Json {
    let mut run = Json::object().with("#spec", "service-manifest-run@1").with("name", name.as_str());
    if starts {
        run.set("config", CONFIG);
    }
    if !options.after.is_empty() {
        run.set("conditions", options.after.iter().map(|name| name.as_str().into()).collect::<Vec<Json>>());
    }
    let none = || Json::Array(Vec::new());
    run.set("drivers", Json::object().with("manual", none()).with("required", none()).with("optional", none()));
    for (member, value) in
        [("group", &options.group), ("restart_policy", &options.restart_policy), ("status_goal", &options.status_goal)]
    {
        if let Some(value) = value {
            run.set(member, value.as_str());
        }
    }
    options.network.run(&mut run);
    let mut storage = Json::object();
    for volume in volumes.iter().filter(|volume| volume.path != OVERLAY) {
        storage.set(&volume.directory(), volume.to_json());
    }
    let overlay = volumes.iter().find(|volume| volume.path == OVERLAY).map(Volume::to_json);
    storage.set(OVERLAY, overlay.unwrap_or_else(|| Json::object().with("persistence", Persistence::Boot.as_str())));
    run.set("storage", storage);
    if starts {
        run.set("type", "lxc");
    }
    run.with("root-volume", ROOT).with("volumes", none())
}
