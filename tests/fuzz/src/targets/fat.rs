//! Laws of finding a file in a FAT. The input is a [`Sparse`] medium of 64 MiB, which has room for all three kinds.

use metal::fat::{DIRECTORY_MAX, FILE_MAX, locate};

use super::sparse::{SECTOR, Sparse};

const SIZE: u64 = 64 << 20;

/// No path of two names needs more: two directories and a file, each with the entries of its clusters.
const READS_MAX: u64 = 2 * (2 * DIRECTORY_MAX) / SECTOR as u64 + FILE_MAX as u64 / SECTOR as u64 + 8;

pub(crate) fn located(bytes: &[u8]) {
    for path in ["cairn/wanted", "wanted"] {
        let mut medium = Sparse::new(bytes, SIZE, READS_MAX);
        let Ok(extent) = locate(&mut medium, path) else { continue };
        assert!(extent.at > 0 && extent.at.is_multiple_of(SECTOR as u64), "a file lies on sectors, behind the first");
        assert!(extent.length > 0 && extent.at + u64::from(extent.length) <= SIZE, "a file lies in its medium");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_hold_a_file_in_each_of_the_three_kinds() {
        let seeds = crate::corpus::seeds("fat").unwrap();
        let found = |bytes: &&Vec<u8>| locate(&mut Sparse::new(bytes, SIZE, READS_MAX), "cairn/wanted").is_ok();
        assert_eq!(seeds.iter().filter(found).count(), 3);
    }
}
