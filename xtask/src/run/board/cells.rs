//! The boot cells of a board as they stand in the image of its disk, read while a machine uses it or while it is off.
//!
//! ```text
//!   image ──▶ partition, or a file in the firmware's FAT ──▶ the board's own boot environment ──▶ Wanted, Spent
//! ```
//!
//! Promise: nothing is written. What a bootloader wrote and what Linux wrote is read by the same code as on the device.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use boards_all::{Board, with_board};
use boards_api::board::{Content, Layout, Media, Role};
use boards_api::env::BootEnv as _;
use metal::fat;
use metal::window::Window;
use statemachine::boot::{Note, Wanted};
use store::file::FileSectors;

use crate::image::cells::Never;
use crate::image::table::Placed;

/// What is read: the wish if it is whole, and the note.
pub(super) type Read = (Option<Wanted>, Note);

/// The cells of one disk.
pub(super) struct Cells(Box<dyn FnMut() -> Read>);

impl Cells {
    /// Finds them.
    pub(super) fn open(board: &str, image: &Path, partitions: &[Placed]) -> Result<Self> {
        let opened = with_board!(board, B => Self::of::<B>(image, partitions));
        opened.with_context(|| format!("there is no board {board}"))?
    }

    fn of<B: Board>(image: &Path, partitions: &[Placed]) -> Result<Self>
    where
        B::Env<OnImage>: 'static,
    {
        let mut media = OnImage {
            image: image.to_owned(),
            partitions: partitions.to_vec(),
            layout: B::LAYOUT,
            preallocated: B::PREALLOCATED,
            failed: None,
        };
        let Some(mut env) = B::boot_env(&mut media) else {
            bail!("no boot cells in {}: {}", image.display(), media.failed.unwrap_or_default());
        };
        Ok(Self(Box::new(move || {
            let (wanted, note) = env.load();
            (wanted.ok(), note)
        })))
    }

    /// As they stand now.
    pub(super) fn read(&mut self) -> Read {
        (self.0)()
    }
}

/// The media of a device, all in one file.
struct OnImage {
    image: PathBuf,
    partitions: Vec<Placed>,
    layout: Layout,
    preallocated: &'static [(Role, &'static str)],
    failed: Option<String>,
}

impl OnImage {
    fn partition(&self, role: Role) -> Result<Window<FileSectors>> {
        let label =
            self.layout.partition(role).with_context(|| format!("the board has no partition for {role:?}"))?.label;
        let placed = self.partitions.iter().find(|placed| placed.label == label);
        let placed = placed.with_context(|| format!("the image has no partition {label}"))?;
        Ok(Window::new(FileSectors::open(&self.image)?, placed.start(), placed.bytes())?)
    }

    fn cell(&self, role: Role) -> Result<Window<FileSectors>> {
        if self.layout.partition(role).is_some_and(|partition| partition.content == Content::Raw) {
            return self.partition(role);
        }
        let name = self.preallocated.iter().find(|(of, _)| *of == role).map(|(_, name)| *name);
        let name = name.with_context(|| format!("the board has no cell for {role:?}"))?;
        let firmware = self.layout.partition(Role::Firmware).context("the board has no firmware")?.label;
        let firmware = self.partitions.iter().find(|placed| placed.label == firmware).context("no firmware")?;
        let place = fat::locate(&mut self.partition(Role::Firmware)?, name)?;
        Ok(Window::new(FileSectors::open(&self.image)?, firmware.start() + place.at, place.length.into())?)
    }
}

impl Media for OnImage {
    type Sectors = Window<FileSectors>;
    type Files = Never;

    fn sectors(&mut self, role: Role) -> Option<Window<FileSectors>> {
        self.cell(role).map_err(|error| self.failed = Some(format!("{error:#}"))).ok()
    }

    fn files(&mut self, _: Role) -> Option<Never> {
        None
    }
}
