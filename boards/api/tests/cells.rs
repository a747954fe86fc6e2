//! What each cell promises, on the simulated medium that it names. Cuts at every operation: `tests/powercut`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests; they never run on a device")]

use boards_api::BootEnv;
use boards_api::cell::{Cell, CellError, ExchangedFile, OneSector, RawPair, SectorFile};
use boards_api::codecs::{Grub, Raw};
use boards_api::env::{CellEnv, Codec, EnvError};
use boards_api::media::SECTOR;
use formats::bootenv::raw;
use formats::bootenv::uboot::Head;
use sim::Fuel;
use sim::block::SimBlock;
use sim::fs::SimFs;
use statemachine::boot::{Note, Spent, Trial, Wanted};
use statemachine::ids::RevisionId;

const AT: [u64; 2] = [0, 8 * SECTOR as u64];

fn wanted(nonce: u32) -> Wanted {
    let revision = |name| RevisionId::parse(name).unwrap();
    Wanted {
        nonce,
        default: revision("2"),
        previous: Some(revision("1")),
        factory: Some(RevisionId::factory()),
        trial: Some(Trial { revision: revision("locals/next"), max: 3, issued: 0 }),
    }
}

fn encoded<C: Codec>(nonce: u32) -> Vec<u8> {
    let mut bytes = [0; 2 * SECTOR];
    let length = C::encode_wanted(&wanted(nonce), &mut bytes).map_err(|error| error.to_string()).unwrap();
    bytes[..length].to_vec()
}

fn disk() -> SimBlock {
    SimBlock::filled(32, 0, &Fuel::unlimited())
}

fn pair(disk: SimBlock) -> RawPair<SimBlock, Raw<false>> {
    RawPair::new(disk, AT)
}

fn nonce<C: Codec>(cell: &mut impl Cell) -> Option<u32> {
    let mut bytes = [0; 2 * SECTOR];
    let length = cell.read(&mut bytes).ok()?;
    C::decode_wanted(&bytes[..length]).ok().map(|wanted| wanted.nonce)
}

#[test]
fn either_copy_of_a_pair_may_rot_and_the_value_stays() {
    for at in AT {
        let mut cell = pair(disk());
        cell.replace(&encoded::<Raw<false>>(7)).unwrap();
        let mut disk = cell.into_inner();
        disk.damage(at as usize, &[0x5A; SECTOR]);
        assert_eq!(nonce::<Raw<false>>(&mut pair(disk)), Some(7));
    }
}

#[test]
fn a_replacement_repairs_what_an_earlier_cut_has_left() {
    let mut cell = pair(disk());
    cell.replace(&encoded::<Raw<false>>(7)).unwrap();
    // The first copy took 8, and power went before the second.
    let mut disk = cell.into_inner();
    disk.damage(0, &encoded::<Raw<false>>(8));
    // Power goes in the first write behind the repair: what is uncovered is 8 and not 7.
    disk.power_on(&Fuel::limited(3, sim::Tear::Garbage, 1));
    let mut cell = pair(disk);
    cell.replace(&encoded::<Raw<false>>(9)).unwrap_err();
    let mut disk = cell.into_inner();
    disk.power_on(&Fuel::unlimited());
    assert_eq!(nonce::<Raw<false>>(&mut pair(disk)), Some(8));
}

#[test]
fn a_pair_that_was_never_written_holds_nothing_rather_than_a_default() {
    assert_eq!(pair(disk()).read(&mut [0; SECTOR]), Err(CellError::NotWhole));
}

#[test]
fn a_pair_takes_nothing_that_its_bootloader_could_not_read() {
    assert_eq!(pair(disk()).replace(&[0x5A; SECTOR]), Err(CellError::Length));
}

#[test]
fn a_cell_of_one_sector_refuses_to_change_a_second_one() {
    let mut start = disk();
    start.damage(0, &encoded::<Grub>(7));
    let mut cell = OneSector::new(start, 0, 2 * SECTOR);
    cell.replace(&encoded::<Grub>(8)).unwrap();
    assert_eq!(nonce::<Grub>(&mut cell), Some(8));
    let mut other = encoded::<Grub>(9);
    other[SECTOR] ^= 1;
    assert_eq!(cell.replace(&other), Err(CellError::BehindFirstSector));
    assert_eq!(nonce::<Grub>(&mut cell), Some(8));
}

fn files() -> SimFs {
    let mut fs = SimFs::empty(&Fuel::unlimited());
    fs.create("cell", &encoded::<Grub>(7));
    fs.create("spare", &encoded::<Grub>(7));
    fs.fsync().unwrap();
    fs.mount().unwrap();
    fs
}

#[test]
fn a_cell_in_a_file_is_seen_by_a_reader_that_replays_nothing() {
    let new = encoded::<Grub>(8);
    let mut exchanged = ExchangedFile::new(files(), "cell", "spare");
    exchanged.replace(&new).unwrap();
    assert_eq!(exchanged.into_inner().read_unreplayed("cell"), Some(&new[..]));
    let mut in_place = SectorFile::new(files(), "cell");
    in_place.replace(&new).unwrap();
    assert_eq!(in_place.into_inner().read_unreplayed("cell"), Some(&new[..]));
}

#[test]
fn what_is_stored_is_loaded_beside_the_bootloaders_note() {
    let mut notes = disk();
    let spent = Spent { nonce: 7, boots: 2 };
    notes.damage(0, &raw::encode_spent(&spent, Head::Plain).unwrap());
    let note = OneSector::new(notes, 0, SECTOR);
    let mut env = CellEnv::<_, _, Raw<false>>::new(pair(disk()), note);
    env.store(&wanted(7)).unwrap();
    env.store(&wanted(7)).unwrap();
    assert_eq!(env.load(), (Ok(wanted(7)), Note::Read(spent)));
}

#[test]
fn garbage_is_an_error_and_an_unreadable_note() {
    let garbage = || SimBlock::filled(32, 0x5A, &Fuel::unlimited());
    let note = OneSector::new(garbage(), 0, SECTOR);
    let mut env = CellEnv::<_, _, Raw<false>>::new(pair(garbage()), note);
    assert_eq!(env.load(), (Err(EnvError::Cell(CellError::NotWhole)), Note::Unreadable));
}
