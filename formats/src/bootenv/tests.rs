//! The cells: what fits, what is refused, and what every torn write leaves.

use std::string::{String, ToString};
use std::vec::Vec;

use proptest::prelude::*;
use statemachine::boot::{Note, Spent, Trial, Wanted};
use statemachine::ids::{REVISION_ID_MAX, RevisionId};

use super::raw::{Repair, SECTOR};
use super::uboot::Head;
use super::*;

fn revision(name: &str) -> RevisionId {
    RevisionId::parse(name).unwrap()
}

fn name_of(len: usize) -> RevisionId {
    revision(&("locals/".to_string() + &"n".repeat(len - 7)))
}

fn names_of(len: usize) -> Wanted {
    Wanted {
        nonce: u32::MAX,
        default: name_of(len),
        previous: Some(name_of(len)),
        factory: Some(name_of(len)),
        trial: Some(Trial { revision: name_of(len), max: 11, issued: 0 }),
    }
}

fn wanted(nonce: u32) -> Wanted {
    Wanted {
        nonce,
        default: revision("2"),
        previous: Some(revision("locals/one")),
        factory: None,
        trial: Some(Trial { revision: revision("3"), max: 3, issued: 0 }),
    }
}

fn with_attempts(max: u8) -> Wanted {
    Wanted { trial: Some(Trial { revision: revision("3"), max, issued: 0 }), ..wanted(7) }
}

/// A raw cell with this text in it, whole.
fn raw_cell(text: &[u8]) -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    uboot::seal(Head::Plain, 0, &mut sector, |into| into.put(text).map_err(|_| Error::Form)).unwrap();
    sector
}

fn raw_error(change: impl FnOnce(&str) -> String) -> Error {
    let text = "cairn_nonce=7\0cairn_default=2\0cairn_previous=\0cairn_factory=0\0cairn_trial=3\0cairn_max=xxx\0cairn_issued=0\0";
    assert!(raw::decode_wanted(&raw_cell(text.as_bytes()), Head::Plain).is_ok());
    raw::decode_wanted(&raw_cell(change(text).as_bytes()), Head::Plain).unwrap_err()
}

#[test]
fn four_names_of_the_greatest_length_fit_into_a_raw_cell() {
    let mut largest = names_of(REVISION_ID_MAX);
    largest.trial.as_mut().unwrap().issued = 255;
    for head in [Head::Plain, Head::Flagged] {
        let sector = raw::encode_wanted(&largest, head).unwrap();
        assert_eq!(raw::decode_wanted(&sector, head), Ok(largest.clone()));
    }
}

#[test]
fn a_block_for_grub_takes_names_up_to_its_limit_and_not_one_byte_more() {
    let mut fits = names_of(grub::NAMES_MAX / 4);
    fits.default = name_of(grub::NAMES_MAX / 4 + grub::NAMES_MAX % 4);
    let block = grub::encode_wanted(&fits).unwrap();
    assert_eq!(block[grub::CHANGING - 1], b'\n');
    assert_eq!(grub::decode_wanted(&block), Ok(fits.clone()));

    fits.default = name_of(fits.default.as_str().len() + 1);
    let error = grub::encode_wanted(&fits).unwrap_err();
    assert_eq!(error, Error::Room { key: key::END, limit: grub::CHANGING });
    assert_eq!(
        error.to_string(),
        "the boot cell has 512 bytes, and cairn_end no longer fits: use shorter revision names"
    );
}

#[test]
fn names_of_the_length_that_people_and_hubs_give_fit_into_a_block_for_grub() {
    assert!(grub::encode_wanted(&names_of("locals/".len() + 64)).is_ok());
}

#[test]
fn only_the_first_sector_of_a_block_for_grub_ever_changes() {
    let (first, second) = (grub::encode_wanted(&wanted(1)).unwrap(), grub::encode_wanted(&names_of(80)).unwrap());
    assert_eq!(first[grub::CHANGING..], second[grub::CHANGING..]);
    let (first, second) = (Spent { nonce: 1, boots: 0 }, Spent { nonce: u32::MAX, boots: 20 });
    assert_eq!(grub::encode_spent(&first).unwrap()[512..], grub::encode_spent(&second).unwrap()[512..]);
}

