//! Reading: the members are found first, and taken when somebody wants them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use formats::json;
use formats::object::ObjectId;
use formats::path;

use crate::contents::medium::Span;
use crate::error::{self, Context as _, Error};
use crate::image::Limits;
use crate::image::tar::{Entry, Kind, Reader, TarError};
use crate::image::unpack::{UnpackError, unpack};
use crate::remote::objects::missing;
use crate::repo::Pool;
use crate::repo::incoming::Incoming;
use crate::state::State;
use crate::watch::Watch;

/// Bytes that are copied at once.
const PIECE: usize = 128 * 1024;

/// A place in an archive: where it begins, and how many bytes it has.
type Place = (u64, u64);

/// Where things are in an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Index {
    /// The state.
    pub state: Place,
    /// The objects.
    pub objects: BTreeMap<ObjectId, Place>,
}

/// Why an archive is no bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BundleError {
    /// It is no tar, or a damaged one.
    Tar(TarError),
    /// A name that leads out of it, or is none.
    Name(String),
    /// A member that is neither a file nor a directory.
    Kind(String),
    /// Two members are the same.
    Twice(String),
    /// It has no state.
    NoState,
    /// A state of so many bytes.
    TooLong(u64),
}

impl From<TarError> for BundleError {
    fn from(error: TarError) -> Self {
        Self::Tar(error)
    }
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tar(error) => error.fmt(f),
            Self::Name(name) => write!(f, "the name {name:?} cannot be in a bundle"),
            Self::Kind(name) => write!(f, "{name:?} is neither a file nor a directory, and a bundle has nothing else"),
            Self::Twice(name) => write!(f, "{name} is in it twice"),
            Self::NoState => f.write_str("it has no member `json`, so it is no bundle of a state"),
            Self::TooLong(bytes) => {
                write!(f, "its state has {bytes} bytes, and at most {} are read", json::Limits::STATE.bytes)
            }
        }
    }
}

impl std::error::Error for BundleError {}

/// Finds what an archive has. Members that are neither a state nor an object are passed over.
///
/// # Errors
/// [`BundleError`]
pub fn index(archive: impl Read + Seek, limits: Limits) -> Result<Index, BundleError> {
    let mut reader = Reader::new(archive, limits)?;
    let (mut state, mut objects) = (None, BTreeMap::new());
    while let Some(Entry { path, kind, .. }) = reader.entry()? {
        let full = String::from_utf8_lossy(&path).into_owned();
        let name = full.strip_prefix("./").unwrap_or(&full).trim_end_matches('/');
        let is_root = matches!(name, "" | ".") && kind == Kind::Directory;
        if !is_root && (path::relative(name).is_err() || full.as_bytes() != path) {
            return Err(BundleError::Name(full));
        }
        let span = match kind {
            Kind::File { offset, len } => (offset, len),
            Kind::Directory => continue,
            _ => return Err(BundleError::Kind(full)),
        };
        let name = name.strip_prefix(".pvr/").unwrap_or(name);
        let before = match name.strip_prefix("objects/").and_then(ObjectId::parse) {
            Some(id) => objects.insert(id, span),
            None if name == "json" => state.replace(span),
            None => None,
        };
        if before.is_some() {
            return Err(BundleError::Twice(full));
        }
    }
    let state: Place = state.ok_or(BundleError::NoState)?;
    if state.1 > json::Limits::STATE.bytes as u64 {
        return Err(BundleError::TooLong(state.1));
    }
    Ok(Index { state, objects })
}

/// A bundle that was opened.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    /// Unpacked; without a name, so that it goes with this.
    archive: File,
    index: Index,
    state: State,
}

impl Bundle {
    /// Opens a file, and reads its state.
    ///
    /// # Errors
    /// It cannot be read, or is none; the message names it.
    pub fn open(path: &Path, watch: &dyn Watch) -> error::Result<Self> {
        let mut bundle = Self::open_any(path, watch)?;
        bundle.state = State::parse(&bundle.text()?, &path.join("json"))?;
        bundle.state.revision()?;
        Ok(bundle)
    }

