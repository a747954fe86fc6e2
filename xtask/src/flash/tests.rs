//! Every refusal on a machine that is played, and a power cut at every write.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::machine::{Kind, Machine, Use};
use super::refusal::{Refusal, refusals};
use super::write::{self, Plan, Table, UNFINISHED};
use crate::image::build::{Built, build, map_path};
use crate::image::map::Map;
use crate::image::table::Gpt;
use crate::image::tests::sunny;

/// A machine of files: `sda` is its system disk, `sdb` a stick, `sdc` built in and idle, `mmcblk0` a card.
struct Played {
    dir: tempfile::TempDir,
    machine: Machine,
}

impl Played {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (sys, proc) = (dir.path().join("sys"), dir.path().join("proc"));
        fs::create_dir_all(sys.join("dev/block")).unwrap();
        fs::create_dir_all(sys.join("class/block")).unwrap();
        fs::create_dir_all(proc.join("self")).unwrap();
        let played = Self { dir, machine: Machine { sys, proc } };
        played.device("pci/ata1/block/sda", "8:0", &[]);
        played.device("pci/ata1/block/sda/sda1", "8:1", &[("partition", "1")]);
        played.device("pci/ata1/block/sda/sda2", "8:2", &[("partition", "2")]);
        played.device("pci/usb1/block/sdb", "8:16", &[("removable", "1"), ("device/model", "Stick 3 ")]);
        played.device("pci/usb1/block/sdb/sdb1", "8:17", &[("partition", "1")]);
        played.file("devices/pci/usb1/idVendor", "0781");
        played.file("devices/pci/usb1/serial", "4C53");
        played.device("pci/ata2/block/sdc", "8:32", &[("device/model", "Built in"), ("device/serial", "S1")]);
        played.device("soc/mmc/block/mmcblk0", "179:0", &[("device/type", "SD"), ("device/name", "SC16G")]);
        played.mounts(&[("8:2", "/", "/dev/sda2"), ("0:22", "/proc", "proc")]);
        played
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.machine.sys.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }

    fn device(&self, path: &str, numbers: &str, files: &[(&str, &str)]) {
        let dir = self.machine.sys.join("devices").join(path);
        for (name, value) in [("size", "2048"), ("ro", "0"), ("removable", "0")].iter().chain(files) {
            self.file(&format!("devices/{path}/{name}"), value);
        }
        symlink(&dir, self.machine.sys.join("dev/block").join(numbers)).unwrap();
        symlink(&dir, self.machine.sys.join("class/block").join(dir.file_name().unwrap())).unwrap();
    }

    /// A volume over another device.
    fn volume(&self, name: &str, numbers: &str, over: &str) {
        self.device(&format!("virtual/block/{name}"), numbers, &[]);
        self.file(&format!("devices/virtual/block/{name}/slaves/{over}/x"), "");
    }

    fn mounts(&self, mounts: &[(&str, &str, &str)]) {
        let line = |(numbers, at, source): &(&str, &str, &str)| {
            format!("22 1 {numbers} / {at} rw,relatime shared:1 - ext4 {source} rw\n")
        };
        fs::write(self.machine.proc.join("self/mountinfo"), mounts.iter().map(line).collect::<String>()).unwrap();
    }

    fn refusals(&self, numbers: &str) -> Vec<Refusal> {
        refusals(&self.machine.block(Path::new("/dev/played"), numbers).unwrap(), 1 << 20)
    }
}

fn mounted(device: &str, at: &str) -> Use {
    Use::Mounted { device: device.into(), at: at.into() }
}

#[test]
fn a_stick_and_a_card_that_nobody_uses_are_taken() {
    let played = Played::new();
    assert_eq!(played.refusals("8:16"), []);
    assert_eq!(played.refusals("179:0"), []);
    let stick = played.machine.block(Path::new("/dev/sdb"), "8:16").unwrap();
    assert_eq!((stick.identity().as_str(), stick.bytes), ("sdb:Stick 3:4C53", 1 << 20));
}

