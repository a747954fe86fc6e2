//! The one checksum of this crate: CRC-32/ISO-HDLC, the one that U-Boot, gzip and Ethernet use.

use crc::{CRC_32_ISO_HDLC, Crc, Digest};

static CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// The checksum of `bytes`. Detects a torn or rotten copy; protects against nobody.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    CRC32.checksum(bytes)
}

/// The checksum of bytes that come piece by piece.
pub struct Running(Digest<'static, u32>);

impl Default for Running {
    fn default() -> Self {
        Self(CRC32.digest())
    }
}

impl Running {
    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The checksum of all of them.
    #[must_use]
    pub fn finish(self) -> u32 {
        self.0.finalize()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_the_one_that_bootloaders_compute() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
        let mut pieces = super::Running::default();
        [&b"1234"[..], b"", b"56789"].into_iter().for_each(|piece| pieces.update(piece));
        assert_eq!(pieces.finish(), 0xcbf4_3926);
    }
}
