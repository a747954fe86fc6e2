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
//!
//! ```text
//!   disk        firmware      1      journal  2  recovery  3  storage  4       what is left is counted
//!   flash                 wanted      spent                                    MTD partitions of these names
//! ```
//!
//! A disk that does not have all of them may have flash beside it: cells and slots without a file system that no partition of
//! the disk is called by are then MTD partitions of exactly that name. A disk that has all of them is used as it is.

use std::fmt;

use boards_api::board::{Content, Layout, Partition, Role};

use crate::disks::{Device, Part};
use crate::mtd::{self, NameTwice};

/// The partitions of the disk that the storage is on, and those of the flash beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partitions {
    layout: Layout,
    disk: String,
    found: Vec<Device>,
    flash: Vec<(Role, mtd::Partition)>,
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
    /// The flash beside the disk.
    Flash(NameTwice),
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
            Self::Flash(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PartitionError {}

impl Partitions {
    /// The partitions beside the storage, out of all devices and all partitions of flash.
    ///
    /// # Errors
    /// [`PartitionError::Whole`], [`PartitionError::Storage`], [`PartitionError::Flash`] and, for the storage itself,
    /// [`PartitionError::Label`].
    pub fn beside(
        storage: &Device,
        layout: Layout,
        devices: Vec<Device>,
        flash: &[mtd::Partition],
    ) -> Result<Self, PartitionError> {
        let part = storage.part.as_ref().ok_or_else(|| PartitionError::Whole(storage.name.clone()))?;
        let disk = part.disk.clone();
        let on_disk = |device: &Device| device.part.as_ref().is_some_and(|part| part.disk == disk);
        let found = devices.into_iter().filter(on_disk).collect();
        let mut partitions = Self { layout, disk, found, flash: Vec::new() };
        let number = |partitions: &Self| partitions.place(Role::Store).map(|(number, _)| number);
        if number(&partitions) != Some(part.number) {
            partitions.flash = partitions.missing(flash)?;
        }
        let wanted = number(&partitions);
        if wanted != Some(part.number) {
            return Err(PartitionError::Storage { number: part.number, wanted });
        }
        partitions.role(Role::Store)?;
        Ok(partitions)
    }

    /// What the layout has without a file system, the disk by no name, and the flash by this one.
    fn missing(&self, flash: &[mtd::Partition]) -> Result<Vec<(Role, mtd::Partition)>, PartitionError> {
        let mut found = Vec::new();
        for Partition { role, label, content, .. } in self.layout.partitions {
            let may = *content == Content::Raw && matches!(role, Role::Wanted | Role::Spent | Role::Slot(_));
            let is_it =
                |device: &Device| device.part.as_ref().is_some_and(|part| part.label.as_deref() == Some(*label));
            if may && !self.found.iter().any(is_it) {
                let partition = mtd::named(flash, label).map_err(PartitionError::Flash)?;
                found.extend(partition.map(|partition| (*role, partition.clone())));
            }
        }
        Ok(found)
    }

    /// The number of the partition with a role, and the partition. `None`: the disk is to have none.
    fn place(&self, role: Role) -> Option<(u32, &'static Partition)> {
        let on_disk = self.layout.partitions.iter().filter(|partition| self.flash(partition.role).is_none());
        (1..).zip(on_disk).find(|(_, partition)| partition.role == role)
    }

    /// The partition with a role in the flash beside the disk.
    #[must_use]
    pub fn flash(&self, role: Role) -> Option<&mtd::Partition> {
        self.flash.iter().find(|(of, _)| *of == role).map(|(_, partition)| partition)
    }

    /// The partition of the disk with a role. `None`: the board has none, or in [`flash`](Self::flash).
    ///
    /// # Errors
    /// [`PartitionError::Absent`] and [`PartitionError::Label`].
    pub fn role(&self, role: Role) -> Result<Option<&Device>, PartitionError> {
        let Some((number, Partition { label, .. })) = self.place(role) else { return Ok(None) };
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

#[cfg(test)]
mod tests {
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
        Partitions::beside(storage, LAYOUT, devices.to_vec(), &[])
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

    const WITH_CELLS: Layout = Layout {
        partitions: &[
            partition(Role::Wanted, "wanted"),
            partition(Role::Spent, "spent"),
            partition(Role::Journal, "journal"),
            Partition { content: Content::Ext4, ..partition(Role::Store, "storage") },
        ],
    };

    fn flash(names: &[&str]) -> Vec<mtd::Partition> {
        let listed = names.iter().enumerate().map(|(number, name)| mtd::Partition {
            number: number as u32,
            node: format!("/dev/mtd{number}").into(),
            name: (*name).into(),
            kind: "nor".into(),
            geometry: mtd::Geometry { size: 128 << 10, erase: 64 << 10, write: 1 },
        });
        listed.collect()
    }

    /// A disk with so many partitions of these names, the last of which is the storage.
    fn on_disk(labels: &[Option<&str>], flash: &[mtd::Partition]) -> Result<Partitions, PartitionError> {
        let tree = Tree::new();
        tree.disk("sda");
        (1..).zip(labels).for_each(|(number, label)| tree.partition("sda", number, *label));
        let devices = disks::list(&tree.roots).unwrap();
        let storage = devices.last().unwrap().clone();
        Partitions::beside(&storage, WITH_CELLS, devices, flash)
    }

    #[test]
    fn cells_that_the_disk_lacks_are_flash_of_their_names_and_the_rest_is_counted_without_them() {
        let flash = flash(&["u-boot", "spent", "wanted", "journal", "storage"]);
        for labels in [[Some("journal"), Some("storage")], [None; 2]] {
            let partitions = on_disk(&labels, &flash).unwrap();
            assert_eq!(partitions.flash(Role::Wanted), Some(&flash[2]));
            assert_eq!(partitions.flash(Role::Spent), Some(&flash[1]));
            assert_eq!((partitions.flash(Role::Journal), partitions.role(Role::Wanted)), (None, Ok(None)));
            assert_eq!(partitions.role(Role::Journal).unwrap().unwrap().name, "sda1");
        }
        let partitions = on_disk(&[Some("wanted"), Some("journal"), Some("storage")], &flash).unwrap();
        assert_eq!((partitions.flash(Role::Wanted), partitions.flash(Role::Spent)), (None, Some(&flash[1])));
        assert_eq!(partitions.role(Role::Wanted).unwrap().unwrap().name, "sda1");
    }

    #[test]
    fn a_disk_that_has_every_partition_is_used_whatever_flash_is_called() {
        for labels in [[Some("wanted"), Some("spent"), Some("journal"), Some("storage")], [None; 4]] {
            let partitions = on_disk(&labels, &flash(&["wanted", "wanted", "spent"])).unwrap();
            assert_eq!((partitions.flash(Role::Wanted), partitions.flash(Role::Spent)), (None, None));
            assert_eq!(partitions.role(Role::Spent).unwrap().unwrap().name, "sda2");
        }
    }

    #[test]
    fn flash_of_other_names_or_of_one_name_twice_stands_in_for_nothing() {
        let labels = [Some("journal"), Some("storage")];
        let error = on_disk(&labels, &flash(&["Wanted", "spent0"])).unwrap_err();
        assert_eq!(error, PartitionError::Storage { number: 2, wanted: Some(4) });
        let error = on_disk(&labels, &flash(&["wanted", "spent", "wanted"])).unwrap_err().to_string();
        assert_eq!(error, "mtd0 and mtd2 are both called wanted; give one of them another name");
    }
}
