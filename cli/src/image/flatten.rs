//! Layers over each other, made one tree as an overlay of them would show it.
//!
//! | entry of a layer | |
//! |---|---|
//! | `DIR/.wh.NAME` | takes NAME of the layers below away |
//! | `DIR/.wh..wh..opq` | takes everything in DIR of the layers below away |
//! | `DIR/.wh..wh.*` | books of an old storage driver; they mean nothing |
//! | a directory where one is | gives it its attributes; what is in it stays |
//! | anything else | replaces what has its name |
//!
//! What a layer takes away goes before anything that it brings, wherever the entries stand: a layer does not hide what it
//! brings itself. A hard link may still name a file that its own layer takes away further down, as tools that work from
//! the top of a layer to its end have it. A directory on the way that is a link is the directory it leads to, inside the
//! image. Names that begin with `/` or hold `..` are refused, because no honest tool writes them and every reader takes
//! them differently.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{Read, Seek};

use super::Limits;
use super::tar::{Entry, Kind, Reader, TarError};
use super::tree::{Attributes, Contents, Id, Inode, Node, Tree};

/// How names begin that are not names of files.
pub(super) const WHITEOUT: &[u8] = b".wh.";
const BOOKS: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What squashfs holds of a device number: twelve bits and twenty.
const MAJOR_MAX: u32 = (1 << 12) - 1;
const MINOR_MAX: u32 = (1 << 20) - 1;

/// The longest link that Linux has.
const LINK_MAX: usize = 4095;

/// Why layers cannot be made one tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlattenError {
    /// Which layer, from 0; none where a directory was to be added to the result.
    pub layer: Option<usize>,
    /// The entry, as far as one is to blame.
    pub entry: Option<Vec<u8>>,
    /// What is wrong.
    pub wrong: Wrong,
}

/// What is wrong with an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// The archive.
    Tar(TarError),
    /// A name that begins with `/`.
    Absolute,
    /// A name with `..` in it.
    Climbs,
    /// A name that no file can have.
    Name,
    /// A whiteout of nothing, or one that is more than that.
    Whiteout,
    /// A part of the name is neither a directory nor a link to one.
    NoDirectory,
    /// Links that lead round and round.
    Loop,
    /// A link that is empty or too long.
    Link,
    /// A hard link to a name that is not there.
    NoTarget(Vec<u8>),
    /// A hard link to a directory.
    Target(Vec<u8>),
    /// A device number that squashfs cannot hold.
    Number,
    /// More files than the limit.
    Entries(usize),
    /// More bytes of names than the limit.
    Names(usize),
}

/// Makes one tree of layers, the lowest first.
///
/// # Errors
/// [`FlattenError`] names layer and entry.
pub fn flatten<R: Read + Seek>(layers: impl IntoIterator<Item = R>, limits: Limits) -> Result<Tree, FlattenError> {
    let mut tree = Tree::new(limits);
    for (number, layer) in layers.into_iter().enumerate() {
        apply(&mut tree, number, layer)?;
    }
    Ok(tree)
}

/// Puts one more layer on top of a tree.
///
/// # Errors
/// [`FlattenError`]; the tree is of no use then.
pub fn apply<R: Read + Seek>(tree: &mut Tree, number: usize, mut layer: R) -> Result<(), FlattenError> {
    let mut linked = HashMap::new();
    for taking_away in [true, false] {
        let at = |wrong| FlattenError { layer: Some(number), entry: None, wrong: Wrong::Tar(wrong) };
        let mut reader = Reader::new(&mut layer, tree.limits()).map_err(at)?;
        while let Some(entry) = reader.entry().map_err(at)? {
            let done = components(&entry.path).and_then(|path| match path.split_last() {
                Some((_, parents)) if parents.iter().any(|parent| parent.starts_with(BOOKS)) => Ok(()),
                Some((name, parents)) if name.starts_with(WHITEOUT) => {
                    if taking_away {
                        take_away(tree, parents, name)
                    } else {
                        Ok(())
                    }
                }
                _ if taking_away => match &entry.kind {
                    Kind::HardLink(to) => remember(tree, to, &mut linked),
                    _ => Ok(()),
                },
                last => bring(tree, number, last, &entry, &linked),
            });
            done.map_err(|wrong| FlattenError { layer: Some(number), entry: Some(entry.path), wrong })?;
        }
    }
    Ok(())
}

/// Makes a tree of one archive that lies over nothing, so that no name in it is a mark.
///
/// # Errors
/// [`FlattenError`] names the entry.
pub fn alone<R: Read + Seek>(archive: R, limits: Limits) -> Result<Tree, FlattenError> {
    let mut tree = Tree::new(limits);
    let at = |wrong| FlattenError { layer: None, entry: None, wrong: Wrong::Tar(wrong) };
    let mut reader = Reader::new(archive, limits).map_err(at)?;
    while let Some(entry) = reader.entry().map_err(at)? {
        let done =
            components(&entry.path).and_then(|path| bring(&mut tree, 0, path.split_last(), &entry, &HashMap::new()));
        done.map_err(|wrong| FlattenError { layer: None, entry: Some(entry.path), wrong })?;
    }
    Ok(tree)
}

/// The components of a name; none is the root.
fn components(path: &[u8]) -> Result<Vec<Vec<u8>>, Wrong> {
    if path.starts_with(b"/") {
        return Err(Wrong::Absolute);
    }
    let mut components = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(Wrong::Climbs),
            name if name.contains(&0) => return Err(Wrong::Name),
            name => components.push(name.to_vec()),
        }
    }
    Ok(components)
}

