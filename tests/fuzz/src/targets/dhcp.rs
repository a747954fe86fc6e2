//! What servers on a link answer to a device in recovery.

use formats::dhcp::{ANSWER_MAX, Answer, Error, Party, answer, is_beside, is_host};

pub(crate) fn lease(bytes: &[u8]) {
    // Of whoever the bytes are for, so that what lies behind that question is reached.
    let xid = bytes.get(4..8).and_then(|xid| xid.try_into().ok()).map_or(0, u32::from_be_bytes);
    let hardware = bytes.get(28..34).and_then(|own| own.try_into().ok()).unwrap_or_default();
    let party = Party { xid, hardware };
    let read = answer(party, bytes);
    let Ok(taken) = read else { return };
    assert_eq!(answer(Party { xid: !xid, hardware }, bytes), Err(Error::NotOurs));
    assert!(bytes.len() <= ANSWER_MAX && bytes.contains(&255));
    if let Answer::Offer(lease) | Answer::Ack(lease) = taken {
        assert!(is_host(lease.address, lease.prefix), "{lease:?}");
        assert!(lease.router.is_none_or(|router| router != lease.address), "{lease:?}");
        assert!(lease.router.is_none_or(|router| is_beside(router, lease.address, lease.prefix)), "{lease:?}");
    }
    // It ends where it says so: what a link pads it with means nothing.
    let padded: Vec<u8> = bytes.iter().copied().chain([53, 1]).collect();
    if padded.len() <= ANSWER_MAX {
        assert_eq!(answer(party, &padded), read);
    }
}
