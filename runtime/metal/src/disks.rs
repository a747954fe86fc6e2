//! What block devices there are, as `/sys/class/block` tells it, and what their file systems are called.
//!
//! ```text
//!   /sys/class/block/sda2 ─▶ ../../devices/…/sda/sda2     the directory above is the disk
//!     uevent     MAJOR=8 MINOR=2 DEVNAME=sda2 DEVTYPE=partition PARTN=2 PARTNAME=journal
//!     size       in units of 512 bytes; 0: nobody has put a medium in, or attached a file
//!     start      of a partition, in the same units
//!
//!   byte 1024    superblock of ext2, ext3, ext4: magic at 56, id at 104, name at 120
//! ```
//!
//! Nothing is opened to list devices, and names are read only of what is asked for. What the kernel tells is trusted,
//! what a medium holds is not.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The most devices that are listed.
pub const DEVICES_MAX: usize = 512;

/// The longest file of the kernel that is read.
const FILE_MAX: u64 = 4096;

/// Where the kernel shows its devices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Roots {
    /// `/sys`
    pub sys: PathBuf,
    /// `/dev`
    pub dev: PathBuf,
}

impl Roots {
    /// Those of this machine.
    #[must_use]
    pub fn of_machine() -> Self {
        Self { sys: "/sys".into(), dev: "/dev".into() }
    }
}

/// A disk, or a partition of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// As the kernel calls it: `mmcblk0p6`.
    pub name: String,
    /// Its node.
    pub node: PathBuf,
    /// Bytes.
    pub size: u64,
    /// What it is a part of, if it is a partition.
    pub part: Option<Part>,
}

impl Device {
    /// Bytes before it on its disk. `None`: it is no partition, or the kernel does not tell.
    #[must_use]
    pub fn start(&self) -> Option<u64> {
        self.part.as_ref()?.start
    }
}

/// A partition in its disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// As the kernel calls the disk: `mmcblk0`.
    pub disk: String,
    /// Its number, from 1.
    pub number: u32,
    /// Its name in the table, where tables have names (GPT).
    pub label: Option<String>,
    /// Bytes before it on the disk, if the kernel tells.
    pub start: Option<u64>,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.part.as_ref().and_then(|part| part.label.as_deref()) {
            Some(label) => write!(f, " ({label})"),
            None => Ok(()),
        }
    }
}

/// What a file system says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Superblock {
    /// Its id, in the usual writing: lower case, with hyphens.
    pub id: String,
    /// Its name; empty if it has none.
    pub label: String,
}

/// Lists the devices that hold something, ordered by name. One that goes away meanwhile is passed over.
///
/// # Errors
/// The directory of the kernel cannot be read.
pub fn list(roots: &Roots) -> std::io::Result<Vec<Device>> {
    let mut devices = Vec::new();
    for entry in std::fs::read_dir(roots.sys.join("class/block"))?.take(DEVICES_MAX) {
        devices.extend(device(roots, &entry?.path()));
    }
    devices.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(devices)
}

fn device(roots: &Roots, dir: &Path) -> Option<Device> {
    let uevent = text(&dir.join("uevent"))?;
    let value = |key: &str| uevent.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let size = text(&dir.join("size"))?.trim().parse::<u64>().ok()?.checked_mul(512).filter(|size| *size > 0)?;
    let node = roots.dev.join(value("DEVNAME")?);
    let part = match value("DEVTYPE")? {
        "partition" => {
            let place = std::fs::canonicalize(dir).ok()?;
            let disk = place.parent()?.file_name()?.to_str()?.to_owned();
            let label = value("PARTNAME").map(str::to_owned);
            let start = text(&dir.join("start")).and_then(|start| start.trim().parse::<u64>().ok()?.checked_mul(512));
            Some(Part { disk, number: value("PARTN")?.parse().ok()?, label, start })
        }
        _ => None,
    };
    Some(Device { name: dir.file_name()?.to_str()?.to_owned(), node, size, part })
}

