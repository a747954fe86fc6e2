//! A directory as a tar: every name of it as it is, and nothing that a link leads to.
//!
//! Directories are entered by descriptor, so that nobody can put a link in the place of one meanwhile. What is mounted
//! below is left out, as `tar --one-file-system` does; sockets are left out, because they mean nothing without their
//! program. Attributes are asked for through the C library, so that `fakeroot` and `pseudo` can have their say.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::super::Limits;
use super::super::tar::{Entry, Kind, Writer};
use super::Owner;
use crate::error::{Context as _, Error, Result};
use crate::watch::Watch;

/// Directories in each other: each one that is being read is an open file.
const DEPTH_MAX: usize = 256;

/// The most that the kernel gives of attributes.
const XATTR_MAX: usize = 64 * 1024;

/// Writes a directory as a tar.
pub(super) fn archive(root: &Path, owner: Owner, to: &File, limits: Limits, watch: &dyn Watch) -> Result<()> {
    let top = open(root, root, OFlags::DIRECTORY)?;
    let device = top.metadata().context("read", root)?.dev();
    let archive = Writer::new(BufWriter::with_capacity(256 * 1024, to));
    let mut walk = Walk { root, device, owner, archive, links: HashMap::new(), entries: 0, bytes: 0, limits, watch };
    watch.begin("reading", 0);
    walk.directory(&top, Path::new(""), 0)?;
    walk.archive.finish().map(drop).map_err(|error| full(&error))?;
    watch.end();
    Ok(())
}

struct Walk<'w> {
    root: &'w Path,
    device: u64,
    owner: Owner,
    archive: Writer<BufWriter<&'w File>>,
    /// The first names of files that have several.
    links: HashMap<(u64, u64), PathBuf>,
    entries: usize,
    bytes: u64,
    limits: Limits,
    watch: &'w dyn Watch,
}

impl Walk<'_> {
    fn directory(&mut self, opened: &File, inside: &Path, depth: usize) -> Result<()> {
        let shown = self.root.join(inside);
        if depth > DEPTH_MAX {
            return Err(Error::user(format!("{}: more than {DEPTH_MAX} directories in each other", shown.display())));
        }
        let here = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
        let mut names: Vec<OsString> = Vec::new();
        for entry in fs::read_dir(&here).context("read", &shown)? {
            names.push(entry.context("read", &shown)?.file_name());
            if self.entries + names.len() > self.limits.entries {
                return Err(self.too_many());
            }
        }
        names.sort();
        for name in names {
            let (at, inside, shown) = (here.join(&name), inside.join(&name), shown.join(&name));
            self.name(&at, &inside, &shown, depth)?;
        }
        Ok(())
    }

    /// Writes one name, which is at `at` for the kernel and at `shown` for a person.
    fn name(&mut self, at: &Path, inside: &Path, shown: &Path, depth: usize) -> Result<()> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(self.too_many());
        }
        let metadata = at.symlink_metadata().context("read", shown)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            let opened = open(at, shown, OFlags::DIRECTORY)?;
            let metadata = opened.metadata().context("read", shown)?;
            self.put(Kind::Directory, inside, &metadata, xattrs(at, shown)?, &mut io::empty())?;
            return if metadata.dev() == self.device { self.directory(&opened, inside, depth + 1) } else { Ok(()) };
        }
        if kind.is_socket() {
            return Ok(());
        }
        if metadata.nlink() > 1 {
            let first = self.links.entry((metadata.dev(), metadata.ino())).or_insert_with(|| inside.to_owned()).clone();
            if first != inside {
                let kind = Kind::HardLink(first.into_os_string().into_vec());
                return self.put(kind, inside, &metadata, BTreeMap::new(), &mut io::empty());
            }
        }
        let xattrs = xattrs(at, shown)?;
        if !kind.is_file() {
            let kind = if kind.is_symlink() {
                Kind::Symlink(fs::read_link(at).context("read", shown)?.into_os_string().into_vec())
            } else if kind.is_fifo() {
                Kind::Fifo
            } else {
                let number = metadata.rdev();
                let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
                Kind::Device { block: kind.is_block_device(), major, minor }
            };
            return self.put(kind, inside, &metadata, xattrs, &mut io::empty());
        }
        let mut file = open(at, shown, OFlags::NONBLOCK)?;
        let metadata = file.metadata().context("read", shown)?;
        let len = metadata.len();
        self.bytes = self.bytes.saturating_add(len);
        if !metadata.is_file() || self.bytes > self.limits.bytes {
            return Err(if metadata.is_file() {
                Error::user(format!("{}: more than {} bytes are in it", self.root.display(), self.limits.bytes))
                    .hint("if that is right, allow more: --max-bytes")
            } else {
                Error::user(format!("{}: it becomes something else while it is read", shown.display()))
            });
        }
        self.put(Kind::File { offset: 0, len }, inside, &metadata, xattrs, &mut file).map_err(|error| {
            error.hint(format!("{}: is somebody writing to it? It must hold still while it is read", shown.display()))
        })?;
        self.watch.advance(len);
        Ok(())
    }

    fn put(
        &mut self,
        kind: Kind,
        inside: &Path,
        metadata: &Metadata,
        xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
        contents: &mut dyn io::Read,
    ) -> Result<()> {
        let (uid, gid) = match self.owner {
            Owner::Kept => (metadata.uid(), metadata.gid()),
            Owner::Root => (0, 0),
        };
        let entry = Entry {
            path: inside.as_os_str().as_bytes().to_vec(),
            kind,
            mode: (metadata.mode() & 0o7777) as u16,
            uid,
            gid,
            mtime: u32::try_from(metadata.mtime().max(0)).unwrap_or(u32::MAX),
            xattrs,
        };
        self.archive.append(&entry, contents).map_err(|error| {
            let shown = self.root.join(inside);
            Error::user(format!("cannot read {}: {error}", shown.display()))
        })
    }

    fn too_many(&self) -> Error {
        Error::user(format!("{}: more than {} files are in it", self.root.display(), self.limits.entries))
            .hint("if that is right, allow more: --max-files")
    }
}

/// Opens what has the name, and not what it leads to. The root may be a link: somebody has named it.
fn open(at: &Path, shown: &Path, flags: OFlags) -> Result<File> {
    let follow = if at == shown { OFlags::empty() } else { OFlags::NOFOLLOW };
    let flags = (flags | follow).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(at).context("open", shown).map_err(|error| {
        match error.hint {
            Some(_) => error.hint("files of others are read as root (fakeroot cannot), or make them readable"),
            None => error,
        }
    })
}

/// The extended attributes of a name; none on a file system that has none.
fn xattrs(at: &Path, shown: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut buffer = vec![0_u8; XATTR_MAX];
    let len = match rustix::fs::llistxattr(at, &mut buffer) {
        Err(rustix::io::Errno::NOTSUP) => return Ok(BTreeMap::new()),
        listed => listed.context("read the attributes of", shown)?,
    };
    let list = buffer.get(..len).unwrap_or_default().to_vec();
    let mut found = BTreeMap::new();
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let len = match rustix::fs::lgetxattr(at, OsStr::from_bytes(name), &mut buffer) {
            // Gone meanwhile, or the system's own affair.
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::NOTSUP) => continue,
            read => read.context("read the attributes of", shown)?,
        };
        found.insert(name.to_vec(), buffer.get(..len).unwrap_or_default().to_vec());
    }
    Ok(found)
}

fn full(error: &io::Error) -> Error {
    Error::user(format!("cannot write to a temporary file: {error}")).hint("make room, or set TMPDIR")
}