    /// Opens a file whose state nobody has read yet: [`Bundle::state`] is empty. For who wants to say what is wrong with it.
    ///
    /// # Errors
    /// It cannot be read, or is no archive of a state; the message names it.
    pub fn open_any(path: &Path, watch: &dyn Watch) -> error::Result<Self> {
        let wrong = |what: &dyn fmt::Display| Error::user(format!("{}: {what}", path.display()));
        let mut packed = File::open(path).context("open", path)?;
        let mut archive = tempfile::tempfile().context("make a temporary file for", path)?;
        watch.begin("unpacking", packed.metadata().context("look at", path)?.len());
        let limits = Limits::DEFAULT;
        let unpacked = unpack(&mut packed, &mut archive, limits.bytes, &|bytes| watch.advance(bytes));
        watch.end();
        unpacked.map_err(|error| match error {
            UnpackError::Read(why) => wrong(&format_args!("it cannot be read or unpacked: {why}")),
            UnpackError::Write(why) => {
                Error::io("unpack into a temporary file", path, &why).hint("TMPDIR names a directory with more room")
            }
            UnpackError::TooMuch(most) => wrong(&format_args!("more than {most} bytes come out of it")),
        })?;
        let index = index(&archive, limits).map_err(|error| {
            wrong(&error).hint("a bundle is what `pvr export` writes: a tar with `json` and `objects/`")
        })?;
        Ok(Self { path: path.to_owned(), archive, index, state: State::default() })
    }

