//! A file system in memory: names, attributes and links; of contents only where they are.
//!
//! ```text
//!   directory ── name ──▶ inode      two names of one inode are hard links of each other
//! ```
//!
//! Every path is resolved in here, never in the file system of the host: a symbolic link is followed as it would be in
//! the running container, where `/` is the root of the image and `..` of the root is the root. Nothing is ever removed
//! from memory; what has lost its last name is just not reached any more.

use std::collections::BTreeMap;
use std::collections::HashMap;

use super::Limits;
use super::flatten::{FlattenError, WHITEOUT, Wrong};

/// Links that are followed on one way, as many as Linux follows.
const LINKS_MAX: u32 = 40;

/// Components that are looked at on one way.
const STEPS_MAX: u32 = 16 * 1024;

/// The longest path that Linux takes.
const PATH_MAX: usize = 4095;

/// The longest name that Linux and squashfs have.
const NAME_MAX: usize = 255;

/// A file of a tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Id(usize);

/// What a file is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Node {
    /// Names of other files.
    Directory(BTreeMap<Vec<u8>, Id>),
    /// Contents.
    File(Contents),
    /// A symbolic link to this text.
    Symlink(Vec<u8>),
    /// A character or block device.
    Device {
        /// Block, else character.
        block: bool,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// Where the contents of a file are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contents {
    /// Which layer, from 0.
    pub layer: usize,
    /// Where they begin in the layer, in bytes.
    pub offset: u64,
    /// How many they are.
    pub len: u64,
}

/// The attributes of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// Twelve bits of permissions.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Attributes {
    /// Those of a directory that no layer describes.
    #[must_use]
    pub const fn implied() -> Self {
        Self { mode: 0o755, uid: 0, gid: 0, mtime: 0, xattrs: BTreeMap::new() }
    }
}

/// A file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inode {
    /// What it is.
    pub node: Node,
    /// Its attributes.
    pub attributes: Attributes,
}

/// A file system.
#[derive(Clone, Debug)]
pub struct Tree {
    inodes: Vec<Inode>,
    limits: Limits,
    /// Bytes of names, links and attributes.
    names: usize,
}

impl Tree {
    const ROOT: Id = Id(0);

