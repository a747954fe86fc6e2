//! Whether a device reboots for a state, and what becomes of its containers.
//!
//! The decision itself is the device's own function. What is added here is why, in words, and who is restarted although
//! its files stay: as devices do, whoever is in another group, or has mounted what another container has.

use std::collections::{BTreeMap, BTreeSet};

use formats::lxc::{self, Config, Item};
use formats::object::ObjectId;
use formats::resolve::{Container, resolve};
use formats::rows::{Files, spread};
use formats::state::{Class, Owner, Revision};
use statemachine::transition::{Because, Change, Decision, InPlace, decide};

/// How a device gets to a state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// It runs what the state says already.
    Nothing,
    /// By stopping and starting containers.
    InPlace,
    /// Through its bootloader; why.
    Reboot(String),
    /// One of the two states is none that a device could run.
    Unknown,
}

/// What becomes of a container.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Becomes {
    /// It is new.
    Started,
    /// It is gone.
    Stopped,
    /// It stops and starts.
    Restarted,
    /// It runs on.
    Untouched,
}

/// A container, what becomes of it, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fate {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub becomes: Becomes,
    /// Why, in words; empty where there is nothing to say.
    pub because: String,
}

impl Way {
    /// As a word, and why.
    #[must_use]
    pub fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Nothing => ("nothing", ""),
            Self::InPlace => ("in-place", ""),
            Self::Reboot(why) => ("reboot", why),
            Self::Unknown => ("unknown", ""),
        }
    }
}

impl Becomes {
    /// As a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Restarted => "restarted",
            Self::Untouched => "untouched",
        }
    }
}

/// What it takes from `old` to `new`. `read` gives small files of the new one.
pub(super) fn between(
    old: Option<&Revision>,
    new: &Revision,
    read: &mut dyn FnMut(&str, ObjectId) -> Option<Vec<u8>>,
) -> (Way, Vec<Fate>) {
    let Ok(ours) = resolve(new).map(|resolved| resolved.containers) else { return (Way::Unknown, Vec::new()) };
    let Some(old) = old else {
        let started = ours.iter().map(|one| fate(one.manifest.name.as_str(), Becomes::Started, ""));
        return (Way::Reboot("nothing runs there that could be switched".into()), started.collect());
    };
    let Ok(theirs) = resolve(old).map(|resolved| resolved.containers) else { return (Way::Unknown, Vec::new()) };
    let (before, after) = (Files::of(old, &theirs), Files::of(new, &ours));
    let (before, after) = (before.rows(), after.rows());
    match decide(&before, &after) {
        Decision::Reboot(because) => (Way::Reboot(why(because, old, new)), all_again(&theirs, &ours)),
        Decision::InPlace(change) if change.is_empty() => {
            let stays = ours.iter().map(|one| fate(one.manifest.name.as_str(), Becomes::Untouched, ""));
            (Way::Nothing, stays.collect())
        }
        Decision::InPlace(change) => (Way::InPlace, in_place(change, (old, &theirs), (new, &ours), read)),
    }
}

fn fate(name: &str, becomes: Becomes, because: impl Into<String>) -> Fate {
    Fate { name: name.into(), becomes, because: because.into() }
}

fn why(because: Because<'_>, old: &Revision, new: &Revision) -> String {
    match because {
        Because::Base(path) => {
            let how = match (old.get(path), new.get(path)) {
                (None, _) => "is new",
                (_, None) => "is gone",
                _ => "differs",
            };
            format!("{path} {how}, and belongs to no container")
        }
        Because::System(name) => {
            format!("a file of {name} differs, and its restart policy is system: a part of the base")
        }
    }
}

fn all_again(theirs: &[Container], ours: &[Container]) -> Vec<Fate> {
    let has = |all: &[Container], name: &str| all.iter().any(|one| one.manifest.name.as_str() == name);
    let names = |all: &[Container]| all.iter().map(|one| one.manifest.name.to_string()).collect::<Vec<_>>();
    let mut fates: Vec<Fate> = names(ours)
        .iter()
        .map(|name| match has(theirs, name) {
            true => fate(name, Becomes::Restarted, "the device reboots"),
            false => fate(name, Becomes::Started, ""),
        })
        .collect();
    fates.extend(names(theirs).iter().filter(|name| !has(ours, name)).map(|name| fate(name, Becomes::Stopped, "")));
    fates
}

