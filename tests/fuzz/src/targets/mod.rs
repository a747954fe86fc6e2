//! The laws, a file for each room of readers.

pub(crate) mod assembly;
pub(crate) mod bootenv;
pub(crate) mod bundles;
pub(crate) mod compose;
pub(crate) mod contents;
pub(crate) mod cosign;
pub(crate) mod dhcp;
pub(crate) mod drivers;
pub(crate) mod fat;
pub(crate) mod gpt;
pub(crate) mod history;
pub(crate) mod journal;
pub(crate) mod layers;
pub(crate) mod left;
pub(crate) mod listing;
pub(crate) mod logs;
pub(crate) mod net;
pub(crate) mod packages;
pub(crate) mod requests;
pub(crate) mod revision;
pub(crate) mod seccomp;
mod sparse;
pub(crate) mod verity;

/// CRC-32/ISO-HDLC by its definition, bit by bit: a second opinion beside the table of the code under test.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}
