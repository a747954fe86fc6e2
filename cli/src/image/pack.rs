//! A tree as a file system in a file: the same bytes for the same image, with the same version of the tool.
//!
//! ```text
//!   tree ──sorted by name──▶ canonical tar ──stdin──▶ mksquashfs -tar ──▶ root.squashfs
//!                                              └────▶ mkfs.erofs --tar ──▶ root.erofs
//! ```
//!
//! File times are those of the image, and no clock is in the result. Nobody needs to be root, and nothing is extracted.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::tar::{Entry, Kind, Writer};
use super::tree::{Attributes, Id, Node, PathTooLong, Tree};
use super::{Image, erofs, squashfs};
use crate::error::{Error, Result};
use crate::watch::Watch;

/// The most that is shown of what a tool says.
const SAID_MAX: i64 = 2000;

/// What a root file system is packed as. Devices mount by the last part of the name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// Small; what existing devices have.
    #[default]
    Squashfs,
    /// In blocks that are where they were: less memory and time to read, and more of it stays when something changes.
    Erofs,
}

impl Format {
    /// On the command line, the first is the default.
    pub const WORDS: [&'static str; 2] = ["squashfs", "erofs"];

    /// Reads one of [`WORDS`](Self::WORDS).
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Squashfs, Self::Erofs].into_iter().find(|format| format.as_str() == word)
    }

    /// The kernel's name, which is the end of the name of a file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
        }
    }

    /// Which version of its tool is here, as it says itself; another one may write other bytes.
    #[must_use]
    pub fn version(self) -> Option<String> {
        let (program, flag) = match self {
            Self::Squashfs => ("mksquashfs", "-version"),
            Self::Erofs => ("mkfs.erofs", "-V"),
        };
        // Not all versions call this a success.
        let said = Command::new(program).arg(flag).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        let line = String::from_utf8_lossy(&said.stdout).lines().next()?.trim().to_owned();
        line.chars().any(|letter| letter.is_ascii_digit()).then_some(line)
    }

    /// How it is packed where nobody says otherwise.
    #[must_use]
    pub const fn packed(self) -> &'static [&'static str] {
        match self {
            Self::Squashfs => squashfs::PACKED,
            Self::Erofs => erofs::PACKED,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

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
    pub(super) fn epoch(self, image: &Image) -> Result<u32> {
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

/// Writes the files of an image. `options` are for the tool of the format.
///
/// # Errors
/// The tool is missing, too old or fails, a file of the image cannot be read, or the image is from the future.
pub fn write(
    image: &Image,
    format: Format,
    target: &Path,
    times: Times,
    options: &[&str],
    watch: &dyn Watch,
) -> Result<()> {
    match format {
        Format::Squashfs => squashfs::write(image, target, times, options, watch),
        Format::Erofs => erofs::write(image, target, times, options, watch),
    }
}

/// A tool that gets the tar of an image.
pub(super) struct Tool<'t> {
    /// Its name.
    pub(super) program: &'t str,
    /// What to do if it is not there.
    pub(super) install: &'t str,
    /// What to do if it fails for a reason of its own.
    pub(super) older: &'t str,
    /// What else it is told, by names of variables.
    pub(super) env: &'t [(&'t str, &'t str)],
    /// The root directory, for a tool that takes one.
    pub(super) root: Option<Attributes>,
}

impl Tool<'_> {
    /// Runs it with the tar of an image on its standard input.
    pub(super) fn run(
        &self,
        image: &Image,
        before: &[&str],
        target: &Path,
        after: &[&str],
        watch: &dyn Watch,
    ) -> Result<()> {
        let program = self.program;
        let unusable = |error: io::Error| Error::user(format!("cannot use a temporary file: {error}"));
        let said = tempfile::tempfile().map_err(unusable)?;
        let mut child = Command::new(program)
            .args(before)
            .arg(target)
            .args(after)
            .envs(self.env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(said.try_clone().map_err(unusable)?)
            .spawn()
            .map_err(|error| self.cannot_run(&error))?;
        let fed = feed(image, self.root.as_ref(), &mut child, watch);
        let status = child.wait().map_err(|error| Error::user(format!("cannot wait for {program}: {error}")))?;
        if !status.success() {
            return Err(Error::user(format!("{program} ends with {status}: {}", tail(said))).hint(self.older));
        }
        fed
    }

    /// Why it did not begin.
    pub(super) fn cannot_run(&self, error: &io::Error) -> Error {
        let program = self.program;
        match error.kind() {
            io::ErrorKind::NotFound => {
                Error::user(format!("{program} is not installed; it writes the image")).hint(self.install)
            }
            _ => Error::user(format!("cannot run {program}: {error}")),
        }
    }
}

fn feed(image: &Image, root: Option<&Attributes>, child: &mut Child, watch: &dyn Watch) -> Result<()> {
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
    if let Some(root) = root {
        let entry = described(b".", Kind::Directory, root.clone());
        archive.append(&entry, &mut io::empty()).map_err(|error| Broken::Io(b".".to_vec(), error))?;
    }
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
    let mut attributes = inode.attributes.clone();
    if earlier.is_some() {
        // They belong to the file, and are said of it once.
        attributes.xattrs = BTreeMap::new();
    }
    described(path, kind, attributes)
}

fn described(path: &[u8], kind: Kind, attributes: Attributes) -> Entry {
    let Attributes { mode, uid, gid, mtime, xattrs } = attributes;
    Entry { path: path.to_vec(), kind, mode, uid, gid, mtime, xattrs }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_called_as_the_kernel_calls_it() {
        for word in Format::WORDS {
            assert_eq!(Format::parse(word).unwrap().as_str(), word);
        }
        assert_eq!(Format::parse(Format::WORDS[0]), Some(Format::default()));
        assert_eq!(Format::parse("ext4"), None);
    }
}
