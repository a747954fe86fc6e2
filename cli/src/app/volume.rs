//! Writable directories of a container, by path: which of them lives how long, and what it is called on the device.
//!
//! ```text
//!   /var/lib/web:permanent          docker--var-lib-web       a directory of its own over that of the image
//!   ovl:/var:revision@disk          dockerovl--var            the image's directory, with changes kept beside it
//!   lxc-overlay:boot                lxc-overlay               all the rest
//! ```

use std::collections::BTreeMap;

use formats::json::Json;
use formats::path::ContainerName;
use formats::volume::Persistence;

use super::ROOT;
use crate::error::{Error, Result};
use crate::image::manifest::Config;

/// The storage that takes all changes of a container outside of its volumes.
pub(super) const OVERLAY: &str = "lxc-overlay";

/// What stands before the path of a directory whose changes alone are kept.
const CHANGES: &str = "ovl:";

/// A writable directory of a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Volume {
    /// Its path in the container, which `ovl:` may stand before; or `lxc-overlay`.
    pub path: String,
    persistence: Persistence,
    disk: Option<String>,
}

impl Volume {
    /// Reads `PATH:PERSISTENCE[@DISK]`.
    ///
    /// # Errors
    /// It has another form.
    pub fn parse(text: &str) -> Result<Self> {
        let (path, kept) = text.rsplit_once(':').ok_or_else(|| wrong(text, "the persistence is missing"))?;
        Self::of(path, kept, text)
    }

    /// From a member of `persistence`. `whole` is what messages show.
    pub(super) fn of(path: &str, kept: &str, whole: &str) -> Result<Self> {
        let (word, disk) = kept.split_once('@').map_or((kept, None), |(word, disk)| (word, Some(disk)));
        let persistence =
            Persistence::parse(word).ok_or_else(|| wrong(whole, "it lives permanent, revision or boot"))?;
        if path != OVERLAY {
            check_path(path.strip_prefix(CHANGES).unwrap_or(path)).map_err(|why| wrong(whole, &why))?;
        }
        if disk.is_some_and(str::is_empty) {
            return Err(wrong(whole, "the disk has no name"));
        }
        Ok(Self { path: path.to_owned(), persistence, disk: disk.map(str::to_owned) })
    }

    /// `PERSISTENCE[@DISK]`
    #[must_use]
    pub fn persistence(&self) -> String {
        let disk = self.disk.as_ref().map(|disk| format!("@{disk}")).unwrap_or_default();
        format!("{}{disk}", self.persistence)
    }

    fn of_image(path: &str) -> Result<Self> {
        check_path(path).map_err(|why| Error::user(format!("the image's volume {path:?}: {why}")))?;
        Ok(Self { path: path.to_owned(), persistence: Persistence::Permanent, disk: None })
    }

    /// Whether it is the storage of all the rest.
    pub(super) fn is_overlay(&self) -> bool {
        self.path == OVERLAY
    }

    /// Whether the image's files are seen in it, and changes alone are kept.
    pub(super) fn keeps_changes(&self) -> bool {
        self.path.starts_with(CHANGES)
    }

    /// The path without slashes at its ends.
    pub(super) fn inside(&self) -> &str {
        self.path.strip_prefix(CHANGES).unwrap_or(&self.path).trim_matches('/')
    }

    /// The name of its directory on the device.
    pub(crate) fn directory(&self) -> String {
        match (self.is_overlay(), self.keeps_changes()) {
            (true, _) => OVERLAY.to_owned(),
            (_, true) => format!("dockerovl--{}", self.inside().replace('/', "-")),
            (_, false) => format!("docker--{}", self.inside().replace('/', "-")),
        }
    }

    /// Its line, as existing tools write it; none for the storage of all the rest.
    pub(super) fn line(&self, name: &ContainerName) -> Option<String> {
        let (directory, inside) = (self.directory(), self.inside());
        match (self.is_overlay(), self.keeps_changes()) {
            (true, _) => None,
            (_, false) => Some(format!("/volumes/{name}/{directory} {inside} none bind,rw,create=dir 0 0")),
            (_, true) => {
                let own = format!("/volumes/{name}/{directory}");
                let lower = format!("lowerdir=/volumes/{name}/{ROOT}/{inside}");
                Some(format!("{own} {inside} overlay {lower},upperdir={own}/upper,workdir={own}/work,create=dir 0 0"))
            }
        }
    }

    pub(super) fn to_json(&self) -> Json {
        let json = Json::object().with("persistence", self.persistence.as_str());
        match &self.disk {
            Some(disk) => json.with("disk", disk.as_str()),
            None => json,
        }
    }
}

fn wrong(text: &str, why: &str) -> Error {
    Error::user(format!("the volume {text:?}: {why}"))
        .hint("write PATH:PERSISTENCE, like /var/lib/web:permanent, ovl:/etc:revision or lxc-overlay:revision")
}

fn check_path(path: &str) -> std::result::Result<(), String> {
    let inside = path.strip_prefix('/').ok_or("a path begins with `/`")?.trim_end_matches('/');
    formats::path::relative(inside).map_err(|why| why.to_string())?;
    if inside.contains(|c: char| c.is_whitespace() || c == '\\') { Err("no blanks, please".into()) } else { Ok(()) }
}

/// The volumes of the image and those that were named, by path; the overlay is not among them unless it was named.
pub(super) fn all(named: &[Volume], config: &Config) -> Result<Vec<Volume>> {
    let bad = |why| Error::user(format!("the image's configuration: {why}"));
    let mut found: BTreeMap<String, Volume> = BTreeMap::new();
    for path in config.names("Volumes").map_err(bad)? {
        let volume = Volume::of_image(path)?;
        found.insert(volume.inside().to_owned(), volume);
    }
    for volume in named {
        // No other volume is at the root itself.
        let key = if volume.is_overlay() { "" } else { volume.inside() };
        if let Some(before) = found.insert(key.to_owned(), volume.clone())
            && named.contains(&before)
        {
            let what = format!("{} and {} are volumes at the same place", before.path, volume.path);
            return Err(Error::user(what).hint("keep one of the two"));
        }
    }
    let mut directories = BTreeMap::new();
    for volume in found.values() {
        if let Some(other) = directories.insert(volume.directory(), &volume.path) {
            let what = format!("the volumes {other} and {} would be one directory on the device", volume.path);
            return Err(Error::user(what).hint("they differ in nothing but `/` and `-`; rename one in the image"));
        }
    }
    Ok(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_written_as_it_is_read() {
        for (text, directory) in [
            ("/var/lib/web:permanent", "docker--var-lib-web"),
            ("/var/:boot", "docker--var"),
            ("ovl:/var:revision@disk", "dockerovl--var"),
            ("lxc-overlay:permanent@dm-crypt", "lxc-overlay"),
        ] {
            let volume = Volume::parse(text).unwrap();
            assert_eq!(volume.directory(), directory);
            assert_eq!(format!("{}:{}", volume.path, volume.persistence()), text);
        }
        for text in ["", "/a", "/a:ever", "a:boot", "/a b:boot", "/../a:boot", "/a:boot@", "ovl:a:boot", "ovl:boot"] {
            assert!(Volume::parse(text).is_err(), "{text}");
        }
    }
}
