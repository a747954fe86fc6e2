//! YAML with the place of everything: text to a tree, with anchors and merges resolved.
//!
//! ```text
//!   services:
//!     web: &base                  an anchor
//!       image: nginx
//!     shop:
//!       <<: *base                 a merge: the keys of base, but for those that are said here
//!       image: team/shop
//! ```
//!
//! Promises: every node knows the file and line it was read from, also a node that an alias repeats. A key that is there
//! twice, an alias of nothing and a tag are errors. The tree is bounded whatever the text says: an alias counts as often as
//! it is used, so that ten lines cannot become a billion nodes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::error::{Error, Result};

/// The most bytes of a file.
pub const BYTES_MAX: usize = 1024 * 1024;

/// The most nodes of a tree.
const NODES_MAX: usize = 100_000;

/// The most levels of a tree.
const DEPTH_MAX: usize = 64;

/// Where something stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
}

/// A value and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Where.
    pub place: Place,
    /// What.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Nothing.
    Null,
    /// A text, a number or a word.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// Keys in their order, each once.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// Its value.
    pub value: Node,
}

impl Place {
    /// The beginning of a file.
    #[must_use]
    pub fn file(name: &str) -> Self {
        Self { file: name.into(), line: 1 }
    }

    /// What is wrong here.
    #[must_use]
    pub fn error(&self, what: impl fmt::Display) -> Error {
        Error::user(format!("{self}: {what}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Node {
    /// An empty map.
    #[must_use]
    pub const fn empty(place: Place) -> Self {
        Self { place, kind: Kind::Map(Vec::new()) }
    }

    /// The value of a key, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The keys of a map; none of anything else.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        if let Kind::Map(entries) = &self.kind { entries } else { &[] }
    }

    /// A scalar as it was written.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Kind::Scalar(text) = &self.kind { Some(text) } else { None }
    }

    /// The members of a list; none of anything else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        if let Kind::List(items) = &self.kind { items } else { &[] }
    }

    /// What it is, for errors.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Scalar(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }

    /// How many nodes it is made of.
    fn size(&self) -> usize {
        match &self.kind {
            Kind::Null | Kind::Scalar(_) => 1,
            Kind::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Kind::Map(entries) => 1 + entries.iter().map(|entry| entry.value.size()).sum::<usize>(),
        }
    }

    fn depth(&self) -> usize {
        match &self.kind {
            Kind::Null | Kind::Scalar(_) => 1,
            Kind::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or_default(),
            Kind::Map(entries) => 1 + entries.iter().map(|entry| entry.value.depth()).max().unwrap_or_default(),
        }
    }
}

/// A list or a map that has not ended.
struct Open {
    place: Place,
    anchor: usize,
    kind: Kind,
    /// Of a map: the key whose value comes next.
    key: Option<(String, Place)>,
}

struct Builder {
    file: Arc<str>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

/// Reads a file. An empty one is an empty map.
///
/// # Errors
/// It is no YAML, or has more in it than a file of this kind needs; the message names the line.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Node> {
    let top = Place::file(name);
    if bytes.len() > BYTES_MAX {
        return Err(top.error(format!("it has more than {BYTES_MAX} bytes")));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count();
        Place { line, ..top.clone() }.error("it is not UTF-8")
    })?;
    let mut builder =
        Builder { file: top.file.clone(), open: Vec::new(), anchors: BTreeMap::new(), nodes: 0, root: None };
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            Place { file: top.file.clone(), line: error.marker().line() }.error(format!("not YAML: {}", error.info()))
        })?;
        if builder.event(event, span)? {
            break;
        }
    }
    Ok(builder.root.unwrap_or(Node::empty(top)))
}

impl Builder {
    /// Takes an event. `true`: it was the last.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<bool> {
        let place = Place { file: self.file.clone(), line: span.start.line().max(1) };
        match event {
            Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
            Event::StreamEnd => return Ok(true),
            Event::DocumentStart(_) if self.root.is_some() => {
                return Err(place.error("a second document begins here").hint("one file has one document"));
            }
            Event::DocumentStart(_) => {}
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| place.error("an alias of something that has not ended"))?;
                self.count(node.size(), &place)?;
                if self.open.len() + node.depth() > DEPTH_MAX {
                    return Err(place.error(format!("more than {DEPTH_MAX} levels")));
                }
                self.put(node, place)?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, &place)?;
                let quoted = style != ScalarStyle::Plain;
                let is_text = is_core(tag.as_deref(), &place)?;
                let null = !quoted && !is_text && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let kind = if null { Kind::Null } else { Kind::Scalar(text.into_owned()) };
                let node = Node { place: place.clone(), kind };
                self.remember(anchor, &node);
                self.put(node, place)?;
            }
            Event::SequenceStart(anchor, tag) => self.begin(anchor, tag.as_deref(), Kind::List(Vec::new()), place)?,
            Event::MappingStart(anchor, tag) => self.begin(anchor, tag.as_deref(), Kind::Map(Vec::new()), place)?,
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Err(place.error("an end without a beginning")) };
                let node = Node { place: open.place.clone(), kind: open.kind };
                let node = merged(node)?;
                self.remember(open.anchor, &node);
                self.put(node, open.place)?;
            }
        }
        Ok(false)
    }

    fn begin(&mut self, anchor: usize, tag: Option<&Tag>, kind: Kind, place: Place) -> Result<()> {
        is_core(tag, &place)?;
        self.count(1, &place)?;
        if self.open.len() >= DEPTH_MAX {
            return Err(place.error(format!("more than {DEPTH_MAX} levels")));
        }
        self.open.push(Open { place, anchor, kind, key: None });
        Ok(())
    }

    fn count(&mut self, more: usize, place: &Place) -> Result<()> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > NODES_MAX {
            return Err(place.error(format!("more than {NODES_MAX} values, with those that aliases repeat")));
        }
        Ok(())
    }

    fn remember(&mut self, anchor: usize, node: &Node) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }

    /// Puts a finished node where it belongs.
    fn put(&mut self, node: Node, place: Place) -> Result<()> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.kind, open.key.take()) {
            (Kind::List(items), _) => items.push(node),
            (Kind::Map(entries), Some((key, place))) => {
                // Several merges are one after the other.
                if key != MERGE && entries.iter().any(|entry| entry.key == key) {
                    return Err(place.error(format!("the key {key:?} is there twice")));
                }
                entries.push(Entry { key, place, value: node });
            }
            (Kind::Map(_), None) => {
                let text = match node.kind {
                    Kind::Scalar(text) => text,
                    Kind::Null => "null".to_owned(),
                    _ => return Err(place.error("a key must be a text")),
                };
                open.key = Some((text, place));
            }
            (Kind::Null | Kind::Scalar(_), _) => return Err(place.error("a value in a value")),
        }
        Ok(())
    }
}

