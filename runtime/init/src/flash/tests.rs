//! The journal of a device in every state in which a boot can find it.

use sim::fs::SimFs;
use sim::nor::{SimNor, Writes};
use sim::{Fuel, Tear};
use statemachine::boot::{Note, Spent};
use statemachine::ids::Digest;
use statemachine::journal::{Known, Record};
use statemachine::limits::Limits;
use statemachine::update::Event;

use super::*;
use crate::driver::{Driver, Hands};

type Nor = SimNor<4, 4096>;
type Device = DeviceFlash<Nor, Cells, SimFs>;

/// Boot cells in memory.
#[derive(Clone)]
struct Cells(Option<Wanted>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Torn;

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cells are torn")
    }
}

impl std::error::Error for Torn {}

impl BootEnv for Cells {
    type Error = Torn;

    fn load(&mut self) -> (Result<Wanted, Torn>, Note) {
        (self.0.clone().ok_or(Torn), Note::Read(Spent { nonce: 5, boots: 1 }))
    }

    fn store(&mut self, wanted: &Wanted) -> Result<(), Torn> {
        self.0 = Some(wanted.clone());
        Ok(())
    }
}

fn revision(name: &str) -> RevisionId {
    RevisionId::parse(name).unwrap()
}

fn wanted() -> Wanted {
    Wanted { nonce: 5, default: revision("7"), previous: None, factory: Some(revision("0")), trial: None }
}

fn known(name: &str, digest: u8) -> Known {
    Known { revision: revision(name), digest: Some(Digest([digest; 32])) }
}

fn erased() -> Nor {
    Nor::erased(4, Writes::Once, &Fuel::unlimited())
}

fn filled(with: u8) -> Nor {
    let mut flash = erased();
    flash.fill(with);
    flash
}

fn device(a: Nor, b: Nor) -> Device {
    let journal = store::journal::Journal::new(a, b).unwrap();
    DeviceFlash::new(journal, Cells(Some(wanted())), SimFs::empty(&Fuel::unlimited()))
}

/// A device whose journal holds these bytes.
fn holding(bytes: &[u8]) -> Device {
    let mut made = device(erased(), erased());
    assert_eq!(made.journal.write(bytes), Ok(Copies::Both));
    made
}

fn bytes_of(journal: &Journal) -> Vec<u8> {
    let mut bytes = [0; MAX_LEN];
    let length = encode(journal, &mut bytes).unwrap();
    bytes[..length].to_vec()
}

/// Reads a boot of this revision; what was reported comes along.
fn booted(device: &mut Device, running: &str) -> (Boot, Vec<String>) {
    let started = Started {
        kind: TrialKind::Counted,
        running: Running::Revision(revision(running)),
        marked: false,
        factory: Some(revision("0")),
    };
    let mut reports = Vec::new();
    let boot =
        device.read_boot(started, |_| panic!("asked in recovery only"), &mut |what| reports.push(what.to_string()));
    (boot, reports)
}

/// The flash of the journal's regions as a later boot finds it.
fn again(device: Device) -> Device {
    let (journal, env, files) = device.into_parts();
    DeviceFlash::new(journal, env, files)
}

/// Changes both regions while the device runs.
fn meanwhile(device: &mut Device, change: impl Fn(&mut Nor)) {
    let spare = store::journal::Journal::new(erased(), erased()).unwrap();
    let (mut a, mut b) = std::mem::replace(&mut device.journal, spare).into_flash();
    change(&mut a);
    change(&mut b);
    device.journal = store::journal::Journal::new(a, b).unwrap();
}

