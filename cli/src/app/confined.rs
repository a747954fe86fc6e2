//! The template `confined`: the lines of the other one with what Docker allows at most.
//!
//! Its capabilities, the device nodes of every container, the user that the image names, no new privileges, a filter of
//! system calls, `/proc` and `/sys` without what tells of the device or changes it, a bounded number of processes; the network
//! is the device's, without raw sockets, and so are the users unless they are asked for. If the first program is an init, it
//! has what that needs besides, and nothing of the device's: its own cgroups to divide, and to reboot and power off itself.

use formats::lxc::{
    AutoMount, Capability, Command, Config, Create, Item, MountEntry, MountOption, Namespace, Rootfs, Signal,
};
use formats::path::ContainerName;

use super::facts::Facts;
use super::imports::Imports;
use super::recipe::Recipe;
use super::template::{env, more_env, text};
use super::user::{program, user};
use super::volume::{OVERLAY, Volume};
use super::{CONFIG, FILTER, line, tasks, template, users};
use crate::error::{Error, Result};
use crate::seccomp;

pub use formats::lxc::rights::CONFINED as KEPT;

/// What a whole system keeps besides. In processes of its own a reboot is the end of the container; the other calls that
/// this capability is for, those that start another kernel, its filter refuses.
const SYSTEM: Capability = Capability::SysBoot;

/// What systemd calls it that nobody logs in at the console: `pvcontrol exec` enters, and asks for no password.
const NO_GETTY: (&str, &str) = ("SYSTEMD_GETTY_AUTO", "0");

/// The lines, and the filter of system calls that they name.
/// `first` is the device's number for root of the container, if its users are its own.
pub(super) fn lines(
    name: &ContainerName,
    recipe: &Recipe,
    first: Option<u32>,
    facts: &Facts<'_>,
    volumes: &[Volume],
    warnings: &mut Vec<String>,
) -> Result<(String, Option<Vec<u8>>)> {
    let mut kept = recipe.grants.kept(&kept(facts, is_system(facts)?, recipe.network.is_of_the_device())?);
    for word in recipe.args.list("PV_LXC_CAP_DROP") {
        let dropped = Capability::parse(&word.to_lowercase())
            .ok_or_else(|| Error::user(format!("PV_LXC_CAP_DROP: {word:?} is no capability like sys_time")))?;
        kept.retain(|one| *one != dropped);
    }
    let filter = calls(facts, &kept, warnings)?;
    let filtered = filter.is_some();
    Ok((configuration(name, recipe, facts, volumes, kept, (filtered, first), warnings)?, filter))
}

/// What the program of an image keeps. Whoever is not root has no capability in Docker either; what is kept for it here,
/// it would have from the start. In the network of the device, raw sockets would hear and forge what is everybody's.
fn kept(facts: &Facts<'_>, system: bool, of_the_device: bool) -> Result<Vec<Capability>> {
    let mut kept = match (user(facts)?.uid, system) {
        (0, true) => [KEPT, &[SYSTEM]].concat(),
        (0, false) => KEPT.to_vec(),
        _ => Vec::new(),
    };
    kept.retain(|one| !of_the_device || *one != Capability::NetRaw);
    Ok(kept)
}

/// Whether it starts a whole system. Only where calls can be filtered: what a system keeps could else start another kernel.
fn is_system(facts: &Facts<'_>) -> Result<bool> {
    let words = line::words(&facts.config)?;
    let init = words.first().is_some_and(|first| formats::lxc::is_init(first));
    Ok(init && user(facts)?.uid == 0 && seccomp::arch(&facts.config.platform.architecture).is_some())
}

/// The filter for what an image runs on.
fn calls(facts: &Facts<'_>, kept: &[Capability], warnings: &mut Vec<String>) -> Result<Option<Vec<u8>>> {
    let architecture = &facts.config.platform.architecture;
    let Some(arch) = seccomp::arch(architecture) else {
        let why = "pvr has no table of its system calls, and the container may make all of them";
        warnings.push(format!("the image is for {architecture:?}: {why}"));
        return Ok(None);
    };
    let filter = seccomp::confined(arch, kept).map_err(|why| Error::internal(why.to_string()))?;
    Ok(Some(filter.to_bytes()))
}