    /// Its state, which is one that can be a repository's.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The bytes of its state, as they stand in it.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn text(&self) -> error::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.part(self.index.state)?.read_to_end(&mut bytes).context("read", &self.path)?;
        Ok(bytes)
    }

    /// The file that was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The objects that it has, whether its state names them or not.
    pub fn objects(&self) -> impl Iterator<Item = ObjectId> {
        self.index.objects.keys().copied()
    }

    /// How many bytes an object has; `None`: it is not in it.
    #[must_use]
    pub fn size(&self, id: ObjectId) -> Option<u64> {
        self.index.objects.get(&id).map(|(_, len)| *len)
    }

    /// The bytes of an object, which nobody has checked. One is read at a time; `None`: it is not in it.
    ///
    /// # Errors
    /// The archive cannot be read.
    pub fn reader(&self, id: ObjectId) -> error::Result<Option<impl Read>> {
        self.index.objects.get(&id).map(|place| self.part(*place)).transpose()
    }

    fn part(&self, (offset, len): Place) -> error::Result<impl Read> {
        let mut reader = &self.archive;
        reader.seek(SeekFrom::Start(offset)).context("read", &self.path)?;
        Ok(reader.take(len))
    }

    /// An object to be read in place. Nothing of it is checked.
    ///
    /// # Errors
    /// The bundle lacks it.
    pub fn span(&self, id: ObjectId, key: &str) -> error::Result<Span> {
        let (offset, len) = *self.index.objects.get(&id).ok_or_else(|| {
            Error::user(format!("{key}: its object {id} is not in {}", self.path.display()))
                .hint("was the bundle made of other parts? ask for it whole")
        })?;
        let archive = self.archive.try_clone().context("read", &self.path)?;
        Ok(Span::of(archive, offset, len))
    }

    /// Brings objects into a pool that it does not have yet. Returns how many they were.
    ///
    /// # Errors
    /// One is neither in the bundle nor in the pool, or does not have the bytes that its name says; those before it are
    /// there.
    pub fn bring(&self, wanted: &BTreeMap<ObjectId, String>, pool: &Pool, watch: &dyn Watch) -> error::Result<usize> {
        let missing = missing(wanted, pool, watch)?;
        let mut spans = Vec::new();
        for (id, key) in &missing {
            let span = self.index.objects.get(id).ok_or_else(|| {
                let path = self.path.display();
                Error::user(format!("{key}: its object {id} is neither in {path} nor in the pool")).hint(
                    "was the bundle made of other parts? ask for it whole, or `pvr get` it from where it was made",
                )
            })?;
            spans.push((*id, *key, *span));
        }
        watch.begin("copying", spans.iter().map(|(_, _, (_, len))| len).sum());
        let done = spans.iter().try_for_each(|(id, key, span)| self.take(*id, key, *span, pool, watch));
        watch.end();
        // Nothing of one that has other bytes is of use to anybody.
        Incoming::sweep(pool);
        done?;
        pool.sync()?;
        Ok(missing.len())
    }

    fn take(&self, id: ObjectId, key: &str, place: Place, pool: &Pool, watch: &dyn Watch) -> error::Result<()> {
        let Some(mut incoming) = Incoming::open(pool, id)? else { return Ok(()) };
        // What another attempt has left may be of another source.
        incoming.restart()?;
        let (mut contents, mut buffer) = (self.part(place)?, vec![0; PIECE]);
        loop {
            let read = contents.read(&mut buffer).context("read", &self.path)?;
            let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
            incoming.write(piece)?;
            watch.advance(read as u64);
        }
        if incoming.finish()? {
            return Ok(());
        }
        let path = self.path.display();
        Err(Error::user(format!("{path}: objects/{id}, which is {key}, has other bytes than its name says"))
            .hint("the file is damaged, or somebody has changed it; nothing of it was taken"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tar::Writer;
    use std::io::Cursor;

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry { path: path.into(), kind, mode: 0o644, uid: 0, gid: 0, mtime: 0, xattrs: BTreeMap::new() }
    }

    fn archive(members: &[(&str, Kind)]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (path, kind) in members {
            writer.append(&entry(path, kind.clone()), &mut &b"{}"[..]).unwrap();
        }
        writer.finish().unwrap()
    }

    const FILE: Kind = Kind::File { offset: 0, len: 2 };

    fn found(members: &[(&str, Kind)]) -> Result<Index, BundleError> {
        index(Cursor::new(archive(members)), Limits::DEFAULT)
    }

    #[test]
    fn members_stand_in_any_order_and_under_either_name() {
        let id = ObjectId::of(b"{}");
        let object = format!("objects/{id}");
        for members in [
            [("json", FILE), (object.as_str(), FILE)],
            [(object.as_str(), FILE), ("./json", FILE)],
            [(&format!("./.pvr/{object}"), FILE), (".pvr/json", FILE)],
        ] {
            let mut all = vec![("./", Kind::Directory), ("./objects/", Kind::Directory), ("README", FILE)];
            all.extend(members);
            let index = found(&all).unwrap();
            assert_eq!((index.objects.keys().collect::<Vec<_>>(), index.state.1), (vec![&id], 2));
        }
    }

    #[test]
    fn what_could_lead_elsewhere_or_be_two_things_is_refused_by_its_name() {
        let id = ObjectId::of(b"{}");
        let object = format!("objects/{id}");
        for (bad, is) in [
            (("../x", FILE), BundleError::Name("../x".into())),
            (("/etc/passwd", FILE), BundleError::Name("/etc/passwd".into())),
            (("objects/../../x", FILE), BundleError::Name("objects/../../x".into())),
            (("x", Kind::Symlink(b"/etc".to_vec())), BundleError::Kind("x".into())),
            (("x", Kind::HardLink(b"json".to_vec())), BundleError::Kind("x".into())),
            (("x", Kind::Fifo), BundleError::Kind("x".into())),
            ((".pvr/json", FILE), BundleError::Twice(".pvr/json".into())),
            ((object.as_str(), FILE), BundleError::Twice(object.clone())),
        ] {
            assert_eq!(found(&[("json", FILE), (&object, FILE), bad]), Err(is));
        }
        assert_eq!(found(&[(&object, FILE)]), Err(BundleError::NoState));
        assert_eq!(index(Cursor::new([7; 512]), Limits::DEFAULT), Err(BundleError::Tar(TarError::Sum)));
    }
}
