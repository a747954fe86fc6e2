//! One block device among all, as a setting names it; and waiting until it is there.
//!
//! | setting | which |
//! |---|---|
//! | `/dev/mmcblk0p6` | the one of this name |
//! | `PARTLABEL=storage` | the partition that its table calls so (GPT) |
//! | `LABEL=storage` | the ext file system of this name |
//! | `UUID=0a1b…` | the ext file system of this id |
//!
//! Two that answer are an error, never a choice: which of them it takes would depend on who was faster.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::disks::{self, Device, Roots, Superblock};

/// Between two looks: slower than a disk that answers at once, faster than a person notices.
pub const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How many devices an error lists.
const SHOWN: usize = 16;

/// Which device is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// By its node below `/dev`.
    Node(String),
    /// By the name of the partition.
    PartLabel(String),
    /// By the name of the file system.
    Label(String),
    /// By the id of the file system, in lower case.
    Id(String),
}

impl Place {
    /// Reads a setting. `None`: it names nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let value = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
        match text.split_once('=') {
            Some(("PARTLABEL", label)) => value(label).map(Self::PartLabel),
            Some(("LABEL", label)) => value(label).map(Self::Label),
            Some(("UUID", id)) => value(&id.to_ascii_lowercase()).map(Self::Id),
            Some(_) => None,
            None => value(text.strip_prefix("/dev/")?).map(Self::Node),
        }
    }

    fn is(&self, roots: &Roots, device: &Device) -> bool {
        let says = |what: fn(Superblock) -> String, wanted: &str| {
            disks::superblock(&device.node).map(what).is_some_and(|said| said == wanted)
        };
        match self {
            Self::Node(name) => device.node == roots.dev.join(name),
            Self::PartLabel(label) => {
                device.part.as_ref().and_then(|part| part.label.as_ref()).is_some_and(|own| own == label)
            }
            Self::Label(label) => says(|found| found.label, label),
            Self::Id(id) => says(|found| found.id, id),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "/dev/{name}"),
            Self::PartLabel(label) => write!(f, "PARTLABEL={label}"),
            Self::Label(label) => write!(f, "LABEL={label}"),
            Self::Id(id) => write!(f, "UUID={id}"),
        }
    }
}

/// Why a device was not found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PlaceError {
    /// The kernel does not list its devices.
    Sys(PathBuf, std::io::ErrorKind),
    /// Nothing answers to it, for so long.
    Absent {
        /// What was looked for.
        place: Place,
        /// For how long.
        waited: Duration,
        /// What was there instead.
        seen: Vec<String>,
    },
    /// More than one answers to it.
    Ambiguous {
        /// What was looked for.
        place: Place,
        /// Who answers.
        found: Vec<String>,
    },
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sys(path, kind) => write!(f, "cannot list block devices in {}: {kind}", path.display()),
            Self::Absent { place, waited, seen } => {
                write!(f, "no block device is {place}, {} seconds long; ", waited.as_secs())?;
                match seen.split_at_checked(SHOWN) {
                    _ if seen.is_empty() => f.write_str("there is none at all: is a module missing?"),
                    Some((shown, more)) if !more.is_empty() => {
                        write!(f, "there are {} and {} more", shown.join(", "), more.len())
                    }
                    _ => write!(f, "there are {}", seen.join(", ")),
                }
            }
            Self::Ambiguous { place, found } => {
                write!(f, "{place} is {}; remove one, or name the storage by its path", found.join(" and "))
            }
        }
    }
}

impl std::error::Error for PlaceError {}

