//! The cells of this board in the eyes of the tool that comes with U-Boot.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

use board_generic_uboot_ab::UbootAb;
use boards_api::Board as _;
use boards_api::board::Role;
use boards_api::provision::{At, New};
use boards_api::uboot::APART;
use statemachine::boot::{Spent, Wanted};
use statemachine::ids::RevisionId;

/// A partition `wanted` as an image has it.
fn wanted_partition(path: &Path) -> File {
    let revision = |name| RevisionId::parse(name).unwrap();
    let wanted = Wanted {
        nonce: 4_000_000_000,
        default: revision("locals/now"),
        previous: None,
        factory: Some(RevisionId::factory()),
        trial: None,
    };
    let partition = File::create(path).unwrap();
    partition.set_len(2 * APART).unwrap();
    let new = New { wanted: &wanted, spent: Spent::default(), slots: &[&[], &[]] };
    UbootAb::provision(&new, &mut |piece| {
        if let (Role::Wanted, At::Byte(at)) = (piece.role, piece.at) {
            partition.write_all_at(piece.bytes, at).unwrap();
        }
    })
    .unwrap();
    partition
}

fn fw_printenv(config: &Path) -> String {
    let output = Command::new("fw_printenv").arg("-c").arg(config).output();
    let output = output.expect("fw_printenv of libubootenv-tool is missing: run `cargo xtask setup`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn fw_printenv_reads_the_cells_and_one_whole_copy_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let (place, config) = (dir.path().join("wanted"), dir.path().join("fw_env.config"));
    let partition = wanted_partition(&place);
    let line = |at| format!("{} 0x{at:x} 0x200\n", place.display());
    fs::write(&config, line(0) + &line(APART)).unwrap();
    for torn in [None, Some(0), Some(APART)] {
        let partition = torn.map_or_else(|| partition.try_clone().unwrap(), |_| wanted_partition(&place));
        if let Some(at) = torn {
            partition.write_all_at(&[0; 512], at).unwrap();
        }
        let said = fw_printenv(&config);
        for line in ["cairn_nonce=4000000000", "cairn_default=locals/now", "cairn_factory=0"] {
            assert!(said.lines().any(|said| said == line), "no {line}, copy {torn:?} torn:\n{said}");
        }
    }
}
