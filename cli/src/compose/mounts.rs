//! Volumes, files and `tmpfs` of a service: what it keeps, what comes with the revision, what is the device's.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::at::At;
use super::load::read;
use super::plan::{Container, Contents};
use super::report::{Level, Report};
use super::units::bytes;
use super::world::{Service, World, inside, is_below};
use crate::app::{HostMount, Volume};

/// The most files of one directory of the project.
const FILES_MAX: usize = 4096;

/// The size of a `tmpfs` that says none.
const TMPFS: u64 = 64 << 20;

/// Where files lie whose own place is hidden by a volume, or by a file system in memory.
const ASIDE: &str = "etc/compose";

/// Places that are file systems in memory, or the kernel's, in every container.
const HIDDEN: [&str; 4] = ["dev", "proc", "run", "sys"];

/// A mount, however it was written.
#[derive(Debug)]
pub(crate) struct Mount<'a> {
    at: At<'a>,
    kind: Kind,
    source: Option<String>,
    target: String,
    read_only: bool,
    size: Option<u64>,
    mode: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Volume,
    Bind,
    Tmpfs,
}

impl Mount<'_> {
    /// The named volume that it is.
    pub(crate) fn volume(&self) -> Option<(&str, &str)> {
        let source = self.source.as_deref().filter(|_| self.kind == Kind::Volume)?;
        Some((source, &self.target))
    }
}

/// The mounts of a service.
pub(crate) fn mounts<'a>(service: &Service<'a>, report: &mut Report) -> Vec<Mount<'a>> {
    let Some(at) = service.get("volumes") else { return Vec::new() };
    let mut found: Vec<Mount<'a>> = Vec::new();
    for item in at.items(report) {
        let mount = match item.node.text() {
            Some(text) => short(&item, text),
            None => long(&item, report),
        };
        match mount {
            Ok(mount) if found.iter().any(|other| other.target == mount.target) => {
                item.wrong(report, format!("something else is mounted at /{}", mount.target));
            }
            Ok(mount) => found.push(mount),
            Err(why) => item.wrong(report, why),
        }
    }
    found
}

/// `[SOURCE:]TARGET[:OPTION,…]`
fn short<'a>(at: &At<'a>, text: &str) -> Result<Mount<'a>, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return Err("write [SOURCE:]TARGET[:OPTION,…]".into()),
    };
    let is_path = source.is_some_and(|source| source.starts_with(['/', '.', '~']));
    let kind = if is_path { Kind::Bind } else { Kind::Volume };
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" | "z" | "Z" | "cached" | "delegated" | "consistent" | "nocopy" => {}
            other => return Err(format!("the option {other} is not known here")),
        }
    }
    let source = source.map(str::to_owned).filter(|source| !source.is_empty());
    Ok(Mount { at: at.clone(), kind, source, target: inside(target)?, read_only, size: None, mode: None })
}

fn long<'a>(at: &At<'a>, report: &mut Report) -> Result<Mount<'a>, String> {
    at.only(&["type", "source", "target", "read_only", "consistency", "bind", "volume", "tmpfs", "image"], report);
    let kind = match at.text_of("type", report) {
        Some("volume") | None => Kind::Volume,
        Some("bind") => Kind::Bind,
        Some("tmpfs") => Kind::Tmpfs,
        Some("image") => return Err("files of another image are not mounted: make them part of this one".into()),
        Some(other) => return Err(format!("a mount of the type {other} is not known here")),
    };
    let target = inside(at.text_of("target", report).ok_or("`target` is missing")?)?;
    let source = at.text_of("source", report).map(str::to_owned);
    if kind == Kind::Bind && source.is_none() {
        return Err("`source` is missing".into());
    }
    if let Some(bind) = at.get("bind") {
        let why = "mounts of the device are not followed";
        bind.report_keys(Level::NotMapped, &[("propagation", why), ("recursive", why)], report);
    }
    if let Some(volume) = at.get("volume") {
        volume.report_keys(
            Level::Error,
            &[("subpath", "a volume is mounted as a whole: use one for each part")],
            report,
        );
    }
    let tmpfs = at.get("tmpfs");
    let mode = tmpfs.as_ref().and_then(|tmpfs| tmpfs.text_of("mode", report)).map(str::to_owned);
    let size = match tmpfs.as_ref().and_then(|tmpfs| tmpfs.text_of("size", report)) {
        Some(text) => Some(bytes(text).ok_or_else(|| format!("{text:?} is no size like 64m"))?),
        None => None,
    };
    let read_only = at.flag_of("read_only", report).unwrap_or(false);
    Ok(Mount { at: at.clone(), kind, source: source.filter(|_| kind != Kind::Tmpfs), target, read_only, size, mode })
}

