//! The list of an image: every name once, sorted, and the way to the contents of each.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

use ring::digest::{Context as Hasher, SHA256};

use super::entry::{Entry, Kind};
use super::error::ContentsError;
use super::medium::Medium;
use super::squashfs::{self, Squashfs};
use crate::image::Limits;

/// A path that is longer than this is none that Linux takes.
const PATH_MAX: usize = 4096;

/// Links that are followed for one name, as Linux does.
const LINKS_MAX: usize = 40;

/// File systems that are known by their magic and not read: name, place and bytes.
const UNREAD: &[(&str, u64, &[u8])] = &[("EROFS", 1024, &[0xe2, 0xe1, 0xf5, 0xe0]), ("ext4", 1024 + 56, &[0x53, 0xef])];

/// A file system as this module needs it. Inodes are named by a number of its own.
pub(super) trait Filesystem {
    /// The inode of the top.
    fn root(&self) -> u64;
    /// When it was written, in seconds since 1970.
    fn made(&self) -> u32;
    /// What an inode says.
    fn inode(&self, inode: u64) -> Result<Entry, ContentsError>;
    /// The names in a directory, one after the other.
    fn names(&self, inode: u64, each: &mut Each<'_>) -> Result<(), ContentsError>;
    /// The contents of a file, piece by piece.
    fn contents(&self, inode: u64, take: &mut Take<'_>) -> Result<(), ContentsError>;
}

/// What gets a name and its inode.
pub(super) type Each<'a> = dyn FnMut(&[u8], u64) -> Result<(), ContentsError> + 'a;

/// What gets a piece of contents.
pub(super) type Take<'a> = dyn FnMut(&[u8]) -> Result<(), ContentsError> + 'a;

/// An image whose names have been read.
pub struct Image<'a> {
    files: Box<dyn Filesystem + 'a>,
    entries: BTreeMap<Vec<u8>, Entry>,
    limits: Limits,
    /// Bytes of contents that have been read.
    spent: Cell<u64>,
}

impl fmt::Debug for Image<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl<'a> Image<'a> {
    /// Reads the names of an image. None if it is no file system, as far as is known here.
    ///
    /// # Errors
    /// It is one, and cannot be read.
    pub fn open(medium: impl Medium + 'a, limits: Limits) -> Result<Option<Self>, ContentsError> {
        if !squashfs::is_one(&medium) {
            let other = UNREAD.iter().find(|(_, at, magic)| begins(&medium, *at, magic));
            return other.map_or(Ok(None), |(name, ..)| {
                Err(ContentsError::Unknown(format!("it is {name}, and only squashfs is read here")))
            });
        }
        let files: Box<dyn Filesystem + 'a> = Box::new(Squashfs::open(medium)?);
        let entries = list(&*files, limits)?;
        Ok(Some(Self { files, entries, limits, spent: Cell::new(0) }))
    }

    /// Its names, without a slash at the beginning; the top is the empty one.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<Vec<u8>, Entry> {
        &self.entries
    }

    /// When it was written, in seconds since 1970.
    #[must_use]
    pub fn made(&self) -> u32 {
        self.files.made()
    }

