//! The two boot partitions of an eMMC, and the byte that says from which of them a ROM boots.
//!
//! ```text
//!   mmcblk0        the user area, which the storage lies on; takes commands
//!   mmcblk0boot0   read-only until 0 is written to its `force_ro`, and again from the next boot on
//!   mmcblk0boot1
//!
//!   EXT_CSD, byte 179, PARTITION_CONFIG    ┌───┬──────────┬───────────────────────┬──────────────────┐
//!                                          │ – │ BOOT_ACK │ BOOT_PARTITION_ENABLE │ PARTITION_ACCESS │
//!                                          └ 7 ┴ 6 ───────┴ 5 … 3 ────────────────┴ 2 … 0 ───────────┘
//!      BOOT_PARTITION_ENABLE: 1 first, 2 second, 7 user area, 0 none
//! ```
//!
//! Source: JESD84-B51, 7.4.69. Which copy boots is asked of the eMMC itself each time, also after it was switched.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use boards_api::media::Sectors;
use rustix::io::Errno;
use statemachine::bootloader::Twin;
use statemachine::ids::Digest;

use crate::bootloader::{Pair, digest, fill};
use crate::disks::{self, Device, Roots};
use crate::sys;

/// Where `PARTITION_CONFIG` stands in `EXT_CSD`.
const PARTITION_CONFIG: u8 = 179;

/// The byte `PARTITION_CONFIG`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionConfig(pub u8);

impl PartitionConfig {
    const ENABLE: u8 = 0b111 << 3;

    /// The boot partition that a ROM boots from; `None`: it is neither.
    #[must_use]
    pub const fn boots(self) -> Option<Twin> {
        match (self.0 & Self::ENABLE) >> 3 {
            1 => Some(Twin::First),
            2 => Some(Twin::Second),
            _ => None,
        }
    }

    /// The same, and a ROM boots from this one.
    #[must_use]
    pub const fn booting(self, copy: Twin) -> Self {
        let enable = match copy {
            Twin::First => 1,
            Twin::Second => 2,
        };
        Self(self.0 & !Self::ENABLE | enable << 3)
    }
}

/// The register of an eMMC.
pub trait Card {
    /// Reads it.
    ///
    /// # Errors
    /// The eMMC does not answer.
    fn config(&self) -> Result<PartitionConfig, Errno>;

    /// Writes it.
    ///
    /// # Errors
    /// The eMMC does not answer. That it has taken it is only known by reading it.
    fn set_config(&self, config: PartitionConfig) -> Result<(), Errno>;
}

/// The node of an eMMC's user area.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserArea(pub PathBuf);

impl UserArea {
    fn open(&self) -> Result<File, Errno> {
        File::open(&self.0).map_err(|error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))
    }
}

impl Card for UserArea {
    fn config(&self) -> Result<PartitionConfig, Errno> {
        let register = sys::ext_csd(self.open()?)?;
        register.get(usize::from(PARTITION_CONFIG)).map(|byte| PartitionConfig(*byte)).ok_or(Errno::IO)
    }

    fn set_config(&self, config: PartitionConfig) -> Result<(), Errno> {
        sys::write_ext_csd(self.open()?, PARTITION_CONFIG, config.0)
    }
}

/// Opens sectors of a node, to write them if so asked.
pub type Open<S> = fn(&Path, bool) -> Result<S, String>;

/// The boot partitions of an eMMC.
#[derive(Clone, Debug)]
pub struct BootPartitions<S, C = UserArea> {
    card: C,
    copies: [Device; 2],
    /// Whether a copy may be written, as the kernel has it.
    locks: [PathBuf; 2],
    open: Open<S>,
}