pub(crate) fn map<'a>(service: &Service<'a>, world: &mut World<'_>, container: &mut Container) {
    let mounts = mounts(service, &mut world.report);
    // What hides the files of the revision that lie below.
    let mut over: Vec<String> = HIDDEN.map(str::to_owned).to_vec();
    let mut files = BTreeMap::new();
    tmpfs(service, world, container, &mut over);
    for mount in &mounts {
        match mount.kind {
            Kind::Tmpfs => memory(mount, world, container, &mut over),
            Kind::Volume => volume(service, mount, world, container, &mut over),
            Kind::Bind => bind(service, mount, world, container, &mut over, &mut files),
        }
    }
    lent(service, world, "configs", &mut files);
    lent(service, world, "secrets", &mut files);
    for (target, (contents, at)) in files {
        place(target, contents, &at, world, container, &over);
    }
}

/// Puts a file into the layer over the root, or beside it with a mount that leads there.
fn place(
    target: String,
    contents: Contents,
    at: &At<'_>,
    world: &mut World<'_>,
    container: &mut Container,
    over: &[String],
) {
    let hidden = over.iter().any(|over| is_below(&target, over));
    let path = if hidden { format!("{ASIDE}/{target}") } else { target.clone() };
    if path.ends_with(".json") {
        let text = match &contents {
            Contents::Text(text) => Ok(text.clone().into_bytes()),
            Contents::File(path) => read(path),
        };
        let json = text.map_err(|error| error.message).and_then(|bytes| {
            formats::json::parse(&bytes, formats::json::Limits::STATE).map(drop).map_err(|error| error.to_string())
        });
        if let Err(why) = json {
            let why = format!(
                "a state holds `.json` files as JSON, and /{target} is none: {why}; give it another name, or make it part of the image"
            );
            return at.wrong(&mut world.report, why);
        }
    }
    if let Err(why) = formats::path::key(&format!("_config/{}/{path}", container.name)) {
        return at.wrong(&mut world.report, format!("/{target} has no place in a state: {why}"));
    }
    if hidden {
        let line = format!("lxc.mount.entry = {path} {target} none bind,ro,relative,create=file 0 0");
        world.line(container, at, line);
    }
    container.files.insert(path, contents);
}

fn entry(target: &str, size: u64, options: &str, mode: &str) -> String {
    format!("lxc.mount.entry = tmpfs {target} tmpfs rw,nosuid,nodev{options},size={size},mode={mode},create=dir 0 0")
}

