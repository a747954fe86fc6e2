//! Directories for the tests of this crate: removed when dropped, some of them with one megabyte of room.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use formats::object::ObjectId;
use formats::state::Revision;
use formats::verify::{Claim, KeyError, Mode, Policy, Untrusted, Verified, Verifier, verify};
use rustix::mount::{MountFlags, UnmountFlags};
use statemachine::ids::RevisionId;

use crate::dir::Dir;
use crate::objects::Objects;
use crate::trails::Trails;

pub(crate) struct Scratch {
    path: PathBuf,
    dir: Dir,
    mounted: bool,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Scratch {
    pub(crate) fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("cairn-store-{}-dir-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self { dir: Dir::open(&path).unwrap(), path, mounted: false }
    }

    /// One megabyte, and not a byte more.
    pub(crate) fn one_megabyte() -> Self {
        let mut scratch = Self::new();
        rustix::mount::mount("tmpfs", &scratch.path, "tmpfs", MountFlags::empty(), Some(c"size=1m"))
            .expect("a full disk is made with a tmpfs: run this test as root");
        scratch.mounted = true;
        scratch.dir = Dir::open(&scratch.path).unwrap();
        scratch
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(crate) fn objects(&self) -> Objects {
        Objects::open(&self.dir).unwrap()
    }

    pub(crate) fn trails(&self) -> Trails {
        Trails::open(&self.dir).unwrap()
    }

    pub(crate) fn put(&self, bytes: &[u8]) -> ObjectId {
        let id = ObjectId::of(bytes);
        self.objects().put(id, &mut &bytes[..], u64::MAX).unwrap();
        id
    }

    pub(crate) fn text(&self, rel: &str) -> String {
        std::fs::read_to_string(self.path.join(rel)).unwrap_or_else(|error| panic!("{rel}: {error}"))
    }

    pub(crate) fn has(&self, rel: &str) -> bool {
        self.path.join(rel).symlink_metadata().is_ok()
    }

    /// The names in a directory, sorted.
    pub(crate) fn names(&self, rel: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path.join(rel)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.mounted {
            let _ = rustix::mount::unmount(&self.path, UnmountFlags::DETACH);
        }
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

struct Nobody;

impl Verifier for Nobody {
    fn check(&self, _: &Claim<'_>) -> Result<(), KeyError> {
        Err(KeyError::NoKey)
    }
}

/// A revision with these members beside `#spec`, on a device that asks for no signatures.
pub(crate) fn revision(members: &str) -> Verified<Revision> {
    let comma = if members.is_empty() { "" } else { "," };
    let text = format!(r##"{{"#spec":"pantavisor-service-system@1"{comma}{members}}}"##);
    let policy = Policy { mode: Mode::Disabled, boot_chain_checks_fit: false };
    verify(Untrusted::new(Revision::parse(text.as_bytes()).unwrap()), policy, &Nobody).unwrap()
}

pub(crate) fn id(name: &str) -> RevisionId {
    RevisionId::parse(name).unwrap()
}
