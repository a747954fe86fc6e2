//! Where the bytes of the objects of a state are: a pool, a bundle, the files of a work tree or trail, or a remote.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use formats::lxc;
use formats::object::ObjectId;
use ring::digest::{Context as Hasher, SHA256};

use crate::bundle::Bundle;
use crate::error::{Context as _, Error, Result};
use crate::http::Client;
use crate::remote::info::Info;
use crate::remote::record::Record;
use crate::repo::Pool;
use crate::watch::{Unwatched, Watch};

/// Bytes that are read at once.
const PIECE: usize = 128 * 1024;

/// The bytes of objects, by where they are.
pub(crate) enum Contents<'c> {
    /// Files by their names' hashes.
    Pool(Pool),
    /// Members of an archive.
    Bundle(&'c Bundle),
    /// Files by their keys, below a directory.
    Files(PathBuf),
    /// Somewhere else. What has been read is kept, because it is small.
    Remote { client: &'c Client, info: &'c Info, read: RefCell<BTreeMap<ObjectId, Vec<u8>>> },
}

impl<'c> Contents<'c> {
    /// Those of a remote.
    pub(crate) fn of_remote(client: &'c Client, info: &'c Info) -> Self {
        Self::Remote { client, info, read: RefCell::default() }
    }

    /// How many bytes an object has; `None`: it is not there.
    pub(crate) fn size(&self, key: &str, id: ObjectId) -> Result<Option<u64>> {
        let of_file = |path: PathBuf| match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Ok(None),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(Error::io("look at", &path, &error)),
        };
        match self {
            Self::Pool(pool) => of_file(pool.path(id)),
            Self::Files(root) => of_file(root.join(key)),
            Self::Bundle(bundle) => Ok(bundle.size(id)),
            Self::Remote { client, info, .. } => {
                Ok(Record::find(client, info, id, key, &Unwatched)?.and_then(|record| record.size))
            }
        }
    }

    /// The bytes of a small file of the state, and one more than it may have if it has more; `None`: it is not there.
    pub(crate) fn small(&self, key: &str, id: ObjectId) -> Result<Option<Vec<u8>>> {
        let limit = lxc::BYTES_MAX as u64 + 1;
        let mut bytes = Vec::new();
        match self {
            Self::Remote { client, info, read } => {
                if let Some(bytes) = read.borrow().get(&id) {
                    return Ok(Some(bytes.clone()));
                }
                let record = Record::find(client, info, id, key, &Unwatched)?;
                let Some(url) = record.and_then(|record| record.get) else { return Ok(None) };
                let mut stream = client.open(&url, 0, &Unwatched)?;
                let mut buffer = [0; 8192];
                while (bytes.len() as u64) < limit {
                    let length = stream.next(&mut buffer)?;
                    let Some(piece) = buffer.get(..length).filter(|piece| !piece.is_empty()) else { break };
                    bytes.extend_from_slice(piece);
                }
                // What has other bytes says nothing of what its name stands for.
                if bytes.len() as u64 >= limit || ObjectId::of(&bytes) != id {
                    return Ok(None);
                }
                read.borrow_mut().insert(id, bytes.clone());
            }
            local => return local.beginning(key, id, limit),
        }
        Ok(Some(bytes))
    }

    /// The first bytes of an object that is on this machine; `None`: it is not there.
    pub(crate) fn beginning(&self, key: &str, id: ObjectId, most: u64) -> Result<Option<Vec<u8>>> {
        let Some(reader) = self.open(key, id)? else { return Ok(None) };
        let mut bytes = Vec::new();
        reader.take(most).read_to_end(&mut bytes).context("read", &self.place(key, id))?;
        Ok(Some(bytes))
    }

    /// The hash of the bytes that are there under this name, and how many they are; `None`: it is not there.
    pub(crate) fn hash(&self, key: &str, id: ObjectId, watch: &dyn Watch) -> Result<Option<(ObjectId, u64)>> {
        let Some(mut reader) = self.open(key, id)? else { return Ok(None) };
        let (mut hasher, mut length, mut buffer) = (Hasher::new(&SHA256), 0, vec![0; PIECE]);
        loop {
            let read = match reader.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.context("read", &self.place(key, id))?,
            };
            let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
            hasher.update(piece);
            length += read as u64;
            watch.advance(read as u64);
        }
        let digest = <[u8; 32]>::try_from(hasher.finish().as_ref());
        let digest = digest.map_err(|_| Error::internal("SHA-256 does not have 32 bytes"))?;
        Ok(Some((ObjectId::from_digest(digest), length)))
    }

    /// Where an object is, for messages.
    pub(crate) fn place(&self, key: &str, id: ObjectId) -> PathBuf {
        match self {
            Self::Pool(pool) => pool.path(id),
            Self::Files(root) => root.join(key),
            Self::Bundle(bundle) => bundle.path().join("objects").join(id.to_string()),
            Self::Remote { info, .. } => PathBuf::from(format!("{}/{id}", info.objects)),
        }
    }

    /// A reader of an object; `None`: it is not there.
    fn open(&self, key: &str, id: ObjectId) -> Result<Option<Box<dyn Read + '_>>> {
        let path = match self {
            Self::Bundle(bundle) => {
                return Ok(bundle.reader(id)?.map(|reader| Box::new(reader) as Box<dyn Read + '_>));
            }
            Self::Pool(_) | Self::Files(_) => self.place(key, id),
            Self::Remote { .. } => return Err(Error::internal("objects of a remote are fetched, not opened")),
        };
        match File::open(&path) {
            Ok(file) if file.metadata().is_ok_and(|metadata| metadata.is_file()) => Ok(Some(Box::new(file))),
            Ok(_) => Ok(None),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(Error::io("read", &path, &error)),
        }
    }
}
