//! Tables as `sfdisk` makes them, grown, cut at every sector, and read by `sfdisk` again.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;

const MIB: u64 = 1 << 20;

/// A disk in memory that loses power after so many sectors.
#[derive(Clone)]
struct Disk {
    bytes: Vec<u8>,
    left: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct PowerLost;

impl fmt::Display for PowerLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("power lost")
    }
}

impl std::error::Error for PowerLost {}

impl Sectors for Disk {
    type Error = PowerLost;

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), PowerLost> {
        into.copy_from_slice(&self.bytes[at as usize..][..into.len()]);
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), PowerLost> {
        for (index, sector) in bytes.chunks(SECTOR).enumerate() {
            self.left = self.left.checked_sub(1).ok_or(PowerLost)?;
            self.bytes[at as usize + index * SECTOR..][..SECTOR].copy_from_slice(sector);
        }
        Ok(())
    }
}

/// A table that `sfdisk` has made on a disk of `small` bytes, which is `large` now.
fn disk(script: &str, small: u64, large: u64) -> Disk {
    let (dir, path) = scratch();
    File::create(&path).and_then(|file| file.set_len(small)).unwrap();
    let sfdisk = tool("sfdisk").arg("--quiet").arg(&path).stdin(Stdio::piped()).spawn();
    let mut sfdisk = sfdisk.expect("sfdisk (package fdisk)");
    sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(sfdisk.wait().unwrap().success());
    let mut bytes = fs::read(&path).unwrap();
    drop(dir);
    bytes.resize(large as usize, 0);
    Disk { bytes, left: usize::MAX }
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    (dir, path)
}

fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    command
}

/// Size in sectors of each partition, as `sfdisk` reads them; it has to find both tables whole.
fn sizes(disk: &Disk) -> Vec<u64> {
    let (_dir, path) = scratch();
    fs::write(&path, &disk.bytes).unwrap();
    let verified = tool("sfdisk").arg("--verify").arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout).into_owned() + &String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("corrupt"), "{said}");
    let dumped = tool("sfdisk").arg("--dump").arg(&path).output().unwrap();
    let text = String::from_utf8(dumped.stdout).unwrap();
    let size = |line: &str| line.split_once("size=")?.1.split(',').next()?.trim().parse().ok();
    text.lines().filter_map(size).collect()
}

const TWO: &str = "label: gpt\nstart=2048, size=2048, name=firmware\nstart=4096, size=8192, name=storage\n";

/// As the first-stage loader of a board wants it: at 8 KiB, so with few entries.
const FEW: &str = "label: gpt\ntable-length: 56\nfirst-lba: 2048\nstart=8192, size=2048\nstart=10240, size=2048\n";

fn small_and_large() -> [(Disk, u32); 2] {
    [(disk(TWO, 8 * MIB, 16 * MIB), 2), (disk(FEW, 8 * MIB, 16 * MIB), 2)]
}

#[test]
fn the_last_partition_takes_what_is_behind_it_and_other_tools_agree() {
    for (mut disk, number) in small_and_large() {
        let before = disk.clone();
        let grown = grow_last(&mut disk, number).unwrap();
        let found = sizes(&disk);
        assert_eq!(found.last().map(|sectors| sectors * SECTOR as u64), Some(grown));
        assert_eq!(found.len(), 2);
        assert!(grown > 5 * MIB && grown.is_multiple_of(MIB), "{grown}");
        // Neither sector 0 nor the entries that counted, nor anything in a partition.
        assert_eq!(disk.bytes[..SECTOR], before.bytes[..SECTOR]);
        assert_eq!(disk.bytes[2 * SECTOR..34 * SECTOR], before.bytes[2 * SECTOR..34 * SECTOR]);
    }
}

#[test]
fn a_table_that_fits_its_disk_is_not_written() {
    let mut fits = disk(TWO, 8 * MIB, 16 * MIB);
    let grown = grow_last(&mut fits, 2).unwrap();
    fits.left = 0;
    assert_eq!(grow_last(&mut fits, 2), Ok(grown));
    // Room that is no whole MiB is none.
    let mut almost = disk(TWO, 7 * MIB, 7 * MIB);
    almost.left = 0;
    assert_eq!(grow_last(&mut almost, 2), Ok(4 * MIB));
}

