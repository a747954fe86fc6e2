//! A U-Boot with two environments and FIT images in two raw partitions as a board: the one to adapt for a device whose
//! kernels do not lie in a file system, or whose U-Boot verifies signed images.
//!
//! ```text
//!   u-boot ─▶ firmware/boot.scr ─▶ wanted, spent ─▶ labels ─▶ slot-a or slot-b: FIT image ─▶ cairn
//! ```
//!
//! Both cells and labels are as `saveenv` writes a redundant environment, so `fw_printenv` reads them. Everything but the head
//! of the script is what such boards have in common: [`boards_api::uboot_slots`]. What was never run is in `README.md`.
#![no_std]
#![forbid(unsafe_code)]

use boards_api::board::{Layout, Media, Rests};
use boards_api::provision::{New, Piece};
use boards_api::slots::{Boots, Places, Shape};
use boards_api::{Board, TrialKind, uboot, uboot_slots};
use formats::bootenv::Error;
use formats::bootenv::uboot::Head;

/// The board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UbootAb;

impl Board for UbootAb {
    const NAME: &'static str = "generic-uboot-ab";
    const LAYOUT: Layout = uboot_slots::LAYOUT;
    const TRIAL: TrialKind = TrialKind::Counted;
    const PLACES: Places = Places::Slots(&uboot_slots::NAMES);
    const SHAPE: Option<Shape> = Some(uboot_slots::shape(Head::Flagged));
    const BOOTS: &'static [Boots] = &[Boots::Fit];
    const RESTS: Rests = Rests::OnNothing;
    const SCRIPT: &'static [&'static str] = &[include_str!("head.cmd"), uboot::PICK, uboot_slots::JUMP];
    type Env<M: Media> = uboot::Env<M, true>;

    fn boot_env<M: Media>(media: &mut M) -> Option<Self::Env<M>> {
        uboot::boot_env(media)
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        uboot::provision::<true>(new, put)?;
        uboot_slots::labels(new, Head::Flagged, put)
    }
}
