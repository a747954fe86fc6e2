//! What the firmware makes of `autoboot.txt`: read here as its documentation says, with none of our own readers.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it fails")]

use board_laws::media::{Device, Owned, pieces};
use board_rpi_tryboot::RpiTryboot;
use boards_api::Board;
use boards_api::board::Role;
use boards_api::provision::New;
use boards_api::slots::Places;
use sim::{Fuel, Tear};
use statemachine::boot::{Choice, Note, Spent, Trial, TrialKind, Wanted, pick};
use statemachine::ids::RevisionId;

fn id(name: &str) -> RevisionId {
    RevisionId::parse(name).unwrap()
}

fn wanted(nonce: u32, default: &str, trial: Option<&str>) -> Wanted {
    let trial = trial.map(|name| Trial { revision: id(name), max: 3, issued: 1 });
    Wanted { nonce, default: id(default), previous: None, factory: None, trial }
}

/// Slot a holds 0 and 2, which was made of it in place; slot b holds 1.
fn device(wanted: &Wanted) -> (Device, Vec<Owned>) {
    let (a, b) = ([id("0"), id("2")], [id("1")]);
    let pieces = pieces::<RpiTryboot>(&New { wanted, spent: Spent::default(), slots: &[&a, &b] }).unwrap();
    (Device::with::<RpiTryboot>(&pieces).unwrap(), pieces)
}

fn autoboot(device: &Device, pieces: &[Owned]) -> Vec<u8> {
    device.bytes(pieces.iter().find(|piece| piece.role == Role::Wanted).unwrap()).unwrap()
}

/// The partition that boots. 512 bytes; a section counts if its filter does; the last value counts; a line that begins with
/// `#` is a remark; lines end behind 98 characters. `None`: the first partition that can be booted.
fn boots(file: &[u8], tryboot: bool) -> Option<u32> {
    let text = String::from_utf8_lossy(&file[..file.len().min(512)]).into_owned();
    let (mut counts, mut partition) = (true, None);
    for line in text.lines().map(|line| line.chars().take(98).collect::<String>()) {
        match line.as_str() {
            "[all]" => counts = true,
            "[tryboot]" => counts = tryboot,
            "[none]" => counts = false,
            line if counts && !line.starts_with('#') => {
                partition = line.strip_prefix("boot_partition=").and_then(|digits| digits.parse().ok()).or(partition);
            }
            _ => {}
        }
    }
    partition
}

/// The slot of a revision, as the firmware numbers it.
fn partition_of(revision: &RevisionId) -> u32 {
    if *revision == id("1") { 3 } else { 2 }
}

#[test]
fn the_firmware_boots_what_pick_says_asked_or_not() {
    let values = [
        wanted(1, "0", None),
        wanted(2, "0", Some("1")),
        wanted(3, "1", None),
        wanted(4, "1", Some("2")),
        wanted(5, "2", None),
    ];
    let (device, pieces) = device(&values[0]);
    for wanted in &values {
        device.store::<RpiTryboot>(wanted).unwrap();
        for asked in [false, true] {
            let note = device.load::<RpiTryboot>().unwrap().1;
            let Choice::Revision(expected) = pick(TrialKind::OneShot, Some(wanted), &note, asked, 3).choice else {
                panic!("{wanted:?} is read");
            };
            let found = boots(&autoboot(&device, &pieces), asked);
            assert_eq!(found, Some(partition_of(&expected)), "{wanted:?}, asked: {asked}");
        }
    }
}

#[test]
fn power_that_goes_in_a_store_leaves_the_firmware_and_linux_with_one_opinion() {
    let (old, new) = (wanted(4, "1", Some("2")), wanted(5, "2", None));
    for (cut, tear) in (0..8).flat_map(|cut| Tear::ATOMIC.map(|tear| (cut, tear))) {
        let (device, pieces) = device(&old);
        device.power_on(&Fuel::limited(cut, tear, cut));
        let _ = device.store::<RpiTryboot>(&new);
        device.power_on(&Fuel::unlimited());
        let read = device.load::<RpiTryboot>().unwrap().0.unwrap();
        assert_eq!(boots(&autoboot(&device, &pieces), false), Some(partition_of(&read.default)), "cut {cut} {tear:?}");
    }
}

#[test]
fn a_revision_that_no_slot_holds_is_not_named() {
    let (device, pieces) = device(&wanted(1, "0", None));
    let before = autoboot(&device, &pieces);
    let error = device.store::<RpiTryboot>(&wanted(2, "7", None)).unwrap_err();
    assert_eq!(error, "autoboot.txt: the slots do not hold what it should name; place it first");
    device.store::<RpiTryboot>(&wanted(2, "0", Some("7"))).unwrap_err();
    assert_eq!(autoboot(&device, &pieces), before);
}

#[test]
fn a_trial_in_the_slot_of_the_default_would_be_no_trial_and_is_refused() {
    let (device, _) = device(&wanted(1, "0", None));
    device.store::<RpiTryboot>(&wanted(2, "0", Some("2"))).unwrap_err();
}

#[test]
fn the_partition_of_a_slot_is_the_one_that_the_firmware_counts() {
    let Places::Slots(names) = RpiTryboot::PLACES else { panic!("it has slots") };
    for (name, partition) in names.iter().zip(2..) {
        let label = format!("boot-{name}");
        let index = RpiTryboot::LAYOUT.partitions.iter().position(|partition| partition.label == label);
        assert_eq!(index.map(|index| index + 1), Some(partition));
    }
}

#[test]
fn there_is_never_a_note() {
    assert_eq!(device(&wanted(1, "0", None)).0.load::<RpiTryboot>().unwrap().1, Note::Read(Spent::default()));
}
