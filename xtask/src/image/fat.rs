//! The FAT of a firmware: the same files give the same bytes, and each lies in one piece, in the order of the list.
//!
//! By `mkfs.vfat` and mtools, on a clock that stands still. On an empty file system clusters are handed out in order, so
//! every file is contiguous; the boot cells are, because PID 1 overwrites their sectors without mounting anything.

use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::source::{From, Item};
use super::tool;

/// The file system in a new file; which bytes of it somebody reads.
pub(super) fn make(image: &Path, bytes: u64, label: &str, serial: u32, items: &[Item]) -> Result<Range<u64>> {
    File::create(image)
        .and_then(|file| file.set_len(bytes))
        .with_context(|| format!("cannot make {}", image.display()))?;
    let mut mkfs = tool("mkfs.vfat");
    mkfs.args(["--invariant", "-i", &format!("{serial:08x}"), "-n", &volume_label(label)?]);
    if let Some(sectors) = fat32(bytes) {
        mkfs.args(["-F", "32", "-s", &sectors.to_string()]);
    }
    run(mkfs.arg(image), "dosfstools")?;
    let mut made = Vec::new();
    for item in items {
        add(image, item, &mut made).with_context(|| format!("cannot add {} to the FAT", item.path))?;
    }
    used(&fs::read(image)?).context("mkfs.vfat has made a file system that is not understood")
}

/// Sectors of a cluster, where a FAT32 has enough of them: UEFI promises to read no other kind on a disk. A smaller
/// partition becomes a FAT16 or FAT12, which other firmware reads as well.
fn fat32(bytes: u64) -> Option<u64> {
    // The least number that makes it a FAT32, and what its tables themselves take.
    let enough = |sectors: u64| bytes / (sectors * 512 + 8) > 65_525 + 64;
    [8, 4, 2, 1].into_iter().find(|sectors| enough(*sectors))
}

fn add(image: &Path, item: &Item, made: &mut Vec<String>) -> Result<()> {
    ensure!(!made.contains(&item.path), "it is there already");
    for (at, _) in item.path.match_indices('/') {
        let dir = item.path.get(..at).unwrap_or_default();
        if !made.iter().any(|made| made == dir) {
            run(tool("mmd").arg("-i").arg(image).arg(format!("::{dir}")), "mtools")?;
            made.push(dir.to_owned());
        }
    }
    made.push(item.path.clone());
    let bytes = image.with_extension("file");
    let from = match &item.from {
        From::File(path) => path,
        From::Bytes(content) => {
            fs::write(&bytes, content)?;
            &bytes
        }
    };
    // Its dialogue about a name that is taken has nobody to answer; above is seen to it that none is.
    run(tool("mcopy").arg("-i").arg(image).arg(from).arg(format!("::{}", item.path)), "mtools")
}

/// Runs a tool that has nothing to say.
fn run(command: &mut Command, package: &str) -> Result<()> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {shown} (package {package})"))?;
    // mtools exits with 0 after some errors.
    if !output.status.success() || !output.stderr.is_empty() {
        bail!("{shown} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// From the start up to the last cluster that is taken.
fn used(disk: &[u8]) -> Option<Range<u64>> {
    let le16 = |at: usize| Some(usize::from(u16::from_le_bytes(disk.get(at..at + 2)?.try_into().ok()?)));
    let le32 = |at: usize| Some(u32::from_le_bytes(disk.get(at..at + 4)?.try_into().ok()?) as usize);
    let or = |short: usize, long: usize| Some(if short == 0 { long } else { short });
    let (sector, cluster) = (le16(11)?, usize::from(*disk.get(13)?));
    let (table, tables) = (le16(14)? * sector, usize::from(*disk.get(16)?));
    let length = or(le16(22)?, le32(36)?)? * sector;
    let first = table + tables * length + (le16(17)? * 32).next_multiple_of(sector);
    let clusters = (or(le16(19)?, le32(32)?)? * sector - first) / (cluster * sector);
    // In half bytes: 12, 16 or 32 bits to an entry, by the number of clusters and nothing else.
    let width = if clusters < 4085 {
        3
    } else if clusters < 65_525 {
        4
    } else {
        8
    };
    let is_taken = |entry: &usize| {
        let halves = entry * width..(entry + 1) * width;
        halves.into_iter().any(|half| disk.get(table + half / 2).is_some_and(|byte| byte >> (half % 2 * 4) & 0xF != 0))
    };
    let last = (2..clusters + 2).rfind(is_taken).map_or(2, |entry| entry + 1);
    Some(0..(first + (last - 2) * cluster * sector) as u64)
}

/// At most eleven characters that every firmware can show.
fn volume_label(label: &str) -> Result<String> {
    if label.is_empty() || label.len() > 11 || !label.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        bail!("{label:?} is no label of a FAT: at most 11 letters and digits");
    }
    Ok(label.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_ends_behind_the_last_file_in_every_kind_of_fat() {
        for (kib, kind) in [(1024, "FAT12"), (16 * 1024, "FAT16"), (48 * 1024, "FAT32"), (300 * 1024, "FAT32")] {
            let dir = tempfile::tempdir().unwrap();
            let image = dir.path().join("fat");
            let file = |path: &str, byte: u8| Item { path: path.into(), from: From::Bytes(vec![byte; 70_000]) };
            let items = [file("one/a file with a long name", 0x11), file("two/last", 0x22)];
            let used = make(&image, kib * 1024, "firmware", 7, &items).unwrap();
            let disk = fs::read(&image).unwrap();
            let end = disk.iter().rposition(|byte| *byte == 0x22).unwrap() as u64 + 1;
            assert!((end..end + 4096 + 2048).contains(&used.end), "{kind}: {end}, {used:?}");
            let at = if kind == "FAT32" { 82 } else { 54 };
            assert_eq!(&disk[at..at + 5], kind.as_bytes());
        }
    }

    #[test]
    fn a_file_that_does_not_fit_or_is_there_already_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("fat");
        let file = |path: &str, bytes: usize| Item { path: path.into(), from: From::Bytes(vec![1; bytes]) };
        let made = |items: &[Item]| make(&image, 1 << 20, "firmware", 7, items).map_err(|error| format!("{error:#}"));
        assert!(made(&[file("large", 2 << 20)]).unwrap_err().contains("large"));
        assert!(made(&[file("a/b", 1), file("a/b", 1)]).unwrap_err().contains("already"));
        assert!(made(&[file("a/b", 1), file("a/c", 1)]).is_ok());
        assert!(make(&image, 1 << 20, "no label", 7, &[]).is_err());
    }
}
