//! Where the boot cells and the journal of a board lie on this device.
//!
//! | | on a disk of ours | in a directory |
//! |---|---|---|
//! | a cell | the raw partition of its role, else a preallocated file in the firmware's FAT | `STORAGE/boot/` |
//! | | where the disk has no such partition, flash of its name | |
//! | a slot | the partition of its role, whatever is in it | none |
//! | the journal | the raw partition `journal`: the first pages of both halves | `STORAGE/boot/journal.a`, `.b` |
//! | `SHARES` | – | `STORAGE/boot/`, refitted; the journal beside it is made where there is none |
//! | the barrier | the file system of the storage | the same |
//!
//! Which of them is a matter of the board's layout alone. The firmware's file system is never mounted: see [`metal::fat`].

use std::fmt;
use std::path::{Path, PathBuf};

use board_host::{BOOT_DIRECTORY, JOURNAL};
use boards_api::board::{Board, Content, Layout, Media, Partition, Rests, Role, Shared};
use boards_api::media::{Files as _, Sectors};
use boards_api::slots::{Places, Slot};
use boards_api::takeover::{self, FOREIGN_MAX};
use media::directory::Directory;
use metal::disks::Device;
use metal::fat;
use metal::mtd::{Mtd, MtdError};
use metal::partitions::Partitions;
use metal::slots::Slots;
use metal::window::Window;
use rustix::io::Errno;
use store::file::{FileError, FileSectors};
use store::nor::PAGE;

/// Bytes of each half of a journal's partition that are used, at most. Sixteen pages wear evenly, and a region that has
/// to be erased as a whole, sector by sector, is erased in a moment.
const REGION_MAX: u64 = 16 * PAGE as u64;

/// Sectors of a partition or file, or of a part of one.
pub type Part = Window<Medium>;

/// What has sectors on a device.
#[derive(Debug)]
pub enum Medium {
    /// A partition of a disk, or a file.
    Disk(FileSectors),
    /// A partition of flash.
    Flash(Mtd),
}

/// Why such sectors could not be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MediumError {
    /// Those of a disk.
    Disk(FileError),
    /// Those of flash.
    Flash(MtdError<Errno>),
}

impl fmt::Display for MediumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Flash(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for MediumError {}

impl Sectors for Medium {
    type Error = MediumError;

    fn size(&self) -> u64 {
        match self {
            Self::Disk(disk) => disk.size(),
            Self::Flash(flash) => flash.size(),
        }
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), MediumError> {
        match self {
            Self::Disk(disk) => disk.read(at, into).map_err(MediumError::Disk),
            Self::Flash(flash) => flash.read(at, into).map_err(MediumError::Flash),
        }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), MediumError> {
        match self {
            Self::Disk(disk) => disk.write(at, bytes).map_err(MediumError::Disk),
            Self::Flash(flash) => flash.write(at, bytes).map_err(MediumError::Flash),
        }
    }
}

/// The media of one device.
pub struct OnDevice {
    storage: PathBuf,
    layout: Layout,
    /// Files in the firmware's FAT that stand for partitions: [`Board::PREALLOCATED`](boards_api::Board::PREALLOCATED).
    preallocated: &'static [(Role, &'static str)],
    /// How far from each other copies of one value lie; `None` where there is one.
    apart: Option<u64>,
    /// On a disk of ours, the partitions beside the storage.
    partitions: Option<Partitions>,
    /// Nothing is written, whatever is asked for.
    to_read: bool,
    /// Why a medium was not opened.
    pub(super) failed: Option<String>,
}

impl OnDevice {
    pub(super) fn of<B: Board>(storage: PathBuf, partitions: Option<Partitions>) -> Self {
        let apart = match B::RESTS {
            Rests::OnNothing => Some(u64::from(B::ERASE_GROUP_KIB) << 10),
            Rests::OnWholeSectors => None,
        };
        let (layout, preallocated) = (B::LAYOUT, B::PREALLOCATED);
        Self { storage, layout, preallocated, apart, partitions, to_read: false, failed: None }
    }

    /// The same, and every write fails.
    pub(super) fn to_read<B: Board>(storage: PathBuf, partitions: Option<Partitions>) -> Self {
        Self { to_read: true, ..Self::of::<B>(storage, partitions) }
    }

    fn open(&self, path: &Path) -> Result<Medium, String> {
        let opened = if self.to_read { FileSectors::open_to_read(path) } else { FileSectors::open(path) };
        opened.map(Medium::Disk).map_err(|error| about(path, &error))
    }

    /// The partition of a role in flash, if it lies there.
    fn flash(&self, role: Role) -> Result<Option<Part>, String> {
        let Some(partition) = self.partitions.as_ref().and_then(|partitions| partitions.flash(role)) else {
            return Ok(None);
        };
        let opened = if self.to_read { partition.open_to_read() } else { partition.open() };
        let named = |error| format!("{}: {error}", partition.name);
        let flash = opened.map_err(named)?;
        // A note has one copy on every board: one that is torn spends a trial.
        if role != Role::Spent {
            flash.check_apart(self.apart).map_err(named)?;
        }
        Ok(Window::whole(Medium::Flash(flash)).ok())
    }

