//! Files that a bootloader reads too, on Linux: a bootloader replays no file system journal.
//!
//! | module | what |
//! |---|---|
//! | [`directory`] | `boards_api::media::Files`: values overwritten in place, names exchanged |
//! | [`barrier`] | what brings home the metadata that only the file system's journal holds |
//! | [`error`] | what can go wrong, with the place |
//!
//! Sectors of a partition or of a preallocated file are in `runtime/store`, beside the journal that lives on them.
//! What is promised here is checked with real readers on a real file system in `tests/unreplayed`.
#![deny(unsafe_code)]

pub mod barrier;
pub mod directory;
pub mod error;
mod extents;
#[expect(unsafe_code, reason = "ioctls that no safe crate has; all of them are here")]
mod sys;
