//! What a board must provide, and the generic parts that most boards are made of.
//!
//! A board never decides: [`statemachine::boot::pick`] says what boots, the update machine says what is wanted. A board
//! says where the two boot cells lie, in which encoding, and where its firmware looks for kernels. So most boards are
//! constants plus one line that puts a [`cell`] and a [`env::Codec`] together.
//!
//! | module | what |
//! |---|---|
//! | [`media`] | the seam to the operating system: sectors and files that are written durably |
//! | [`cell`] | a place for one small value that survives a power cut: raw pair, one sector, exchanged file |
//! | [`codecs`] | the encodings of `formats`, as parameters of the above |
//! | [`mod@env`] | [`env::BootEnv`]: the two values `Wanted` and `Spent` over two cells |
//! | [`board`] | [`board::Board`], its layout of partitions, and what the firmware says it has booted |
//! | [`provision`] | what the cells of a new device hold, for image builders and tests |
//! | [`slots`] | which slot a new revision may be written to, and never that of the default or of what runs |
//! | [`takeover`] | what boards share whose firmware and boot files are those of the reference system |
//! | [`uboot`] | what boards with a U-Boot share: the boot script, partitions, cells in raw sectors |
//! | [`uboot_slots`] | the same of boards whose U-Boot starts FIT images from two slots |
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod board;
pub mod cell;
pub mod codecs;
pub mod env;
pub mod media;
pub mod provision;
pub mod slots;
pub mod takeover;
pub mod uboot;
pub mod uboot_slots;

pub use board::{Board, Booted};
pub use cell::Cell;
pub use env::BootEnv;
pub use statemachine::boot::TrialKind;
