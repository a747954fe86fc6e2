//! A device that was set up for the reference system, with U-Boot, and goes on to boot by the script that it has.
//!
//! ```text
//!   firmware   FAT     pv.env                    pv_trying                        written by U-Boot, before it jumps
//!   storage    ext4    boot/uboot.txt            pv_rev, pv_try, and ours         written by Linux
//!                      boot/journal.a, .b        made at the first boot           never read by U-Boot
//!                      trails/REVISION/.pv/…     kernel, initramfs, device tree
//! ```
//!
//! Its firmware is of the toggling kind: of two boots with `pv_try` it takes that once and `pv_rev` once. It counts nothing, knows
//! no previous revision and has no recovery. Nothing of it is ours, so nothing of it is written.
#![no_std]
#![forbid(unsafe_code)]

use boards_api::board::{Layout, Media, Role, Shared};
use boards_api::provision::{New, Piece};
use boards_api::slots::{Boots, Places};
use boards_api::takeover::{self, Env, Text, UbootTxt};
use boards_api::{Board, Booted, TrialKind};
use formats::bootenv::Error;

/// The board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TakeoverUboot;

impl Board for TakeoverUboot {
    const NAME: &'static str = "takeover-uboot";
    const LAYOUT: Layout = takeover::LAYOUT;
    const TRIAL: TrialKind = TrialKind::Toggling;
    const PLACES: Places = Places::Trails;
    // Its script takes the image of a revision, and its three files where there is none.
    const BOOTS: &'static [Boots] = &[Boots::Linux, Boots::Fit];
    const SHARES: Option<Shared> = Some(Shared { name: UbootTxt::NAME, length: takeover::LENGTH });
    type Env<M: Media> = Env<M::Files, UbootTxt>;

    fn boot_env<M: Media>(media: &mut M) -> Option<Self::Env<M>> {
        media.files(Role::Wanted).map(Env::new)
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        takeover::provision::<UbootTxt>(new, put)
    }

    fn booted(cmdline: &str) -> Option<Booted> {
        takeover::booted(cmdline)
    }
}
