//! What the programs of a root file system run on, from the heads of a few that every one has.
//!
//! ```text
//!   ELF: 0x7F 'E' 'L' 'F' │ 32 or 64 bits │ little or big │ … │ machine at 18, two bytes
//! ```

use std::io::Read as _;

use super::super::Image;
use super::super::manifest::Platform;
use super::super::tree::{Node, PathTooLong};

/// Programs that are there in most systems, and are not written for another machine.
const USUAL: &[&str] = &["bin/sh", "bin/busybox", "sbin/init", "usr/bin/env", "lib/systemd/systemd", "bin/bash"];

/// How many files are looked into where none of the usual ones is there.
const LOOKED_AT: usize = 4096;

/// What it runs on; without an architecture if that cannot be told.
pub(super) fn platform(image: &Image) -> Platform {
    let usual = USUAL.iter().filter_map(|path| image.tree.find(path.as_bytes()));
    let found = usual.filter_map(|id| architecture(image, &image.tree.inode(id).node)).next();
    let (architecture, variant) = found.or_else(|| first(image)).unwrap_or_default();
    Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: variant.to_owned() }
}

/// Why a search ends.
struct Found(Option<(&'static str, &'static str)>);

impl From<PathTooLong> for Found {
    fn from(_: PathTooLong) -> Self {
        Self(None)
    }
}

/// The first program in the order of names.
fn first(image: &Image) -> Option<(&'static str, &'static str)> {
    let mut looked_at = 0;
    let searched = image.tree.walk(|_, id, earlier| {
        let inode = image.tree.inode(id);
        let is_program = matches!(inode.node, Node::File(_)) && inode.attributes.mode & 0o111 != 0;
        if earlier.is_some() || !is_program {
            return Ok(());
        }
        looked_at += 1;
        match architecture(image, &inode.node) {
            None if looked_at < LOOKED_AT => Ok(()),
            found => Err(Found(found)),
        }
    });
    searched.err().and_then(|found| found.0)
}

/// The architecture of a program, and its variant; `None` for what is no program of a machine that is known.
fn architecture(image: &Image, node: &Node) -> Option<(&'static str, &'static str)> {
    let Node::File(contents) = node else { return None };
    let mut head = [0; 20];
    image.contents(*contents).ok()?.read_exact(&mut head).ok()?;
    of(&head)
}

fn of(head: &[u8; 20]) -> Option<(&'static str, &'static str)> {
    let [0x7f, b'E', b'L', b'F', bits, 1, .., low, high] = *head else { return None };
    match (u16::from_le_bytes([low, high]), bits) {
        (62, 2) => Some(("amd64", "")),
        (3, 1) => Some(("386", "")),
        (183, 2) => Some(("arm64", "")),
        (40, 1) => Some(("arm", "v7")),
        (243, 2) => Some(("riscv64", "")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_told_by_the_head_of_a_program() {
        let head = |bits, order, machine: u16| {
            let mut head = [0; 20];
            head[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', bits, order]);
            head[18..].copy_from_slice(&machine.to_le_bytes());
            head
        };
        assert_eq!(of(&head(2, 1, 183)), Some(("arm64", "")));
        assert_eq!(of(&head(1, 1, 40)), Some(("arm", "v7")));
        for other in [head(1, 1, 183), head(2, 2, 183), head(2, 1, 0), *b"#!/bin/sh\n..........", [0; 20]] {
            assert_eq!(of(&other), None, "{other:?}");
        }
    }
}
