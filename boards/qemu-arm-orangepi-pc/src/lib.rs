//! An Orange Pi PC (armv7, Allwinner H3) on an SD card as a board, as QEMU has it.
//!
//! ```text
//!   KiB 1   8                     4096
//!       GPT │ SPL, U-Boot ─▶ firmware/boot.scr ─▶ wanted, spent ─▶ storage/trails/REVISION/.pv/ ─▶ cairn
//! ```
//!
//! The chip starts what lies at 8 KiB of the card, in the midst of where a GPT has its entries. So the table of this board
//! has 56 of them instead of 128, as the U-Boot of this chip makes it itself; that leaves it partitions with names.
#![no_std]
#![forbid(unsafe_code)]

use boards_api::board::{Layout, Media, Rests};
use boards_api::provision::{New, Piece};
use boards_api::slots::Places;
use boards_api::{Board, TrialKind, uboot};
use formats::bootenv::Error;

/// Where the chip looks for its first-stage loader, in bytes from the start of the card. It ends before 1 MiB.
pub const LOADER_AT: u64 = 8 << 10;

/// The loader: first stage and U-Boot in one file, and the Debian package (armhf) that has it. There is none for this
/// model; that of the Orange Pi Plus, which has the same chip, runs on it.
pub const LOADER: (&str, &str) = ("u-boot-sunxi", "usr/lib/u-boot/orangepi_plus/u-boot-sunxi-with-spl.bin");

/// The board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OrangePiPc;

impl Board for OrangePiPc {
    const NAME: &'static str = "qemu-arm-orangepi-pc";
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
