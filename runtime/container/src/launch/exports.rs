//! What a container lets others mount.
//!
//! ```text
//!   SHOWCASE                     a tmpfs of the device, shared
//!       web/run%2fdbus.rw        a spot: what `web` has at /run/dbus
//!                     .ro        a spot: the same, to be read
//! ```
//!
//! A spot is an empty directory or file. The stage of the container that exports mounts on it; mounts on a spot reach
//! every container that has imported it, also later ones, and leave it when PID 1 withdraws them.

use serde::{Deserialize, Serialize};

use super::{LaunchError, relative, text};

/// The longest name in a directory, in bytes, without the extension of a spot.
const NAME_MAX: usize = 255 - ".rw".len();

/// A path that others may mount.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Export {
    /// Relative to the root of the container. Where nothing is, a directory is made.
    pub path: String,
    /// The container and the path, as two names: where it is on the showcase, without its extension.
    pub spot: String,
}

impl Export {
    /// The spot of a path of a container.
    #[must_use]
    pub fn spot(container: &str, path: &str) -> String {
        format!("{container}/{}", path.replace('%', "%25").replace('/', "%2f"))
    }

    /// The extension of a spot.
    #[must_use]
    pub const fn extension(read_only: bool) -> &'static str {
        if read_only { "ro" } else { "rw" }
    }

    pub(super) fn check(&self) -> Result<(), LaunchError> {
        relative(&self.path)?;
        spot(&self.spot)
    }
}

/// Two names.
pub(super) fn spot(spot: &str) -> Result<(), LaunchError> {
    relative(spot)?;
    match spot.split_once('/') {
        Some((_, name)) if name.contains('/') => Err(LaunchError::Path(spot.to_owned())),
        Some((_, name)) if name.len() > NAME_MAX => Err(LaunchError::Text("spot")),
        Some((container, _)) => text("spot", container),
        None => Err(LaunchError::Path(spot.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_paths_share_a_slot() {
        assert_eq!(Export::spot("web", "run/dbus"), "web/run%2fdbus");
        assert_ne!(Export::spot("web", "a%2fb"), Export::spot("web", "a/b"));
    }
}
