//! `<container>/mdev.json`: which device nodes a container has in its `/dev`, under which names, and whose they are.
//!
//! ```text
//!   {"rules": ["tty(USB[0-9]+) 0:20 660 =modem/%1", "@13,64-95 0:0 640", "SUBSYSTEM=sound;.* 0:29 660", ".* 0:0 666"]}
//!
//!   [-][VARIABLE=pattern;…]pattern | @MAJOR,MINOR[-MINOR] | $VARIABLE=pattern    OWNER:GROUP    MODE    [=name | >name | !]
//! ```
//!
//! The lines are those of `mdev.conf`. The first that is about a device decides; one that begins with `-` lets those behind it
//! have a word, too. A device that no line is about has no node. `=` gives the node another name, which is a directory if it
//! ends with `/`; `>` leaves a link at the old one; `!` makes none. A rule says how a node looks, and nothing about who may use
//! it: that is what the device rules of the configuration are for.

mod pattern;
mod rule;
#[cfg(test)]
mod tests;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::document::{self, DocumentError, Item, Warning, Wrong};
use crate::path::{self, ContainerName};

pub use rule::{RuleError, What};

use rule::{About, Naming, Rule};

/// The longest name of a device, in bytes.
pub const NAME_MAX: usize = 128;

/// The longest description of a device by the kernel, in bytes: what it sends of one at most.
pub const UEVENT_MAX: usize = 8192;

/// What is said of a container with rules, behind its rights. It is none itself, but tells why there is more in its `/dev`.
pub const TOLD: &str = "nodes in /dev as mdev.json says, of the devices above";

/// What every container finds in its `/dev`: no rule is about it.
pub const USUAL: [&str; 13] =
    ["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "shm", "fd", "stdin", "stdout"];

/// The rules of a container, in their order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rules(Vec<Rule>);

/// A device that could have a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device<'a> {
    /// Its name below `/dev`.
    pub name: &'a str,
    /// Its numbers.
    pub numbers: (u32, u32),
    uevent: &'a str,
    subsystem: &'a str,
}

/// A node as a rule wants it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Where, relative to `/dev`.
    pub path: String,
    /// Where a link to it is wanted besides.
    pub link: Option<String>,
    /// Whose it is.
    pub uid: u32,
    /// Of which group.
    pub gid: u32,
    /// Who may open it, as far as it depends on users.
    pub mode: u32,
}

/// Reads the rules of the container of this name.
///
/// # Errors
/// [`DocumentError`] names the rule and the column in it.
pub fn rules(name: &ContainerName, text: &str, warnings: &mut Vec<Warning>) -> Result<Rules, DocumentError> {
    let document = format!("{name}/mdev.json");
    let value = document::parse(&document, text)?;
    let members = Item::root(&document, &value).members()?;
    members.only(&["rules"], warnings);
    let mut rules = Vec::new();
    for item in members.need("rules")?.items()? {
        rules.extend(Rule::parse(item.text()?).map_err(|why| item.error(Wrong::Rule(why)))?);
    }
    Ok(Rules(rules))
}

impl Rules {
    /// Whether nothing has a node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every owner and group that is given to a node.
    pub fn owners(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.0.iter().map(|rule| (rule.uid, rule.gid))
    }

    /// The node of a device, if one is wanted that every container does not have anyway. No name leads out of `/dev`.
    #[must_use]
    pub fn node(&self, device: &Device<'_>) -> Option<Node> {
        let mut found = None;
        for rule in &self.0 {
            if let Some(groups) = rule.is_about(device) {
                found = Some((rule, groups));
                if !rule.continues {
                    break;
                }
            }
        }
        let (rule, groups) = found?;
        let own = device.name.to_owned();
        let (path, link) = match &rule.naming {
            Naming::Own => (own, None),
            Naming::None => return None,
            Naming::Other { name, link } => {
                let mut path = groups.fill(name, device.name);
                if path.ends_with('/') {
                    path.push_str(last(device.name));
                }
                let link = (*link && path != own).then_some(own);
                (path, link)
            }
        };
        let is_free = |path: &str| {
            let first = path.split('/').next().unwrap_or_default();
            path.len() <= NAME_MAX && path::relative(path).is_ok() && !USUAL.contains(&first) && first != "stderr"
        };
        let link = link.filter(|link| is_free(link));
        is_free(&path).then_some(Node { path, link, uid: rule.uid, gid: rule.gid, mode: rule.mode })
    }
}

impl<'a> Device<'a> {
    /// A device from what the kernel says of it: lines `NAME=VALUE`. `None` if it has no node, or none with a usable name.
    #[must_use]
    pub fn of(uevent: &'a str, subsystem: &'a str) -> Option<Self> {
        if uevent.len() > UEVENT_MAX {
            return None;
        }
        let number = |name| value(uevent, name)?.parse().ok();
        let (name, numbers) = (value(uevent, "DEVNAME")?, (number("MAJOR")?, number("MINOR")?));
        let usable = name.len() <= NAME_MAX && path::relative(name).is_ok();
        usable.then_some(Self { name, numbers, uevent, subsystem })
    }

    /// What a rule finds under the name of a variable.
    fn variable(&self, name: &str) -> Option<&'a str> {
        match name {
            "SUBSYSTEM" => Some(self.subsystem),
            // It is there.
            "ACTION" => Some("add"),
            other => value(self.uevent, other),
        }
    }
}

impl Rule {
    fn is_about(&self, device: &Device<'_>) -> Option<pattern::Groups> {
        let matches = |(name, pattern): &(String, pattern::Pattern)| {
            device.variable(name).is_some_and(|value| pattern.is_in(value))
        };
        if !self.conditions.iter().all(matches) {
            return None;
        }
        match &self.about {
            // Scripts know some devices by the last part of their names alone.
            About::Name(pattern) => pattern.matches(device.name).or_else(|| pattern.matches(last(device.name))),
            About::Numbers { major, minors } => {
                let (is, minor) = device.numbers;
                (is == *major && (minors.0..=minors.1).contains(&minor)).then(pattern::Groups::default)
            }
            About::Variable(name, pattern) => {
                pattern.matches(device.variable(name)?).map(|_| pattern::Groups::default())
            }
        }
    }
}

/// Whether a message of the kernel says that a device with a node has come or gone.
#[must_use]
pub fn is_about_a_node(message: &[u8]) -> bool {
    let mut parts = message.get(..UEVENT_MAX).unwrap_or(message).split(|byte| *byte == 0);
    let (mut comes_or_goes, mut has_node) = (false, false);
    parts.by_ref().for_each(|part| {
        comes_or_goes |= matches!(part, b"ACTION=add" | b"ACTION=remove");
        has_node |= part.starts_with(b"DEVNAME=");
    });
    comes_or_goes && has_node
}

fn value<'a>(uevent: &'a str, name: &str) -> Option<&'a str> {
    uevent.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
