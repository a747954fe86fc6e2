//! Where a state comes from, opened: a remote, a repository of this machine, or a bundle.

use std::collections::BTreeMap;
use std::path::Path;

use formats::json::Limits;
use formats::object::ObjectId;

use crate::bundle::Bundle;
use crate::check::check;
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Client, Repeat, Reply};
use crate::remote::address::Place;
use crate::remote::info::Info;
use crate::remote::objects;
use crate::repo::{Pool, Repo};
use crate::sign::auto;
use crate::state::State;
use crate::verify::contents::Contents;
use crate::watch::Watch;

/// Where a state comes from.
pub(crate) enum Origin<'c> {
    Remote { client: &'c Client, info: Info },
    Repository(Repo),
    Bundle(Bundle),
}

impl<'c> Origin<'c> {
    pub(crate) fn open(client: &'c Client, place: &Place, watch: &dyn Watch) -> Result<Self> {
        Ok(match place {
            Place::Url(url) => Self::Remote { client, info: Info::discover(client, url, watch)? },
            Place::Directory(directory) => Self::Repository(Repo::at(directory)?),
            Place::Bundle(path) => Self::Bundle(Bundle::open(path, watch)?),
        })
    }

    /// The state, which is one that can be a repository's.
    pub(crate) fn state(&self, watch: &dyn Watch) -> Result<State> {
        match self {
            Self::Remote { client, info } => state(client, info, watch),
            Self::Repository(repo) => {
                let state = repo.committed()?;
                state.revision()?;
                Ok(state)
            }
            Self::Bundle(bundle) => Ok(bundle.state().clone()),
        }
    }

    /// The state, or none: a device in recovery runs nothing.
    pub(crate) fn state_if_any(&self, watch: &dyn Watch) -> Result<Option<State>> {
        match self {
            Self::Remote { client, info } => state_if_any(client, info, watch),
            Self::Repository(_) | Self::Bundle(_) => self.state(watch).map(Some),
        }
    }

    /// Where its objects are.
    pub(crate) fn contents(&self) -> Contents<'_> {
        match self {
            Self::Remote { client, info } => Contents::of_remote(client, info),
            Self::Repository(repo) => Contents::Pool(repo.pool().clone()),
            Self::Bundle(bundle) => Contents::Bundle(bundle),
        }
    }

    /// Brings objects into a pool. Returns how many were not there.
    pub(crate) fn bring(&self, wanted: &BTreeMap<ObjectId, String>, pool: &Pool, watch: &dyn Watch) -> Result<usize> {
        match self {
            Self::Remote { client, info } => objects::fetch(client, info, wanted, pool, watch),
            Self::Repository(repo) => objects::adopt(repo.pool(), wanted, pool),
            Self::Bundle(bundle) => bundle.bring(wanted, pool, watch),
        }
    }
}

/// The state of a remote.
pub(crate) fn state(client: &Client, info: &Info, watch: &dyn Watch) -> Result<State> {
    parsed(info, asked(client, info, watch)?)
}

/// The state of a remote, if it has one: a device in recovery runs none, and holds what it holds.
pub(crate) fn state_if_any(client: &Client, info: &Info, watch: &dyn Watch) -> Result<Option<State>> {
    let reply = asked(client, info, watch)?;
    if reply.status == 404 { Ok(None) } else { parsed(info, reply).map(Some) }
}

fn asked(client: &Client, info: &Info, watch: &dyn Watch) -> Result<Reply> {
    client.get(&info.state, Limits::STATE.bytes, Repeat::Harmless, watch)
}

fn parsed(info: &Info, reply: Reply) -> Result<State> {
    let bytes = reply.success("it was asked for its state")?;
    let state = State::parse(&bytes, Path::new(&info.state)).and_then(|state| state.revision().map(|_| state));
    state.map_err(|error| {
        Error { kind: ErrorKind::Device, ..error }
            .hint("the state there is not one that pvr can work on; nothing was changed")
    })
}

/// What devices like ours would say about a state that is taken from somewhere. It is there already, so this is told
/// and not refused: who takes it may want to put it right.
pub(crate) fn doubts(state: &State) -> Result<Vec<String>> {
    let revision = state.revision()?;
    let mut doubts = match check(&revision) {
        Ok(warnings) => warnings.iter().map(ToString::to_string).collect(),
        Err(error) => vec![format!("{error}; devices refuse such a state")],
    };
    match auto::gaps(&revision) {
        Ok(gaps) => doubts.extend(gaps),
        Err(error) => doubts.push(error.to_string()),
    }
    Ok(doubts)
}
