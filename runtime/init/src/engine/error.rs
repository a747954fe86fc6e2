//! Why the engine could not do what it was asked: the object, and the kernel's answer.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use container::SystemError;
use container::image::UpperError;
use container::spawn::SpawnError;

/// What went wrong.
#[derive(Debug)]
pub enum EngineError {
    /// The kernel said no.
    System(SystemError),
    /// A file or directory.
    File {
        /// What was attempted, as it reads after "cannot".
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// The writable layer of a root cannot be one.
    Upper(UpperError),
    /// A line about the cgroup has no effect on this device.
    Setting {
        /// Its key.
        key: String,
        /// Why not.
        why: SystemError,
    },
    /// This device cannot restrict device nodes as the revision says.
    Devices(SystemError),
    /// The container cannot be described, or its process not be started.
    Spawn(SpawnError),
    /// A network cannot be made, or a container not be connected to it.
    Network(net::Error),
    /// The first process of a container has ended before it could be connected.
    Unheld(String),
    /// There is nothing to start in this container.
    NoProgram(String),
    /// A path of the device that a launch cannot hold.
    Path(PathBuf),
}

impl EngineError {
    /// For `map_err`.
    pub(super) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |why| Self::File { doing, path: path.to_owned(), why }
    }
}

impl From<SystemError> for EngineError {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}

impl From<net::Error> for EngineError {
    fn from(error: net::Error) -> Self {
        Self::Network(error)
    }
}

impl From<SpawnError> for EngineError {
    fn from(error: SpawnError) -> Self {
        Self::Spawn(error)
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => error.fmt(f),
            Self::File { doing, path, why } => write!(f, "cannot {doing} {}: {why}", path.display()),
            Self::Upper(error) => write!(f, "the writable layer of the root: {error}"),
            Self::Setting { key, why } => write!(f, "{key} cannot be honoured on this device: {why}"),
            Self::Devices(why) => write!(f, "device rules cannot be honoured on this device: {why}"),
            Self::Spawn(error) => error.fmt(f),
            Self::Network(error) => error.fmt(f),
            Self::Unheld(name) => write!(f, "{name} has ended before it was connected to its network"),
            Self::NoProgram(name) => write!(f, "{name} has nothing to start; its goal is MOUNTED"),
            Self::Path(path) => {
                write!(f, "{} cannot be told to a container: it is no volume, or not UTF-8", path.display())
            }
        }
    }
}

impl std::error::Error for EngineError {}