    /// A root and nothing in it.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let root = Inode { node: Node::Directory(BTreeMap::new()), attributes: Attributes::implied() };
        Self { inodes: vec![root], limits, names: 0 }
    }

    /// The bounds it keeps.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// The root.
    #[must_use]
    pub const fn root(&self) -> Id {
        Self::ROOT
    }

    /// A file.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "a tree gives out ids of what it holds, and never holds less")]
    pub fn inode(&self, id: Id) -> &Inode {
        &self.inodes[id.0]
    }

    #[expect(clippy::indexing_slicing, reason = "as above")]
    fn inode_mut(&mut self, id: Id) -> &mut Inode {
        &mut self.inodes[id.0]
    }

    /// The names in a directory; none in anything else.
    #[must_use]
    pub fn names(&self, id: Id) -> Option<&BTreeMap<Vec<u8>, Id>> {
        match &self.inode(id).node {
            Node::Directory(names) => Some(names),
            _ => None,
        }
    }

    /// The file of a name in a directory.
    #[must_use]
    pub fn child(&self, directory: Id, name: &[u8]) -> Option<Id> {
        self.names(directory)?.get(name).copied()
    }

    /// The file at a path, links followed; `None` if there is none.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<Id> {
        let mut way = Way::from(path);
        while let Some(step) = way.step(self).ok()? {
            match step {
                Step::Taken => {}
                Step::Missing(_) | Step::Blocked => return None,
            }
        }
        Some(way.at())
    }

    /// The directory at a path, links followed; directories that are missing on the way are made.
    ///
    /// # Errors
    /// Something on the way is neither a directory nor a link, or links lead round and round.
    pub(super) fn make_directories(&mut self, path: &[Vec<u8>]) -> Result<Id, Wrong> {
        let mut way = Way::over(path);
        while let Some(step) = way.step(self)? {
            match step {
                Step::Taken => {}
                Step::Blocked => return Err(Wrong::NoDirectory),
                Step::Missing(name) => {
                    let node = Node::Directory(BTreeMap::new());
                    let id = self.put(way.at(), &name, Inode { node, attributes: Attributes::implied() })?;
                    way.enter(id);
                }
            }
        }
        match self.names(way.at()) {
            Some(_) => Ok(way.at()),
            None => Err(Wrong::NoDirectory),
        }
    }

    /// Makes a directory, and those on the way to it, unless there is something at the path.
    ///
    /// # Errors
    /// Something on the way is no directory, or the tree is full.
    pub fn ensure_directory(&mut self, path: &[u8]) -> Result<(), FlattenError> {
        if self.find(path).is_some() {
            return Ok(());
        }
        let components: Vec<_> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        self.make_directories(&components).map(drop).map_err(|wrong| FlattenError {
            layer: None,
            entry: Some(path.to_vec()),
            wrong,
        })
    }

    /// Takes away a file that is no directory, if it is there.
    pub fn remove_file(&mut self, path: &[u8]) {
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
            None => (&[][..], path),
        };
        if let Some(directory) = self.find(parent)
            && self.child(directory, name).is_some_and(|id| self.names(id).is_none())
        {
            self.unlink(directory, name);
        }
    }

    /// Puts a new file under a name, in place of whatever had it.
    ///
    /// # Errors
    /// The tree is full.
    pub(super) fn put(&mut self, directory: Id, name: &[u8], inode: Inode) -> Result<Id, Wrong> {
        if self.inodes.len() >= self.limits.entries {
            return Err(Wrong::Entries(self.limits.entries));
        }
        self.count(&inode)?;
        let id = Id(self.inodes.len());
        self.inodes.push(inode);
        self.link(directory, name, id)?;
        Ok(id)
    }

    /// Gives a file one more name.
    ///
    /// # Errors
    /// The tree is full, or the name cannot be one.
    pub(super) fn link(&mut self, directory: Id, name: &[u8], id: Id) -> Result<(), Wrong> {
        if name.len() > NAME_MAX || name.is_empty() || name.contains(&0) {
            return Err(Wrong::Name);
        }
        // A tree that is written and read again must be the same tree.
        if name.starts_with(WHITEOUT) {
            return Err(Wrong::Whiteout);
        }
        self.weigh(name.len())?;
        match &mut self.inode_mut(directory).node {
            Node::Directory(names) => drop(names.insert(name.to_vec(), id)),
            _ => return Err(Wrong::NoDirectory),
        }
        Ok(())
    }

    /// Replaces the attributes of a file.
    ///
    /// # Errors
    /// The tree is full.
    pub(super) fn set(&mut self, id: Id, attributes: Attributes) -> Result<(), Wrong> {
        self.weigh(attributes.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum())?;
        self.inode_mut(id).attributes = attributes;
        Ok(())
    }

    /// Makes root the owner of everything.
    pub(super) fn give_to_root(&mut self) {
        for inode in &mut self.inodes {
            (inode.attributes.uid, inode.attributes.gid) = (0, 0);
        }
    }

    /// Takes a name away, if it is there.
    pub(super) fn unlink(&mut self, directory: Id, name: &[u8]) {
        if let Node::Directory(names) = &mut self.inode_mut(directory).node {
            names.remove(name);
        }
    }

    /// Takes all names of a directory away.
    pub(super) fn clear(&mut self, directory: Id) {
        if let Node::Directory(names) = &mut self.inode_mut(directory).node {
            names.clear();
        }
    }

    fn count(&mut self, inode: &Inode) -> Result<(), Wrong> {
        let link = match &inode.node {
            Node::Symlink(to) => to.len(),
            _ => 0,
        };
        let xattrs: usize = inode.attributes.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.weigh(link + xattrs)
    }

    /// Takes so many bytes off what names may be altogether.
    ///
    /// # Errors
    /// They are more than that.
    pub(super) fn weigh(&mut self, bytes: usize) -> Result<(), Wrong> {
        self.names = self.names.saturating_add(bytes);
        if self.names > self.limits.names { Err(Wrong::Names(self.limits.names)) } else { Ok(()) }
    }

    /// Shows every name but the root, parents first, in the order of their bytes. The third argument is the first name
    /// of a file that has been shown already: a hard link.
    ///
    /// # Errors
    /// Those of `show`, and a path that is longer than Linux takes.
    pub fn walk<E: From<PathTooLong>>(
        &self,
        mut show: impl FnMut(&[u8], Id, Option<&[u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut first: HashMap<Id, Vec<u8>> = HashMap::new();
        let mut open = vec![(Vec::new(), self.names(Self::ROOT).into_iter().flatten())];
        while let Some((path, names)) = open.last_mut() {
            let Some((name, id)) = names.next() else {
                open.pop();
                continue;
            };
            let mut path = path.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend(name);
            if path.len() > PATH_MAX {
                return Err(PathTooLong(path).into());
            }
            if let Some(names) = self.names(*id) {
                show(&path, *id, None)?;
                open.push((path, Some(names).into_iter().flatten()));
            } else if let Some(earlier) = first.get(id) {
                show(&path, *id, Some(earlier))?;
            } else {
                show(&path, *id, None)?;
                first.insert(*id, path);
            }
        }
        Ok(())
    }
}

/// A path that no kernel takes, though every part of it was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathTooLong(pub Vec<u8>);

/// A way through a tree, one component at a time.
struct Way {
    /// Directories from the root; empty is the root.
    behind: Vec<Id>,
    /// Components to come, the next one last.
    ahead: Vec<Vec<u8>>,
    links: u32,
    steps: u32,
}

/// What the next component turned out to be.
enum Step {
    /// Something that is there; the way is at it now, or before what a link says.
    Taken,
    /// Nothing has this name here.
    Missing(Vec<u8>),
    /// Here is no directory, so nothing has a name.
    Blocked,
}

impl Way {
    fn over(components: &[Vec<u8>]) -> Self {
        Self { behind: Vec::new(), ahead: components.iter().rev().cloned().collect(), links: 0, steps: 0 }
    }

    fn from(path: &[u8]) -> Self {
        let components: Vec<_> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        Self::over(&components)
    }

    fn at(&self) -> Id {
        self.behind.last().copied().unwrap_or(Tree::ROOT)
    }

    fn enter(&mut self, id: Id) {
        self.behind.push(id);
    }

    /// One step; `None` at the end of the way.
    fn step(&mut self, tree: &Tree) -> Result<Option<Step>, Wrong> {
        let Some(name) = self.ahead.pop() else { return Ok(None) };
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(Wrong::Loop);
        }
        let Some(names) = tree.names(self.at()) else { return Ok(Some(Step::Blocked)) };
        match name.as_slice() {
            b"" | b"." => return Ok(Some(Step::Taken)),
            b".." => {
                self.behind.pop();
                return Ok(Some(Step::Taken));
            }
            _ => {}
        }
        let Some(id) = names.get(&name).copied() else { return Ok(Some(Step::Missing(name))) };
        if let Node::Symlink(to) = &tree.inode(id).node {
            self.links += 1;
            if self.links > LINKS_MAX {
                return Err(Wrong::Loop);
            }
            if to.starts_with(b"/") {
                self.behind.clear();
            }
            self.ahead.extend(to.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
        } else {
            self.enter(id);
        }
        Ok(Some(Step::Taken))
    }
}
