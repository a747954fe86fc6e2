//! A partition table that learns how large its disk is (GPT: UEFI specification, chapter 5).
//!
//! ```text
//!   sector   0     1         2 …           …                              last-32 …    last
//!           MBR │ header │ entries │ … │ spare │ partition … the last ──▶ │ entries │ header │
//!                   └── where the entries are                              the copy
//! ```
//!
//! Firmware, bootloader and kernel read the table before anything could mend it, and few of them look at its copy at the
//! end. So the entries that count are never written: new ones go to a spare place before the first partition, the copy
//! goes to the new end of the disk, and then the header, which is one sector, makes both count. A power cut leaves the
//! old table or the new one. Should the disk be larger still some day, the entries move back to sector 2.
//!
//! The spare place has to be blank, or to hold these entries as they were before, because nothing else tells whether a
//! first-stage loader lies there: some tables are not at sector 2 for that very reason. Sector 0 stays: its entry of the
//! whole disk is a word for programs that know no GPT.

use std::fmt;

use boards_api::media::{SECTOR, Sectors};

/// As many entries as are read, the number that all tables have that nobody has made smaller.
const ENTRIES_MAX: u32 = 128;

const ENTRY: usize = 128;

/// Bytes of a header; what follows in its sector is reserved.
const HEADER: usize = 92;

/// Sectors at the end that the copy of the largest table takes, and every table leaves.
const COPY: u64 = 33;

/// A partition ends on a multiple of this many sectors from its start, as those of an image do.
const ALIGNMENT: u64 = (1 << 20) / SECTOR as u64;

/// Where the entries usually are.
const USUAL: u64 = 2;

/// Bytes of an entry that say where its partition ends.
const LAST: std::ops::Range<usize> = 40..48;

/// Why a table stays as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GptError<E> {
    /// The medium failed.
    Medium(E),
    /// The first sectors are no whole table that this understands.
    Table,
    /// It has no such partition, or another one lies behind it.
    NotLast(u32),
    /// There is no blank place for other entries before the first partition.
    NoSpare,
    /// What was written is not what is read.
    ReadBack,
}

impl<E: fmt::Display> fmt::Display for GptError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Medium(error) => error.fmt(f),
            Self::Table => f.write_str("the disk has no GPT, or a damaged one; only a whole GPT is changed"),
            Self::NotLast(number) => write!(f, "partition {number} is not the last one of its disk"),
            Self::NoSpare => f.write_str("no blank sectors for new entries lie before the first partition"),
            Self::ReadBack => f.write_str("the new partition table is not what was written; the old one counts"),
        }
    }
}

impl<E: std::error::Error> std::error::Error for GptError<E> {}

/// Makes the last partition as large as the disk lets it be, and tells how many bytes it has then. Nothing is written
/// where it has them already.
///
/// # Errors
/// [`GptError`]. The table that counts is whole then, the old one or the new one.
pub fn grow_last<S: Sectors>(disk: &mut S, number: u32) -> Result<u64, GptError<S::Error>> {
    let mut table = Table::read(disk)?;
    let sectors = disk.size() / SECTOR as u64;
    let (first, last) = table.last(number)?;
    let room = sectors.saturating_sub(COPY).saturating_sub(first);
    let grown = (first + room - room % ALIGNMENT).saturating_sub(1);
    if grown <= last {
        return Ok((last - first + 1) * SECTOR as u64);
    }
    let spare = table.spare().ok_or(GptError::NoSpare)?;
    table.put_last(number, grown);
    let new = Place { sectors, entries: spare, first: table.first() };
    if !is_free(disk, spare, &table.entries, number)? {
        return Err(GptError::NoSpare);
    }
    write(disk, spare, &table.entries)?;
    let copy = sectors - 1 - table.length();
    write(disk, copy, &table.entries)?;
    write(disk, sectors - 1, &table.header(&Place { entries: copy, ..new }, Which::Copy))?;
    write(disk, 1, &table.header(&new, Which::First))?;
    Ok((grown - first + 1) * SECTOR as u64)
}

/// Writes sectors and reads them again.
fn write<S: Sectors>(disk: &mut S, sector: u64, bytes: &[u8]) -> Result<(), GptError<S::Error>> {
    disk.write(sector * SECTOR as u64, bytes).map_err(GptError::Medium)?;
    if read(disk, sector, bytes.len())? == bytes { Ok(()) } else { Err(GptError::ReadBack) }
}

fn read<S: Sectors>(disk: &mut S, sector: u64, length: usize) -> Result<Vec<u8>, GptError<S::Error>> {
    let mut bytes = vec![0; length];
    disk.read(sector * SECTOR as u64, &mut bytes).map_err(GptError::Medium)?;
    Ok(bytes)
}

/// Whether a place holds nothing, or these entries but for the end: what an interrupted attempt has left, or a table that
/// counted before.
fn is_free<S: Sectors>(disk: &mut S, at: u64, entries: &[u8], number: u32) -> Result<bool, GptError<S::Error>> {
    let mut found = read(disk, at, entries.len())?;
    let blank = |sector: &[u8]| sector.iter().all(|byte| *byte == 0) || sector.iter().all(|byte| *byte == 0xFF);
    if found.chunks(SECTOR).all(blank) {
        return Ok(true);
    }
    let end = entry_at(number).and_then(|at| entries.get(at..)?.get(LAST));
    let place = entry_at(number).and_then(|at| found.get_mut(at..)?.get_mut(LAST));
    if let (Some(place), Some(end)) = (place, end) {
        place.copy_from_slice(end);
    }
    let mut sectors = found.chunks(SECTOR).zip(entries.chunks(SECTOR));
    Ok(sectors.all(|(found, new)| found == new || blank(found)))
}