#[test]
fn a_trial_with_more_attempts_than_refunds_can_give_is_refused_both_ways() {
    for max in [0, 12, 255] {
        assert_eq!(raw::encode_wanted(&with_attempts(max), Head::Plain), Err(Error::Attempts(max)));
        assert_eq!(grub::encode_wanted(&with_attempts(max)), Err(Error::Attempts(max)));
        assert_eq!(reference::encode_txt(uboot::empty(), &with_attempts(max)), Err(Error::Attempts(max)));
    }
    assert_eq!(raw_error(|text| text.replace("xxx", &"x".repeat(12))), Error::Attempts(12));
}

#[test]
fn a_trial_is_whole_or_absent() {
    assert_eq!(raw_error(|text| text.replace("xxx", "")), Error::TrialInPart);
    assert_eq!(raw_error(|text| text.replace("trial=3", "trial=")), Error::TrialInPart);
}

#[test]
fn each_variable_that_cannot_be_is_named() {
    assert_eq!(raw_error(|text| text.replace("=7", "=")), Error::Number(key::NONCE));
    assert_eq!(raw_error(|text| text.replace("=7", "=+7")), Error::Number(key::NONCE));
    assert_eq!(raw_error(|text| text.replace("=7", "=07")), Error::Number(key::NONCE));
    assert_eq!(raw_error(|text| text.replace("=7", "=4294967296")), Error::Number(key::NONCE));
    assert_eq!(raw_error(|text| text.replace("xxx", "3")), Error::Number(key::MAX));
    assert_eq!(raw_error(|text| text.replace("issued=0", "issued=256")), Error::Number(key::ISSUED));
    assert_eq!(raw_error(|text| text.replace("default=2", "default=")), Error::Missing(key::DEFAULT));
    assert_eq!(raw_error(|text| text.replace("default=2", "default=../2")), Error::Name(key::DEFAULT, IdError::Shape));
    assert_eq!(raw_error(|text| text.replace("cairn_factory=0\0", "")), Error::Missing(key::FACTORY));
    assert_eq!(raw_error(|text| text.to_string() + "cairn_max=x\0"), Error::Twice(key::MAX));
    assert_eq!(raw_error(|text| "a=1\0".to_string() + text), Error::Unknown { offset: 4 });
    assert_eq!(raw_error(|text| "nothing\0".to_string() + text), Error::NotAVariable { offset: 4 });
}

#[test]
fn a_blank_medium_is_no_cell() {
    for byte in [0, 0xff] {
        assert!(matches!(raw::decode_wanted(&[byte; SECTOR], Head::Plain), Err(Error::Checksum { .. })));
        assert_eq!(raw::note(&[byte; SECTOR], Head::Flagged), Note::Unreadable);
        assert_eq!(grub::decode_wanted(&[byte; grub::BLOCK]), Err(Error::Signature));
    }
}

#[test]
fn a_cell_of_another_size_is_refused() {
    assert_eq!(raw::decode_wanted(&[0; 511], Head::Plain), Err(Error::Length { given: 511, wanted: 512 }));
    assert_eq!(grub::decode_spent(&[0; 512]), Err(Error::Length { given: 512, wanted: 1024 }));
}

/// What a medium holds after a write of `new` over `old` was cut at this byte.
fn torn<const N: usize>(old: &[u8; N], new: &[u8; N], cut: usize) -> [u8; N] {
    core::array::from_fn(|at| if at < cut { new[at] } else { old[at] })
}

#[test]
fn a_torn_raw_note_is_the_old_one_or_the_new_one_or_unreadable() {
    let (before, after) = (Spent { nonce: 9, boots: 3 }, Spent { nonce: 10, boots: 1 });
    let [old, new] = [before, after].map(|spent| raw::encode_spent(&spent, Head::Plain).unwrap());
    for cut in 0..=SECTOR {
        let note = raw::note(&torn(&old, &new, cut), Head::Plain);
        assert!([Note::Read(before), Note::Read(after), Note::Unreadable].contains(&note), "{note:?} at {cut}");
    }
}

