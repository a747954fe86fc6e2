//! Flash without a controller of its own (NOR, small raw NAND): partitions of the kernel's MTD layer as sectors.
//!
//! ```text
//!   /sys/class/mtd/mtd3   name  type  size  erasesize  writesize  ──▶  /dev/mtd3     read · program · erase a block
//! ```
//!
//! A partition is found by its name alone, as the device tree or `mtdparts=` gives it; numbers change with drivers. What is kept
//! is less than on a disk: a write that power interrupts takes everything along that lies in its erase block, and nothing
//! else. See [`blocks`].

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub use self::blocks::{Blocks, Chip, Fault, Geometry, MtdError};
use crate::disks::{DEVICES_MAX, Roots, text};
use crate::sys;

pub mod blocks;

/// A partition, as the kernel lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// As the kernel counts it: 3 of `mtd3`.
    pub number: u32,
    /// Its node.
    pub node: PathBuf,
    /// Its name.
    pub name: String,
    /// What it lies on: `nor`, `nand`, …
    pub kind: String,
    /// What it is made of.
    pub geometry: Geometry,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mtd{} ({})", self.number, self.name)
    }
}

/// Lists the partitions, in no order. A kernel without MTD has none.
///
/// # Errors
/// The directory of the kernel cannot be read.
pub fn list(roots: &Roots) -> std::io::Result<Vec<Partition>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(roots.sys.join("class/mtd")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    for entry in entries.take(DEVICES_MAX) {
        found.extend(partition(roots, &entry?.path()));
    }
    Ok(found)
}

fn partition(roots: &Roots, dir: &Path) -> Option<Partition> {
    let device = dir.file_name()?.to_str()?;
    // There is a second device for each, which is read-only: `mtd3ro`.
    let number = device.strip_prefix("mtd")?.parse().ok()?;
    let word = |name| Some(text(&dir.join(name))?.trim_end_matches('\n').to_owned());
    let bytes = |name| word(name)?.parse::<u64>().ok();
    let geometry = Geometry {
        size: bytes("size")?,
        erase: bytes("erasesize")?.try_into().ok()?,
        write: bytes("writesize")?.try_into().ok()?,
    };
    let node = roots.dev.join(device);
    Some(Partition { number, node, name: word("name")?, kind: word("type")?, geometry })
}

/// Two partitions have one name, and nobody knows which is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameTwice {
    /// The name.
    pub name: String,
    /// Two that have it, as the kernel counts, the lower one first.
    pub numbers: [u32; 2],
}

impl fmt::Display for NameTwice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, other] = self.numbers;
        write!(f, "mtd{one} and mtd{other} are both called {}; give one of them another name", self.name)
    }
}

impl std::error::Error for NameTwice {}

/// The partition of exactly this name.
///
/// # Errors
/// [`NameTwice`]
pub fn named<'p>(partitions: &'p [Partition], name: &str) -> Result<Option<&'p Partition>, NameTwice> {
    let mut found = partitions.iter().filter(|partition| partition.name == name);
    match (found.next(), found.next()) {
        (Some(one), Some(other)) => Err(NameTwice {
            name: name.to_owned(),
            numbers: [one.number.min(other.number), one.number.max(other.number)],
        }),
        (found, _) => Ok(found),
    }
}

/// The sectors of an MTD partition.
pub type Mtd = Blocks<Device>;

impl Partition {
    /// Opens it, to be written too.
    ///
    /// # Errors
    /// [`MtdError`]
    pub fn open(&self) -> Result<Mtd, MtdError<Errno>> {
        self.open_as(OFlags::RDWR)
    }

    /// The same for reading only: every write fails.
    ///
    /// # Errors
    /// [`MtdError`]
    pub fn open_to_read(&self) -> Result<Mtd, MtdError<Errno>> {
        self.open_as(OFlags::RDONLY)
    }

    fn open_as(&self, access: OFlags) -> Result<Mtd, MtdError<Errno>> {
        let number = self.number;
        let wrong = |fault| MtdError { number, fault };
        let failed = |doing| move |why| wrong(Fault::Chip { doing, at: 0, why });
        let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(&self.node, flags, Mode::empty()).map_err(failed("opening"))?;
        let told = sys::mtd_info(&fd).map_err(failed("MEMGETINFO"))?;
        // A partition may have gone, and its number to another one.
        let Geometry { size, erase, write } = self.geometry;
        if (told.size, told.erase_size, told.write_size) != (size as u32, erase, write) {
            return Err(wrong(Fault::Changed));
        }
        Blocks::new(Device { file: fd.into(), number, geometry: self.geometry })
    }
}

/// The character device of a partition.
#[derive(Debug)]
pub struct Device {
    file: File,
    number: u32,
    geometry: Geometry,
}

impl Chip for Device {
    type Error = Errno;

    fn number(&self) -> u32 {
        self.number
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn is_bad(&mut self, at: u64) -> Result<bool, Errno> {
        match sys::mtd_is_bad(&self.file, at.try_into().map_err(|_| Errno::RANGE)?) {
            // NOR flash has no such marks.
            Err(Errno::OPNOTSUPP) => Ok(false),
            answer => answer,
        }
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Errno> {
        self.file.read_exact_at(into, at).map_err(errno)
    }

    fn erase(&mut self, at: u64) -> Result<(), Errno> {
        let erase = self.geometry.erase;
        if let Ok(start) = at.try_into() {
            // Many chips begin locked, and others know no locks. Whether it has helped, reading back will tell.
            let _ = sys::mtd_unlock(&self.file, start, erase);
        }
        sys::mtd_erase(&self.file, at, erase.into())
    }

    fn program(&mut self, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.file.write_all_at(bytes, at).map_err(errno)
    }
}

/// What the kernel said; a device that ended early said nothing.
fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::NODATA, Errno::from_raw_os_error)
}

#[cfg(test)]
mod tests;