#[test]
fn the_disk_that_this_machine_runs_from_is_refused() {
    let played = Played::new();
    let system = Refusal::System { what: mounted("sda2", "/") };
    assert_eq!(played.refusals("8:0"), [system, Refusal::NotRemovable]);
}

#[test]
fn a_system_behind_volumes_and_files_is_found() {
    let played = Played::new();
    // An encrypted volume on the stick, a file system on that, a file on that, a loop device on it, and the root there.
    played.volume("dm-0", "253:0", "sdb1");
    played.device("virtual/block/loop0", "7:0", &[("loop/backing_file", "/mnt/disk.img")]);
    played.mounts(&[("8:2", "/old", "/dev/sda2"), ("253:0", "/mnt", "/dev/mapper/crypt"), ("7:0", "/", "/dev/loop0")]);
    let found = played.refusals("8:16");
    assert!(found.contains(&Refusal::System { what: mounted("loop0", "/") }), "{found:?}");
    assert!(found.contains(&Refusal::InUse { what: mounted("dm-0", "/mnt") }), "{found:?}");
    assert!(found.contains(&Refusal::InUse { what: Use::Held { by: "dm-0".into() } }), "{found:?}");
}

#[test]
fn a_volume_that_is_not_even_mounted_holds_its_disk() {
    let played = Played::new();
    played.volume("md0", "9:0", "sdb");
    assert_eq!(played.refusals("8:16"), [Refusal::InUse { what: Use::Held { by: "md0".into() } }]);
}

#[test]
fn a_file_system_with_numbers_of_its_own_is_known_by_its_source() {
    let played = Played::new();
    played.mounts(&[("0:30", "/media/My\\040stick", "/dev/sdb1")]);
    assert_eq!(played.refusals("8:16"), [Refusal::InUse { what: mounted("sdb1", "/media/My stick") }]);
}

#[test]
fn swap_is_the_system_too() {
    let played = Played::new();
    fs::write(played.machine.proc.join("swaps"), "Filename Type Size\n/dev/sdb1 partition 99 0 -2\n").unwrap();
    assert_eq!(played.refusals("8:16"), [Refusal::System { what: Use::Swap { device: "sdb1".into() } }]);
}

#[test]
fn a_partition_a_small_disk_and_a_locked_card_are_refused_whatever_is_named() {
    let played = Played::new();
    let partition = Refusal::Partition { name: "sdb1".into(), disk: "sdb".into() };
    assert_eq!(played.refusals("8:17"), [partition]);
    played.file("devices/soc/mmc/block/mmcblk0/ro", "1");
    played.file("devices/soc/mmc/block/mmcblk0/size", "2047");
    let small = Refusal::TooSmall { has: 2047 * 512, needs: 1 << 20 };
    assert_eq!(played.refusals("179:0"), [Refusal::ReadOnly, small]);
    assert!(played.refusals("8:17").iter().chain(&played.refusals("179:0")).all(|refusal| !refusal.can_be_forced()));
    assert!(played.refusals("8:0").iter().all(Refusal::can_be_forced));
}

#[test]
fn a_built_in_disk_is_refused_and_its_name_is_said() {
    let played = Played::new();
    assert_eq!(played.refusals("8:32"), [Refusal::NotRemovable]);
    assert_eq!(played.machine.block(Path::new("/dev/sdc"), "8:32").unwrap().identity(), "sdc:Built in:S1");
}

#[test]
fn a_file_is_a_disk_unless_a_loop_device_has_it() {
    let played = Played::new();
    let file = played.dir.path().join("disk");
    let new = played.machine.inspect(&file).unwrap();
    assert_eq!((new.kind.clone(), refusals(&new, 4096)), (Kind::File, vec![]));
    fs::write(&file, [0; 2048]).unwrap();
    let found = refusals(&played.machine.inspect(&file).unwrap(), 4096);
    assert_eq!(found, [Refusal::TooSmall { has: 2048, needs: 4096 }]);
    played.device("virtual/block/loop1", "7:1", &[("loop/backing_file", file.to_str().unwrap())]);
    let found = refusals(&played.machine.inspect(&file).unwrap(), 0);
    assert_eq!(found, [Refusal::InUse { what: Use::Held { by: "loop1".into() } }]);
    assert!(played.machine.inspect(Path::new("/dev/no such disk")).is_err());
    assert!(played.machine.inspect(Path::new("/dev/null")).is_err());
}

