//! Partition tables of an image (GPT: UEFI specification, chapter 5), sector for sector: the same layout always gives the same bytes.
//!
//! ```text
//!   GPT    sector 0       protective MBR        MBR    sector 0   four entries
//!          sector 1       header
//!          sector 2 …     entries of 128 bytes  ▸ as many as fit before what lies there raw (a first-stage loader
//!                                                 at 8 KiB leaves room for 56), 128 at most
//!          …
//!          last 33 …      the entries again, then the header again
//! ```
//!
//! Partition `n` of the table is the `n`-th of the layout, and in a GPT its name is its label. Identifiers are derived
//! from the names of board and partition, so they are the same on every device of a board: what tells devices apart is
//! not in an image. Both tables fit a disk that is larger than the image: [`Gpt::on`] moves the copy to its end.

use anyhow::{Context as _, Result, bail, ensure};
use boards_api::board::{Content, Layout, Role};
use clap::ValueEnum;

/// Bytes of a sector, as both tables count.
pub(crate) const SECTOR: u64 = 512;

/// Where a partition starts that does not say it: a multiple of every erase block that a card is likely to have.
const ALIGNMENT: u64 = (1 << 20) / SECTOR;

/// Sectors of the copy of a whole GPT at the end of a disk.
const COPY: u64 = 33;

const ENTRY: usize = 128;
const ENTRIES: usize = 128;
const HEADER: usize = 92;

/// Which kind of table a firmware can live with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// GUID partition table, partitions have names
    Gpt,
    /// Four entries in the first sector, without names
    Mbr,
}

/// A partition with its place on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Placed {
    pub(crate) label: &'static str,
    pub(crate) role: Role,
    pub(crate) content: Content,
    /// Its first sector.
    pub(crate) first: u64,
    /// How many it has.
    pub(crate) sectors: u64,
}

impl Placed {
    /// Its first byte.
    pub(crate) fn start(&self) -> u64 {
        self.first * SECTOR
    }

    /// How many bytes it has.
    pub(crate) fn bytes(&self) -> u64 {
        self.sectors * SECTOR
    }

    fn end(&self) -> u64 {
        self.first + self.sectors
    }
}

/// The places of all partitions on a disk of so many sectors.
pub(crate) fn place(layout: &Layout, kind: Kind, disk: u64) -> Result<Vec<Placed>> {
    let usable = match kind {
        Kind::Gpt => disk.saturating_sub(COPY),
        Kind::Mbr => disk,
    };
    let mut placed: Vec<Placed> = Vec::new();
    for (index, partition) in layout.partitions.iter().enumerate() {
        let label = partition.label;
        let behind = placed.last().map_or(1, Placed::end);
        let first = match partition.start_kib {
            Some(start) => u64::from(start) * 1024 / SECTOR,
            None => behind.next_multiple_of(ALIGNMENT),
        };
        ensure!(first >= behind, "partition {label} starts at sector {first}, inside of what lies before it");
        let sectors = match partition.size_kib {
            Some(size) => u64::from(size) * 1024 / SECTOR,
            None if index + 1 == layout.partitions.len() => {
                let left = usable.saturating_sub(first);
                left - left % ALIGNMENT
            }
            None => bail!("partition {label} takes what is left, so it has to be the last one"),
        };
        ensure!(
            sectors > 0 && first + sectors <= usable,
            "a disk of {} MiB is too small: no room for partition {label}",
            (disk * SECTOR) >> 20
        );
        ensure!(placed.iter().all(|other| other.label != label), "two partitions are called {label}");
        placed.push(Placed { label, role: partition.role, content: partition.content, first, sectors });
    }
    Ok(placed)
}

/// The first sector that each partition could start at, so the room before the last one: what a disk has to have at least.
pub(crate) fn least(layout: &Layout, last: u64) -> Result<u64> {
    // Any disk is large enough to ask where things start.
    let placed = place(layout, Kind::Gpt, 1 << 42)?;
    let Some((end, before)) = placed.split_last() else { bail!("the layout has no partition") };
    let fixed = layout.partitions.last().is_some_and(|partition| partition.size_kib.is_some());
    let last = if fixed { end.sectors } else { last.div_ceil(SECTOR).next_multiple_of(ALIGNMENT) };
    Ok(before.last().map_or(end.first, Placed::end).max(end.first) + last + COPY)
}

/// Sixteen bytes that only these names give (RFC 9562, version 8), in the order in which they are printed.
pub(crate) fn guid(board: &str, what: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("cairn image identifiers 1");
    hasher.update(board.as_bytes()).update(&[0]).update(what.as_bytes());
    let mut guid = [0; 16];
    hasher.finalize_xof().fill(&mut guid);
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut guid;
    *version = *version & 0x0F | 0x80;
    *variant = *variant & 0x3F | 0x80;
    guid
}

