//! The journal's bytes: largest values, frozen forms, and every way to be wrong.

use std::string::{String, ToString};
use std::vec::Vec;

use proptest::prelude::*;
use statemachine::journal::{CAUSES_MAX, PolicyReboots, Reason, Transition};

use super::*;

fn revision(name: &str) -> RevisionId {
    RevisionId::parse(name).unwrap()
}

fn longest() -> RevisionId {
    revision(&("locals/".to_string() + &"n".repeat(REVISION_ID_MAX - 7)))
}

fn small() -> Journal {
    Journal::factory(Known { revision: revision("0"), digest: Some(Digest([7; 32])) })
}

fn largest() -> Journal {
    let mut condemned = Condemned::default();
    (0..CONDEMNED_MAX as u8).for_each(|n| condemned.add(Digest([n; 32])));
    let known = Known { revision: longest(), digest: Some(Digest([0xff; 32])) };
    Journal {
        header: Header { default: known.clone(), attempts: 255, condemned },
        body: journal::Body {
            record: Record::Trying { what: known, by: Transition::InPlace },
            proven: true,
            open: Some(longest()),
            ends: Ends { marked: 255, unmarked: 255 },
            reboots: (0..CAUSES_MAX).map(|_| PolicyReboots { cause: u32::MAX, times: 255 }).collect(),
            rescued: Some(longest()),
        },
    }
}

fn bytes(journal: &Journal) -> Vec<u8> {
    bytes_as(journal, Version::CURRENT)
}

fn bytes_as(journal: &Journal, version: Version) -> Vec<u8> {
    let mut buffer = [0xaa; CURRENT_LEN];
    let len = encode_as(journal, version, &mut buffer).unwrap();
    buffer[..len].to_vec()
}