fn tmpfs(service: &Service<'_>, world: &mut World<'_>, container: &mut Container, over: &mut Vec<String>) {
    let Some(at) = service.get("tmpfs") else { return };
    for item in at.one_or_more(&mut world.report) {
        let Some(text) = item.text(&mut world.report) else { continue };
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let target = match inside(target) {
            Ok(target) => target,
            Err(why) => {
                item.wrong(&mut world.report, why);
                continue;
            }
        };
        let (mut size, mut mode, mut more) = (Some(TMPFS), "1777", String::new());
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(("size", value)) => size = bytes(value),
                Some(("mode", value)) if value.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) => mode = value,
                Some(("uid" | "gid", value)) if value.parse::<u32>().is_ok() => more.push_str(&format!(",{option}")),
                None if matches!(option, "noexec" | "noatime") => more.push_str(&format!(",{option}")),
                None if matches!(option, "rw" | "nosuid" | "nodev" | "exec") => {}
                _ => item.say(&mut world.report, Level::NotMapped, format!("the option {option}")),
            }
        }
        let Some(size) = size else {
            item.wrong(&mut world.report, "its size is no size like 64m");
            continue;
        };
        world.line(container, &item, entry(&target, size, &more, mode));
        over.push(target);
    }
}

fn memory(mount: &Mount<'_>, world: &mut World<'_>, container: &mut Container, over: &mut Vec<String>) {
    let mode = mount.mode.as_deref().unwrap_or("1777").trim_start_matches("0o");
    let mode = if mode.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) { mode } else { "1777" };
    world.line(container, &mount.at, entry(&mount.target, mount.size.unwrap_or(TMPFS), "", mode));
    over.push(mount.target.clone());
}

fn volume(
    service: &Service<'_>,
    mount: &Mount<'_>,
    world: &mut World<'_>,
    container: &mut Container,
    over: &mut Vec<String>,
) {
    over.push(mount.target.clone());
    let place = format!("/{}", mount.target);
    let Some(name) = &mount.source else {
        container.volumes.push(format!("{place}:permanent"));
        return;
    };
    let top = world.loaded.tree.get("volumes");
    let declared = top.and_then(|top| top.entries().iter().find(|entry| entry.key == *name));
    let Some(declared) = declared else {
        return mount.at.wrong(&mut world.report, format!("the file has no volume {name}: declare it below `volumes`"));
    };
    let at = At::new(&declared.value, &declared.place, format!("volumes.{name}"));
    declaration(&at, &mut world.report);
    let users = world.shared.get(name).cloned().unwrap_or_default();
    match users.first() {
        Some((owner, target)) if owner != service.name || *target != mount.target => {
            let how = if mount.read_only { "ro" } else { "rw" };
            let Ok(owned) = Volume::parse(&format!("/{target}:permanent")) else { return };
            let source = format!("/volumes/{owner}/{}", owned.directory());
            let line = format!("lxc.mount.entry = {source} {} none bind,{how},create=dir 0 0", mount.target);
            world.line(container, &mount.at, line);
        }
        _ => {
            if mount.read_only {
                let why =
                    "the container whose volume it is can write there; let the one that writes stand first in the file";
                mount.at.say(&mut world.report, Level::Differs, why);
            }
            container.volumes.push(format!("{place}:permanent"));
        }
    }
}

/// What a volume says of itself.
fn declaration(at: &At<'_>, report: &mut Report) {
    at.only(&["name", "external", "driver", "driver_opts", "labels"], report);
    match at.text_of("driver", report) {
        None | Some("local") => {}
        Some(other) => at.wrong(report, format!("nothing here mounts a volume of the driver {other}")),
    }
    if let Some(options) = at.get("driver_opts").filter(|options| !options.node.entries().is_empty()) {
        options.wrong(
            report,
            "a volume is a directory of the device's storage, and mounts nothing: mount a disk with a line of your own",
        );
    }
    if at.flag_of("external", report) == Some(true) {
        at.say(report, Level::Differs, "it begins empty: what another project has in it stays there");
    }
    let name = "its directory is called by the container and the place in it";
    at.report_keys(Level::Idle, &[("labels", "nothing reads them"), ("name", name)], report);
}

type Files<'a> = BTreeMap<String, (Contents, At<'a>)>;