pub(crate) fn text(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(FILE_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

const SUPERBLOCK: u64 = 1024;
const SUPERBLOCK_LEN: usize = 136;
const MAGIC: u16 = 0xEF53;

/// Reads what the ext file system of a device says of itself. `None`: it has none, or gives nothing back.
#[must_use]
pub fn superblock(node: &Path) -> Option<Superblock> {
    let mut bytes = [0; SUPERBLOCK_LEN];
    File::open(node).ok()?.read_exact_at(&mut bytes, SUPERBLOCK).ok()?;
    decode(&bytes)
}

fn decode(bytes: &[u8; SUPERBLOCK_LEN]) -> Option<Superblock> {
    let magic = u16::from_le_bytes(*bytes.get(56..)?.first_chunk()?);
    if magic != MAGIC {
        return None;
    }
    let mut id = String::with_capacity(36);
    for (index, byte) in bytes.get(104..120)?.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        id.push_str(&format!("{byte:02x}"));
    }
    let label = bytes.get(120..136)?.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(Superblock { id, label: String::from_utf8_lossy(label).into_owned() })
}

#[cfg(test)]
pub(crate) mod fake {
    //! A tree as the kernel would make it.

    use super::*;

    pub(crate) struct Tree {
        _dir: tempfile::TempDir,
        pub(crate) roots: Roots,
    }

    impl Tree {
        pub(crate) fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let roots = Roots { sys: dir.path().join("sys"), dev: dir.path().join("dev") };
            for path in [roots.sys.join("class/block"), roots.dev.clone()] {
                std::fs::create_dir_all(path).unwrap();
            }
            Self { _dir: dir, roots }
        }

        pub(crate) fn disk(&self, name: &str) {
            let place = self.roots.sys.join("devices/pci").join(name);
            self.put(name, &place, &format!("MAJOR=8\nMINOR=0\nDEVNAME={name}\nDEVTYPE=disk\n"), 2048);
        }

        pub(crate) fn partition(&self, disk: &str, number: u32, label: Option<&str>) {
            let name = format!("{disk}{number}");
            let place = self.roots.sys.join("devices/pci").join(disk).join(&name);
            let label = label.map(|label| format!("PARTNAME={label}\n")).unwrap_or_default();
            let uevent = format!("MAJOR=8\nMINOR={number}\nDEVNAME={name}\nDEVTYPE=partition\nPARTN={number}\n{label}");
            self.put(&name, &place, &uevent, 2048);
            std::fs::write(place.join("start"), "2048\n").unwrap();
        }

        pub(crate) fn put(&self, name: &str, place: &Path, uevent: &str, sectors: u64) {
            std::fs::create_dir_all(place).unwrap();
            std::fs::write(place.join("uevent"), uevent).unwrap();
            std::fs::write(place.join("size"), format!("{sectors}\n")).unwrap();
            std::os::unix::fs::symlink(place, self.roots.sys.join("class/block").join(name)).unwrap();
            std::fs::write(self.roots.dev.join(name), vec![0; 4096]).unwrap();
        }

        /// Puts a superblock where mke2fs would.
        pub(crate) fn format(&self, name: &str, label: &str, id: u8) {
            let mut bytes = vec![0; 4096];
            bytes[1024 + 56..][..2].copy_from_slice(&MAGIC.to_le_bytes());
            bytes[1024 + 104..][..16].copy_from_slice(&[id; 16]);
            bytes[1024 + 120..][..label.len()].copy_from_slice(label.as_bytes());
            std::fs::write(self.roots.dev.join(name), bytes).unwrap();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::Tree;
    use super::*;

    #[test]
    fn a_partition_knows_its_disk_its_number_and_its_label() {
        let tree = Tree::new();
        tree.disk("sda");
        tree.partition("sda", 2, Some("journal"));
        let devices = list(&tree.roots).unwrap();
        let part = Part { disk: "sda".into(), number: 2, label: Some("journal".into()), start: Some(1 << 20) };
        assert_eq!(devices[0].part, None);
        assert_eq!(devices[1].part, Some(part));
        assert_eq!(devices[1].node, tree.roots.dev.join("sda2"));
        assert_eq!((devices[1].size, devices[1].to_string().as_str()), (1 << 20, "sda2 (journal)"));
    }

    #[test]
    fn a_kernel_that_does_not_say_where_a_partition_starts_leaves_that_open() {
        let tree = Tree::new();
        tree.disk("sda");
        tree.partition("sda", 2, None);
        std::fs::remove_file(tree.roots.sys.join("class/block/sda2/start")).unwrap();
        let devices = list(&tree.roots).unwrap();
        assert_eq!((devices[0].start(), devices[1].start()), (None, None));
    }

    #[test]
    fn what_holds_nothing_or_tells_nothing_is_passed_over() {
        let tree = Tree::new();
        let place = |name| tree.roots.sys.join("devices/virtual").join(name);
        tree.put("loop0", &place("loop0"), "MAJOR=7\nMINOR=0\nDEVNAME=loop0\nDEVTYPE=disk\n", 0);
        tree.put("odd", &place("odd"), "MAJOR=7\n", 8);
        tree.put("odd1", &place("odd1"), "DEVNAME=odd1\nDEVTYPE=partition\nPARTN=one\n", 8);
        assert_eq!(list(&tree.roots).unwrap(), []);
    }

    #[test]
    fn a_file_system_says_its_name_and_its_id() {
        let tree = Tree::new();
        tree.disk("sda");
        assert_eq!(superblock(&tree.roots.dev.join("sda")), None);
        tree.format("sda", "storage", 0xA1);
        let found = superblock(&tree.roots.dev.join("sda")).unwrap();
        assert_eq!((found.label.as_str(), found.id.as_str()), ("storage", "a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1"));
        std::fs::write(tree.roots.dev.join("sda"), [0; 100]).unwrap();
        assert_eq!(superblock(&tree.roots.dev.join("sda")), None);
    }

    #[test]
    fn a_label_may_fill_its_field() {
        let tree = Tree::new();
        tree.disk("sda");
        tree.format("sda", "exactly-sixteen!", 1);
        assert_eq!(superblock(&tree.roots.dev.join("sda")).unwrap().label, "exactly-sixteen!");
    }
}