/// Changes bytes and makes the checksum right again.
fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = bytes(&small());
    bytes.truncate(bytes.len() - CRC_LEN);
    change(&mut bytes);
    let checksum = crc32(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

fn field(change: impl FnOnce(&mut Vec<u8>)) -> (Field, usize) {
    match decode(&forged(change)) {
        Err(Error::Field { field, offset }) => (field, offset),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_largest_journal_has_exactly_the_promised_length() {
    assert_eq!(bytes(&largest()).len(), CURRENT_LEN);
    assert_eq!(bytes_as(&largest(), Version::V1).len(), HEAD_LEN + BODY_V1_MAX + CRC_LEN);
    assert_eq!(decode(&bytes(&largest())).unwrap().into_journal(), Some(largest()));
}

#[test]
fn the_drawing_at_the_head_of_the_file_is_true() {
    let bytes = bytes(&largest());
    assert_eq!(&bytes[..8], b"CNJL\x01\x00\xff\x01");
    assert_eq!(&bytes[8..40], [0xff; 32]);
    assert_eq!((bytes[40], &bytes[41..48]), (96, &b"locals/"[..]));
    assert_eq!((bytes[137], &bytes[138 + 15 * 32..650]), (16, &[15; 32][..]));
    assert_eq!((bytes[650], usize::from(u16::from_le_bytes([bytes[651], bytes[652]]))), (2, BODY_V2_MAX));
}

/// Devices in the field hold these bytes: should this test fail, a new [`Version`] is needed, not a new test.
#[test]
fn the_bytes_of_both_bodies_are_frozen() {
    let mut journal = small();
    journal.body = journal::Body {
        record: Record::Trying { what: Known { revision: revision("5"), digest: None }, by: Transition::InPlace },
        proven: false,
        open: Some(revision("4")),
        ends: Ends { marked: 2, unmarked: 3 },
        reboots: [PolicyReboots { cause: 300, times: 1 }].into_iter().collect(),
        rescued: Some(revision("0")),
    };
    let body = |version| bytes_as(&journal, version)[HEAD_LEN..].split_last_chunk::<4>().unwrap().0.to_vec();
    assert_eq!(body(Version::V1), b"\x02\x015\x00\x01\x00\x01\x014\x02\x03");
    assert_eq!(body(Version::V2), b"\x02\x015\x00\x01\x00\x01\x014\x02\x03\x01\xac\x02\x01\x01\x010");
}

#[test]
fn the_numbers_of_records_and_reasons_are_frozen() {
    let reasons = [
        Reason::NeverArmed,
        Reason::Skipped,
        Reason::Unconfirmed,
        Reason::GoalMissed,
        Reason::Crashed,
        Reason::SwitchFailed,
        Reason::Unbootable,
        Reason::Unstable,
        Reason::Ordered,
    ];
    for (number, reason) in reasons.into_iter().enumerate() {
        let mut buffer = [0; 8];
        let bytes = postcard::to_slice(&Record::RolledBack(revision("1"), reason), &mut buffer).unwrap();
        assert_eq!(bytes, [3, 1, b'1', number as u8]);
    }
    let first = |record: Record| postcard::to_slice(&record, &mut [0; 128]).unwrap()[0];
    assert_eq!(first(Record::Committed(revision("1"))), 0);
    assert_eq!(first(Record::Updated(revision("1"))), 1);
}

#[test]
fn the_older_body_comes_back_with_defaults_for_what_it_does_not_have() {
    let mut expected = largest();
    expected.body.reboots.clear();
    expected.body.rescued = None;
    assert_eq!(decode(&bytes_as(&largest(), Version::V1)).unwrap().into_journal(), Some(expected.clone()));
    assert!(!Version::V1.keeps(&largest().body));
    assert!(Version::V1.keeps(&expected.body));
}

#[test]
fn the_head_of_a_newer_journal_is_still_read() {
    let newer = forged(|bytes| {
        bytes[650] = 3;
        bytes.push(0xee);
        let length = (bytes.len() - HEAD_LEN) as u16;
        bytes[651..653].copy_from_slice(&length.to_le_bytes());
    });
    let decoded = decode(&newer).unwrap();
    assert_eq!(decoded.body, Body::Newer { version: 3 });
    assert_eq!(decoded.header, small().header);
    assert_eq!(decoded.into_journal(), None);
}

#[test]
fn a_newer_body_keeps_every_byte_when_an_older_version_changes_the_head() {
    let newer = forged(|bytes| bytes[650] = 9);
    let mut header = small().header;
    header.attempts = 2;
    header.condemned.add(Digest([1; 32]));
    let mut buffer = [0; MAX_LEN];
    let len = rehead(&newer, &header, &mut buffer).unwrap();
    let after = decode(&buffer[..len]).unwrap();
    assert_eq!(after, Decoded { header, body: Body::Newer { version: 9 }, overtaken: true });
    assert_eq!(buffer[HEAD_LEN..len - 4], newer[HEAD_LEN..newer.len() - 4]);
}

#[test]
fn a_journal_of_one_piece_was_not_overtaken() {
    assert!(!decode(&bytes(&small())).unwrap().overtaken);
}

#[test]
fn every_torn_journal_is_noticed() {
    let (old, new) = (bytes(&small()), bytes(&largest()));
    for cut in 4..new.len() {
        let mut torn = new.clone();
        for (index, byte) in torn.iter_mut().enumerate().skip(cut) {
            *byte = old.get(index).copied().unwrap_or(0);
        }
        assert_eq!(decode(&torn).is_ok(), torn == new, "cut at {cut}");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let whole = bytes(&small());
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn bytes_of_an_impossible_length_are_no_journal() {
    assert_eq!(decode(&[]), Err(Error::Length(0)));
    assert_eq!(decode(&[0; HEAD_LEN + CRC_LEN - 1]), Err(Error::Length(HEAD_LEN + CRC_LEN - 1)));
    assert_eq!(decode(&[0; MAX_LEN + 1]), Err(Error::Length(MAX_LEN + 1)));
}

#[test]
fn a_blank_medium_is_no_journal() {
    assert_eq!(decode(&[0; MAX_LEN]), Err(Error::Magic));
    assert_eq!(decode(&[0xff; MAX_LEN]), Err(Error::Magic));
}

#[test]
fn bytes_after_the_journal_are_refused() {
    let longer = forged(|bytes| bytes.push(0));
    assert!(matches!(decode(&longer), Err(Error::BodyLength { claimed, there }) if there == claimed + 1));
    let inside = field(|bytes| {
        bytes.push(0);
        bytes[651] += 1;
    });
    assert_eq!(inside, (Field::Body, HEAD_LEN));
}

#[test]
fn a_head_of_another_format_is_named() {
    assert_eq!(decode(&forged(|bytes| bytes[4] = 2)), Err(Error::Format(2)));
}

#[test]
fn each_impossible_field_is_named_with_its_place() {
    assert_eq!(field(|bytes| bytes[5] = 2), (Field::Overtaken, 5));
    assert_eq!(field(|bytes| bytes[7] = 2), (Field::DefaultDigest, 7));
    assert_eq!(field(|bytes| bytes[7] = 0), (Field::DefaultDigest, 7));
    assert_eq!(field(|bytes| bytes[40] = 0), (Field::DefaultBytes, 40));
    assert_eq!(field(|bytes| bytes[40] = 97), (Field::DefaultBytes, 40));
    assert_eq!(field(|bytes| bytes[41] = 0xff), (Field::DefaultBytes, 40));
    assert_eq!(field(|bytes| bytes[41] = b'x'), (Field::Default(IdError::Shape), 41));
    assert_eq!(field(|bytes| bytes[137] = 17), (Field::Condemned, 137));
    assert_eq!(field(|bytes| bytes[137] = 2), (Field::Condemned, 137));
    assert_eq!(field(|bytes| bytes[138] = 1), (Field::Condemned, 137));
    assert_eq!(field(|bytes| bytes[650] = 0), (Field::BodyVersion, 650));
    assert_eq!(field(|bytes| bytes[653] = 9), (Field::Body, HEAD_LEN));
}

#[test]
fn a_buffer_that_is_too_small_is_told_what_is_needed() {
    let needed = bytes(&small()).len();
    assert_eq!(encode(&small(), &mut [0; HEAD_LEN]), Err(Error::Room { needed }));
    assert_eq!(encode(&small(), &mut std::vec![0; needed]), Ok(needed));
}

#[test]
fn an_error_says_where_and_what() {
    let error = decode(&forged(|bytes| bytes[41] = b'x')).unwrap_err().to_string();
    assert_eq!(
        error,
        "the journal's default at byte 41 is not a revision: a revision is named by a decimal number or as locals/NAME"
    );
}

fn any_revision() -> impl Strategy<Value = RevisionId> {
    prop_oneof!["0|[1-9][0-9]{0,30}", "locals/[a-zA-Z0-9_-][a-zA-Z0-9_.-]{0,88}"]
        .prop_map(|name: String| revision(&name))
}

fn any_known() -> impl Strategy<Value = Known> {
    (any_revision(), any::<Option<[u8; 32]>>())
        .prop_map(|(revision, digest)| Known { revision, digest: digest.map(Digest) })
}

fn any_record() -> impl Strategy<Value = Record> {
    prop_oneof![
        any_revision().prop_map(Record::Committed),
        any_revision().prop_map(Record::Updated),
        any_revision().prop_map(|revision| Record::RolledBack(revision, Reason::GoalMissed)),
        (any_known(), any::<bool>()).prop_map(|(what, reboot)| {
            Record::Trying { what, by: if reboot { Transition::Reboot } else { Transition::InPlace } }
        }),
    ]
}

prop_compose! {
    fn any_journal()(
        default in any_known(), attempts: u8, bad in prop::collection::vec(any::<[u8; 32]>(), 0..20),
        record in any_record(), proven: bool, open in prop::option::of(any_revision()), marked: u8, unmarked: u8,
        reboots in prop::collection::vec((any::<u32>(), any::<u8>()), 0..=CAUSES_MAX),
        rescued in prop::option::of(any_revision()),
    ) -> Journal {
        let mut condemned = Condemned::default();
        bad.into_iter().for_each(|digest| condemned.add(Digest(digest)));
        let reboots = reboots.into_iter().map(|(cause, times)| PolicyReboots { cause, times }).collect();
        let ends = Ends { marked, unmarked };
        Journal {
            header: Header { default, attempts, condemned },
            body: journal::Body { record, proven, open, ends, reboots, rescued },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn every_journal_comes_back_as_it_was(journal in any_journal()) {
        let bytes = bytes(&journal);
        prop_assert!(bytes.len() <= CURRENT_LEN);
        prop_assert_eq!(decode(&bytes).unwrap().into_journal(), Some(journal));
    }
}
