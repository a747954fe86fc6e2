//! What the head of the script says, and the layout.

use board_generic_uboot_ab::UbootAb;
use boards_api::Board as _;
use boards_api::board::Role;
use boards_api::media::SECTOR;
use boards_api::slots::Slot;
use boards_api::uboot_slots::FIT_AT;

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