#[test]
fn a_torn_block_of_grub_is_the_old_one_or_the_new_one_or_unreadable() {
    let notes = [(9, 3), (10, 1), (9, 4), (99, 1), (100, 0)].map(|(nonce, boots)| Spent { nonce, boots });
    let cells = [wanted(9), wanted(10), with_attempts(4), with_attempts(11), names_of(60)];
    for (first, second) in (0..5).flat_map(|first| (0..5).map(move |second| (first, second))) {
        let [old, new] = [&notes[first], &notes[second]].map(|note| grub::encode_spent(note).unwrap());
        let [old_cell, new_cell] = [&cells[first], &cells[second]].map(|cell| grub::encode_wanted(cell).unwrap());
        for cut in 0..=grub::CHANGING {
            let note = grub::note(&torn(&old, &new, cut));
            let allowed = [Note::Read(notes[first]), Note::Read(notes[second]), Note::Unreadable];
            assert!(allowed.contains(&note), "{note:?} at {cut}");
            match grub::decode_wanted(&torn(&old_cell, &new_cell, cut)) {
                Ok(read) => assert!(read == cells[first] || read == cells[second], "{read:?} at {cut}"),
                Err(_) => assert!(cut < grub::CHANGING),
            }
        }
    }
}

/// The two copies of `Wanted`, and the writer of which the documentation of [`raw`] speaks.
#[derive(Clone)]
struct Medium([[u8; SECTOR]; 2]);

impl Medium {
    fn read(&self) -> raw::Pair {
        raw::decode_pair(&self.0[0], &self.0[1], Head::Plain).unwrap()
    }

    /// Stores a value, and loses power when `fuel` bytes are written. Writes come in order, each after a flush.
    fn store(&mut self, wanted: &Wanted, mut fuel: usize) {
        let new = raw::encode_wanted(wanted, Head::Plain).unwrap();
        let repair = match self.read().repair {
            Some(Repair::First) => Some((0, self.0[1])),
            Some(Repair::Second) => Some((1, self.0[0])),
            None => None,
        };
        for (copy, bytes) in repair.into_iter().chain([(0, new), (1, new)]) {
            self.0[copy] = torn(&self.0[copy], &bytes, fuel.min(SECTOR));
            fuel = fuel.saturating_sub(SECTOR);
        }
    }
}

#[test]
fn two_cuts_in_a_row_never_uncover_a_value_from_before_the_last_one_that_was_seen() {
    let start = raw::encode_wanted(&wanted(8), Head::Plain).unwrap();
    let fuels = || (0..=3 * SECTOR).step_by(23);
    for (first, second) in fuels().flat_map(|first| fuels().map(move |second| (first, second))) {
        let mut medium = Medium([start; 2]);
        medium.store(&with_attempts(4), first);
        let seen = medium.read().wanted;
        assert!(seen == wanted(8) || seen == with_attempts(4));
        medium.store(&wanted(10), second);
        let after = medium.read().wanted;
        assert!(after == seen || after == wanted(10), "{after:?} after {first} and {second}");
    }
}

#[test]
fn an_uncut_store_leaves_two_equal_copies() {
    let mut medium = Medium([raw::encode_wanted(&wanted(8), Head::Plain).unwrap(), [0; SECTOR]]);
    medium.store(&wanted(9), usize::MAX);
    assert_eq!(medium.read(), raw::Pair { wanted: wanted(9), repair: None });
}

#[test]
fn an_uboot_txt_keeps_what_belongs_to_others_and_its_order() {
    let old = b"oem=1\0pv_try=old\0pv_trying=5\0pv_rev=4\0fdtfile=a/b.dtb\0\0";
    let wanted = Wanted { trial: None, previous: None, ..wanted(7) };
    let file = reference::encode_txt(reference::open_txt(old).unwrap(), &wanted).unwrap();
    let kept = b"oem=1\0pv_try=\0pv_trying=5\0pv_rev=2\0fdtfile=a/b.dtb\0cairn_nonce=7\0";
    assert_eq!(file[..kept.len()], *kept);
    assert_eq!(reference::decode(reference::open_txt(&file).unwrap()), Ok(wanted));
}