/// A disk in memory that loses power after so many writes, or gives back what was not written.
struct Memory {
    bytes: Vec<u8>,
    writes: usize,
    cut: usize,
    worn: Option<u64>,
}

impl Memory {
    /// A disk of an earlier life, with a partition table that looks whole.
    fn dirty(bytes: u64, image: &[u8]) -> Self {
        let mut disk = vec![0xA5; usize::try_from(bytes).unwrap()];
        disk[..17 * 1024].copy_from_slice(&image[..17 * 1024]);
        Self { bytes: disk, writes: 0, cut: usize::MAX, worn: None }
    }
}

impl Disk for Memory {
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if self.writes == self.cut {
            return Err(io::Error::other("power is gone"));
        }
        self.writes += 1;
        let at = usize::try_from(at).unwrap();
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.writes == self.cut { Err(io::Error::other("power is gone")) } else { Ok(()) }
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(at).unwrap();
        into.copy_from_slice(&self.bytes[start..start + into.len()]);
        let worn = self.worn.and_then(|worn| usize::try_from(worn.checked_sub(at)?).ok());
        if let Some(byte) = worn.and_then(|worn| into.get_mut(worn)) {
            *byte ^= 1;
        }
        Ok(())
    }
}

/// An image on disk.
struct Image {
    dir: tempfile::TempDir,
    path: PathBuf,
    built: Built,
}

impl Image {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (path, tree) = (dir.path().join("image"), dir.path().join("tree"));
        fs::create_dir_all(tree.join("trails/0")).unwrap();
        fs::write(tree.join("trails/0/file"), vec![7; 300_000]).unwrap();
        let built = build(&sunny(tree), &path).unwrap();
        Self { dir, path, built }
    }

    fn file(&self) -> File {
        File::open(&self.path).unwrap()
    }

    fn plan(&self, disk: u64) -> Plan {
        Plan::new(&Table::of(&self.file()).unwrap(), self.built.bytes, Some(&self.built.map), disk).unwrap()
    }

    fn flash(&self, disk: &mut Memory, plan: &Plan) -> Result<(), String> {
        write::flash(disk, &self.file(), plan, &mut |_, _| ()).map_err(|error| format!("{error:#}"))
    }
}

/// Whether any firmware or system finds partitions.
fn has_table(disk: &[u8]) -> bool {
    disk[510..512] == [0x55, 0xAA]
}

#[test]
fn a_flash_that_is_cut_at_any_write_leaves_a_disk_that_does_not_look_whole() {
    let image = Image::new();
    let plan = image.plan(image.built.bytes);
    let bytes = fs::read(&image.path).unwrap();
    let mut whole = Memory::dirty(image.built.bytes, &bytes);
    image.flash(&mut whole, &plan).unwrap();
    assert!(has_table(&whole.bytes) && Gpt::read(&whole.bytes).is_some());
    for summed in &image.built.map.ranges {
        let range = usize::try_from(summed.range.start).unwrap()..usize::try_from(summed.range.end).unwrap();
        assert!(whole.bytes[range.clone()] == bytes[range], "{summed:?}");
    }
    for cut in 1..whole.writes {
        let mut disk = Memory { cut, ..Memory::dirty(image.built.bytes, &bytes) };
        let error = image.flash(&mut disk, &plan).unwrap_err();
        assert!(error.contains("power is gone"), "{error}");
        assert!(!has_table(&disk.bytes) && disk.bytes.starts_with(UNFINISHED), "cut {cut} of {}", whole.writes);
        if cut < 3 {
            continue;
        }
        let tail = disk.bytes.len() - 512;
        assert!(&disk.bytes[tail..tail + 8] != b"EFI PART" || cut > whole.writes - 3, "cut {cut}");
    }
    // Nothing was touched: the disk is what it was.
    let mut disk = Memory { cut: 0, ..Memory::dirty(image.built.bytes, &bytes) };
    image.flash(&mut disk, &plan).unwrap_err();
    assert!(has_table(&disk.bytes));
}

