//! Licences: each dependency's SPDX expression can be met by what `lists` allows; ours is stated and its texts are here;
//! and what must not reach a device is not in its dependency graph.

use std::collections::BTreeMap;

use super::Finding;
use super::lists::{BANNED, DEVICE_ROOTS, LICENCE_FILES, LICENCES, OUR_LICENCE, SHIPPED, TOOLS};
use crate::cargo::{self, Metadata, Node, Package};

pub(super) fn check(metadata: &Metadata) -> Vec<Finding> {
    let ours: Vec<_> = metadata.members().map(|package| &package.id).collect();
    let mut findings: Vec<_> = metadata
        .packages
        .iter()
        .filter_map(|package| if ours.contains(&&package.id) { check_own(package) } else { check_foreign(package) })
        .collect();
    for file in LICENCE_FILES {
        if !cargo::root().join(file).is_file() {
            findings.push(Finding::file(*file, "does not exist"));
        }
    }
    findings.extend(check_shipped(metadata));
    findings
}

fn check_own(package: &Package) -> Option<Finding> {
    let stated = package.license.as_deref() == Some(OUR_LICENCE);
    (!stated)
        .then(|| Finding::file(format!("{}/Cargo.toml", package.dir()), format!("its licence is not {OUR_LICENCE}")))
}

fn check_foreign(package: &Package) -> Option<Finding> {
    let Package { name, version, .. } = package;
    let wrong = match package.license.as_deref().map(|text| (text, is_allowed(text))) {
        Some((_, Some(true))) => return None,
        Some((text, Some(false))) if TOOLS.contains(&(name.as_str(), text)) => return None,
        Some((text, Some(false))) => format!("{name} {version} is under {text}, which lists.rs does not allow"),
        Some((text, None)) => format!("{name} {version} has a licence that is no SPDX expression: {text}"),
        None => format!("{name} {version} states no licence"),
    };
    Some(Finding::file("Cargo.lock", wrong))
}

/// Whether an SPDX expression can be met. `None`: it is not one. The old form `MIT/Apache-2.0` means OR.
fn is_allowed(expression: &str) -> Option<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut tokens = spaced.split_whitespace().peekable();
    let met = any(&mut tokens)?;
    tokens.next().is_none().then_some(met)
}

type Tokens<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(tokens: &mut Tokens<'_>) -> Option<bool> {
    let mut met = all(tokens)?;
    while tokens.next_if_eq(&"OR").is_some() {
        met |= all(tokens)?;
    }
    Some(met)
}

fn all(tokens: &mut Tokens<'_>) -> Option<bool> {
    let mut met = one(tokens)?;
    while tokens.next_if_eq(&"AND").is_some() {
        met &= one(tokens)?;
    }
    Some(met)
}

fn one(tokens: &mut Tokens<'_>) -> Option<bool> {
    match tokens.next()? {
        "(" => {
            let met = any(tokens)?;
            (tokens.next() == Some(")")).then_some(met)
        }
        ")" | "OR" | "AND" | "WITH" => None,
        id if tokens.next_if_eq(&"WITH").is_some() => {
            let exception = tokens.next()?;
            Some(LICENCES.contains(&format!("{id} WITH {exception}").as_str()))
        }
        id => Some(LICENCES.contains(&id)),
    }
}

/// Walks from each shipped crate through what is linked, and names the path to what must not be there.
fn check_shipped(metadata: &Metadata) -> Vec<Finding> {
    let nodes: BTreeMap<_, _> = metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let names: BTreeMap<_, _> = metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
    let name = |id: &str| names.get(id).map_or_else(|| id.to_owned(), |package| package.name.clone());
    let roots = metadata.members().filter(|package| SHIPPED.contains(&package.name.as_str()));
    let mut findings = Vec::new();
    for root in roots {
        for path in paths(&root.id, &nodes) {
            let last = path.last().map(|id| name(id)).unwrap_or_default();
            if let Some(why) = objection(&root.name, &last) {
                let path: Vec<_> = path.iter().map(|id| name(id)).collect();
                findings.push(Finding::file("Cargo.lock", format!("{}: {why}", path.join(" → "))));
            }
        }
    }
    findings
}

/// Why a package must not be in what is shipped from this root.
fn objection(root: &str, package: &str) -> Option<&'static str> {
    let banned = BANNED.iter().find(|(banned, _)| DEVICE_ROOTS.contains(&root) && *banned == package);
    let tool = TOOLS.iter().find(|(tool, _)| *tool == package);
    banned.map(|(_, why)| *why).or(tool.map(|_| "its licence is for tools that are not shipped"))
}

/// One path to each package that is linked into `root`. Build scripts and tests run elsewhere.
fn paths<'a>(root: &'a str, nodes: &BTreeMap<&'a str, &'a Node>) -> Vec<Vec<&'a str>> {
    let mut seen = vec![vec![root]];
    let mut next = 0;
    while let Some(path) = seen.get(next).cloned() {
        next += 1;
        let Some(node) = path.last().and_then(|id| nodes.get(id)) else { continue };
        for dep in node.deps.iter().filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind.is_none())) {
            if !seen.iter().any(|path| path.last() == Some(&dep.pkg.as_str())) {
                seen.push([path.as_slice(), &[dep.pkg.as_str()]].concat());
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allowed_side_of_a_choice_is_enough_and_every_part_of_a_sum_is_needed() {
        assert_eq!(is_allowed("MIT OR GPL-3.0-only"), Some(true));
        assert_eq!(is_allowed("MIT AND GPL-3.0-only"), Some(false));
        assert_eq!(is_allowed("(MIT OR GPL-3.0-only) AND Unicode-3.0"), Some(true));
        assert_eq!(is_allowed("MIT/Apache-2.0"), Some(true));
    }

    #[test]
    fn an_exception_belongs_to_its_licence() {
        assert_eq!(is_allowed("Apache-2.0 WITH LLVM-exception"), Some(true));
        assert_eq!(is_allowed("MIT WITH LLVM-exception"), Some(false));
    }

    #[test]
    fn what_is_no_expression_is_not_taken_for_one() {
        for text in ["", "MIT OR", "(MIT", "MIT)", "MIT Apache-2.0", "OR MIT"] {
            assert_eq!(is_allowed(text), None, "{text}");
        }
    }

    #[test]
    fn a_tool_under_another_licence_is_in_nothing_that_is_shipped() {
        assert!(objection("cairn", "colored").is_some() && objection("cairn-cli", "colored").is_some());
        assert!(objection("cairn", "clap").is_some() && objection("cairn-cli", "clap").is_none());
    }

    #[test]
    fn only_what_is_linked_reaches_a_device() {
        let dep = |pkg: &str, kind: Option<&str>| serde_json::json!({ "pkg": pkg, "dep_kinds": [{ "kind": kind }] });
        let nodes: Vec<Node> = serde_json::from_value(serde_json::json!([
            { "id": "root", "deps": [dep("a", None), dep("cc", Some("build")), dep("sim", Some("dev"))] },
            { "id": "a", "deps": [dep("rsa", None)] },
            { "id": "rsa", "deps": [] },
        ]))
        .unwrap();
        let nodes = nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        assert_eq!(paths("root", &nodes), [vec!["root"], vec!["root", "a"], vec!["root", "a", "rsa"]]);
    }
}
