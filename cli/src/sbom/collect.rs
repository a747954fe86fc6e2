//! What there is to list: containers, their objects, and what each says it is made of.

use std::collections::{BTreeMap, BTreeSet};

use formats::json::Json;
use formats::object::ObjectId;

use crate::contents::medium::{Medium as _, Span};
use crate::contents::packages::{Found, find, present};
use crate::contents::states::Side;
use crate::contents::{ContentsError, Image};
use crate::error::{Error, Result};
use crate::image::Limits;
use crate::state::{State, object_id};
use crate::watch::Watch;

/// All that is listed.
#[derive(Clone, PartialEq, Debug)]
pub struct Inventory {
    /// The part of the state that it is about.
    pub state: State,
    /// Containers, and the other directories of the state, by name.
    pub components: BTreeMap<String, Component>,
    /// When the newest image was written, in seconds since 1970; 0 if there is none.
    pub newest: u32,
}

/// A container, or what else has a directory of its own.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Component {
    /// Whether it is one: it has a `run.json`.
    pub is_container: bool,
    /// Its `src.json`, if it has one.
    pub src: Option<Json>,
    /// Its objects by their paths.
    pub objects: BTreeMap<String, Object>,
}

/// An object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Its name.
    pub id: ObjectId,
    /// Its length in bytes.
    pub len: u64,
    /// What was read of it.
    pub reading: Reading,
}

/// What was read of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reading {
    /// It is no image that is known here.
    Opaque,
    /// It is one, and cannot be read.
    Unread(ContentsError),
    /// It is one.
    Image {
        /// What package managers left in it.
        found: Found,
        /// Databases that a later image of the same container replaces: where, and by which.
        replaced: Vec<(&'static str, String)>,
    },
}

impl Object {
    /// What nobody could know from the list of its packages: the sentences that go into the document, and whether a
    /// person should hear of each.
    #[must_use]
    pub fn remarks(&self) -> Vec<(bool, String)> {
        match &self.reading {
            Reading::Opaque => vec![(false, "not looked into: it is no file system".into())],
            Reading::Unread(error) => vec![(true, format!("its packages are not listed: {error}"))],
            Reading::Image { found, replaced } => {
                let mut said = Vec::new();
                for (path, by) in replaced {
                    said.push((false, format!("{path} is not listed: {by} is laid over it and has another")));
                }
                for (path, why) in &found.unread {
                    said.push((true, format!("the packages of {path} are not listed: {why}")));
                }
                for database in &found.databases {
                    let (count, path) = (database.packages.len(), database.path);
                    said.push((false, format!("{count} packages of {}: {path}", database.manager.name())));
                }
                if said.is_empty() {
                    said.push((true, "no packages are listed: it has no database of dpkg, apk or opkg".into()));
                }
                said
            }
        }
    }
}

/// Reads the objects of a state. `parts` are containers or other directories of it; none of them are all.
///
/// # Errors
/// A part is not there; an object is missing or damaged.
pub fn collect(side: &Side, parts: &[String], watch: &dyn Watch) -> Result<Inventory> {
    let mut state = side.state.clone();
    let of = |key: &str| key.split_once('/').map_or(key, |(top, _)| top).to_owned();
    let all: BTreeSet<String> =
        side.state.files().filter(|(key, _)| key.contains('/')).map(|(key, _)| of(key)).collect();
    for part in parts.iter().map(|part| part.trim_end_matches('/')) {
        if !all.contains(part) {
            let known = all.iter().filter(|name| !name.starts_with('_')).map(String::as_str).collect::<Vec<_>>();
            return Err(Error::user(format!("the state has nothing of the name {part:?}"))
                .hint(format!("it has {}", known.join(", "))));
        }
    }
    state.retain(|key| parts.is_empty() || parts.iter().any(|part| part.trim_end_matches('/') == of(key)));
    let mut inventory = Inventory { state, components: BTreeMap::new(), newest: 0 };
    for (key, value) in inventory.state.files() {
        // What lies at the top belongs to the state itself.
        let component =
            inventory.components.entry(if key.contains('/') { of(key) } else { String::new() }).or_default();
        let rest = key.split_once('/').map_or("", |(_, rest)| rest);
        match (rest, object_id(value).filter(|_| side.state.is_object(key))) {
            (_, Some(id)) => {
                let span = side.open(key, id, watch)?;
                let len = span.len();
                let (reading, made) = read(span);
                inventory.newest = inventory.newest.max(made);
                component.objects.insert(key.into(), Object { id, len, reading });
            }
            ("run.json", None) => component.is_container = true,
            ("src.json", None) => component.src = Some(value.clone()),
            _ => {}
        }
    }
    for component in inventory.components.values_mut() {
        replace(component, side, watch)?;
    }
    inventory.components.retain(|_, component| component.is_container || !component.objects.is_empty());
    Ok(inventory)
}

/// Packages of an image, and when it was written.
fn read(span: Span) -> (Reading, u32) {
    match Image::open(span, Limits::DEFAULT) {
        Ok(None) => (Reading::Opaque, 0),
        Err(error) => (Reading::Unread(error), 0),
        Ok(Some(image)) => (Reading::Image { found: find(&image), replaced: Vec::new() }, image.made()),
    }
}

/// Takes out the databases of an image that a difference of the same container is laid over.
fn replace(component: &mut Component, side: &Side, watch: &dyn Watch) -> Result<()> {
    let over: Vec<_> = component.objects.iter().filter(|(key, _)| key.ends_with(".ovl.squashfs")).collect();
    let mut laid = Vec::new();
    for (key, object) in over {
        if let Ok(Some(image)) = Image::open(side.open(key, object.id, watch)?, Limits::DEFAULT) {
            laid.push((key.clone(), present(&image)));
        }
    }
    for (by, paths) in laid {
        let under = by.replace(".ovl.squashfs", ".squashfs");
        let Some(Reading::Image { found, replaced }) =
            component.objects.get_mut(&under).map(|object| &mut object.reading)
        else {
            continue;
        };
        let goes = |path: &'static str| paths.contains(&path);
        for path in found.databases.iter().map(|it| it.path).chain(found.unread.iter().map(|(path, _)| *path)) {
            if goes(path) {
                replaced.push((path, by.clone()));
            }
        }
        found.databases.retain(|database| !goes(database.path));
        found.unread.retain(|(path, _)| !goes(path));
    }
    Ok(())
}
