//! The order in which an image gets onto a disk, so that a disk that was not finished never looks whole.
//!
//! ```text
//!   wipe     the first and the last MiB: no table any more, a note in sector 0 says what is going on
//!   data     every range of the block map outside of the table
//!   verify   the same, read back from the medium
//!   table    the copy at the end of the disk, then the entries and the header, then sector 0
//! ```
//!
//! Sector 0 is the last thing that is written, and until then there is no firmware that would boot from this disk and no
//! system that would mount a part of it.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, bail, ensure};
use ring::digest;

use super::disk::{CHUNK, Disk};
use crate::image::map::{Map, hex};
use crate::image::table::{Bytes, Gpt, SECTOR};

/// How much at either end of a disk a table or the signature of an old file system may lie in.
const END: u64 = 1 << 20;

/// Written data is waited for in steps of this size: what fits in memory at once says nothing about a card's speed.
const STEP: u64 = 16 << 20;

/// What sector 0 says while a disk is flashed, and afterwards if that was cut short.
pub(super) const UNFINISHED: &[u8] = b"cairn: this disk was not flashed to its end, flash it again\n";

/// What is going on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Writing,
    Verifying,
}

/// Who watches: so many bytes more are done.
pub(super) type Watch<'w> = &'w mut dyn FnMut(Step, u64);

/// What will be written where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    pub(super) wipe: [Range<u64>; 2],
    /// With the SHA-256 of the whole range that each is of, and that range.
    pub(super) data: Vec<Data>,
    /// In this order.
    pub(super) table: Vec<(u64, Vec<u8>)>,
}

/// A range of the block map, and what of it is no table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Data {
    pub(super) write: Range<u64>,
    pub(super) whole: Range<u64>,
    /// `None`: there is no block map.
    pub(super) sum: Option<String>,
}

/// The table of an image.
pub(super) enum Table {
    Gpt(Gpt),
    /// The first sector.
    Mbr(Vec<u8>),
}

impl Table {
    pub(super) fn of(image: &File) -> Result<Self> {
        let mut head = vec![0; 64 * SECTOR as usize];
        image.read_exact_at(&mut head, 0).context("the image is shorter than a partition table")?;
        if let Some(gpt) = Gpt::read(&head) {
            return Ok(Self::Gpt(gpt));
        }
        let is_protective = head.get(450) == Some(&0xEE);
        match head.get(510..512) {
            Some([0x55, 0xAA]) if is_protective => bail!("the image has a GPT that is damaged, or not of our form"),
            Some([0x55, 0xAA]) => Ok(Self::Mbr(head.get(..SECTOR as usize).unwrap_or_default().to_vec())),
            _ => bail!("the image has no partition table"),
        }
    }

    /// Bytes that a disk must have.
    pub(super) fn needs(&self, image: u64) -> u64 {
        match self {
            // The image ends with the copy of its table, which can lie anywhere behind the partitions.
            Self::Gpt(gpt) => gpt.least() * SECTOR,
            Self::Mbr(_) => image,
        }
    }
}

impl Plan {
    /// What to write to a disk of so many bytes. Without a map every byte is written.
    pub(super) fn new(table: &Table, image: u64, map: Option<&Map>, disk: u64) -> Result<Self> {
        let disk = disk / SECTOR * SECTOR;
        let (Bytes { head, tail }, behind) = match table {
            Table::Gpt(gpt) => (gpt.on(disk / SECTOR)?, gpt.end() * SECTOR),
            Table::Mbr(sector) => (Bytes { head: sector.clone(), tail: Vec::new() }, image),
        };
        ensure!(behind <= disk, "the partitions end behind the disk");
        // Behind the last partition there is only the copy of the table, which has another place on another disk.
        let body = head.len() as u64..behind.max(head.len() as u64);
        let ranges = match map {
            Some(map) => map.ranges.iter().map(|summed| (summed.range.clone(), Some(summed.sum.clone()))).collect(),
            None => vec![(0..image, None)],
        };
        let data = ranges.into_iter().map(|(whole, sum)| Data {
            write: whole.start.max(body.start)..whole.end.min(body.end).max(whole.start.max(body.start)),
            whole,
            sum,
        });
        let (sector, rest) = head.split_at_checked(SECTOR as usize).context("no first sector")?;
        let mut pieces = vec![(disk - tail.len() as u64, tail.clone()), (SECTOR, rest.to_vec()), (0, sector.to_vec())];
        pieces.retain(|(_, bytes)| !bytes.is_empty());
        let wipe = [0..END.min(disk), disk.saturating_sub(END).max(END.min(disk))..disk];
        Ok(Self { wipe, data: data.collect(), table: pieces })
    }

