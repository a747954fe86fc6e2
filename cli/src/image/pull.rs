//! From a source to an image in hand: blobs to files without a name, checked on the way; layers to one tree.
//!
//! ```text
//!   download ──digest, size──▶ packed ──unpack──▶ tar ──diff_id──▶ layer of the tree
//!      └ broken off: again from the byte it has, as long as each try brings something
//! ```

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use ring::digest::{Context, SHA256};

use super::Limits;
use super::digest::{Digest, digest};
use super::flatten::apply;
use super::layout::serves;
use super::manifest::Config;
use super::source::{Blob, Choice, Failure, Source, Tried};
use super::tree::{Contents, Tree};
use super::unpack::{UnpackError, unpack};
use crate::error::{Error, ErrorKind, Result};
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

/// Fetches the image for a platform. `scratch` is a directory with room for all of it, packed and unpacked.
///
/// # Errors
/// The source fails, the image is for something else or damaged, or a limit is reached; the message names the blob.
pub fn pull(source: &dyn Source, choice: &Choice, scratch: &Path, limits: Limits, watch: &dyn Watch) -> Result<Image> {
    let name = source.name();
    let parts = source.parts(choice)?;
    if parts.config.size > limits.document as u64 {
        let what =
            format!("{name}: its configuration has {} bytes, at most {} are read", parts.config.size, limits.document);
        return Err(Error::user(what));
    }
    let mut config = Vec::new();
    fetch(
        source,
        &parts.config,
        limits,
        &mut |bytes| {
            config.extend_from_slice(bytes);
            Ok(())
        },
        &|_| {},
    )?;
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
    let mut tree = Tree::new(limits);
    let mut layers = Vec::new();
    let mut room = limits.bytes;
    let temporary =
        || tempfile::tempfile_in(scratch).map_err(|error| Error::io("make a temporary file in", scratch, &error));
    for (number, (blob, diff_id)) in parts.layers.iter().zip(&config.diff_ids).enumerate() {
        let mut packed = temporary()?;
        watch.begin("downloading", blob.size);
        fetch(source, blob, limits, &mut |bytes| packed.write_all(bytes), &|bytes| watch.advance(bytes))?;
        watch.end();
        let mut layer = temporary()?;
        let place = format!("{name}: layer {} ({})", number + 1, blob.place);
        watch.begin("unpacking", blob.size);
        let (found, len) = unpack(&mut packed, &mut layer, room, &|bytes| watch.advance(bytes))
            .map_err(|error| unpack_failed(&place, error))?;
        watch.end();
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
    Ok(Image { digest: parts.digest, config, tree, layers })
}

/// The most tries for one blob, however little each of them brings.
const TRIES_MAX: u32 = 64;

/// Passes a blob on piece by piece, and fails unless the whole of it had the size and digest that were promised.
pub(super) fn fetch(
    source: &dyn Source,
    blob: &Blob,
    limits: Limits,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    seen: &dyn Fn(u64),
) -> Result<()> {
    let mut context = Context::new(&SHA256);
    let (mut have, mut failures, mut tries) = (0, 0, 0);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let before = have;
        let end = stream(source, blob, &mut buffer, &mut have, &mut |bytes| {
            context.update(bytes);
            seen(bytes.len() as u64);
            take(bytes)
        });
        match end {
            Ok(()) => break,
            Err(failure) if !failure.passing => return Err(failure.error),
            Err(failure) => {
                failures = if have > before { 0 } else { failures + 1 };
                tries += 1;
                if failures >= limits.retries || tries >= TRIES_MAX {
                    return Err(failure.error);
                }
                pause(failures);
            }
        }
    }
    let found = digest(context);
    match blob.digest {
        Some(wanted) if wanted != found => Err(Error {
            kind: if source.is_remote() { ErrorKind::Network } else { ErrorKind::User },
            message: format!("{}: {wanted} came as other bytes ({found})", source.name()),
            hint: Some(
                "something on the way changes or damages it; try another mirror, or fetch the image anew".into(),
            ),
        }),
        _ => Ok(()),
    }
}

/// One try: what is still missing of a blob, to its end.
fn stream(
    source: &dyn Source,
    blob: &Blob,
    buffer: &mut [u8],
    have: &mut u64,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Tried<()> {
    let place = |what: &str| format!("{}: {}: {what}", source.name(), blob.place);
    let kind = if source.is_remote() { ErrorKind::Network } else { ErrorKind::User };
    let broken = |what: String| Failure {
        error: Error { kind, message: place(&what), hint: None },
        passing: source.is_remote(),
    };
    if *have == blob.size {
        return Ok(());
    }
    let mut reader = source.blob(blob, *have)?;
    loop {
        let len = match reader.read(buffer) {
            Ok(0) if *have == blob.size => return Ok(()),
            Ok(0) => return Err(broken(format!("it ends after {have} of {} bytes", blob.size))),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(format!("it breaks off after {have} of {} bytes: {error}", blob.size))),
        };
        *have += len as u64;
        if *have > blob.size {
            let error = Error {
                kind,
                message: place(&format!("it has more than the {} bytes it should", blob.size)),
                hint: None,
            };
            return Err(error.into());
        }
        take(buffer.get(..len).unwrap_or_default()).map_err(|error| {
            Error::user(format!("cannot write to a temporary file: {error}")).hint("make room, or set TMPDIR")
        })?;
    }
}

/// Half a second, then twice as long each time: long enough for a server to come up again, short enough to wait for.
pub(super) fn pause(failures: u32) {
    sleep(Duration::from_millis(500) * 2_u32.saturating_pow(failures.saturating_sub(1)).min(16));
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
