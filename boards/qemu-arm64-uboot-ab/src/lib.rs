//! QEMU's arm64 machine with U-Boot and FIT images in two slots as a board: `generic-uboot-ab` as it can be run.
//!
//! ```text
//!   u-boot.bin ─▶ firmware/boot.scr ─▶ wanted, spent ─▶ labels ─▶ slot-a or slot-b: FIT image ─▶ cairn
//! ```
//!
//! Everything but the head of the script is what such boards have in common: [`boards_api::uboot_slots`].
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
pub struct QemuArm64UbootAb;

impl Board for QemuArm64UbootAb {
    const NAME: &'static str = "qemu-arm64-uboot-ab";
    const LAYOUT: Layout = uboot_slots::LAYOUT;
    const TRIAL: TrialKind = TrialKind::Counted;
    const PLACES: Places = Places::Slots(&uboot_slots::NAMES);
    const SHAPE: Option<Shape> = Some(uboot_slots::shape(Head::Plain));
    const BOOTS: &'static [Boots] = &[Boots::Fit];
    const RESTS: Rests = Rests::OnNothing;
    const SCRIPT: &'static [&'static str] = &[include_str!("head.cmd"), uboot::PICK, uboot_slots::JUMP];
    /// Debian's U-Boot has one environment, so its `env import -c` wants no flag.
    type Env<M: Media> = uboot::Env<M, false>;

    fn boot_env<M: Media>(media: &mut M) -> Option<Self::Env<M>> {
        uboot::boot_env(media)
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        uboot::provision::<false>(new, put)?;
        uboot_slots::labels(new, Head::Plain, put)
    }
}