    /// Brings what others have left into the form that this board needs: its cell, and a journal that is still empty. Whether the
    /// cell was in another form.
    pub(super) fn refit(&self, shared: &Shared) -> Result<bool, String> {
        let boot = self.boot();
        let mut directory = Directory::open(&boot).map_err(|error| error.to_string())?;
        let refitted = takeover::refit(&mut directory, shared, &mut vec![0; FOREIGN_MAX])
            .map_err(|error| about(&boot.join(shared.name), &error))?;
        let mut made = false;
        for name in JOURNAL {
            let (path, new) = (boot.join(name), boot.join(format!("{name}.new")));
            if path.exists() {
                continue;
            }
            // Of one that was not finished nothing is used. Whole or absent: a region of another size would be an error.
            let _ = std::fs::remove_file(&new);
            FileSectors::create(&new, REGION_MAX).map_err(|error| about(&new, &error))?;
            std::fs::rename(&new, &path).map_err(|error| about(&path, &error))?;
            made = true;
        }
        if made {
            directory.checkpoint().map_err(|error| error.to_string())?;
        }
        Ok(refitted)
    }

    /// The two regions of the journal.
    pub(super) fn journal(&self) -> Result<[Part; 2], String> {
        let Some(device) = self.raw(Role::Journal)? else {
            return Ok([self.region(JOURNAL[0])?, self.region(JOURNAL[1])?]);
        };
        let half = |index: u64| {
            let sectors = self.open(&device.node)?;
            // From a whole page on: what the kernel writes at once is never shared by both.
            let size = sectors.size() / 2 / PAGE as u64 * PAGE as u64;
            Window::new(sectors, index * size, size.min(REGION_MAX)).map_err(|error| about(&device.node, &error))
        };
        Ok([half(0)?, half(1)?])
    }

    /// The slots of a board that has some, booted from this one.
    pub(super) fn slots<B: Board>(&self, booted: Option<Slot>) -> Result<Option<Slots<Part>>, String> {
        let (Places::Slots(names), Some(shape)) = (B::PLACES, B::SHAPE) else { return Ok(None) };
        let slots = (0_u8..).zip(names).map(|(index, name)| {
            let part = self.cell(Role::Slot(Slot(index)))?;
            Ok((*name, part.ok_or_else(|| format!("the board's layout has no partition for slot {name}"))?))
        });
        Ok(Some(Slots::new(shape, slots.collect::<Result<_, String>>()?, booted)))
    }

    /// A directory of the file system that the firmware reads kernels from.
    pub(super) fn barrier(&self) -> Result<Directory, String> {
        let directory = if self.partitions.is_some() { self.storage.clone() } else { self.boot() };
        Directory::open(&directory).map_err(|error| error.to_string())
    }

    fn boot(&self) -> PathBuf {
        self.storage.join(BOOT_DIRECTORY)
    }

    fn region(&self, name: &str) -> Result<Part, String> {
        let path = self.boot().join(name);
        Window::whole(self.open(&path)?).map_err(|error| about(&path, &error))
    }

    /// The raw partition of a role, if the board has one. A slot is one too: its image may be a whole file system, and is
    /// written and read as one.
    fn raw(&self, role: Role) -> Result<Option<&Device>, String> {
        match self.layout.partition(role) {
            Some(Partition { content: Content::Raw, .. } | Partition { role: Role::Slot(_), .. }) => {
                self.partition(role)
            }
            _ => Ok(None),
        }
    }

    fn partition(&self, role: Role) -> Result<Option<&Device>, String> {
        let partitions = self.partitions.as_ref();
        let partitions = partitions.ok_or("the board has partitions, and the settings do not say storage=")?;
        partitions.role(role).map_err(|error| error.to_string())
    }

    fn cell(&self, role: Role) -> Result<Option<Part>, String> {
        if let Some(part) = self.flash(role)? {
            return Ok(Some(part));
        }
        if let Some(device) = self.raw(role)? {
            return Window::whole(self.open(&device.node)?).map(Some).map_err(|error| about(&device.node, &error));
        }
        let Some((_, name)) = self.preallocated.iter().find(|(of, _)| *of == role) else { return Ok(None) };
        match self.layout.partition(Role::Firmware) {
            Some(firmware) if firmware.content == Content::Fat => {}
            _ => return Ok(None),
        }
        let Some(device) = self.partition(Role::Firmware)? else { return Ok(None) };
        let mut sectors = self.open(&device.node)?;
        let place = fat::locate(&mut sectors, name).map_err(|error| about(&device.node, &error))?;
        Window::new(sectors, place.at, place.length.into())
            .map(Some)
            .map_err(|error| format!("{name} in {}: {error}", device.node.display()))
    }
}

impl Media for OnDevice {
    type Sectors = Part;
    type Files = Directory;

    fn sectors(&mut self, role: Role) -> Option<Part> {
        match self.cell(role) {
            Ok(part) => part,
            Err(why) => {
                self.failed = Some(why);
                None
            }
        }
    }