#[test]
fn a_power_cut_at_any_sector_leaves_the_old_table_or_the_new_one_and_the_next_boot_goes_on() {
    for (before, number) in small_and_large() {
        let mut whole = before.clone();
        let grown = grow_last(&mut whole, number).unwrap();
        let mut cuts = 0;
        for left in 0.. {
            let mut cut = Disk { left, ..before.clone() };
            let done = grow_last(&mut cut, number);
            // The header is one sector, and its table the only one that is read here.
            let table = Table::read(&mut cut).unwrap_or_else(|_: GptError<PowerLost>| panic!("cut {left}: no table"));
            let (first, last) = table.last::<PowerLost>(number).unwrap();
            let size = (last - first + 1) * SECTOR as u64;
            assert!(size == grown || done == Err(GptError::Medium(PowerLost)), "cut {left}");
            cut.left = usize::MAX;
            assert_eq!(grow_last(&mut cut, number), Ok(grown), "cut {left}");
            assert_eq!(cut.bytes, whole.bytes, "cut {left}");
            if done.is_ok() {
                break;
            }
            cuts += 1;
        }
        assert!(cuts > 28, "{cuts}");
    }
}

#[test]
fn a_disk_that_is_larger_again_gets_its_entries_back_where_they_were() {
    let mut disk = disk(TWO, 8 * MIB, 16 * MIB);
    for (larger, at) in [(16, 2048 - 32), (32, 2), (64, 2048 - 32)] {
        disk.bytes.resize((larger * MIB) as usize, 0);
        grow_last(&mut disk, 2).unwrap_or_else(|error| panic!("{larger}: {error}"));
        let table = Table::read(&mut disk).unwrap_or_else(|_| panic!("no table"));
        assert_eq!(table.at, at, "{larger}");
        sizes(&disk);
    }
}

#[test]
fn what_lies_before_the_first_partition_is_not_overwritten() {
    let mut disk = disk(TWO, 8 * MIB, 16 * MIB);
    disk.bytes[2047 * SECTOR + 7] = 1;
    let before = disk.bytes.clone();
    assert_eq!(grow_last(&mut disk, 2), Err(GptError::NoSpare));
    assert_eq!(disk.bytes, before);
}

#[test]
fn a_loader_where_entries_usually_are_is_not_overwritten() {
    let mut disk = disk(TWO, 8 * MIB, 16 * MIB);
    grow_last(&mut disk, 2).unwrap_or_else(|error| panic!("{error}"));
    // The table is elsewhere now, as somebody has made it whose chip starts what lies at sector 2.
    disk.bytes[2 * SECTOR..34 * SECTOR].fill(0x5A);
    disk.bytes.resize((32 * MIB) as usize, 0);
    let before = disk.bytes.clone();
    assert_eq!(grow_last(&mut disk, 2), Err(GptError::NoSpare));
    assert!(disk.bytes == before);
}

#[test]
fn only_the_last_partition_of_a_whole_table_grows() {
    let fresh = disk(TWO, 8 * MIB, 16 * MIB);
    for (number, why) in [(0, GptError::NotLast(0)), (1, GptError::NotLast(1)), (3, GptError::NotLast(3))] {
        assert_eq!(grow_last(&mut Disk { left: 0, ..fresh.clone() }, number), Err(why));
    }
    for at in [512, 512 + 72, 1024 + 5, 1024 + 128 + 40] {
        let mut damaged = Disk { left: 0, ..fresh.clone() };
        damaged.bytes[at] ^= 1;
        assert_eq!(grow_last(&mut damaged, 2), Err(GptError::Table), "byte {at}");
    }
    assert_eq!(grow_last(&mut Disk { bytes: vec![0; 4096], left: 0 }, 1), Err(GptError::Table));
}

#[test]
fn a_medium_that_takes_nothing_is_noticed() {
    struct Deaf(Disk);
    impl Sectors for Deaf {
        type Error = PowerLost;
        fn size(&self) -> u64 {
            self.0.size()
        }
        fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), PowerLost> {
            self.0.read(at, into)
        }
        fn write(&mut self, _: u64, _: &[u8]) -> Result<(), PowerLost> {
            Ok(())
        }
    }
    assert_eq!(grow_last(&mut Deaf(disk(TWO, 8 * MIB, 16 * MIB)), 2), Err(GptError::ReadBack));
}
