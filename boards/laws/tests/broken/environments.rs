//! Cells that are not kept right, encodings that guess, notes that are invented.

use board_laws::{cut, garbage, golden, layout, note, store};
use boards_api::board::{Board, Layout, Media, Rests, Role};
use boards_api::env::BootEnv;
use boards_api::media::{Files, SECTOR, Sectors};
use boards_api::provision::{self, At, New, Piece};
use boards_api::slots::Places;
use boards_api::{TrialKind, uboot};
use formats::bootenv::Error;
use formats::bootenv::raw;
use formats::bootenv::uboot::Head;
use statemachine::boot::{Note, Spent, Trial, Wanted};
use statemachine::ids::RevisionId;

use crate::caught;
use crate::faulty::{AT, Cells, Fault, Faulty, Words, sector, words};

fn encoded(wanted: &Wanted) -> Result<[u8; SECTOR], Words> {
    raw::encode_wanted(wanted, Head::Plain).map_err(words)
}

/// A text in one sector, and nothing that tells a torn one from a whole one.
struct NoChecksum;

fn line(wanted: &Wanted) -> [u8; SECTOR] {
    let name = |revision: Option<&RevisionId>| revision.map(ToString::to_string).unwrap_or_default();
    let (trial, max) = wanted.trial.as_ref().map_or((None, 0), |trial| (Some(&trial.revision), trial.max));
    let (previous, factory) = (name(wanted.previous.as_ref()), name(wanted.factory.as_ref()));
    let text = format!("{},{},{previous},{factory},{},{max},", wanted.nonce, wanted.default, name(trial));
    let mut bytes = [0; SECTOR];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

impl Fault for NoChecksum {
    const RESTS: Rests = Rests::OnWholeSectors;

    fn store<S: Sectors>(cells: &mut Cells<S>, wanted: &Wanted) -> Result<(), Words> {
        cells.wanted.write(0, &line(wanted)).map_err(words)
    }

    fn load<S: Sectors>(cells: &mut Cells<S>) -> Result<Wanted, Words> {
        let bytes = sector(&mut cells.wanted, 0)?;
        let text = std::str::from_utf8(&bytes).map_err(words)?;
        let fields: Vec<_> = text.split(',').collect();
        let [nonce, default, previous, factory, trial, max, ..] = fields[..] else { return Err(Words("short".into())) };
        let revision = |name: &str| match name {
            "" => Ok(None),
            name => RevisionId::parse(name).map(Some).map_err(|error| Words(format!("{error:?}"))),
        };
        let max = max.parse().map_err(words)?;
        Ok(Wanted {
            nonce: nonce.parse().map_err(words)?,
            default: revision(default)?.ok_or_else(|| Words("no default".into()))?,
            previous: revision(previous)?,
            factory: revision(factory)?,
            trial: revision(trial)?.map(|revision| Trial { revision, max, issued: 0 }),
        })
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        put(Piece { role: Role::Wanted, at: At::Byte(0), bytes: &line(new.wanted) });
        put(Piece { role: Role::Spent, at: At::Byte(0), bytes: &raw::encode_spent(&new.spent, Head::Plain)? });
        Ok(())
    }
}

#[test]
fn a_cell_without_a_checksum_shows_a_third_value_when_a_sector_is_torn() {
    assert_eq!(cut::a_cut_store_leaves_the_old_value_or_the_new_one::<Faulty<NoChecksum>>(), Ok(()));
    caught(cut::a_torn_sector_never_gives_a_third_value::<Faulty<NoChecksum>>(), "at byte");
}

#[test]
fn a_cell_without_a_checksum_reads_a_flipped_bit_as_another_value() {
    caught(garbage::every_flipped_bit_of_a_cell_is_noticed_or_harmless::<Faulty<NoChecksum>>(), "XOR");
}

#[test]
fn an_encoding_of_ones_own_needs_golden_files_of_its_own() {
    caught(golden::the_files_of_other_tools_are_understood::<Faulty<NoChecksum>>(golden::KNOWN), "none of the golden");
}

/// A value that is spread over two sectors, each whole for itself.
struct TwoSectors;

impl Fault for TwoSectors {
    const RESTS: Rests = Rests::OnWholeSectors;

    fn store<S: Sectors>(cells: &mut Cells<S>, wanted: &Wanted) -> Result<(), Words> {
        cells.wanted.write(0, &[encoded(wanted)?; 2].concat()).map_err(words)
    }

    fn load<S: Sectors>(cells: &mut Cells<S>) -> Result<Wanted, Words> {
        let [first, second] = [0, SECTOR as u64].map(|at| sector(&mut cells.wanted, at));
        let [first, second] = [first?, second?].map(|bytes| raw::decode_wanted(&bytes, Head::Plain).map_err(words));
        Ok(Wanted { trial: second?.trial, ..first? })
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        provision::raw_cells::<false>(new, &[At::Byte(0), At::Byte(SECTOR as u64)], At::Byte(0), put)
    }
}

#[test]
fn a_cell_of_two_sectors_shows_a_mixture_when_power_goes_between_them() {
    caught(cut::a_cut_store_leaves_the_old_value_or_the_new_one::<Faulty<TwoSectors>>(), "a bootloader reads Wanted");
}

/// What cannot be read is taken for what the device left the factory with.
struct GarbageIsTheFactory;

impl Fault for GarbageIsTheFactory {
    fn load<S: Sectors>(cells: &mut Cells<S>) -> Result<Wanted, Words> {
        let bytes = sector(&mut cells.wanted, 0)?;
        Ok(raw::decode_wanted(&bytes, Head::Plain).unwrap_or_else(|_| Wanted {
            nonce: 0,
            default: RevisionId::factory(),
            previous: None,
            factory: None,
            trial: None,
        }))
    }
}

#[test]
fn garbage_that_is_read_as_a_default_is_caught() {
    caught(garbage::garbage_is_an_error_and_not_a_default::<Faulty<GarbageIsTheFactory>>(), "zeros is read as");
}

/// A note that cannot be read is taken for none.
struct NoNoteIsNoBoots;

impl Fault for NoNoteIsNoBoots {
    fn note<S: Sectors>(cells: &mut Cells<S>) -> Note {
        let bytes = sector(&mut cells.spent, 0).unwrap_or([0; SECTOR]);
        Note::Read(raw::decode_spent(&bytes, Head::Plain).unwrap_or_default())
    }
}

#[test]
fn a_bad_note_that_is_read_as_zero_boots_is_caught() {
    type Law = Faulty<NoNoteIsNoBoots>;
    caught(garbage::a_note_that_is_torn_or_absent_or_strange_is_unreadable::<Law>(), "is read as Read");
}

/// A pair that forgets what an earlier cut has left: both copies are written, nothing is repaired.
struct Unrepaired;

impl Fault for Unrepaired {
    fn store<S: Sectors>(cells: &mut Cells<S>, wanted: &Wanted) -> Result<(), Words> {
        let bytes = encoded(wanted)?;
        AT.iter().try_for_each(|at| cells.wanted.write(*at, &bytes)).map_err(words)
    }
}

#[test]
fn a_pair_that_is_not_repaired_is_caught_by_the_second_cut_only() {
    assert_eq!(cut::a_cut_store_leaves_the_old_value_or_the_new_one::<Faulty<Unrepaired>>(), Ok(()));
    caught(cut::a_second_cut_uncovers_nothing_older::<Faulty<Unrepaired>>(), "and then cut");
}

/// One copy, on a board that says it rests on nothing.
struct OneCopy;

impl Fault for OneCopy {
    fn store<S: Sectors>(cells: &mut Cells<S>, wanted: &Wanted) -> Result<(), Words> {
        cells.wanted.write(0, &encoded(wanted)?).map_err(words)
    }
}

#[test]
fn one_copy_is_not_enough_for_a_board_that_rests_on_nothing() {
    // The second copy still says what the image said, so only what comes after it shows the fault.
    caught(cut::a_second_cut_uncovers_nothing_older::<Faulty<OneCopy>>(), "and then cut");
    caught(layout::copies_and_halves_lie_in_different_erase_groups::<Faulty<OneCopy>>(), "not two");
}

/// Says Ok and writes nothing.
struct Forgetful;

impl Fault for Forgetful {
    fn store<S: Sectors>(_: &mut Cells<S>, _: &Wanted) -> Result<(), Words> {
        Ok(())
    }
}

#[test]
fn a_store_that_writes_nothing_is_caught() {
    type Board = Faulty<Forgetful>;
    caught(store::what_is_stored_is_loaded_after_a_power_cut_and_without_a_replay::<Board>(), "was read as");
    caught(cut::a_cut_store_leaves_the_old_value_or_the_new_one::<Board>(), "wrote nothing");
}

/// A store of what is there already wipes it.
struct OnlyOnce;

impl Fault for OnlyOnce {
    fn store<S: Sectors>(cells: &mut Cells<S>, wanted: &Wanted) -> Result<(), Words> {
        let bytes = encoded(wanted)?;
        let again = sector(&mut cells.wanted, 0)? == bytes;
        let bytes = if again { [0; SECTOR] } else { bytes };
        AT.iter().try_for_each(|at| cells.wanted.write(*at, &bytes)).map_err(words)
    }
}

#[test]
fn a_store_that_must_not_be_repeated_is_caught() {
    caught(store::storing_twice_is_harmless::<Faulty<OnlyOnce>>(), "stored twice");
}

/// Linux resets the note that belongs to the bootloader.
struct NoteWriter;

impl Fault for NoteWriter {
    fn store<S: Sectors>(cells: &mut Cells<S>, wanted: &Wanted) -> Result<(), Words> {
        let note = raw::encode_spent(&Spent { nonce: wanted.nonce, boots: 0 }, Head::Plain).map_err(words)?;
        cells.spent.write(0, &note).map_err(words)?;
        crate::faulty::Sound::store(cells, wanted)
    }
}

#[test]
fn a_store_that_writes_the_note_is_caught() {
    caught(store::a_store_touches_nothing_but_the_cell_of_linux::<Faulty<NoteWriter>>(), "changed the bytes of Spent");
}

/// No room for the names that people give.
struct ShortNames;

impl Fault for ShortNames {
    fn store<S: Sectors>(cells: &mut Cells<S>, wanted: &Wanted) -> Result<(), Words> {
        if wanted.default.as_str().len() > 40 {
            return Err(Words("the name is too long".into()));
        }
        crate::faulty::Sound::store(cells, wanted)
    }
}

#[test]
fn a_cell_without_room_for_the_names_of_people_is_caught() {
    caught(store::names_as_people_and_hubs_give_them_fit::<Faulty<ShortNames>>(), "the name is too long");
}

/// The image holds another value than it was made for.
struct OtherImage;

impl Fault for OtherImage {
    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        let wanted = Wanted { nonce: new.wanted.nonce + 1, ..new.wanted.clone() };
        provision::raw_cells::<false>(&New { wanted: &wanted, ..*new }, &AT.map(At::Byte), At::Byte(0), put)
    }
}

