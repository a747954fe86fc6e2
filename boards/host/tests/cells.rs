//! The board over simulated media: what Linux stores is what its firmware reads, without a replay.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use board_host::{Codec, Host, SPENT, WANTED};
use boards_api::board::{Board, BootedAs, Media, Role};
use boards_api::env::Codec as _;
use boards_api::media::SECTOR;
use boards_api::{BootEnv, Booted};
use formats::bootenv::raw;
use formats::bootenv::uboot::Head;
use sim::Fuel;
use sim::block::SimBlock;
use sim::fs::SimFs;
use statemachine::boot::{Note, Spent, Trial, Wanted};
use statemachine::ids::RevisionId;

/// One directory, which is behind both roles; opened once each.
struct Boot<'a>(Vec<&'a mut SimFs>);

impl<'a> Media for Boot<'a> {
    type Sectors = SimBlock;
    type Files = &'a mut SimFs;

    fn sectors(&mut self, _: Role) -> Option<SimBlock> {
        None
    }

    fn files(&mut self, role: Role) -> Option<&'a mut SimFs> {
        matches!(role, Role::Wanted | Role::Spent).then(|| self.0.pop())?
    }
}

fn wanted(nonce: u32, trial: Option<&str>) -> Wanted {
    let trial = trial.map(|name| Trial { revision: RevisionId::parse(name).unwrap(), max: 3, issued: 0 });
    Wanted { nonce, default: RevisionId::factory(), previous: None, factory: Some(RevisionId::factory()), trial }
}

fn made() -> SimFs {
    let mut files = SimFs::empty(&Fuel::unlimited());
    let mut cell = [0; SECTOR];
    Codec::encode_wanted(&wanted(1, None), &mut cell).unwrap();
    files.create(WANTED, &cell);
    files.create(SPENT, &raw::encode_spent(&Spent { nonce: 1, boots: 2 }, Head::Plain).unwrap());
    files
}

#[test]
fn the_two_cells_are_two_files_of_one_directory() {
    let (mut wanted_side, mut spent_side) = (made(), made());
    let mut media = Boot(vec![&mut spent_side, &mut wanted_side]);
    let (held, note) = Host::boot_env(&mut media).unwrap().load();
    assert_eq!(held.unwrap(), wanted(1, None));
    assert_eq!(note, Note::Read(Spent { nonce: 1, boots: 2 }));
}

#[test]
fn what_is_stored_is_seen_by_a_firmware_that_replays_nothing() {
    let (mut wanted_side, mut spent_side) = (made(), made());
    wanted_side.fsync().unwrap();
    boards_api::media::Files::checkpoint(&mut wanted_side).unwrap();
    let armed = wanted(2, Some("locals/next"));
    let mut media = Boot(vec![&mut spent_side, &mut wanted_side]);
    Host::boot_env(&mut media).unwrap().store(&armed).unwrap();
    let unreplayed = wanted_side.read_unreplayed(WANTED).unwrap();
    assert_eq!(Codec::decode_wanted(unreplayed).unwrap(), armed);
}

#[test]
fn the_words_of_the_stand_in_say_as_what_it_booted() {
    let booted = Host::booted("init cairn.board=host cairn.role=trial cairn.mark");
    assert_eq!(booted, Some(Booted { slot: None, role: BootedAs::Trial }));
}