#[test]
fn an_uboot_txt_with_the_longest_names_ends_where_the_reference_stops_reading() {
    let largest = names_of(REVISION_ID_MAX);
    let file = reference::encode_txt(uboot::empty(), &largest).unwrap();
    assert_eq!(reference::decode(reference::open_txt(&file).unwrap()), Ok(largest.clone()));

    let others = [&b"o="[..], &[b'v'; 1000], b"\0\0"].concat();
    let error = reference::encode_txt(reference::open_txt(&others).unwrap(), &largest);
    assert_eq!(error, Err(Error::Room { key: reference::REV, limit: reference::TXT_READ - 1 }));
    let others = [&b"o="[..], &[b'v'; 1030], b"\0\0"].concat();
    assert_eq!(reference::open_txt(&others), Err(Error::Unterminated { within: 1024 }));
}

#[test]
fn a_list_in_flash_ends_with_an_empty_entry_or_where_flash_is_erased() {
    let names = |partition: &[u8]| {
        let vars = reference::open_mtd(partition)?;
        Ok::<_, Error>(vars.iter().map(|var| String::from_utf8_lossy(var.name).into_owned()).collect::<Vec<_>>())
    };
    for (partition, found) in [
        (&b"pv_rev=4\0pv_try=5\0\0pv_rev=6\0"[..], &["pv_rev", "pv_try"][..]),
        (b"pv_rev=4\0\xff\xffpv_try=5\0\0", &["pv_rev"]),
        (b"pv_rev=4\0", &["pv_rev"]),
        (b"\xff\xff\xff\xff", &[]),
        (b"\0pv_rev=4\0\0", &[]),
        (b"", &[]),
    ] {
        assert_eq!(names(partition).unwrap(), found, "{}", partition.escape_ascii());
    }
    // One byte of all ones is a byte as any other.
    let vars = reference::open_mtd(b"oem=\xff\0pv_rev=4\0\xff\xff").unwrap();
    assert_eq!((vars.get("oem"), vars.get("pv_rev")), (Some(&b"\xff"[..]), Some(&b"4"[..])));
    // Power went while this was programmed: it may have been 71.
    assert_eq!(names(b"pv_rev=7\xff\xff\xff\xff\0\0"), Err(Error::Unterminated { within: 8 }));
    assert_eq!(names(b"pv_rev=4\0pv_rev=7"), Err(Error::Unterminated { within: 17 }));
}

#[test]
fn a_list_in_flash_is_written_back_whole_and_keeps_what_belongs_to_others() {
    let old = b"oem=\xff\0pv_rev=4\0pv_trying=5\0\xff\xff";
    let mut partition = std::vec![0xaa; reference::MTD_SIZE];
    reference::encode_mtd(reference::open_mtd(old).unwrap(), &wanted(7), &mut partition).unwrap();
    let read = reference::open_mtd(&partition).unwrap();
    assert_eq!(reference::decode(read), Ok(wanted(7)));
    assert!(partition.starts_with(b"oem=\xff\0pv_rev=2\0pv_trying=5\0"));
    let end = partition.iter().rposition(|byte| *byte != 0).unwrap();
    assert!(end < 512, "what was behind the list is gone");
    let error = reference::encode_mtd(read, &wanted(7), &mut [0; 1024]);
    assert_eq!(error, Err(Error::Length { given: 1024, wanted: reference::MTD_SIZE }));
}

#[test]
fn a_file_that_the_reference_wrote_over_ours_counts_as_the_references() {
    let file = reference::encode_txt(uboot::empty(), &wanted(7)).unwrap();
    let mut changed = [0; reference::TXT_READ];
    let mut text = text::Text::new(&mut changed);
    reference::open_txt(&file).unwrap().rewrite(&[(reference::REV, "9")], &mut text, 1024).unwrap();
    let read = reference::decode(reference::open_txt(&changed).unwrap()).unwrap();
    assert_eq!((read.nonce, read.default.as_str(), read.previous), (0, "9", None));
    assert_eq!(read.trial, Some(Trial { revision: revision("3"), max: 1, issued: 0 }));
}

