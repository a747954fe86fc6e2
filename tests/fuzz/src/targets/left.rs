//! What a device finds of others: files of an ext4 that nobody has mounted, and the last words of a kernel.

use metal::ext4::Ext4;
use metal::pstore::{Record, head, last_words};

use super::sparse::Sparse;

/// A small one: a file is never larger than its medium, and is given piece by piece.
const SIZE: u64 = 4 << 20;

/// Directories on the way, nodes of a tree and pieces of a file are bounded; so many are far behind all of them together.
const READS_MAX: u64 = 64 * 1024;

/// The input is a [`Sparse`] medium.
pub(crate) fn file(bytes: &[u8]) {
    for path in ["trails/0/file", "file"] {
        let Ok(mut ext4) = Ext4::open(Sparse::new(bytes, SIZE, READS_MAX)) else { return };
        let mut given = 0;
        if let Ok(length) = ext4.read(path, &mut |piece| given += piece.len() as u64) {
            assert_eq!(length, given, "as many bytes as it says");
            assert!(length <= SIZE, "a file lies in its medium");
        }
    }
}

/// The first line, then what follows.
pub(crate) fn record(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (line, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let head = head(line);
    assert!(head.is_none() || line.contains('#') && line.contains(" Part"), "{line}");
    let records = [Record { path: "dmesg-0".into(), head, text: rest.to_owned() }];
    if let Some(words) = last_words(&records) {
        assert!(rest.contains(words) && !words.contains('\n'), "nobody has said {words:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_holds_a_file() {
        let seeds = crate::corpus::seeds("ext4").unwrap();
        let found = |bytes: &&Vec<u8>| {
            let Ok(mut ext4) = Ext4::open(Sparse::new(bytes, SIZE, READS_MAX)) else { return false };
            ext4.read("trails/0/file", &mut |_| ()).is_ok()
        };
        assert_eq!(seeds.iter().filter(found).count(), 1);
    }
}
