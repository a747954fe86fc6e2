//! QEMU's arm64 machine with U-Boot as a board: kernels in trails, cells in raw sectors, a script that counts.
//!
//! ```text
//!   u-boot.bin ─▶ firmware/boot.scr ─▶ wanted, spent ─▶ storage/trails/REVISION/.pv/ ─▶ cairn
//! ```
//!
//! Everything but the head of the script is what boards with a U-Boot have in common: [`boards_api::uboot`].
#![no_std]
#![forbid(unsafe_code)]

use boards_api::board::{Layout, Media, Rests};
use boards_api::provision::{New, Piece};
use boards_api::slots::Places;
use boards_api::{Board, TrialKind, uboot};
use formats::bootenv::Error;

/// The board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QemuArm64Uboot;

impl Board for QemuArm64Uboot {
    const NAME: &'static str = "qemu-arm64-uboot";
    const LAYOUT: Layout = uboot::LAYOUT;
    const TRIAL: TrialKind = TrialKind::Counted;
    const PLACES: Places = Places::Trails;
    const RESTS: Rests = Rests::OnNothing;
    const SCRIPT: &'static [&'static str] = &[include_str!("head.cmd"), uboot::PICK, uboot::TRAILS];
    /// Debian's U-Boot has one environment, so its `env import -c` wants no flag.
    type Env<M: Media> = uboot::Env<M, false>;

    fn boot_env<M: Media>(media: &mut M) -> Option<Self::Env<M>> {
        uboot::boot_env(media)
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        uboot::provision::<false>(new, put)
    }
}
