//! The one checksum of this crate: CRC-32/ISO-HDLC, the one that U-Boot, zip and Ethernet use.

use crc::{CRC_32_ISO_HDLC, Crc};

const CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// The checksum of `bytes`. Detects a torn or rotten copy; protects against nobody.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    CRC32.checksum(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_the_one_that_bootloaders_compute() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
    }
}
