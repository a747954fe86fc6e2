//! What a container is made of.

use crate::image::reference::Reference;
use crate::image::rootfs::{Owner, Place};

/// An image, or files that are none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// An image.
    Image(Reference),
    /// A directory or a tar.
    Rootfs {
        /// Where it is.
        place: Place,
        /// Whose its files become.
        owner: Owner,
    },
}

impl Origin {
    /// What a container of it is called if nobody says.
    pub(super) fn short_name(&self) -> Option<String> {
        match self {
            Self::Image(reference) => reference.short_name().map(str::to_owned),
            Self::Rootfs { place, .. } => place.short_name(),
        }
    }
}
