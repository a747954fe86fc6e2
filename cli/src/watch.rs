//! How long work tells how far it is, without knowing whether anybody looks.

/// Somebody who may want to know. All methods do nothing unless they are written.
pub trait Watch {
    /// Work on so many bytes begins; `what` is its name, as in "hashing".
    fn begin(&self, what: &'static str, bytes: u64) {
        let _ = (what, bytes);
    }

    /// So many more of them are done.
    fn advance(&self, bytes: u64) {
        let _ = bytes;
    }

    /// It has ended.
    fn end(&self) {}

    /// Something happened that a person may want to know while it goes on: why it takes longer, how far a device is.
    fn say(&self, line: &str) {
        let _ = line;
    }
}

/// Nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}
