//! Writes an image: partitions, what lies outside of them, the table; then its block map. No root, no loop device.
//!
//! ```text
//!   OUTPUT.part/     while it is made; renamed when it is whole
//!   OUTPUT           the disk, sparse
//!   OUTPUT.bmap      which of its blocks have to be written, with their sums
//! ```

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use boards_api::board::Content;

use super::map::Map;
use super::ranges::Ranges;
use super::source::{Filling, ImageSource, Item, Patch};
use super::table::{self, Bytes, Gpt, Kind, Placed, SECTOR};
use super::{ext4, fat};

/// No image is smaller.
const LEAST: u64 = 64 << 20;

/// An image that was written.
pub(crate) struct Built {
    pub(crate) bytes: u64,
    pub(crate) partitions: Vec<Placed>,
    pub(crate) map: Map,
}

/// Where the block map of an image is.
pub(crate) fn map_path(image: &Path) -> PathBuf {
    beside(image, "bmap")
}

/// A path whose name is longer by a suffix.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Makes the image. What is there is replaced once the new one is whole.
pub(crate) fn build(source: &ImageSource, output: &Path) -> Result<Built> {
    let work = beside(output, "part");
    // Of a build that was interrupted.
    if work.is_dir() {
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let built = Builder::new(source, &work).and_then(Builder::finish);
    let moved = built.and_then(|built| {
        let map = map_path(output);
        // An image without a map is written whole; one with the map of another must never be seen.
        if map.exists() {
            fs::remove_file(&map).with_context(|| format!("cannot remove {}", map.display()))?;
        }
        fs::rename(work.join("disk"), output).with_context(|| format!("cannot write {}", output.display()))?;
        fs::write(&map, built.map.text()).with_context(|| format!("cannot write {}", map.display()))?;
        Ok(built)
    });
    // Best effort: what is reported is why there is no image.
    let _ = fs::remove_dir_all(&work);
    moved
}

struct Builder<'s> {
    source: &'s ImageSource,
    work: &'s Path,
    disk: File,
    bytes: u64,
    partitions: Vec<Placed>,
    used: Ranges,
}

impl<'s> Builder<'s> {
    fn new(source: &'s ImageSource, work: &'s Path) -> Result<Self> {
        let bytes = match source.size {
            Some(size) => size,
            None => size(source)?,
        };
        ensure!(bytes.is_multiple_of(1 << 20), "the size of an image is a multiple of 1 MiB, not {bytes} bytes");
        let path = work.join("disk");
        let disk = File::options().read(true).write(true).create_new(true).open(&path)?;
        disk.set_len(bytes).with_context(|| format!("cannot make {bytes} bytes of {}", path.display()))?;
        let partitions = table::place(&source.layout, source.table, bytes / SECTOR)?;
        if let Some((label, _)) = source.fillings.iter().find(|(label, _)| partitions.iter().all(|p| p.label != *label))
        {
            bail!("board {} has no partition {label}", source.board);
        }
        Ok(Self { source, work, disk, bytes, partitions, used: Ranges::default() })
    }

    fn finish(mut self) -> Result<Built> {
        for partition in self.partitions.clone() {
            self.fill(&partition).with_context(|| format!("cannot fill partition {}", partition.label))?;
        }
        self.patch()?;
        let raw = self.blobs()?;
        let table = self.table(raw.iter().map(|range| range.start / SECTOR).min())?;
        let head = 0..table.head.len() as u64;
        if let Some(blob) = raw.iter().find(|blob| blob.start < head.end) {
            bail!("what is written at byte {} would overwrite the partition table", blob.start);
        }
        self.write(head.start, &table.head)?;
        self.write(self.bytes - table.tail.len() as u64, &table.tail)?;
        self.disk.sync_all()?;
        let map = Map::of(&self.disk, self.bytes, &self.used)?;
        Ok(Built { bytes: self.bytes, partitions: self.partitions, map })
    }

    fn table(&self, raw: Option<u64>) -> Result<Bytes> {
        let (board, partitions) = (&self.source.board, &self.partitions);
        match self.source.table {
            Kind::Gpt => Gpt::new(board, partitions, raw)?.on(self.bytes / SECTOR),
            Kind::Mbr => Ok(Bytes { head: table::mbr(board, partitions)?.to_vec(), tail: Vec::new() }),
        }
    }