    /// What a path leads to, links followed as in a container that runs from it.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<(&[u8], &Entry)> {
        let mut left: Vec<Vec<u8>> = parts(path);
        left.reverse();
        let (mut at, mut links): (Vec<Vec<u8>>, _) = (Vec::new(), 0);
        while let Some(part) = left.pop() {
            if part == b".." {
                at.pop();
                continue;
            }
            at.push(part);
            match &self.entries.get(&at.join(&b'/'))?.kind {
                Kind::Symlink(to) => {
                    links += 1;
                    if links > LINKS_MAX || left.len() > PATH_MAX {
                        return None;
                    }
                    at.pop();
                    if to.first() == Some(&b'/') {
                        at.clear();
                    }
                    left.extend(parts(to).into_iter().rev());
                }
                Kind::Directory => {}
                _ if left.is_empty() => {}
                _ => return None,
            }
        }
        self.entries.get_key_value(&at.join(&b'/')).map(|(path, entry)| (path.as_slice(), entry))
    }

    /// The files in a directory, by their full paths.
    pub fn below<'b>(&'b self, directory: &[u8]) -> impl Iterator<Item = (&'b [u8], &'b Entry)> {
        let prefix = [directory, b"/"].concat();
        let start = prefix.clone();
        self.entries
            .range(start..)
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .filter(|(_, entry)| entry.kind == Kind::File)
            .map(|(path, entry)| (path.as_slice(), entry))
    }

    /// The contents of a file of at most so many bytes.
    ///
    /// # Errors
    /// It has more, or cannot be read.
    pub fn read(&self, entry: &Entry, most: u64) -> Result<Vec<u8>, ContentsError> {
        if entry.size > most {
            return Err(ContentsError::TooMuch { what: "bytes in one file that is read whole", most });
        }
        let mut contents = Vec::new();
        self.pieces(entry, &mut |piece| {
            contents.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(contents)
    }

    /// The SHA-256 of the contents of a file.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn sha256(&self, entry: &Entry) -> Result<[u8; 32], ContentsError> {
        let mut hasher = Hasher::new(&SHA256);
        self.pieces(entry, &mut |piece| {
            hasher.update(piece);
            Ok(())
        })?;
        <[u8; 32]>::try_from(hasher.finish().as_ref()).map_err(|_| ContentsError::Damaged("a hash has another length"))
    }

    fn pieces(&self, entry: &Entry, take: &mut Take<'_>) -> Result<(), ContentsError> {
        let most = self.limits.bytes;
        let spent = self.spent.get().checked_add(entry.size).filter(|spent| *spent <= most);
        self.spent.set(spent.ok_or(ContentsError::TooMuch { what: "bytes of contents", most })?);
        self.files.contents(entry.inode, take)
    }
}

fn begins(medium: &impl Medium, at: u64, magic: &[u8]) -> bool {
    let mut bytes = vec![0; magic.len()];
    medium.read_at(at, &mut bytes).is_ok() && bytes == magic
}

fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec).collect()
}

/// All names of a file system.
fn list(files: &dyn Filesystem, limits: Limits) -> Result<BTreeMap<Vec<u8>, Entry>, ContentsError> {
    let mut entries = BTreeMap::new();
    let mut names = 0_usize;
    let top = files.inode(files.root())?;
    if top.kind != Kind::Directory {
        return Err(ContentsError::Damaged("its top is no directory"));
    }
    let mut open = vec![(Vec::new(), files.root())];
    // A directory has one name only. With two it could be in itself.
    let mut seen = HashSet::from([files.root()]);
    entries.insert(Vec::new(), top);
    while let Some((directory, inode)) = open.pop() {
        files.names(inode, &mut |name, inode| {
            if name.is_empty() || matches!(name, b"." | b"..") || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
                return Err(ContentsError::Damaged("a name that no file can have"));
            }
            let path = if directory.is_empty() { name.to_vec() } else { [&directory, name].join(&b'/') };
            if path.len() > PATH_MAX {
                return Err(ContentsError::Damaged("a path that is longer than 4096 bytes"));
            }
            let entry = files.inode(inode)?;
            names += path.len() + attributes(&entry);
            if entries.len() >= limits.entries {
                return Err(ContentsError::TooMuch { what: "names", most: limits.entries as u64 });
            }
            if names > limits.names {
                let what = "bytes of names, links and attributes";
                return Err(ContentsError::TooMuch { what, most: limits.names as u64 });
            }
            if entry.kind == Kind::Directory {
                if !seen.insert(inode) {
                    return Err(ContentsError::Damaged("a directory has two names"));
                }
                open.push((path.clone(), inode));
            }
            match entries.insert(path, entry) {
                None => Ok(()),
                Some(_) => Err(ContentsError::Damaged("a name is there twice")),
            }
        })?;
    }
    Ok(entries)
}

/// Bytes that an entry holds beside its path.
fn attributes(entry: &Entry) -> usize {
    let link = if let Kind::Symlink(to) = &entry.kind { to.len() } else { 0 };
    link + entry.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
}