/// As a person writes it.
pub(crate) fn shown(guid: [u8; 16]) -> String {
    let hex = |range: std::ops::Range<usize>| {
        guid.get(range).unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    [hex(0..4), hex(4..6), hex(6..8), hex(8..10), hex(10..16)].join("-")
}

/// The first four bytes of [`guid`]: the serial number of a FAT, the signature of an MBR.
pub(crate) fn serial(board: &str, what: &str) -> u32 {
    let [a, b, c, d, ..] = guid(board, what);
    u32::from_le_bytes([a, b, c, d])
}

/// The four entries of a first sector (and never a fifth: a logical partition would not be the `n`-th).
pub(crate) fn mbr(board: &str, placed: &[Placed]) -> Result<[u8; SECTOR as usize]> {
    ensure!(placed.len() <= 4, "an MBR has room for four partitions, not for {}; take a GPT", placed.len());
    let mut sector = [0; SECTOR as usize];
    put(&mut sector, 440, &serial(board, "disk").to_le_bytes());
    for (index, partition) in placed.iter().enumerate() {
        let kind = match (partition.content, partition.role) {
            (Content::Fat, _) => 0x0C,
            (Content::Ext4, _) => 0x83,
            (Content::Raw, _) => 0xDA,
        };
        let active = if partition.role == Role::Firmware { 0x80 } else { 0 };
        put(&mut sector, 446 + 16 * index, &mbr_entry(active, kind, partition.first, partition.sectors)?);
    }
    put(&mut sector, 510, &[0x55, 0xAA]);
    Ok(sector)
}

/// Heads and cylinders are those of a disk that is addressed by sectors alone.
fn mbr_entry(active: u8, kind: u8, first: u64, sectors: u64) -> Result<[u8; 16]> {
    let first = u32::try_from(first).context("an MBR ends at 2 TiB")?;
    let sectors = u32::try_from(sectors).context("an MBR ends at 2 TiB")?;
    let mut entry = [active, 0xFE, 0xFF, 0xFF, kind, 0xFE, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0];
    put(&mut entry, 8, &first.to_le_bytes());
    put(&mut entry, 12, &sectors.to_le_bytes());
    Ok(entry)
}

/// A GUID partition table, apart from the disk that it is on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Gpt {
    disk: [u8; 16],
    /// All entries, used or not.
    entries: Vec<u8>,
}

/// The bytes of a table on a disk of a certain size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Bytes {
    /// From sector 0 on.
    pub(crate) head: Vec<u8>,
    /// Up to the end of the disk; empty for an MBR.
    pub(crate) tail: Vec<u8>,
}

impl Gpt {
    /// The table of a board. `raw`: the first sector that holds something outside of every partition.
    pub(crate) fn new(board: &str, placed: &[Placed], raw: Option<u64>) -> Result<Self> {
        let end = placed.iter().map(|partition| partition.first).chain(raw).min().unwrap_or(ALIGNMENT);
        let room = usize::try_from(end.saturating_sub(2) * SECTOR)? / ENTRY;
        // Whole sectors of entries: others are legal, and not every reader knows.
        let count = room.min(ENTRIES) / 4 * 4;
        ensure!(placed.len() <= count, "no room for {} entries of a GPT before sector {end}", placed.len());
        let mut entries = vec![0; count * ENTRY];
        for (entry, partition) in entries.chunks_exact_mut(ENTRY).zip(placed) {
            let label = partition.label;
            put(entry, 0, &on_disk(kind(partition)));
            put(entry, 16, &on_disk(guid(board, label)));
            put(entry, 32, &partition.first.to_le_bytes());
            put(entry, 40, &(partition.end() - 1).to_le_bytes());
            // Bit 2, "bootable by a legacy BIOS", is where U-Boot looks for its script.
            put(entry, 48, &u64::from(partition.role == Role::Firmware).wrapping_shl(2).to_le_bytes());
            let name: Vec<_> = label.encode_utf16().collect();
            ensure!(name.len() <= 36, "the label {label:?} is longer than the 36 characters of a GPT");
            put(entry, 56, &name.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>());
        }
        Ok(Self { disk: on_disk(guid(board, "disk")), entries })
    }

    /// Sectors from the start of the disk up to the end of the entries.
    pub(crate) fn head(&self) -> u64 {
        1 + self.copy()
    }