    /// Bytes of the image that will be written.
    pub(super) fn bytes(&self) -> u64 {
        self.data.iter().map(|data| data.write.end - data.write.start).sum()
    }
}

/// Flashes and reads back.
pub(super) fn flash(disk: &mut impl Disk, image: &File, plan: &Plan, watch: Watch<'_>) -> Result<()> {
    wipe(disk, plan).context("cannot wipe the old partition table")?;
    write(disk, image, plan, watch)?;
    verify(disk, image, plan, watch)?;
    for (at, bytes) in &plan.table {
        disk.write(*at, bytes).with_context(|| format!("cannot write the partition table at byte {at}"))?;
        disk.sync().context("cannot write the partition table")?;
    }
    for (at, bytes) in &plan.table {
        let mut back = vec![0; bytes.len()];
        disk.read(*at, &mut back).with_context(|| format!("cannot read back byte {at}"))?;
        ensure!(
            back == *bytes,
            "the disk gives back another partition table than was written; it is worn out or false"
        );
    }
    Ok(())
}

fn wipe(disk: &mut impl Disk, plan: &Plan) -> Result<()> {
    let mut first = UNFINISHED.to_vec();
    first.resize(SECTOR as usize, 0);
    // The first sector goes first: from then on the disk is nobody's.
    disk.write(0, &first)?;
    disk.sync()?;
    for range in &plan.wipe {
        let start = range.start.max(SECTOR).min(range.end);
        disk.write(start, &vec![0; usize::try_from(range.end - start)?])?;
    }
    Ok(disk.sync()?)
}

/// Writes the data. What the image holds must be what its map says, or the image is not the one that was made.
fn write(disk: &mut impl Disk, image: &File, plan: &Plan, watch: Watch<'_>) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut unsynced = 0;
    for Data { write, whole, sum } in &plan.data {
        let mut context = digest::Context::new(&digest::SHA256);
        for range in chunks(whole.clone()) {
            let bytes = part(&mut buffer, &range)?;
            image.read_exact_at(bytes, range.start).context("cannot read the image")?;
            context.update(bytes);
            let wanted = range.start.max(write.start)..range.end.min(write.end);
            if wanted.is_empty() {
                continue;
            }
            let inner = usize::try_from(wanted.start - range.start)?..usize::try_from(wanted.end - range.start)?;
            let bytes = bytes.get(inner).unwrap_or_default();
            disk.write(wanted.start, bytes).with_context(|| format!("cannot write byte {}", wanted.start))?;
            unsynced += bytes.len() as u64;
            if unsynced >= STEP {
                disk.sync().with_context(|| format!("cannot write what lies before byte {}", wanted.end))?;
                watch(Step::Writing, unsynced);
                unsynced = 0;
            }
        }
        if let Some(sum) = sum {
            let found = hex(context.finish().as_ref());
            ensure!(
                found == *sum,
                "the image is damaged: bytes {} to {} are not what was made",
                whole.start,
                whole.end
            );
        }
    }
    disk.sync().context("cannot write the end of the data")?;
    watch(Step::Writing, unsynced);
    Ok(())
}

fn verify(disk: &mut impl Disk, image: &File, plan: &Plan, watch: Watch<'_>) -> Result<()> {
    let (mut wanted, mut found) = (vec![0; CHUNK], vec![0; CHUNK]);
    for range in plan.data.iter().flat_map(|data| chunks(data.write.clone())) {
        let (wanted, found) = (part(&mut wanted, &range)?, part(&mut found, &range)?);
        image.read_exact_at(wanted, range.start).context("cannot read the image")?;
        disk.read(range.start, found).with_context(|| format!("cannot read back byte {}", range.start))?;
        if let Some(at) = wanted.iter().zip(found).position(|(wanted, found)| wanted != found) {
            let at = range.start + at as u64;
            bail!("the disk gives back another byte {at} than was written; it is worn out, or smaller than it says");
        }
        watch(Step::Verifying, range.end - range.start);
    }
    Ok(())
}

fn chunks(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    range.step_by(CHUNK).map(move |start| start..end.min(start + CHUNK as u64))
}

fn part<'b>(buffer: &'b mut [u8], range: &Range<u64>) -> Result<&'b mut [u8]> {
    buffer.get_mut(..usize::try_from(range.end - range.start)?).context("a chunk is larger than its buffer")
}
