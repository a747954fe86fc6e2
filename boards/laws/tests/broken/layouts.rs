//! Disks that cannot be made, or that lose two copies at once; slots that cannot be told apart; wrong choices.

use board_laws::{layout, slots};
use boards_api::board::{Content, Layout, Partition, Role};
use boards_api::media::Sectors;
use boards_api::provision::{self, At, New, Piece};
use boards_api::slots::{Boots, Choice, Places, Shape, Slot, choose};
use boards_api::uboot::partition;
use formats::bootenv::Error;
use formats::bootenv::raw;
use formats::bootenv::uboot::Head;
use statemachine::boot::Wanted;
use statemachine::update::Evicts;

use crate::caught;
use crate::faulty::{Cells, Fault, Faulty, Words, words};

const STORE: Partition = Partition { size_kib: None, ..partition(Role::Store, "storage", 0, Content::Ext4) };

macro_rules! layouts {
    ($($name:ident: [$($partition:expr),*] => $says:literal;)*) => {$(
        #[test]
        fn $name() {
            struct This;
            impl Fault for This {
                const LAYOUT: Layout = Layout { partitions: &[$($partition),*] };
            }
            caught(layout::the_partitions_can_be_made_and_found::<Faulty<This>>(), $says);
        }
    )*};
}

layouts! {
    a_role_that_two_partitions_have_is_caught: [
        partition(Role::Firmware, "one", 8, Content::Fat), partition(Role::Firmware, "two", 8, Content::Fat), STORE
    ] => "another one has this role";
    a_label_that_two_partitions_have_is_caught: [
        partition(Role::Firmware, "storage", 8, Content::Fat), STORE
    ] => "another one has this label";
    a_label_that_no_partition_table_holds_is_caught: [
        partition(Role::Firmware, "the firmware", 8, Content::Fat), STORE
    ] => "a label has 1 to 36";
    a_label_that_is_too_long_is_caught: [
        partition(Role::Firmware, "a-label-of-thirty-seven-characters-is", 8, Content::Fat), STORE
    ] => "a label has 1 to 36";
    partitions_that_overlap_are_caught: [
        partition(Role::Firmware, "firmware", 8, Content::Fat),
        Partition { start_kib: Some(2048), ..partition(Role::Journal, "journal", 8, Content::Raw) }, STORE
    ] => "it starts at 2048 KiB, and what is before it ends at 9216 KiB";
    a_partition_over_the_table_is_caught: [
        Partition { start_kib: Some(8), ..partition(Role::Firmware, "firmware", 8, Content::Fat) }, STORE
    ] => "ends at 20 KiB";
    a_partition_behind_an_open_end_is_caught: [
        STORE, partition(Role::Journal, "journal", 8, Content::Raw)
    ] => "only the last one";
    a_journal_in_a_file_system_of_its_own_is_caught: [
        partition(Role::Journal, "journal", 8, Content::Ext4), STORE
    ] => "it holds Ext4";
    a_partition_of_no_size_is_caught: [partition(Role::Firmware, "firmware", 0, Content::Fat), STORE] => "no room";
    a_disk_without_storage_is_caught: [partition(Role::Firmware, "firmware", 8, Content::Fat)] => "objects and trails";
}

/// Both copies in one erase group.
struct NearCopies;

const NEAR: [u64; 2] = [0, 1 << 20];

impl Fault for NearCopies {
    fn store<S: Sectors>(cells: &mut Cells<S>, wanted: &Wanted) -> Result<(), Words> {
        let bytes = raw::encode_wanted(wanted, Head::Plain).map_err(words)?;
        NEAR.iter().try_for_each(|at| cells.wanted.write(*at, &bytes)).map_err(words)
    }

    fn provision(new: &New<'_>, put: &mut dyn FnMut(Piece<'_>)) -> Result<(), Error> {
        provision::raw_cells::<false>(new, &NEAR.map(At::Byte), At::Byte(0), put)
    }
}

#[test]
fn copies_that_one_interrupted_erase_would_take_are_caught() {
    caught(
        layout::copies_and_halves_lie_in_different_erase_groups::<Faulty<NearCopies>>(),
        "one erase group of 4096 KiB",
    );
}

/// A journal whose halves share an erase group, and no recovery.
struct SmallJournal;

impl Fault for SmallJournal {
    const LAYOUT: Layout = Layout {
        partitions: &[
            partition(Role::Firmware, "firmware", 8, Content::Fat),
            partition(Role::Wanted, "wanted", 8, Content::Raw),
            partition(Role::Journal, "journal", 1, Content::Raw),
            STORE,
        ],
    };
}

