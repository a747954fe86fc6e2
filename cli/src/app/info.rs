//! What containers of images there are, and what one of them is and may do.

use std::fs;
use std::path::Path;

use formats::json::Json;
use formats::lxc::{self, AutoMount, Config, DeviceRule, Item, MountEntry, MountOption, Namespace};
use formats::path::ContainerName;
use formats::seccomp::Arch;

use super::{RUN, SRC, read_json};
use crate::check;
use crate::error::{Context as _, Error, Result};
use crate::repo::Repo;

/// A container of the work tree.
#[derive(Clone, PartialEq, Debug)]
pub struct Info {
    /// Its `src.json`.
    pub src: Json,
    /// Its `run.json`, if there is one.
    pub run: Option<Json>,
    /// What it may do to the device, a line each.
    pub privileges: Vec<String>,
}

/// The names of all directories with a `src.json`.
///
/// # Errors
/// The work tree cannot be read.
pub fn list(repo: &Repo) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(repo.root()).context("read", repo.root())? {
        let entry = entry.context("read", repo.root())?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with('.') && entry.path().join(SRC).is_file() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Looks at a container.
///
/// # Errors
/// There is none of this name, or one of its files cannot be read.
pub fn info(repo: &Repo, name: &str) -> Result<Info> {
    let directory = existing(repo, name)?;
    let src = read_json(&directory.join(SRC))?;
    let run = directory.join(RUN);
    let run = if run.exists() { Some(read_json(&run)?) } else { None };
    let config = run.as_ref().and_then(|run| run.get("config")).and_then(Json::as_str).map(str::to_owned);
    let privileges = match config {
        None => vec!["it starts no program".to_owned()],
        Some(file) => {
            formats::path::relative(&file).map_err(|why| Error::user(format!("{name}/{RUN}: config: {why}")))?;
            let mut unread = None;
            let mut read = |key: &str| check::read(&repo.root().join(key)).map_err(|error| unread = Some(error)).ok();
            let lines = lxc::lines(name, &file, &mut read);
            if let Some(error) = unread {
                return Err(error);
            }
            let lines = lines.map_err(|error| Error::user(error.to_string()))?;
            let config = lines.into_iter().map(|line| line.item).collect();
            let mut lines = privileges(&config);
            lines.push(calls(&directory, &config)?);
            lines
        }
    };
    Ok(Info { src, run, privileges })
}

/// The directory of a container that was made of something.
pub(super) fn existing(repo: &Repo, name: &str) -> Result<std::path::PathBuf> {
    let missing =
        || Error::user(format!("there is no container {name:?} with a {SRC} here")).hint("`pvr app ls` lists them");
    // `bsp` has such a document too, and is no container.
    if name != "bsp" {
        ContainerName::parse(name).map_err(|_| missing())?;
    }
    let directory = repo.root().join(name);
    if directory.join(SRC).is_file() { Ok(directory) } else { Err(missing()) }
}

/// Which system calls its filter leaves, if it has one.
fn calls(directory: &Path, config: &Config) -> Result<String> {
    let file =
        config.items().rev_find(|item| if let Item::SeccompProfile(file) = item { Some(file.clone()) } else { None });
    let Some(file) = file else { return Ok("every system call".to_owned()) };
    let filter = crate::seccomp::read(&directory.join(&file))?;
    let serves: Vec<_> = Arch::ALL.into_iter().filter(|arch| filter.serves(*arch).is_ok()).map(Arch::as_str).collect();
    let on = if serves.is_empty() { "nowhere".to_owned() } else { format!("on {}", serves.join(", ")) };
    Ok(format!("system calls that {file} allows; it can start {on}"))
}

/// What the lines of a configuration allow.
fn privileges(config: &Config) -> Vec<String> {
    let items = || config.items();
    let joined = |words: Vec<&str>| if words.is_empty() { "none".to_owned() } else { words.join(" ") };
    let uid = items().rev_find(|item| if let Item::InitUid(uid) = item { Some(*uid) } else { None }).unwrap_or(0);
    let gid = items().rev_find(|item| if let Item::InitGid(gid) = item { Some(*gid) } else { None }).unwrap_or(0);
    let kept: Option<Vec<&str>> = items().fold(None, |kept, item| match item {
        Item::CapKeep(list) => {
            Some(kept.unwrap_or_default().into_iter().chain(list.iter().map(|it| it.as_str())).collect())
        }
        _ => kept,
    });
    let dropped: Vec<&str> = items()
        .flat_map(|item| if let Item::CapDrop(list) = item { list.as_slice() } else { &[] })
        .map(|it| it.as_str())
        .collect();
    let shared = items().rev_find(|item| match item {
        Item::NamespaceKeep(list) => Some(list.clone()),
        Item::NamespaceClone(own) => Some(SHARED.iter().copied().filter(|one| !own.contains(one)).collect()),
        _ => None,
    });
    let no_new = items().rev_find(|item| if let Item::NoNewPrivs(on) = item { Some(*on) } else { None });
    let everything = items().any(|item| matches!(item, Item::Devices { allow: true, rule: DeviceRule::All, .. }));
    let mut lines = vec![
        format!("user {uid}, group {gid}"),
        format!(
            "capabilities {}",
            match (kept, dropped.is_empty()) {
                (Some(kept), _) => joined(kept),
                (None, true) => "all".to_owned(),
                (None, false) => format!("all but {}", joined(dropped)),
            }
        ),
        format!("shares with the device {}", joined(shared.iter().flatten().map(|it| it.as_str()).collect())),
        format!("programs {} gain privileges", if no_new == Some(true) { "cannot" } else { "can" }),
    ];
    lines.extend(everything.then(|| "every device node".to_owned()));
    for item in items() {
        match item {
            Item::MountAuto(list) => lines.extend(list.iter().filter_map(|one| match one {
                AutoMount::ProcRw => Some("writes to all of /proc".to_owned()),
                AutoMount::SysRw => Some("writes to all of /sys".to_owned()),
                _ => None,
            })),
            Item::Mount(entry) if entry.source.starts_with('/') && !is_its_own(entry) => {
                let writes = if entry.kernel_options().any(|option| option == "ro") { "sees" } else { "writes to" };
                let whose = if entry.source.starts_with("/exports/") { "" } else { " of the device" };
                lines.push(format!("{writes} {}{whose}", entry.source));
            }
            Item::Sysctl { name, value } => lines.push(format!("sets {name} to {value} for itself")),
            Item::OomScoreAdj(score @ ..0) => lines.push(format!("is spared when memory runs out ({score})")),
            Item::HookMount(path) => lines.push(format!("runs {path} of the device")),
            _ => {}
        }
    }
    lines
}

/// All that can be shared.
const SHARED: [Namespace; 6] =
    [Namespace::User, Namespace::Net, Namespace::Ipc, Namespace::Pid, Namespace::Uts, Namespace::Cgroup];

/// Whether a mount shows a container nothing but volumes of the revision, or itself.
fn is_its_own(entry: &MountEntry) -> bool {
    entry.source.starts_with("/volumes/") || entry.options.contains(&MountOption::Relative)
}

/// The last line of a kind counts.
trait LastOf<'a>: Iterator<Item = &'a Item> + Sized {
    fn rev_find<T>(self, pick: impl Fn(&Item) -> Option<T>) -> Option<T> {
        self.filter_map(pick).last()
    }
}

impl<'a, I: Iterator<Item = &'a Item>> LastOf<'a> for I {}