impl<S: Sectors> BootPartitions<S> {
    /// Those of the eMMC that a storage lies on. Nothing is opened or asked yet.
    ///
    /// # Errors
    /// It has none, in words.
    pub fn beside(storage: &Device, roots: &Roots, open: Open<S>) -> Result<Self, String> {
        let disk = storage.part.as_ref().map_or(&storage.name, |part| &part.disk);
        Self::of_disk(disk, UserArea(roots.dev.join(disk)), roots, open)
    }
}

impl<S: Sectors, C: Card> BootPartitions<S, C> {
    fn of_disk(disk: &str, card: C, roots: &Roots, open: Open<S>) -> Result<Self, String> {
        let all = disks::list(roots).map_err(|error| error.to_string())?;
        let find = |number: u8| {
            let name = format!("{disk}boot{number}");
            let copy = all.iter().find(|device| device.name == name).cloned();
            copy.ok_or_else(|| format!("the storage is on {disk}, and there is no {name}: it has no boot partitions"))
        };
        let copies = [find(0)?, find(1)?];
        let locks = copies.each_ref().map(|copy| roots.sys.join("class/block").join(&copy.name).join("force_ro"));
        Ok(Self { card, copies, locks, open })
    }

    fn copy(&self, copy: Twin) -> (&Device, &Path) {
        let ([first, second], [first_lock, second_lock]) = (&self.copies, &self.locks);
        match copy {
            Twin::First => (first, first_lock),
            Twin::Second => (second, second_lock),
        }
    }

    fn config(&self) -> Result<PartitionConfig, String> {
        self.card.config().map_err(|errno| format!("PARTITION_CONFIG cannot be read: {errno}"))
    }
}

impl<S: Sectors, C: Card> Pair for BootPartitions<S, C> {
    fn name(&self, copy: Twin) -> &str {
        &self.copy(copy).0.name
    }

    fn room(&self) -> u64 {
        let [first, second] = &self.copies;
        first.size.min(second.size)
    }

    fn active(&self) -> Result<Twin, String> {
        let config = self.config()?;
        config.boots().ok_or_else(|| {
            format!("the eMMC's PARTITION_CONFIG is {:#04x}: it boots from neither of its boot partitions", config.0)
        })
    }

    fn digest(&self, copy: Twin, length: u64) -> Result<Digest, String> {
        let (device, _) = self.copy(copy);
        let mut sectors = (self.open)(&device.node, false)?;
        digest(&mut sectors, length).map_err(|error| format!("{device}: {error}"))
    }

    fn write(&self, copy: Twin, bytes: &mut dyn Read, length: u64) -> Result<(), String> {
        let (device, lock) = self.copy(copy);
        let told = |value: &str| std::fs::write(lock, value).map_err(|error| format!("{}: {error}", lock.display()));
        told("0")?;
        let written = (self.open)(&device.node, true)
            .and_then(|mut sectors| fill(&mut sectors, bytes, length).map_err(|error| format!("{device}: {error}")));
        // Whatever came of it: nobody else writes there.
        let locked = told("1");
        written.and(locked)
    }

