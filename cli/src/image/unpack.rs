//! From the bytes of a blob to a plain tar: gzip, zstd and xz by their first bytes, everything else as it is.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, Write as _};

use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use super::digest::{Digest, Hashing};

/// The largest window of a zstd stream: 128 MiB, what `zstd --long` asks for.
const WINDOW_LOG_MAX: u32 = 27;

/// The most memory that an xz stream may ask for: `xz -9e` asks for 65 MiB.
const XZ_MEMORY: u64 = 256 * 1024 * 1024;

const BUFFER: usize = 256 * 1024;

/// Why a blob cannot be unpacked.
pub(crate) enum UnpackError {
    /// The bytes are not what they seem, or cannot be read.
    Read(io::Error),
    /// There is no place for the result.
    Write(io::Error),
    /// More than this comes out.
    TooMuch(u64),
}

/// Unpacks a file from its beginning into another; returns the digest and the length of what came out. `seen` hears of
/// packed bytes as they are read.
pub(crate) fn unpack(
    from: &mut File,
    to: &mut File,
    limit: u64,
    seen: &dyn Fn(u64),
) -> Result<(Digest, u64), UnpackError> {
    let mut magic = [0; 6];
    from.rewind().map_err(UnpackError::Read)?;
    let len = read_up_to(from, &mut magic).map_err(UnpackError::Read)?;
    from.rewind().map_err(UnpackError::Read)?;
    let packed = BufReader::with_capacity(BUFFER, Seen { from, seen });
    match magic.get(..len) {
        Some([0x1f, 0x8b, ..]) => copy(flate2::bufread::MultiGzDecoder::new(packed), to, limit),
        Some([0x28, 0xb5, 0x2f, 0xfd, ..]) => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(UnpackError::Read)?;
            decoder.window_log_max(WINDOW_LOG_MAX).map_err(UnpackError::Read)?;
            copy(decoder, to, limit)
        }
        Some([0xfd, b'7', b'z', b'X', b'Z', 0]) => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED);
            let stream = stream.map_err(|error| UnpackError::Read(error.into()))?;
            copy(XzDecoder::new_stream(packed, stream), to, limit)
        }
        _ => copy(packed, to, limit),
    }
}

/// A file whose reader is watched.
struct Seen<'a> {
    from: &'a mut File,
    seen: &'a dyn Fn(u64),
}

impl Read for Seen<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.from.read(buffer)?;
        (self.seen)(len as u64);
        Ok(len)
    }
}

fn copy(from: impl Read, to: &mut File, limit: u64) -> Result<(Digest, u64), UnpackError> {
    let mut from = Hashing::new(from);
    let mut buffer = vec![0; BUFFER];
    loop {
        let len = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(UnpackError::Read(error)),
        };
        if from.count() > limit {
            return Err(UnpackError::TooMuch(limit));
        }
        to.write_all(buffer.get(..len).unwrap_or_default()).map_err(UnpackError::Write)?;
    }
    let len = from.count();
    Ok((from.digest(), len))
}

fn read_up_to(from: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match from.read(rest)? {
            0 => break,
            more => len += more,
        }
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(bytes: &[u8], limit: u64) -> Result<(Vec<u8>, Digest), String> {
        let (mut from, mut to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.write_all(bytes).unwrap();
        let (digest, len) = unpack(&mut from, &mut to, limit, &|_| {}).map_err(|error| match error {
            UnpackError::Read(error) => error.to_string(),
            UnpackError::Write(error) => panic!("{error}"),
            UnpackError::TooMuch(limit) => format!("more than {limit}"),
        })?;
        let mut out = Vec::new();
        to.rewind().unwrap();
        to.read_to_end(&mut out).unwrap();
        assert_eq!(out.len() as u64, len);
        Ok((out, digest))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn packed_or_not_the_same_comes_out() {
        let plain: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        // Parallel compressors write many gzip members, one after the other.
        let members = [gzip(&plain[..5]), gzip(&plain[5..])].concat();
        let streams = [xz(&plain[..7]), xz(&plain[7..])].concat();
        for packed in [plain.clone(), gzip(&plain), members, zstd::encode_all(plain.as_slice(), 3).unwrap(), streams] {
            assert_eq!(unpacked(&packed, 1 << 20).unwrap(), (plain.clone(), Digest::of(&plain)));
        }
        assert_eq!(unpacked(b"", 0).unwrap().0, b"");
    }

    #[test]
    fn what_ends_early_or_never_is_an_error() {
        let zeros = vec![0; 1 << 20];
        for packed in [gzip(&zeros), zstd::encode_all(zeros.as_slice(), 3).unwrap(), xz(&zeros)] {
            assert!(unpacked(&packed[..packed.len() - 1], 1 << 20).is_err());
            assert_eq!(unpacked(&packed, 1 << 19).unwrap_err(), "more than 524288");
        }
    }
}
