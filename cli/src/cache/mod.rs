//! What was fetched or made once and can be had again: blobs by their digest, and notes that lead to them.
//!
//! ```text
//!   DIR/blobs/HEX          bytes whose SHA-256 is HEX: documents and layers of images, finished root images
//!       blobs/HEX.part     what there is so far of a blob that is on its way; its fetcher holds a lock on it
//!       notes/HEX          a small JSON document by the digest of a question: what was made of what, as names of blobs
//!       …/new.PID.N        being written; what a dead process left is swept
//! ```
//!
//! Promises: nothing is believed because it lies here. A blob is hashed whenever it is used, and one that is not what its
//! name says is removed and counts as missing. A name appears with one rename, so several programs use one cache at once;
//! nothing is synced, because what a power cut damages is found by its digest. What a note says of a question nobody can
//! check: whoever could write here could say what an image is made of. So a directory that somebody else owns or can write
//! to is refused. What has not been used for longest goes first when it becomes too much ([`room`]).

mod part;
pub mod room;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use formats::json::{self, Json, Limits};
use ring::digest::{Context as Hasher, SHA256};
use rustix::process::geteuid;

pub use part::{Part, Wanted};

use crate::error::{Context as _, Error, Result};
use crate::image::digest::{Digest, digest};
use crate::repo::durable::temporary_in;

/// How much a cache may hold where nobody says otherwise: a dozen images as they travel and as they were made.
pub const LIMIT: u64 = 4 * 1024 * 1024 * 1024;

const BLOBS: &str = "blobs";
const NOTES: &str = "notes";
const PART: &str = ".part";

/// The bits of a mode that let the group or everybody write.
const OTHERS_WRITE: u32 = 0o022;

/// Bytes that are hashed at once.
const PIECE: usize = 256 * 1024;

/// A directory of blobs and notes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cache {
    directory: PathBuf,
    limit: u64,
}

