//! What this machine says of a disk: its size, its name, and who uses it.
//!
//! From `/sys` and `/proc` alone, whose places are parameters, so that any machine can be played. A disk is used by what
//! lies above it too: a partition, a volume of device-mapper or md on that, a loop device on a file of a file system on
//! that. What this process cannot see (another namespace of mounts) the kernel refuses when the disk is opened.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Where the kernel says what there is.
pub(super) struct Machine {
    pub(super) sys: PathBuf,
    pub(super) proc: PathBuf,
}

/// What a path that was given as a device is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A file that plays a disk; one that is not there yet, or empty, becomes as large as the image.
    File,
    /// A whole disk.
    Disk,
    /// A loop device: a file as well, with a name of the kernel's.
    Loop,
    /// A part of this disk.
    Partition(String),
}

/// Who uses a disk.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Use {
    /// A file system on it is mounted here.
    Mounted { device: String, at: String },
    /// The machine swaps to it.
    Swap { device: String },
    /// A volume lies on it.
    Held { by: String },
}

/// A disk, or a file that plays one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) path: PathBuf,
    /// As the kernel calls it; of a file its own name.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) bytes: u64,
    pub(super) read_only: bool,
    /// Somebody can pull it out: a card, a stick, a disk on USB.
    pub(super) removable: bool,
    pub(super) model: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) uses: Vec<Use>,
}

