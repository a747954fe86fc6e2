//! What has to lie over one file system to make it another, as an overlay of Linux takes it.
//!
//! | in the base | in the new one | in the difference |
//! |---|---|---|
//! | the same | the same | nothing |
//! | anything | another file, or other attributes | the new one, whole |
//! | anything | nothing | a character device 0:0, which hides it |
//! | a directory | a directory | what differs in it; it stands there itself if it has other attributes, or if something in it differs |
//! | a directory of which nothing is left | a directory | an opaque one (`trusted.overlay.opaque`) with all that is in the new one |
//!
//! A file with several names is one thing: if one of its names is not in the base as it is, all are in the difference,
//! because a link does not reach from one layer of an overlay to another.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read};

use super::Image;
use super::flatten::Wrong;
use super::tree::{Attributes, Id, Inode, Node, PathTooLong, Tree};
use crate::error::{Error, Result};

const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// What hides a name.
const WHITEOUT: Node = Node::Device { block: false, major: 0, minor: 0 };

/// The files that lie over `base` to make it `new`. It has the digest and the configuration of `new`.
///
/// # Errors
/// A file cannot be read, or `new` holds what an overlay cannot show: a character device 0:0.
pub fn difference(base: &Image, new: &Image) -> Result<Image> {
    let mut search = Search {
        base,
        new,
        base_names: names(&base.tree)?,
        new_names: names(&new.tree)?,
        same: HashMap::new(),
        made: HashMap::new(),
        over: Tree::new(new.tree.limits()),
    };
    let (from, to) = (base.tree.root(), new.tree.root());
    let root = search.over.root();
    search.over.set(root, new.tree.inode(to).attributes.clone()).map_err(full)?;
    search.directory(Some(from), to, root, &mut Vec::new())?;
    let Search { over, .. } = search;
    new.with_tree(over).map_err(|error| Error::user(format!("cannot use a temporary file: {error}")))
}

struct Search<'i> {
    base: &'i Image,
    new: &'i Image,
    /// All names of each file.
    base_names: HashMap<Id, BTreeSet<Vec<u8>>>,
    new_names: HashMap<Id, BTreeSet<Vec<u8>>>,
    /// Whether a file of the base is one of the new tree; contents are compared once.
    same: HashMap<(Id, Id), bool>,
    /// What is in the difference already, for its further names.
    made: HashMap<Id, Id>,
    over: Tree,
}

/// What becomes of one name.
enum Fate {
    /// It is as it was.
    Same,
    /// Both are directories.
    Both(Id, Id),
    /// It is new, or another.
    New(Id),
    /// It is gone.
    Gone,
}

