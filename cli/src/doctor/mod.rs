//! `pvr doctor`: what would stop somebody from working here, before it does.
//!
//! | | looks at |
//! |---|---|
//! | `repository` | version, state, pool, leftovers of runs that died, the lock, rights, room, the history |
//! | `keys` | who can read them, whether the halves belong together, until when certificates are good |
//! | `host` | programs, mirrors, where passwords are kept, the clock |
//! | `network` | whether the remote that is remembered answers, and lets us in |
//!
//! Every check says what it has found, and what to do if that is not good. Nothing is changed, not even the lock.

mod host;
mod keys;
mod network;
mod repository;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use formats::json::Json;

use crate::error::Error;
use crate::http::Client;
use crate::watch::Watch;

/// How much it matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// It is as it should be.
    Ok,
    /// It will matter, or matters for some commands.
    Warn,
    /// It stops what everybody does.
    Fail,
}

/// What was found about one thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// How much it matters.
    pub level: Level,
    /// What was looked at, in a word.
    pub about: &'static str,
    /// What was found.
    pub found: String,
    /// What to do.
    pub advice: Option<String>,
}

/// What is looked at besides the repository.
pub struct Surroundings<'s> {
    /// The configuration directory.
    pub configuration: Option<PathBuf>,
    /// The directory with the `config.json` of `docker login`.
    pub docker: Option<PathBuf>,
    /// Mirrors of the environment.
    pub mirrors: Option<String>,
    /// Where programs are.
    pub path: OsString,
    /// What the clock says, since 1970.
    pub now: Duration,
    /// Whether all objects are read, and not some.
    pub deep: bool,
    /// Who asks the remote; nobody does without it.
    pub client: Option<&'s Client>,
    /// What short addresses are below.
    pub base: Option<String>,
}

impl Level {
    /// As a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Check {
    fn ok(about: &'static str, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, about, found: found.into(), advice: None }
    }

    fn warn(about: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Warn, about, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(about: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { level: Level::Fail, about, found: found.into(), advice: Some(advice.into()) }
    }

    fn of(about: &'static str, error: Error) -> Self {
        Self { level: Level::Fail, about, found: error.message, advice: error.hint }
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Json {
        Json::object()
            .with("level", self.level.word())
            .with("about", self.about)
            .with("found", self.found.as_str())
            .with("advice", self.advice.as_deref().map_or(Json::Null, Into::into))
    }
}

/// Looks at everything, from a directory that may be in a repository.
#[must_use]
pub fn doctor(start: &Path, around: &Surroundings<'_>, watch: &dyn Watch) -> Vec<Check> {
    let (repo, mut checks) = repository::look(start, around.deep, watch);
    checks.extend(keys::look(around.configuration.as_deref(), around.now));
    checks.extend(host::look(around));
    checks.extend(network::look(repo.as_ref(), around, watch));
    checks
}
