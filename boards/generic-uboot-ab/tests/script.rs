//! Numbers and names that stand in the script and in the layout.

use board_generic_uboot_ab::UbootAb;
use boards_api::Board as _;
use boards_api::board::Role;
use boards_api::media::SECTOR;
use boards_api::slots::Slot;
use boards_api::uboot_slots::{FIT_AT, LABELS_AT, NAMES};

fn sectors(bytes: u64) -> String {
    format!("{:x}", bytes / SECTOR as u64)
}

#[test]
fn the_script_finds_label_and_image_where_they_are() {
    let script = UbootAb::SCRIPT.concat();
    assert!(script.contains(&format!("for cairn_name in {}; do", NAMES.join(" "))));
    let [first, second] = LABELS_AT;
    assert_eq!(script.matches(&format!("${{cairn_first}} + {}\n", sectors(second - first))).count(), 2);
    assert!(script.contains(&format!("${{cairn_first}} + {}\n", sectors(FIT_AT))));
}

#[test]
fn what_is_read_of_a_slot_or_of_recovery_does_not_end_behind_it() {
    let script = UbootAb::SCRIPT.concat();
    let read = script.lines().find_map(|line| line.strip_prefix("setenv cairn_fit_sectors ")).unwrap();
    let read = u64::from_str_radix(read, 16).unwrap() * SECTOR as u64;
    for (role, at) in [(Role::Slot(Slot(0)), FIT_AT), (Role::Slot(Slot(1)), FIT_AT), (Role::Recovery, 0)] {
        let kib = UbootAb::LAYOUT.partition(role).unwrap().size_kib.unwrap();
        assert!(at + read <= u64::from(kib) << 10, "{role:?}");
    }
}
