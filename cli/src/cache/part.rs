//! A blob on its way: what has come stays when the rest does not, and the next try goes on behind it.
//!
//! ```text
//!   HEX.part, locked ──write──▶ … ──finish: the digest is right──▶ HEX
//!        └ its fetcher dies, or gives up: it stays, and whoever wants the blob next hashes it and goes on
//! ```
//!
//! Two programs that want the same blob fetch it once: the second waits for the lock of the first, which has time limits.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use ring::digest::{Context as Hasher, SHA256};
use rustix::fs::{FlockOperation, flock};

use super::{Cache, PART, hashing, used};
use crate::error::{Context as _, Result};
use crate::image::digest::{Digest, digest};

/// What there is of a blob that is wanted.
pub enum Wanted {
    /// All of it.
    Here(File),
    /// Some of it, or nothing.
    Part(Box<Part>),
}

/// A blob on its way.
pub struct Part {
    file: File,
    path: PathBuf,
    target: PathBuf,
    id: Digest,
    context: Hasher,
    len: u64,
}

impl Cache {
    /// A blob, or the place for it. Waits while somebody else fetches the same.
    ///
    /// # Errors
    /// There is no place to be had.
    pub fn want(&self, id: &Digest) -> Result<Wanted> {
        let target = self.blob_path(id);
        let mut path = target.clone().into_os_string();
        path.push(PART);
        let path = PathBuf::from(path);
        loop {
            if let Some(file) = self.blob(id) {
                return Ok(Wanted::Here(file));
            }
            let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = open.context("create", &path)?;
            flock(&file, FlockOperation::LockExclusive).context("lock", &path)?;
            // While we waited it may have become the blob, or been swept.
            let is_it = |there: fs::Metadata| file.metadata().is_ok_and(|ours| ours.ino() == there.ino());
            if !fs::metadata(&path).is_ok_and(is_it) || target.exists() {
                continue;
            }
            let (context, len) = hashing(&mut file).context("read", &path)?;
            return Ok(Wanted::Part(Box::new(Part { file, path, target, id: *id, context, len })));
        }
    }
}

impl Part {
    /// How many bytes there are.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing has come yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds what has come.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.context.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Throws away what there is, to begin again.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        (self.context, self.len) = (Hasher::new(&SHA256), 0);
        Ok(())
    }

    /// All has come: the blob, read from its beginning; or its digest, if that is another one than it should be. Then
    /// nothing of it stays.
    ///
    /// # Errors
    /// It cannot be put in its place.
    pub fn finish(mut self) -> Result<std::result::Result<File, Digest>> {
        let found = digest(self.context);
        if found != self.id {
            fs::remove_file(&self.path).context("remove", &self.path)?;
            return Ok(Err(found));
        }
        fs::rename(&self.path, &self.target).context("put in place", &self.target)?;
        used(&self.file);
        self.file.rewind().context("read", &self.target)?;
        Ok(Ok(self.file))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn part(cache: &Cache, id: &Digest) -> Box<Part> {
        match cache.want(id).unwrap() {
            Wanted::Part(part) => part,
            Wanted::Here(_) => panic!("it is here"),
        }
    }

    #[test]
    fn what_came_before_a_break_is_there_for_the_next() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::open(scratch.path(), 1 << 20).unwrap();
        let id = Digest::of(b"abcdef");
        part(&cache, &id).write(b"abc").unwrap();
        let mut second = part(&cache, &id);
        assert_eq!(second.len(), 3);
        second.write(b"def").unwrap();
        let mut bytes = Vec::new();
        second.finish().unwrap().unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"abcdef");
        assert!(matches!(cache.want(&id).unwrap(), Wanted::Here(_)));
    }

    #[test]
    fn what_is_wrong_at_the_end_is_thrown_away() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::open(scratch.path(), 1 << 20).unwrap();
        let id = Digest::of(b"abcdef");
        let mut first = part(&cache, &id);
        first.write(b"xbcdef").unwrap();
        assert_eq!(first.finish().unwrap().unwrap_err(), Digest::of(b"xbcdef"));
        let mut second = part(&cache, &id);
        assert!(second.is_empty());
        second.write(b"x").unwrap();
        second.restart().unwrap();
        second.write(b"abcdef").unwrap();
        assert!(second.finish().unwrap().is_ok());
    }

    #[test]
    fn who_wants_what_another_fetches_waits_for_it() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::open(scratch.path(), 1 << 20).unwrap();
        let id = Digest::of(b"abc");
        let mut first = part(&cache, &id);
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| tell.send(matches!(cache.want(&id).unwrap(), Wanted::Here(_))).unwrap());
            assert!(told.recv_timeout(Duration::from_millis(100)).is_err(), "it waits");
            first.write(b"abc").unwrap();
            first.finish().unwrap().unwrap();
            assert!(told.recv().unwrap());
        });
    }
}