/// The first byte of an entry in the row of them.
fn entry_at(number: u32) -> Option<usize> {
    usize::try_from(number.checked_sub(1)?).ok()?.checked_mul(ENTRY)
}

/// Where a table is on a disk.
#[derive(Clone, Copy)]
struct Place {
    /// Sectors of the disk.
    sectors: u64,
    /// The first sector of the entries.
    entries: u64,
    /// The first sector that partitions may have.
    first: u64,
}

/// One of the two headers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    First,
    Copy,
}

/// A whole table.
struct Table {
    header: Vec<u8>,
    entries: Vec<u8>,
    /// Where its entries are.
    at: u64,
}

impl Table {
    fn read<S: Sectors>(disk: &mut S) -> Result<Self, GptError<S::Error>> {
        if disk.size() < (2 + COPY) * SECTOR as u64 {
            return Err(GptError::Table);
        }
        let header = read(disk, 1, SECTOR)?;
        let (at, count) = described(&header).ok_or(GptError::Table)?;
        let length = count as usize * ENTRY;
        let behind = at.checked_add((length / SECTOR) as u64).ok_or(GptError::Table)?;
        if at < USUAL || behind > disk.size() / SECTOR as u64 {
            return Err(GptError::Table);
        }
        let table = Self { entries: read(disk, at, length)?, header, at };
        let sectors = disk.size() / SECTOR as u64;
        let is_whole = le32(&table.header, 88) == Some(crc32(&table.entries))
            && table.used().all(|(_, first, last)| behind <= first && first <= last && last < sectors);
        if is_whole { Ok(table) } else { Err(GptError::Table) }
    }

    /// Sectors of the entries.
    fn length(&self) -> u64 {
        (self.entries.len() / SECTOR) as u64
    }

    /// First and last sector of every partition.
    fn used(&self) -> impl Iterator<Item = (u32, u64, u64)> {
        let entries = (1..).zip(self.entries.chunks_exact(ENTRY));
        entries.filter(|(_, entry)| !entry.starts_with(&[0; 16])).filter_map(|(number, entry)| {
            let (first, last) = (le64(entry, 32)?, le64(entry, LAST.start)?);
            Some((number, first, last))
        })
    }

    /// The first sector of the first partition.
    fn first(&self) -> u64 {
        self.used().map(|(_, first, _)| first).min().unwrap_or_default()
    }

    /// First and last sector of a partition that has no other behind it.
    fn last<E>(&self, number: u32) -> Result<(u64, u64), GptError<E>> {
        let own = self.used().find(|(other, ..)| *other == number);
        let Some((_, first, last)) = own else { return Err(GptError::NotLast(number)) };
        let is_last = self.used().all(|(other, _, end)| other == number || end < first);
        if is_last { Ok((first, last)) } else { Err(GptError::NotLast(number)) }
    }

    /// The other place that entries can be at.
    fn spare(&self) -> Option<u64> {
        let (behind, first) = (self.at + self.length(), self.first());
        if self.at == USUAL {
            first.checked_sub(self.length()).filter(|spare| *spare >= behind)
        } else {
            Some(USUAL).filter(|usual| usual + self.length() <= self.at)
        }
    }

    fn put_last(&mut self, number: u32, last: u64) {
        let place = entry_at(number).and_then(|at| self.entries.get_mut(at..)?.get_mut(LAST));
        if let Some(place) = place {
            place.copy_from_slice(&last.to_le_bytes());
        }
    }

    /// A header for these entries, with everything else as it is.
    fn header(&self, place: &Place, which: Which) -> Vec<u8> {
        let mut header = self.header.clone();
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = header.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        let end = place.sectors - 1;
        let (own, other) = if which == Which::First { (1, end) } else { (end, 1) };
        let usable = end - 1 - self.length();
        for (at, value) in [(24, own), (32, other), (40, place.first), (48, usable), (72, place.entries)] {
            put(at, &u64::to_le_bytes(value));
        }
        put(88, &crc32(&self.entries).to_le_bytes());
        put(16, &[0; 4]);
        let sum = crc32(header.get(..HEADER).unwrap_or_default());
        if let Some(place) = header.get_mut(16..20) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
        header
    }
}

/// Where the entries of a whole header are, and how many.
fn described(header: &[u8]) -> Option<(u64, u32)> {
    let mut summed = header.get(..HEADER)?.to_vec();
    let sum = le32(header, 16)?;
    summed.get_mut(16..20)?.fill(0);
    let (at, count, size) = (le64(header, 72)?, le32(header, 80)?, le32(header, 84)?);
    let is_ours = header.starts_with(b"EFI PART") && le32(header, 12)? as usize == HEADER && le64(header, 24)? == 1;
    // Whole sectors of entries: others are legal, and nobody makes them.
    let is_usual = size as usize == ENTRY && (4..=ENTRIES_MAX).contains(&count) && count.is_multiple_of(4);
    (is_ours && is_usual && crc32(&summed) == sum).then_some((at, count))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn crc32(bytes: &[u8]) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(bytes)
}

#[cfg(test)]
mod tests;
