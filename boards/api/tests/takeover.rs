//! A file that others have left, brought into the form of a cell while power goes at any moment.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests; they never run on a device")]

use boards_api::BootEnv;
use boards_api::board::Shared;
use boards_api::cell::CellError;
use boards_api::media::Files;
use boards_api::takeover::{Env, FOREIGN_MAX, LENGTH, SPARE, UbootTxt, refit};
use sim::fs::SimFs;
use sim::{Fuel, Tear};
use statemachine::boot::{Trial, Wanted};
use statemachine::ids::RevisionId;

const TXT: Shared = Shared { name: "uboot.txt", length: LENGTH };

/// As the reference's writer leaves it: what it changes comes last, and zeros fill 64 KiB.
fn theirs(list: &[u8]) -> SimFs {
    let mut file = vec![0; FOREIGN_MAX];
    file[..list.len()].copy_from_slice(list);
    with(&file)
}

fn with(file: &[u8]) -> SimFs {
    let mut boot = SimFs::empty(&Fuel::unlimited());
    boot.create("uboot.txt", file);
    boot.fsync().unwrap();
    boot.checkpoint().unwrap();
    boot
}

fn refitted(boot: &mut SimFs) -> Result<bool, CellError<sim::fs::FsFault>> {
    refit(boot, &TXT, &mut vec![0; FOREIGN_MAX])
}

/// What a U-Boot without our help makes of the file: the variables up to the end of the list.
fn list(file: &[u8]) -> Vec<&[u8]> {
    file.split(|byte| *byte == 0).take_while(|entry| !entry.is_empty()).collect()
}

fn wanted(trial: Option<&str>) -> Wanted {
    let id = |name: &str| RevisionId::parse(name).unwrap();
    let trial = trial.map(|name| Trial { revision: id(name), max: 1, issued: 0 });
    Wanted { nonce: 0, default: id("4"), previous: None, factory: None, trial }
}

#[test]
fn what_the_reference_leaves_is_understood_and_then_replaced_in_place() {
    let mut boot = theirs(b"fdtfile=a.dtb\0pv_rev=4\0pv_try=5\0");
    assert_eq!(refitted(&mut boot), Ok(true));
    assert_eq!(refitted(&mut boot), Ok(false));
    let mut env = Env::<_, UbootTxt>::new(&mut boot);
    assert_eq!(env.load().0, Ok(wanted(Some("5"))));
    let next = Wanted { nonce: 1, default: RevisionId::parse("5").unwrap(), ..wanted(None) };
    env.store(&next).unwrap();
    assert_eq!(env.load().0, Ok(next));
    let seen = boot.read_unreplayed("uboot.txt").unwrap();
    assert_eq!(list(seen)[..3], [&b"fdtfile=a.dtb"[..], b"pv_rev=5", b"pv_try="]);
}

#[test]
fn at_every_moment_of_an_refit_the_firmware_reads_the_same() {
    const LIST: &[u8] = b"pv_try=\0other=x\0pv_rev=4\0";
    let mut counted = theirs(LIST);
    let fuel = Fuel::unlimited();
    counted.power_on(&fuel);
    refitted(&mut counted).unwrap();
    for (cut, tear) in (0..fuel.spent()).flat_map(|cut| Tear::ATOMIC.map(move |tear| (cut, tear))) {
        let mut boot = theirs(LIST);
        boot.power_on(&Fuel::limited(cut, tear, cut));
        let _ = refitted(&mut boot);
        let seen = boot.read_unreplayed("uboot.txt");
        let seen = seen.unwrap_or_else(|| panic!("cut {cut}, {tear:?}: a firmware finds no file"));
        assert_eq!(list(seen), list(LIST), "cut {cut}, {tear:?}");
        boot.power_on(&Fuel::unlimited());
        boot.mount().unwrap();
        refitted(&mut boot).unwrap();
        assert_eq!(Env::<_, UbootTxt>::new(&mut boot).load().0, Ok(wanted(None)), "cut {cut}, {tear:?}");
        assert_eq!(list(boot.read_unreplayed("uboot.txt").unwrap()), list(LIST));
    }
}

#[test]
fn the_second_file_does_not_stay() {
    let mut boot = theirs(b"pv_rev=4\0");
    boot.create(SPARE, b"of a refit that was cut");
    assert_eq!(refitted(&mut boot), Ok(true));
    assert!(boot.read(SPARE, &mut [0; FOREIGN_MAX]).is_err());
}

#[test]
fn a_short_file_is_filled_and_one_with_more_than_fits_is_left_alone() {
    let mut boot = with(b"pv_rev=4");
    assert_eq!(refitted(&mut boot), Ok(true));
    assert_eq!(Env::<_, UbootTxt>::new(&mut boot).load().0, Ok(wanted(None)));
    let mut long = b"pv_rev=4\0".to_vec();
    long.extend([b'x'; LENGTH]);
    let mut boot = with(&long);
    assert_eq!(refitted(&mut boot), Err(CellError::Length));
    assert_eq!(boot.read_unreplayed("uboot.txt"), Some(&long[..]));
}

/// As POSIX has it: a temporary file, synced, renamed, synced; and the barrier behind it.
fn renamed(boot: &mut SimFs) -> Result<(), sim::fs::FsFault> {
    boot.create(SPARE, b"pv_rev=4\0");
    boot.fsync()?;
    boot.rename(SPARE, "uboot.txt")?;
    boot.fsync()?;
    boot.checkpoint()
}

#[test]
fn a_rename_in_its_place_would_leave_a_firmware_without_a_file() {
    let mut counted = theirs(b"pv_rev=4\0");
    let fuel = Fuel::unlimited();
    counted.power_on(&fuel);
    renamed(&mut counted).unwrap();
    let without = (0..fuel.spent()).filter(|cut| {
        let mut boot = theirs(b"pv_rev=4\0");
        boot.power_on(&Fuel::limited(*cut, Tear::Old, *cut));
        let _ = renamed(&mut boot);
        boot.read_unreplayed("uboot.txt").is_none()
    });
    assert!(without.count() > 0);
}