#[test]
fn an_image_with_other_cells_is_caught() {
    caught(store::what_an_image_holds_is_loaded::<Faulty<OtherImage>>(), "as the image was made");
}

/// A note that is made anew has counted nothing.
struct EmptyNote;

impl Fault for EmptyNote {
    const MENDS_NOTE: bool = true;

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        let spent = Spent { boots: 0, ..new.spent };
        provision::raw_cells::<false>(&New { spent, ..*new }, &AT.map(At::Byte), At::Byte(0), put)
    }
}

/// A note that is made anew, by a board that does not say where it lies.
struct PlacelessNote;

impl Fault for PlacelessNote {
    const MENDS_NOTE: bool = true;

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        put(Piece { role: Role::Wanted, at: At::Byte(0), bytes: &raw::encode_wanted(new.wanted, Head::Plain)? });
        Ok(())
    }
}

#[test]
fn a_new_note_that_gives_a_trial_its_boots_back_is_caught_and_one_without_a_place_too() {
    caught(note::a_note_is_made_anew_without_a_change_of_what_it_says::<Faulty<EmptyNote>>(), "may be one of");
    caught(note::a_note_is_made_anew_without_a_change_of_what_it_says::<Faulty<PlacelessNote>>(), "place");
}

/// Two files that change names, and no barrier.
struct Unsynced;

