//! Media that lose power, one durable operation at a time.
//!
//! Every medium burns one unit of a shared [`Fuel`] for each operation that changes what a later reader finds. A first
//! run with unlimited fuel counts the operations; further runs cut power inside each of them. What the interrupted
//! operation leaves behind is chosen by a [`Tear`] and a seed, so that every failure can be run again.
//!
//! | medium | granularity | an interrupted operation leaves |
//! |---|---|---|
//! | [`nor::SimNor`] | word, erase page | the word or the page torn; everything else whole |
//! | [`block::SimBlock`] | 512-byte sector, volatile cache | any part of what was not flushed, one sector torn |
//! | [`fs::SimFs`] | sector of data, block of metadata | any part of the metadata that was being brought home |
//!
//! The media enforce the rules of the real ones (bits are only cleared, words are programmed once, offsets are
//! aligned), and report a breach as an error of its own, never as a power cut.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, reason = "a simulation may stop a test; it never runs on a device")]

pub mod block;
pub mod fs;
pub mod fuel;
pub mod nor;

pub use fuel::{Burn, Fuel, Tear};
