//! Where a transaction is kept between two calls.
//!
//! ```text
//!   current.json   the state as it is now
//!   .status        {"pvtx":1,"transaction":{"objects":PATH}|{},"queue":{"dir":PATH,"objects":PATH}}
//!   .lock          held by the one call that works
//! ```
//!
//! There is a transaction as long as `.status` names one. Each file is replaced as a whole, `current.json` first and
//! `.status` after it, so a power cut leaves what was before a call or what is after it.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use formats::json::{self, Json, Limits, Value};
use rustix::fs::{FlockOperation, flock};
use store::dir::{Dir, DirError};

use super::input::bounded;
use super::parts::Parts;
use crate::failure::Failure;
use crate::tx::Result;

const STATUS: &str = ".status";
const STATE: &str = "current.json";
const LOCK: &str = ".lock";
const STATUS_MAX: usize = 16 * 1024;
/// The form of `.status`.
const VERSION: u64 = 1;

/// Where the state of a transaction goes in the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// To the device that runs.
    Device,
    /// Into a directory, with the objects in this one.
    Local(PathBuf),
}

/// A queue, and where its objects are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Queued {
    pub(super) dir: PathBuf,
    pub(super) objects: PathBuf,
}

/// What goes on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Status {
    pub(super) transaction: Option<Target>,
    pub(super) queue: Option<Queued>,
}

/// The directory, while this call works in it.
pub(super) struct Place {
    dir: Dir,
    path: PathBuf,
    _lock: File,
}

impl Place {
    /// Opens the directory, making it if there is none, and waits for nobody.
    pub(super) fn open(dir: Option<&Path>) -> Result<Self> {
        let path = match dir {
            Some(dir) => dir.to_owned(),
            None => usual(|name| env::var_os(name), rustix::process::geteuid().is_root())?,
        };
        let cannot = Failure::at("cannot keep a transaction in", &path);
        fs::create_dir_all(&path).map_err(cannot)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(cannot)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let why = format!("another pvtx works in {}; try again when it is done", path.display());
            return Err(Failure::own(75, why));
        }
        Ok(Self { dir: Dir::open(&path).map_err(storage)?, path, _lock: lock })
    }

    pub(super) fn status(&self) -> Result<Status> {
        let Some(bytes) = self.dir.read_if_any(STATUS, STATUS_MAX).map_err(storage)? else {
            return Ok(Status::default());
        };
        let path = self.path.join(STATUS);
        Status::parse(&bytes).ok_or_else(|| {
            let path = path.display();
            Failure::wrong(format!("{path} is of another version, or damaged; `pvtx abort` forgets what is there"))
        })
    }

    /// The transaction that is open.
    pub(super) fn transaction(&self) -> Result<(Status, Target, Parts)> {
        let status = self.status()?;
        let Some(target) = status.transaction.clone() else {
            return Err(Failure::usage("there is no transaction; `pvtx begin current` begins one".into()));
        };
        Ok((status, target, state_at(&self.path.join(STATE))?))
    }

    /// The state is this from now on.
    pub(super) fn keep(&self, parts: &Parts) -> Result<()> {
        self.dir.replace(STATE, parts.text().as_bytes()).map_err(storage)
    }

    /// The status is this from now on.
    pub(super) fn set(&self, status: &Status) -> Result<()> {
        self.dir.replace(STATUS, status.text().as_bytes()).map_err(storage)
    }

    /// There is no transaction any more.
    pub(super) fn end(&self, status: Status) -> Result<()> {
        self.set(&Status { transaction: None, ..status })?;
        // Without the status it is nobody's, and the next transaction writes over it.
        let _ = fs::remove_file(self.path.join(STATE));
        Ok(())
    }
}

