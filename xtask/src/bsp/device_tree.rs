//! A device tree with other properties than its makers gave it: `[device-tree."/soc/serial@1c28400"]` of a recipe.
//!
//! ```text
//!   header (40 bytes) │ reserved memory, ends with 16 zero bytes │ structure │ strings
//!                                                                 │           └─ names of properties, each with a zero byte
//!                                                                 └─ 1 NAME  3 LENGTH AT VALUE …  1 NAME … 2  2  9
//! ```
//!
//! Numbers have 32 bits, the first byte the highest; names and values are filled up to four bytes. The format is version
//! 17 of the Devicetree Specification.
//!
//! Promises: a node that is not there is an error, a property that is not there is added, and everything else stays.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

const MAGIC: u32 = 0xd00d_feed;
const HEADER: usize = 40;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOTHING: u32 = 4;
const END: u32 = 9;

/// By the path of a node and the name of a property.
pub(crate) type Changes = BTreeMap<String, BTreeMap<String, Property>>;

/// What a property is to be.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Property {
    /// A number of 32 bits.
    Cell(u32),
    /// With its zero byte.
    Text(String),
    /// One after the other.
    List(Vec<Property>),
}

impl Property {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Cell(number) => push(out, *number),
            Self::Text(text) => out.extend(text.bytes().chain([0])),
            Self::List(list) => list.iter().for_each(|one| one.write(out)),
        }
    }
}

/// The same tree with these properties.
pub(crate) fn change(blob: &[u8], changes: &Changes) -> Result<Vec<u8>> {
    let mut head = Reader(blob);
    let mut words = [0; HEADER / 4];
    for word in &mut words {
        *word = head.word()?;
    }
    let [magic, _, structure_at, strings_at, reserved_at, version, compatible, cpu, strings_size, structure_size] =
        words;
    if magic != MAGIC || version < 17 || compatible > 17 {
        bail!("no device tree of version 17");
    }
    let part = |at: u32, size: usize| {
        let mut rest = Reader(blob);
        rest.take(at as usize)?;
        rest.take(size)
    };
    let reserved =
        part(reserved_at, reserved_size(part(reserved_at, blob.len().saturating_sub(reserved_at as usize))?)?)?;
    let mut strings = part(strings_at, strings_size as usize)?.to_vec();
    let structure = rewrite(Reader(part(structure_at, structure_size as usize)?), changes, &mut strings)?;

    let structure_at = HEADER + reserved.len();
    let strings_at = structure_at + structure.len();
    let mut out = Vec::with_capacity(strings_at + strings.len());
    let sizes = [strings_at + strings.len(), structure_at, strings_at, HEADER, strings.len(), structure.len()];
    let [total, structure_at, strings_at, reserved_at, strings_size, structure_size] =
        sizes.map(|size| u32::try_from(size).unwrap_or(u32::MAX));
    let words =
        [MAGIC, total, structure_at, strings_at, reserved_at, version, compatible, cpu, strings_size, structure_size];
    words.iter().for_each(|word| push(&mut out, *word));
    out.extend([reserved, &structure, &strings].concat());
    Ok(out)
}

/// Bytes of the list of reserved memory, with its end.
fn reserved_size(list: &[u8]) -> Result<usize> {
    let entries = list.chunks_exact(16).position(|entry| entry.iter().all(|byte| *byte == 0));
    Ok((entries.context("the list of reserved memory has no end")? + 1) * 16)
}

/// The structure with these properties. What a node is given comes first in it; what it had of that name is left out.
fn rewrite(mut old: Reader<'_>, changes: &Changes, strings: &mut Vec<u8>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    let mut missing: Vec<&String> = changes.keys().collect();
    loop {
        let all = old.0;
        let token = old.word()?;
        match token {
            BEGIN_NODE => path.push(old.name()?),
            END_NODE if path.pop().is_some() => {}
            PROPERTY => {
                let (length, at) = (old.word()?, old.word()?);
                old.padded(length as usize)?;
                let mut rest = Reader(strings);
                rest.take(at as usize)?;
                if changes.get(&joined(&path)).is_some_and(|node| rest.text().is_ok_and(|name| node.contains_key(name)))
                {
                    continue;
                }
            }
            NOTHING => {}
            END if path.is_empty() => {}
            _ => bail!("token {token} in the structure of a device tree"),
        }
        out.extend(all.iter().take(all.len() - old.0.len()));
        let here = joined(&path);
        if token == BEGIN_NODE
            && let Some(node) = changes.get(&here)
        {
            missing.retain(|path| **path != here);
            for (name, property) in node {
                let mut value = Vec::new();
                property.write(&mut value);
                let at = place(name, strings);
                [PROPERTY, u32::try_from(value.len())?, u32::try_from(at)?]
                    .iter()
                    .for_each(|word| push(&mut out, *word));
                value.resize(value.len().next_multiple_of(4), 0);
                out.extend(value);
            }
        }
        if token == END {
            break;
        }
    }
    match missing.first() {
        Some(path) => bail!("the device tree has no node {path}"),
        None => Ok(out),
    }
}

/// The path of a node; the root has no name.
fn joined(path: &[&str]) -> String {
    if path.len() == 1 { "/".into() } else { path.join("/") }
}