    fn fill(&mut self, partition: &Placed) -> Result<()> {
        let filling = self.source.filling(partition.label);
        match (partition.content, filling) {
            (Content::Fat, Some(Filling::Files(items))) => self.fat(partition, items),
            (Content::Fat, None) => self.fat(partition, &[]),
            (Content::Ext4, Some(Filling::Tree(tree))) => self.ext4(partition, tree),
            (Content::Ext4, None) => {
                let empty = self.work.join("empty");
                fs::create_dir_all(&empty)?;
                self.ext4(partition, &empty)
            }
            (Content::Raw, Some(Filling::Erased)) => {
                self.write(partition.start(), &vec![0xFF; usize::try_from(partition.bytes())?])
            }
            (Content::Raw, None) => {
                // Zeros that have to be there: what an old disk has here must not be taken for a cell.
                self.used.add(partition.start()..partition.start() + partition.bytes());
                Ok(())
            }
            (content, Some(_)) => bail!("it is {content:?} and cannot be filled so"),
        }
    }

    fn fat(&mut self, partition: &Placed, items: &[Item]) -> Result<()> {
        let serial = table::serial(&self.source.board, partition.label);
        let path = self.work.join("fat");
        let used = fat::make(&path, partition.bytes(), partition.label, serial, items)?;
        self.copy(&path, &[used], partition.start())
    }

    fn ext4(&mut self, partition: &Placed, tree: &Path) -> Result<()> {
        let (board, label) = (&self.source.board, partition.label);
        let identity = ext4::Identity {
            label,
            uuid: table::guid(board, &format!("{label} file system")),
            seed: table::guid(board, &format!("{label} directories")),
        };
        let path = self.work.join("ext4");
        let used = ext4::make(tree, &path, partition.bytes(), &identity, self.work)?;
        self.copy(&path, &used, partition.start())
    }

    fn patch(&mut self) -> Result<()> {
        for Patch { label, at, bytes } in &self.source.patches {
            let partition = self.partitions.iter().find(|partition| partition.label == *label);
            let partition = partition.with_context(|| format!("there is no partition {label}"))?;
            ensure!(at + bytes.len() as u64 <= partition.bytes(), "partition {label} has no byte {at}");
            let at = partition.start() + at;
            self.write(at, bytes)?;
        }
        Ok(())
    }

    /// What lies outside of partitions; its places.
    fn blobs(&mut self) -> Result<Vec<Range<u64>>> {
        let mut places: Vec<Range<u64>> = Vec::new();
        for blob in &self.source.blobs {
            let bytes = blob.from.read()?;
            let place = blob.at..blob.at + bytes.len() as u64;
            ensure!(blob.at.is_multiple_of(SECTOR), "byte {} is not the start of a sector", blob.at);
            let overlaps = |other: &Range<u64>| other.start < place.end && place.start < other.end;
            let partition = self.partitions.iter().find(|p| overlaps(&(p.start()..p.start() + p.bytes())));
            if let Some(partition) = partition {
                bail!("bytes {} to {} reach into partition {}", place.start, place.end, partition.label);
            }
            ensure!(!places.iter().any(overlaps), "two files want byte {} and what follows", place.start);
            ensure!(place.end <= self.bytes, "byte {} is behind the end of the image", place.end);
            self.write(place.start, &bytes)?;
            places.push(place);
        }
        Ok(places)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        self.disk.write_all_at(bytes, at)?;
        self.used.add(at..at + bytes.len() as u64);
        Ok(())
    }

    /// Moves these ranges of a partition's own image to their place.
    fn copy(&mut self, from: &Path, used: &[Range<u64>], start: u64) -> Result<()> {
        let file = File::open(from)?;
        let mut buffer = vec![0; 1 << 20];
        for range in used {
            let mut at = range.start;
            while at < range.end {
                let length = usize::try_from(range.end - at)?.min(buffer.len());
                let Some(chunk) = buffer.get_mut(..length) else { bail!("no buffer") };
                file.read_exact_at(chunk, at)?;
                // Zeros that have to be there are so already, and the image stays sparse.
                if chunk.iter().any(|byte| *byte != 0) {
                    self.disk.write_all_at(chunk, start + at)?;
                }
                at += length as u64;
            }
            self.used.add(start + range.start..start + range.end);
        }
        Ok(fs::remove_file(from)?)
    }
}

/// Bytes that everything fits in.
fn size(source: &ImageSource) -> Result<u64> {
    let last = source.layout.partitions.last().context("the board has no partition")?;
    let needed = match source.filling(last.label) {
        Some(Filling::Tree(tree)) => ext4::needed(tree)?,
        _ => 32 << 20,
    };
    Ok((table::least(&source.layout, needed)? * SECTOR).next_power_of_two().max(LEAST))
}
