//! Layers of container images, as a registry may send them.

use std::io::Cursor;

use cli::image::Limits;
use cli::image::flatten::{alone, flatten};
use cli::image::squashfs::entry;
use cli::image::tar::{Kind, Writer};
use cli::image::tree::{Node, PathTooLong, Tree};

/// Small, so that a bound is met more often than a minute is over.
const LIMITS: Limits = Limits { entries: 2048, header: 64 * 1024, names: 1024 * 1024, ..Limits::DEFAULT };

const BLOCK: usize = 512;

pub(crate) fn layers(bytes: &[u8]) {
    check(&[bytes]);
    // A change anywhere would stop at the sum of its header; with the sums put right it goes further.
    let mut right = bytes.to_vec();
    right.chunks_exact_mut(BLOCK).filter(|block| block[257..262] == *b"ustar").for_each(set_sum);
    check(&[&right]);
    if let Ok(tree) = alone(Cursor::new(&right), LIMITS) {
        // No name of it is a mark, so as a layer it is the same.
        let names = written(&tree, &[&right]).map(|(names, _)| names);
        let as_layer = flatten([Cursor::new(&right)], LIMITS).expect("what stands alone is a layer too");
        assert_eq!(names, written(&as_layer, &[&right]).map(|(names, _)| names));
    }
    let middle = right.len() / BLOCK / 2 * BLOCK;
    let (below, above) = right.split_at(middle);
    check(&[below, above]);
    check(&[&right, &right]);
}

fn check(layers: &[&[u8]]) {
    let Ok(tree) = flatten(layers.iter().map(Cursor::new), LIMITS) else { return };
    let Ok((names, archive)) = written(&tree, layers) else { return };
    // Long names take a header of their own.
    let twice = Limits { entries: 2 * LIMITS.entries, ..LIMITS };
    let again = flatten([Cursor::new(&archive)], twice).expect("what was written is read");
    let (names_again, archive_again) = written(&again, &[&archive]).expect("paths are as long as they were");
    assert_eq!(names, names_again);
    assert!(archive == archive_again);
}

/// The names of a tree, and the tree as one layer.
fn written(tree: &Tree, layers: &[&[u8]]) -> Result<(Vec<Vec<u8>>, Vec<u8>), PathTooLong> {
    let mut writer = Writer::new(Vec::new());
    let mut names = Vec::new();
    tree.walk(|path, id, earlier| {
        let outside = |part: &[u8]| part.is_empty() || part == b"." || part == b".." || part.starts_with(b".wh.");
        assert!(!path.split(|byte| *byte == b'/').any(outside), "{path:?}");
        let entry = entry(tree, path, id, earlier);
        let contents = match (&entry.kind, &tree.inode(id).node) {
            (Kind::File { .. }, Node::File(it)) => &layers[it.layer][it.offset as usize..][..it.len as usize],
            _ => &[],
        };
        writer.append(&entry, &mut &*contents).expect("a tree holds nothing that no archive can");
        names.push(path.to_vec());
        Ok(())
    })?;
    Ok((names, writer.finish().expect("memory can be written to")))
}

fn set_sum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
