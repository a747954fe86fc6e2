//! Users of a container's own: which range of the device's ids it gets.
//!
//! ```text
//!   0 … 65535         the device
//!   524288 …          slot 8, 9, …: 65536 ids each, where other container managers look for theirs as well
//!   … 1879048191      slot 28671, the last
//! ```
//!
//! The slot follows from the name of the container, so that the same work tree always gives the same lines; where another
//! container of the work tree has it, the next free one is taken. Files are stored with the ids of inside, so a range that
//! changes one day changes nothing else.

use std::fs;

use formats::lxc::{Config, IdKind, IdMap, Item};
use formats::object::sha256;
use formats::path::ContainerName;

use super::CONFIG;
use super::facts::Facts;
use super::recipe::Recipe;
use crate::error::{Context as _, Error, Result};
use crate::image::tree::{Id, Tree};
use crate::repo::Repo;

/// How many ids a container gets: those that distributions use, `nobody` with them.
pub(super) const COUNT: u32 = 65536;

/// The first slot, and how many there are.
const SLOTS: (u32, u32) = (8, 28664);

/// Whose the users of a container are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Users {
    /// The device's.
    #[default]
    Device,
    /// Its own.
    Own,
}

impl Users {
    /// All words.
    pub const WORDS: &'static [&'static str] = &["device", "own"];

    /// From a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "device" => Some(Self::Device),
            "own" => Some(Self::Own),
            _ => None,
        }
    }
}

/// The first id of the device that a container of this name gets.
pub(super) fn first(repo: &Repo, name: &ContainerName) -> Result<u32> {
    let mut taken = Vec::new();
    for entry in fs::read_dir(repo.root()).context("read", repo.root())? {
        let path = entry.context("read", repo.root())?.path();
        let file = path.join(CONFIG);
        if path.file_name().is_some_and(|other| other == name.as_str()) || !file.is_file() {
            continue;
        }
        // One that a device would refuse says nothing here; `pvr commit` tells of it.
        let config = Config::parse(&fs::read(&file).context("read", &file)?).unwrap_or_default();
        taken.extend(config.items().filter_map(|item| if let Item::IdMap(map) = item { Some(*map) } else { None }));
    }
    free(name.as_str(), &taken)
        .ok_or_else(|| Error::user("no range of ids is free").hint("containers can share one: see docs/lxc.md"))
}

fn free(name: &str, taken: &[IdMap]) -> Option<u32> {
    let (low, count) = SLOTS;
    let [a, b, c, d, ..] = sha256(name.as_bytes());
    let wanted = u32::from_be_bytes([a, b, c, d]) % count;
    let first = |at: u32| (low + (wanted + at) % count) * COUNT;
    // Of the device alone, as inside they may all be the same.
    let meets = |first: u32, map: &IdMap| first < map.outside.saturating_add(map.count) && map.outside < first + COUNT;
    (0..count).map(first).find(|first| !taken.iter().any(|map| meets(*first, map)))
}

/// The lines.
pub(super) fn lines(first: u32) -> [Item; 2] {
    [IdKind::Users, IdKind::Groups].map(|kind| Item::IdMap(IdMap { kind, inside: 0, outside: first, count: COUNT }))
}

/// What does not go together with users of its own, for a person to hear.
pub(super) fn warnings(recipe: &Recipe, facts: &Facts<'_>) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let ports = facts.config.names("ExposedPorts");
    let ports = ports.map_err(|why| Error::user(format!("the image's configuration: {why}")))?;
    let low = |port: &&&str| {
        port.split('/').next().and_then(|number| number.parse().ok()).is_some_and(|number: u16| number < 1024)
    };
    if let (Some(port), None) = (ports.iter().find(low), &recipe.network.pool) {
        warnings.push(format!(
            "the image listens on port {port}, and the network is the device's: with users of its own it may not; \
             have it listen above 1023, put it into a pool, or leave out --users own"
        ));
    }
    for grant in recipe.grants.of_the_device() {
        warnings.push(format!(
            "{grant} is of the device: with users of its own the container has there what any stranger has, or nothing; \
             leave out one of the two"
        ));
    }
    if let Some(id) = beyond(facts.tree) {
        warnings.push(format!(
            "a file of the image belongs to number {id}, which is nobody inside: ids go up to {}",
            COUNT - 1
        ));
    }
    Ok(warnings)
}

/// An owner that is not in the range.
fn beyond(tree: &Tree) -> Option<u32> {
    let mut left: Vec<Id> = vec![tree.root()];
    while let Some(id) = left.pop() {
        let attributes = &tree.inode(id).attributes;
        if let Some(id) = [attributes.uid, attributes.gid].into_iter().find(|id| *id >= COUNT) {
            return Some(id);
        }
        left.extend(tree.names(id).into_iter().flat_map(|names| names.values().copied()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_range_and_another_where_that_is_taken() {
        let first = free("web", &[]).unwrap();
        assert_eq!(free("web", &[]), Some(first));
        assert!(first.is_multiple_of(COUNT) && (524_288..1_879_048_192).contains(&first));
        assert_ne!(free("db", &[]), Some(first));
        let taken = |outside, count| IdMap { kind: IdKind::Users, inside: 0, outside, count };
        assert_ne!(free("web", &[taken(first + 65535, 1)]), Some(first));
        assert_eq!(free("web", &[taken(first + 65536, 1), taken(0, first)]), Some(first));
        assert_eq!(free("web", &[taken(0, u32::MAX)]), None);
    }
}
