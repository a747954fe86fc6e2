//! The root of the base system, in which its hooks run: the image that `bsp/run.json` names as `root-volume`.

use container::image::Kind;
use formats::bsp_json::Bsp;
use formats::state::Revision;

use super::error::{AssemblyError, Where};
use super::volumes::{self, What};

/// An image of the base system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseRoot {
    /// Relative to `bsp/`.
    pub file: String,
    /// What is in it.
    pub kind: Kind,
}

/// The root of a base system, if it has one.
pub(super) fn of(revision: &Revision) -> Result<Option<BaseRoot>, AssemblyError> {
    let Some(root) = Bsp::of(revision, &mut Vec::new())?.and_then(|bsp| bsp.root) else { return Ok(None) };
    match volumes::what(&root) {
        Ok(What::Image(kind)) => Ok(Some(BaseRoot { file: root.file, kind })),
        found => {
            let why = found.err().unwrap_or(super::Refusal::FileSystem(root.file));
            Err(AssemblyError::refused("bsp/run.json", Where::Member("root-volume".into()), why))
        }
    }
}
