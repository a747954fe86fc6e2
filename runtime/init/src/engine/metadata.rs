//! Metadata as a container sees it: files, in the directory that it has as `/pantavisor`.
//!
//! ```text
//!   key           in a manager's                      in the container `web`
//!   country       /pantavisor/user-meta/country       –
//!   web.greeting  /pantavisor/user-meta/web.greeting  /pantavisor/user-meta/greeting
//! ```
//!
//! Whoever has such a file open, or watches the directory, sees changes: a file is replaced whole, never written in place.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::PoisonError;

use formats::metadata::{Key, Metadata};
use store::dir::{Dir, DirError};
use store::metadata::MetadataStore;

use super::{Engine, EngineError, mounts};
use crate::assembly::Assembled;

/// What a file is called until it is whole; no key is called so.
const HALF: &str = ".new";

impl Engine {
    /// Brings the files of a container to what is kept.
    ///
    /// # Errors
    /// A file. What the storage cannot give is not there: no container fails for its metadata.
    pub fn show_metadata(&self, assembled: &Assembled) -> Result<(), EngineError> {
        // Whoever comes second has read what the first has, or later.
        let _turn = self.showing.lock().unwrap_or_else(PoisonError::into_inner);
        let store = Dir::open(&self.paths.storage).and_then(|storage| MetadataStore::new(&storage)).ok();
        for of in Metadata::ALL {
            let dir = self.paths.control(assembled.name.as_str()).join(of.word());
            mounts::make_dir(&dir)?;
            let files = store.as_ref().and_then(|store| files(store, of, assembled).ok()).unwrap_or_default();
            settle(&dir, &files)?;
        }
        Ok(())
    }
}

/// By their names in there.
fn files(store: &MetadataStore, of: Metadata, assembled: &Assembled) -> Result<Vec<(String, String)>, DirError> {
    let name = |key: &Key| {
        let name = if assembled.manager { Some(key.as_str()) } else { key.within(assembled.name.as_str()) };
        name.map(str::to_owned)
    };
    let mut files = Vec::new();
    for key in store.keys(of)? {
        if let (Some(name), Some(value)) = (name(&key), store.get(of, &key)?) {
            files.push((name, value));
        }
    }
    Ok(files)
}

fn settle(dir: &Path, files: &[(String, String)]) -> Result<(), EngineError> {
    for entry in fs::read_dir(dir).map_err(EngineError::file("read", dir))?.flatten() {
        let path = entry.path();
        if !files.iter().any(|(name, _)| entry.file_name() == name.as_str()) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(EngineError::file("remove", &path)(error));
                }
                _ => {}
            }
        }
    }
    for (name, value) in files {
        let (path, half) = (dir.join(name), dir.join(HALF));
        if fs::read(&path).is_ok_and(|bytes| bytes == value.as_bytes()) {
            continue;
        }
        fs::write(&half, value).and_then(|()| fs::rename(&half, &path)).map_err(EngineError::file("write", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_what_is_kept_and_an_equal_one_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let files = |list: &[(&str, &str)]| list.iter().map(pair).collect::<Vec<_>>();
        let shown = || {
            let mut shown: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            shown.sort();
            shown
        };
        settle(dir.path(), &files(&[("a", "1"), ("b", "2")])).unwrap();
        let inode = |name: &str| std::os::unix::fs::MetadataExt::ino(&fs::metadata(dir.path().join(name)).unwrap());
        let before = inode("b");
        fs::write(dir.path().join(HALF), "half").unwrap();
        settle(dir.path(), &files(&[("b", "2"), ("c", "3")])).unwrap();
        assert_eq!((shown(), inode("b")), (vec!["b".into(), "c".into()], before));
        settle(dir.path(), &files(&[("b", "4")])).unwrap();
        assert_eq!((shown(), fs::read_to_string(dir.path().join("b")).unwrap()), (vec!["b".into()], "4".into()));
    }
}