/// A journal whose body is of version 9, with the checksum that makes it whole.
fn newer() -> Vec<u8> {
    let mut journal = Journal::factory(known("7", 7));
    journal.header.condemned.add(Digest([1; 32]));
    let mut bytes = bytes_of(&journal);
    bytes[650] = 9;
    let end = bytes.len() - 4;
    let checksum = match decode(&bytes) {
        Err(formats::journal::Error::Checksum { computed, .. }) => computed,
        other => panic!("{other:?}"),
    };
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

#[test]
fn what_is_persisted_is_what_the_next_boot_reads() {
    let mut device = device(erased(), erased());
    let (boot, reports) = booted(&mut device, "7");
    assert_eq!((boot.journal, boot.wanted), (None, Some(wanted())));
    assert_eq!(reports, ["the journal is empty"]);
    let journal = Journal::factory(known("7", 7));
    assert_eq!(device.persist(&journal), Ok(()));
    assert_eq!(device.copies(), Some(Copies::Both));
    assert_eq!(Flash::journal(&mut device), Ok(journal.clone()));
    let (boot, reports) = booted(&mut again(device), "7");
    assert_eq!(boot.journal, Some(journal));
    assert_eq!(reports, Vec::<String>::new());
}

#[test]
fn nothing_is_written_before_the_journal_was_read() {
    let mut device = device(filled(0x5A), filled(0x5A));
    assert_eq!(device.persist(&Journal::factory(known("7", 7))), Err(FlashError::NotRead));
    assert_eq!(device.into_parts().0.into_flash().0.bytes(), filled(0x5A).bytes());
}

#[test]
fn an_unreadable_journal_is_erased_by_an_order_and_not_by_reading() {
    let mut device = device(filled(0x5A), filled(0));
    let (boot, reports) = booted(&mut device, "7");
    assert_eq!(boot.journal, None);
    assert_eq!(reports.len(), 2, "{reports:?}");
    let mut device = again(device);
    booted(&mut device, "7");
    let journal = Journal::factory(known("7", 7));
    assert_eq!(device.persist(&journal), Ok(()));
    assert_eq!(booted(&mut again(device), "7").0.journal, Some(journal));
}

#[test]
fn a_journal_that_becomes_unreadable_after_it_was_read_is_not_erased() {
    let mut device = holding(&bytes_of(&Journal::factory(known("7", 7))));
    let (boot, _) = booted(&mut device, "7");
    assert!(boot.journal.is_some());
    meanwhile(&mut device, |flash| flash.fill(0x5A));
    assert_eq!(device.persist(&Journal::factory(known("8", 8))), Err(FlashError::Journal(Error::Unreadable)));
    assert_eq!(Flash::journal(&mut device), Err(FlashError::Journal(Error::Unreadable)));
    assert_eq!(device.into_parts().0.into_flash().0.bytes(), filled(0x5A).bytes());
}

#[test]
fn a_newer_body_stays_until_what_runs_becomes_the_default() {
    let mut device = holding(&newer());
    let (boot, reports) = booted(&mut device, "8");
    assert_eq!(boot.journal, None);
    assert!(reports.iter().any(|report| report.contains("version 9")), "{reports:?}");
    // The machine goes on from the head, and condemns what it tries.
    let mut told = Journal::factory(known("7", 7));
    told.header = boot.head.unwrap();
    told.header.attempts = 2;
    told.header.condemned.add(Digest([8; 32]));
    assert_eq!(device.persist(&told), Ok(()));
    assert_eq!(Flash::journal(&mut device), Ok(told), "the machine finds what it wrote");
    let mut device = again(device);
    let decoded = device.read().unwrap();
    assert_eq!((decoded.body, decoded.overtaken), (Body::Newer { version: 9 }, true));
    assert_eq!((decoded.header.attempts, decoded.header.default), (2, known("7", 7)));
    assert!([1, 8].iter().all(|digest| decoded.header.condemned.holds(&Digest([*digest; 32]))));
    // Now it commits itself.
    let (boot, _) = booted(&mut device, "8");
    let mut own = Journal::factory(known("8", 8));
    own.header.condemned = boot.head.unwrap().condemned;
    assert_eq!(device.persist(&own), Ok(()));
    assert_eq!(Flash::journal(&mut device), Ok(own.clone()));
    let (boot, _) = booted(&mut again(device), "8");
    let read = boot.journal.unwrap();
    assert_eq!((read.header.default, read.body), (own.header.default, own.body));
    assert!([1, 8].iter().all(|digest| read.header.condemned.holds(&Digest([*digest; 32]))));
}

#[test]
fn a_newer_journal_that_becomes_unreadable_is_not_erased_either() {
    let mut device = holding(&newer());
    booted(&mut device, "8");
    meanwhile(&mut device, |flash| flash.fill(0x5A));
    let unreadable = Err(FlashError::Journal(Error::Unreadable));
    assert_eq!(device.persist(&Journal::factory(known("8", 8))), unreadable);
    assert_eq!(device.into_parts().0.into_flash().0.bytes(), filled(0x5A).bytes());
}

#[test]
fn a_failed_write_is_read_back_as_old_or_new() {
    let (old, mut new) = (Journal::factory(known("7", 7)), Journal::factory(known("8", 8)));
    new.body.record = Record::Updated(revision("8"));
    let (mut seen_old, mut seen_new) = (false, false);
    for operations in 0..2000 {
        let mut device = holding(&bytes_of(&old));
        booted(&mut device, "7");
        let fuel = Fuel::limited(operations, Tear::Garbage, operations);
        meanwhile(&mut device, |flash| flash.power_on(&fuel));
        if device.persist(&new).is_ok() {
            assert!(seen_old && seen_new, "no cut has shown both");
            return;
        }
        assert_eq!(device.copies(), None);
        meanwhile(&mut device, |flash| flash.power_on(&Fuel::unlimited()));
        match Flash::journal(&mut device) {
            Ok(journal) if journal == old => seen_old = true,
            Ok(journal) if journal == new => seen_new = true,
            other => panic!("after {operations} operations: {other:?}"),
        }
    }
    panic!("no number of operations is enough");
}

#[test]
fn the_barrier_is_that_of_the_file_system_and_its_failure_is_told() {
    let mut device = device(erased(), erased());
    device.files.create("kernel", b"bytes");
    device.files.fsync().unwrap();
    assert_eq!(device.files.read_unreplayed("kernel"), None);
    assert_eq!(device.sync(), Ok(()));
    assert_eq!(device.files.read_unreplayed("kernel"), Some(&b"bytes"[..]));
    // Enough for the data and for the journal, and not for bringing it home.
    device.files = SimFs::empty(&Fuel::limited(2, Tear::Old, 1));
    device.files.create("kernel", b"bytes");
    device.files.fsync().unwrap();
    assert!(matches!(device.sync(), Err(FlashError::Barrier(_))));
}

#[test]
fn in_recovery_the_default_is_verified_even_if_only_the_journal_names_it() {
    let mut device = holding(&bytes_of(&Journal::factory(known("9", 9))));
    device.env = Cells(None);
    let started = Started { kind: TrialKind::Counted, running: Running::Recovery, marked: true, factory: None };
    let mut asked = Vec::new();
    let mut reports = Vec::new();
    let verifies = |default: &RevisionId| {
        asked.push(default.to_string());
        true
    };
    let boot = device.read_boot(started, verifies, &mut |what| reports.push(what.to_string()));
    assert_eq!((boot.wanted, boot.default_verifies, boot.marked), (None, true, true));
    assert_eq!((asked, reports), (vec!["9".to_owned()], vec!["the cells are torn".to_owned()]));
}

struct NoHands;

impl Hands for NoHands {
    fn carry_out(&mut self, _: statemachine::update::Effect, _: &statemachine::update::Machine) {}

    fn took(&mut self, _: &Event, _: &statemachine::update::Machine) {}

    fn failed(&mut self, order: &statemachine::update::Effect, error: &dyn fmt::Display) {
        panic!("{order:?}: {error}");
    }
}

#[test]
fn the_driver_opens_the_boot_of_a_device_whose_journal_was_lost() {
    let mut device = device(filled(0), filled(0));
    let (boot, _) = booted(&mut device, "7");
    let mut driver = Driver::new(Limits::FIELD);
    driver.take(Event::Booted(boot), &mut device, &mut NoHands);
    let read = Flash::journal(&mut device).unwrap();
    assert_eq!(read.body.open, Some(revision("7")));
    assert_eq!(&read, driver.machine().journal());
    assert!(Flash::wanted(&mut device).unwrap().nonce > 5, "the boot is counted by the journal from now on");
}

/// A device at rest on its default, and its driver.
fn at_rest() -> (Device, Driver) {
    let mut device = holding(&bytes_of(&Journal::factory(known("7", 7))));
    let (boot, _) = booted(&mut device, "7");
    let mut driver = Driver::new(Limits::FIELD);
    driver.take(Event::Booted(boot), &mut device, &mut NoHands);
    (device, driver)
}

#[test]
fn what_stands_is_written_once_more_as_it_is_and_only_at_rest() {
    let (mut device, driver) = at_rest();
    let before = (device.record().unwrap(), device.env.0.clone());
    assert!(driver.rewrite(&mut device).unwrap().iter().all(|(_, found)| found.is_ok()));
    assert_eq!((device.record().unwrap(), device.env.0.clone()), before);
    assert_eq!(Driver::new(Limits::FIELD).rewrite(&mut device), None, "nothing is known before the first fact");
}

#[test]
fn a_cut_in_a_write_of_what_stands_leaves_it_standing() {
    let (device, driver) = at_rest();
    let (journal, env, _) = device.into_parts();
    let (a, b) = journal.into_flash();
    for operations in 0..2000 {
        let fuel = Fuel::limited(operations, Tear::Garbage, operations);
        let (mut a, mut b) = (a.clone(), b.clone());
        a.power_on(&fuel);
        b.power_on(&fuel);
        let journal = store::journal::Journal::new(a, b).unwrap();
        let mut device = DeviceFlash::new(journal, env.clone(), SimFs::empty(&fuel));
        device.told = Told::Journal;
        let [(_, written), ..] = driver.rewrite(&mut device).unwrap();
        meanwhile(&mut device, |flash| flash.power_on(&Fuel::unlimited()));
        assert_eq!(
            Flash::journal(&mut device).as_ref(),
            Ok(driver.machine().journal()),
            "after {operations} operations"
        );
        if written.is_ok() {
            assert!(operations > 0, "nothing was cut");
            return;
        }
    }
    panic!("no number of operations is enough");
}

#[test]
fn a_medium_that_gives_back_something_else_is_told() {
    let (mut device, driver) = at_rest();
    device.files = SimFs::empty(&Fuel::limited(2, Tear::Old, 1));
    device.files.create("kernel", b"bytes");
    device.files.fsync().unwrap();
    let [journal, wanted, barrier] = driver.rewrite(&mut device).unwrap();
    assert_eq!((journal.1.is_ok(), wanted.1.is_ok(), barrier.0), (true, true, "barrier"));
    assert!(barrier.1.unwrap_err().contains("no barrier"));
    meanwhile(&mut device, |flash| flash.fill(0x5A));
    let [journal, ..] = driver.rewrite(&mut device).unwrap();
    assert!(journal.1.unwrap_err().contains("not written"));
}
