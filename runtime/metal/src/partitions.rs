//! From the storage to its disk, and to the other partitions of the board's layout.
//!
//! ```text
//!   layout      firmware   wanted   spent   journal   recovery   storage
//!   number         1         2        3        4          5         6       its place in the layout, from 1
//! ```
//!
//! The storage is found by its setting; everything else lies on the same disk, where the layout has it. Numbers count,
//! because every kind of table has them. Where a table has names too, they must be those of the layout: a disk that was
//! made for another layout must not lose a partition to a boot cell.

use std::fmt;

use boards_api::board::{Layout, Partition, Role};

use crate::disks::{Device, Part};

/// The partitions of the disk that the storage is on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partitions {
    layout: Layout,
    disk: String,
    found: Vec<Device>,
}

/// Why a partition cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartitionError {
    /// The storage is not a partition, so there is nothing beside it.
    Whole(String),
    /// The layout has the storage as another partition, or has none.
    Storage {
        /// Which it is.
        number: u32,
        /// What the layout says.
        wanted: Option<u32>,
    },
    /// The disk lacks a partition.
    Absent {
        /// The disk.
        disk: String,
        /// The partition's number.
        number: u32,
        /// Its label in the layout.
        label: &'static str,
    },
    /// A partition is called otherwise.
    Label {
        /// The device.
        device: String,
        /// As its table has it.
        found: String,
        /// As the layout has it.
        wanted: &'static str,
    },
}

impl fmt::Display for PartitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(device) => {
                write!(f, "{device} is a whole disk, and the board has partitions beside the storage")
            }
            Self::Storage { number, wanted: Some(wanted) } => {
                write!(f, "the storage is partition {number}, and partition {wanted} in the board's layout")
            }
            Self::Storage { number, wanted: None } => {
                write!(f, "the storage is partition {number}, and the board's layout has none")
            }
            Self::Absent { disk, number, label } => {
                write!(f, "{disk} has no partition {number}, which should be {label}; was it made for this board?")
            }
            Self::Label { device, found, wanted } => {
                write!(f, "{device} is called {found}, and should be {wanted}; was the disk made for this board?")
            }
        }
    }
}

impl std::error::Error for PartitionError {}

impl Partitions {
    /// The partitions beside the storage, out of all devices.
    ///
    /// # Errors
    /// [`PartitionError::Whole`], [`PartitionError::Storage`] and, for the storage itself, [`PartitionError::Label`].
    pub fn beside(storage: &Device, layout: Layout, devices: Vec<Device>) -> Result<Self, PartitionError> {
        let part = storage.part.as_ref().ok_or_else(|| PartitionError::Whole(storage.name.clone()))?;
        let wanted = place(&layout, Role::Store);
        if wanted.is_none_or(|(number, _)| number != part.number) {
            let wanted = wanted.map(|(number, _)| number);
            return Err(PartitionError::Storage { number: part.number, wanted });
        }
        let disk = part.disk.clone();
        let on_disk = |device: &Device| device.part.as_ref().is_some_and(|part| part.disk == disk);
        let found = devices.into_iter().filter(on_disk).collect();
        let partitions = Self { layout, disk, found };
        partitions.role(Role::Store)?;
        Ok(partitions)
    }

    /// The partition with a role. `None`: the board has none.
    ///
    /// # Errors
    /// [`PartitionError::Absent`] and [`PartitionError::Label`].
    pub fn role(&self, role: Role) -> Result<Option<&Device>, PartitionError> {
        let Some((number, Partition { label, .. })) = place(&self.layout, role) else { return Ok(None) };
        let part = |device: &Device| device.part.as_ref().map(|part| part.number);
        let device = self.found.iter().find(|device| part(device) == Some(number));
        let device = device.ok_or_else(|| PartitionError::Absent { disk: self.disk.clone(), number, label })?;
        match &device.part {
            Some(Part { label: Some(found), .. }) if found != label => {
                Err(PartitionError::Label { device: device.name.clone(), found: found.clone(), wanted: label })
            }
            _ => Ok(Some(device)),
        }
    }
}

/// The number of the partition with a role, and the partition.
fn place(layout: &Layout, role: Role) -> Option<(u32, &'static Partition)> {
    (1..).zip(layout.partitions).find(|(_, partition)| partition.role == role)
}

#[cfg(test)]
mod tests {
    use boards_api::board::Content;

    use super::*;
    use crate::disks::{self, fake::Tree};

    const fn partition(role: Role, label: &'static str) -> Partition {
        Partition { role, label, start_kib: None, size_kib: None, content: Content::Raw }
    }

    const LAYOUT: Layout = Layout {
        partitions: &[
            partition(Role::Firmware, "firmware"),
            partition(Role::Journal, "journal"),
            partition(Role::Store, "storage"),
        ],
    };

    fn tree(labels: [Option<&str>; 3]) -> (Tree, Vec<Device>) {
        let tree = Tree::new();
        for disk in ["sda", "sdb"] {
            tree.disk(disk);
            for (number, label) in (1..).zip(labels) {
                tree.partition(disk, number, label);
            }
        }
        let devices = disks::list(&tree.roots).unwrap();
        (tree, devices)
    }

    fn beside(name: &str, devices: &[Device]) -> Result<Partitions, PartitionError> {
        let storage = devices.iter().find(|device| device.name == name).unwrap();
        Partitions::beside(storage, LAYOUT, devices.to_vec())
    }

    #[test]
    fn the_layout_counts_on_the_disk_of_the_storage() {
        for labels in [[Some("firmware"), Some("journal"), Some("storage")], [None; 3]] {
            let (_tree, devices) = tree(labels);
            let partitions = beside("sdb3", &devices).unwrap();
            assert_eq!(partitions.role(Role::Journal).unwrap().unwrap().name, "sdb2");
            assert_eq!(partitions.role(Role::Wanted), Ok(None));
        }
    }

    #[test]
    fn a_name_that_is_not_that_of_the_layout_is_an_error() {
        let (_tree, devices) = tree([Some("firmware"), Some("home"), Some("storage")]);
        let error = beside("sda3", &devices).unwrap().role(Role::Journal).unwrap_err().to_string();
        assert_eq!(error, "sda2 is called home, and should be journal; was the disk made for this board?");
        let (_tree, devices) = tree([None, None, Some("data")]);
        assert!(matches!(beside("sda3", &devices), Err(PartitionError::Label { .. })));
    }

    #[test]
    fn a_storage_in_another_place_is_an_error() {
        let (_tree, devices) = tree([None; 3]);
        assert_eq!(beside("sda", &devices), Err(PartitionError::Whole("sda".into())));
        assert_eq!(beside("sda2", &devices), Err(PartitionError::Storage { number: 2, wanted: Some(3) }));
    }

    #[test]
    fn a_partition_that_is_missing_is_named() {
        let (_tree, mut devices) = tree([None; 3]);
        devices.retain(|device| device.name != "sda1");
        let error = beside("sda3", &devices).unwrap().role(Role::Firmware).unwrap_err();
        assert_eq!(error, PartitionError::Absent { disk: "sda".into(), number: 1, label: "firmware" });
    }
}
