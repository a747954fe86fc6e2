//! What an update of an app changed: the layers that its image is built of, and the files in it.

use formats::json::Json;

use super::layers::{Layers, layers};
use super::medium::{Medium as _, Span};
use super::states::{Difference, inside};
use crate::app::{ROOT, SRC, read_json};
use crate::repo::Repo;
use crate::watch::Watch;

/// An app as it is before it is made again. Its root image stays readable when it has gone from its place.
#[derive(Debug)]
pub struct Before {
    src: Json,
    image: Span,
}

/// What is different since.
#[derive(Debug)]
pub struct Since {
    /// Its root image, and what changed in it.
    pub image: Difference,
    /// What it is built of, if both times that was noted.
    pub layers: Option<Layers>,
}

impl Before {
    /// An app of the work tree. None if it has no root image: then there is nothing to compare with.
    #[must_use]
    pub fn of(repo: &Repo, name: &str) -> Option<Self> {
        let directory = repo.root().join(name);
        Some(Self { src: read_json(&directory.join(SRC)).ok()?, image: Span::open(&directory.join(ROOT)).ok()? })
    }

    /// What it is now, compared with what it was.
    #[must_use]
    pub fn since(self, repo: &Repo, name: &str, watch: &dyn Watch) -> Option<Since> {
        let now = Self::of(repo, name)?;
        let (from, to) = (self.image.len(), now.image.len());
        let image = Difference {
            path: format!("{name}/{ROOT}"),
            from: Some(from),
            to: Some(to),
            inside: inside(Some(self.image), Some(now.image), watch),
        };
        Some(Since { image, layers: layers(&self.src, &now.src) })
    }
}