fn bind<'a>(
    service: &Service<'a>,
    mount: &Mount<'a>,
    world: &mut World<'_>,
    container: &mut Container,
    over: &mut Vec<String>,
    files: &mut Files<'a>,
) {
    let source = mount.source.as_deref().unwrap_or_default();
    if source.starts_with('~') {
        return mount
            .at
            .wrong(&mut world.report, "the home directory is this machine's: use files beside the compose file");
    }
    let path = world.path(&mount.at, source);
    if Path::new(source).is_absolute() && !is_of_project(&path, &world.loaded.directory) {
        return device_files(service, mount, source, world, container);
    }
    let Ok(metadata) = fs::metadata(&path) else {
        let why = format!(
            "{} is not here, and becomes an empty permanent volume, as Docker makes an empty directory",
            path.display()
        );
        mount.at.say(&mut world.report, Level::Differs, why);
        over.push(mount.target.clone());
        container.volumes.push(format!("/{}:permanent", mount.target));
        return;
    };
    if metadata.is_file() {
        executable(&path, &mount.at, &mut world.report);
        if !mount.read_only {
            let why =
                "it comes with the revision; what the container writes there is gone with the next boot: `:ro` says so";
            mount.at.say(&mut world.report, Level::Differs, why);
        }
        files.insert(mount.target.clone(), (Contents::File(path), mount.at.clone()));
        return;
    }
    if !metadata.is_dir() {
        return mount.at.wrong(&mut world.report, format!("{} is neither a file nor a directory", path.display()));
    }
    let mut found = Vec::new();
    if let Err(why) = walk(&path, "", &mut found, &mount.at, &mut world.report) {
        return mount.at.wrong(&mut world.report, why);
    }
    if found.is_empty() {
        mount.at.say(&mut world.report, Level::Differs, "the directory is empty, and becomes a permanent volume");
        over.push(mount.target.clone());
        container.volumes.push(format!("/{}:permanent", mount.target));
        return;
    }
    let mut why = "its files are laid over those of the image, and do not hide them".to_owned();
    if !mount.read_only {
        why.push_str("; what the container writes there is gone with the next boot: use a named volume for data");
    }
    mount.at.say(&mut world.report, Level::Differs, why);
    for (below, path) in found {
        executable(&path, &mount.at, &mut world.report);
        files.insert(format!("{}/{below}", mount.target), (Contents::File(path), mount.at.clone()));
    }
}

/// Whether a path that begins at the root is in the directory of the project all the same.
fn is_of_project(path: &Path, project: &Path) -> bool {
    let (Ok(path), Ok(project)) = (path.canonicalize(), project.canonicalize()) else { return false };
    path.starts_with(&project) && project != Path::new("/")
}

fn device_files(
    service: &Service<'_>,
    mount: &Mount<'_>,
    source: &str,
    world: &mut World<'_>,
    container: &mut Container,
) {
    if source.ends_with("docker.sock") {
        return mount.at.wrong(
            &mut world.report,
            "there is no Docker on a device: what a container may manage is said by its roles (docs/pvcontrol.md)",
        );
    }
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }];
    // What it is on a device is not known; here it is what it is most likely there.
    options.extend(fs::metadata(source).is_ok_and(|metadata| !metadata.is_dir()).then_some("file"));
    let text = format!("{source}:/{}:{}", mount.target, options.join(","));
    match HostMount::parse(&text) {
        Err(error) => mount.at.wrong(&mut world.report, error.message),
        Ok(parsed) => {
            if world.right(
                service.name,
                "mounts",
                &mount.at,
                &format!("{source} of the device, and not of this machine"),
            ) {
                container.grants.mounts.push(parsed);
            }
        }
    }
}

fn executable(path: &Path, at: &At<'_>, report: &mut Report) {
    if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0) {
        let why = format!(
            "{} can be executed here; a file of a revision cannot: start it with its interpreter, or make it part of the image",
            path.display()
        );
        at.say(report, Level::NotMapped, why);
    }
}

