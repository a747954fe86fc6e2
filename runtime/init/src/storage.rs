//! The storage of a machine that is ours: found, and mounted at `/storage`.
//!
//! The kernel replays the journal of its file system by mounting it. One that cannot be mounted is an error with its
//! name, and what becomes of the boot then is said in [`stranded`](crate::stranded): no file system is repaired here.
//! One on a disk that is larger than its image was grows, and is no worse where it cannot.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use metal::disks::{Device, Part, Roots};
use metal::grow;
use metal::place::{self, Place, PlaceError};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_remount};
use store::file::{FileError, FileSectors};

/// What it is formatted as.
const KIND: &str = "ext4";

/// After an error of the medium nothing more is written, so that what was good stays so.
const OPTIONS: &std::ffi::CStr = c"errors=remount-ro";

/// Why there is no storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StorageError {
    /// It was not found.
    Place(PlaceError),
    /// The directory to mount it on cannot be made.
    Directory(std::io::ErrorKind),
    /// It was found and cannot be mounted.
    Mount {
        /// What was found.
        device: String,
        /// What the kernel says.
        errno: Errno,
    },
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place(error) => write!(f, "no storage: {error}"),
            Self::Directory(kind) => write!(f, "no directory to mount the storage on: {kind}"),
            Self::Mount { device, errno } => {
                write!(f, "the storage {device} cannot be mounted as {KIND}: {errno}")?;
                match *errno {
                    Errno::INVAL => f.write_str("; it holds none, or its superblock does not fit its partition"),
                    Errno::NODEV => f.write_str("; this kernel does not know it, is a module missing?"),
                    _ if *errno == DAMAGED => f.write_str("; it is damaged, and e2fsck has to mend it"),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for StorageError {}

/// `EUCLEAN` ("structure needs cleaning"), with which ext4 refuses what it finds corrupted.
const DAMAGED: Errno = Errno::UCLEAN;

/// Makes the file system whole on its medium, so that the next boot has nothing to replay. Nothing can be written after
/// that.
///
/// # Errors
/// Something is still open for writing (`EBUSY`). Nothing is lost by that: the next boot replays.
pub fn rest(on: &Path) -> Result<(), Errno> {
    mount_remount(on, MountFlags::RDONLY | MountFlags::NOATIME, "")
}

/// Makes the storage as large as its disk lets it be; `pause` is called on the way. Tells how many bytes it had and has,
/// if it has grown.
///
/// # Errors
/// Why it has not, in words. It is as it was then, or larger.
pub fn grow(device: &Device, on: &Path, pause: &mut dyn FnMut()) -> Result<Option<(u64, u64)>, String> {
    // Only a GPT has names, and only a GPT grows.
    let Some(Part { disk, label: Some(_), .. }) = &device.part else { return Ok(None) };
    let node = Roots::of_machine().dev.join(disk);
    let mut sectors = FileSectors::open(&node).map_err(|error| format!("{disk}: {error}"))?;
    let partition = grow::partition(&mut sectors, &node, device);
    pause();
    // What an earlier boot has begun goes on all the same.
    let bytes = *partition.as_ref().unwrap_or(&device.size);
    let grown = grow::ext4::<FileError>(&device.node, on, bytes, pause).map_err(|error| error.to_string());
    match partition {
        Ok(_) => grown,
        Err(error) => grown.and(Err(error.to_string())),
    }
}

/// Waits for the storage and mounts it. `pause` waits for as long as it is told.
///
/// # Errors
/// [`StorageError`]
pub fn take(
    wanted: &Place,
    limit: Duration,
    on: &Path,
    pause: &mut dyn FnMut(Duration),
) -> Result<Device, StorageError> {
    let device = place::find(&Roots::of_machine(), wanted, limit, pause).map_err(StorageError::Place)?;
    std::fs::create_dir_all(on).map_err(|error| StorageError::Directory(error.kind()))?;
    mount(&device.node, on, KIND, MountFlags::NOATIME, OPTIONS)
        .map_err(|errno| StorageError::Mount { device: device.to_string(), errno })?;
    Ok(device)
}
