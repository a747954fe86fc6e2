//! Images in files: an OCI layout as a directory or as a tar, and what `docker save` writes.
//!
//! ```text
//!   oci-layout, index.json, blobs/sha256/HEX         OCI: every blob by its digest
//!   manifest.json [{Config, RepoTags, Layers}]       Docker: names of members; layers known by their unpacked digest
//! ```
//!
//! A tar is looked into with the same tree that layers are made of, so its links lead nowhere else either.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use formats::json::Value;

use super::Limits;
use super::digest::Digest;
use super::flatten::flatten;
use super::manifest::{Descriptor, Document, Manifest, Platform, read};
use super::source::{Blob, Choice, Parts, Source, Tried};
use super::tree::{Node, Tree};
use super::unpack::unpack;
use crate::error::{Context as _, Error, Result};

/// Files by name.
enum Files {
    Directory(PathBuf),
    Tar { archive: File, tree: Tree, path: PathBuf },
}

impl Files {
    fn tar(path: &Path, limits: Limits) -> Result<Self> {
        let mut packed = File::open(path).context("open", path)?;
        let mut archive = tempfile::tempfile().context("make a temporary file for", path)?;
        unpack(&mut packed, &mut archive, limits.bytes, &|_| {})
            .map_err(|error| super::pull::unpack_failed(&path.display().to_string(), error))?;
        let tree = flatten([&archive], limits).map_err(|error| Error::user(format!("{}: {error}", path.display())))?;
        Ok(Self::Tar { archive, tree, path: path.to_owned() })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Tar { path, .. } => path,
        }
    }

    /// A file from a byte on, and its whole length.
    fn open(&self, name: &str, from: u64) -> Result<(Box<dyn Read + '_>, u64)> {
        let missing = || Error::user(format!("{}: {name} is missing", self.path().display()));
        match self {
            Self::Directory(directory) => {
                let path = directory.join(name);
                let mut file = match File::open(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
                    opened => opened.context("open", &path)?,
                };
                let len = file.metadata().context("read", &path)?.len();
                file.seek(SeekFrom::Start(from)).context("read", &path)?;
                Ok((Box::new(file), len))
            }
            Self::Tar { archive, tree, path } => {
                let id = tree.find(name.as_bytes()).ok_or_else(missing)?;
                let Node::File(contents) = &tree.inode(id).node else { return Err(missing()) };
                let mut archive = archive;
                archive.seek(SeekFrom::Start(contents.offset.saturating_add(from))).context("read", path)?;
                Ok((Box::new(archive.take(contents.len.saturating_sub(from))), contents.len))
            }
        }
    }

    /// A small file as a whole.
    fn document(&self, name: &str, limits: Limits) -> Result<Vec<u8>> {
        let (file, len) = self.open(name, 0)?;
        if len > limits.document as u64 {
            let what =
                format!("{}: {name} has {len} bytes, at most {} are read", self.path().display(), limits.document);
            return Err(Error::user(what));
        }
        let mut bytes = Vec::new();
        file.take(len).read_to_end(&mut bytes).context("read", self.path())?;
        Ok(bytes)
    }
}

/// An OCI layout.
pub struct Layout {
    files: Files,
    tag: Option<String>,
    limits: Limits,
}

impl Layout {
    /// A directory.
    #[must_use]
    pub fn directory(path: &Path, tag: Option<&str>, limits: Limits) -> Self {
        Self { files: Files::Directory(path.to_owned()), tag: tag.map(str::to_owned), limits }
    }

    /// A tar.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn archive(path: &Path, tag: Option<&str>, limits: Limits) -> Result<Self> {
        Ok(Self { files: Files::tar(path, limits)?, tag: tag.map(str::to_owned), limits })
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::user(format!("{}: {what}", self.name()))
    }

    /// The manifest that a descriptor leads to, through indexes of indexes.
    fn resolve(&self, descriptor: &Descriptor, platform: &Choice) -> Result<(Digest, Manifest)> {
        let mut descriptor = descriptor.clone();
        for _ in 0..4 {
            let digest = descriptor.digest;
            let bytes = self.files.document(&place(&digest), self.limits)?;
            if Digest::of(&bytes) != digest {
                return Err(self.wrong(format_args!("{digest} holds other bytes than its name says")));
            }
            match Document::parse(&bytes, self.limits).map_err(|why| self.wrong(format_args!("{digest}: {why}")))? {
                Document::Manifest(manifest) => return Ok((digest, manifest)),
                Document::Index(manifests) => descriptor = platform.pick(&self.name(), &manifests)?.clone(),
            }
        }
        Err(self.wrong("indexes lead to indexes and to no image"))
    }
}

