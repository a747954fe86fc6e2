//! The layering rule: *a crate imports from lower layers only, never a sibling*, and the map that names every room.
//!
//! The layer is `package.metadata.cairn.layer` of each manifest. Exceptions, all of them:
//! - inside `boards/`: `api` ← each board ← `all`, though they share a layer;
//! - inside `tests/`: `sim` and `harness` ← the others, because what tests are made of is no test of its own;
//! - any crate's *dev*-dependency on these two: its own tests may cut power or start containers, and nothing of them is
//!   ever shipped;
//! - `boards/laws` is of that kind too: a board's own tests run the laws, and the laws run on `sim`.

use std::collections::{BTreeMap, BTreeSet};

use super::lists::NARROW;
use super::{File, Finding};
use crate::cargo::{Metadata, Package};

/// What tests are made of.
const FOR_TESTS: &[&str] = &["tests/sim", "tests/harness", LAWS];
const LAWS: &str = "boards/laws";
const MAP: &str = "ARCHITECTURE.md";

/// A crate of ours as this rule sees it.
struct Member {
    dir: String,
    layer: Option<u64>,
    /// Names of ours that it imports, and whether only for its tests.
    imports: Vec<(String, bool)>,
}

pub(super) fn check(metadata: &Metadata) -> Vec<Finding> {
    let members = metadata.members().map(|package| (package.name.clone(), member(package))).collect();
    judge(&members)
}

fn member(package: &Package) -> Member {
    let layer = package.metadata.as_ref().and_then(|metadata| metadata.pointer("/cairn/layer")?.as_u64());
    let imports =
        package.dependencies.iter().map(|import| (import.name.clone(), import.kind.as_deref() == Some("dev")));
    Member { dir: package.dir(), layer, imports: imports.collect() }
}

fn judge(members: &BTreeMap<String, Member>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in members.values() {
        let manifest = format!("{}/Cargo.toml", member.dir);
        if member.layer.is_none() {
            findings.push(Finding::file(&manifest, "has no package.metadata.cairn.layer"));
        }
        for (name, dev) in &member.imports {
            // Not one of ours: no layer, and a matter of `licences`.
            let Some(import) = members.get(name) else { continue };
            if let Some(wrong) = verdict(member, import, *dev) {
                findings.push(Finding::file(&manifest, format!("imports {name}: {wrong}")));
            }
        }
    }
    findings
}

/// Why this import is wrong, if it is.
fn verdict(member: &Member, import: &Member, dev: bool) -> Option<String> {
    let (from, to) = (member.dir.as_str(), import.dir.as_str());
    if to == "hub" {
        return Some("nothing imports the hub".into());
    }
    if FOR_TESTS.contains(&to) && (dev || from.starts_with("tests/") || from == LAWS) {
        return None;
    }
    if let Some((_, rooms)) = NARROW.iter().find(|(room, _)| *room == from)
        && !rooms.iter().any(|room| to == *room || (room.ends_with('/') && to.starts_with(room)))
    {
        return Some(format!("{from} imports only {}", rooms.join(", ")));
    }
    let rank = |dir: &str, layer: u64| (layer, rank_among_boards(dir));
    match (member.layer, import.layer) {
        (Some(upper), Some(lower)) if rank(to, lower) < rank(from, upper) => None,
        (Some(upper), Some(lower)) => Some(format!("layer {upper} must not import from layer {lower}")),
        _ => None,
    }
}

fn rank_among_boards(dir: &str) -> u8 {
    match dir.strip_prefix("boards/") {
        Some("api") | None => 0,
        Some("all") => 2,
        Some(_) => 1,
    }
}

/// Every top-level directory and every crate stands in the map, as code: `` `tests/sim` `` or `` `tests/sim/` ``.
pub(super) fn check_map(metadata: &Metadata, files: &[File]) -> Vec<Finding> {
    let Some(map) = files.iter().find(|file| file.path == MAP).and_then(|file| file.text.as_ref()) else {
        return vec![Finding::file(MAP, "does not exist")];
    };
    let top = files.iter().filter_map(|file| file.path.split_once('/')).map(|(dir, _)| dir.to_owned());
    let rooms: BTreeSet<_> =
        top.filter(|dir| !dir.starts_with('.')).chain(metadata.members().map(Package::dir)).collect();
    let named = |room: &str| map.contains(&format!("`{room}`")) || map.contains(&format!("`{room}/`"));
    let missing = rooms.iter().filter(|room| !named(room));
    missing.map(|room| Finding::file(MAP, format!("does not name `{room}/`"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(dir: &str, layer: u64) -> Member {
        Member { dir: dir.into(), layer: Some(layer), imports: Vec::new() }
    }

    fn allows(from: (&str, u64), to: (&str, u64), dev: bool) -> bool {
        verdict(&at(from.0, from.1), &at(to.0, to.1), dev).is_none()
    }

    #[test]
    fn a_crate_imports_from_lower_layers_and_never_a_sibling() {
        assert!(allows(("runtime/store", 3), ("formats", 1), false));
        assert!(!allows(("runtime/store", 3), ("runtime/container", 3), false));
        assert!(!allows(("formats", 1), ("runtime/store", 3), false));
    }

    #[test]
    fn boards_see_the_api_and_only_the_list_sees_boards() {
        assert!(allows(("boards/rpi4-tryboot", 2), ("boards/api", 2), false));
        assert!(allows(("boards/all", 2), ("boards/rpi4-tryboot", 2), false));
        assert!(!allows(("boards/rpi4-tryboot", 2), ("boards/host", 2), false));
        assert!(!allows(("boards/api", 2), ("boards/host", 2), false));
    }

    #[test]
    fn what_tests_are_made_of_is_for_tests_only() {
        for room in ["tests/sim", "tests/harness"] {
            assert!(allows(("runtime/store", 3), (room, 5), true));
            assert!(allows(("tests/powercut", 5), (room, 5), false));
            assert!(!allows(("runtime/store", 3), (room, 5), false));
        }
        assert!(allows(("boards/host", 2), (LAWS, 5), true));
        assert!(allows((LAWS, 5), ("tests/sim", 5), false));
        assert!(!allows(("boards/host", 2), (LAWS, 5), false));
        assert!(!allows(("boards/all", 3), (LAWS, 5), false));
        assert!(!allows(("runtime/store", 3), ("tests/unreplayed", 5), true));
    }

    #[test]
    fn nothing_imports_the_hub_not_even_a_test() {
        assert!(!allows(("xtask", 5), ("hub", 4), false));
        assert!(!allows(("tests/model", 5), ("hub", 4), true));
    }

    #[test]
    fn the_workstation_tool_knows_no_part_of_the_device_but_the_store() {
        assert!(allows(("cli", 4), ("runtime/store", 3), false));
        assert!(!allows(("cli", 4), ("runtime/container", 3), false));
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        let member = Member { layer: None, ..at("formats", 1) };
        assert_eq!(judge(&BTreeMap::from([("cairn-formats".into(), member)])).len(), 1);
    }
}