/// Where a name lies among the strings, at their end if it was not there.
fn place(name: &str, strings: &mut Vec<u8>) -> usize {
    let wanted: Vec<u8> = name.bytes().chain([0]).collect();
    strings.windows(wanted.len()).position(|there| there == wanted).unwrap_or_else(|| {
        let at = strings.len();
        strings.extend(wanted);
        at
    })
}

fn push(out: &mut Vec<u8>, number: u32) {
    out.extend(number.to_be_bytes());
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, size: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(size).context("a device tree ends too early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.take(4)?.try_into()?))
    }

    /// So many bytes, and what fills them up.
    fn padded(&mut self, size: usize) -> Result<&'a [u8]> {
        let all = self.take(size.next_multiple_of(4))?;
        Ok(all.get(..size).unwrap_or(all))
    }

    /// Up to a zero byte, which is not taken.
    fn text(&self) -> Result<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0).context("a name in a device tree has no end")?;
        Ok(str::from_utf8(self.0.get(..end).unwrap_or_default())?)
    }

    fn name(&mut self) -> Result<&'a str> {
        let name = self.text()?;
        self.padded(name.len() + 1)?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with a model, and in it a line that is switched off, and another node.
    fn tree() -> Vec<u8> {
        let strings = b"model\0status\0";
        let mut structure = Vec::new();
        let mut words = |words: &[u32]| words.iter().for_each(|word| push(&mut structure, *word));
        let text = |text: &[u8; 4]| u32::from_be_bytes(*text);
        words(&[BEGIN_NODE, 0, PROPERTY, 2, 0, text(b"A\0\0\0"), NOTHING]);
        words(&[BEGIN_NODE, text(b"line"), 0]);
        words(&[PROPERTY, 9, 6, text(b"disa"), text(b"bled"), 0, END_NODE]);
        words(&[BEGIN_NODE, text(b"b\0\0\0"), PROPERTY, 0, 6, END_NODE, END_NODE, END]);
        let mut blob = Vec::new();
        let (reserved, sizes) = ([[7; 16], [0; 16]].concat(), [strings.len(), structure.len()].map(|size| size as u32));
        let strings_at = 40 + 32 + sizes[1];
        [MAGIC, strings_at + sizes[0], 72, strings_at, 40, 17, 16, 3, sizes[0], sizes[1]]
            .iter()
            .for_each(|word| push(&mut blob, *word));
        [blob, reserved, structure, strings.to_vec()].concat()
    }

    /// Every property as `PATH NAME=VALUE`, sorted; the number of the processor and the reserved memory are as they were.
    fn properties(blob: &[u8]) -> Vec<String> {
        let word = |at: usize| u32::from_be_bytes(blob[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!((word(4), word(28), &blob[word(16)..word(16) + 32]), (blob.len(), 3, &tree()[40..72]));
        let strings = &blob[word(12)..word(12) + word(32)];
        let mut rest = Reader(&blob[word(8)..word(8) + word(36)]);
        let (mut path, mut found) = (Vec::new(), Vec::new());
        loop {
            match rest.word().unwrap() {
                BEGIN_NODE => path.push(rest.name().unwrap()),
                END_NODE => drop(path.pop()),
                PROPERTY => {
                    let (length, at) = (rest.word().unwrap() as usize, rest.word().unwrap() as usize);
                    let name = Reader(&strings[at..]).text().unwrap();
                    let value = String::from_utf8_lossy(rest.padded(length).unwrap()).replace('\0', ".");
                    found.push(format!("{} {name}={value}", joined(&path)));
                }
                END => break,
                _ => {}
            }
        }
        assert!(path.is_empty() && rest.0.is_empty());
        found.sort();
        found
    }

    fn changes(text: &str) -> Changes {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_property_is_changed_or_added_and_everything_else_stays() {
        assert_eq!(properties(&tree()), ["/ model=A.", "/b status=", "/line status=disabled."]);
        let on = change(&tree(), &changes("['/line']\nstatus = 'okay'")).unwrap();
        assert_eq!(properties(&on), ["/ model=A.", "/b status=", "/line status=okay."]);
        let more = change(&on, &changes("['/']\nnew = ['x', 0x41424344]\n['/b']\nstatus = 'disabled'")).unwrap();
        let all = ["/ model=A.", "/ new=x.ABCD", "/b status=disabled.", "/line status=okay."];
        assert_eq!(properties(&more), all);
    }

    #[test]
    fn a_tree_that_nothing_is_changed_in_says_the_same() {
        assert_eq!(change(&tree(), &Changes::new()).unwrap(), tree());
    }

    #[test]
    fn a_node_that_is_not_there_is_an_error() {
        let error = change(&tree(), &changes("['/lime']\nstatus = 'okay'")).unwrap_err().to_string();
        assert!(error.contains("no node /lime"), "{error}");
    }

    #[test]
    fn no_prefix_of_a_tree_is_one() {
        let tree = tree();
        for end in 0..tree.len() {
            assert!(change(&tree[..end], &Changes::new()).is_err(), "{end} of {} bytes", tree.len());
        }
    }
}