/// Whether a tag says that it is a text. Other tags of the core schema say nothing that matters; any other is an error.
fn is_core(tag: Option<&Tag>, place: &Place) -> Result<bool> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() => Ok(tag.suffix == "str"),
        Some(tag) if (tag.handle.as_str(), tag.suffix.as_str()) == ("", "!") => Ok(true),
        Some(tag) => Err(place
            .error(format!("the tag {}{} is not understood", tag.handle, tag.suffix))
            .hint("write the value out; `!reset` and `!override` are for several files laid over each other")),
    }
}

const MERGE: &str = "<<";

/// A map with what it merges.
fn merged(node: Node) -> Result<Node> {
    let Kind::Map(entries) = node.kind else { return Ok(node) };
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.key == MERGE);
    let mut sources = Vec::new();
    for merge in merges {
        match merge.value.kind {
            Kind::Map(entries) => sources.push(entries),
            Kind::List(items) => {
                for item in items {
                    let Kind::Map(entries) = item.kind else {
                        return Err(item.place.error("what is merged must be a map"));
                    };
                    sources.push(entries);
                }
            }
            _ => return Err(merge.place.error("what is merged must be a map or a list of maps")),
        }
    }
    for entry in sources.into_iter().flatten() {
        if !own.iter().any(|other| other.key == entry.key) {
            own.push(entry);
        }
    }
    Ok(Node { place: node.place, kind: Kind::Map(own) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Node {
        parse("c.yml", text.as_bytes()).unwrap()
    }

    fn wrong(text: &str) -> String {
        parse("c.yml", text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn every_value_knows_its_line() {
        let tree = read("services:\n  web:\n    image: nginx\n    ports:\n      - \"80:80\"\n      - 443:443\n");
        let web = tree.get("services").and_then(|all| all.get("web")).unwrap();
        assert_eq!(web.get("image").unwrap().place.to_string(), "c.yml:3");
        let ports = web.get("ports").unwrap();
        assert_eq!(ports.items().iter().map(|port| port.place.line).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(ports.items().iter().filter_map(Node::text).collect::<Vec<_>>(), ["80:80", "443:443"]);
    }

    #[test]
    fn nothing_is_not_an_empty_text() {
        let tree = read("a:\nb: ''\nc: ~\nd: \"null\"\ne: !!str null\n");
        let kinds: Vec<_> = tree.entries().iter().map(|entry| entry.value.text()).collect();
        assert_eq!(kinds, [None, Some(""), None, Some("null"), Some("null")]);
        assert_eq!(read("").entries(), []);
    }

    #[test]
    fn a_merge_gives_way_to_what_is_said() {
        let tree = read("x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  <<: [*x, *y]\n  a: 9\n");
        let of = |key: &str| tree.get("z").and_then(|z| z.get(key)).and_then(Node::text).unwrap().to_owned();
        assert_eq!([of("a"), of("b"), of("c")], ["9", "2", "4"]);
        assert!(wrong("z: {<<: 1}").contains("c.yml:1: what is merged must be a map"));
    }

    #[test]
    fn what_is_no_such_tree_is_refused_with_its_line() {
        assert!(wrong("a: 1\na: 2\n").starts_with("c.yml:2: the key \"a\" is there twice"));
        assert!(wrong("a: 1\n---\nb: 2\n").contains("second document"));
        assert!(wrong("a: !reset null\n").contains("c.yml:1: the tag !reset"));
        assert!(wrong("a: [1\n").contains("not YAML"));
        assert!(wrong("a: *b\n").starts_with("c.yml:1"));
        assert!(wrong("a: &a [*a]\n").contains("has not ended"));
        assert!(wrong("? [a]\n: 1\n").contains("a key must be a text"));
        assert!(parse("c.yml", b"a: \xff\n").unwrap_err().to_string().contains("UTF-8"));
    }

    #[test]
    fn aliases_of_aliases_and_depth_are_bounded() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let last = level - 1;
            let list = vec![format!("*a{last}"); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
        }
        assert!(wrong(&text).contains("more than 100000 values"));
        assert!(wrong(&"[".repeat(200)).contains("levels"));
    }
}
