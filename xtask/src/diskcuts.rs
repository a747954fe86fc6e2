//! `powercut --board B`: makes the device whose disk is cut, then runs `tests/diskcuts` with it.
//!
//! ```text
//!   target/diskcuts/BOARD.img     the device as it leaves the factory
//!   target/diskcuts/BOARD/        its story: what was asked of the disk, consoles, disks that broke a law
//! ```

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use boards_api::slots::Places;

use crate::bsp::Conf;
use crate::explore::{self, Explorer};
use crate::run::board::alone;
use crate::term::Out;
use crate::{cargo, image};

/// Megabytes of its disk: room for three kernels on every board, and a power of two, as cards in QEMU are.
const SIZE: u32 = 512;

/// The board that the arguments name, if they name one.
pub(crate) fn board(args: &[String]) -> Option<&str> {
    let next = args.iter().position(|arg| arg == "--board").and_then(|at| args.get(at + 1));
    next.map(String::as_str).or_else(|| args.iter().find_map(|arg| arg.strip_prefix("--board=")))
}

/// Makes the device and passes the arguments on.
pub(crate) fn run(board: &str, args: &[String]) -> Result<ExitCode> {
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let out = if has("--json") { Out::Stderr } else { Out::Stdout };
    let target = cargo::target_directory()?;
    let dir = target.join("diskcuts");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let mut all = args.to_vec();
    let mut add = |name: &str, value: &std::path::Path| all.extend([name.to_owned(), value.display().to_string()]);
    add("--dir", &dir.join(board));
    add("--packages", &target.join("packages"));
    // A board that it refuses needs no image.
    let is_cut = machine::Kind::of_board(board).is_some()
        && boards_all::entry(board).is_some_and(|entry| entry.places == Places::Trails);
    if is_cut && !has("--again") && !has("--help") && !has("-h") {
        let output = dir.join(format!("{board}.img"));
        let _alone = alone()?;
        let (_, made) = image::for_story(board, &Conf::default(), "", SIZE, &output, out)?;
        add("--image", &output);
        add("--pvr", &made.pvr);
        add("--keys", &made.keys);
    }
    explore::run(Explorer::DISKCUTS, &all)
}

#[cfg(test)]
mod tests {
    use super::board;

    #[test]
    fn a_board_is_named_in_either_way() {
        let of = |text: &str| board(&text.split(' ').map(str::to_owned).collect::<Vec<_>>()).map(str::to_owned);
        assert_eq!(of("--seed 3 --board b").as_deref(), Some("b"));
        assert_eq!(of("--board=b --json").as_deref(), Some("b"));
        assert_eq!(of("--only grub-disk"), None);
    }
}
