//! A directory tree in memory: what a layer or a root image is made of.
//!
//! Promises: the same tree gives the same bytes. Entries are sorted, belong to root and are as old as 1970; parents are
//! there before what is in them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

/// Paths without a leading slash, and what is there.
#[derive(Clone, Default)]
pub(crate) struct Tree(BTreeMap<String, Entry>);

#[derive(Clone)]
struct Entry {
    mode: u32,
    node: Node,
}

#[derive(Clone)]
enum Node {
    Dir,
    File(Vec<u8>),
    Link(String),
}

impl Tree {
    /// A directory with this mode.
    pub(crate) fn dir(mut self, path: &str, mode: u32) -> Self {
        self.put(path, mode, Node::Dir);
        self
    }

    /// A file with this mode.
    pub(crate) fn file(mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        self.put(path, mode, Node::File(bytes.into()));
        self
    }

    /// A symbolic link.
    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        self.put(path, 0o777, Node::Link(target.to_owned()));
        self
    }

    fn put(&mut self, path: &str, mode: u32, node: Node) {
        for (slash, _) in path.match_indices('/') {
            let parent = path.get(..slash).unwrap_or_default().to_owned();
            self.0.entry(parent).or_insert(Entry { mode: 0o755, node: Node::Dir });
        }
        self.0.insert(path.to_owned(), Entry { mode, node });
    }

    /// The tree as a tar archive.
    pub(crate) fn tar(&self) -> Result<Vec<u8>> {
        let mut archive = Builder::new(Vec::new());
        for (path, Entry { mode, node }) in &self.0 {
            let mut header = Header::new_gnu();
            header.set_mode(*mode);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            let bytes: &[u8] = match node {
                Node::File(bytes) => bytes,
                Node::Dir | Node::Link(_) => &[],
            };
            header.set_size(bytes.len() as u64);
            match node {
                Node::File(_) => header.set_entry_type(EntryType::Regular),
                Node::Dir => header.set_entry_type(EntryType::Directory),
                Node::Link(_) => header.set_entry_type(EntryType::Symlink),
            }
            match node {
                Node::Link(target) => archive.append_link(&mut header, path, target),
                Node::Dir => archive.append_data(&mut header, format!("{path}/"), bytes),
                Node::File(_) => archive.append_data(&mut header, path, bytes),
            }
            .with_context(|| format!("cannot pack {path}"))?;
        }
        Ok(archive.into_inner()?)
    }

    /// Writes the tree below an existing directory.
    pub(crate) fn write(&self, below: &Path) -> Result<()> {
        for (path, Entry { mode, node }) in &self.0 {
            let place = below.join(path);
            match node {
                Node::Dir => fs::create_dir(&place),
                Node::File(bytes) => fs::write(&place, bytes),
                Node::Link(target) => symlink(target, &place),
            }
            .with_context(|| format!("cannot create {}", place.display()))?;
            if !matches!(node, Node::Link(_)) {
                fs::set_permissions(&place, fs::Permissions::from_mode(*mode))?;
            }
        }
        Ok(())
    }
}

/// Compressed, without a name or a time in it.
pub(crate) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        Tree::default().file("etc/nginx/nginx.conf", 0o644, "x").link("bin/sh", "busybox").dir("tmp", 0o1777)
    }

    #[test]
    fn parents_come_first_and_the_order_of_building_leaves_no_trace() {
        let other =
            Tree::default().dir("tmp", 0o1777).link("bin/sh", "busybox").file("etc/nginx/nginx.conf", 0o644, "x");
        let bytes = tree().tar().unwrap();
        assert_eq!(bytes, other.tar().unwrap());
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names: Vec<_> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["bin/", "bin/sh", "etc/", "etc/nginx/", "etc/nginx/nginx.conf", "tmp/"]);
    }

    #[test]
    fn a_compressed_layer_has_no_time_in_it() {
        let bytes = gzip(b"layer").unwrap();
        assert_eq!(bytes.get(4..8), Some(&[0; 4][..]), "MTIME of RFC 1952");
    }
}
