//! Boards that are broken on purpose: each is caught by the law that is meant for it, and the failure says what was seen.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "helpers of tests; they never run on a device")]

mod environments;
mod faulty;
mod layouts;
mod words;

use board_laws::Verdict;

/// The law is broken, and says so with these words.
#[track_caller]
fn caught(verdict: Verdict, words: &str) {
    match verdict {
        Ok(()) => panic!("the law was kept, and should have been broken with {words:?}"),
        Err(what) => assert!(what.contains(words), "{what:?} does not say {words:?}"),
    }
}

mod sound {
    //! Without a fault, the board of these tests keeps every law: what breaks one is the fault.
    use crate::faulty::{Faulty, Sound};

    board_laws::board_laws!(Faulty<Sound>);
}
