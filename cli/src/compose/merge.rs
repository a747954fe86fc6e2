//! One service laid over another, for `extends`: what Compose does with two files.
//!
//! | | |
//! |---|---|
//! | `command`, `entrypoint`, `test` of a health check | replaced |
//! | maps, and lists of `NAME=VALUE` | by name |
//! | `volumes`, `devices`, `configs`, `secrets` | by the place in the container |
//! | other lists | one after the other, each value once |

use super::yaml::{Entry, Kind, Node};

/// Lists that are the same as maps.
const PAIRS: &[&str] = &["environment", "labels", "annotations", "extra_hosts", "sysctls", "depends_on", "networks"];

/// Lists that have one value for each place in the container.
const PLACES: &[&str] = &["volumes", "devices", "configs", "secrets"];

/// Values that are replaced as a whole.
const WHOLE: &[&str] = &["command", "entrypoint", "test"];

/// `over` laid over `base`; `key` is what both stand behind.
pub(crate) fn merge(key: &str, base: Node, over: Node) -> Node {
    if WHOLE.contains(&key) {
        return over;
    }
    let (base, over) = if PAIRS.contains(&key) { (by_name(key, base), by_name(key, over)) } else { (base, over) };
    match (base.kind, over.kind) {
        (Kind::Map(mut all), Kind::Map(more)) => {
            for Entry { key, place, value } in more {
                match all.iter_mut().find(|entry| entry.key == key) {
                    Some(entry) => {
                        let below = std::mem::replace(&mut entry.value, Node::empty(place.clone()));
                        entry.value = merge(&key, below, value);
                        entry.place = place;
                    }
                    None => all.push(Entry { key, place, value }),
                }
            }
            Node { place: over.place, kind: Kind::Map(all) }
        }
        (Kind::List(mut all), Kind::List(more)) => {
            for item in more {
                let target = target(&item);
                let same = |other: &Node| PLACES.contains(&key) && self::target(other) == target;
                if let Some(other) = all.iter_mut().find(|other| same(other)) {
                    *other = item;
                } else if !all.iter().any(|other| other.kind == item.kind) {
                    all.push(item);
                }
            }
            Node { place: over.place, kind: Kind::List(all) }
        }
        (below, Kind::Null) => Node { place: base.place, kind: below },
        (_, kind) => Node { place: over.place, kind },
    }
}

/// Where in the container a mount, a device or a file is.
fn target(item: &Node) -> Option<String> {
    let text = match item.text() {
        Some(text) => {
            let mut parts = text.split(':');
            let first = parts.next()?;
            parts.next().unwrap_or(first)
        }
        None => item.get("target").or_else(|| item.get("source"))?.text()?,
    };
    Some(text.trim_end_matches('/').to_owned())
}

/// A list of names, or of names and values, as a map.
fn by_name(key: &str, node: Node) -> Node {
    let Kind::List(items) = node.kind else { return node };
    let mut entries: Vec<Entry> = Vec::new();
    for item in items {
        let Kind::Scalar(text) = item.kind else { continue };
        let separator = if key == "extra_hosts" && !text.contains('=') { ':' } else { '=' };
        let (name, kind) = match text.split_once(separator) {
            Some((name, value)) => (name.to_owned(), Kind::Scalar(value.to_owned())),
            None => (text, Kind::Null),
        };
        entries.retain(|entry| entry.key != name);
        let value = Node { place: item.place.clone(), kind };
        entries.push(Entry { key: name, place: item.place, value });
    }
    Node { place: node.place, kind: Kind::Map(entries) }
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    #[test]
    fn each_kind_of_value_is_laid_over_as_compose_does() {
        let read = |text: &str| parse("c.yml", text.as_bytes()).unwrap();
        let base = read(
            "command: [a]\nimage: x\nenvironment: [A=1, B=2]\nports: ['80:80']\nvolumes: ['data:/var', 'x:/y']\ndeploy: {a: {b: 1}}\n",
        );
        let over = read(
            "command: [b]\nenvironment: {B: 3}\nports: ['80:80', '81:81']\nvolumes: ['other:/var/']\ndeploy: {a: {c: 2}}\n",
        );
        let wanted = read(
            "command: [b]\nimage: x\nenvironment: {A: 1, B: 3}\nports: ['80:80', '81:81']\nvolumes: ['other:/var/', 'x:/y']\ndeploy: {a: {b: 1, c: 2}}\n",
        );
        assert_eq!(plain(&merge("web", base, over)), plain(&wanted));
    }

    fn plain(node: &Node) -> String {
        match &node.kind {
            Kind::Null => "null".into(),
            Kind::Scalar(text) => format!("{text:?}"),
            Kind::List(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", ")),
            Kind::Map(entries) => {
                let entries = entries.iter().map(|entry| format!("{}: {}", entry.key, plain(&entry.value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
        }
    }
}
