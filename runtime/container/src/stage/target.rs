//! Finds and makes places below the root of a container, the way a process inside would: a symbolic link in an image,
//! absolute or with `..`, ends at that root.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::launch::Create;

/// How often a look-up is repeated that a rename elsewhere has disturbed.
const TRIES: u32 = 128;

/// Opens a path below `root`, as a place and nothing else.
pub(super) fn find(root: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    find_by(root, path, ResolveFlags::NO_MAGICLINKS)
}

/// As [`find_or_make`] for a directory of the kernel's. No link may lead to it (`ELOOP`): what is masked in `/proc` must
/// be masked where the container looks for it, whoever moves the link meanwhile.
pub(super) fn find_or_make_plain(root: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    let root = root.as_fd();
    match find_by(root, path, ResolveFlags::NO_SYMLINKS) {
        Err(Errno::NOENT) => {
            make(root, path, Create::Dir)?;
            find_by(root, path, ResolveFlags::NO_SYMLINKS)
        }
        other => other,
    }
}

fn find_by(root: impl AsFd, path: &str, how: ResolveFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::IN_ROOT | how;
    for _ in 0..TRIES {
        match rustix::fs::openat2(&root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens a path below `root`, and makes what is missing of it: directories, and at the end what `create` says.
pub(super) fn find_or_make(root: impl AsFd, path: &str, create: Option<Create>) -> Result<OwnedFd, Errno> {
    let root = root.as_fd();
    match (find(root, path), create) {
        (Err(Errno::NOENT), Some(create)) => make(root, path, create),
        (found, _) => found,
    }
}

fn make(root: impl AsFd, path: &str, create: Create) -> Result<OwnedFd, Errno> {
    let root = root.as_fd();
    let (parent, last) = path.rsplit_once('/').unwrap_or((".", path));
    let mut end = 0;
    // Prefix by prefix, each resolved from the root: a link in the middle is followed as it would be inside.
    for part in parent.split('/').filter(|part| *part != ".") {
        let above = path.get(..end).filter(|above| !above.is_empty()).unwrap_or(".");
        make_one(find(root, above)?, part, Create::Dir)?;
        end += part.len() + usize::from(end > 0);
    }
    make_one(find(root, parent)?, last, create)?;
    find(root, path)
}

/// One new entry in a directory. A name that is there stays as it is.
fn make_one(dir: OwnedFd, name: &str, create: Create) -> Result<(), Errno> {
    let made = match create {
        Create::Dir => rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755)),
        Create::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match made {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        // On a read-only layer the answer is the same for a name that is there.
        Err(Errno::ROFS) if rustix::fs::statat(&dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok() => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    /// A directory of its own, with `image/` in it, removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("cairn-target-{}-{name}", std::process::id()));
            fs::create_dir_all(dir.join("image")).unwrap();
            Self(dir)
        }

        fn image(&self) -> PathBuf {
            self.0.join("image")
        }

        fn root(&self) -> OwnedFd {
            rustix::fs::open(self.image(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_is_missing_is_made_on_the_way() {
        let place = Place::new("made");
        find_or_make(place.root(), "a/b/c", Some(Create::Dir)).unwrap();
        find_or_make(place.root(), "a/b/f", Some(Create::File)).unwrap();
        find_or_make(place.root(), "top", Some(Create::File)).unwrap();
        assert!(place.image().join("a/b/c").is_dir() && place.image().join("a/b/f").is_file());
        assert!(place.image().join("top").is_file());
        assert_eq!(find_or_make(place.root(), "x", None).unwrap_err(), Errno::NOENT);
    }

    #[test]
    fn an_absolute_link_in_an_image_ends_in_the_image() {
        let place = Place::new("absolute");
        let outside = place.0.join("outside");
        fs::create_dir(&outside).unwrap();
        symlink(&outside, place.image().join("link")).unwrap();
        // The link leads to a place that does not exist inside, so nothing can be made there.
        assert!(find_or_make(place.root(), "link/new", Some(Create::Dir)).is_err());
        fs::create_dir_all(place.image().join(outside.strip_prefix("/").unwrap())).unwrap();
        find_or_make(place.root(), "link/new", Some(Create::Dir)).unwrap();
        assert!(!outside.join("new").exists());
        assert!(place.image().join(outside.strip_prefix("/").unwrap()).join("new").is_dir());
    }

    #[test]
    fn a_climbing_link_ends_at_the_root() {
        let place = Place::new("climb");
        symlink("../../../../../..", place.image().join("up")).unwrap();
        let name = format!("cairn-target-{}", std::process::id());
        find_or_make(place.root(), &format!("up/{name}"), Some(Create::File)).unwrap();
        assert!(place.image().join(&name).is_file());
        assert!(!Path::new("/").join(&name).exists());
    }

    #[test]
    fn the_place_of_a_kernel_file_system_is_no_link() {
        let place = Place::new("plain");
        fs::create_dir(place.image().join("real")).unwrap();
        symlink("real", place.image().join("proc")).unwrap();
        assert_eq!(find_or_make_plain(place.root(), "proc").unwrap_err(), Errno::LOOP);
        find_or_make_plain(place.root(), "sys/fs/cgroup").unwrap();
        assert!(place.image().join("sys/fs/cgroup").is_dir());
    }

    #[test]
    fn a_file_is_not_made_through_a_link() {
        let place = Place::new("dangling");
        symlink("/nowhere", place.image().join("link")).unwrap();
        assert_eq!(find_or_make(place.root(), "link", Some(Create::File)).unwrap_err(), Errno::NOENT);
    }
}