impl Cache {
    /// The cache in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made, or is not its user's alone.
    pub fn open(directory: &Path, limit: u64) -> Result<Self> {
        for below in [BLOBS, NOTES] {
            let path = directory.join(below);
            DirBuilder::new().recursive(true).mode(0o700).create(&path).context("create", &path)?;
            for path in [directory, &path] {
                let metadata = fs::metadata(path).context("look at", path)?;
                if metadata.uid() != geteuid().as_raw() || metadata.mode() & OTHERS_WRITE != 0 {
                    let what = format!("{} is no cache of yours alone: somebody else can write there", path.display());
                    return Err(
                        Error::user(what).hint("make it yours (chown, chmod go-w), or name another: PVR_CACHE_DIR")
                    );
                }
            }
        }
        Ok(Self { directory: directory.to_owned(), limit })
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The most bytes that it keeps.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    fn blob_path(&self, id: &Digest) -> PathBuf {
        self.directory.join(BLOBS).join(id.hex())
    }

    /// A blob, read from its beginning. One that is damaged is removed.
    #[must_use]
    pub fn blob(&self, id: &Digest) -> Option<File> {
        let path = self.blob_path(id);
        let mut file = File::open(&path).ok()?;
        match hashed(&mut file) {
            Ok((found, _)) if found == *id => {
                used(&file);
                file.rewind().ok()?;
                Some(file)
            }
            // It may be another one by now; then that is fetched once more than it needs to be.
            _ => {
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// A small blob as a whole; one that is longer than `most` is not there.
    #[must_use]
    pub fn document(&self, id: &Digest, most: usize) -> Option<Vec<u8>> {
        let mut file = self.blob(id)?;
        let mut bytes = Vec::new();
        file.by_ref().take(most as u64 + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() <= most).then_some(bytes)
    }

    /// Keeps bytes.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn keep(&self, bytes: &[u8]) -> io::Result<Digest> {
        let id = Digest::of(bytes);
        self.write(&self.blob_path(&id), |file| io::Write::write_all(file, bytes))?;
        Ok(id)
    }

    /// Keeps a copy of a file; its blocks are shared where the file system can.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn keep_file(&self, from: &Path) -> io::Result<Digest> {
        let (id, _) = hashed(&mut File::open(from)?)?;
        self.write(&self.blob_path(&id), |to| io::copy(&mut File::open(from)?, to).map(drop))?;
        Ok(id)
    }

    /// Puts a blob to a path where nothing is yet, checked after it was copied. `false`: it is not here, or damaged.
    ///
    /// # Errors
    /// It cannot be written there.
    pub fn copy_to(&self, id: &Digest, target: &Path) -> io::Result<bool> {
        let path = self.blob_path(id);
        let Ok(mut from) = File::open(&path) else { return Ok(false) };
        let mut to = File::options().read(true).write(true).create_new(true).open(target)?;
        io::copy(&mut from, &mut to)?;
        to.rewind()?;
        if hashed(&mut to)?.0 == *id {
            used(&from);
            return Ok(true);
        }
        let _ = fs::remove_file(&path);
        fs::remove_file(target)?;
        Ok(false)
    }

    /// What was noted about a question.
    #[must_use]
    pub fn note(&self, question: &Digest) -> Option<Json> {
        let path = self.directory.join(NOTES).join(question.hex());
        let mut file = File::open(&path).ok()?;
        let mut bytes = Vec::new();
        file.by_ref().take(Limits::DOCUMENT.bytes as u64).read_to_end(&mut bytes).ok()?;
        let Ok(note) = json::parse(&bytes, Limits::DOCUMENT) else {
            let _ = fs::remove_file(&path);
            return None;
        };
        used(&file);
        Some(note.to_json())
    }

    /// Notes something about a question.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_note(&self, question: &Digest, note: &Json) -> io::Result<()> {
        let path = self.directory.join(NOTES).join(question.hex());
        self.write(&path, |file| io::Write::write_all(file, note.compact().as_bytes()))
    }

    /// A file that is there whole or not at all.
    fn write(&self, target: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let temporary = temporary_in(target.parent().unwrap_or(&self.directory));
        let done = File::options()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .and_then(|mut file| fill(&mut file))
            .and_then(|()| fs::rename(&temporary, target));
        if done.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        done
    }
}

/// Marks a file as used now. Where that cannot be written it is removed earlier than it should be, and fetched again.
fn used(file: &File) {
    let _ = file.set_modified(SystemTime::now());
}

/// The digest and the length of what is left to read.
fn hashed(file: &mut File) -> io::Result<(Digest, u64)> {
    let (context, len) = hashing(file)?;
    Ok((digest(context), len))
}

/// The same, to be gone on with.
fn hashing(file: &mut File) -> io::Result<(Hasher, u64)> {
    let mut context = Hasher::new(&SHA256);
    let mut buffer = vec![0; PIECE];
    let mut len = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((context, len)),
            Ok(some) => {
                context.update(buffer.get(..some).unwrap_or_default());
                len += some as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_and_what_was_damaged_is_missing() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::open(scratch.path(), LIMIT).unwrap();
        let id = cache.keep(b"abc").unwrap();
        assert_eq!(cache.document(&id, 3).unwrap(), b"abc");
        assert_eq!(cache.document(&id, 2), None, "longer than it may be");
        let target = scratch.path().join("copy");
        assert!(cache.copy_to(&id, &target).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"abc");
        fs::write(cache.blob_path(&id), b"abd").unwrap();
        let other = scratch.path().join("other");
        assert!(!cache.copy_to(&id, &other).unwrap() && !other.exists());
        assert!(!cache.blob_path(&id).exists(), "it is dropped, and can come anew");
        fs::write(cache.blob_path(&id), b"").unwrap();
        assert_eq!(cache.document(&id, 3), None);
        assert_eq!(cache.keep_file(&target).unwrap(), id);
        assert_eq!(cache.document(&id, 3).unwrap(), b"abc");
    }

    #[test]
    fn where_others_can_write_there_is_no_cache() {
        use std::os::unix::fs::PermissionsExt as _;
        let scratch = tempfile::tempdir().unwrap();
        Cache::open(scratch.path(), LIMIT).unwrap();
        for path in [scratch.path().to_owned(), scratch.path().join(NOTES)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
            let error = Cache::open(scratch.path(), LIMIT).unwrap_err();
            assert!(error.message.contains("somebody else can write there"), "{error}");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        }
        Cache::open(scratch.path(), LIMIT).unwrap();
    }

    #[test]
    fn a_note_that_is_damaged_is_none() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::open(scratch.path(), LIMIT).unwrap();
        let question = Digest::of(b"?");
        assert_eq!(cache.note(&question), None);
        cache.set_note(&question, &Json::object().with("a", "b")).unwrap();
        assert_eq!(cache.note(&question).unwrap().get("a").and_then(Json::as_str), Some("b"));
        fs::write(scratch.path().join(NOTES).join(question.hex()), "{\"a\"").unwrap();
        assert_eq!(cache.note(&question), None);
        assert_eq!(fs::read_dir(scratch.path().join(NOTES)).unwrap().count(), 0);
    }
}
