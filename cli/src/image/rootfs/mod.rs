//! Root file systems that are no images: a directory, or a tar that is here or far away.
//!
//! ```text
//!   directory ──read without following links──▶ tar ─┐
//!   FILE.tar[.gz|.xz|.zst] ─────────────unpack─▶ tar ─┼─▶ tree
//!   https://…#sha256=HEX ──download──▶ FILE ──────────┘     nothing of it says how to start it
//! ```
//!
//! What it runs on is found out from its programs.

mod directory;
mod download;
mod machine;

use std::fs::File;
use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::flatten::{FlattenError, Wrong, alone};
use super::manifest::Config;
use super::pull::unpack_failed;
use super::unpack::unpack;
use super::{Image, Limits};
use crate::error::{Context as _, Error, Result};
use crate::http::Client;
use crate::watch::Watch;

/// Where a root file system is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// A directory.
    Directory(PathBuf),
    /// A tar, packed or not.
    Archive(PathBuf),
    /// A tar on a server.
    Url {
        /// Its address, without what follows `#`.
        url: String,
        /// What its bytes must have.
        digest: Option<Digest>,
    },
}

/// Whose the files of a directory become.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Owner {
    /// Whose they are.
    #[default]
    Kept,
    /// All are root's.
    Root,
}

impl Owner {
    /// On the command line, the first is the default.
    pub const WORDS: [&'static str; 2] = ["kept", "root"];

    /// Reads one of [`WORDS`](Self::WORDS).
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "kept" => Some(Self::Kept),
            "root" => Some(Self::Root),
            _ => None,
        }
    }
}

impl Place {
    /// Reads `DIR`, `FILE` or `http[s]://…[#sha256=HEX]`.
    ///
    /// # Errors
    /// There is no such file, or the address is not one or could be forged on the way.
    pub fn parse(text: &str) -> Result<Self> {
        if text.contains("://") {
            return download::parse(text);
        }
        let path = PathBuf::from(text);
        let metadata = path.metadata().context("read", &path).map_err(|error| {
            error.hint("a root file system is a directory, a tar (plain, gzip, xz or zstd), or its https:// address")
        })?;
        Ok(if metadata.is_dir() { Self::Directory(path) } else { Self::Archive(path) })
    }

    /// The same for who looks from another directory.
    #[must_use]
    pub fn whole(self, cwd: &Path) -> Self {
        match self {
            Self::Directory(path) => Self::Directory(cwd.join(path)),
            Self::Archive(path) => Self::Archive(cwd.join(path)),
            url @ Self::Url { .. } => url,
        }
    }

    /// What is remembered of it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Directory(path) | Self::Archive(path) => path.display().to_string(),
            Self::Url { url, digest: None } => url.clone(),
            Self::Url { url, digest: Some(digest) } => format!("{url}#sha256={}", digest.hex()),
        }
    }

    /// The name of a container made of it: the last part, without what tells how it is packed.
    #[must_use]
    pub fn short_name(&self) -> Option<String> {
        let full = match self {
            Self::Directory(path) | Self::Archive(path) => path.file_name()?.to_str()?.to_owned(),
            Self::Url { url, .. } => url.split(['?', '#']).next()?.rsplit('/').next()?.to_owned(),
        };
        let ends = [".tar.gz", ".tar.xz", ".tar.zst", ".tgz", ".txz", ".tzst", ".tar"];
        let bare = ends.iter().find_map(|end| full.strip_suffix(end)).unwrap_or(&full);
        Some(bare.to_owned()).filter(|name| !name.is_empty())
    }
}

/// Reads a root file system. `scratch` is a directory with room for all of it.
///
/// # Errors
/// It cannot be read, is none, or is more than the limits allow; the message names the file.
pub fn read(
    place: &Place,
    owner: Owner,
    scratch: &Path,
    limits: Limits,
    client: &Client,
    watch: &dyn Watch,
) -> Result<Image> {
    let temporary =
        || tempfile::tempfile_in(scratch).map_err(|error| Error::io("make a temporary file in", scratch, &error));
    let name = place.name();
    let mut layer = temporary()?;
    let digest = match place {
        Place::Directory(path) => {
            directory::archive(path, owner, &layer, limits, watch)?;
            None
        }
        Place::Archive(path) => {
            Some(opened(&mut File::open(path).context("open", path)?, &name, &mut layer, limits, watch)?)
        }
        Place::Url { url, digest } => {
            let mut packed = temporary()?;
            download::fetch(client, url, *digest, &mut packed, limits.bytes, watch)?;
            Some(opened(&mut packed, &name, &mut layer, limits, watch)?)
        }
    };
    let mut tree = alone(&layer, limits).map_err(|error| unusable(&name, &error))?;
    if tree.names(tree.root()).is_none_or(std::collections::BTreeMap::is_empty) {
        return Err(Error::user(format!("{name}: there are no files in it")));
    }
    if owner == Owner::Root {
        tree.give_to_root();
    }
    let digest = match digest {
        Some(digest) => digest,
        None => Digest::of_file(&mut layer).map_err(|error| Error::io("read a temporary file in", scratch, &error))?,
    };
    let mut image = Image::of(digest, Config::none(), tree, vec![layer]);
    image.config.platform = machine::platform(&image);
    Ok(image)
}

fn opened(packed: &mut File, name: &str, layer: &mut File, limits: Limits, watch: &dyn Watch) -> Result<Digest> {
    let len = packed.metadata().map(|metadata| metadata.len()).unwrap_or_default();
    watch.begin("unpacking", len);
    let done = unpack(packed, layer, limits.bytes, &|bytes| watch.advance(bytes));
    watch.end();
    done.map(|(digest, _)| digest).map_err(|error| unpack_failed(name, error))
}

fn unusable(name: &str, error: &FlattenError) -> Error {
    let entry = error.entry.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    match error.wrong {
        Wrong::Whiteout => Error::user(format!("{name}: {entry:?}: names that begin with `.wh.` are marks of layers"))
            .hint("a layer of an image alone is no root file system; make a container of the image"),
        _ => Error::user(format!("{name}: {}", FlattenError { layer: None, ..error.clone() })),
    }
}

#[cfg(test)]
mod tests;
