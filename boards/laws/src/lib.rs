//! The laws that every board keeps, as tests of the board's own crate, in this workspace or outside of it:
//!
//! ```text
//! board_laws::board_laws!(Acme);                                  // tests/laws.rs, the whole file
//! board_laws::board_laws!(Acme, golden: &[Golden { … }]);         // a board with an encoding of its own
//! ```
//!
//! Each law is a test whose name is a sentence. It opens the board's real `boot_env` over simulated media that lose power, and
//! reads as a bootloader reads, without replaying a journal. A failure names the board, the cut and what was read.
//!
//! | module | laws |
//! |---|---|
//! | [`store`] | what is stored is there, as often as one likes, and nothing else was touched |
//! | [`cut`] | power cut at every operation and byte: old or new, never a third |
//! | [`garbage`] | rot, blanks and torn sectors are errors and not defaults; a bad note is `Unreadable` |
//! | [`note`] | a note that its firmware cannot make is made anew, and says what the unreadable one said |
//! | [`golden`] | what other tools have written is understood |
//! | [`slots`] | the slot of the default and of what runs is never chosen |
//! | [`layout`] | partitions that can be made, found and torn apart from each other |
//! | [`words`] | what the firmware says at boot, and what it is told at a reboot |
//! | [`media`] | no laws: the simulated media that the others use |
//!
//! What stays untested: that the boot script, in its bootloader, chooses as `statemachine::boot::pick` does. Only the
//! bootloader itself can show that.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "nothing here runs on a device; a law may stop its test")]

pub mod cut;
pub mod garbage;
pub mod golden;
pub mod layout;
pub mod media;
pub mod note;
pub mod slots;
pub mod store;
mod values;
pub mod words;

use boards_api::Board;

/// What a law found: nothing, or the sentence that says where it is broken.
pub type Verdict = Result<(), String>;

/// Fails the test of a broken law.
///
/// # Panics
/// If the law is broken.
#[track_caller]
#[expect(clippy::panic, reason = "this is how a test fails")]
pub fn keep<B: Board>(law: &str, verdict: Verdict) {
    if let Err(what) = verdict {
        panic!("the board {} breaks the law that {}: {what}", B::NAME, law.replace('_', " "));
    }
}

/// One `#[test]` for each law of a board. The second form passes the golden files of a board whose encoding
/// is none of those in [`golden::KNOWN`].
#[macro_export]
macro_rules! board_laws {
    ($board:ty) => {
        $crate::board_laws!($board, golden: $crate::golden::KNOWN);
    };
    ($board:ty, golden: $golden:expr) => {
        $crate::board_laws! { @each $board,
            store::what_an_image_holds_is_loaded,
            store::what_is_stored_is_loaded_after_a_power_cut_and_without_a_replay,
            store::storing_twice_is_harmless,
            store::a_store_touches_nothing_but_the_cell_of_linux,
            store::names_as_people_and_hubs_give_them_fit,
            cut::a_cut_store_leaves_the_old_value_or_the_new_one,
            cut::a_torn_sector_never_gives_a_third_value,
            cut::a_second_cut_uncovers_nothing_older,
            garbage::every_flipped_bit_of_a_cell_is_noticed_or_harmless,
            garbage::garbage_is_an_error_and_not_a_default,
            garbage::a_note_that_is_torn_or_absent_or_strange_is_unreadable,
            note::a_note_is_made_anew_without_a_change_of_what_it_says,
            slots::no_choice_touches_the_slot_of_the_default_or_of_what_runs,
            slots::the_names_of_slots_are_words_and_their_places_exist,
            slots::a_slot_has_room_for_its_labels_and_an_image,
            layout::the_partitions_can_be_made_and_found,
            layout::every_cell_has_a_place_that_can_be_found,
            layout::copies_and_halves_lie_in_different_erase_groups,
            layout::a_firmware_that_counts_has_a_recovery_to_end_in,
            words::every_word_of_the_firmware_is_understood_and_no_other,
            words::a_script_says_every_role_of_its_list,
            words::only_a_one_shot_firmware_is_told_of_a_trial,
        }
        #[test]
        fn the_files_of_other_tools_are_understood() {
            let verdict = $crate::golden::the_files_of_other_tools_are_understood::<$board>($golden);
            $crate::keep::<$board>("the_files_of_other_tools_are_understood", verdict);
        }
    };
    (@each $board:ty, $($module:ident :: $law:ident,)*) => {
        $(
            #[test]
            fn $law() {
                $crate::keep::<$board>(stringify!($law), $crate::$module::$law::<$board>());
            }
        )*
    };
}
