//! `.pvr/`: the books of a repository.
//!
//! ```text
//!   .pvr/json          the committed state, canonical
//!   .pvr/config        where its objects are, and what remotes it knows; indented by tabs
//!   .pvr/base          the state that was last taken from or given to a remote, canonical; absent if none was
//!   .pvr/new           what `add` has staged: {"PATH":{"ForceObject":bool,"Sha":"<hex>"}}; absent if nothing
//!   .pvr/commitmsg     the last message
//!   .pvr/history, .pvr/states/   see [`history`](crate::history)
//!   .pvr/objects/      the pool, unless `ObjectsDir` of the configuration names another directory
//!   .pvr/lock          see [`lock`]
//!   .pvr/known         see [`known`]; may be removed at any time
//! ```
//!
//! Members of the configuration that are not known are kept. `FormatVersion` says of which version a repository is whose books
//! mean something that this one does not know; it is absent today, which is [`VERSION`].

pub(crate) mod building;
pub mod durable;
pub mod incoming;
pub mod known;
pub mod lock;
pub mod pool;
mod remembered;
mod staged;

use std::fs;
use std::path::{Path, PathBuf};

use formats::json::{self, Json, Limits};

pub use lock::Lock;
pub use pool::Pool;
pub use remembered::Remembered;
pub use staged::{Staged, StagedFile};

use crate::diff::tabbed;
use crate::error::{Context as _, Error, Result};
use crate::state::State;

/// The directory of the books.
pub const BOOKS: &str = ".pvr";

/// The version of the books that this program knows.
pub const VERSION: u64 = 1;

/// A repository that exists.
#[derive(Clone, Debug)]
pub struct Repo {
    root: PathBuf,
    books: PathBuf,
    pool: Pool,
    moment: Option<u64>,
}

impl Repo {
    /// Makes a new repository of a directory, which is created if need be. Without `objects` it has a pool of its own.
    ///
    /// # Errors
    /// There is one already, the spec cannot be used, or the directory cannot be written.
    pub fn init(root: &Path, objects: Option<&Path>, spec: &str) -> Result<Self> {
        let books = root.join(BOOKS);
        if books.join("json").exists() {
            return Err(Error::user(format!("{} is a repository already", root.display()))
                .hint("`pvr status` says what is in it"));
        }
        let state = State::new(spec);
        state.revision()?;
        fs::create_dir_all(&books).context("create", &books)?;
        let objects = objects.map(absolute).transpose()?;
        let pool = objects.clone().unwrap_or_else(|| books.join("objects"));
        fs::create_dir_all(&pool).context("create", &pool)?;
        let named = objects.as_deref().map(utf8).transpose()?.unwrap_or_default();
        durable::replace(&books.join("config"), config(named).as_bytes(), 0o644)?;
        // The state makes it a repository, so it comes last.
        durable::replace(&books.join("json"), state.canonical().as_bytes(), 0o644)?;
        Self::at(root)
    }

    /// The repository of a directory.
    ///
    /// # Errors
    /// There is none, or its configuration cannot be read.
    pub fn at(root: &Path) -> Result<Self> {
        let books = root.join(BOOKS);
        if !books.join("json").is_file() {
            return Err(Error::user(format!("{} is not a repository: it has no {BOOKS}/json", root.display()))
                .hint("`pvr init` makes one"));
        }
        let pool = match objects_dir(&books.join("config"))? {
            // Absolute, as tools write it; anything else can only be meant from the root.
            Some(directory) => root.join(directory),
            None => books.join("objects"),
        };
        Ok(Self { root: root.to_owned(), books, pool: Pool::at(pool), moment: None })
    }

    /// The repository that a directory lies in.
    ///
    /// # Errors
    /// There is none up to the root of the file system.
    pub fn find(start: &Path) -> Result<Self> {
        let start = start.canonicalize().context("enter", start)?;
        match start.ancestors().find(|directory| directory.join(BOOKS).join("json").is_file()) {
            Some(root) => Self::at(root),
            None => Err(Error::user(format!("{} is not in a repository", start.display()))
                .hint("`pvr init` makes one here; or change to the directory that has .pvr in it")),
        }
    }

    /// The same, for what is done at this moment, in seconds since 1970.
    #[must_use]
    pub fn at_moment(self, seconds: u64) -> Self {
        Self { moment: Some(seconds), ..self }
    }

    /// When what is done to it is done, if anybody knows.
    #[must_use]
    pub fn moment(&self) -> Option<u64> {
        self.moment
    }

    /// The work tree.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of the books.
    #[must_use]
    pub fn books(&self) -> &Path {
        &self.books
    }

    /// Its objects.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Takes the right to change it.
    ///
    /// # Errors
    /// Somebody else has it.
    pub fn lock(&self) -> Result<Lock> {
        Lock::take(&self.books)
    }

