//! The states of then: each a file with its hash as name, packed. The hash is checked when one is read.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;

use formats::json::Limits;
use formats::object::ObjectId;

use super::{Entry, name};
use crate::error::{Context as _, Error, Result};
use crate::repo::Repo;
use crate::repo::durable::Prepared;
use crate::state::State;

/// What zstd packs with where nobody says otherwise.
const LEVEL: i32 = 3;

fn directory(repo: &Repo) -> PathBuf {
    repo.books().join("states")
}

/// Keeps a state. What is there is left alone.
pub(super) fn keep(repo: &Repo, state: &State) -> Result<()> {
    let directory = directory(repo);
    let path = directory.join(name(state).to_string());
    if path.is_file() {
        return Ok(());
    }
    fs::create_dir_all(&directory).context("create", &directory)?;
    let packed = zstd::encode_all(state.canonical().as_bytes(), LEVEL).context("pack", &path)?;
    // Its temporary is in the books, where what a dead one has left is swept.
    Prepared::new(repo.books(), &path, &packed, 0o644)?.publish()
}

/// Reads a state.
pub(super) fn read(repo: &Repo, id: ObjectId) -> Result<State> {
    let path = directory(repo).join(id.to_string());
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::user(format!("the state {id} is not kept any more"))
                .hint(format!("the newest {} are; a device or a bundle may have it", super::STATES)));
        }
        opened => opened.context("read", &path)?,
    };
    let damaged = || {
        Error::user(format!("{}: it is not the state that its name says", path.display()))
            .hint("remove the file; a device or a bundle may have the state")
    };
    let mut bytes = Vec::new();
    let limit = Limits::STATE.bytes as u64 + 1;
    let unpacked = zstd::stream::read::Decoder::new(file).and_then(|packed| packed.take(limit).read_to_end(&mut bytes));
    if unpacked.is_err() || ObjectId::of(&bytes) != id {
        return Err(damaged());
    }
    State::parse(&bytes, &path)
}

/// Forgets all but the newest states that entries name.
pub(super) fn prune(repo: &Repo, most: usize, entries: &[Entry]) -> Result<()> {
    let directory = directory(repo);
    let files: Vec<_> = fs::read_dir(&directory).context("list", &directory)?.flatten().collect();
    if files.len() <= most {
        return Ok(());
    }
    let mut kept = BTreeSet::new();
    for id in entries.iter().rev().flat_map(|entry| [Some(entry.state), entry.parent]).flatten() {
        if kept.len() == most {
            break;
        }
        kept.insert(id.to_string());
    }
    for file in files {
        if !file.file_name().to_str().is_some_and(|name| kept.contains(name)) {
            fs::remove_file(file.path()).context("remove", &file.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::state::SPEC;

    #[test]
    fn what_was_kept_is_read_and_what_was_changed_is_not() {
        let scratch = tempfile::tempdir().unwrap();
        let repo = Repo::init(scratch.path(), None, SPEC).unwrap();
        let state = State::new(SPEC);
        let id = name(&state);
        assert!(read(&repo, id).unwrap_err().message.contains("is not kept any more"));
        keep(&repo, &state).unwrap();
        assert_eq!(read(&repo, id).unwrap(), state);
        let path = directory(&repo).join(id.to_string());
        for other in [zstd::encode_all(&b"{}"[..], 3).unwrap(), b"no".to_vec()] {
            fs::write(&path, other).unwrap();
            assert!(read(&repo, id).unwrap_err().message.contains("not the state that its name says"));
        }
    }

    #[test]
    fn the_newest_states_stay() {
        let scratch = tempfile::tempdir().unwrap();
        let repo = Repo::init(scratch.path(), None, SPEC).unwrap();
        let states: Vec<State> = (0..5)
            .map(|number| {
                let mut state = State::new(SPEC);
                state.set("n.json", format!("{number}").into());
                keep(&repo, &state).unwrap();
                state
            })
            .collect();
        let entry = |two: &[State]| Entry {
            state: name(&two[1]),
            parent: Some(name(&two[0])),
            time: None,
            command: String::new(),
            message: String::new(),
            signer: None,
            paths: Vec::new(),
            more: 0,
        };
        let entries: Vec<Entry> = states.windows(2).map(entry).collect();
        prune(&repo, 5, &entries).unwrap();
        assert!(states.iter().all(|state| read(&repo, name(state)).is_ok()));
        prune(&repo, 3, &entries).unwrap();
        let left: Vec<bool> = states.iter().map(|state| read(&repo, name(state)).is_ok()).collect();
        assert_eq!(left, [false, false, true, true, true]);
    }
}