struct Exchanged<F>(F);

impl<F: Files> BootEnv for Exchanged<F> {
    type Error = Words;

    fn load(&mut self) -> (Result<Wanted, Words>, Note) {
        let mut bytes = [0; SECTOR];
        let read = self.0.read("wanted", &mut bytes).map_err(words);
        (read.and_then(|_| raw::decode_wanted(&bytes, Head::Plain).map_err(words)), Note::Unreadable)
    }

    fn store(&mut self, wanted: &Wanted) -> Result<(), Words> {
        self.0.overwrite("spare", &encoded(wanted)?).map_err(words)?;
        self.0.exchange("wanted", "spare").map_err(words)
    }
}

impl Board for Unsynced {
    const NAME: &'static str = "unsynced";
    const LAYOUT: Layout = uboot::LAYOUT;
    const TRIAL: TrialKind = TrialKind::Counted;
    const PLACES: Places = Places::Trails;
    type Env<M: Media> = Exchanged<M::Files>;

    fn boot_env<M: Media>(media: &mut M) -> Option<Self::Env<M>> {
        Some(Exchanged(media.files(Role::Wanted)?))
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        provision::raw_cells::<false>(new, &[At::File("wanted"), At::File("spare")], At::Byte(0), put)
    }
}

#[test]
fn a_file_that_is_renamed_without_a_barrier_is_not_seen_by_a_bootloader() {
    let verdict = store::what_is_stored_is_loaded_after_a_power_cut_and_without_a_replay::<Unsynced>();
    caught(verdict, "as a bootloader reads it, without a replay");
}