fn in_place(
    change: InPlace<'_>,
    (old, theirs): (&Revision, &[Container]),
    (new, ours): (&Revision, &[Container]),
    read: &mut dyn FnMut(&str, ObjectId) -> Option<Vec<u8>>,
) -> Vec<Fate> {
    fn find<'c>(all: &'c [Container], name: &str) -> Option<&'c Container> {
        all.iter().find(|one| one.manifest.name.as_str() == name)
    }
    let configs: BTreeMap<&str, Config> =
        ours.iter().map(|one| (one.manifest.name.as_str(), config(new, one, read))).collect();
    let offers = |all: &[Container], name: &str| find(all, name).map(|one| one.manifest.exports.clone());
    let mut fates: Vec<Fate> = change
        .changes()
        .map(|change| match change {
            Change::Start(name) => fate(name, Becomes::Started, ""),
            Change::Stop(name) => fate(name, Becomes::Stopped, ""),
            Change::Replace(name) => fate(name, Becomes::Restarted, first_difference(old, new, name)),
            Change::Keep(name) if find(theirs, name) != find(ours, name) => {
                fate(name, Becomes::Restarted, "it is in another group, or inherits other things from it")
            }
            Change::Keep(name) => {
                let imports = configs.get(name).map(imports).unwrap_or_default();
                match imports.iter().find(|other| offers(theirs, other) != offers(ours, other)) {
                    Some(other) => fate(name, Becomes::Restarted, format!("what {other} exports is other paths")),
                    None => fate(name, Becomes::Untouched, ""),
                }
            }
        })
        .collect();
    let uses: Vec<(&str, BTreeSet<String>)> = configs
        .iter()
        .map(|(name, config)| {
            let exports = |other: &str| find(ours, other).map(|one| one.manifest.exports.as_slice());
            (*name, lxc::neighbours(name, config, exports))
        })
        .collect();
    let mut touched: BTreeSet<String> =
        fates.iter().filter(|fate| fate.becomes != Becomes::Untouched).map(|fate| fate.name.clone()).collect();
    for name in spread(&mut touched, uses.iter().map(|(name, uses)| (*name, uses))) {
        let of =
            uses.iter().find(|(one, _)| *one == name).map(|(_, uses)| uses.iter().filter(|it| touched.contains(*it)));
        let of: Vec<&str> = of.into_iter().flatten().map(String::as_str).collect();
        if let Some(fate) = fates.iter_mut().find(|fate| fate.name == name) {
            *fate = self::fate(&name, Becomes::Restarted, format!("it uses volumes of {}", of.join(", ")));
        }
    }
    fates
}

/// The lines of a configuration. One that cannot be read is told elsewhere, and says nothing here.
fn config(
    revision: &Revision,
    container: &Container,
    read: &mut dyn FnMut(&str, ObjectId) -> Option<Vec<u8>>,
) -> Config {
    let Some(file) = &container.manifest.config else { return Config::default() };
    let lines = lxc::lines(container.manifest.name.as_str(), file, &mut |key| match revision.get(key)?.class {
        Class::Object(id) => read(key, id),
        _ => None,
    });
    lines.unwrap_or_default().into_iter().map(|line| line.item).collect()
}

/// The containers from whose exports a configuration takes something.
fn imports(config: &Config) -> BTreeSet<String> {
    let entries = config.items().filter_map(|item| if let Item::Mount(entry) = item { Some(entry) } else { None });
    let owners = entries.filter_map(|entry| entry.source.strip_prefix("/exports/")?.split('/').next());
    owners.map(str::to_owned).collect()
}

/// The first file of a container that is not the same in both.
fn first_difference(old: &Revision, new: &Revision, name: &str) -> String {
    let of = |revision: &Revision, key: &str| match revision.owner(key) {
        Owner::Container(owner) => owner.as_str() == name,
        Owner::System => false,
    };
    let visible = |class: Class| !matches!(class, Class::Spec | Class::Ignored);
    let differs = new.entries().find(|entry| {
        of(new, entry.key) && visible(entry.class) && old.get(entry.key).map(|there| there.raw) != Some(entry.raw)
    });
    let gone =
        || old.entries().find(|entry| of(old, entry.key) && visible(entry.class) && new.get(entry.key).is_none());
    match (differs, gone()) {
        (Some(entry), _) if old.get(entry.key).is_none() => format!("{} is new", entry.key),
        (Some(entry), _) => format!("{} differs", entry.key),
        (None, Some(entry)) => format!("{} is gone", entry.key),
        (None, None) => "it has another restart policy".into(),
    }
}