#[test]
fn a_journal_that_one_interrupted_erase_would_take_is_caught() {
    caught(layout::copies_and_halves_lie_in_different_erase_groups::<Faulty<SmallJournal>>(), "a half of the journal");
}

#[test]
fn a_list_that_ends_nowhere_is_caught() {
    caught(layout::a_firmware_that_counts_has_a_recovery_to_end_in::<Faulty<SmallJournal>>(), "Role::Recovery");
}

/// A note in a partition that is not there.
struct NoPlace;

impl Fault for NoPlace {
    const LAYOUT: Layout = Layout { partitions: &[partition(Role::Wanted, "wanted", 8, Content::Raw), STORE] };
}

#[test]
fn a_cell_that_nobody_can_find_is_caught() {
    caught(layout::every_cell_has_a_place_that_can_be_found::<Faulty<NoPlace>>(), "Spent has neither a partition");
}

macro_rules! names {
    ($($test:ident: $places:expr => $says:literal;)*) => {$(
        #[test]
        fn $test() {
            struct This;
            impl Fault for This {
                const PLACES: Places = Places::Slots($places);
            }
            caught(slots::the_names_of_slots_are_words_and_their_places_exist::<Faulty<This>>(), $says);
        }
    )*};
}

names! {
    one_slot_is_caught: &["a"] => "none to try anything in";
    two_slots_of_one_name_are_caught: &["a", "b", "a"] => "two slots are called";
    a_slot_whose_name_is_two_words_is_caught: &["a", "b c"] => "cannot be the value of cairn.slot";
}

macro_rules! shapes {
    ($($test:ident: $($name:ident: $type:ty = $value:expr),* => $says:literal;)*) => {$(
        #[test]
        fn $test() {
            struct This;
            impl Fault for This {
                $(const $name: $type = $value;)*
            }
            caught(slots::a_slot_has_room_for_its_labels_and_an_image::<Faulty<This>>(), $says);
        }
    )*};
}

const AB: Places = Places::Slots(&["a", "b"]);
const FIT: &[Boots] = &[Boots::Fit];

const fn shape(labels: &'static [u64], image: u64) -> Option<Shape> {
    Some(Shape { labels, head: Head::Plain, image })
}

shapes! {
    slots_that_nobody_can_write_are_caught: PLACES: Places = AB => "with the shape None";
    a_slot_for_files_is_caught: PLACES: Places = AB, SHAPE: Option<Shape> = shape(&[0], 8 << 20) => "takes one image";
    a_slot_without_a_label_is_caught:
        PLACES: Places = AB, BOOTS: &'static [Boots] = FIT, SHAPE: Option<Shape> = shape(&[], 0) => "has no label";
    a_label_within_a_sector_is_caught:
        PLACES: Places = AB, BOOTS: &'static [Boots] = FIT, SHAPE: Option<Shape> = shape(&[100], 8 << 20)
        => "not a sector of its own";
    labels_that_one_interrupted_write_would_take_are_caught:
        PLACES: Places = AB, BOOTS: &'static [Boots] = FIT, SHAPE: Option<Shape> = shape(&[0, 4096], 8 << 20)
        => "share an erase group";
    a_new_device_without_labels_is_caught:
        PLACES: Places = AB, BOOTS: &'static [Boots] = FIT, SHAPE: Option<Shape> = shape(&[0, 4 << 20], 8 << 20)
        => "a new device has the labels []";
    a_boot_partition_in_a_trail_is_caught:
        BOOTS: &'static [Boots] = &[Boots::Partition] => "no place in a trail";
}

#[test]
fn a_chooser_that_takes_what_runs_is_caught() {
    let first = |held: &[Vec<_>], _: &_, _: Option<&_>, wanted: &Wanted| {
        let free = held.iter().position(|held| !held.contains(&wanted.default))?;
        Some(Choice { slot: Slot(u8::try_from(free).unwrap()), evicts: Evicts::default() })
    };
    caught(slots::judge(first, 2), "which holds the default or what runs");
}

#[test]
fn a_chooser_that_tells_no_names_is_caught() {
    let silent = |held: &[Vec<_>], new: &_, running: Option<&_>, wanted: &Wanted| {
        choose(held, new, running, wanted).map(|choice| Choice { evicts: Evicts::default(), ..choice })
    };
    caught(slots::judge(silent, 2), "is not what goes with it");
}

#[test]
fn a_chooser_that_gives_up_is_caught() {
    caught(slots::judge(|_, _, _, _| None, 2), "a slot is free and none was chosen");
}

#[test]
fn the_chooser_keeps_the_law_with_more_slots_than_any_board_has() {
    assert_eq!(slots::judge(choose, 3), Ok(()));
    assert_eq!(slots::judge(choose, 4), Ok(()));
}
