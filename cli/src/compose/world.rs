//! What the mapping of a service can look at: the file, the environment, the device; and where it reports.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use formats::lxc::Config;

use super::at::At;
use super::interpolate::Lookup;
use super::load::Loaded;
use super::net::Pools;
use super::plan::Container;
use super::report::{Level, Report};
use super::yaml::Place;

/// Rights that a person can allow, and what they are.
pub const RIGHTS: &[(&str, &str)] = &[
    ("caps", "capabilities beyond those of a confined container"),
    ("devices", "device nodes"),
    ("mounts", "files of the device"),
    ("network", "the network of the device"),
    ("privileged", "every capability and all of /dev"),
];

/// All that a mapping sees.
pub(crate) struct World<'a> {
    pub(crate) loaded: &'a Loaded,
    pub(crate) environment: Lookup<'a>,
    /// What is allowed: `caps`, or `web:caps`.
    pub(crate) allow: &'a [String],
    pub(crate) pools: Pools,
    /// Which services use a named volume, and where: the first owns it.
    pub(crate) shared: BTreeMap<String, Vec<(String, String)>>,
    pub(crate) report: Report,
}

/// A service of the file.
pub(crate) struct Service<'a> {
    pub(crate) name: &'a str,
    at: At<'a>,
    /// The keys that somebody has looked at.
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Service<'a> {
    pub(crate) fn new(name: &'a str, at: At<'a>) -> Self {
        Self { name, at, asked: RefCell::default() }
    }

    pub(crate) const fn place(&self) -> &'a Place {
        self.at.place
    }

    /// All of it.
    pub(crate) const fn whole(&self) -> &At<'a> {
        &self.at
    }

    /// A key that says something.
    pub(crate) fn get(&self, key: &str) -> Option<At<'a>> {
        self.asked.borrow_mut().insert(key.to_owned());
        self.at.get(key).filter(|at| !at.is_null())
    }

    /// The keys that somebody has looked at.
    #[cfg(test)]
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }
}

impl World<'_> {
    /// Whether a service has a right; if not, that is told.
    pub(crate) fn right(&mut self, service: &str, right: &str, at: &At<'_>, what: &str) -> bool {
        let own = format!("{service}:{right}");
        if self.allow.iter().any(|allowed| allowed == right || *allowed == own) {
            return true;
        }
        at.say(&mut self.report, Level::Right, format!("{what}; `--allow {own}` allows it"));
        false
    }

    /// Adds a line to a configuration, if a device would read it.
    pub(crate) fn line(&mut self, container: &mut Container, at: &At<'_>, line: String) {
        // A value that ends its line would begin one of its own.
        if line.contains(char::is_control) {
            return at.wrong(&mut self.report, "a control character has no place in a configuration");
        }
        match Config::parse(line.as_bytes()) {
            Ok(_) => container.lines.push(line),
            Err(error) => at.wrong(&mut self.report, format!("a device does not read `{line}`: {error}")),
        }
    }

    /// What paths of the file that a value stands in are relative to.
    pub(crate) fn base(&self, at: &At<'_>) -> PathBuf {
        let file = &at.node.place.file;
        self.loaded.bases.get(file).cloned().unwrap_or_else(|| self.loaded.directory.clone())
    }

    /// A path that a value names.
    pub(crate) fn path(&self, at: &At<'_>, text: &str) -> PathBuf {
        self.base(at).join(Path::new(text))
    }

    /// A variable of the environment, or of `.env`.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).or_else(|| self.loaded.dotenv.get(name).cloned())
    }
}

/// A place in a container, without slashes at its ends.
pub(crate) fn inside(text: &str) -> Result<String, String> {
    let inside = text.strip_prefix('/').ok_or("a place in a container begins with `/`")?.trim_end_matches('/');
    let inside: Vec<&str> = inside.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let inside = inside.join("/");
    formats::path::relative(&inside).map_err(|why| format!("no place in a container: {why}"))?;
    if inside.contains(|c: char| c.is_whitespace() || c == '\\' || c == '"' || c == '\'') {
        return Err("a place in a container has no blanks and no quotes here".into());
    }
    Ok(inside)
}

/// Whether a place is another one, or below it.
pub(crate) fn is_below(path: &str, above: &str) -> bool {
    path == above || path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}