#[test]
fn what_was_tried_is_not_taken_for_what_is_to_be_tried() {
    let vars = reference::open_txt(b"pv_rev=4\0pv_trying=5\0\0").unwrap();
    let read = reference::decode(vars).unwrap();
    assert_eq!(read.trial, None);
    assert_eq!(reference::note(&read, vars), Note::Read(Spent::default()));
}

#[test]
fn a_new_nonce_in_a_grubenv_clears_the_note_and_a_refund_keeps_it() {
    let block = reference::encode_grubenv(grub::empty(), &wanted(7)).unwrap();
    let tried = grub::write(grub::open(&block).unwrap(), &[(reference::TRYING, "3")]).unwrap();
    let tried = grub::open(&tried).unwrap();
    assert_eq!(reference::note(&wanted(7), tried), Note::Read(Spent { nonce: 7, boots: 1 }));

    let refunded = reference::encode_grubenv(tried, &with_attempts(4)).unwrap();
    assert_eq!(grub::open(&refunded).unwrap().get(reference::TRYING), Some(&b"3"[..]));
    let renewed = reference::encode_grubenv(tried, &wanted(8)).unwrap();
    assert_eq!(grub::open(&renewed).unwrap().get(reference::TRYING), Some(&b""[..]));
}

#[test]
fn a_grub_cell_has_no_place_for_one_shot_requests() {
    let mut asked = wanted(7);
    asked.trial.as_mut().unwrap().issued = 1;
    assert_eq!(grub::encode_wanted(&asked), Err(Error::Issued(1)));
}

fn any_name() -> impl Strategy<Value = RevisionId> {
    prop_oneof!["0|[1-9][0-9]{0,9}", "locals/[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,75}"].prop_map(|name| revision(&name))
}

prop_compose! {
    fn any_wanted()(
        nonce: u32, default in any_name(), previous in prop::option::of(any_name()),
        factory in prop::option::of(any_name()), trial in prop::option::of((any_name(), 1_u8..=11)),
    ) -> Wanted {
        let trial = trial.map(|(revision, max)| Trial { revision, max, issued: 0 });
        Wanted { nonce, default, previous, factory, trial }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn every_wish_comes_back_from_every_cell(wanted in any_wanted()) {
        for head in [Head::Plain, Head::Flagged] {
            let sector = raw::encode_wanted(&wanted, head).unwrap();
            prop_assert_eq!(raw::decode_wanted(&sector, head).unwrap(), wanted.clone());
        }
        let block = grub::encode_wanted(&wanted).unwrap();
        prop_assert_eq!(grub::decode_wanted(&block).unwrap(), wanted.clone());
        let file = reference::encode_txt(uboot::empty(), &wanted).unwrap();
        prop_assert_eq!(reference::decode(reference::open_txt(&file).unwrap()).unwrap(), wanted.clone());
        let block = reference::encode_grubenv(grub::empty(), &wanted).unwrap();
        prop_assert_eq!(reference::decode(grub::open(&block).unwrap()).unwrap(), wanted);
    }

    #[test]
    fn every_note_comes_back_from_every_cell(nonce: u32, boots in 0_u8..=130) {
        let spent = Spent { nonce, boots };
        let sector = raw::encode_spent(&spent, Head::Plain).unwrap();
        prop_assert_eq!(raw::note(&sector, Head::Plain), Note::Read(spent));
        prop_assert_eq!(grub::note(&grub::encode_spent(&spent).unwrap()), Note::Read(spent));
    }
}

#[test]
fn the_largest_note_fits_into_a_sector() {
    let largest = Spent { nonce: u32::MAX, boots: u8::MAX };
    let sector = raw::encode_spent(&largest, Head::Flagged).unwrap();
    assert_eq!(raw::decode_spent(&sector, Head::Flagged), Ok(largest));
}

#[test]
fn a_long_list_of_variables_is_walked_once_and_not_for_ever() {
    let many: Vec<u8> = b"a=1\0".repeat(255);
    assert_eq!(reference::open_txt(&many).unwrap().iter().count(), 255);
}
