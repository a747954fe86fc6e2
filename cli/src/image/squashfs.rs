//! A tree as squashfs: the same bytes for the same image, with the same version of the tool.
//!
//! ```text
//!   tree ──sorted by name──▶ canonical tar ──stdin──▶ sqfstar ──▶ root.squashfs
//! ```
//!
//! `sqfstar` (squashfs-tools 4.5 or later) keeps what other writers lose: extended attributes, above all file
//! capabilities. File times are those of the image. Of a tar it takes no root, and makes one with mode 0755, owner 0 and
//! the time of its clock; the only way to another time is `SOURCE_DATE_EPOCH`, which is also the time of the file system
//! and the latest that a file can have. Nobody needs to be root, and nothing is extracted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Image;
use super::tar::{Entry, Kind, Writer};
use super::tree::{Id, Node, PathTooLong, Tree};
use crate::error::{Error, Result};
use crate::watch::Watch;

/// The program that writes squashfs from a tar.
const TOOL: &str = "sqfstar";

/// How images are packed where nobody says otherwise: what every kernel with squashfs of existing devices reads.
pub const PACKED: &[&str] = &["-comp", "xz"];

/// The most that is shown of what the tool says.
const SAID_MAX: i64 = 2000;

/// When an image was made, for the one who writes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// The time of the file system and of its root, and the latest of any file; without it, that of the newest file or
    /// of the image. Seconds since 1970.
    pub made: Option<u32>,
    /// What the clock says. It must not be earlier, or it would be what is written.
    pub now: u32,
}

impl Times {
    fn epoch(self, image: &Image) -> Result<u32> {
        let mut newest = image.config.created;
        image.tree.walk(|_, id, _| {
            newest = newest.max(image.tree.inode(id).attributes.mtime);
            Ok::<_, Broken>(())
        })?;
        let epoch = self.made.unwrap_or(newest);
        if epoch > self.now {
            let what = format!("the image is from the future: second {epoch} since 1970, and now is {}", self.now);
            return Err(
                Error::user(what).hint("set the clock; or SOURCE_DATE_EPOCH to the latest time that a file may have")
            );
        }
        Ok(epoch)
    }
}

/// Writes the files of an image. `options` are for the tool.
///
/// # Errors
/// The tool is missing or fails, a file of the image cannot be read, or the image is from the future.
pub fn write(image: &Image, target: &Path, times: Times, options: &[&str], watch: &dyn Watch) -> Result<()> {
    let epoch = times.epoch(image)?;
    let said = tempfile::tempfile().map_err(|error| Error::user(format!("cannot make a temporary file: {error}")))?;
    let stdio = said.try_clone().map_err(|error| Error::user(format!("cannot use a temporary file: {error}")))?;
    let mut child = Command::new(TOOL)
        .args(options)
        .args(["-no-progress", "-quiet", "-exit-on-error", "-root-mode", "755"])
        .arg(target)
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(stdio)
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::user(format!("{TOOL} is not installed; it writes the image"))
                .hint("install squashfs-tools, 4.5 or later: apt-get install squashfs-tools"),
            _ => Error::user(format!("cannot run {TOOL}: {error}")),
        })?;
    let fed = feed(image, &mut child, watch);
    let status = child.wait().map_err(|error| Error::user(format!("cannot wait for {TOOL}: {error}")))?;
    if !status.success() {
        let why = tail(said);
        return Err(Error::user(format!("{TOOL} ends with {status}: {why}"))
            .hint("if it does not know an option, it is too old: squashfs-tools 4.5 or later"));
    }
    fed
}

fn feed(image: &Image, child: &mut Child, watch: &dyn Watch) -> Result<()> {
    let input = child.stdin.take().ok_or_else(|| Error::internal("the writer of images has no input"))?;
    let mut total = 0;
    image.tree.walk(|_, id, earlier| {
        total += match &image.tree.inode(id).node {
            Node::File(contents) if earlier.is_none() => contents.len,
            _ => 0,
        };
        Ok::<_, Broken>(())
    })?;
    watch.begin("packing", total);
    let mut archive = Writer::new(BufWriter::with_capacity(256 * 1024, input));
    image.tree.walk(|path, id, earlier| {
        let len = append(image, &mut archive, path, id, earlier).map_err(|error| Broken::Io(path.to_vec(), error))?;
        watch.advance(len);
        Ok::<_, Broken>(())
    })?;
    archive.finish().map_err(|error| Broken::Io(Vec::new(), error))?;
    watch.end();
    Ok(())
}

/// Writes one name; returns how many bytes of contents it has.
fn append(
    image: &Image,
    archive: &mut Writer<impl io::Write>,
    path: &[u8],
    id: Id,
    earlier: Option<&[u8]>,
) -> io::Result<u64> {
    let entry = entry(&image.tree, path, id, earlier);
    match &image.tree.inode(id).node {
        Node::File(contents) if earlier.is_none() => {
            archive.append(&entry, &mut image.contents(*contents)?)?;
            Ok(contents.len)
        }
        _ => archive.append(&entry, &mut io::empty()).map(|()| 0),
    }
}

/// A name of a tree as the entry of a tar. `earlier` is the first name of a file that has several.
#[must_use]
pub fn entry(tree: &Tree, path: &[u8], id: Id, earlier: Option<&[u8]>) -> Entry {
    let inode = tree.inode(id);
    let kind = match (earlier, &inode.node) {
        (Some(earlier), _) => Kind::HardLink(earlier.to_vec()),
        (None, Node::Directory(_)) => Kind::Directory,
        (None, Node::File(contents)) => Kind::File { offset: 0, len: contents.len },
        (None, Node::Symlink(to)) => Kind::Symlink(to.clone()),
        (None, Node::Device { block, major, minor }) => Kind::Device { block: *block, major: *major, minor: *minor },
        (None, Node::Fifo) => Kind::Fifo,
    };
    let attributes = &inode.attributes;
    Entry {
        path: path.to_vec(),
        kind,
        mode: attributes.mode,
        uid: attributes.uid,
        gid: attributes.gid,
        mtime: attributes.mtime,
        // They belong to the file, and are said of it once.
        xattrs: if earlier.is_none() { attributes.xattrs.clone() } else { BTreeMap::new() },
    }
}

enum Broken {
    Path(PathTooLong),
    Io(Vec<u8>, io::Error),
}

impl From<PathTooLong> for Broken {
    fn from(path: PathTooLong) -> Self {
        Self::Path(path)
    }
}

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Path(PathTooLong(path)) => {
                let start = String::from_utf8_lossy(path.get(..60).unwrap_or(&path)).into_owned();
                Self::user(format!("the image holds a path of {} bytes, which no Linux takes: {start:?}…", path.len()))
            }
            Broken::Io(path, error) => {
                Self::user(format!("cannot write {:?} of the image: {error}", String::from_utf8_lossy(&path)))
            }
        }
    }
}

/// The end of what the tool said.
fn tail(mut said: File) -> String {
    let mut bytes = Vec::new();
    let len = said.metadata().map(|it| it.len()).unwrap_or_default();
    let from = len.saturating_sub(SAID_MAX.unsigned_abs());
    // What cannot be read makes a message poorer and nothing else.
    let _ = said.seek(SeekFrom::Start(from)).and_then(|_| said.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).trim().replace('\n', "; ")
}