    fn switch(&self, to: Twin) -> Result<(), String> {
        let config = self.config()?.booting(to);
        self.card.set_config(config).map_err(|errno| format!("PARTITION_CONFIG cannot be written: {errno}"))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::disks::fake::Tree;

    #[test]
    fn the_byte_names_the_copy_that_boots_and_the_other_bits_stay() {
        for (byte, boots) in [
            (0x08, Some(Twin::First)),
            (0x48, Some(Twin::First)),
            (0x52, Some(Twin::Second)),
            (0x00, None),
            (0x38, None),
            (0x18, None),
        ] {
            assert_eq!(PartitionConfig(byte).boots(), boots, "{byte:#x}");
        }
        for byte in 0..=u8::MAX {
            for copy in [Twin::First, Twin::Second] {
                let config = PartitionConfig(byte).booting(copy);
                assert_eq!((config.boots(), config.0 & 0b1100_0111), (Some(copy), byte & 0b1100_0111));
            }
        }
    }

    /// A file that is written only while its lock is open.
    #[derive(Debug)]
    struct Locked(PathBuf, bool);

    impl Sectors for Locked {
        type Error = std::io::Error;

        fn size(&self) -> u64 {
            1 << 20
        }

        fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Self::Error> {
            std::os::unix::fs::FileExt::read_exact_at(&File::open(&self.0)?, into, at)
        }

        fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Self::Error> {
            let name = self.0.file_name().unwrap().to_str().unwrap();
            let lock = self.0.ancestors().nth(2).unwrap().join(format!("sys/class/block/{name}/force_ro"));
            assert_eq!(
                (std::fs::read_to_string(lock)?.as_str(), self.1),
                ("0", true),
                "{name} is written while locked"
            );
            std::os::unix::fs::FileExt::write_all_at(&File::options().write(true).open(&self.0)?, bytes, at)
        }
    }

    impl Card for Cell<u8> {
        fn config(&self) -> Result<PartitionConfig, Errno> {
            Ok(PartitionConfig(self.get()))
        }

        fn set_config(&self, config: PartitionConfig) -> Result<(), Errno> {
            self.set(config.0);
            Ok(())
        }
    }

    fn open(path: &Path, write: bool) -> Result<Locked, String> {
        Ok(Locked(path.to_owned(), write))
    }

    fn emmc() -> Tree {
        let tree = Tree::new();
        tree.disk("mmcblk0");
        tree.partition("mmcblk0", 1, Some("storage"));
        for name in ["mmcblk0boot0", "mmcblk0boot1"] {
            let place = tree.roots.sys.join("devices/pci/mmcblk0").join(name);
            tree.put(name, &place, &format!("MAJOR=179\nMINOR=8\nDEVNAME={name}\nDEVTYPE=disk\n"), 8);
            std::fs::write(place.join("force_ro"), "1").unwrap();
        }
        tree
    }

    #[test]
    fn a_boot_partition_is_written_behind_its_lock_and_the_lock_closes_again() {
        let tree = emmc();
        let pair = BootPartitions::of_disk("mmcblk0", Cell::new(0x48), &tree.roots, open).unwrap();
        assert_eq!((pair.room(), pair.name(Twin::Second), pair.active()), (4096, "mmcblk0boot1", Ok(Twin::First)));
        let before = pair.digest(Twin::First, 600).unwrap();
        pair.write(Twin::Second, &mut &[7; 600][..], 600).unwrap();
        let written = std::fs::read(tree.roots.dev.join("mmcblk0boot1")).unwrap();
        assert_eq!((&written[..600], &written[600..]), (&[7; 600][..], &[0; 3496][..]));
        assert_ne!(pair.digest(Twin::Second, 600).unwrap(), before);
        assert_eq!(pair.digest(Twin::First, 600).unwrap(), before);
        // A source that ends early is no reason to leave it open.
        assert!(pair.write(Twin::Second, &mut &[7; 10][..], 600).is_err());
        let lock = tree.roots.sys.join("class/block/mmcblk0boot1/force_ro");
        assert_eq!(std::fs::read_to_string(lock).unwrap(), "1");
        pair.switch(Twin::Second).unwrap();
        assert_eq!((pair.active(), pair.card.get()), (Ok(Twin::Second), 0x50));
        pair.card.set(0x38);
        assert!(pair.active().is_err_and(|why| why.contains("0x38")));
    }

    #[test]
    fn a_disk_without_boot_partitions_says_so() {
        let tree = Tree::new();
        tree.disk("mmcblk1");
        tree.partition("mmcblk1", 1, Some("storage"));
        let storage = disks::list(&tree.roots).unwrap().pop().unwrap();
        assert_eq!(storage.name, "mmcblk11");
        let why = BootPartitions::beside(&storage, &tree.roots, open).unwrap_err();
        assert!(why.contains("on mmcblk1, and there is no mmcblk1boot0"), "{why}");
    }
}