    /// Sectors of the entries and a header.
    fn copy(&self) -> u64 {
        self.entries.len() as u64 / SECTOR + 1
    }

    /// The table of a disk, from its first sectors, if there is a whole one.
    pub(crate) fn read(head: &[u8]) -> Option<Self> {
        let header = head.get(512..512 + HEADER)?;
        let (count, size) = (le32(header, 80)?, le32(header, 84)?);
        let is_ours = header.starts_with(b"EFI PART") && le32(header, 12)? == HEADER as u32;
        if !is_ours || size != ENTRY as u32 || count as usize > ENTRIES || count % 4 != 0 || le64(header, 72)? != 2 {
            return None;
        }
        let mut summed = header.to_vec();
        put(&mut summed, 16, &[0; 4]);
        let entries = head.get(1024..1024 + count as usize * ENTRY)?;
        let is_whole = crc32(&summed) == le32(header, 16)? && crc32(entries) == le32(header, 88)?;
        is_whole.then(|| Some(Self { disk: header.get(56..72)?.try_into().ok()?, entries: entries.to_vec() }))?
    }

    /// The first sector behind all of its partitions.
    pub(crate) fn end(&self) -> u64 {
        let used = self.entries.chunks_exact(ENTRY).filter(|entry| !entry.starts_with(&[0; 16]));
        used.filter_map(|entry| le64(entry, 40)).map(|last| last.saturating_add(1)).max().unwrap_or(0)
    }

    /// Sectors of the smallest disk that holds its partitions and the copy.
    pub(crate) fn least(&self) -> u64 {
        self.end().saturating_add(self.copy())
    }

    /// Its bytes on a disk of so many sectors.
    pub(crate) fn on(&self, disk: u64) -> Result<Bytes> {
        ensure!(self.least() <= disk, "the partitions end behind a disk of {disk} sectors");
        let last = disk - 1;
        let mut head = vec![0; SECTOR as usize];
        // As much of the disk as the entry can say.
        put(&mut head, 446, &mbr_entry(0, 0xEE, 1, last.min(u64::from(u32::MAX)))?);
        // Sector 1 has heads and cylinders, and UEFI asks for them.
        put(&mut head, 447, &[0, 2, 0]);
        put(&mut head, 510, &[0x55, 0xAA]);
        head.extend(self.header(1, last, 2, last));
        head.extend(&self.entries);
        let mut tail = self.entries.clone();
        tail.extend(self.header(last, 1, last - (self.copy() - 1), last));
        Ok(Bytes { head, tail })
    }

    fn header(&self, own: u64, other: u64, entries: u64, last: u64) -> [u8; SECTOR as usize] {
        let mut header = [0; SECTOR as usize];
        put(&mut header, 0, b"EFI PART\0\0\x01\0");
        put(&mut header, 12, &(HEADER as u32).to_le_bytes());
        for (at, value) in [(24, own), (32, other), (40, self.head()), (48, last - self.copy()), (72, entries)] {
            put(&mut header, at, &value.to_le_bytes());
        }
        put(&mut header, 56, &self.disk);
        let count = (self.entries.len() / ENTRY) as u32;
        for (at, value) in [(80, count), (84, ENTRY as u32), (88, crc32(&self.entries))] {
            put(&mut header, at, &value.to_le_bytes());
        }
        let sum = crc32(header.get(..HEADER).unwrap_or_default());
        put(&mut header, 16, &sum.to_le_bytes());
        header
    }
}

/// What a partition is for, as operating systems know it, in the order in which it is printed.
fn kind(partition: &Placed) -> [u8; 16] {
    let kind: u128 = match (partition.content, partition.role) {
        (Content::Fat, Role::Firmware) => 0xC12A7328_F81F_11D2_BA4B_00A0C93EC93B, // EFI system
        (Content::Fat | Content::Ext4, _) => 0x0FC63DAF_8483_4772_8E79_3D69D8477DE4, // Linux data
        (Content::Raw, _) => 0x8DA63339_0007_60C0_C436_083AC8230908,              // Linux, reserved
    };
    kind.to_be_bytes()
}

/// The first three parts of a GUID are stored with their low bytes first.
fn on_disk(mut guid: [u8; 16]) -> [u8; 16] {
    for part in [0..4, 4..6, 6..8] {
        guid.get_mut(part).unwrap_or_default().reverse();
    }
    guid
}

#[expect(clippy::indexing_slicing, reason = "every place is a constant of this file, inside of what it is written to")]
fn put(into: &mut [u8], at: usize, bytes: &[u8]) {
    into[at..at + bytes.len()].copy_from_slice(bytes);
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn crc32(bytes: &[u8]) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(bytes)
}
