//! What a commit changes of what containers may do to the device: told before anybody else runs it.
//!
//! ```text
//!   web gains: the capability sys_time; writes to /dev/ttyUSB0 of the device
//!   web loses: sees /etc/gps of the device
//!   gps is new and has more than a confined container: every device node
//! ```
//!
//! Both sides are read as a device reads them: manifest, configuration, and the files which that includes.

use std::collections::BTreeMap;

use formats::lxc::rights::{self, Right, beyond, confined, lines};
use formats::lxc::{self, Config, privileges};
use formats::object::ObjectId;
use formats::resolve::resolve;
use formats::run_json::AbsentRoles;
use formats::state::{Class, Revision};

use crate::check;
use crate::repo::Repo;
use crate::state::State;

/// What one container may do.
struct May {
    rights: Vec<Right>,
    /// Its filter of system calls.
    filter: Option<(String, ObjectId)>,
}

/// The containers of a state, by name; `None` if what one may do cannot be found out.
type All = BTreeMap<String, Option<May>>;

/// Reads a file of a revision, which is an object.
pub(crate) type Read<'r> = &'r mut dyn FnMut(&str, ObjectId) -> Option<Vec<u8>>;

/// What changes between the committed state and the one that takes its place, a line for each container and direction.
pub(crate) fn changes(repo: &Repo, before: &State, after: &Revision) -> Vec<String> {
    // A state without a container may be no revision yet. One that is no revision otherwise runs nowhere.
    let before = before.revision().ok();
    let mut committed = |_: &str, id| check::read(&repo.pool().path(id)).ok();
    let mut here = |key: &str, _| check::read(&repo.root().join(key)).ok();
    between(before.as_ref(), &mut committed, after, &mut here)
}

/// The same of two revisions, wherever their files are.
pub(crate) fn between(
    before: Option<&Revision>,
    read_before: Read<'_>,
    after: &Revision,
    read_after: Read<'_>,
) -> Vec<String> {
    let before = before.map(|state| all(state, read_before)).unwrap_or_default();
    let after = all(after, read_after);
    let mut told = Vec::new();
    for (name, now) in after {
        // It was checked before it comes here.
        let Some(now) = now else { continue };
        match before.get(&name) {
            Some(Some(then)) => told.extend(change(&name, then, &now)),
            Some(None) => tell(&mut told, &name, "has, and nothing here says what it had:", &now.rights, &confined()),
            None => tell(&mut told, &name, "is new and has more than a confined container:", &now.rights, &confined()),
        }
    }
    told
}

fn change(name: &str, then: &May, now: &May) -> Vec<String> {
    let mut told = Vec::new();
    tell(&mut told, name, "gains:", &now.rights, &then.rights);
    tell(&mut told, name, "loses:", &then.rights, &now.rights);
    if let (Some((_, old)), Some((file, new))) = (&then.filter, &now.filter)
        && old != new
    {
        told.push(format!("{name} has another filter of system calls: {file}"));
    }
    told
}

fn tell(told: &mut Vec<String>, name: &str, what: &str, has: &[Right], had: &[Right]) {
    let more = lines(&beyond(has, had));
    told.extend((!more.is_empty()).then(|| format!("{name} {what} {}", more.join("; "))));
}

/// What the containers of a revision may do.
fn all(revision: &Revision, read: Read<'_>) -> All {
    let Ok(resolved) = resolve(revision) else {
        // What somebody else has committed and no device takes.
        return revision.containers().iter().map(|name| (name.to_string(), None)).collect();
    };
    let id = |key: &str| match revision.get(key).map(|entry| entry.class) {
        Some(Class::Object(id)) => Some(id),
        _ => None,
    };
    let containers = resolved.containers.into_iter().map(|container| {
        let manifest = container.manifest;
        let name = manifest.name.to_string();
        let manages = manifest.is_manager(AbsentRoles::default());
        let Some(file) = &manifest.config else {
            return (name, Some(May { rights: rights::of(&manifest, None, manages), filter: None }));
        };
        let may = lxc::lines(&name, file, &mut |key| read(key, id(key)?)).ok().map(|said| {
            let config: Config = said.into_iter().map(|line| line.item).collect();
            let filter = privileges::filter(&config).map(|file| format!("{name}/{file}"));
            let filter = filter.and_then(|key| id(&key).map(|id| (key, id)));
            May { rights: rights::of(&manifest, Some(&config), manages), filter }
        });
        (name, may)
    });
    containers.collect()
}
