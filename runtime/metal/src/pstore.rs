//! What a kernel that gave up has left for the next one: records that outlast a reset, as `pstore` shows them.
//!
//! ```text
//!   /sys/module/pstore/parameters/backend    efi_pstore, ramoops …; "(null)": this kernel will keep nothing
//!   /sys/fs/pstore/dmesg-BACKEND-NUMBER      Panic#2 Part1          why, which one of that boot, and which piece:
//!                                            <6>[   12.3] …         part 1 is the end of what the kernel said
//!                 /dmesg-….enc.z             one that this kernel cannot decompress
//!                 /console-… /pmsg-…         not looked at: they tell of every boot, also of one that ended well
//! ```
//!
//! The death of PID 1 is a panic. A record of an oops counts as one: it becomes a panic at once where
//! `panic_on_oops` is set, which PID 1 does. Every error here is one thing less that is known, and never a boot that
//! fails. What a record says is not trusted: a medium has kept it.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

/// Where the kernel shows its records.
pub const DIR: &str = "/sys/fs/pstore";

/// Where it tells who keeps them.
pub const BACKEND: &str = "/sys/module/pstore/parameters/backend";

/// The most records that are looked at. Variables of a UEFI hold a kilobyte each, so that one panic has ten.
pub const RECORDS_MAX: usize = 64;

/// The most that is read of one record, in bytes.
const RECORD_MAX: usize = 64 * 1024;

/// The most that is read of all of them.
const TEXT_MAX: usize = 256 * 1024;

/// Has the kernel show its records. Nothing to do where somebody has done it.
///
/// # Errors
/// The kernel has no `pstore` (`ENOENT`, `ENODEV`), or refuses.
pub fn show(dir: &Path) -> Result<(), Errno> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match mount("pstore", dir, "pstore", flags, c"") {
        Err(Errno::BUSY) => Ok(()),
        other => other,
    }
}

/// Who keeps what this kernel says when it gives up. `None`: nobody, so that the next boot is told of nothing.
#[must_use]
pub fn backend(parameter: &Path) -> Option<String> {
    let name = fs::read_to_string(parameter).ok()?;
    Some(name.trim().to_owned()).filter(|name| !matches!(name.as_str(), "" | "(null)"))
}

/// What the first line of a record tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Whether the kernel gave up. A shutdown that was asked for can be recorded too, where a backend is told to.
    pub is_fatal: bool,
    /// Counts the records of one boot.
    pub number: u32,
    /// Counts its pieces, the last one first.
    pub part: u32,
}

/// Reads a first line: `Panic#2 Part1`. `None`: it is none, as in a record that could not be decompressed.
#[must_use]
pub fn head(line: &str) -> Option<Head> {
    let (why, rest) = line.trim_end().split_once('#')?;
    let (number, part) = rest.split_once(" Part")?;
    let is_fatal = match why {
        "Panic" | "Oops" | "Emergency" => true,
        "Shutdown" | "Unknown" => false,
        _ => return None,
    };
    Some(Head { is_fatal, number: number.parse().ok()?, part: part.parse().ok()? })
}

/// A record of a kernel that gave up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its file.
    pub path: PathBuf,
    /// Its first line, if that can be read.
    pub head: Option<Head>,
    /// What it says, without its first line.
    pub text: String,
}

/// Reads the records of kernels that gave up, in the order in which they were said.
///
/// # Errors
/// The directory cannot be listed. A record that cannot be read is one without a text: that it is there says enough.
pub fn records(dir: &Path) -> std::io::Result<Vec<Record>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)?.take(RECORDS_MAX * 4) {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("dmesg-") && paths.len() < RECORDS_MAX {
            paths.push(path);
        }
    }
    paths.sort();
    let mut room = TEXT_MAX;
    let mut records: Vec<Record> = paths.into_iter().filter_map(|path| record(path, &mut room)).collect();
    records.sort_by_key(|record| record.head.map(|head| (head.number, u32::MAX - head.part)));
    Ok(records)
}

