//! What goes into an image: names of files, and nothing that depends on the machine that builds it.
//!
//! A board gives the layout and, through its own boot environment, the cells; whoever builds an image says what fills
//! the other partitions. The image is a function of these bytes.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use boards_api::Board;
use boards_api::board::{Layout, Role};
use boards_api::slots::Shape;

use super::cells::{self, Place};
use super::table::Kind;

/// Everything that an image is made of.
pub(crate) struct ImageSource {
    /// The name of the board; identifiers are derived from it.
    pub(crate) board: String,
    /// Its partitions.
    pub(crate) layout: Layout,
    /// The table that its firmware reads.
    pub(crate) table: Kind,
    /// What its slots are like, if its firmware reads slots.
    pub(crate) shape: Option<Shape>,
    /// What partitions are filled with, by label. One without a filling is zeros, or an empty file system.
    pub(crate) fillings: Vec<(&'static str, Filling)>,
    /// What is written over partitions once they are filled.
    pub(crate) patches: Vec<Patch>,
    /// What lies outside of partitions: a first-stage loader.
    pub(crate) blobs: Vec<Blob>,
    /// Words that the boot script adds to the kernel's command line.
    pub(crate) arguments: String,
    /// Bytes of the image; `None`: a power of two that holds everything (as emulated cards have to be).
    pub(crate) size: Option<u64>,
}

/// What a partition holds.
pub(crate) enum Filling {
    /// These files, in this order, as a FAT: the first ones lie in one piece.
    Files(Vec<Item>),
    /// This directory as an ext4, all of it owned by root.
    Tree(PathBuf),
    /// Flash that was never written: `0xFF` throughout.
    Erased,
}

/// A file of a FAT.
pub(crate) struct Item {
    /// Its path there, with `/`.
    pub(crate) path: String,
    pub(crate) from: From,
}

impl Item {
    pub(crate) fn new(path: impl Into<String>, from: From) -> Self {
        Self { path: path.into(), from }
    }
}

/// Where bytes come from.
pub(crate) enum From {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl From {
    pub(crate) fn read(&self) -> Result<std::borrow::Cow<'_, [u8]>> {
        match self {
            Self::File(path) => Ok(super::read(path)?.into()),
            Self::Bytes(bytes) => Ok(bytes.into()),
        }
    }
}

/// Bytes at a place of a partition that its contents leave free: boot cells.
pub(crate) struct Patch {
    pub(crate) label: &'static str,
    /// The first byte, from the start of the partition.
    pub(crate) at: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Bytes at a place of the disk that belongs to no partition.
pub(crate) struct Blob {
    /// The first byte; a multiple of 512.
    pub(crate) at: u64,
    pub(crate) from: From,
}

impl ImageSource {
    /// The image of a board with what it alone decides: its partitions, its boot cells as a device leaves the factory
    /// with them (revision 0 is the default and the factory revision), an erased journal.
    pub(crate) fn of<B: Board>(table: Kind) -> Result<Self> {
        let mut source = Self {
            board: B::NAME.to_owned(),
            layout: B::LAYOUT,
            table,
            shape: B::SHAPE,
            fillings: Vec::new(),
            patches: Vec::new(),
            blobs: Vec::new(),
            arguments: String::new(),
            size: None,
        };
        for (place, bytes) in cells::factory::<B>()? {
            match place {
                Place::File(name) => source.add(Role::Firmware, Item::new(name, From::Bytes(bytes)))?,
                Place::Partition { role, at } => {
                    let partition = B::LAYOUT.partition(role).context("a cell has lost its partition")?;
                    source.patches.push(Patch { label: partition.label, at, bytes });
                }
            }
        }
        if let Some(journal) = B::LAYOUT.partition(Role::Journal) {
            source.fill(journal.label, Filling::Erased)?;
        }
        Ok(source)
    }

    /// Lays bytes into a partition from its byte `at` on, before the cells and labels that may lie among them.
    pub(crate) fn lay(&mut self, role: Role, at: u64, bytes: Vec<u8>) -> Result<()> {
        let Some(partition) = self.layout.partition(role) else {
            bail!("board {} has no partition for {role:?}", self.board);
        };
        let room = partition.size_kib.map_or(u64::MAX, |kib| u64::from(kib) << 10).saturating_sub(at);
        if bytes.len() as u64 > room {
            bail!("{} bytes do not fit into partition {}, which has room for {room}", bytes.len(), partition.label);
        }
        self.patches.insert(0, Patch { label: partition.label, at, bytes });
        Ok(())
    }

    /// Fills a partition that is not filled yet.
    pub(crate) fn fill(&mut self, label: &'static str, filling: Filling) -> Result<()> {
        if self.filling(label).is_some() {
            bail!("partition {label} is filled twice");
        }
        self.fillings.push((label, filling));
        Ok(())
    }

    /// Adds a file to a FAT, behind those that it has.
    pub(crate) fn add(&mut self, role: Role, item: Item) -> Result<()> {
        let Some(partition) = self.layout.partition(role) else {
            bail!("board {} has no partition for {role:?}, where {} should go", self.board, item.path);
        };
        let filled = self.fillings.iter_mut().find(|(label, _)| *label == partition.label);
        match filled {
            Some((_, Filling::Files(items))) => items.push(item),
            Some(_) => bail!("partition {} is no file system that files are added to", partition.label),
            None => self.fillings.push((partition.label, Filling::Files(vec![item]))),
        }
        Ok(())
    }

    pub(super) fn filling(&self, label: &str) -> Option<&Filling> {
        self.fillings.iter().find(|(name, _)| *name == label).map(|(_, filling)| filling)
    }
}
