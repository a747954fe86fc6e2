//! What a template asks of an image: who starts what, and which names there are in it.
//!
//! Members of `config` of `src.json` stand for those of the image, one by one; `null` takes one away.

use std::io::Read as _;

use formats::json::Json;

use crate::error::{Error, Result};
use crate::image::Image;
use crate::image::manifest::Config;
use crate::image::tree::{Node, Tree};

/// The most that is read of `/etc/passwd` and `/etc/group`, in bytes.
pub(super) const BOOK_MAX: u64 = 1024 * 1024;

/// The lists of users and groups.
pub(super) const PASSWD: &str = "etc/passwd";
pub(super) const GROUP: &str = "etc/group";

/// The members that an image's configuration has, in OCI's words and Docker's.
const MEMBERS: &[&str] = &[
    "ArgsEscaped",
    "AttachStderr",
    "AttachStdin",
    "AttachStdout",
    "Cmd",
    "Domainname",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Hostname",
    "Image",
    "Labels",
    "MacAddress",
    "NetworkDisabled",
    "OnBuild",
    "OpenStdin",
    "Shell",
    "StdinOnce",
    "StopSignal",
    "StopTimeout",
    "Tty",
    "User",
    "Volumes",
    "WorkingDir",
];

/// An image as a template sees it.
pub(super) struct Facts<'a> {
    /// What to run, with what was said instead.
    pub(super) config: Config,
    /// Its names.
    pub(super) tree: &'a Tree,
    passwd: String,
    group: String,
}

impl<'a> Facts<'a> {
    /// Those of an image in hand.
    pub(super) fn of(image: &'a Image, overrides: &Json) -> Result<Self> {
        let book = |path: &str| read(image, path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let (passwd, group) = (book(PASSWD)?, book(GROUP)?);
        Ok(Self { config: overridden(&image.config, overrides), tree: &image.tree, passwd, group })
    }

    /// Those of an image that was packed before.
    pub(super) fn packed(config: &Config, overrides: &Json, tree: &'a Tree, passwd: &[u8], group: &[u8]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { config: overridden(config, overrides), tree, passwd: text(passwd), group: text(group) }
    }

    /// The lines of the list of users, or of that of groups, split at colons.
    pub(super) fn lines(&self, path: &str) -> Vec<Vec<String>> {
        let text = if path == GROUP { &self.group } else { &self.passwd };
        text.lines().map(|line| line.split(':').map(str::to_owned).collect()).collect()
    }
}

/// What of an image's configuration was said otherwise.
fn overridden(config: &Config, overrides: &Json) -> Config {
    let mut config = config.clone();
    if let Json::Object(members) = overrides {
        for (name, value) in members {
            match value {
                Json::Null => drop(config.config.remove(name)),
                value => config.config.set(name, value.clone()),
            }
        }
    }
    config
}

/// What is said and no image has.
pub(super) fn doubts(overrides: &Json) -> Vec<String> {
    let Json::Object(members) = overrides else { return Vec::new() };
    let odd = members.iter().filter(|(name, _)| !MEMBERS.contains(&name.as_str()));
    odd.map(|(name, _)| {
        format!("`config`: an image has no {name:?}, so it means nothing; names are as in Docker, like Entrypoint")
    })
    .collect()
}

/// A file of an image, if it has one.
fn read(image: &Image, path: &str) -> Result<Vec<u8>> {
    let Some(id) = image.tree.find(path.as_bytes()) else { return Ok(Vec::new()) };
    let Node::File(contents) = &image.tree.inode(id).node else { return Ok(Vec::new()) };
    let unreadable = |error: std::io::Error| Error::user(format!("cannot read /{path} of the image: {error}"));
    let mut bytes = Vec::new();
    image.contents(*contents).map_err(unreadable)?.take(BOOK_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}
