//! The block map of an image: which blocks have to be on a disk, with a SHA-256 for each range.
//!
//! In the format of bmap-tools, version 2.0, so that `bmaptool copy` takes our images too. Only maps of just this form
//! are read: another one is an error, and an image without a map is written whole.

use std::fmt::Write as _;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result, bail, ensure};
use ring::digest;

use super::ranges::{BLOCK, Ranges};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// Where the sum of the map itself stands, while it is computed.
const UNSUMMED: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What has to be written of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Map {
    /// The whole image, in bytes.
    pub(crate) image: u64,
    /// Sorted, apart from each other, in whole blocks (but for the last one of the image).
    pub(crate) ranges: Vec<Summed>,
}

/// A range of bytes and its SHA-256, in hexadecimal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Summed {
    pub(crate) range: Range<u64>,
    pub(crate) sum: String,
}

impl Map {
    /// The map of an image in which these bytes count.
    pub(crate) fn of(image: &File, bytes: u64, used: &Ranges) -> Result<Self> {
        let summed = |range: Range<u64>| {
            let range = range.start..range.end.min(bytes);
            Ok(Summed { sum: sum(image, range.clone())?, range })
        };
        Ok(Self { image: bytes, ranges: used.iter().map(summed).collect::<Result<_>>()? })
    }

    /// Bytes that have to be written.
    pub(crate) fn bytes(&self) -> u64 {
        self.ranges.iter().map(|summed| summed.range.end - summed.range.start).sum()
    }

    /// As a file.
    pub(crate) fn text(&self) -> String {
        let text = self.with_sum(UNSUMMED);
        self.with_sum(&hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()))
    }

    fn with_sum(&self, own: &str) -> String {
        let blocks: u64 = self.ranges.iter().map(|summed| block(summed.range.end) - summed.range.start / BLOCK).sum();
        let mut ranges = String::new();
        for Summed { range, sum } in &self.ranges {
            let (first, last) = (range.start / BLOCK, block(range.end) - 1);
            let numbers = if first == last { first.to_string() } else { format!("{first}-{last}") };
            // Writing to a string cannot fail.
            let _ = writeln!(ranges, "        <Range chksum=\"{sum}\"> {numbers} </Range>");
        }
        format!(
            "<?xml version=\"1.0\" ?>\n\
             <bmap version=\"2.0\">\n    \
                 <ImageSize> {} </ImageSize>\n    \
                 <BlockSize> {BLOCK} </BlockSize>\n    \
                 <BlocksCount> {} </BlocksCount>\n    \
                 <MappedBlocksCount> {blocks} </MappedBlocksCount>\n    \
                 <ChecksumType> sha256 </ChecksumType>\n    \
                 <BmapFileChecksum> {own} </BmapFileChecksum>\n    \
                 <BlockMap>\n{ranges}    \
                 </BlockMap>\n\
             </bmap>\n",
            self.image,
            block(self.image),
        )
    }

    /// Reads a file of this form.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let tag = |name: &str| -> Result<&str> {
            let (open, close) = (format!("<{name}>"), format!("</{name}>"));
            let value = text.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
            value.map(|(value, _)| value.trim()).with_context(|| format!("the block map has no {name}"))
        };
        let own = tag("BmapFileChecksum")?;
        let unsummed = text.replacen(own, UNSUMMED, 1);
        let computed = hex(digest::digest(&digest::SHA256, unsummed.as_bytes()).as_ref());
        ensure!(own == computed, "the block map is damaged: its own sum does not match");
        ensure!(tag("ChecksumType")? == "sha256", "the block map has other sums than SHA-256");
        ensure!(tag("BlockSize")? == BLOCK.to_string(), "the block map counts in other blocks than of {BLOCK} bytes");
        let image: u64 = tag("ImageSize")?.parse().context("the block map has no size of the image")?;
        let mut ranges: Vec<Summed> = Vec::new();
        for line in tag("BlockMap")?.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let summed = range(line, image).with_context(|| format!("the block map has a range {line:?}"))?;
            let behind = ranges.last().map_or(0, |last| last.range.end);
            if summed.range.start < behind || summed.range.end > image {
                bail!("the ranges of the block map are not in order, or end behind the image");
            }
            ranges.push(summed);
        }
        Ok(Self { image, ranges })
    }
}

/// `<Range chksum="SUM"> 1-2 </Range>`.
fn range(line: &str, image: u64) -> Option<Summed> {
    let (sum, rest) = line.strip_prefix("<Range chksum=\"")?.split_once("\">")?;
    let numbers = rest.strip_suffix("</Range>")?.trim();
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let end = last.checked_add(1)?.checked_mul(BLOCK)?;
    let is_sum = sum.len() == UNSUMMED.len() && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
    let range = first.checked_mul(BLOCK)?..end.min(image.max(BLOCK));
    (first <= last && is_sum).then(|| Summed { range, sum: sum.to_owned() })
}

/// Blocks up to this byte.
fn block(byte: u64) -> u64 {
    byte.div_ceil(BLOCK)
}

/// The SHA-256 of a range.
pub(crate) fn sum(file: &File, range: Range<u64>) -> Result<String> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; CHUNK];
    let mut at = range.start;
    while at < range.end {
        let length = usize::try_from(range.end - at)?.min(CHUNK);
        let Some(chunk) = buffer.get_mut(..length) else { bail!("no buffer") };
        file.read_exact_at(chunk, at)?;
        context.update(chunk);
        at += length as u64;
    }
    Ok(hex(context.finish().as_ref()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
