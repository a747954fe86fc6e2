//! `_config/<container>/…`: files that a revision lays over the root of a container.
//!
//! The overlay is a read-only layer on top of the container's image: it adds and replaces files, it removes none. The
//! path within the container is the key without its first two components; hidden files are files like any other.

use crate::path::ContainerName;
use crate::state::{Class, Entry, Revision};

/// One file of an overlay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overlay<'r> {
    /// Where it appears in the container, relative to its root.
    pub path: &'r str,
    /// The file.
    pub entry: Entry<'r>,
}

/// The overlay of a container, in the order of the text. Keys that a device ignores are left out.
pub fn overlay<'r>(revision: &'r Revision, container: &ContainerName) -> impl Iterator<Item = Overlay<'r>> {
    revision.entries().filter(|entry| entry.class != Class::Ignored).filter_map(move |entry| {
        let (owner, path) = split(entry.key)?;
        (owner == container.as_str()).then_some(Overlay { path, entry })
    })
}

/// Overlays that belong to no container of this revision: their files would reach nobody.
pub fn orphans(revision: &Revision) -> impl Iterator<Item = &str> {
    revision.entries().map(|entry| entry.key).filter(|key| match split(key) {
        Some((owner, _)) => !revision.containers().iter().any(|name| name.as_str() == owner),
        None => key.starts_with("_config/"),
    })
}

/// `_config/NAME/PATH` as NAME and PATH.
fn split(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix("_config/")?.split_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    #[test]
    fn a_file_appears_at_its_path_below_the_container() {
        let id = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let text = format!(
            r##"{{"#spec":"pantavisor-service-system@1","web/run.json":{{}},"_config/web/etc/site.conf":"{id}","_config/web/.hidden":"{id}",
            "_config/web/etc/src.json":{{}},"_config/webb/x":"{id}","_config/x":"{id}"}}"##
        );
        let revision = Revision::parse(text.as_bytes()).unwrap();
        let web = ContainerName::parse("web").unwrap();
        let paths: Vec<_> = overlay(&revision, &web).map(|overlay| overlay.path).collect();
        assert_eq!(paths, ["etc/site.conf", ".hidden"]);
        assert_eq!(orphans(&revision).collect::<Vec<_>>(), ["_config/webb/x", "_config/x"]);
    }
}