impl Search<'_> {
    /// Puts what differs between two directories into `over`.
    fn directory(&mut self, from: Option<Id>, to: Id, over: Id, path: &mut Vec<u8>) -> Result<()> {
        let none = BTreeMap::new();
        let old = from.and_then(|from| self.base.tree.names(from)).unwrap_or(&none).clone();
        let young = self.new.tree.names(to).unwrap_or(&none).clone();
        let mut fates = Vec::new();
        for name in old.keys().chain(young.keys().filter(|name| !old.contains_key(*name))) {
            let fate = self.fate(old.get(name).copied(), young.get(name).copied())?;
            fates.push((name, fate));
        }
        // Something goes and nothing shines through, so one mark does what a whiteout for each name would.
        let kept =
            fates.iter().any(|(name, fate)| old.contains_key(*name) && matches!(fate, Fate::Same | Fate::Both(..)));
        let is_gone = fates.iter().any(|(_, fate)| matches!(fate, Fate::Gone));
        let is_opaque = is_gone && !kept && over != self.over.root();
        if is_opaque {
            let mut attributes = self.over.inode(over).attributes.clone();
            attributes.xattrs.insert(OPAQUE.to_vec(), b"y".to_vec());
            self.over.set(over, attributes).map_err(full)?;
        }
        for (name, fate) in fates {
            let before = path.len();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend(name);
            match fate {
                Fate::Same => {}
                Fate::Gone if is_opaque => {}
                Fate::Gone => {
                    let attributes = Attributes { mode: 0, ..Attributes::implied() };
                    self.over.put(over, name, Inode { node: WHITEOUT, attributes }).map_err(full)?;
                }
                Fate::New(id) => self.bring(None, id, over, name, path)?,
                Fate::Both(from, id) => self.bring(Some(from), id, over, name, path)?,
            }
            path.truncate(before);
        }
        Ok(())
    }

    fn fate(&mut self, old: Option<Id>, young: Option<Id>) -> Result<Fate> {
        let (Some(from), Some(to)) = (old, young) else {
            return Ok(young.map_or(Fate::Gone, Fate::New));
        };
        let both = self.base.tree.names(from).is_some() && self.new.tree.names(to).is_some();
        Ok(if both {
            if self.all_same(from, to)? { Fate::Same } else { Fate::Both(from, to) }
        } else if self.is_same(from, to)? {
            Fate::Same
        } else {
            Fate::New(to)
        })
    }

    /// Puts one name of the new tree, with all below it that differs, into the difference.
    fn bring(&mut self, from: Option<Id>, id: Id, over: Id, name: &[u8], path: &mut Vec<u8>) -> Result<()> {
        if let Some(made) = self.made.get(&id) {
            return self.over.link(over, name, *made).map_err(full);
        }
        let inode = self.new.tree.inode(id);
        let node = match &inode.node {
            node if *node == WHITEOUT => {
                let shown = String::from_utf8_lossy(path);
                return Err(Error::user(format!(
                    "{shown:?} is the character device 0:0, which hides files in an overlay"
                ))
                .hint("make the container of the whole image, without --base and --patch"));
            }
            Node::Directory(_) => Node::Directory(BTreeMap::new()),
            node => node.clone(),
        };
        let made = Inode { node, attributes: inode.attributes.clone() };
        let made = self.over.put(over, name, made).map_err(full)?;
        if self.new.tree.names(id).is_some() {
            self.directory(from, id, made, path)
        } else {
            self.made.insert(id, made);
            Ok(())
        }
    }

    /// Whether two directories are the same with all that is below them.
    fn all_same(&mut self, from: Id, to: Id) -> Result<bool> {
        if let Some(same) = self.same.get(&(from, to)) {
            return Ok(*same);
        }
        let attributes = |image: &Image, id| image.tree.inode(id).attributes.clone();
        let mut same = attributes(self.base, from) == attributes(self.new, to);
        let old = self.base.tree.names(from).cloned().unwrap_or_default();
        let young = self.new.tree.names(to).cloned().unwrap_or_default();
        same = same && old.keys().eq(young.keys());
        for (from, to) in old.into_values().zip(young.into_values()) {
            same = same && matches!(self.fate(Some(from), Some(to))?, Fate::Same);
        }
        self.same.insert((from, to), same);
        Ok(same)
    }

    /// Whether two files that are no directories are the same, with all names they have.
    fn is_same(&mut self, from: Id, to: Id) -> Result<bool> {
        if let Some(same) = self.same.get(&(from, to)) {
            return Ok(*same);
        }
        let (old, young) = (self.base.tree.inode(from), self.new.tree.inode(to));
        let same = old.attributes == young.attributes
            && self.base_names.get(&from) == self.new_names.get(&to)
            && match (&old.node, &young.node) {
                (Node::File(old), Node::File(young)) => {
                    old.len == young.len && {
                        let unreadable = |error: io::Error| Error::user(format!("cannot read a layer: {error}"));
                        let (one, two) = (self.base.contents(*old), self.new.contents(*young));
                        equal(one.map_err(unreadable)?, two.map_err(unreadable)?).map_err(unreadable)?
                    }
                }
                (old, young) => old == young,
            };
        self.same.insert((from, to), same);
        Ok(same)
    }
}

/// All names of every file that is no directory.
fn names(tree: &Tree) -> Result<HashMap<Id, BTreeSet<Vec<u8>>>> {
    let mut names: HashMap<Id, BTreeSet<Vec<u8>>> = HashMap::new();
    tree.walk(|path, id, _| {
        if tree.names(id).is_none() {
            names.entry(id).or_default().insert(path.to_vec());
        }
        Ok::<_, PathTooLong>(())
    })
    .map_err(|PathTooLong(path)| Error::user(format!("the image holds a path of {} bytes", path.len())))?;
    Ok(names)
}

/// Whether two readers have the same bytes.
fn equal(mut one: impl Read, mut two: impl Read) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let (a, b) = (fill(&mut one, &mut left)?, fill(&mut two, &mut right)?);
        if left.get(..a) != right.get(..b) {
            return Ok(false);
        }
        if a == 0 {
            return Ok(true);
        }
    }
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// A part of a tree is never more than the whole; marks are.
fn full(wrong: Wrong) -> Error {
    let wrong = super::flatten::FlattenError { layer: None, entry: None, wrong };
    Error::user(format!("the difference of two images: {wrong}"))
}

#[cfg(test)]
mod tests;