impl Target {
    /// What has to be typed to force something: the name of the kernel, which depends on the order of plugging, with
    /// what the disk itself says, which does not.
    pub(super) fn identity(&self) -> String {
        [Some(&self.name), self.model.as_ref(), self.serial.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(":")
    }
}

/// A line of `/proc/self/mountinfo`, as far as it is read (proc_pid_mountinfo(5)).
struct Mount {
    numbers: String,
    at: String,
    source: String,
}

impl Machine {
    /// This machine.
    pub(super) fn this() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into() }
    }

    /// Finds out what a path is.
    pub(super) fn inspect(&self, path: &Path) -> Result<Target> {
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !path.starts_with("/dev") => None,
            other => Some(other.with_context(|| format!("cannot look at {}", path.display()))?),
        };
        match metadata {
            Some(metadata) if metadata.file_type().is_block_device() => {
                let numbers = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
                self.block(path, &format!("{}:{}", numbers.0, numbers.1))
            }
            Some(metadata) if metadata.is_file() => self.file(path, metadata.len(), metadata.permissions().readonly()),
            None => self.file(path, 0, false),
            Some(_) => bail!("{} is neither a disk nor a file", path.display()),
        }
    }

    fn file(&self, path: &Path, bytes: u64, read_only: bool) -> Result<Target> {
        let name = path.file_name().with_context(|| format!("{} has no name", path.display()))?;
        let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let is_backed = |name: &String| self.backing(name).is_some_and(|file| file == whole);
        let uses = self.names().into_iter().filter(is_backed).map(|by| Use::Held { by }).collect();
        Ok(Target {
            path: path.to_owned(),
            name: name.to_string_lossy().into_owned(),
            kind: Kind::File,
            bytes,
            read_only,
            removable: true,
            model: None,
            serial: None,
            uses,
        })
    }

    /// The block device with these numbers.
    pub(super) fn block(&self, path: &Path, numbers: &str) -> Result<Target> {
        let dir = fs::canonicalize(self.sys.join("dev/block").join(numbers))
            .with_context(|| format!("the kernel does not know {}", path.display()))?;
        let name = name_of(&dir);
        let kind = match self.backing(&name) {
            _ if dir.join("partition").exists() => Kind::Partition(dir.parent().map(name_of).unwrap_or_default()),
            Some(_) => Kind::Loop,
            None => Kind::Disk,
        };
        let sectors = text(&dir.join("size")).and_then(|size| size.parse::<u64>().ok());
        let on_usb = dir.ancestors().any(|dir| text(&dir.join("idVendor")).is_some());
        let is_card = text(&dir.join("device/type")).is_some_and(|kind| kind == "SD");
        let flagged = text(&dir.join("removable")).is_some_and(|flag| flag == "1");
        // The nearest device that has a number of its own: the disk, or the USB device that it is.
        let serial = [dir.join("serial"), dir.join("device/serial")].iter().find_map(|path| text(path));
        let serial = serial.or_else(|| dir.ancestors().skip(1).find_map(|dir| text(&dir.join("serial"))));
        Ok(Target {
            path: path.to_owned(),
            kind: kind.clone(),
            // The kernel counts in sectors of 512 bytes, whatever the disk does.
            bytes: sectors.with_context(|| format!("the kernel does not say how large {name} is"))? * 512,
            read_only: text(&dir.join("ro")).is_some_and(|flag| flag == "1"),
            removable: flagged || on_usb || is_card || kind == Kind::Loop,
            model: ["device/model", "device/name"].iter().find_map(|path| text(&dir.join(path))),
            serial,
            uses: self.uses(&name),
            name,
        })
    }

    /// Who uses this disk or anything on it.
    fn uses(&self, disk: &str) -> Vec<Use> {
        let mut uses = BTreeSet::new();
        let mounts = self.mounts();
        let lies_on = |name: &str| self.below(name, &mounts, 0).contains(disk);
        for mount in &mounts {
            if let Some(device) = self.named(mount).filter(|device| lies_on(device)) {
                uses.insert(Use::Mounted { device, at: mount.at.clone() });
            }
        }
        let swaps = fs::read_to_string(self.proc.join("swaps")).unwrap_or_default();
        for place in swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next()) {
            let device = self.device_of(Path::new(&unescaped(place)), &mounts);
            uses.extend(device.filter(|device| lies_on(device)).map(|device| Use::Swap { device }));
        }
        for name in self.names() {
            let dir = self.sys.join("class/block").join(&name);
            let has_slaves = fs::read_dir(dir.join("slaves")).is_ok_and(|mut slaves| slaves.next().is_some());
            if name != disk && (has_slaves || self.backing(&name).is_some()) && lies_on(&name) {
                uses.insert(Use::Held { by: name });
            }
        }
        uses.into_iter().collect()
    }

    /// The disks that a block device lies on; a disk lies on itself.
    fn below(&self, name: &str, mounts: &[Mount], depth: u8) -> BTreeSet<String> {
        let mut disks = BTreeSet::new();
        // Nothing is stacked so high; a ring of loop devices would be.
        if depth > 16 {
            return disks;
        }
        let Ok(dir) = fs::canonicalize(self.sys.join("class/block").join(name)) else { return disks };
        let disk = match dir.parent() {
            Some(parent) if dir.join("partition").exists() => name_of(parent),
            _ => name.to_owned(),
        };
        let slaves = fs::read_dir(dir.join("slaves")).into_iter().flatten().filter_map(Result::ok);
        let slaves = slaves.map(|slave| slave.file_name().to_string_lossy().into_owned());
        let backing = self.backing(&disk).and_then(|file| self.device_of(&file, mounts));
        for lower in slaves.chain(backing) {
            disks.extend(self.below(&lower, mounts, depth + 1));
        }
        disks.insert(disk);
        disks
    }

    /// The file behind a loop device.
    fn backing(&self, name: &str) -> Option<PathBuf> {
        text(&self.sys.join("class/block").join(name).join("loop/backing_file")).map(PathBuf::from)
    }

    /// The block device that a path is, or lies on.
    fn device_of(&self, path: &Path, mounts: &[Mount]) -> Option<String> {
        if let Some(name) = self.device_node(path) {
            return Some(name);
        }
        let holds = mounts.iter().filter(|mount| path.starts_with(&mount.at));
        // Of two mounts at one place the later one is seen.
        self.named(holds.max_by_key(|mount| mount.at.len())?)
    }

    /// The block device of a mount. Some file systems give numbers that are no device's; then their source tells.
    fn named(&self, mount: &Mount) -> Option<String> {
        let dir = fs::canonicalize(self.sys.join("dev/block").join(&mount.numbers));
        dir.ok().map(|dir| name_of(&dir)).or_else(|| self.device_node(Path::new(&mount.source)))
    }

    /// The kernel's name of a device node; links like those of device-mapper are followed.
    fn device_node(&self, path: &Path) -> Option<String> {
        if !path.starts_with("/dev") {
            return None;
        }
        let name = name_of(&fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()));
        self.sys.join("class/block").join(&name).exists().then_some(name)
    }

    fn mounts(&self) -> Vec<Mount> {
        let text = fs::read_to_string(self.proc.join("self/mountinfo")).unwrap_or_default();
        let mount = |line: &str| {
            let (mount, file_system) = line.split_once(" - ")?;
            let mut fields = mount.split(' ').skip(2);
            let numbers = fields.next()?.to_owned();
            let at = unescaped(fields.nth(1)?);
            Some(Mount { numbers, at, source: unescaped(file_system.split(' ').nth(1)?) })
        };
        text.lines().filter_map(mount).collect()
    }

    /// All block devices.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.sys.join("class/block")).into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a file of `/sys` says, if it says anything.
fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Blanks in paths stand as `\040` in the tables of the kernel.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(3).unwrap_or(("", part));
        match u8::from_str_radix(code, 8) {
            Ok(byte) => path.push(char::from(byte)),
            Err(_) => path.push_str(code),
        }
        path.push_str(rest);
    }
    path
}
