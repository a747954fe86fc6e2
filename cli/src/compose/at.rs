//! A value of a compose file with the key that it stands behind: read as what it should be, or reported.

use super::report::{Level, Report};
use super::yaml::{Kind, Node, Place};

/// A value, the place of its key, and its path.
#[derive(Clone, Debug)]
pub(crate) struct At<'a> {
    pub(crate) node: &'a Node,
    pub(crate) place: &'a Place,
    pub(crate) path: String,
}

impl<'a> At<'a> {
    pub(crate) fn new(node: &'a Node, place: &'a Place, path: impl Into<String>) -> Self {
        Self { node, place, path: path.into() }
    }

    pub(crate) fn say(&self, report: &mut Report, level: Level, why: impl Into<String>) {
        report.add(level, self.place, self.path.clone(), why);
    }

    pub(crate) fn wrong(&self, report: &mut Report, why: impl Into<String>) {
        self.say(report, Level::Error, why);
    }

    fn wanted(&self, report: &mut Report, what: &str) {
        self.wrong(report, format!("it must be {what}, and is {}", self.node.what()));
    }

    /// A member of a map.
    pub(crate) fn get(&self, key: &str) -> Option<Self> {
        let entry = self.node.entries().iter().find(|entry| entry.key == key)?;
        Some(Self::new(&entry.value, &entry.place, format!("{}.{key}", self.path)))
    }

    pub(crate) fn is_null(&self) -> bool {
        self.node.kind == Kind::Null
    }

    pub(crate) fn text(&self, report: &mut Report) -> Option<&'a str> {
        let text = self.node.text();
        if text.is_none() {
            self.wanted(report, "a text");
        }
        text
    }

    /// The text of a member, if there is one.
    pub(crate) fn text_of(&self, key: &str, report: &mut Report) -> Option<&'a str> {
        self.get(key).filter(|at| !at.is_null())?.text(report)
    }

    pub(crate) fn flag(&self, report: &mut Report) -> Option<bool> {
        match self.node.text() {
            Some("true" | "True" | "TRUE" | "yes" | "on") => Some(true),
            Some("false" | "False" | "FALSE" | "no" | "off") => Some(false),
            _ => {
                self.wanted(report, "true or false");
                None
            }
        }
    }

    pub(crate) fn flag_of(&self, key: &str, report: &mut Report) -> Option<bool> {
        self.get(key).filter(|at| !at.is_null())?.flag(report)
    }

    pub(crate) fn number(&self, report: &mut Report) -> Option<i64> {
        let number = self.node.text().and_then(|text| text.parse().ok());
        if number.is_none() {
            self.wanted(report, "a number");
        }
        number
    }

    /// The members of a list; of nothing, none.
    pub(crate) fn items(&self, report: &mut Report) -> Vec<Self> {
        match &self.node.kind {
            Kind::List(items) => {
                let item =
                    |(index, node): (usize, &'a Node)| Self::new(node, &node.place, format!("{}[{index}]", self.path));
                items.iter().enumerate().map(item).collect()
            }
            Kind::Null => Vec::new(),
            _ => {
                self.wanted(report, "a list");
                Vec::new()
            }
        }
    }

    /// A list, or one text that stands for a list of it.
    pub(crate) fn one_or_more(&self, report: &mut Report) -> Vec<Self> {
        if self.node.text().is_some() { vec![self.clone()] } else { self.items(report) }
    }

    /// The members of a map; of nothing, none.
    pub(crate) fn entries(&self, report: &mut Report) -> Vec<(&'a str, Self)> {
        match &self.node.kind {
            Kind::Map(entries) => entries
                .iter()
                .map(|entry| {
                    (entry.key.as_str(), Self::new(&entry.value, &entry.place, format!("{}.{}", self.path, entry.key)))
                })
                .collect(),
            Kind::Null => Vec::new(),
            _ => {
                self.wanted(report, "a map");
                Vec::new()
            }
        }
    }

    /// The names and values of a map, or of a list of `NAME=VALUE`.
    pub(crate) fn pairs(&self, report: &mut Report) -> Vec<(String, Option<&'a str>, Self)> {
        if let Kind::List(_) = self.node.kind {
            let pair = |at: Self| {
                let text = at.node.text()?;
                let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
                let path = format!("{}.{name}", self.path);
                Some((name.to_owned(), value, Self::new(at.node, at.place, path)))
            };
            let items = self.items(report);
            if let Some(at) = items.iter().find(|at| at.node.text().is_none()) {
                at.wanted(report, "NAME=VALUE");
            }
            return items.into_iter().filter_map(pair).collect();
        }
        let mut pairs = Vec::new();
        for (name, at) in self.entries(report) {
            match &at.node.kind {
                Kind::Null => pairs.push((name.to_owned(), None, at)),
                Kind::Scalar(text) => pairs.push((name.to_owned(), Some(text.as_str()), at)),
                _ => at.wanted(report, "a text"),
            }
        }
        pairs
    }

    /// The names of a list, or the names and values of a map.
    pub(crate) fn named(&self, report: &mut Report) -> Vec<(&'a str, Self)> {
        if let Kind::List(_) = self.node.kind {
            let items = self.items(report);
            return items.into_iter().filter_map(|at| Some((at.text(report)?, at))).collect();
        }
        self.entries(report)
    }

    /// Whatever is not among these keys is an error; `x-` is for everybody.
    pub(crate) fn only(&self, known: &[&str], report: &mut Report) {
        for (key, at) in self.entries(report) {
            if !known.contains(&key) && !key.starts_with("x-") {
                at.wrong(report, "is no key of Compose here: write it as the Compose Specification does, or remove it");
            }
        }
    }

    /// Reports these keys, if they are there and say something.
    pub(crate) fn report_keys(&self, level: Level, keys: &[(&str, &str)], report: &mut Report) {
        for (key, why) in keys {
            if let Some(at) = self.get(key).filter(|at| !at.is_null()) {
                at.say(report, level, *why);
            }
        }
    }
}
