//! Root images that were made before: the same image packed in the same way is not packed again.
//!
//! ```text
//!   image, format, options, version of the tool, times ──digest──▶ note {root, outline, …} ──▶ blobs of the cache
//! ```
//!
//! Beside the finished file lies an **outline** of the tree: two tars, one with its directories, its links and the small
//! files of `/etc`, one with all other files, empty. It is what a configuration is made of. A file of the second one
//! cannot be read, so what asks for more than an outline holds fails instead of finding it empty.

use std::io;
use std::path::Path;

use formats::json::Json;

use super::Limits;
use super::digest::Digest;
use super::flatten::apply;
use super::pack::{Format, Times, entry};
use super::pull::{Described, Image};
use super::tar::{Entry, Kind, Writer};
use super::tree::{Node, PathTooLong, Tree};
use super::unpack::unpack;
use crate::cache::Cache;

/// What an outline is, and what is done to a tree before it is packed. Whoever changes either counts on.
const VERSION: u32 = 1;

/// Files of `/etc` up to this size are whole in an outline: its books of users and groups are.
const WHOLE_MAX: u64 = 256 * 1024;

/// Files that are whole in an outline wherever links lead to them.
const WHOLE: [&[u8]; 2] = [b"etc/passwd", b"etc/group"];

/// The layer of a file that cannot be read.
const NOWHERE: usize = usize::MAX;

/// How well an outline is compressed: most of it is zeros.
const LEVEL: i32 = 3;

/// A root image that may have been made before.
#[derive(Clone, Debug)]
pub struct Finished<'c> {
    cache: &'c Cache,
    question: Digest,
    times: Times,
}

impl<'c> Finished<'c> {
    /// The root image of an image, packed like that. `None`: nobody can tell what the tool would write.
    #[must_use]
    pub fn of(cache: &'c Cache, image: &Digest, format: Format, packing: &[&str], times: Times) -> Option<Self> {
        let made = times.made.map(|made| made.to_string()).unwrap_or_default();
        let (tool, program) = (format.version()?, env!("CARGO_PKG_VERSION"));
        let question = format!("root {VERSION}\n{program}\n{tool}\n{image}\n{made}\n{format}\n{}", packing.join("\n"));
        Some(Self { cache, question: Digest::of(question.as_bytes()), times })
    }

    /// Puts it to `target`, if it was made before; the result is the outline of its image.
    #[must_use]
    pub fn find(&self, described: &Described, target: &Path, scratch: &Path, limits: Limits) -> Option<Image> {
        let note = self.cache.note(&self.question)?;
        let number = |member: &str| note.get(member).and_then(Json::as_str)?.parse::<u64>().ok();
        let blob = |member: &str| note.get(member).and_then(Json::as_str).and_then(Digest::parse);
        // What would be refused if it were made now is refused by making it.
        if number("unpacked")? > limits.bytes || number("epoch")? > self.times.now.into() {
            return None;
        }
        let mut tree = Tree::new(limits);
        let mut layers = Vec::new();
        for (member, layer) in [("outline", 0), ("names", NOWHERE)] {
            let mut packed = self.cache.blob(&blob(member)?)?;
            let mut tar = tempfile::tempfile_in(scratch).ok()?;
            unpack(&mut packed, &mut tar, limits.bytes, &|_| {}).ok()?;
            apply(&mut tree, layer, &tar).ok()?;
            layers.push(tar);
        }
        layers.truncate(1);
        self.cache.copy_to(&blob("root")?, target).ok()?.then_some(())?;
        Some(Image::of(described.digest, described.config.clone(), tree, layers))
    }

    /// Keeps what was made of an image.
    ///
    /// # Errors
    /// It cannot be written; then it is made again another time.
    pub fn keep(&self, image: &Image, target: &Path) -> io::Result<()> {
        let (outline, names) = outline(image)?;
        let epoch = self.times.epoch(image).map_err(|error| io::Error::other(error.message))?;
        let note = Json::object()
            .with("root", self.cache.keep_file(target)?.to_string())
            .with("outline", self.cache.keep(&outline)?.to_string())
            .with("names", self.cache.keep(&names)?.to_string())
            .with("unpacked", image.unpacked()?.to_string())
            .with("epoch", epoch.to_string());
        self.cache.set_note(&self.question, &note)
    }
}

/// The two tars, packed.
fn outline(image: &Image) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let tree = &image.tree;
    let whole = WHOLE.map(|path| tree.find(path));
    let begin = || zstd::stream::write::Encoder::new(Vec::new(), LEVEL).map(Writer::new);
    let (mut outline, mut names) = (begin()?, begin()?);
    tree.walk(|path, id, earlier| {
        let entry = entry(tree, path, id, earlier);
        match &tree.inode(id).node {
            Node::File(contents)
                if whole.contains(&Some(id)) || (contents.len <= WHOLE_MAX && path.starts_with(b"etc/")) =>
            {
                outline.append(&entry, &mut image.contents(*contents)?)?;
            }
            Node::File(_) => {
                let kind = if earlier.is_some() { entry.kind } else { Kind::File { offset: 0, len: 0 } };
                names.append(&Entry { kind, ..entry }, &mut io::empty())?;
            }
            _ => outline.append(&entry, &mut io::empty())?,
        }
        Ok::<_, Broken>(())
    })?;
    Ok((outline.finish()?.finish()?, names.finish()?.finish()?))
}

struct Broken(io::Error);

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self(error)
    }
}

impl From<PathTooLong> for Broken {
    fn from(_: PathTooLong) -> Self {
        Self(io::Error::from(io::ErrorKind::InvalidFilename))
    }
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        broken.0
    }
}