#[test]
fn a_disk_that_gives_back_something_else_is_never_called_flashed() {
    let image = Image::new();
    let plan = image.plan(image.built.bytes);
    let bytes = fs::read(&image.path).unwrap();
    for data in plan.data.iter().filter(|data| !data.write.is_empty()) {
        for at in [data.write.start, data.write.end - 1] {
            let mut disk = Memory { worn: Some(at), ..Memory::dirty(image.built.bytes, &bytes) };
            let error = image.flash(&mut disk, &plan).unwrap_err();
            assert!(error.contains(&format!("byte {at} ")) && !has_table(&disk.bytes), "{error}");
        }
    }
    let mut disk = Memory { worn: Some(0), ..Memory::dirty(image.built.bytes, &bytes) };
    assert!(image.flash(&mut disk, &plan).unwrap_err().contains("partition table"));
}

#[test]
fn an_image_that_is_not_what_its_map_says_is_not_flashed() {
    let image = Image::new();
    let range = image.built.map.ranges.last().unwrap().range.clone();
    let file = File::options().write(true).open(&image.path).unwrap();
    file.write_all_at(&[0x99], range.end - 1 - range.end % 512).unwrap();
    let last = image.built.map.ranges.iter().rev().nth(1).unwrap().range.clone();
    file.write_all_at(&[0x99], last.start + 7).unwrap();
    let mut disk = Memory::dirty(image.built.bytes, &fs::read(&image.path).unwrap());
    let error = image.flash(&mut disk, &image.plan(image.built.bytes)).unwrap_err();
    assert!(error.contains("the image is damaged") && !has_table(&disk.bytes), "{error}");
}

#[test]
fn on_a_larger_disk_the_copy_of_the_table_is_at_its_end_and_without_a_map_all_is_written() {
    let image = Image::new();
    let (small, large) = (image.built.bytes, image.built.bytes + (3 << 20) + 512);
    let bytes = fs::read(&image.path).unwrap();
    let mut disk = Memory::dirty(large, &bytes);
    image.flash(&mut disk, &image.plan(large)).unwrap();
    let end = usize::try_from(large).unwrap();
    assert_eq!(&disk.bytes[end - 512..end - 504], b"EFI PART");
    assert_eq!(Gpt::read(&disk.bytes), Gpt::read(&bytes));
    let all = Plan::new(&Table::of(&image.file()).unwrap(), small, None, small).unwrap();
    assert!(all.bytes() > small - (2 << 20) && image.plan(small).bytes() < small / 2);
    let mut disk = Memory::dirty(small, &bytes);
    image.flash(&mut disk, &all).unwrap();
    assert!(disk.bytes[1 << 20..] == bytes[1 << 20..]);
}

#[test]
fn what_is_no_image_is_refused() {
    let image = Image::new();
    let other = image.dir.path().join("other");
    let error = |bytes: &[u8]| {
        fs::write(&other, bytes).unwrap();
        Table::of(&File::open(&other).unwrap()).err().map(|error| format!("{error:#}")).unwrap_or_default()
    };
    assert!(error(&[0; 100]).contains("shorter"));
    assert!(error(&[0; 65_536]).contains("no partition table"));
    let mut damaged = fs::read(&image.path).unwrap()[..65_536].to_vec();
    damaged[600] ^= 1;
    assert!(error(&damaged).contains("damaged"));
    assert!(super::Source::open(&image.path).is_ok());
    fs::write(map_path(&image.path), image.built.map.text().replace("4096", "8192")).unwrap();
    assert!(super::Source::open(&image.path).is_err());
    let larger = Map { image: image.built.bytes + 4096, ..image.built.map.clone() };
    fs::write(map_path(&image.path), larger.text()).unwrap();
    assert!(super::Source::open(&image.path).err().is_some_and(|error| error.to_string().contains("block map is of")));
}