/// The files below a directory, by their paths there.
fn walk(
    directory: &Path,
    below: &str,
    found: &mut Vec<(String, PathBuf)>,
    at: &At<'_>,
    report: &mut Report,
) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", directory.display());
    let mut entries = fs::read_dir(directory).map_err(cannot)?.collect::<Result<Vec<_>, _>>().map_err(cannot)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str() else { return Err(format!("{} has a name that is not UTF-8", path.display())) };
        let own = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        let kind = entry.file_type().map_err(cannot)?;
        if kind.is_dir() {
            walk(&path, &own, found, at, report)?;
        } else if kind.is_file() {
            found.push((own, path));
        } else {
            at.say(
                report,
                Level::NotMapped,
                format!("{}: a revision holds files, and neither links nor anything else", path.display()),
            );
        }
        if found.len() > FILES_MAX {
            return Err(format!("{} has more than {FILES_MAX} files: make them part of an image", directory.display()));
        }
    }
    Ok(())
}

/// Configs and secrets that a service uses.
fn lent<'a>(service: &Service<'a>, world: &mut World<'_>, what: &str, files: &mut Files<'a>) {
    let Some(at) = service.get(what) else { return };
    for item in at.items(&mut world.report) {
        let (name, target) = match item.node.text() {
            Some(name) => (name, None),
            None => {
                item.only(&["source", "target", "uid", "gid", "mode"], &mut world.report);
                let Some(name) = item.text_of("source", &mut world.report) else {
                    item.wrong(&mut world.report, "`source` is missing");
                    continue;
                };
                let why = "a file of a revision is root's, and everybody in the container can read it";
                let keys = [("uid", why), ("gid", why), ("mode", why)];
                item.report_keys(Level::Differs, &keys, &mut world.report);
                (name, item.text_of("target", &mut world.report))
            }
        };
        let target = match (what, target) {
            ("secrets", None) => format!("/run/secrets/{name}"),
            ("secrets", Some(target)) if !target.starts_with('/') => format!("/run/secrets/{target}"),
            (_, None) => format!("/{name}"),
            (_, Some(target)) => target.to_owned(),
        };
        let top = world.loaded.tree.get(what);
        let Some(entry) = top.and_then(|top| top.entries().iter().find(|entry| entry.key == name)) else {
            item.wrong(&mut world.report, format!("the file has nothing called {name} below `{what}`"));
            continue;
        };
        let declared = At::new(&entry.value, &entry.place, format!("{what}.{name}"));
        let Some(contents) = contents(&declared, world) else { continue };
        if what == "secrets" {
            let why = "it becomes a file of the signed state, and whoever has that reads it: see to it that nobody else gets \
                       the state, or have the program read a file that each device is given (docs/metadata.md)";
            declared.say(&mut world.report, Level::Secret, why);
        }
        match inside(&target) {
            Ok(target) => drop(files.insert(target, (contents, item))),
            Err(why) => item.wrong(&mut world.report, why),
        }
    }
}

fn contents(at: &At<'_>, world: &mut World<'_>) -> Option<Contents> {
    at.only(
        &["file", "content", "environment", "external", "name", "labels", "driver", "template_driver"],
        &mut world.report,
    );
    if let Some(file) = at.get("file") {
        let text = file.text(&mut world.report)?;
        let path = world.path(&file, text);
        if !path.is_file() {
            file.wrong(&mut world.report, format!("{} is no file here", path.display()));
            return None;
        }
        return Some(Contents::File(path));
    }
    if let Some(text) = at.text_of("content", &mut world.report) {
        return Some(Contents::Text(text.to_owned()));
    }
    if let Some(name) = at.text_of("environment", &mut world.report) {
        if let Some(value) = world.variable(name) {
            return Some(Contents::Text(value));
        }
        at.wrong(&mut world.report, format!("the variable {name} is not set here"));
        return None;
    }
    at.wrong(
        &mut world.report,
        "it has neither `file` nor `content` nor `environment`: what is `external` is not known here",
    );
    None
}
