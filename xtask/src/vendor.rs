//! Boards that are not of this tree, and the workspace that they live in: what the tool of a vendor knows beside ours.
//!
//! ```ignore
//! // The whole tool of a vendor.
//! fn main() -> std::process::ExitCode {
//!     xtask::main_for(Vendor {
//!         root: concat!(env!("CARGO_MANIFEST_DIR"), "/.."),
//!         program: "acme-cairn",
//!         boards: const { &[AnyBoard::of::<board_acme::Acme>().like("qemu-arm64-uboot")] },
//!     })
//! }
//! ```
//!
//! Promises: a name of a vendor's board means that board in every command. Whatever is built or fetched, of Cairn too, goes
//! into the vendor's target directory; `CARGO_TARGET_DIR` makes it one for both.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use boards_api::Board;

use crate::cargo;
use crate::image::source::ImageSource;
use crate::image::table::Kind;

/// The boards of a vendor.
#[derive(Clone, Copy, Debug)]
pub struct Vendor {
    /// The directory of its workspace; recipes are in `bsp-containers/` there.
    pub root: &'static str,
    /// The package, and in it the program of the same name, that knows these boards.
    pub program: &'static str,
    /// The boards.
    pub boards: &'static [AnyBoard],
}

/// A board as a value.
#[derive(Clone, Copy, Debug)]
pub struct AnyBoard {
    name: &'static str,
    like: Option<&'static str>,
    image: fn(Kind) -> Result<ImageSource>,
    script: &'static [&'static str],
}

impl AnyBoard {
    /// The value of a board, whose firmware and machine are its own.
    #[must_use]
    pub const fn of<B: Board>() -> Self {
        Self { name: B::NAME, like: None, image: ImageSource::of::<B>, script: B::SCRIPT }
    }

    /// The same, with the firmware of a board of Cairn in its image, and on the machine that QEMU is for that board.
    #[must_use]
    pub const fn like(self, board: &'static str) -> Self {
        Self { like: Some(board), ..self }
    }

    pub(crate) fn image(&self, table: Kind) -> Result<ImageSource> {
        (self.image)(table)
    }
}

static VENDOR: OnceLock<Vendor> = OnceLock::new();

/// Once, before any command.
pub(crate) fn know(vendor: Vendor) {
    let _ = VENDOR.set(vendor);
}

fn find(name: &str) -> Option<(&'static Vendor, &'static AnyBoard)> {
    let vendor = VENDOR.get()?;
    Some((vendor, vendor.boards.iter().find(|board| board.name == name)?))
}

/// The board of a vendor with this name.
pub(crate) fn board(name: &str) -> Option<&'static AnyBoard> {
    find(name).map(|(_, board)| board)
}

/// Names of all of them.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    VENDOR.get().into_iter().flat_map(|vendor| vendor.boards).map(|board| board.name)
}

/// The workspace of a vendor, if this is the tool of one.
pub(crate) fn root() -> Option<&'static Path> {
    VENDOR.get().map(|vendor| Path::new(vendor.root))
}

/// Where the recipes of a board's kernel are.
pub(crate) fn recipes(board: &str) -> PathBuf {
    find(board).map_or(cargo::root(), |(vendor, _)| Path::new(vendor.root)).join("bsp-containers")
}

/// The board of this tree whose firmware and machine a board has: a board of ours is like itself.
pub(crate) fn like(name: &str) -> Option<&str> {
    find(name).map_or(Some(name), |(_, board)| board.like)
}

/// The boot script of a board as text. `None`: its firmware runs none, or there is no such board.
pub(crate) fn script(name: &str) -> Option<String> {
    let script = board(name).map(|board| board.script).or_else(|| Some(boards_all::entry(name)?.script))?;
    (!script.is_empty()).then(|| script.concat())
}

/// The machine that a board is in QEMU.
pub(crate) fn machine(name: &str) -> Result<machine::Kind> {
    let like = like(name).with_context(|| format!("{name} is like no board that QEMU has a machine for"))?;
    machine::Kind::of_board(like).with_context(|| {
        let known = machine::BOARDS.map(|(board, _)| board);
        format!("QEMU has no machine for {like}; it has for: {}", known.join(", "))
    })
}

/// The program of a device, as cargo builds it.
pub(crate) struct Program {
    /// The workspace.
    pub(crate) root: &'static Path,
    /// The package, and the program in it.
    pub(crate) package: &'static str,
}

impl Program {
    /// With the boards of this tree.
    pub(crate) fn ours() -> Self {
        Self { root: cargo::root(), package: "cairn" }
    }

    /// The one that knows this board.
    pub(crate) fn of_board(board: &str) -> Self {
        find(board)
            .map_or_else(Self::ours, |(vendor, _)| Self { root: Path::new(vendor.root), package: vendor.program })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_vendor_every_board_is_ours() {
        let program = Program::of_board("qemu-arm64-uboot");
        assert_eq!((program.root, program.package), (cargo::root(), "cairn"));
        assert!(board("qemu-arm64-uboot").is_none() && names().next().is_none());
        assert_eq!(recipes("acme"), cargo::root().join("bsp-containers"));
        assert_eq!(like("qemu-arm64-uboot"), Some("qemu-arm64-uboot"));
        assert_eq!(machine("qemu-arm64-uboot").unwrap(), machine::Kind::Arm64UBoot);
        assert!(machine("acme").unwrap_err().to_string().ends_with("qemu-arm-orangepi-pc"));
    }

    #[test]
    fn a_board_as_a_value_makes_the_image_that_its_type_makes() {
        let board = AnyBoard::of::<boards_all::QemuArm64Uboot>();
        let (ours, theirs) = (ImageSource::of::<boards_all::QemuArm64Uboot>(Kind::Gpt), board.image(Kind::Gpt));
        let patches = |source: ImageSource| source.patches.into_iter().map(|patch| patch.bytes).collect::<Vec<_>>();
        assert_eq!(patches(ours.unwrap()), patches(theirs.unwrap()));
        assert_eq!((board.like, board.like("rpi-tryboot").like), (None, Some("rpi-tryboot")));
    }

    #[test]
    fn a_board_has_a_script_if_its_firmware_runs_one() {
        assert!(script("qemu-arm64-uboot").is_some_and(|script| script.contains("cairn_role")));
        assert_eq!((script("rpi-tryboot"), script("acme")), (None, None));
    }
}
