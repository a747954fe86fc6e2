//! Compose files, as somebody hands them over.

use std::collections::BTreeMap;

use cli::compose::yaml::{Kind, Node};
use cli::compose::{Loaded, Wishes, interpolate, map, yaml};
use formats::json::Json;
use formats::lxc::Config;

/// A tree that is read is whole, its variables are replaced, and what it comes to is what a device reads.
pub(crate) fn compose(bytes: &[u8]) {
    let Ok(mut tree) = yaml::parse("c.yml", bytes) else { return };
    let lines = 1 + bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    walk(&tree, lines);
    let mut unset = Vec::new();
    let environment = |name: &str| name.len().is_multiple_of(2).then(|| "x".to_owned());
    if interpolate::tree(&mut tree, &environment, &mut unset).is_err() {
        return;
    }
    // Nothing is there: what is found on the machine is no business of this test.
    let directory = "/nowhere".into();
    let loaded = Loaded { tree, directory, bases: BTreeMap::new(), dotenv: BTreeMap::new(), unset };
    let device = Json::object();
    let allow = ["caps", "devices", "mounts", "network", "privileged"].map(str::to_owned);
    let profiles = ["*".to_owned()];
    let wishes = Wishes { environment: &environment, profiles: &profiles, allow: &allow, pool: None, device: &device };
    let (plan, report) = map(&loaded, &wishes);
    for finding in report.findings() {
        assert!((1..=lines).contains(&finding.place.line), "{finding}");
    }
    if report.stops() {
        return;
    }
    for container in &plan.containers {
        assert!(formats::path::ContainerName::parse(&container.name).is_ok(), "{}", container.name);
        let lines = container.lines.join("\n");
        assert!(Config::parse(lines.as_bytes()).is_ok(), "{lines}");
        assert_eq!(lines.lines().count(), container.lines.len(), "{lines}");
        for path in container.files.keys() {
            let key = format!("_config/{}/{path}", container.name);
            assert!(formats::path::key(&key).is_ok(), "{key}");
        }
    }
}

/// Each place is a line of the file, and no key is there twice.
fn walk(node: &Node, lines: usize) {
    assert!((1..=lines).contains(&node.place.line), "{}", node.place);
    match &node.kind {
        Kind::Null | Kind::Scalar(_) => {}
        Kind::List(items) => items.iter().for_each(|item| walk(item, lines)),
        Kind::Map(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                assert!(!entries[..index].iter().any(|other| other.key == entry.key), "{}", entry.key);
                walk(&entry.value, lines);
            }
        }
    }
}
