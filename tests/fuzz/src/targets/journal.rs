//! Laws of the journal's bytes.

use formats::journal::{self, Body, Version};
use statemachine::journal::Journal;

pub(crate) fn whole(bytes: &[u8]) {
    law(bytes);
    law(&sealed(bytes));
}

fn law(bytes: &[u8]) {
    let Ok(read) = journal::decode(bytes) else { return };
    assert!(bytes.len() <= journal::MAX_LEN);
    let Body::Known(body) = read.body else { return };
    let journal = Journal { header: read.header, body };
    for version in [Version::V1, Version::V2] {
        let again = written(&journal, version);
        assert_eq!(again.header, journal.header);
        let kept = again.into_journal().is_some_and(|again| again == journal);
        assert_eq!(kept, version.keeps(&journal.body), "{version:?}");
    }
}

pub(crate) fn rehead(bytes: &[u8]) {
    for bytes in [bytes, &sealed(bytes)] {
        let Ok(mut before) = journal::decode(bytes) else { continue };
        before.header.attempts = before.header.attempts.wrapping_add(1);
        before.overtaken = true;
        let mut into = [0; journal::MAX_LEN];
        let len = journal::rehead(bytes, &before.header, &mut into).expect("what could be read has room");
        assert_eq!(len, bytes.len());
        assert_eq!(journal::decode(&into[..len]), Ok(before));
        assert_eq!(into[650..len - 4], bytes[650..len - 4]);
    }
}

fn written(journal: &Journal, version: Version) -> journal::Decoded {
    let mut into = [0; journal::CURRENT_LEN];
    let len = journal::encode_as(journal, version, &mut into).expect("every journal has room");
    journal::decode(&into[..len]).expect("what was written can be read")
}

/// The same bytes with the length of the body and the checksum put right, so that mutations get past them.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = bytes.to_vec();
    let Some(body) = sealed.len().checked_sub(653 + 4).and_then(|len| u16::try_from(len).ok()) else { return sealed };
    sealed[651..653].copy_from_slice(&body.to_le_bytes());
    let end = sealed.len() - 4;
    let checksum = super::crc32(&sealed[..end]);
    sealed[end..].copy_from_slice(&checksum.to_le_bytes());
    sealed
}
