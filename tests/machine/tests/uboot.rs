//! A real U-Boot in QEMU: typed at, reset, cut off and switched on again.
#![expect(clippy::unwrap_used, reason = "a test may stop")]

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use machine::{Disk, End, Error, Kind, Machine, Plan};

const BOOT: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(20);

const PROMPT: &str = "\n=> ";

/// An empty disk of 8 MiB.
fn empty_disk(dir: &Path) -> std::path::PathBuf {
    let image = dir.join("disk.img");
    File::create(&image).unwrap().set_len(8 << 20).unwrap();
    image
}

/// Up to the prompt.
fn interrupt(machine: &mut Machine) {
    machine.expect("Hit any key", BOOT).unwrap();
    machine.keyboard().unwrap().press(b" ").unwrap();
    machine.expect(PROMPT, SOON).unwrap();
}

#[test]
fn a_machine_is_typed_at_reset_and_cut_off_and_its_disk_and_port_stay() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("console.log");
    let plan = Plan::new(Kind::Arm64UBoot).memory(128).disk(Disk::of(empty_disk(dir.path())));
    let mut machine = plan.forward(12368).log(&log).build().unwrap();
    assert!(matches!(machine.send("version"), Err(Error::Power { on: false })));
    machine.start().unwrap();
    assert!(matches!(machine.start(), Err(Error::Power { on: true })));
    interrupt(&mut machine);
    machine.send("version").unwrap();
    let answer = machine.expect(PROMPT, SOON).unwrap().before;
    assert!(answer.contains("U-Boot 20"), "{answer}");
    assert_eq!(machine.status().unwrap(), "running");

    machine.send("reset").unwrap();
    machine.wait_event("RESET", SOON).unwrap();
    interrupt(&mut machine);
    machine.reset().unwrap();
    machine.wait_event("RESET", SOON).unwrap();
    interrupt(&mut machine);
    assert_eq!((machine.resets(), machine.starts()), (2, 1));

    machine.send("mw.b ${loadaddr} 5a 200; virtio scan; virtio write ${loadaddr} 7 1").unwrap();
    machine.expect("1 blocks written: OK", SOON).unwrap();
    let port = machine.port(12368).unwrap();
    machine.power_cut().unwrap();
    assert_eq!(machine.end(), Some(&End::Cut));
    machine.start().unwrap();
    interrupt(&mut machine);
    machine.send("virtio scan; virtio read ${loadaddr} 7 1; md.b ${loadaddr} 4").unwrap();
    machine.expect("5a 5a 5a 5a", SOON).unwrap();
    assert_eq!((machine.port(12368).unwrap(), machine.starts()), (port, 2));
    let end = machine.quit().unwrap();
    assert_eq!(end, End::Shutdown { by_guest: false, reason: "host-qmp-quit".into() });

    let log = fs::read_to_string(&log).unwrap();
    for text in ["== switched on (1)", "== RESET", "== off: power cut", "== switched on (2)", "DRAM:"] {
        assert!(log.contains(text), "no {text} in the log:\n{log}");
    }
}

#[test]
fn what_does_not_come_is_an_error_with_the_last_lines() {
    let mut machine = Plan::new(Kind::Arm64UBoot).memory(128).no_reboot().build().unwrap();
    machine.start().unwrap();
    interrupt(&mut machine);
    let late = machine.expect("a text that nobody says", Duration::from_millis(300)).unwrap_err();
    assert!(matches!(&late, Error::Late { tail, .. } if tail.contains("=>")), "{late}");

    let start = Instant::now();
    machine.send("reset").unwrap();
    let off = machine.expect("a text that nobody says", BOOT).unwrap_err();
    assert!(matches!(&off, Error::WentOff { end, .. } if end == "guest-reset"), "{off}");
    assert!(start.elapsed() < BOOT, "it was waited for a machine that is off");
    assert_eq!(machine.end(), Some(&End::Shutdown { by_guest: true, reason: "guest-reset".into() }));
}

#[test]
fn a_copy_takes_the_writes_and_the_log_has_each_of_them_after_a_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (image, writes) = (empty_disk(dir.path()), dir.path().join("writes, all"));
    let disk = Disk::copy_of(&image).log_writes(&writes);
    let mut machine = Plan::new(Kind::Arm64UBoot).memory(128).disk(disk).build().unwrap();
    machine.start().unwrap();
    interrupt(&mut machine);
    machine.send("mw.b ${loadaddr} 5a 200; virtio scan; virtio write ${loadaddr} 7 1").unwrap();
    machine.expect("1 blocks written: OK", SOON).unwrap();
    machine.power_cut().unwrap();

    assert!(fs::read(&image).unwrap().iter().all(|byte| *byte == 0), "the base was changed");
    let mut sector = [0; 512];
    let mut disk = File::open(machine.disk(0).unwrap()).unwrap();
    disk.seek(SeekFrom::Start(7 * 512)).unwrap();
    disk.read_exact(&mut sector).unwrap();
    assert_eq!(sector, [0x5a; 512]);

    let log = fs::read(&writes).unwrap();
    let number = |at: usize| u64::from_le_bytes(log[at..at + 8].try_into().unwrap());
    assert_eq!(number(0), 0x006a_7366_7773_6872);
    assert!(number(16) >= 1, "no entry");
    assert_eq!((number(512), number(520)), (7, 1), "the first entry: sector and count");
    assert_eq!(log[1024..1536], [0x5a; 512]);
}

#[test]
fn a_firmware_that_is_wrong_is_told_with_the_words_of_qemu() {
    let mut machine = Plan::new(Kind::Arm64UBoot).arg("-device").arg("no-such-device").build().unwrap();
    let error = machine.start().unwrap_err().to_string();
    assert!(error.contains("no-such-device"), "{error}");
    assert!(!machine.is_on());
}

#[test]
fn a_listener_gets_what_the_console_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut copy = File::create(dir.path().join("raw")).unwrap();
    let plan = Plan::new(Kind::Arm64UBoot).memory(128).listen(move |raw| copy.write_all(raw).unwrap());
    let mut machine = plan.build().unwrap();
    machine.start().unwrap();
    machine.expect("Hit any key", BOOT).unwrap();
    machine.power_cut().unwrap();
    let raw = fs::read(dir.path().join("raw")).unwrap();
    assert!(raw.windows(3).any(|window| window == b"Hit"));
}
