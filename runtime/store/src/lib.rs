//! What a device keeps: the journal and, beside it, whatever is named by its content.
//!
//! | module | what |
//! |---|---|
//! | [`digest`] | local integrity: BLAKE3 of a stream |
//! | [`mod@file`] | sectors of a file or a partition, each write durable |
//! | [`nor`] | flash emulated on sectors, with an erase that keeps the order of its sectors |
//! | [`journal`] | one value, replaced as a whole, in two mirrored regions |
//! | [`dir`] | a directory that no path and no link leads out of |
//! | [`objects`] | `objects/<sha256>`: immutable bytes, whole or not there |
//! | [`trails`] | `trails/<revision>`: the revisions of a device, whole or not there |
//! | [`metadata`] | short texts under names, of no revision |
//! | [`deploy`] | a trail that a tool writes |
//! | [`volumes`] | which revision's data a container finds |
//! | [`sweep`] | garbage: the one place that removes |
//!
//! PID 1 is the only writer of a device that runs. Everything here is synchronous: a write that was begun is carried to its end.
#![forbid(unsafe_code)]

pub mod deploy;
pub mod digest;
pub mod dir;
pub mod file;
pub mod journal;
pub mod metadata;
pub mod nor;
pub mod objects;
mod region;
mod shelf;
pub mod sweep;
#[cfg(test)]
mod testing;
pub mod trails;
mod tree;
pub mod volumes;
