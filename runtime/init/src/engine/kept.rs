//! Images that stay open from the end of a container to its next start, in an update in place.
//!
//! An image that both revisions have is one file of the store. What the kernel has read and unpacked of it is dropped with
//! its last mount; the first process of the new container would wait until that is done again, which is most of the time
//! of its start. So one mount more is kept, attached nowhere and held by a descriptor: whatever happens, it ends with that.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use container::image::{self, Kind};
use rustix::fd::OwnedFd;

/// An image by what it is, not by its name: in two revisions it has two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Image {
    device: u64,
    inode: u64,
    kind: Kind,
}

impl Image {
    fn of(file: &Path, kind: Kind) -> Option<Self> {
        let meta = fs::metadata(file).ok()?;
        Some(Self { device: meta.dev(), inode: meta.ino(), kind })
    }
}

/// One mount of one image.
#[derive(Debug)]
pub(super) struct Kept {
    owner: String,
    image: Image,
    mount: OwnedFd,
}

impl Kept {
    /// What is mounted of an image. `None`: that is not, or it cannot be kept; then it is read anew, and no harm.
    pub(super) fn of(owner: &str, file: &Path, kind: Kind, place: &Path) -> Option<Self> {
        let image = Image::of(file, kind)?;
        // Else it would be the directory below that is kept.
        let is_mounted = fs::metadata(place).ok()?.dev() != fs::metadata(place.parent()?).ok()?.dev();
        let mount = is_mounted.then(|| image::another(place).ok())??;
        Some(Self { owner: owner.to_owned(), image, mount })
    }
}

/// All that is kept.
#[derive(Default, Debug)]
pub(super) struct Keeper(Mutex<Vec<Kept>>);

impl Keeper {
    fn all(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keep(&self, kept: Kept) {
        self.all().push(kept);
    }

    /// What was kept of a container; what its new mounts do not take ends with the value.
    pub(super) fn take(&self, owner: &str) -> Vec<Kept> {
        self.all().extract_if(.., |kept| kept.owner == owner).collect()
    }
}

/// Mounts an image: what is kept of it, else the file.
pub(super) fn mount(kept: &mut Vec<Kept>, file: &Path, kind: Kind, place: &Path) -> Result<(), container::SystemError> {
    let image = Image::of(file, kind);
    if let Some(at) = kept.iter().position(|kept| Some(kept.image) == image)
        && image::attach(&kept.swap_remove(at).mount, place).is_ok()
    {
        return Ok(());
    }
    image::mount(file, kind, place)
}