impl Status {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let value = json::parse(bytes, Limits::DOCUMENT).ok()?;
        let members = value.as_object().filter(|all| all.get("pvtx").and_then(Value::as_u64) == Some(VERSION))?;
        let path = |of: &Value<'_>, name: &str| of.as_object()?.get(name)?.as_str().map(PathBuf::from);
        let transaction = match members.get("transaction") {
            None => None,
            Some(of) if of.as_object()?.is_empty() => Some(Target::Device),
            Some(of) => Some(Target::Local(path(of, "objects")?)),
        };
        let queue = match members.get("queue") {
            None => None,
            Some(of) => Some(Queued { dir: path(of, "dir")?, objects: path(of, "objects")? }),
        };
        Some(Self { transaction, queue })
    }

    fn text(&self) -> String {
        // Where this program works may have another name; what it was told was a text.
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut json = Json::object().with("pvtx", VERSION);
        match &self.transaction {
            None => {}
            Some(Target::Device) => json.set("transaction", Json::object()),
            Some(Target::Local(objects)) => json.set("transaction", Json::object().with("objects", text(objects))),
        }
        if let Some(Queued { dir, objects }) = &self.queue {
            json.set("queue", Json::object().with("dir", text(dir)).with("objects", text(objects)));
        }
        json.compact()
    }
}

/// A state, or a part of one, from a file.
pub(super) fn state_at(path: &Path) -> Result<Parts> {
    let cannot = Failure::at("cannot read", path);
    let most = Limits::STATE.bytes;
    let bytes = bounded(&mut File::open(path).map_err(cannot)?, most).map_err(cannot)?;
    let what = path.display().to_string();
    Parts::parse(&bytes.ok_or_else(|| Failure::state(format!("{what} has more than {most} bytes")))?, &what)
}

/// A failure of the storage, with the code for it.
pub(super) fn storage(error: DirError) -> Box<Failure> {
    let exit = if matches!(error, DirError::NoSpace { .. }) { 48 } else { 255 };
    Failure::own(exit, error.to_string())
}

/// Where it is kept unless somebody says so.
fn usual(var: impl Fn(&str) -> Option<std::ffi::OsString>, is_root: bool) -> Result<PathBuf> {
    let set = |name: &str| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(dir) = set("PVTXDIR") {
        return Ok(dir);
    }
    let own = if is_root {
        PathBuf::from("/var/cache/pvtx")
    } else {
        let home = set("HOME").ok_or_else(|| Failure::usage("neither PVTXDIR nor HOME says where to work".into()))?;
        home.join(".local/share/pvtx")
    };
    Ok(match set("PREFIX") {
        Some(prefix) => prefix.join(own.strip_prefix("/").unwrap_or(&own)),
        None => own,
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn it_is_kept_where_the_caller_or_the_system_says() {
        let found = |vars: &[(&str, &str)], is_root| {
            usual(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)), is_root)
        };
        let home = ("HOME", "/people/me");
        assert_eq!(found(&[home], true).unwrap(), Path::new("/var/cache/pvtx"));
        assert_eq!(found(&[home], false).unwrap(), Path::new("/people/me/.local/share/pvtx"));
        assert_eq!(found(&[home, ("PREFIX", "/opt")], true).unwrap(), Path::new("/opt/var/cache/pvtx"));
        assert_eq!(found(&[home, ("PREFIX", "/opt")], false).unwrap(), Path::new("/opt/people/me/.local/share/pvtx"));
        assert_eq!(found(&[("PVTXDIR", "/d"), ("PREFIX", "/opt")], false).unwrap(), Path::new("/d"));
        assert_eq!(found(&[("PVTXDIR", "")], false).unwrap_err().exit_code(), 1);
    }

    #[test]
    fn a_status_is_read_as_it_was_written_and_another_version_is_not() {
        let queue = Some(Queued { dir: "/q".into(), objects: "/o".into() });
        for transaction in [None, Some(Target::Device), Some(Target::Local("/a b".into()))] {
            for queue in [None, queue.clone()] {
                let status = Status { transaction: transaction.clone(), queue };
                assert_eq!(Status::parse(status.text().as_bytes()), Some(status));
            }
        }
        for text in ["", "{}", r#"{"pvtx":2}"#, r#"{"pvtx":1,"transaction":{"objects":7}}"#, r#"{"pvtx":1,"queue":{}}"#]
        {
            assert_eq!(Status::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn two_at_once_are_one_and_one_that_is_told_to_come_again() {
        let dir = tempfile::tempdir().unwrap();
        let first = Place::open(Some(dir.path())).unwrap();
        let refused = Place::open(Some(dir.path())).err().unwrap();
        assert_eq!(refused.exit_code(), 75);
        drop(first);
        assert!(Place::open(Some(dir.path())).is_ok());
    }
}
