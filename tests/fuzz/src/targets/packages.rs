//! Packages of `pvtx`, as somebody hands them over.

use std::io::Write as _;

use ctl::tx::look_into;
use flate2::Compression;
use flate2::write::GzEncoder;

pub(crate) fn packages(bytes: &[u8]) {
    let found = look_into(bytes);
    // What is packed twice is not unpacked twice.
    if !bytes.starts_with(&[0x1f, 0x8b]) && !bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(bytes).expect("memory takes everything");
        let packed = packed.finish().expect("memory takes everything");
        assert_eq!(look_into(&packed).ok(), found.clone().ok());
    }
    let Ok((text, objects)) = found else { return };
    assert_eq!(look_into(text.as_bytes()), Ok((text.clone(), Vec::new())));
    for (id, size) in objects {
        assert!(size <= 1032 * bytes.len() as u64, "{id} has more bytes than could be packed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_the_corpus_is_read_and_some_of_it_has_objects() {
        let seeds = crate::corpus::seeds("packages").unwrap();
        let read: Vec<_> = seeds.iter().filter_map(|seed| look_into(seed).ok()).collect();
        assert!(read.len() >= 5, "{}", read.len());
        assert!(read.iter().any(|(_, objects)| !objects.is_empty()));
    }
}