/// Looks for a device until it is there, for as long as `limit`. Between two looks it calls `pause`, which waits that
/// long.
///
/// # Errors
/// [`PlaceError`]
pub fn find(
    roots: &Roots,
    place: &Place,
    limit: Duration,
    pause: &mut dyn FnMut(Duration),
) -> Result<Device, PlaceError> {
    let mut waited = Duration::ZERO;
    loop {
        let devices =
            disks::list(roots).map_err(|error| PlaceError::Sys(roots.sys.join("class/block"), error.kind()))?;
        let mut found: Vec<_> = devices.iter().filter(|device| place.is(roots, device)).collect();
        match (found.pop(), found.is_empty()) {
            (Some(device), true) => return Ok(device.clone()),
            (Some(device), false) => {
                let found = found.into_iter().chain([device]).map(Device::to_string).collect();
                return Err(PlaceError::Ambiguous { place: place.clone(), found });
            }
            (None, _) if waited >= limit => {
                let seen = devices.iter().map(Device::to_string).collect();
                return Err(PlaceError::Absent { place: place.clone(), waited, seen });
            }
            (None, _) => {
                pause(LOOK_AGAIN);
                waited += LOOK_AGAIN;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disks::fake::Tree;

    const NO_TIME: Duration = Duration::ZERO;

    fn once(tree: &Tree, place: &str) -> Result<String, PlaceError> {
        let place = Place::parse(place).unwrap();
        find(&tree.roots, &place, NO_TIME, &mut |_| ()).map(|device| device.name)
    }

    #[test]
    fn a_setting_names_a_device_in_one_of_four_ways() {
        let tree = Tree::new();
        tree.disk("sda");
        tree.partition("sda", 1, Some("journal"));
        tree.partition("sda", 2, Some("storage"));
        tree.format("sda2", "data", 0xA1);
        for place in ["/dev/sda2", "PARTLABEL=storage", "LABEL=data", "UUID=A1A1A1A1-a1a1-a1a1-a1a1-a1a1a1a1a1a1"] {
            assert_eq!(once(&tree, place).unwrap(), "sda2", "{place}");
        }
        for place in ["", "sda2", "/dev/", "LABEL=", "PARTUUID=1", "label=data"] {
            assert_eq!(Place::parse(place), None, "{place:?}");
        }
    }

    #[test]
    fn what_is_missing_is_told_with_what_is_there() {
        let tree = Tree::new();
        let error = once(&tree, "LABEL=data").unwrap_err().to_string();
        assert_eq!(error, "no block device is LABEL=data, 0 seconds long; there is none at all: is a module missing?");
        tree.disk("sda");
        tree.partition("sda", 1, Some("journal"));
        let error = once(&tree, "PARTLABEL=storage").unwrap_err().to_string();
        assert!(error.ends_with("there are sda, sda1 (journal)"), "{error}");
    }

    #[test]
    fn two_that_answer_are_an_error() {
        let tree = Tree::new();
        for disk in ["sda", "sdb"] {
            tree.disk(disk);
            tree.partition(disk, 6, Some("storage"));
        }
        let error = once(&tree, "PARTLABEL=storage").unwrap_err().to_string();
        assert!(error.contains("sda6 (storage) and sdb6 (storage)"), "{error}");
        assert_eq!(once(&tree, "/dev/sdb6").unwrap(), "sdb6");
    }

    #[test]
    fn a_disk_that_comes_late_is_waited_for() {
        let tree = Tree::new();
        let mut pauses = 0;
        let mut pause = |_| {
            pauses += 1;
            if pauses == 3 {
                tree.disk("sda");
            }
        };
        let place = Place::parse("/dev/sda").unwrap();
        let found = find(&tree.roots, &place, Duration::from_secs(1), &mut pause).unwrap();
        assert_eq!((found.name.as_str(), pauses), ("sda", 3));
    }

    #[test]
    fn waiting_has_an_end() {
        let tree = Tree::new();
        let mut waited = Duration::ZERO;
        let place = Place::parse("/dev/sda").unwrap();
        let error = find(&tree.roots, &place, Duration::from_secs(2), &mut |pause| waited += pause).unwrap_err();
        assert_eq!(waited, Duration::from_secs(2));
        assert!(matches!(error, PlaceError::Absent { .. }));
    }
}
