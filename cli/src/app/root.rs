//! The root image of a container: found if it was made before, else made.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::make::Means;
use super::template;
use crate::error::Result;
use crate::image::digest::Digest;
use crate::image::finished::Finished;
use crate::image::pack::Format;
use crate::image::source::Source;
use crate::image::{Described, Image, squashfs};
use crate::watch::Watch;

/// A root image that is wanted.
pub(super) struct Root<'a> {
    means: &'a Means,
    packing: Vec<&'a str>,
    target: PathBuf,
    finished: Option<Finished<'a>>,
}

impl<'a> Root<'a> {
    /// That of an image, to be `target`.
    pub(super) fn of(means: &'a Means, image: &Digest, options: Option<&'a str>, target: PathBuf) -> Self {
        let packing: Vec<&str> = match options {
            Some(options) => options.split_ascii_whitespace().collect(),
            None => squashfs::PACKED.to_vec(),
        };
        let cache = means.reach.cache.as_ref();
        let finished = cache.and_then(|cache| Finished::of(cache, image, Format::Squashfs, &packing, means.times));
        Self { means, packing, target, finished }
    }

    /// The image: an outline of it if the root image could be put in its place, else all of it, completed.
    pub(super) fn image(
        &self,
        source: &dyn Source,
        image: Described,
        scratch: &Path,
        watch: &dyn Watch,
    ) -> Result<Image> {
        let limits = self.means.limits;
        if let Some(found) = self.finished.as_ref().and_then(|one| one.find(&image, &self.target, scratch, limits)) {
            return Ok(found);
        }
        let mut image = image.fetch(source, scratch, limits, watch)?;
        template::complete(&mut image)?;
        Ok(image)
    }

    /// Makes it, unless it is there.
    pub(super) fn write(&self, image: &Image, watch: &dyn Watch) -> Result<()> {
        if !self.target.exists() {
            squashfs::write(image, &self.target, self.means.times, &self.packing, watch)?;
            // What cannot be kept is made again another time.
            let _ = self.finished.as_ref().map(|finished| finished.keep(image, &self.target));
        }
        if let Some(cache) = &self.means.reach.cache {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(self.means.times.now.into());
            cache.trim(cache.limit(), now)?;
        }
        Ok(())
    }
}