fn place(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

impl Source for Layout {
    fn name(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        format!("{}{tag}", self.files.path().display())
    }

    fn parts(&self, platform: &Choice) -> Result<Parts> {
        let bytes = self.files.document("index.json", self.limits).map_err(|error| {
            error.hint("an OCI layout is a directory (or a tar of it) with oci-layout, index.json and blobs/ in it")
        })?;
        let index =
            Document::parse(&bytes, self.limits).map_err(|why| self.wrong(format_args!("index.json: {why}")))?;
        let Document::Index(manifests) = index else { return Err(self.wrong("index.json is no index")) };
        let descriptor = match &self.tag {
            Some(tag) => manifests.iter().find(|one| one.tag.as_ref() == Some(tag)).ok_or_else(|| {
                let tags: Vec<_> = manifests.iter().filter_map(|one| one.tag.as_deref()).collect();
                self.wrong(format_args!("there is no such tag; there are: {}", tags.join(", ")))
            })?,
            None => platform.pick(&self.name(), &manifests)?,
        };
        let (digest, manifest) = self.resolve(descriptor, platform)?;
        let layers = manifest.layers.iter().map(Blob::from).collect();
        Ok(Parts { digest, config: Blob::from(&manifest.config), layers })
    }

    fn blob(&self, blob: &Blob, from: u64) -> Tried<Box<dyn Read + '_>> {
        let digest = blob.digest.ok_or_else(|| Error::internal("a blob of a layout without a digest"))?;
        Ok(self.files.open(&place(&digest), from)?.0)
    }
}

/// What `docker save` writes.
pub struct DockerArchive {
    files: Files,
    tag: Option<String>,
    limits: Limits,
}

impl DockerArchive {
    /// Opens one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(path: &Path, tag: Option<&str>, limits: Limits) -> Result<Self> {
        Ok(Self { files: Files::tar(path, limits)?, tag: tag.map(str::to_owned), limits })
    }

    /// One with a single image in hand, as a plain tar. `name` is what it is called in messages.
    pub(super) fn of(archive: File, name: &str, limits: Limits) -> Result<Self> {
        let tree = flatten([&archive], limits).map_err(|error| Error::user(format!("{name}: {error}")))?;
        Ok(Self { files: Files::Tar { archive, tree, path: name.into() }, tag: None, limits })
    }

    fn wrong(&self, what: impl std::fmt::Display) -> Error {
        Error::user(format!("{}: manifest.json: {what}", self.name()))
    }
}

impl Source for DockerArchive {
    fn name(&self) -> String {
        self.files.path().display().to_string()
    }

    fn parts(&self, _: &Choice) -> Result<Parts> {
        let bytes = self.files.document("manifest.json", self.limits)?;
        let value = read(&bytes, self.limits).map_err(|why| self.wrong(why))?;
        let images = value.as_array().ok_or_else(|| self.wrong("it is no list"))?;
        let tags = |image: &Value<'_>| -> Vec<String> {
            let list = image.as_object().and_then(|image| image.get("RepoTags")).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(|tag| tag.as_str().map(str::to_owned)).collect()
        };
        let wanted = |image: &&Value<'_>| match &self.tag {
            None => true,
            Some(tag) => {
                let wanted = [short(tag).to_owned(), format!("{}:latest", short(tag))];
                tags(image).iter().any(|tag| wanted.iter().any(|wanted| wanted == short(tag)))
            }
        };
        let found: Vec<_> = images.iter().filter(wanted).collect();
        let [image] = found.as_slice() else {
            let all: Vec<_> = images.iter().flat_map(tags).collect();
            let many = if found.is_empty() { "there is no such image" } else { "there are several images" };
            return Err(self
                .wrong(format_args!("{many}; there are: {}", all.join(", ")))
                .hint("name one: docker-archive:FILE:NAME:TAG"));
        };
        let image = image.as_object().ok_or_else(|| self.wrong("an image is no object"))?;
        let config = image.get("Config").and_then(Value::as_str).ok_or_else(|| self.wrong("`Config` is missing"))?;
        let layers = image.get("Layers").and_then(Value::as_array).ok_or_else(|| self.wrong("`Layers` is missing"))?;
        if layers.len() > self.limits.layers {
            return Err(self.wrong(format_args!("more than {} layers", self.limits.layers)));
        }
        let digest = Digest::of(&self.files.document(config, self.limits)?);
        let blob = |place: &str, digest| -> Result<Blob> {
            Ok(Blob { place: place.to_owned(), digest, size: self.files.open(place, 0)?.1 })
        };
        let layer = |layer: &Value<'_>| blob(layer.as_str().ok_or_else(|| self.wrong("a layer is no name"))?, None);
        Ok(Parts {
            digest,
            config: blob(config, Some(digest))?,
            layers: layers.iter().map(layer).collect::<Result<_>>()?,
        })
    }

    fn blob(&self, blob: &Blob, from: u64) -> Tried<Box<dyn Read + '_>> {
        Ok(self.files.open(&blob.place, from)?.0)
    }
}

/// A name as people type it: tools write those of the hub in full or not.
fn short(name: &str) -> &str {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
}

/// Whether a configuration is for a platform that will do.
pub(super) fn serves(choice: &Choice, platform: &Platform) -> bool {
    choice.0.is_empty() || choice.0.iter().any(|wanted| platform.serves(wanted))
}