    fn files(&mut self, _: Role) -> Option<Directory> {
        Directory::open(&self.boot()).map_err(|error| self.failed = Some(error.to_string())).ok()
    }
}

fn about(path: &Path, what: &dyn fmt::Display) -> String {
    format!("{}: {what}", path.display())
}

#[cfg(test)]
mod tests {
    use board_qemu_arm64_uboot::QemuArm64Uboot;
    use board_takeover_uboot::TakeoverUboot;
    use metal::disks;

    use super::*;

    const LAYOUT: Layout = QemuArm64Uboot::LAYOUT;

    /// A disk whose partitions are files, so many bytes each.
    fn disk(sizes: [u64; 6]) -> (tempfile::TempDir, OnDevice) {
        let dir = tempfile::tempdir().unwrap();
        let mut devices = Vec::new();
        for ((number, partition), size) in (1..).zip(LAYOUT.partitions).zip(sizes) {
            let node = dir.path().join(partition.label);
            std::fs::File::create(&node).unwrap().set_len(size).unwrap();
            let part = disks::Part { disk: "sda".into(), number, label: Some(partition.label.into()), start: None };
            devices.push(Device { name: format!("sda{number}"), node, size, part: Some(part) });
        }
        let storage = devices[5].clone();
        let partitions = Partitions::beside(&storage, LAYOUT, devices, &[]).unwrap();
        let media = OnDevice::of::<QemuArm64Uboot>(dir.path().to_owned(), Some(partitions));
        (dir, media)
    }

    #[test]
    fn the_regions_of_a_journal_begin_at_the_halves_of_its_partition() {
        let (_dir, media) = disk([512, 512, 512, 8 << 20, 512, 512]);
        let [mut a, mut b] = media.journal().unwrap();
        assert_eq!((a.size(), b.size()), (REGION_MAX, REGION_MAX));
        a.write(0, &[1; 512]).unwrap();
        b.write(0, &[2; 512]).unwrap();
        let bytes = std::fs::read(&media.raw(Role::Journal).unwrap().unwrap().node).unwrap();
        assert_eq!([bytes[0], bytes[4 << 20], bytes[512]], [1, 2, 0]);
    }

    #[test]
    fn media_to_read_are_never_written() {
        let (_dir, media) = disk([512, 1024, 1024, 8 << 20, 512, 512]);
        let storage = media.storage.clone();
        let mut media = OnDevice::to_read::<QemuArm64Uboot>(storage, media.partitions);
        let mut cell = media.sectors(Role::Wanted).unwrap();
        assert!(cell.write(0, &[1; 512]).is_err());
        assert!(media.journal().unwrap().iter_mut().all(|region| region.write(0, &[1; 512]).is_err()));
        let mut bytes = [1; 512];
        cell.read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [0; 512]);
    }

    #[test]
    fn a_small_journal_has_whole_pages_in_both_halves() {
        let (_dir, media) = disk([512, 512, 512, 5 * PAGE as u64, 512, 512]);
        assert!(media.journal().unwrap().iter().all(|region| region.size() == 2 * PAGE as u64));
    }

    #[test]
    fn a_raw_cell_is_its_whole_partition() {
        let (_dir, mut media) = disk([512, 8 << 20, 1024, 8192, 512, 512]);
        assert_eq!(media.sectors(Role::Wanted).unwrap().size(), 8 << 20);
        assert_eq!(media.sectors(Role::Spent).unwrap().size(), 1024);
        assert!(media.sectors(Role::Recovery).is_none() && media.failed.is_none());
    }

    #[test]
    fn a_storage_of_another_system_gets_a_cell_and_a_journal_once() {
        let dir = tempfile::tempdir().unwrap();
        let boot = dir.path().join(BOOT_DIRECTORY);
        std::fs::create_dir(&boot).unwrap();
        let mut theirs = b"pv_rev=7\0pv_try=\0".to_vec();
        theirs.resize(FOREIGN_MAX, 0);
        std::fs::write(boot.join("uboot.txt"), &theirs).unwrap();
        // Of a boot that was cut.
        std::fs::write(boot.join("journal.a.new"), b"").unwrap();
        let shared = TakeoverUboot::SHARES.unwrap();
        let media = OnDevice::of::<TakeoverUboot>(dir.path().to_owned(), None);
        assert!(media.journal().is_err());
        assert_eq!([media.refit(&shared), media.refit(&shared)], [Ok(true), Ok(false)]);
        assert_eq!(std::fs::read(boot.join("uboot.txt")).unwrap(), theirs[..shared.length]);
        assert!(media.journal().unwrap().iter().all(|region| region.size() == REGION_MAX));
        assert_eq!(std::fs::read_dir(&boot).unwrap().count(), 3);
    }

    #[test]
    fn a_board_with_partitions_needs_to_know_its_disk() {
        let mut media = OnDevice::of::<QemuArm64Uboot>("/nowhere".into(), None);
        assert!(media.sectors(Role::Wanted).is_none());
        assert!(media.failed.is_some_and(|why| why.contains("storage=")));
    }
}
