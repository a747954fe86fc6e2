//! A PC that was set up for the reference system, with GRUB, and goes on to boot by the script that it has.
//!
//! ```text
//!   storage    ext4    boot/grubenv              pv_rev, pv_try, and ours         written by Linux
//!                                                pv_trying                        written by GRUB, before it jumps
//!                      boot/journal.a, .b        made at the first boot           never read by GRUB
//!                      trails/REVISION/.pv/…     kernel, initramfs
//! ```
//!
//! As `takeover-uboot`, but the note of the firmware lies in the same block. Each writes the whole of it, and they never run
//! at the same time: GRUB writes before its jump, and Linux keeps the note, or clears it with the trial that it was for.
#![no_std]
#![forbid(unsafe_code)]

use boards_api::board::{Layout, Media, Role, Shared};
use boards_api::provision::{New, Piece};
use boards_api::slots::Places;
use boards_api::takeover::{self, Env, Grubenv, Text};
use boards_api::{Board, Booted, TrialKind};
use formats::bootenv::Error;

/// The board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TakeoverGrub;

impl Board for TakeoverGrub {
    const NAME: &'static str = "takeover-grub";
    const LAYOUT: Layout = takeover::LAYOUT;
    const TRIAL: TrialKind = TrialKind::Toggling;
    const PLACES: Places = Places::Trails;
    const SHARES: Option<Shared> = Some(Shared { name: Grubenv::NAME, length: takeover::LENGTH });
    type Env<M: Media> = Env<M::Files, Grubenv>;

    fn boot_env<M: Media>(media: &mut M) -> Option<Self::Env<M>> {
        media.files(Role::Wanted).map(Env::new)
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        takeover::provision::<Grubenv>(new, put)
    }

    fn booted(cmdline: &str) -> Option<Booted> {
        takeover::booted(cmdline)
    }
}
