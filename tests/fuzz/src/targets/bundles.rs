//! Bundles of states, as somebody hands them over.

use std::io::Cursor;

use cli::bundle::index;
use cli::image::Limits;

/// Small, so that a bound is met more often than a minute is over.
const LIMITS: Limits = Limits { entries: 2048, header: 64 * 1024, ..Limits::DEFAULT };

pub(crate) fn bundles(bytes: &[u8]) {
    let Ok(found) = index(Cursor::new(bytes), LIMITS) else { return };
    let len = bytes.len() as u64;
    for (offset, size) in found.objects.values().chain([&found.state]) {
        assert!(offset.checked_add(*size).is_some_and(|end| end <= len), "{offset}+{size} of {len}");
    }
    // A tar ends at blocks of zeros or at its end: more of them change nothing.
    let longer = [bytes, &[0; 1024]].concat();
    assert_eq!(index(Cursor::new(longer), LIMITS).ok(), Some(found));
}