    /// The committed state.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn committed(&self) -> Result<State> {
        let path = self.books.join("json");
        State::parse(&fs::read(&path).context("read", &path)?, &path)
    }

    /// What is staged.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn staged(&self) -> Result<Staged> {
        Staged::load(&self.books.join("new"))
    }

    /// Where staged files are kept.
    #[must_use]
    pub fn staged_path(&self) -> PathBuf {
        self.books.join("new")
    }
}

/// The text of a configuration. An empty `objects` is the repository's own pool.
pub(crate) fn config(objects: &str) -> String {
    let mut config = Json::object();
    for member in ["DefaultGetUrl", "DefaultPutUrl", "DefaultPostUrl"] {
        config.set(member, "");
    }
    tabbed(
        &config.with("ObjectsDir", objects).with("AccessTokens", Json::object()).with("RefreshTokens", Json::object()),
    )
}

/// `ObjectsDir` of a configuration; none if the member or the whole file is absent.
fn objects_dir(path: &Path) -> Result<Option<String>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.context("read", path)?,
    };
    let config = json::parse(&bytes, Limits::DOCUMENT)
        .map_err(|error| Error::user(format!("{}: {error}", path.display())))?
        .to_json();
    let version = config.get("FormatVersion").map(Json::canonical);
    match version.as_deref().map(str::parse::<u64>) {
        None | Some(Ok(0..=VERSION)) => {}
        Some(Ok(newer)) => {
            let path = path.display();
            return Err(Error::user(format!(
                "{path}: the repository is of version {newer}, and this pvr knows version {VERSION}"
            ))
            .hint("use the newer pvr that has made it, or clone from where it came from"));
        }
        Some(Err(_)) => {
            return Err(Error::user(format!("{}: FormatVersion must be a number", path.display()))
                .hint(format!("this pvr knows version {VERSION}; without the member it is that")));
        }
    }
    match config.get("ObjectsDir") {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(directory)) if directory.is_empty() => Ok(None),
        Some(Json::String(directory)) => Ok(Some(directory.clone())),
        Some(_) => Err(Error::user(format!("{}: ObjectsDir must be a string", path.display()))),
    }
}

pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).context("find", path)
}

pub(crate) fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::user(format!("the path {} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::state::SPEC;

    #[test]
    fn a_new_repository_has_the_bytes_that_other_tools_expect() {
        let scratch = tempfile::tempdir().unwrap();
        let repo = Repo::init(scratch.path(), None, SPEC).unwrap();
        let json = fs::read_to_string(repo.books().join("json")).unwrap();
        assert_eq!(json, r##"{"#spec":"pantavisor-service-system@1"}"##);
        assert_eq!(
            fs::read_to_string(repo.books().join("config")).unwrap(),
            "{\n\t\"DefaultGetUrl\": \"\",\n\t\"DefaultPutUrl\": \"\",\n\t\"DefaultPostUrl\": \"\",\n\t\
             \"ObjectsDir\": \"\",\n\t\"AccessTokens\": {},\n\t\"RefreshTokens\": {}\n}"
        );
        assert!(Repo::init(scratch.path(), None, SPEC).is_err());
    }

    #[test]
    fn a_repository_is_found_from_below_and_its_pool_may_be_elsewhere() {
        let scratch = tempfile::tempdir().unwrap();
        let objects = scratch.path().join("pool");
        Repo::init(&scratch.path().join("device"), Some(&objects), SPEC).unwrap();
        let below = scratch.path().join("device/web/etc");
        fs::create_dir_all(&below).unwrap();
        assert_eq!(Repo::find(&below).unwrap().pool().directory(), objects);
        assert!(Repo::find(scratch.path()).is_err());
    }

    #[test]
    fn a_repository_of_a_newer_version_is_not_touched() {
        let scratch = tempfile::tempdir().unwrap();
        let repo = Repo::init(scratch.path(), None, SPEC).unwrap();
        let config = repo.books().join("config");
        let text = fs::read_to_string(&config).unwrap();
        let with = |version: &str| text.replacen('{', &format!("{{\"FormatVersion\": {version},"), 1);
        fs::write(&config, with("1")).unwrap();
        assert!(Repo::at(scratch.path()).is_ok());
        for (version, part) in
            [("2", "is of version 2, and this pvr knows version 1"), ("\"1\"", "must be a number"), ("-1", "must be")]
        {
            fs::write(&config, with(version)).unwrap();
            let error = Repo::at(scratch.path()).unwrap_err();
            assert!(error.message.contains(part) && error.hint.is_some(), "{error}");
        }
    }

    #[test]
    fn a_spec_that_no_device_accepts_makes_no_repository() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(Repo::init(scratch.path(), None, "pantavisor-multi-platform@1").is_err());
        assert!(!scratch.path().join(BOOKS).exists());
    }
}
