//! Reads what real bootloaders and their tools wrote, and keeps what they were seen to read.
//!
//! How each file was made stands in `tests/formats/golden/README.md`. None of those tools is needed here.
#![expect(clippy::unwrap_used, reason = "a test may")]

use formats::bootenv::uboot::{self, Head};
use formats::bootenv::vars::unescaped;
use formats::bootenv::{Error, grub, raw, reference};
use statemachine::boot::{Note, Spent, Trial, Wanted};
use statemachine::ids::RevisionId;

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/formats/golden/", $name))
    };
}

fn revision(name: &str) -> RevisionId {
    RevisionId::parse(name).unwrap()
}

fn longest(letter: &str) -> RevisionId {
    revision(&format!("locals/{}", letter.repeat(89)))
}

/// What the bootloaders read when they wrote the notes.
fn wanted() -> Wanted {
    Wanted {
        nonce: u32::MAX,
        default: revision("locals/a-day_at.the-desk"),
        previous: Some(revision("12")),
        factory: None,
        trial: Some(Trial { revision: revision("13"), max: 11, issued: 0 }),
    }
}

fn largest() -> Wanted {
    Wanted {
        nonce: u32::MAX,
        default: longest("d"),
        previous: Some(longest("p")),
        factory: Some(longest("f")),
        trial: Some(Trial { revision: longest("t"), max: 11, issued: 255 }),
    }
}

#[test]
fn the_cells_that_bootloaders_have_read_are_still_what_is_written() {
    assert_eq!(raw::encode_wanted(&wanted(), Head::Plain).unwrap(), *golden!("cairn-wanted.bin"));
    assert_eq!(raw::encode_wanted(&wanted(), Head::Flagged).unwrap(), *golden!("cairn-wanted-flagged.bin"));
    assert_eq!(raw::encode_wanted(&largest(), Head::Plain).unwrap(), *golden!("cairn-wanted-longest.bin"));
    assert_eq!(grub::encode_wanted(&wanted()).unwrap(), *golden!("cairn-wanted.grubenv"));
}

#[test]
fn the_cells_that_bootloaders_have_read_are_read_back() {
    assert_eq!(raw::decode_wanted(golden!("cairn-wanted.bin"), Head::Plain), Ok(wanted()));
    assert_eq!(raw::decode_wanted(golden!("cairn-wanted-flagged.bin"), Head::Flagged), Ok(wanted()));
    assert_eq!(raw::decode_wanted(golden!("cairn-wanted-longest.bin"), Head::Plain), Ok(largest()));
    assert_eq!(grub::decode_wanted(golden!("cairn-wanted.grubenv")), Ok(wanted()));
}

#[test]
fn the_note_that_u_boot_wrote_is_read_and_is_what_we_would_write() {
    let spent = Spent { nonce: u32::MAX, boots: 12 };
    assert_eq!(raw::note(golden!("uboot-2023.01-note.bin"), Head::Plain), Note::Read(spent));
    assert_eq!(raw::encode_spent(&spent, Head::Plain).unwrap(), *golden!("uboot-2023.01-note.bin"));
}

#[test]
fn the_note_that_grub_wrote_is_read_and_is_what_we_would_write() {
    let spent = Spent { nonce: u32::MAX, boots: 15 };
    assert_eq!(grub::note(golden!("grub-2.06-note.grubenv")), Note::Read(spent));
    assert_eq!(grub::encode_spent(&spent).unwrap(), *golden!("grub-2.06-note.grubenv"));
}

#[test]
fn an_environment_of_mkenvimage_is_read_with_its_filling() {
    let env = uboot::open(golden!("mkenvimage-plain.bin"), Head::Plain).unwrap();
    let names: Vec<_> = env.vars.iter().map(|var| String::from_utf8_lossy(var.name).into_owned()).collect();
    assert_eq!(names, ["bootdelay", "bootcmd", "pv_rev", "pv_try", "pv_trying"]);
    assert_eq!(env.vars.get("pv_rev"), Some(&b"locals/first"[..]));
    assert_eq!(env.vars.get("pv_try"), Some(&b""[..]));
}

#[test]
fn an_environment_read_with_the_wrong_head_is_refused() {
    for (bytes, head) in
        [(golden!("mkenvimage-plain.bin"), Head::Flagged), (golden!("mkenvimage-redundant.bin"), Head::Plain)]
    {
        assert!(matches!(uboot::open(bytes, head), Err(Error::Checksum { .. })));
    }
}

#[test]
fn a_change_of_fw_setenv_gives_the_bytes_that_a_change_of_ours_gives() {
    let theirs = uboot::open(golden!("fw_setenv-plain.bin"), Head::Plain).unwrap();
    assert_eq!(theirs.vars.get("pv_try"), Some(&b"7"[..]));
    assert_eq!(theirs.vars.get("pv_trying"), None);

    let mut ours = [0; 0x1000];
    uboot::write(theirs.vars, &[("pv_try", "7")], Head::Plain, 0, &mut ours).unwrap();
    assert_eq!(ours, *golden!("fw_setenv-plain.bin"));
}

#[test]
fn of_two_copies_the_one_that_fw_setenv_wrote_last_counts() {
    let first = uboot::open(golden!("fw_setenv-redundant-1.bin"), Head::Flagged).unwrap();
    let second = uboot::open(golden!("fw_setenv-redundant-2.bin"), Head::Flagged).unwrap();
    assert_eq!((first.flag, second.flag), (1, 2));
    assert!(!uboot::first_is_newer(first.flag, second.flag));
    assert_eq!(second.vars.get("pv_try"), Some(&b"7"[..]));
}

#[test]
fn a_block_of_grub_editenv_is_read_with_its_escapes() {
    let vars = grub::open(golden!("grub-editenv.grubenv")).unwrap();
    let text = |name| String::from_utf8(unescaped(vars.get(name).unwrap()).collect()).unwrap();
    assert_eq!(text("args"), "quiet splash");
    assert_eq!(text("back"), "a\\b");
    assert_eq!(text("multi"), "one\ntwo");
    assert_eq!((text("pv_try"), text("pv_trying")), ("8".to_string(), "8".to_string()));
}

#[test]
fn a_block_of_grub_editenv_keeps_the_lines_of_others_when_ours_change() {
    let old = golden!("grub-editenv.grubenv");
    assert_eq!(grub::write(grub::open(old).unwrap(), &[("pv_rev", "7")]).unwrap(), *old);

    let changed = reference::encode_grubenv(grub::open(old).unwrap(), &wanted()).unwrap();
    let kept = old.windows(9).position(|window| window == b"pv_rev=7\n").unwrap();
    assert_eq!(changed[..kept], old[..kept]);
    assert_eq!(reference::decode(grub::open(&changed).unwrap()), Ok(wanted()));
}

#[test]
fn a_block_of_the_reference_says_what_is_tried_and_that_it_was_tried() {
    let vars = grub::open(golden!("grub-editenv.grubenv")).unwrap();
    let wanted = reference::decode(vars).unwrap();
    assert_eq!((wanted.default.as_str(), wanted.trial.as_ref().unwrap().revision.as_str()), ("7", "8"));
    assert_eq!(reference::note(&wanted, vars), Note::Read(Spent { nonce: 0, boots: 1 }));
}
