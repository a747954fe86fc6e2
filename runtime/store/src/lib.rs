//! What a device keeps: the journal and, beside it, whatever is named by its content.
//!
//! | module | what |
//! |---|---|
//! | [`digest`] | local integrity: BLAKE3 of a stream |
//! | [`mod@file`] | sectors of a file or a partition, each write durable |
//! | [`nor`] | flash emulated on sectors, with an erase that keeps the order of its sectors |
//! | [`journal`] | one value, replaced as a whole, in two mirrored regions |
//!
//! PID 1 is the only writer. Everything here is synchronous: a write that was begun is carried to its end.
#![forbid(unsafe_code)]

pub mod digest;
pub mod file;
pub mod journal;
pub mod nor;
mod region;
