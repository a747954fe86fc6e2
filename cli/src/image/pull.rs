//! From a source to an image in hand: what it is, its layers, and one tree of them.
//!
//! ```text
//!   describe: manifest, configuration ──▶ fetch: packed layers ──unpack──▶ tar ──diff_id──▶ layer of the tree
//!                  └ enough to tell whether it was made before
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::Limits;
use super::digest::Digest;
use super::fetch;
use super::flatten::apply;
use super::layout::serves;
use super::manifest::Config;
use super::source::{Choice, Parts, Source};
use super::tree::{Contents, Tree};
use super::unpack::{UnpackError, unpack};
use crate::error::{Error, Result};
use crate::watch::Watch;

/// An image in hand.
#[derive(Debug)]
pub struct Image {
    /// What identifies it.
    pub digest: Digest,
    /// What to run.
    pub config: Config,
    /// Its files.
    pub tree: Tree,
    /// The unpacked layers that hold their contents.
    layers: Vec<File>,
}

impl Image {
    /// Files in hand. `layers` are what the tree says where in them its contents are.
    pub(super) fn of(digest: Digest, config: Config, tree: Tree, layers: Vec<File>) -> Self {
        Self { digest, config, tree, layers }
    }

    /// Another tree of the same contents.
    pub(super) fn with_tree(&self, tree: Tree) -> io::Result<Self> {
        let layers = self.layers.iter().map(File::try_clone).collect::<io::Result<_>>()?;
        Ok(Self::of(self.digest, self.config.clone(), tree, layers))
    }

    /// How many bytes its layers have.
    pub(super) fn unpacked(&self) -> io::Result<u64> {
        self.layers.iter().map(|layer| Ok(layer.metadata()?.len())).sum()
    }

    /// The contents of a file.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn contents(&self, contents: Contents) -> io::Result<impl Read + '_> {
        let layer = self.layers.get(contents.layer).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Part { layer, at: contents.offset, end: contents.offset.saturating_add(contents.len) })
    }
}

/// A part of a layer. Several may be read at the same time, so none of them moves the place where the layer is read.
struct Part<'l> {
    layer: &'l File,
    at: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let len = self.layer.read_at(buffer.get_mut(..left).unwrap_or_default(), self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

/// What is known of an image before any of its layers has come.
#[derive(Clone, Debug)]
pub struct Described {
    /// What identifies it.
    pub digest: Digest,
    /// What to run.
    pub config: Config,
    parts: Parts,
}

/// Asks what the image for a platform is.
///
/// # Errors
/// The source fails, the image is for something else or damaged, or a limit is reached.
pub fn describe(source: &dyn Source, choice: &Choice, limits: Limits) -> Result<Described> {
    let name = source.name();
    let parts = source.parts(choice)?;
    if parts.config.size > limits.document as u64 {
        let what =
            format!("{name}: its configuration has {} bytes, at most {} are read", parts.config.size, limits.document);
        return Err(Error::user(what));
    }
    let config = fetch::document(source, &parts.config, limits)?;
    let config = Config::parse(&config, limits).map_err(|why| wrong(&name, &format!("its configuration: {why}")))?;
    if !serves(choice, &config.platform) {
        let wanted: Vec<_> = choice.0.iter().map(ToString::to_string).collect();
        let what = format!("{name}: the image is for {}, not for {}", config.platform, wanted.join(" or "));
        return Err(Error::user(what).hint("name an image of the device's platform, or another --platform"));
    }
    if config.diff_ids.len() != parts.layers.len() {
        let (said, there) = (config.diff_ids.len(), parts.layers.len());
        return Err(wrong(&name, &format!("its configuration tells of {said} layers, its manifest of {there}")));
    }
    let total = parts.layers.iter().try_fold(0_u64, |sum, layer| sum.checked_add(layer.size));
    if total.is_none_or(|total| total > limits.bytes) {
        return Err(too_much(&name, limits.bytes));
    }
    Ok(Described { digest: parts.digest, config, parts })
}

/// Fetches the image for a platform. `scratch` is a directory with room for all of it, packed and unpacked.
///
/// # Errors
/// The source fails, the image is for something else or damaged, or a limit is reached; the message names the blob.
pub fn pull(source: &dyn Source, choice: &Choice, scratch: &Path, limits: Limits, watch: &dyn Watch) -> Result<Image> {
    describe(source, choice, limits)?.fetch(source, scratch, limits, watch)
}

impl Described {
    /// Fetches its layers and makes them one tree. `scratch` is a directory with room for all of it.
    ///
    /// # Errors
    /// Those of [`pull`].
    pub fn fetch(self, source: &dyn Source, scratch: &Path, limits: Limits, watch: &dyn Watch) -> Result<Image> {
        let (name, parts, config) = (source.name(), self.parts, self.config);
        let mut tree = Tree::new(limits);
        let mut layers = Vec::new();
        let mut room = limits.bytes;
        let packed = fetch::layers(source, &parts.layers, scratch, limits, watch)?;
        watch.begin("unpacking", parts.layers.iter().map(|layer| layer.size).sum());
        for (number, ((blob, mut packed), diff_id)) in parts.layers.iter().zip(packed).zip(&config.diff_ids).enumerate()
        {
            let mut layer = tempfile::tempfile_in(scratch)
                .map_err(|error| Error::io("make a temporary file in", scratch, &error))?;
            let place = format!("{name}: layer {} ({})", number + 1, blob.place);
            let (found, len) = unpack(&mut packed, &mut layer, room, &|bytes| watch.advance(bytes))
                .map_err(|error| unpack_failed(&place, error))?;
            room -= len;
            if found != *diff_id {
                return Err(wrong(
                    &name,
                    &format!("layer {} unpacks to {found}, its configuration says {diff_id}", number + 1),
                ));
            }
            apply(&mut tree, number, &layer).map_err(|error| {
                Error::user(format!("{name}: {error}"))
                    .hint("the image cannot be used as it is; build it anew, or ask its author")
            })?;
            layers.push(layer);
        }
        watch.end();
        Ok(Image::of(parts.digest, config, tree, layers))
    }
}

pub(super) fn unpack_failed(place: &str, error: UnpackError) -> Error {
    match error {
        UnpackError::Read(error) => Error::user(format!("{place}: it cannot be unpacked: {error}")),
        UnpackError::Write(error) => Error::user(format!("{place}: there is no place to unpack it: {error}"))
            .hint("make room and run the command again"),
        UnpackError::TooMuch(limit) => too_much(place, limit),
    }
}

fn too_much(name: &str, limit: u64) -> Error {
    Error::user(format!("{name}: more than {limit} bytes are left of what an image may have"))
        .hint("an image for a device is far smaller; if it is right, allow more: --max-bytes")
}

fn wrong(name: &str, what: &str) -> Error {
    Error::user(format!("{name}: {what}")).hint("the image is damaged or was made wrongly; build and push it again")
}
