//! The tree of hashes over an image, as dm-verity reads it, byte for byte what `veritysetup format` writes.
//!
//! ```text
//!   block 0     superblock: "verity\0\0", version 1, type 1, uuid, "sha256", 4096, 4096, data blocks, salt
//!   block 1     the top level: one block, and the root hash is its hash
//!   …           the levels below; the last one has a hash of each data block, 128 to a block, the rest zero
//!
//!   a hash = SHA-256(salt ‖ block of 4096 bytes)         integers are little-endian
//! ```
//!
//! Format: Documentation/admin-guide/device-mapper/verity.rst and the on-disk format of cryptsetup. An image of one
//! block has no levels: its hash is the root. Memory is bounded: levels are written where they belong and read back.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use ring::digest::{Context as Hasher, SHA256};

use super::table::Seed;
use crate::error::{Context as _, Error, Result};
use crate::watch::Watch;

/// Bytes of a block, of data and of hashes.
pub const BLOCK: usize = 4096;

/// Bytes of a hash.
const HASH: usize = 32;

/// Hashes of a block.
const FAN: u64 = (BLOCK / HASH) as u64;

/// The hash of everything.
pub type Root = [u8; HASH];

/// Where each level stands in the file, in blocks, and how many hashes it has. The lowest first.
fn levels(data_blocks: u64) -> Vec<(u64, u64)> {
    let mut counts = Vec::new();
    let mut below = data_blocks;
    while below > 1 {
        counts.push(below);
        below = below.div_ceil(FAN);
    }
    // From the top down in the file, behind the superblock.
    let mut place = 1;
    let mut levels: Vec<(u64, u64)> = Vec::new();
    for hashes in counts.iter().rev() {
        levels.push((place, *hashes));
        place += hashes.div_ceil(FAN);
    }
    levels.reverse();
    levels
}

/// Writes the tree of an image into a new file, and returns its root.
///
/// # Errors
/// The image is no whole number of blocks, or a file cannot be read or written.
pub fn write(image: &Path, seed: &Seed, file: &File, place: &Path, watch: &dyn Watch) -> Result<Root> {
    let mut data = File::open(image).context("read", image)?;
    let length = data.metadata().context("look at", image)?.len();
    let blocks = length / BLOCK as u64;
    if blocks == 0 || length % BLOCK as u64 != 0 {
        return Err(Error::user(format!("{} has {length} bytes, no multiple of {BLOCK}", image.display()))
            .hint("verity checks whole blocks, and what is behind the last one would not be checked; pack the image with padding (`mksquashfs` without -nopad)"));
    }
    let levels = levels(blocks);
    file.write_all_at(&superblock(blocks, seed), 0).context("write", place)?;
    watch.begin("hashing", length);
    let mut last = [0; HASH];
    let mut lowest = Level::new(levels.first().copied(), file, place);
    let mut block = vec![0; BLOCK];
    for _ in 0..blocks {
        data.read_exact(&mut block).context("read", image)?;
        last = hash(seed, &block);
        lowest.push(last)?;
        watch.advance(BLOCK as u64);
    }
    lowest.end()?;
    watch.end();
    for (number, (place_below, hashes)) in levels.iter().enumerate() {
        let mut above = Level::new(levels.get(number + 1).copied(), file, place);
        for index in 0..hashes.div_ceil(FAN) {
            file.read_exact_at(&mut block, (place_below + index) * BLOCK as u64).context("read", place)?;
            last = hash(seed, &block);
            above.push(last)?;
        }
        above.end()?;
    }
    Ok(last)
}

fn hash(seed: &Seed, block: &[u8]) -> Root {
    let mut hasher = Hasher::new(&SHA256);
    hasher.update(&seed.salt);
    hasher.update(block);
    let mut root = [0; HASH];
    root.iter_mut().zip(hasher.finish().as_ref()).for_each(|(to, from)| *to = *from);
    root
}

/// A level that is being written. Without a place, for the level above the top, hashes go nowhere.
struct Level<'f> {
    next: Option<u64>,
    block: Vec<u8>,
    file: &'f File,
    path: &'f Path,
}

impl<'f> Level<'f> {
    fn new(level: Option<(u64, u64)>, file: &'f File, path: &'f Path) -> Self {
        Self { next: level.map(|(place, _)| place), block: Vec::with_capacity(BLOCK), file, path }
    }

    fn push(&mut self, hash: Root) -> Result<()> {
        self.block.extend(hash);
        if self.block.len() == BLOCK { self.end() } else { Ok(()) }
    }

    fn end(&mut self) -> Result<()> {
        if let Some(place) = self.next.filter(|_| !self.block.is_empty()) {
            self.block.resize(BLOCK, 0);
            self.file.write_all_at(&self.block, place * BLOCK as u64).context("write", self.path)?;
            self.next = Some(place + 1);
        }
        self.block.clear();
        Ok(())
    }
}

/// The first block of the file.
fn superblock(blocks: u64, seed: &Seed) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BLOCK);
    bytes.extend(b"verity\0\0");
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(seed.uuid);
    bytes.extend(b"sha256");
    bytes.resize(64, 0);
    for size in [BLOCK, BLOCK] {
        bytes.extend((size as u32).to_le_bytes());
    }
    bytes.extend(blocks.to_le_bytes());
    bytes.extend((seed.salt.len() as u16).to_le_bytes());
    bytes.extend([0; 6]);
    bytes.extend(&seed.salt);
    bytes.resize(BLOCK, 0);
    bytes
}

/// The seed that a file of hashes was made with: where tables do not have it.
///
/// # Errors
/// The file cannot be read, or has no superblock of this kind.
pub fn seed_of(path: &Path) -> Result<Seed> {
    let wrong = |what: &str| Error::user(format!("{}: {what}", path.display()));
    let mut block = [0; 512];
    File::open(path).and_then(|file| file.read_exact_at(&mut block, 0)).context("read the superblock of", path)?;
    let part = |from: usize, length: usize| block.get(from..from + length).unwrap_or_default();
    if part(0, 8) != b"verity\0\0" || part(32, 7) != b"sha256\0" {
        return Err(wrong("it is no tree of SHA-256 hashes for dm-verity"));
    }
    let uuid = part(16, 16).try_into().map_err(|_| wrong("its superblock is cut"))?;
    let length = part(80, 2).iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte));
    if length > 256 {
        return Err(wrong("its salt is longer than 256 bytes"));
    }
    Ok(Seed { uuid, salt: part(88, length).to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_stand_from_the_top_down_behind_the_superblock() {
        assert_eq!(levels(1), []);
        assert_eq!(levels(2), [(1, 2)]);
        assert_eq!(levels(128), [(1, 128)]);
        assert_eq!(levels(129), [(2, 129), (1, 2)]);
        assert_eq!(levels(128 * 128 + 1), [(4, 16_385), (2, 129), (1, 2)]);
    }
}
