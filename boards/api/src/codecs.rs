//! The encodings that `formats` knows, as parameters for cells and environments.
//!
//! | codec | cell for `Wanted` | note |
//! |---|---|---|
//! | [`Raw`] | [`RawPair`](crate::cell::RawPair) | one sector |
//! | [`Grub`] | [`OneSector`](crate::cell::OneSector) of two sectors | [`OneSector`](crate::cell::OneSector) of two sectors |

use formats::bootenv::uboot::Head;
use formats::bootenv::{self, grub, raw};
use statemachine::boot::{Spent, Wanted};

use crate::cell::Whole;
use crate::env::Codec;

/// U-Boot's environment format in raw sectors. `FLAGGED`: this U-Boot was built for two environments, so that its
/// `env import -c` expects a flag byte behind the checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Raw<const FLAGGED: bool>;

impl<const FLAGGED: bool> Raw<FLAGGED> {
    const HEAD: Head = if FLAGGED { Head::Flagged } else { Head::Plain };
}

impl<const FLAGGED: bool> Whole for Raw<FLAGGED> {
    fn is_whole(copy: &[u8]) -> bool {
        raw::decode_wanted(copy, Self::HEAD).is_ok()
    }
}

impl<const FLAGGED: bool> Codec for Raw<FLAGGED> {
    type Error = CodecError;

    fn encode_wanted(wanted: &Wanted, into: &mut [u8]) -> Result<usize, CodecError> {
        put(&raw::encode_wanted(wanted, Self::HEAD)?, into)
    }

    fn decode_wanted(bytes: &[u8]) -> Result<Wanted, CodecError> {
        Ok(raw::decode_wanted(bytes, Self::HEAD)?)
    }

    fn decode_spent(bytes: &[u8]) -> Result<Spent, CodecError> {
        Ok(raw::decode_spent(bytes, Self::HEAD)?)
    }
}

/// GRUB's environment block of 1024 bytes, of which the first 512 change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grub;

impl Codec for Grub {
    type Error = CodecError;

    fn encode_wanted(wanted: &Wanted, into: &mut [u8]) -> Result<usize, CodecError> {
        put(&grub::encode_wanted(wanted)?, into)
    }

    fn decode_wanted(bytes: &[u8]) -> Result<Wanted, CodecError> {
        Ok(grub::decode_wanted(bytes)?)
    }

    fn decode_spent(bytes: &[u8]) -> Result<Spent, CodecError> {
        Ok(grub::decode_spent(bytes)?)
    }
}

/// Why a value was not written down, or bytes were not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CodecError {
    /// The encoding refused.
    Format(bootenv::Error),
    /// The caller's buffer is shorter than this encoding.
    Buffer(usize),
}

impl From<bootenv::Error> for CodecError {
    fn from(error: bootenv::Error) -> Self {
        Self::Format(error)
    }
}

impl core::fmt::Display for CodecError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Format(error) => error.fmt(f),
            Self::Buffer(needed) => write!(f, "this boot cell takes a buffer of {needed} bytes"),
        }
    }
}

impl core::error::Error for CodecError {}

fn put(bytes: &[u8], into: &mut [u8]) -> Result<usize, CodecError> {
    into.get_mut(..bytes.len()).ok_or(CodecError::Buffer(bytes.len()))?.copy_from_slice(bytes);
    Ok(bytes.len())
}