fn take_away(tree: &mut Tree, parents: &[Vec<u8>], name: &[u8]) -> Result<(), Wrong> {
    let hidden = match name.strip_prefix(WHITEOUT) {
        None | Some(b"" | b"." | b"..") => return Err(Wrong::Whiteout),
        Some(hidden) => hidden,
    };
    // Nothing is made for the sake of taking something away.
    let Some(directory) = tree.find(&parents.join(&b'/')) else { return Ok(()) };
    if name == OPAQUE {
        tree.clear(directory);
    } else if !name.starts_with(BOOKS) {
        tree.unlink(directory, hidden);
    }
    Ok(())
}

/// Notes down which file of a lower layer a hard link names, before that name may be taken away.
fn remember(tree: &mut Tree, to: &[u8], linked: &mut HashMap<Vec<u8>, Id>) -> Result<(), Wrong> {
    if let Ok(id) = target(tree, to)
        && linked.insert(to.to_vec(), id).is_none()
    {
        tree.weigh(to.len())?;
    }
    Ok(())
}

/// Puts an entry into the tree. `linked` are files of lower layers that hard links of this one name.
fn bring(
    tree: &mut Tree,
    layer: usize,
    last: Option<(&Vec<u8>, &[Vec<u8>])>,
    entry: &Entry,
    linked: &HashMap<Vec<u8>, Id>,
) -> Result<(), Wrong> {
    let attributes = attributes(entry);
    let Some((name, parents)) = last else {
        // The root is there already; anything but a directory cannot be it.
        return if entry.kind == Kind::Directory { tree.set(tree.root(), attributes) } else { Err(Wrong::Name) };
    };
    let directory = tree.make_directories(parents)?;
    let node = match &entry.kind {
        Kind::Directory => {
            if let Some(id) = tree.child(directory, name).filter(|id| tree.names(*id).is_some()) {
                return tree.set(id, attributes);
            }
            Node::Directory(BTreeMap::new())
        }
        Kind::HardLink(to) => {
            let id = match (target(tree, to), linked.get(to)) {
                (Err(Wrong::NoTarget(_)), Some(id)) => *id,
                (found, _) => found?,
            };
            return tree.link(directory, name, id);
        }
        Kind::File { offset, len } => Node::File(Contents { layer, offset: *offset, len: *len }),
        Kind::Symlink(to) if to.is_empty() || to.len() > LINK_MAX || to.contains(&0) => return Err(Wrong::Link),
        Kind::Symlink(to) => Node::Symlink(to.clone()),
        Kind::Device { major, minor, .. } if *major > MAJOR_MAX || *minor > MINOR_MAX => return Err(Wrong::Number),
        Kind::Device { block, major, minor } => Node::Device { block: *block, major: *major, minor: *minor },
        Kind::Fifo => Node::Fifo,
    };
    tree.put(directory, name, Inode { node, attributes }).map(drop)
}

/// The file that a hard link names. Its last component is not followed: a link to a link is one.
fn target(tree: &Tree, to: &[u8]) -> Result<Id, Wrong> {
    let missing = || Wrong::NoTarget(to.to_vec());
    let trimmed = to.strip_suffix(b"/").unwrap_or(to);
    let (parents, name) = match trimmed.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => {
            let (parents, name) = trimmed.split_at(slash);
            (parents, name.get(1..).unwrap_or_default())
        }
        None => (&[][..], trimmed),
    };
    let directory = tree.find(parents).ok_or_else(missing)?;
    let id = tree.child(directory, name).ok_or_else(missing)?;
    if tree.names(id).is_some() { Err(Wrong::Target(to.to_vec())) } else { Ok(id) }
}

fn attributes(entry: &Entry) -> Attributes {
    let mut xattrs = entry.xattrs.clone();
    xattrs.retain(|name, _| is_kept(name));
    Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs }
}

/// Squashfs holds three kinds of attributes, and so no POSIX access lists. What an overlay notes down for itself is not
/// part of an image, and on a device it would be believed.
fn is_kept(xattr: &[u8]) -> bool {
    let kind = |kind: &&[u8]| xattr.len() > kind.len() && xattr.starts_with(kind);
    let held: [&[u8]; 3] = [b"security.", b"trusted.", b"user."];
    let overlay: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
    held.iter().any(kind) && !overlay.iter().any(kind)
}

impl fmt::Display for FlattenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(layer) = self.layer {
            write!(f, "layer {}: ", layer + 1)?;
        }
        if let Some(entry) = &self.entry {
            write!(f, "{:?}: ", String::from_utf8_lossy(entry))?;
        }
        let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        match &self.wrong {
            Wrong::Tar(error) => write!(f, "{error}"),
            Wrong::Absolute => f.write_str("the name begins with `/`; names in a layer are relative"),
            Wrong::Climbs => f.write_str("the name holds `..`; it would lead out of the image"),
            Wrong::Name => f.write_str("no file can have this name"),
            Wrong::Whiteout => f.write_str("a whiteout that names nothing, or has something in it"),
            Wrong::NoDirectory => f.write_str("a part of the name is a file and not a directory"),
            Wrong::Loop => f.write_str("the links on the way lead round and round"),
            Wrong::Link => write!(f, "a link leads to 1 to {LINK_MAX} bytes without NUL"),
            Wrong::NoTarget(to) => write!(f, "a hard link to {:?}, which is not in the image", shown(to)),
            Wrong::Target(to) => write!(f, "a hard link to {:?}, which is a directory", shown(to)),
            Wrong::Number => write!(f, "a device number above {MAJOR_MAX}:{MINOR_MAX}, which squashfs cannot hold"),
            Wrong::Entries(limit) => write!(f, "the image has more than {limit} files"),
            Wrong::Names(limit) => write!(f, "the names of the image are more than {limit} bytes"),
        }
    }
}

impl std::error::Error for FlattenError {}

#[cfg(test)]
mod tests;