fn configuration(
    name: &ContainerName,
    recipe: &Recipe,
    facts: &Facts<'_>,
    volumes: &[Volume],
    kept: Vec<Capability>,
    (filtered, first): (bool, Option<u32>),
    warnings: &mut Vec<String>,
) -> Result<String> {
    let (user, system) = (user(facts)?, kept.contains(&Capability::SysBoot));
    let mut env = env(facts)?;
    if system && !env.iter().any(|(name, _)| name == NO_GETTY.0) {
        env.push((NO_GETTY.0.into(), NO_GETTY.1.into()));
    }
    if let (Some(home), None) = (&user.home, env.iter().find(|(name, _)| name == "HOME")) {
        env.push(("HOME".into(), home.clone()));
    }
    for (name, value) in more_env(recipe)? {
        env.retain(|(other, _)| *other != name);
        env.push((name, value));
    }
    let mut words = line::words(&facts.config)?;
    match words.first_mut() {
        Some(first) => match program(facts, first, &env) {
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
    let args = &recipe.args;
    let number = |name: &str, usual: u32| match args.text(name) {
        None => Ok(usual),
        Some(text) => text.parse().map_err(|_| Error::user(format!("{name}: {text:?} is no number"))),
    };
    let mut items = vec![Item::TtyMax(number("LXC_TTY_MAX", 8)?), Item::PtyMax(number("LXC_PTY_MAX", 1024)?)];
    if args.yes("PV_DEBUG_MODE") {
        items.extend(said("PV_DEBUG_MODE", &format!("lxc.log.file = /pv/logs/{name}.log"))?);
    }
    items.extend(recipe.grants.rules());
    items.extend(tasks::lines(recipe.tasks));
    for limit in args.list("PV_CONFINED_LIMITS") {
        items.extend(said("PV_CONFINED_LIMITS", &format!("lxc.cgroup2.{limit}"))?);
    }
    items.extend([
        Item::Rootfs(Rootfs {
            lowers: template::lowers(name, recipe),
            upper: Some(format!("/volumes/{name}/{OVERLAY}/upper")),
        }),
        Item::InitCmd(command),
    ]);
    let cwd = text(facts, "WorkingDir")?;
    items.extend((!cwd.is_empty()).then_some(Item::InitCwd(cwd)));
    if (user.uid, user.gid) != (0, 0) {
        items.extend([Item::InitUid(user.uid), Item::InitGid(user.gid)]);
    }
    items.extend(env.into_iter().map(|(name, value)| Item::Environment { name, value }));
    let mut shared = vec![];
    shared.extend(first.is_none().then_some(Namespace::User));
    shared.extend(recipe.network.is_of_the_device().then_some(Namespace::Net));
    // Without the line, everything is its own.
    items.extend((!shared.is_empty()).then_some(Item::NamespaceKeep(shared)));
    if recipe.network.alone {
        items.extend(said("PV_NETWORK_NONE", "lxc.net.0.type = empty")?);
    }
    if let Some(first) = first {
        items.extend(users::lines(first));
        warnings.extend(users::warnings(recipe, facts)?);
    }
    items.extend(args.yes("PV_LXC_DISABLE_CONSOLE").then_some(Item::NoConsole));
    let mut auto = vec![AutoMount::ProcMixed, AutoMount::SysRo];
    // As the root of all it sees.
    auto.extend(system.then_some(AutoMount::CgroupRw));
    items.push(Item::MountAuto(auto));
    items.extend(recipe.grants.mounts());
    let inside = |name: &str, usual: &str| {
        let path = args.text(name).unwrap_or_else(|| usual.to_owned());
        path.trim_matches('/').to_owned()
    };
    if !args.yes("PV_RESOLV_CONF_DISABLE") {
        let target = inside("PV_RESOLV_CONF_PATH", template::RESOLVER);
        let mut resolver = mount("/etc/resolv.conf".into(), &target, "none", Create::File, &["bind", "ro"]);
        resolver.options.push(MountOption::Optional);
        items.push(Item::Mount(resolver));
    }
    let run = ["rw", "nosuid", "nodev", "relatime", "mode=755"];
    if !args.yes("PV_RUN_TMPFS_DISABLE") {
        let target = inside("PV_RUN_TMPFS_PATH", template::RUN);
        items.push(Item::Mount(mount("tmpfs".into(), &target, "tmpfs", Create::Dir, &run)));
    }
    if system {
        // Debian's systemd mounts it, and does not go on without.
        let lock = ["rw", "nosuid", "nodev", "noexec", "relatime", "mode=1777", "size=5m"];
        items.push(Item::Mount(mount("tmpfs".into(), "run/lock", "tmpfs", Create::Dir, &lock)));
    }
    for line in volumes.iter().filter_map(|volume| volume.line(name)) {
        items.extend(said("the volumes", &format!("lxc.mount.entry = {line}"))?);
    }
    if let (true, Some(volume)) = (user.uid != 0, volumes.iter().find(|volume| !volume.is_overlay())) {
        let (path, uid) = (&volume.path, user.uid);
        warnings.push(format!(
            "{path} is empty and root's on a new device, and the image runs as user {uid}: can it start?"
        ));
    }
    items.push(Item::CapKeep(kept));
    items.push(Item::NoNewPrivs(true));
    items.extend(filtered.then(|| Item::SeccompProfile(FILTER.to_owned())));
    let signal = text(facts, "StopSignal")?;
    match Signal::parse(&signal) {
        Some(signal) => items.push(Item::SignalHalt(signal)),
        // A device finds out by itself what it waits for.
        None if signal.is_empty() => {}
        None => {
            warnings.push(format!("the image wants to be stopped by {signal:?}, which is no signal; it gets SIGTERM"))
        }
    }
    for entry in Imports::read(args)?.lines(name) {
        items.extend(said("an import", &format!("lxc.mount.entry = {entry}"))?);
    }
    if let Some(lines) = args.text("PV_LXC_EXTRA_CONF") {
        items.extend(said("PV_LXC_EXTRA_CONF", &lines)?);
    }
    items.into_iter().collect::<Config>().to_text().map_err(|error| {
        Error::user(format!("the image cannot be a container: {CONFIG}: {error}"))
            .hint("the value comes from the image (or from --env); build the image without it")
    })
}

/// Lines that an argument says.
fn said(whence: &str, lines: &str) -> Result<Vec<Item>> {
    let config = Config::parse(lines.as_bytes()).map_err(|error| {
        Error::user(format!("{whence}: a device would refuse it: {error}"))
            .hint("docs/lxc.md lists the keys and their values")
    })?;
    Ok(config.items().cloned().collect())
}
