//! Every board of this tree, by its name: a row each.
//!
//! One program serves all boards of an architecture, so which one a device is, is said by a name. [`ENTRIES`] is what can
//! be said of a board without its type; [`with_board!`] goes from the name to the type. A vendor's board is no row here:
//! it brings a program of its own.
#![no_std]
#![forbid(unsafe_code)]

#[doc(hidden)]
pub use boards_api::Board;
use boards_api::TrialKind;
use boards_api::board::Layout;
use boards_api::slots::Places;

pub use board_generic_uboot_ab::UbootAb;
pub use board_host::Host;
pub use board_qemu_arm_orangepi_pc::OrangePiPc;
pub use board_qemu_arm64_uboot::QemuArm64Uboot;
pub use board_qemu_arm64_uboot_ab::QemuArm64UbootAb;
pub use board_qemu_x86_64_grub::QemuX86Grub;
pub use board_rpi_tryboot::RpiTryboot;
pub use board_takeover_grub::TakeoverGrub;
pub use board_takeover_uboot::TakeoverUboot;

/// The constants of a board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// [`Board::NAME`].
    pub name: &'static str,
    /// [`Board::LAYOUT`].
    pub layout: Layout,
    /// [`Board::TRIAL`].
    pub trial: TrialKind,
    /// [`Board::PLACES`].
    pub places: Places,
    /// [`Board::SCRIPT`].
    pub script: &'static [&'static str],
}

impl Entry {
    const fn of<B: Board>() -> Self {
        Self { name: B::NAME, layout: B::LAYOUT, trial: B::TRIAL, places: B::PLACES, script: B::SCRIPT }
    }
}

/// All boards.
pub const ENTRIES: &[Entry] = &[
    Entry::of::<Host>(),
    Entry::of::<QemuX86Grub>(),
    Entry::of::<QemuArm64Uboot>(),
    Entry::of::<QemuArm64UbootAb>(),
    Entry::of::<OrangePiPc>(),
    Entry::of::<UbootAb>(),
    Entry::of::<RpiTryboot>(),
    Entry::of::<TakeoverUboot>(),
    Entry::of::<TakeoverGrub>(),
];

/// The constants of the board with this name.
#[must_use]
pub fn entry(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// `with_board!(name, B => use_of::<B>())`: what comes of it for the board with this name; `None` if there is none.
///
/// A macro and no visitor, because each use has bounds of its own on what a board opens.
#[macro_export]
macro_rules! with_board {
    ($name:expr, $board:ident => $use:expr) => {{
        let name: &str = $name;
        $crate::with_board!(@ name, $board => $use;
            Host QemuX86Grub QemuArm64Uboot QemuArm64UbootAb OrangePiPc UbootAb RpiTryboot TakeoverUboot TakeoverGrub)
    }};
    (@ $name:ident, $board:ident => $use:expr; $($row:ident)*) => {
        $(if $name == <$crate::$row as $crate::Board>::NAME {
            type $board = $crate::$row;
            ::core::option::Option::Some($use)
        } else)* {
            ::core::option::Option::None
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_name_and_no_name_is_used_twice() {
        for (at, row) in ENTRIES.iter().enumerate() {
            assert_eq!(entry(row.name), Some(row));
            assert!(ENTRIES[..at].iter().all(|other| other.name != row.name), "{}", row.name);
        }
        assert_eq!(entry("none"), None);
    }

    #[test]
    fn the_macro_knows_the_boards_of_the_list_and_no_other() {
        for row in ENTRIES {
            assert_eq!(with_board!(row.name, B => Entry::of::<B>()), Some(*row));
        }
        assert_eq!(with_board!("none", B => B::NAME), None);
    }
}
