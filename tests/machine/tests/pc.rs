//! A PC with UEFI: its firmware speaks on the serial line, is typed at, and switches it off.

use std::fs::File;
use std::time::Duration;

use machine::{Disk, End, Kind, Plan};

const BOOT: Duration = Duration::from_secs(120);

#[test]
fn a_pc_with_an_empty_disk_ends_in_the_shell_of_its_firmware_which_switches_it_off() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    File::create(&image).unwrap().set_len(8 << 20).unwrap();
    let mut machine = Plan::new(Kind::X86_64Uefi).disk(Disk::of(&image)).build().unwrap();
    machine.start().unwrap();
    machine.expect("Shell>", BOOT).unwrap();
    machine.send("ver").unwrap();
    machine.expect("UEFI v2", BOOT).unwrap();
    machine.expect("Shell>", BOOT).unwrap();
    machine.send("reset -s").unwrap();
    let end = machine.wait_off(BOOT).unwrap();
    assert_eq!(end, End::Shutdown { by_guest: true, reason: "guest-shutdown".into() });
}