fn record(path: PathBuf, room: &mut usize) -> Option<Record> {
    let mut bytes = Vec::new();
    // What was read before an error is still said.
    let _ = File::open(&path).and_then(|file| file.take(RECORD_MAX.min(*room) as u64).read_to_end(&mut bytes));
    *room -= bytes.len();
    let text = String::from_utf8_lossy(&bytes);
    let (line, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let head = head(line);
    match head {
        Some(head) if !head.is_fatal => None,
        Some(_) => Some(Record { path, head, text: rest.to_owned() }),
        // Whatever it is, a kernel has left it under a name that it gives to its last words.
        None => Some(Record { path, head: None, text: String::new() }),
    }
}

/// Why the kernel gave up, in its own words.
#[must_use]
pub fn last_words(records: &[Record]) -> Option<&str> {
    let mut lines = records.iter().rev().flat_map(|record| record.text.lines());
    lines.find_map(|line| Some(line.split_once("Kernel panic - not syncing: ")?.1))
}

/// Removes a record, so that it is not told again.
///
/// # Errors
/// The backend refuses. It will be told once more.
pub fn remove(record: &Record) -> std::io::Result<()> {
    match fs::remove_file(&record.path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_tells_why_and_which_piece() {
        let head = |line| head(line).map(|Head { is_fatal, number, part }| (is_fatal, number, part));
        assert_eq!(head("Panic#2 Part1\n"), Some((true, 2, 1)));
        assert_eq!(head("Oops#1 Part12"), Some((true, 1, 12)));
        assert_eq!(head("Shutdown#1 Part1"), Some((false, 1, 1)));
        for none in ["", "Panic", "Panic#", "Panic#1", "Panic#x Part1", "Panic#1 Part", "Hello#1 Part1", "<6>[ 1.0] #"]
        {
            assert_eq!(head(none), None, "{none}");
        }
    }

    #[test]
    fn what_a_kernel_said_last_is_put_together_from_its_pieces() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &[u8]| fs::write(dir.path().join(name), text).unwrap();
        put("dmesg-efi_pstore-1002", b"Panic#2 Part2\nsecond\n");
        put("dmesg-efi_pstore-1001", b"Panic#2 Part1\n<0>[  9.1] Kernel panic - not syncing: sysrq\nthird\n");
        put("dmesg-efi_pstore-1000", b"Oops#1 Part1\nfirst\n");
        put("dmesg-ramoops-7", b"Shutdown#1 Part1\nin order\n");
        put("console-ramoops-0", b"of every boot\n");
        let records = records(dir.path()).unwrap();
        let text: String = records.iter().map(|record| record.text.as_str()).collect();
        assert_eq!(text, "first\nsecond\n<0>[  9.1] Kernel panic - not syncing: sysrq\nthird\n");
        assert_eq!(last_words(&records), Some("sysrq"));
        records.iter().for_each(|record| remove(record).unwrap());
        records.iter().for_each(|record| remove(record).unwrap());
        assert_eq!(super::records(dir.path()).unwrap(), []);
        assert!(dir.path().join("console-ramoops-0").exists());
    }

    #[test]
    fn a_record_that_cannot_be_read_says_enough() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("dmesg-efi_pstore-1.enc.z"), b"\x78\x9c\xff\n\0\0").unwrap();
        fs::create_dir(dir.path().join("dmesg-efi_pstore-2")).unwrap();
        let records = records(dir.path()).unwrap();
        assert_eq!(records.len(), 2);
        assert!(records.iter().all(|record| record.text.is_empty()) && last_words(&records).is_none());
    }

    #[test]
    fn no_more_is_read_than_there_is_room_for() {
        let dir = tempfile::tempdir().unwrap();
        let long = [b"Panic#1 Part1\n".as_slice(), &vec![b'x'; RECORD_MAX * 2]].concat();
        for number in 0..RECORDS_MAX + 8 {
            fs::write(dir.path().join(format!("dmesg-ramoops-{number}")), &long).unwrap();
        }
        let records = records(dir.path()).unwrap();
        assert_eq!(records.len(), RECORDS_MAX);
        assert!(records.iter().map(|record| record.text.len()).sum::<usize>() <= TEXT_MAX);
    }

    #[test]
    fn a_kernel_without_a_backend_keeps_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let parameter = dir.path().join("backend");
        assert_eq!(backend(&parameter), None);
        for (text, name) in [("(null)\n", None), ("efi_pstore\n", Some("efi_pstore")), ("", None)] {
            fs::write(&parameter, text).unwrap();
            assert_eq!(backend(&parameter).as_deref(), name);
        }
        assert!(records(&dir.path().join("none")).is_err());
    }
}
