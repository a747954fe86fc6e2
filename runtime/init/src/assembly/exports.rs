//! What containers let others mount: `exports` of a manifest, and `/exports/NAME/PATH` as the source of an entry.
//!
//! ```text
//!   web/run.json:            "exports": ["/run/dbus"]
//!   app/lxc.container.conf:  lxc.mount.entry = /exports/web/run/dbus run/dbus none bind,create=dir 0 0
//!                                                       └ exported ┘ all of it: comes and goes with `web`
//!                            lxc.mount.entry = /exports/web/run/dbus/socket …  a place in it: as it is at the start
//! ```
//!
//! An import is live where that can be kept: all of what is exported, writable or read-only. What is mounted later comes
//! with the exporter's own restrictions, so an entry with others (`noexec`, …) gets what is there when it starts.

use std::collections::BTreeMap;

use container::launch::{Attributes, Export, Mount, Source};
use formats::lxc::MountEntry;
use formats::path::ContainerName;
use formats::run_json::Manifest;

use super::program::below;

/// What every container of a revision exports, relative to its root.
pub(super) type Exports = BTreeMap<ContainerName, Vec<String>>;

/// What a container exports, for its stage.
pub(super) fn of(manifest: &Manifest) -> Vec<Export> {
    let mut paths: Vec<&String> = manifest.exports.iter().collect();
    paths.sort();
    paths.dedup();
    let spot = |path: &str| Export::spot(manifest.name.as_str(), path);
    paths.into_iter().map(|path| Export { spot: spot(path), path: path.clone() }).collect()
}

/// What a container exports if it runs at all.
pub(super) fn offered(manifest: &Manifest) -> Vec<String> {
    if manifest.config.is_some() { manifest.exports.clone() } else { Vec::new() }
}

/// The source of an entry below `/exports`, and whose it is. `None`: no other container exports it.
pub(super) fn import<'e>(
    path: &str,
    mount: &Mount,
    entry: &MountEntry,
    own: &ContainerName,
    exports: &'e Exports,
) -> Option<(Source, &'e ContainerName)> {
    let rest = below(path, "/exports")?.trim_end_matches('/');
    let others = exports.iter().filter(|(owner, _)| *owner != own);
    let offers = others.filter_map(|(owner, paths)| Some((owner, paths, below(rest, owner.as_str())?)));
    // Of two of which one lies in the other, the inner one.
    let (owner, exported, rest) = offers
        .flat_map(|(owner, paths, rest)| paths.iter().filter_map(move |one| Some((owner, one, below(rest, one)?))))
        .max_by_key(|(_, exported, _)| exported.len())?;
    let recursive = matches!(mount.source, Source::Device { recursive: true, .. });
    let plain = Attributes { read_only: mount.attributes.read_only, ..Attributes::default() };
    let follows = Attributes { propagation: container::launch::Propagation::Slave, ..plain };
    let private = entry.kernel_options().any(|option| matches!(option, "private" | "rprivate"));
    let live = rest.is_empty() && [plain, follows].contains(&mount.attributes) && !private;
    let spot = Export::spot(owner.as_str(), exported);
    Some((Source::Import { spot, path: rest.to_owned(), recursive, live }, owner))
}
