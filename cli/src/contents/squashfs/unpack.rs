//! How blocks are packed, each by itself, and what comes out of one: never more than a block has.

use std::io::Read;

use crate::contents::error::ContentsError;

/// Memory that a stream of xz may ask for, in bytes. A dictionary beyond the largest block is of no use.
const XZ_MEMORY: u64 = 32 * 1024 * 1024;

const BROKEN: ContentsError = ContentsError::Damaged("a block cannot be unpacked");

/// By what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Packed {
    Gzip,
    Xz,
    Lz4,
    Zstd,
}

impl Packed {
    /// As the head says it.
    pub(super) fn of(number: u16) -> Result<Self, ContentsError> {
        let unread = |name: &str| ContentsError::Unknown(format!("it is packed by {name}, which is not read here"));
        match number {
            1 => Ok(Self::Gzip),
            2 => Err(unread("lzma")),
            3 => Err(unread("lzo")),
            4 => Ok(Self::Xz),
            5 => Ok(Self::Lz4),
            6 => Ok(Self::Zstd),
            _ => Err(ContentsError::Damaged("it is packed by something that does not exist")),
        }
    }

    /// Unpacks a block of at most `most` bytes.
    pub(super) fn unpack(self, packed: &[u8], most: usize) -> Result<Vec<u8>, ContentsError> {
        match self {
            Self::Gzip => read(flate2::read::ZlibDecoder::new(packed), most),
            Self::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(|_| BROKEN)?;
                read(liblzma::read::XzDecoder::new_stream(packed, stream), most)
            }
            Self::Lz4 => {
                let mut block = vec![0; most];
                let len = lz4_flex::block::decompress_into(packed, &mut block).map_err(|_| BROKEN)?;
                block.truncate(len);
                Ok(block)
            }
            Self::Zstd => zstd::bulk::decompress(packed, most).map_err(|_| BROKEN),
        }
    }
}

fn read(unpacked: impl Read, most: usize) -> Result<Vec<u8>, ContentsError> {
    let mut block = Vec::new();
    unpacked.take(most as u64 + 1).read_to_end(&mut block).map_err(|_| BROKEN)?;
    if block.len() > most { Err(BROKEN) } else { Ok(block) }
}
